use super::*;
use crate::config::{Config, Outbound};
use crate::policy::InForce;
use crate::proxy::Proxy;
use fusebox_proto::Now;
use fusebox_proto::policy::{self, Profile};

fn compiled(spec: &str) -> Policy {
    let text = format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e, \
         namespace: shop}}, spec: {{hosts: [api.example.com, stock.shop.svc.cluster.local], {spec}}}}}"
    );
    let (documents, _) = policy::read("test.yaml", &text).unwrap();
    policy::compile(&documents, Profile::Fusebox).unwrap().0
}

/// What `check` sees of a listener for `host` with these endpoints, in a proxy of `shop/till`.
fn with_listener<T>(
    host: &str,
    own: &[Endpoint],
    check: impl FnOnce(&Listener, &ServiceId) -> T,
) -> T {
    let service = ServiceId::new("", "shop", "till").unwrap();
    let mut config = Config::new(service.clone());
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.outbound.push(Outbound { listen, host: host.into(), endpoints: own.to_vec() });
    let proxy = Proxy::new(config, InForce::default(), Now::read()).unwrap();
    check(&proxy.listeners()[0], &service)
}

const PORTS: &str =
    "ports: [{number: 443, name: https}, {number: 8080, name: web, targetPort: 81}]";
const LISTED: &str = "endpoints: [{address: 10.0.0.1, labels: {version: v2}}, \
                      {address: \"fd00::1\", ports: {web: 82}}]";

/// Scenario: entries of each resolution, with and without endpoints and ports, and listeners for
/// their hosts and others.
/// Guarantees: a listener without endpoints gets those of the entry, at the port that its callers
/// mean; names stay names.
#[test]
fn endpoints_of_an_entry() {
    let check = |host: &str, spec: &str, expected: &[&str]| {
        let policy = compiled(spec);
        let seen: Vec<_> = with_listener(host, &[], |listener, caller| {
            filled(listener, &policy, caller).endpoints.iter().map(ToString::to_string).collect()
        });
        assert_eq!(seen, expected, "{host} {spec}");
    };
    let listed = format!("resolution: STATIC, {PORTS}, {LISTED}");
    check("api.example.com:443", &listed, &["10.0.0.1:443;version=v2", "[fd00::1]:443"]);
    check("api.example.com:8080", &listed, &["10.0.0.1:81;version=v2", "[fd00::1]:82"]);
    check("api.example.com", &listed, &["10.0.0.1:443;version=v2", "[fd00::1]:443"]);
    check("api.example.com:80", &listed, &[]);
    check("stock:443", &listed, &["10.0.0.1:443;version=v2", "[fd00::1]:443"]);
    check("stock.shop:443", &listed, &["10.0.0.1:443;version=v2", "[fd00::1]:443"]);
    check("stock.other:443", &listed, &[]);
    check("example.com:443", &listed, &[]);
    check(
        "api.example.com:90",
        &format!("resolution: STATIC, {LISTED}"),
        &["10.0.0.1:90;version=v2", "[fd00::1]:90"],
    );
    check(
        "api.example.com:8080",
        &format!("resolution: DNS, {PORTS}"),
        &["dns:api.example.com:81"],
    );
    let named = "endpoints: [{address: a.example.com}, {address: 10.0.0.1}]";
    check(
        "api.example.com:443",
        &format!("resolution: DNS, {PORTS}, {named}"),
        &["dns:a.example.com:443", "10.0.0.1:443"],
    );
    check(
        "api.example.com:443",
        &format!("resolution: DNS_ROUND_ROBIN, {PORTS}"),
        &["api.example.com:443"],
    );
    check("api.example.com:443", PORTS, &[]);
    check("api.example.com:443", &format!("exportTo: [web], {listed}"), &[]);
}

/// Scenario: a listener with endpoints of its own, under entries with and without endpoints.
/// Guarantees: its own hold, and the entry that says something else is named.
#[test]
fn the_command_line_wins() {
    let own = [Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 81)))];
    let check = |own: &[Endpoint], spec: &str, expected: Option<&str>| {
        let policy = compiled(spec);
        with_listener("api.example.com:443", own, |listener, caller| {
            if !own.is_empty() {
                assert_eq!(filled(listener, &policy, caller).endpoints, own);
            }
            let overruled = overruled(listener, &policy, caller).map(|entry| &*entry.object);
            assert_eq!(overruled, expected, "{spec}");
        });
    };
    let listed = format!("resolution: STATIC, {PORTS}, {LISTED}");
    check(&own, &listed, Some("ServiceEntry/shop/e"));
    check(&own, PORTS, None);
    check(&[], &listed, None);
}
