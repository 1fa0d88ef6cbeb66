//! What an ingress gateway serves: its ports, and the routes that are bound to it.

use crate::{assert_says, compiled, findings};
use fusebox_proto::policy::{
    Caller, Headers, IngressListener, NotServed, Policy, Profile, Request, Routes, Severity,
};
use std::borrow::Cow;
use std::collections::BTreeMap;

fn ingress(policy: &Policy) -> Vec<IngressListener> {
    policy.ingress("istio-ingressgateway", &BTreeMap::new())
}

/// An installation with these ports (in flow style).
fn operator(ports: &str) -> String {
    format!(
        "---\n{{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, spec: {{components: \
         {{ingressGateways: [{{name: istio-ingressgateway, k8s: {{service: {{ports: [{ports}]}}}}}}]}}}}}}\n"
    )
}

/// A `Gateway` `shop/NAME` with these servers.
fn gateway(name: &str, more: &str, servers: &str) -> String {
    format!(
        "---\n{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: {name}, namespace: \
         shop}}, spec: {{{more} servers: [{servers}]}}}}\n"
    )
}

fn server(port: u16, protocol: &str, hosts: &str) -> String {
    format!("{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: [{hosts}]}}")
}

/// A `VirtualService` in this namespace, whose one rule has its name.
fn service(name: &str, namespace: &str, hosts: &str, gateways: &str) -> String {
    format!(
        "---\n{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, \
         namespace: {namespace}}}, spec: {{hosts: [{hosts}], gateways: [{gateways}], http: \
         [{{name: {name}, directResponse: {{status: 200}}}}]}}}}\n"
    )
}

/// Names of the rules for `host` at `port`; `None`: it is not served there.
fn rules(policy: &Policy, port: u16, host: &str) -> Option<Vec<String>> {
    let listener = ingress(policy).into_iter().find(|it| it.port == port).expect("a listener");
    let routes = listener.serves.as_ref().ok()?.get(host)?;
    Some(routes.http.iter().map(|rule| rule.name.to_string()).collect())
}

/// Scenario: ports of an installation with names, without, and for what is no HTTP.
/// Guarantees: HTTP is served by the name, as in Istio, and without one by the number; all else is
/// not, with the reason.
#[test]
fn ports_of_the_installation() {
    let ports = "{port: 15021, name: status-port}, {port: 80, targetPort: 8080, name: http2}, \
        {port: 443, targetPort: 8443, name: https}, {port: 81}, {port: 82, name: http-shop}, \
        {port: 83, name: tls-x}, {port: 84, name: tcp}, {port: 80, targetPort: 9, name: http}";
    let text = operator(ports);
    let other = |name: &str| Some(NotServed::Protocol(name.into()));
    let told: Vec<_> = ingress(&compiled(&text))
        .into_iter()
        .map(|it| (it.port, it.target_port, it.serves.err()))
        .collect();
    let expected = [
        (80, 8080, None),
        (81, 81, None),
        (82, 82, None),
        (83, 83, Some(NotServed::Tls)),
        (84, 84, other("tcp")),
        (443, 8443, Some(NotServed::Tls)),
        (15021, 15021, other("status")),
    ];
    assert_eq!(told, expected);
    assert_says(&text, Severity::Info, "ports[2]: opens no listener: it is for TLS");
    assert_says(&text, Severity::Info, "ports[6]: opens no listener: tcp is not served");
    assert_says(&text, Severity::Warning, "ports[7]: has no effect: another one has port 80");
    let unnamed = compiled(&operator("{port: 443}"));
    assert_eq!(ingress(&unnamed)[0].serves, Err(NotServed::Tls));
}

/// Scenario: routes for services only, for gateways, and for both, without a `Gateway`.
/// Guarantees: an ingress sees those that name it, at each of its ports, and no other; a name that
/// nothing describes is told.
#[test]
fn routes_that_name_the_ingress() {
    let text = operator("{port: 80}, {port: 81}")
        + &service("mesh", "shop", "mesh.example.com", "mesh")
        + &service("both", "shop", "both.example.com", "mesh, istio-ingressgateway")
        + &service("far", "web", "far.example.com", "istio-system/istio-ingressgateway")
        + &service("lost", "shop", "lost.example.com", "nobody");
    let policy = compiled(&text);
    for port in [80, 81] {
        assert_eq!(rules(&policy, port, "both.example.com:8080"), Some(vec!["both".into()]));
        assert_eq!(rules(&policy, port, "FAR.example.com"), Some(vec!["far".into()]));
        for host in ["mesh.example.com", "lost.example.com", "example.com"] {
            assert_eq!(rules(&policy, port, host), None, "{host}");
        }
    }
    assert!(policy.routes("shop", "both.example.com").is_some());
    assert!(policy.routes("shop", "far.example.com").is_none());
    assert_says(&text, Severity::Warning, "spec.gateways[0]: is shop/nobody, which no Gateway");
}

