//! Conditions on requests: what holds, what does not, which rule is first.

use super::{compiled, routes};
use fusebox_proto::policy::*;
use std::borrow::Cow;

/// Headers of a test.
pub(crate) struct Map(pub(crate) Vec<(&'static str, &'static str)>);

impl Headers for Map {
    fn get(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.0.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value);
        let first = values.next()?;
        let joined =
            values.fold(Cow::Borrowed(first), |all, next| Cow::Owned(format!("{all},{next}")));
        Some(match joined {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

/// A request of a test: `GET /cart?a=1` and headers.
#[derive(Default)]
pub(crate) struct Sent {
    method: &'static str,
    target: &'static str,
    authority: &'static str,
    port: u16,
    headers: Vec<(&'static str, &'static str)>,
    caller: Caller,
}

fn get(target: &'static str) -> Sent {
    Sent { method: "GET", target, authority: "inventory:8080", port: 8080, ..Sent::default() }
}

impl Sent {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn from(mut self, namespace: &str, label: (&str, &str)) -> Self {
        self.caller.namespace = namespace.into();
        self.caller.labels.insert(label.0.into(), label.1.into());
        self
    }
}

/// The name of the rule that takes the request.
fn taken_by(policy: &Policy, sent: &Sent) -> Option<String> {
    let (path, query) = match sent.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (sent.target, None),
    };
    let headers = Map(sent.headers.clone());
    let request = Request {
        method: sent.method,
        scheme: "http",
        authority: sent.authority,
        path,
        query,
        port: sent.port,
        headers: &headers,
        caller: &sent.caller,
    };
    routes(policy).route(&request).map(|matched| matched.rule.name.to_string())
}

/// Whether a request meets the conditions of `match`.
#[track_caller]
fn check(conditions: &str, sent: &Sent, expected: bool) {
    let text =
        super::service(&format!("name: r, match: [{conditions}], directResponse: {{status: 200}}"));
    assert_eq!(
        taken_by(&compiled(&text), sent).is_some(),
        expected,
        "{conditions}: {}",
        sent.target
    );
}

/// Scenario: `uri`, exact, by prefix and by regular expression, with and without a query.
/// Guarantees: the path counts without its query; a regular expression must match all of it.
#[test]
fn uri() {
    check("{uri: {exact: /cart}}", &get("/cart"), true);
    check("{uri: {exact: /cart}}", &get("/cart?a=1"), true);
    check("{uri: {exact: /cart}}", &get("/cart/"), false);
    check("{uri: {exact: /cart}}", &get("/Cart"), false);
    check("{uri: {prefix: /cart}}", &get("/cartoon"), true);
    check("{uri: {prefix: /cart}}", &get("/car"), false);
    check("{uri: {prefix: /cart}}", &get("/a/cart"), false);
    check("{uri: {regex: \"/cart/[0-9]+\"}}", &get("/cart/42"), true);
    check("{uri: {regex: \"/cart/[0-9]+\"}}", &get("/cart/42/x"), false);
    check("{uri: {regex: \"/cart/[0-9]+\"}}", &get("/a/cart/42"), false);
    check("{uri: {regex: \"/a|/ab\"}}", &get("/ab"), true);
    check("{uri: {regex: \"/\\\\w+\"}}", &get("/abc_1"), true);
    check("{uri: {regex: \"/\\\\w+\"}}", &get("/ä"), false);
    check("{uri: {regex: \"/\\\\p{L}+\"}}", &get("/ä"), true);
}

/// Scenario: `ignoreUriCase` with each kind of condition.
/// Guarantees: it counts for exact and prefix, not for regular expressions or other fields.
#[test]
fn ignore_uri_case() {
    check("{uri: {exact: /Cart}, ignoreUriCase: true}", &get("/cART"), true);
    check("{uri: {prefix: /Cart}, ignoreUriCase: true}", &get("/cARToon"), true);
    check("{uri: {prefix: /Cart}, ignoreUriCase: true}", &get("/c"), false);
    check("{uri: {regex: /Cart}, ignoreUriCase: true}", &get("/cart"), false);
    check("{uri: {regex: (?i)/Cart}}", &get("/cart"), true);
    check("{method: {exact: get}, ignoreUriCase: true}", &get("/"), false);
}

/// Scenario: `method`, `scheme`, `authority`, `port`.
/// Guarantees: each is compared with its part of the request.
#[test]
fn request_line() {
    check("{method: {exact: GET}}", &get("/"), true);
    check("{method: {regex: \"POST|PUT\"}}", &get("/"), false);
    check("{scheme: {exact: http}}", &get("/"), true);
    check("{scheme: {exact: https}}", &get("/"), false);
    check("{authority: {exact: \"inventory:8080\"}}", &get("/"), true);
    check("{authority: {prefix: inventory}}", &get("/"), true);
    check("{authority: {exact: inventory}}", &get("/"), false);
    check("{port: 8080}", &get("/"), true);
    check("{port: 80}", &get("/"), false);
}

/// Scenario: headers that are there, absent, empty, there twice.
/// Guarantees: an absent header meets no condition, an empty one is there; values of several lines
/// count as one; names do not depend on case.
#[test]
fn headers() {
    let user = |value| get("/").header("x-user", value);
    check("{headers: {X-User: {exact: ann}}}", &user("ann"), true);
    check("{headers: {x-user: {exact: ann}}}", &user("anna"), false);
    check("{headers: {x-user: {prefix: an}}}", &user("anna"), true);
    check("{headers: {x-user: {regex: \"a.*a\"}}}", &user("anna"), true);
    check("{headers: {x-user: {exact: ann}}}", &get("/"), false);
    check("{headers: {x-user: {}}}", &user("bob"), true);
    check("{headers: {x-user: {}}}", &user(""), true);
    check("{headers: {x-user: {}}}", &get("/"), false);
    check("{headers: {x-user: {exact: \"\"}}}", &user(""), true);
    check("{headers: {x-user: {exact: \"\"}}}", &get("/"), false);
    check("{headers: {x-user: {regex: \".*\"}}}", &get("/"), false);
    check("{headers: {x-user: {exact: \"a,b\"}}}", &user("a").header("x-user", "b"), true);
}

/// Scenario: `withoutHeaders`.
/// Guarantees: a header that matches excludes the request, one that is absent does not.
#[test]
fn without_headers() {
    let user = |value| get("/").header("x-user", value);
    check("{withoutHeaders: {x-user: {exact: ann}}}", &user("ann"), false);
    check("{withoutHeaders: {x-user: {exact: ann}}}", &user("bob"), true);
    check("{withoutHeaders: {x-user: {exact: ann}}}", &get("/"), true);
    check("{withoutHeaders: {x-user: {}}}", &user(""), false);
    check("{withoutHeaders: {x-user: {}}}", &get("/"), true);
}

/// Scenario: `queryParams`.
/// Guarantees: the first value of the name counts, as it was sent.
#[test]
fn query_params() {
    check("{queryParams: {v: {exact: \"2\"}}}", &get("/?v=2"), true);
    check("{queryParams: {v: {exact: \"2\"}}}", &get("/?a=1&v=2&b"), true);
    check("{queryParams: {v: {exact: \"2\"}}}", &get("/?v=1&v=2"), false);
    check("{queryParams: {v: {exact: \"2\"}}}", &get("/?vv=2"), false);
    check("{queryParams: {v: {exact: \"2\"}}}", &get("/"), false);
    check("{queryParams: {v: {exact: \"\"}}}", &get("/?v"), true);
    check("{queryParams: {v: {}}}", &get("/?v="), true);
    check("{queryParams: {v: {prefix: a}}}", &get("/?v=ab"), true);
    check("{queryParams: {v: {regex: \"[0-9]+\"}}}", &get("/?v=1x"), false);
    check("{queryParams: {v: {exact: \"a b\"}}}", &get("/?v=a%20b"), false);
}

/// Scenario: `sourceLabels`, `sourceNamespace`.
/// Guarantees: the caller must have all labels and be in the namespace; without one it stands in
/// `default`.
#[test]
fn source() {
    let web = || get("/").from("shop", ("app", "web"));
    check("{sourceLabels: {app: web}}", &web(), true);
    check("{sourceLabels: {app: web, version: v1}}", &web(), false);
    check("{sourceLabels: {app: cart}}", &web(), false);
    check("{sourceNamespace: shop}", &web(), true);
    check("{sourceNamespace: other}", &web(), false);
    check("{sourceNamespace: default}", &get("/"), true);
}

/// Scenario: several parts of a condition, several conditions, `gateways`.
/// Guarantees: parts are joined by and, conditions by or; one for gateways alone does not hold
/// between services.
#[test]
fn and_within_or_between() {
    check("{uri: {exact: /a}, method: {exact: GET}}", &get("/a"), true);
    check("{uri: {exact: /a}, method: {exact: PUT}}", &get("/a"), false);
    check("{uri: {exact: /b}, method: {exact: GET}}", &get("/a"), false);
    check("{uri: {exact: /a}}, {uri: {exact: /b}}", &get("/b"), true);
    check("{uri: {exact: /a}}, {uri: {exact: /b}}", &get("/c"), false);
    check("{uri: {exact: /a}, gateways: [entry]}, {uri: {exact: /b}}", &get("/a"), false);
    check("{uri: {exact: /a}, gateways: [entry, mesh]}", &get("/a"), true);
    check("", &get("/a"), true);
    check("{}", &get("/a"), true);
}

/// Scenario: rules that overlap, and one that takes everything at the end, or does not.
/// Guarantees: the first that matches wins; without any there is none.
#[test]
fn first_match_wins() {
    let text = |last: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v}}, spec: \
             {{hosts: [inventory], http: [\
             {{name: ann, match: [{{headers: {{x-user: {{exact: ann}}}}}}], directResponse: {{status: 200}}}}, \
             {{match: [{{uri: {{prefix: /a}}}}], directResponse: {{status: 200}}}}{last}]}}}}"
        )
    };
    let check = |policy: &Policy, sent: &Sent, expected: Option<&str>| {
        assert_eq!(taken_by(policy, sent).as_deref(), expected);
    };
    let policy = compiled(&text(", {name: rest, directResponse: {status: 200}}"));
    check(&policy, &get("/a").header("x-user", "ann"), Some("ann"));
    check(&policy, &get("/a"), Some("v[1]"));
    check(&policy, &get("/b"), Some("rest"));
    check(&compiled(&text("")), &get("/b"), None);
}

/// Scenario: conditions with parts that have no effect.
/// Guarantees: each is said.
#[test]
fn parts_without_effect_are_said() {
    let check = |condition: &str, part: &str| {
        let text =
            super::service(&format!("match: [{condition}], directResponse: {{status: 200}}"));
        super::assert_says(&text, Severity::Warning, part);
    };
    check("{uri: {regex: /a}, ignoreUriCase: true}", "has no effect on a regex");
    check("{headers: {uri: {exact: /a}}}", "headers.uri: is ignored, as in Istio");
    check("{statPrefix: a}", "statPrefix: is not supported");
    check("{urii: {exact: /a}}", "did you mean uri?");
}
