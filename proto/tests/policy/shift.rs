//! Weights of subsets, edited in the documents.

use super::documents;
use fusebox_proto::policy::{Document, Profile, ShiftRefusal, compile, diff, read, shift, write};

const CANARY: &str = include_str!("valid/founding-inventory-canary.yaml");

fn weights(pairs: &[(&str, u32)]) -> Vec<(String, u32)> {
    pairs.iter().map(|(subset, weight)| ((*subset).to_owned(), *weight)).collect()
}

#[track_caller]
fn shifted(text: &str, host: &str, pairs: &[(&str, u32)]) -> Vec<String> {
    let before = documents(text);
    let after = shift(&before, host, &weights(pairs)).unwrap_or_else(|e| panic!("{e:?}"));
    compile(&after, Profile::Fusebox).unwrap_or_else(|e| panic!("{e:?}"));
    diff(&before, &after).changes.iter().map(ToString::to_string).collect()
}

/// Scenario: canaries of a `VirtualService` and an `HTTPRoute`, with and without weights, with rules
/// that split and rules that do not.
/// Guarantees: exactly the weights of the rules that split change.
#[test]
fn weights_move() {
    let check = |text: &str, host: &str, pairs: &[(&str, u32)], expected: &[&str]| {
        assert_eq!(shifted(text, host, pairs), expected, "{host} {pairs:?}");
    };
    let one = "VirtualService/inventory-route: spec.http[0].route[0].weight: 90 → 75";
    let two = "VirtualService/inventory-route: spec.http[0].route[1].weight: 10 → 25";
    check(CANARY, "inventory", &[("v1", 75), ("v2", 25)], &[one, two]);
    check(CANARY, " INVENTORY.", &[("v2", 25), ("v1", 90)], &[two]);
    check(CANARY, "inventory", &[("v1", 90), ("v2", 10)], &[]);
    let all = "VirtualService/inventory-route: spec.http[0].route[1].weight: 10 → 0";
    check(CANARY, "inventory", &[("v1", 90), ("v2", 0)], &[all]);
    let split = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\nspec:\n  hosts: [cart]\n  http:\n  - match: [{headers: {tester: {exact: x}}}]\n    route: [{destination: {host: cart-new}}]\n  - route: [{destination: {host: cart-old}}, {destination: {host: cart-new.shop}}]\n";
    let added = "VirtualService/shop/v: spec.http[1].route";
    let expected = [format!("{added}[0].weight: 1 added"), format!("{added}[1].weight: 3 added")];
    let broken = split.replace("cart-old}}", "cart-old}, weight: 9}");
    assert_eq!(shifted(&broken, "cart.shop", &[("cart-old", 1), ("cart-new", 3)])[1], expected[1]);
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: h, namespace: shop}\nspec:\n  parentRefs: [{kind: Service, group: '', name: cart, port: 80}]\n  rules:\n  - backendRefs: [{name: cart-v1, port: 80, weight: 9}, {name: cart-v2, port: 80}]\n";
    check(
        route,
        "cart",
        &[("cart-v1", 9), ("cart-v2", 2)],
        &["HTTPRoute/shop/h: spec.rules[0].backendRefs[1].weight: 2 added"],
    );
}

/// Scenario: hosts and subsets that are unknown, ambiguous, incomplete or pointless.
/// Guarantees: nothing changes, and the refusal names what there is.
#[test]
fn what_does_not_fit_is_refused() {
    let check = |host: &str, pairs: &[(&str, u32)], says: &[&str]| {
        let service = |namespace: &str| {
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, \
                 namespace: {namespace}}}\nspec: {{hosts: [cart], http: [{{route: [{{destination: \
                 {{host: cart}}}}]}}]}}\n"
            )
        };
        let text = format!("{CANARY}\n{}{}", service("a"), service("b"));
        let refusal = shift(&documents(&text), host, &weights(pairs)).expect_err("refused");
        let said = match refusal {
            ShiftRefusal::UnknownHost(all) => format!("unknown: {}", all.join(", ")),
            ShiftRefusal::AmbiguousHost(all) => format!("ambiguous: {}", all.join(", ")),
            ShiftRefusal::Invalid(invalid) => invalid.to_string(),
        };
        for word in says {
            assert!(said.contains(word), "{host} {pairs:?}: {word} is not in {said}");
        }
    };
    check("stock", &[("v1", 1)], &["unknown", "inventory", "cart.a.svc.cluster.local"]);
    check("cart", &[("v1", 1)], &["ambiguous", "cart.a.svc", "cart.b.svc"]);
    check("cart.a", &[("cart", 1)], &["is cart", "no rule of cart.a", "send to: cart"]);
    check("inventory", &[("v1", 90), ("v3", 10)], &["route", "also sends to v2"]);
    check("inventory", &[("v3", 10)], &["is v3", "send to: v1, v2"]);
    check("inventory", &[("v2", 10)], &["spec.http[0].route", "also sends to v1"]);
    check("inventory", &[("v1", 0), ("v2", 0)], &["0 for all"]);
    check("inventory", &[("v1", 1), ("v1", 2)], &["v1 twice"]);
    check("inventory", &[("v1", u32::MAX), ("v2", 1)], &["v1", "2147483647"]);
    check("no host", &[("v1", 1)], &["host"]);
}

/// Scenario: every valid file, written and read again; a shift there and back.
/// Guarantees: the canonical text is its own canonical text, byte for byte, and a shift that is
/// taken back leaves no trace.
#[test]
fn canonical_texts_are_stable() {
    for entry in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy/valid")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for document in documents(&std::fs::read_to_string(&path).unwrap()) {
            let text = document.text();
            let (again, _) = read("again", &text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
            assert_eq!(again, [document], "{}", path.display());
            assert_eq!(again[0].text(), text, "{}", path.display());
        }
    }
    let before = documents(CANARY);
    let there = shift(&before, "inventory", &weights(&[("v1", 0), ("v2", 1)])).unwrap();
    let back = shift(&there, "inventory", &weights(&[("v1", 90), ("v2", 10)])).unwrap();
    let text = |documents: &[Document]| write(documents);
    assert_eq!(text(&back), text(&before));
    assert_ne!(text(&there), text(&before));
}
