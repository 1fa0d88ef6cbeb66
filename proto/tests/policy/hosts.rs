//! Which document speaks for a host, and to whom.

use super::{compiled, documents};
use fusebox_proto::policy::*;

/// `DestinationRule`s, each `namespace host maxConnections [exportTo]`: the number tells them apart.
fn rules(lines: &[&str]) -> Policy {
    let mut texts = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (namespace, host, number, export) = (next(), next(), next(), next());
        let namespace = namespace.trim_matches('-');
        let export =
            if export.is_empty() { String::new() } else { format!(", exportTo: [{export}]") };
        texts.push(format!(
            "---\n{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: r{index}, \
             namespace: \"{namespace}\"}}, spec: {{host: \"{host}\", trafficPolicy: {{connectionPool: \
             {{tcp: {{maxConnections: {number}}}}}}}{export}}}}}\n"
        ));
    }
    compiled(&texts.concat())
}

#[track_caller]
fn check(policy: &Policy, caller: &str, host: &str, expected: Option<u32>) {
    let found = policy.destination(caller, host);
    let found = found.and_then(|found| found.settings(None, 80).pool.connections_max);
    assert_eq!(found, expected, "{caller} → {host}");
}

/// Scenario: one rule of a namespace, one of none; hosts in every spelling.
/// Guarantees: a short name is the rule's namespace's; a rule without one holds everywhere.
#[test]
fn short_names() {
    let shop = rules(&["shop inventory 1"]);
    check(&shop, "shop", "inventory", Some(1));
    check(&shop, "shop", "inventory:8080", Some(1));
    check(&shop, "shop", "INVENTORY", Some(1));
    check(&shop, "shop", "inventory.", Some(1));
    check(&shop, "other", "inventory", None);
    for host in ["inventory.shop", "inventory.shop.svc", "inventory.shop.svc.cluster.local:80"] {
        check(&shop, "other", host, Some(1));
    }
    check(&shop, "shop", "inventory.other", None);

    let any = rules(&["- inventory 1", "shop inventory 2", "default payment 3"]);
    check(&any, "", "inventory", Some(1));
    check(&any, "other", "inventory", Some(1));
    check(&any, "other", "inventory.elsewhere", Some(1));
    check(&any, "shop", "inventory", Some(2));
    check(&any, "", "payment", Some(3));
    check(&any, "other", "payment", None);
}

/// Scenario: domains, addresses, wildcards of every width.
/// Guarantees: the most specific host wins; a domain's wildcard holds below it, not for itself.
#[test]
fn domains_and_wildcards() {
    let policy = rules(&[
        "- api.example.com 1",
        "- *.example.com 2",
        "- *.eu.example.com 3",
        "- 127.0.0.1 4",
        "shop *.shop.svc.cluster.local 5",
        "- inventory.shop.svc.cluster.local 6",
    ]);
    check(&policy, "", "api.example.com:443", Some(1));
    check(&policy, "", "www.example.com", Some(2));
    check(&policy, "", "a.b.example.com", Some(2));
    check(&policy, "", "a.eu.example.com", Some(3));
    check(&policy, "", "example.com", None);
    check(&policy, "", "127.0.0.1:80", Some(4));
    check(&policy, "shop", "cart", Some(5));
    check(&policy, "other", "cart.shop", Some(5));
    check(&policy, "other", "cart", None);
    check(&policy, "shop", "inventory", Some(6));
    check(&policy, "shop", "[::1]:80", None);

    let all = rules(&["- * 1", "- *.svc.cluster.local 2"]);
    check(&all, "", "anything.org", Some(1));
    check(&all, "", "[::1]:80", Some(1));
    check(&all, "shop", "cart", Some(2));
}

/// Scenario: rules of the caller's, the service's, the root's and another namespace.
/// Guarantees: they go before each other in that order; another namespace's holds for nobody else,
/// but for domains.
#[test]
fn callers() {
    let host = "inventory.shop.svc.cluster.local";
    let policy = rules(&[
        &format!("web {host} 1"),
        "shop inventory 2",
        &format!("istio-system {host} 3"),
        &format!("other {host} 4"),
        "web payment.shop 5",
        "other api.example.com 6",
    ]);
    check(&policy, "web", host, Some(1));
    check(&policy, "shop", "inventory", Some(2));
    check(&policy, "somewhere", host, Some(2));
    check(&policy, "other", host, Some(4));
    check(&policy, "web", "payment.shop", Some(5));
    check(&policy, "shop", "payment", None);
    check(&policy, "shop", "api.example.com", Some(6));
}

