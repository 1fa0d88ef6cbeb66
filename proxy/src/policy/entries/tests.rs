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

/// Scenario: entries with several hosts and ports, of each resolution, of one host twice, hidden from
/// the caller, with virtual addresses; beside listeners that lead to a host already.
/// Guarantees: each host is named once at each port, as its caller would name it; not where its
/// endpoints are nobody's to tell, nor where the command line tells them.
#[test]
fn hosts_of_entries() {
    let check = |spec: &str, own: &[Endpoint], expected: &[(&str, &str, bool)]| {
        let policy = compiled(spec);
        let seen = with_listener("stock:8080", own, |listener, caller| {
            named(&policy, caller, std::slice::from_ref(listener), |_| true).all
        });
        let seen: Vec<_> = seen
            .iter()
            .map(|one| (one.service.to_string(), one.host.clone(), one.is_tls))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(service, host, is_tls)| (service.to_owned(), host.to_owned(), is_tls))
            .collect();
        assert_eq!(seen, expected, "{spec}");
    };
    let ports = "ports: [{number: 443, name: https, protocol: TLS}, {number: 8080, name: web}]";
    let listed = format!("resolution: STATIC, {ports}, {LISTED}");
    let api = [
        ("shop/api.example.com", "api.example.com:443", true),
        ("shop/api.example.com", "api.example.com:8080", false),
    ];
    let stock = ("shop/stock", "stock.shop.svc.cluster.local:443", true);
    check(&listed, &[], &[api[0], api[1], stock]);
    let own = [Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 81)))];
    check(&listed, &own, &api);
    check(&format!("resolution: DNS, {ports}"), &own, &api);
    check(ports, &[], &[]);
    check(&format!("exportTo: [web], {listed}"), &[], &[]);
    check(
        &format!("resolution: STATIC, {LISTED}"),
        &own,
        &[("shop/api.example.com", "api.example.com:80", false)],
    );
}

/// Scenario: two entries of one host with different ports, and a host in the namespace that a caller
/// without one stands in.
/// Guarantees: each port has the endpoints of its entry; the service is the one that the caller's
/// short name means.
#[test]
fn entries_of_one_host() {
    let entry = |name: &str, port: u16| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: {name}, \
             namespace: default}}, spec: {{hosts: [stock], resolution: STATIC, ports: [{{number: \
             {port}, name: web}}], addresses: [240.0.0.0/8], endpoints: [{{address: 10.0.0.1}}]}}}}"
        )
    };
    let text = format!("{}\n---\n{}\n", entry("one", 80), entry("two", 90));
    let (documents, _) = policy::read("test.yaml", &text).unwrap();
    let policy = policy::compile(&documents, Profile::Fusebox).unwrap().0;
    let caller = ServiceId::named("till").unwrap();
    let seen = named(&policy, &caller, &[], |_| true).all;
    let stock = ServiceId::named("stock").unwrap();
    let at = |one: &Named| one.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (at(&seen[0]), at(&seen[1])),
        (vec!["10.0.0.1:80".into()], vec!["10.0.0.1:90".into()])
    );
    let services: Vec<_> = seen.iter().map(|one| (one.service.clone(), one.port)).collect();
    assert_eq!(services, [(stock.clone(), 80), (stock, 90)]);
    assert_eq!(seen[0].networks, [Network::parse("240.0.0.0/8").unwrap()]);
    for (port, expected) in [(80, "10.0.0.1:80"), (90, "10.0.0.1:90")] {
        with_listener(&format!("stock.default:{port}"), &[], |listener, _| {
            let filled = filled(listener, &policy, &caller);
            let endpoints: Vec<_> = filled.endpoints.iter().map(ToString::to_string).collect();
            assert_eq!(endpoints, [expected]);
        });
    }
}

/// Scenario: entries without endpoints, of hosts with a `*` and without, of all ports and of one; and
/// hosts and ports that they do and do not stand for.
/// Guarantees: the narrowest that means a host at a port is found first; a `*` does not stand for
/// nothing; entries with endpoints are not among them.
#[test]
fn hosts_without_endpoints() {
    let entry = |name: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: {name}, \
             namespace: shop}}, spec: {{{spec}}}}}\n"
        )
    };
    let text = [
        entry("wide", "hosts: ['*.example.com'], ports: [{number: 80, name: http}]"),
        entry("narrow", "hosts: ['*.api.example.com', one.example.com]"),
        entry("told", "hosts: [told.example.com], resolution: DNS"),
    ];
    let (documents, _) = policy::read("test.yaml", &text.concat()).unwrap();
    let policy = policy::compile(&documents, Profile::Fusebox).unwrap().0;
    let caller = ServiceId::new("", "shop", "till").unwrap();
    let all = unresolved(&policy, &caller);
    let check = |host: &str, port, expected: Option<&str>| {
        let service = service(&caller, host).unwrap();
        let found = all.iter().find(|one| one.means(host, &service, port));
        assert_eq!(found.map(|one| one.service.name()), expected, "{host} {port}");
    };
    check("one.example.com", 81, Some("one.example.com"));
    check("two.example.com", 80, Some("*.example.com"));
    check("two.example.com", 81, None);
    check("a.api.example.com", 81, Some("*.api.example.com"));
    check("api.example.com", 80, Some("*.example.com"));
    check("example.com", 80, None);
    check("notexample.com", 80, None);
    assert_eq!(all.len(), 3);
}

/// Scenario: an entry whose hosts, ports and endpoints multiply beyond all bounds.
/// Guarantees: those that there is room for are named, and the others counted; no more endpoints are
/// made than there is room for.
#[test]
fn what_multiplies_is_bounded() {
    let list = |count: u32, make: &dyn Fn(u32) -> String| {
        (0..count).map(make).collect::<Vec<_>>().join(", ")
    };
    let entry = |hosts: u32, ports: u32, endpoints: u32| {
        let hosts = list(hosts, &|at| format!("h{at}.example.com"));
        let ports = list(ports, &|at| format!("{{number: {}, name: p{at}}}", at + 1));
        let endpoints =
            list(endpoints, &|at| format!("{{address: 10.0.{}.{}}}", at / 250, at % 250));
        let text = format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e}}, spec: \
             {{hosts: [{hosts}], resolution: STATIC, ports: [{ports}], endpoints: [{endpoints}]}}}}"
        );
        let (documents, _) = policy::read("test.yaml", &text).unwrap();
        policy::compile(&documents, Profile::Fusebox).unwrap().0
    };
    let caller = ServiceId::named("till").unwrap();
    for (policy, known) in [(entry(100, 10, 1), HOSTS_MAX), (entry(10, 10, 1_000), 4)] {
        let named = named(&policy, &caller, &[], |_| true);
        let all = if known == 4 { 100 } else { 1_000 };
        assert_eq!((named.all.len(), named.beyond), (known, all - known));
        let one = ServiceId::named("h0.example.com").unwrap();
        let few = super::named(&policy, &caller, &[], |service| *service == one);
        assert_eq!(few.all.len() + few.beyond, 10);
    }
}
