//! Moving a canary.

use super::documents;
use fusebox_proto::policy::{Document, diff, shift};

const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n  \
    host: inventory\n  subsets:\n  - {name: v1, labels: {version: v1}}\n---\n";

fn service(name: &str, namespace: &str, http: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: \
         \"{namespace}\"}}\nspec: {{hosts: [inventory], http: [{http}]}}\n"
    )
}

fn to(subset: &str, weight: &str) -> String {
    format!("{{destination: {{host: inventory, subset: {subset}}}{weight}}}")
}

#[track_caller]
fn check(text: &str, host: &str, weights: &[(&str, u32)], expected: &[&str]) {
    let before = documents(&format!("{RULE}{text}"));
    let after = shift(&before, host, weights).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let changes = diff(&before, &after).changes;
    assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{text}");
    let text = fusebox_proto::policy::write(&after);
    assert_eq!(documents(&text), after, "{text}");
}

/// Scenario: rules that split, that do not, that are about other hosts or have conditions.
/// Guarantees: weights change where traffic is split, else in the rule for all; a subset that is not
/// named gets none, a new one is added; nothing else changes.
#[test]
fn weights_move() {
    let split = format!("{{route: [{}, {}]}}", to("v1", ", weight: 90"), to("v2", ", weight: 10"));
    let ann = format!("{{match: [{{headers: {{u: {{exact: ann}}}}}}], route: [{}]}}", to("v2", ""));
    let weight = |rule: u32, route: u32, change: &str| {
        format!("VirtualService/shop/v: spec.http[{rule}].route[{route}].weight: {change}")
    };
    let one = service("v", "shop", &split);
    let moved = [weight(0, 0, "90 → 75"), weight(0, 1, "10 → 25")];
    let moved: Vec<&str> = moved.iter().map(|line| &**line).collect();
    check(&one, "inventory", &[("v1", 75), ("v2", 25)], &moved);
    check(&one, "inventory.shop", &[("v2", 25), ("v1", 75)], &moved);
    check(&one, "inventory.shop.svc.cluster.local", &[("v2", 25), ("v1", 75)], &moved);
    check(&one, "inventory", &[("v1", 90), ("v2", 10)], &[]);
    check(&one, "inventory", &[("v2", 100)], &[&weight(0, 0, "90 → 0"), &weight(0, 1, "10 → 100")]);
    let with_ann = service("v", "shop", &format!("{ann}, {split}"));
    check(&with_ann, "inventory", &[("v1", 90), ("v2", 20)], &[&weight(1, 1, "10 → 20")]);

    let plain = service("v", "shop", &format!("{ann}, {{route: [{}]}}", to("v1", "")));
    check(
        &plain,
        "inventory",
        &[("v1", 90), ("v2", 10)],
        &[
            "VirtualService/shop/v: spec.http[1].route[0].weight: 90 added",
            "VirtualService/shop/v: spec.http[1].route[1]: {destination: {host: inventory, subset: v2}, \
         weight: 10} added",
        ],
    );
}

/// Scenario: weights without sense, hosts that nobody or two documents route.
/// Guarantees: each is refused, and says what is allowed or missing.
#[test]
fn wrong_shifts_are_refused() {
    let refused = |text: &str, host: &str, weights: &[(&str, u32)], part: &str| {
        let before: Vec<Document> = documents(&format!("{RULE}{text}"));
        let error = shift(&before, host, weights).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    let one = service("v", "shop", &format!("{{route: [{}]}}", to("v1", "")));
    refused(&one, "inventory", &[], "weights: are 0; allowed are 1 to 64");
    refused(&one, "inventory", &[("v1", 0)], "at least one must be more");
    refused(&one, "inventory", &[("v1", 1), ("v1", 2)], "twice");
    refused(&one, "inventory", &[("v1", u32::MAX)], "at most 2147483647");
    refused(&one, "payment", &[("v1", 1)], "host: no VirtualService");
    refused(&one, "inventory.other", &[("v1", 1)], "host: no VirtualService");
    let elsewhere = service("v", "shop", "{route: [{destination: {host: payment}}]}");
    refused(&elsewhere, "inventory", &[("v1", 1)], "host: no VirtualService");
    let both = format!("{one}{}", service("v", "web", &format!("{{route: [{}]}}", to("v1", ""))));
    refused(
        &both,
        "inventory",
        &[("v1", 1)],
        "by VirtualService/shop/v and by VirtualService/web/v",
    );
}