/// Scenario: `exportTo` with names, `.`, `~`, and `*`.
/// Guarantees: only those callers see the rule; others get the next one, or none.
#[test]
fn export_to() {
    let policy = rules(&[
        "shop inventory 1 .",
        "shop payment 2 web",
        "shop cart 3 \"~\"",
        "shop shipping 4 \"*\"",
        "istio-system inventory.shop.svc.cluster.local 5",
    ]);
    check(&policy, "shop", "inventory", Some(1));
    check(&policy, "web", "inventory.shop", Some(5));
    check(&policy, "web", "payment.shop", Some(2));
    check(&policy, "shop", "payment", None);
    check(&policy, "shop", "cart", None);
    check(&policy, "web", "shipping.shop", Some(4));
}

fn service(name: &str, namespace: &str, host: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, \
         namespace: {namespace}}}, spec: {{hosts: [\"{host}\"], {more} http: [{{directResponse: {{status: \
         200}}}}]}}}}\n"
    )
}

/// Scenario: `VirtualService`s of one host, of a wildcard, hidden ones, and some for gateways.
/// Guarantees: the first that the caller sees routes the host; those for gateways only route nothing
/// between services.
#[test]
fn routes() {
    let text = [
        service("private", "shop", "inventory", "exportTo: [.],"),
        service("public", "shop", "inventory", ""),
        service("late", "shop", "inventory", ""),
        service("wild", "shop", "*.example.com", ""),
        service("entry", "shop", "shop.example.com", "gateways: [entry],"),
        service("both", "shop", "www.example.com", "gateways: [entry, mesh],"),
    ];
    let policy = compiled(&text.concat());
    let mesh = |caller: &str, host: &str| policy.routes(caller, host).map(|r| r.object.to_string());
    let named = |name: &str| Some(format!("VirtualService/shop/{name}"));
    assert_eq!(mesh("shop", "inventory"), named("private"));
    assert_eq!(mesh("web", "inventory.shop"), named("public"));
    assert_eq!(mesh("shop", "shop.example.com"), named("wild"));
    assert_eq!(mesh("shop", "www.example.com"), named("both"));
    assert_eq!(mesh("shop", "payment"), None);
    let hosts: Vec<String> = policy.routed_hosts().map(ToString::to_string).collect();
    assert_eq!(hosts, ["inventory.shop.svc.cluster.local", "www.example.com", "*.example.com"]);
    assert_eq!(mesh("shop", &hosts[2]), named("wild"), "a host of the list is found by its name");
    assert_eq!(policy.destination_hosts().count(), 0);
}

/// Scenario: texts that are no hosts, and some that are.
/// Guarantees: they are told apart, and what is one is printed whole.
#[test]
fn host_names() {
    let check = |text: &str, namespace: &str, expected: Option<&str>| {
        let found = HostName::parse(text, namespace).ok().map(|host| host.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    };
    check("inventory", "shop", Some("inventory.shop.svc.cluster.local"));
    check("inventory", "", Some("inventory"));
    check("Inventory.Shop", "", Some("inventory.shop.svc.cluster.local"));
    check("example.com", "shop", Some("example.com"));
    check("*.example.com", "shop", Some("*.example.com"));
    check("*", "shop", Some("*"));
    check("*.shop.svc.cluster.local", "", Some("*.shop.svc.cluster.local"));
    check("::1", "shop", Some("::1"));
    for text in
        ["", ".", "a b", "a/b", "*a", "a.*", "*.*.a", "a..b", "a:80", "\u{202e}", &"a".repeat(300)]
    {
        check(text, "shop", None);
    }
}

/// Scenario: rules of one host and namespace in several documents.
/// Guarantees: merged as in Istio: the first policy, all subsets, the first of a name.
#[test]
fn rules_of_one_host_are_merged() {
    let text = include_str!("valid/conflicts.yaml");
    let policy = compile(&documents(text), Profile::Fusebox).unwrap().0;
    let host = policy.destination("", "inventory").unwrap();
    assert_eq!(host.settings(None, 80).pool.connections_max, Some(1));
    let subsets: Vec<(&str, &str)> =
        host.subsets.iter().map(|subset| (&*subset.name, &*subset.labels[0].1)).collect();
    assert_eq!(subsets, [("v1", "v1"), ("v2", "v2")]);
}
