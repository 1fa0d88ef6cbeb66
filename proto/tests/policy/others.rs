//! `ServiceEntry`, `PeerAuthentication`, `IstioOperator`, `Gateway`.

use super::{assert_says, compiled, findings};
use fusebox_proto::policy::*;
use std::fmt::Debug;

fn entry(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e, namespace: shop}}, \
         spec: {{hosts: [api.example.com], {spec}}}}}"
    )
}

/// Scenario: each field of a `ServiceEntry`.
/// Guarantees: it sets what it names, with Istio's defaults for the rest.
#[test]
fn service_entry() {
    #[track_caller]
    fn check<T: PartialEq + Debug>(spec: &str, read: impl Fn(&ServiceEntry) -> T, expected: T) {
        assert_eq!(read(&compiled(&entry(spec)).service_entries()[0]), expected, "{spec}");
    }
    let one = |text: &str| vec![text.into()];
    check("", |e| (e.is_external, e.resolution, e.ports.len()), (true, Resolution::None, 0));
    check("", |e| e.hosts[0].to_string(), "api.example.com".to_owned());
    check("addresses: [10.0.0.0/8]", |e| e.addresses.clone(), one("10.0.0.0/8"));
    check("addresses: [\"2001:db8::1\"]", |e| e.addresses.clone(), one("2001:db8::1"));
    check("location: MESH_INTERNAL", |e| e.is_external, false);
    check("resolution: DNS", |e| e.resolution, Resolution::Dns);
    check("resolution: DNS_ROUND_ROBIN", |e| e.resolution, Resolution::DnsRoundRobin);
    let port = |protocol: &str, target_port| {
        vec![ServicePort {
            number: 443,
            protocol: protocol.into(),
            name: "https".into(),
            target_port,
        }]
    };
    check(
        "ports: [{number: 443, name: https, protocol: tls}]",
        |e| e.ports.clone(),
        port("TLS", 443),
    );
    check(
        "ports: [{number: 443, name: https, targetPort: 8443}]",
        |e| e.ports.clone(),
        port("", 8443),
    );
    check("exportTo: [web]", |e| (e.is_visible_to("web"), e.is_visible_to("shop")), (true, false));
    check("exportTo: [default]", |e| e.is_visible_to(""), true);
    let endpoint = ServiceEndpoint {
        address: "10.0.0.1".into(),
        ports: vec![("https".into(), 8443)],
        labels: vec![("version".into(), "v1".into())],
        weight: 3,
    };
    let listed = "resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {https: 8443}, labels: {version: v1}, weight: 3}]";
    check(listed, |e| e.endpoints.clone(), vec![endpoint]);
    let weights = |e: &ServiceEntry| e.endpoints.iter().map(|one| one.weight).collect::<Vec<_>>();
    let zero =
        "resolution: STATIC, endpoints: [{address: 10.0.0.1, weight: 0}, {address: 10.0.0.2}]";
    check(zero, weights, vec![1, 1]);
    assert_says(&entry(zero), Severity::Warning, "weight 0");
    let said = findings(&entry(listed), Profile::Fusebox);
    assert!(said.iter().all(|finding| !finding.to_string().contains("weight")), "{said:?}");
    assert_says(
        &entry("subjectAltNames: [a]"),
        Severity::Warning,
        "subjectAltNames: is not supported",
    );
    assert_says(&entry("resolution: DYNAMIC_DNS"), Severity::Warning, "DNS is taken");
    assert_says(&entry("resolution: STATIC"), Severity::Error, "no endpoints");
}

/// Scenario: each field of a `PeerAuthentication`.
/// Guarantees: modes of the namespace, of a workload, of a port.
#[test]
fn peer_authentication() {
    #[track_caller]
    fn check<T: PartialEq + Debug>(
        spec: &str,
        read: impl Fn(&PeerAuthentication) -> T,
        expected: T,
    ) {
        let text = format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: p, namespace: \
             shop}}, spec: {{{spec}}}}}"
        );
        assert_eq!(read(&compiled(&text).peer_authentications()[0]), expected, "{spec}");
    }
    check("mtls: {mode: STRICT}", |p| p.mode, Some(PeerMode::Strict));
    check("mtls: {mode: PERMISSIVE}", |p| p.mode, Some(PeerMode::Permissive));
    check("mtls: {mode: DISABLE}", |p| p.mode, Some(PeerMode::Disable));
    check("mtls: {mode: UNSET}", |p| p.mode, None);
    check("", |p| p.mode, None);
    let selector = "selector: {matchLabels: {app: inventory}}";
    check(selector, |p| p.selector.clone(), vec![("app".into(), "inventory".into())]);
    let ports =
        format!("{selector}, portLevelMtls: {{8080: {{mode: DISABLE}}, \"81\": {{mode: UNSET}}}}");
    check(&ports, |p| p.ports.clone(), vec![(8080, Some(PeerMode::Disable)), (81, None)]);
}

/// Scenario: ingress gateways of an `IstioOperator`, one of them off, one without target ports.
/// Guarantees: those that are on are kept; a port listens on itself unless it says another.
#[test]
fn istio_operator() {
    let text = "{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, spec: {components: {ingressGateways: \
        [{name: on, k8s: {service: {ports: [{port: 80}]}}}, {name: off, enabled: false}]}}}";
    let policy = compiled(text);
    let port = IngressPort { port: 80, target_port: 80, name: "".into() };
    let on = IngressGateway { name: "on".into(), labels: Vec::new(), ports: vec![port] };
    assert_eq!(policy.install().unwrap().ingress_gateways, [on]);
    let twice = format!("{text}\n---\n{}", text.replace("spec:", "metadata: {name: two}, spec:"));
    assert_says(&twice, Severity::Warning, "another IstioOperator goes before it");
}

/// Scenario: a `Gateway`.
/// Guarantees: its servers are kept; it is said which of them cannot be served.
#[test]
fn gateway() {
    let text = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop}, spec: \
        {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: https, protocol: https}, hosts: \
        [\"*\", ./a.example.com, web/b.example.com, \"*/c\"], tls: {mode: SIMPLE}}]}}";
    let policy = compiled(text);
    let gateway = &policy.gateways()[0];
    let [server] = gateway.servers.as_slice() else { panic!("{gateway:?}") };
    assert_eq!((&*gateway.name, server.port, &*server.protocol), ("shop/g", 443, "HTTPS"));
    let hosts = server.hosts.iter().map(|one| (one.namespace.as_deref(), one.host.to_string()));
    let expected =
        [(None, "*"), (Some("shop"), "a.example.com"), (Some("web"), "b.example.com"), (None, "c")];
    assert!(hosts.eq(expected.map(|(namespace, host)| (namespace, host.to_owned()))));
    assert_says(text, Severity::Warning, "servers[0].port: opens no listener: it is for TLS");
    assert_says(text, Severity::Warning, "servers[0].tls: is not supported");
    assert_says(&text.replace("web/b", "web/b/"), Severity::Error, "is no host");
}