/// Scenario: `Gateway`s of this ingress and of another, with servers for some ports, hosts and
/// namespaces, beside an installation and without one.
/// Guarantees: a route is served where a server of its gateway takes its host and namespace, and
/// for the narrower of both hosts only; where none does, that is said; a port that no installation has is served as itself; a
/// server's protocol goes before the name of the port.
#[test]
fn routes_of_gateways() {
    let all = server(80, "HTTP", "shop/*.example.com, web/a.example.org")
        + ","
        + &server(8081, "HTTP2", "\"*\"");
    let text = operator("{port: 80, targetPort: 8080, name: https}")
        + &gateway("entry", "selector: {istio: ingressgateway},", &all)
        + &gateway("other", "selector: {istio: egress},", &server(80, "HTTP", "\"*\""))
        + &service("one", "shop", "shop.example.com, a.example.org", "entry")
        + &service("wide", "shop", "\"*\"", "entry")
        + &service("web", "web", "\"*.example.org\", b.example.com", "shop/entry")
        + &service("hidden", "shop", "hidden.example.com", "other")
        + &service("both", "shop", "inventory.shop, z.example.com", "entry, mesh")
        + &service("two", "web", "c.example.net", "shop/entry, shop/other")
        + &service("own", "shop", "own.example.net", "istio-ingressgateway");
    let policy = compiled(&text);
    let shut = text.replace(&format!("{}]", server(8081, "HTTP2", "\"*\"")), "]");
    let why = "spec.gateways[0]: is shop/entry, and no server of the gateways here takes b.example.com: no";
    assert_says(&shut, Severity::Warning, why);
    let said = |text: &str| {
        let said = findings(text, Profile::Fusebox).into_iter().map(|it| it.to_string());
        said.filter(|it| it.contains("no server of")).collect::<Vec<_>>()
    };
    assert_eq!((said(&shut).len(), said(&text).len()), (2, 0), "{:?}", said(&shut));
    let targets: Vec<_> = ingress(&policy).iter().map(|it| (it.port, it.target_port)).collect();
    assert_eq!(targets, [(80, 8080), (8081, 8081)]);
    let check = |port, host: &str, expected: &[&str]| {
        let found = rules(&policy, port, host).unwrap_or_default();
        assert_eq!(found, expected, "{port} {host}");
    };
    check(80, "shop.example.com", &["one"]);
    check(80, "any.example.com", &["wide"]);
    check(80, "b.example.com", &["wide"]);
    check(80, "a.example.org", &["web"]);
    check(80, "b.example.org", &[]);
    check(80, "own.example.net", &["own"]);
    check(8081, "b.example.com", &["web"]);
    check(8081, "b.example.org", &["web"]);
    check(8081, "own.example.net", &["own"]);
    check(8081, "example.net", &["wide"]);
    for port in [80, 8081] {
        assert_eq!(rules(&policy, port, "hidden.example.com"), Some(vec!["wide".into()]));
    }
    let labelled = |key: &str, value: &str| {
        let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        policy.ingress("istio-ingressgateway", &labels).len()
    };
    assert_eq!((labelled("istio", "egress"), labelled("app", "shop")), (1, 2));

    let alone = gateway("entry", "", &server(8080, "GRPC", "\"*\""));
    let policy = compiled(&(alone + &service("one", "shop", "a", "entry")));
    assert_eq!(rules(&policy, 8080, "a.shop"), Some(vec!["one".into()]));
}

struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
}

/// The rule that takes a request to `path` at `port`.
fn taken(routes: &Routes, path: &str, port: u16) -> Option<String> {
    let request = Request {
        method: "GET",
        scheme: "http",
        authority: "shop.example.com",
        path,
        query: None,
        port,
        headers: &NoHeaders,
        caller: &Caller::default(),
    };
    routes.route(&request).map(|matched| matched.rule.name.to_string())
}

/// Scenario: one document for two gateways, with conditions for one of them each; several
/// documents, of both kinds, for one host.
/// Guarantees: a condition holds at its own gateway only; rules of all documents are one list, in
/// their order, those of `HTTPRoute`s behind, the most specific first.
#[test]
fn rules_are_cut_and_joined() {
    let rule = |name: &str, condition: &str| {
        format!("{{name: {name}, match: [{{{condition}}}], directResponse: {{status: 200}}}}")
    };
    let text = gateway("a", "", &server(80, "HTTP", "\"*\""))
        + &gateway("b", "", &server(81, "HTTP", "\"*\""))
        + "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, \
           spec: {hosts: [shop.example.com], gateways: [a, b], http: ["
        + &[
            rule("at-a", "gateways: [a], uri: {exact: /}"),
            rule("at-both", "gateways: [shop/b, shop/a], uri: {exact: /both}"),
            rule("at-80", "port: 80, uri: {prefix: /}"),
            rule("at-b", "gateways: [b], uri: {exact: /}"),
        ]
        .join(", ")
        + "]}}\n"
        + &service("w", "shop", "shop.example.com", "b")
        + "---\n{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, \
           spec: {parentRefs: [{name: b}], hostnames: [shop.example.com], rules: [{matches: [{path: {value: /}}], \
           backendRefs: [{name: c}]}, {name: exact, matches: [{path: {type: Exact, value: /x}}], backendRefs: \
           [{name: c}]}]}}\n";
    let policy = compiled(&text);
    let listeners = ingress(&policy);
    let routes = |at: usize| {
        listeners[at].serves.as_ref().unwrap().get("shop.example.com").expect("both serve it")
    };
    let (at_80, at_81) = (routes(0), routes(1));
    assert_eq!(taken(at_80, "/", 80).as_deref(), Some("at-a"));
    assert_eq!(taken(at_80, "/both", 80).as_deref(), Some("at-both"));
    assert_eq!(taken(at_80, "/other", 80).as_deref(), Some("at-80"));
    assert_eq!(taken(at_81, "/", 81).as_deref(), Some("at-b"));
    assert_eq!(taken(at_81, "/other", 81).as_deref(), Some("w"));
    let names: Vec<&str> = at_81.http.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["at-both", "at-80", "at-b", "w", "exact", "r[0]"]);
    assert_eq!(&*at_81.object, "VirtualService/shop/v, VirtualService/shop/w, HTTPRoute/shop/r");
    assert_eq!(at_80.gateways, ["shop/a".into()]);
}
