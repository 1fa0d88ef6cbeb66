//! The Gateway API: `HTTPRoute` and `XBackendTrafficPolicy`.

use super::matching::Map;
use super::{assert_says, compiled};
use fusebox_proto::policy::*;
use std::fmt::Debug;
use std::time::Duration;

fn route(name: &str, namespace: &str, parent: &str, rules: &str) -> String {
    format!(
        "---\n{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, \
         namespace: {namespace}}}, spec: {{parentRefs: [{{{parent}}}], rules: [{rules}]}}}}\n"
    )
}

const SERVICE: &str = "kind: Service, group: \"\", name: inventory, namespace: shop";
const BACKEND: &str = "backendRefs: [{name: v1}]";

fn rules(rules: &str) -> Routes {
    let policy = compiled(&route("r", "shop", SERVICE, rules));
    policy.routes("shop", "inventory").expect("the text routes it").clone()
}

/// What one rule says; `part` stands beside a plain backend.
#[track_caller]
fn check<T: PartialEq + Debug>(part: &str, read: impl Fn(&HttpRule) -> T, expected: T) {
    assert_eq!(read(&rules(&format!("{{{BACKEND}, {part}}}")).http[0]), expected, "{part}");
}

/// Which rule takes a `GET`.
fn taken_by(
    routes: &Routes,
    target: &str,
    headers: &[(&'static str, &'static str)],
    port: u16,
) -> Option<String> {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let (headers, caller) = (Map(headers.to_vec()), Caller::default());
    let request = Request {
        method: "GET",
        scheme: "http",
        authority: "inventory",
        path,
        query,
        port,
        headers: &headers,
        caller: &caller,
    };
    routes.route(&request).map(|matched| matched.rule.name.to_string())
}

/// Scenario: each kind of `matches`.
/// Guarantees: a path prefix ends at the border of an element, the rest is as its type says.
#[test]
fn matches() {
    let check = |condition: &str,
                 target: &str,
                 header: Option<(&'static str, &'static str)>,
                 expected: bool| {
        let routes = rules(&format!("{{matches: [{{{condition}}}], {BACKEND}}}"));
        let headers: Vec<_> = header.into_iter().collect();
        assert_eq!(
            taken_by(&routes, target, &headers, 80).is_some(),
            expected,
            "{condition} {target}"
        );
    };
    check("path: {type: PathPrefix, value: /cart}", "/cart", None, true);
    check("path: {type: PathPrefix, value: /cart}", "/cart/1", None, true);
    check("path: {type: PathPrefix, value: /cart}", "/cartoon", None, false);
    check("path: {type: PathPrefix, value: /cart/}", "/cart", None, true);
    check("path: {value: /}", "/anything", None, true);
    check("path: {type: Exact, value: /cart}", "/cart/", None, false);
    check("path: {type: RegularExpression, value: \"/c.*t\"}", "/carrot", None, true);
    check("path: {type: RegularExpression, value: \"/c\"}", "/carrot", None, false);
    check("method: GET", "/", None, true);
    check("method: POST", "/", None, false);
    check("headers: [{name: X-A, value: b}]", "/", Some(("x-a", "b")), true);
    check("headers: [{name: X-A, value: b}]", "/", None, false);
    check(
        "headers: [{type: RegularExpression, name: x-a, value: \"b+\"}]",
        "/",
        Some(("x-a", "bb")),
        true,
    );
    check("queryParams: [{name: q, value: \"1\"}]", "/?q=1", None, true);
    check("queryParams: [{name: q, value: \"1\"}]", "/?q=2", None, false);
}

/// Scenario: rules from the least to the most specific, in two documents.
/// Guarantees: the Gateway API's order: exact, then the longest prefix, method, headers, query; then
/// the document's name, then the order in it.
#[test]
fn precedence() {
    let one = |name: &str, condition: &str| {
        format!("{{name: {name}, matches: [{{{condition}}}], {BACKEND}}}")
    };
    let first = [
        format!("{{name: all, {BACKEND}}}"),
        one("short", "path: {value: /a}"),
        one("long", "path: {value: /a/b}"),
        one("exact", "path: {type: Exact, value: /a/b}"),
        one("header", "path: {value: /a}, headers: [{name: x-a, value: b}]"),
        one("method", "path: {value: /m}, method: GET"),
        one("same", "path: {value: /same}"),
    ];
    let second = [
        one("method-not", "path: {value: /m}, headers: [{name: x-a, value: b}]"),
        one("later", "path: {value: /same}"),
    ];
    let text = route("b", "shop", SERVICE, &second.join(", "))
        + &route("a", "shop", SERVICE, &first.join(", "));
    let policy = compiled(&text);
    let routes = policy.routes("shop", "inventory").unwrap();
    let check = |target: &str, headers: &[(&'static str, &'static str)], expected: &str| {
        assert_eq!(taken_by(routes, target, headers, 80).as_deref(), Some(expected), "{target}");
    };
    check("/x", &[], "all");
    check("/a/x", &[], "short");
    check("/a/b/c", &[], "long");
    check("/a/b", &[], "exact");
    check("/a/x", &[("x-a", "b")], "header");
    check("/a/b/c", &[("x-a", "b")], "long");
    check("/m", &[("x-a", "b")], "method");
    check("/same", &[], "same");
    assert_eq!(&*routes.object, "HTTPRoute/shop/a, HTTPRoute/shop/b");
}

/// Scenario: parents of every kind.
/// Guarantees: a service's port restricts the route; a route of another namespace is for callers of
/// its own; a gateway's is for none.
#[test]
fn parents() {
    let routes =
        |text: &str, caller: &str| compiled(text).routes(caller, "inventory.shop").cloned();
    let port = route("r", "shop", &format!("{SERVICE}, port: 8080"), &format!("{{{BACKEND}}}"));
    let routes_of_port = routes(&port, "web").unwrap();
    assert_eq!(taken_by(&routes_of_port, "/", &[], 8080).as_deref(), Some("r[0]"));
    assert_eq!(taken_by(&routes_of_port, "/", &[], 80), None);
    let consumer = route("r", "web", SERVICE, &format!("{{{BACKEND}}}"));
    assert!(routes(&consumer, "web").is_some());
    assert!(routes(&consumer, "shop").is_none());

    let gateway = route("r", "shop", "name: entry", &format!("{{{BACKEND}}}"));
    let policy = compiled(&gateway);
    assert!(policy.routes("shop", "anything").is_none());
}

/// Scenario: `backendRefs` with weights, ports, namespaces and filters.
/// Guarantees: an absent weight is 1, an absent namespace the route's.
#[test]
fn backend_refs() {
    let routes = rules(
        "{backendRefs: [{name: v1, port: 8080, weight: 9}, {name: v2, namespace: canary, filters: \
         [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: b}]}}]}]}",
    );
    let Action::Forward(destinations) = &routes.http[0].action else { panic!("{routes:?}") };
    let all: Vec<&Weighted> = destinations.iter().collect();
    let host = |name: &str| format!("{name}.svc.cluster.local");
    assert_eq!(
        (&*all[0].destination.host, all[0].destination.port, all[0].weight),
        (&*host("v1.shop"), Some(8080), 9)
    );
    assert_eq!(
        (&*all[1].destination.host, all[1].destination.port, all[1].weight),
        (&*host("v2.canary"), None, 1)
    );
    assert_eq!(all[1].request_headers.set, [("x-a".into(), "b".into())]);
}

/// Scenario: each filter.
/// Guarantees: it does what its type says.
#[test]
fn filters() {
    let filter = |body: &str| format!("filters: [{{{body}}}]");
    let pair = || vec![("x-a".into(), "b".into())];
    let set = "set: [{name: X-A, value: b}]";
    check(
        &filter(&format!("type: RequestHeaderModifier, requestHeaderModifier: {{{set}}}")),
        |r| r.request_headers.set.clone(),
        pair(),
    );
    check(
        &filter(&format!("type: ResponseHeaderModifier, responseHeaderModifier: {{{set}}}")),
        |r| r.response_headers.set.clone(),
        pair(),
    );
    let share =
        |r: &HttpRule| (r.mirrors[0].destination.host.to_string(), r.mirrors[0].percent.value());
    let copy = || "copy.shop.svc.cluster.local".to_owned();
    check(
        &filter("type: RequestMirror, requestMirror: {backendRef: {name: copy}}"),
        share,
        (copy(), 100.0),
    );
    check(
        &filter("type: RequestMirror, requestMirror: {backendRef: {name: copy}, percent: 5}"),
        share,
        (copy(), 5.0),
    );
    check(
        &filter(
            "type: RequestMirror, requestMirror: {backendRef: {name: copy}, fraction: {numerator: 1, denominator: 200}}",
        ),
        share,
        (copy(), 0.5),
    );
    let authority = |r: &HttpRule| r.rewrite.authority.clone();
    check(
        &filter("type: URLRewrite, urlRewrite: {hostname: a.example.com}"),
        authority,
        Some("a.example.com".into()),
    );
}

/// Scenario: `URLRewrite` of paths, and `RequestRedirect`.
/// Guarantees: a prefix is replaced with one slash at the seam; a redirect keeps every field.
#[test]
fn path_filters() {
    let rewritten = |new: &str, prefix: &str, path: &str, expected: &str| {
        let routes = rules(&format!(
            "{{matches: [{{path: {{value: {prefix}}}}}], {BACKEND}, filters: [{{type: URLRewrite, urlRewrite: \
             {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: \"{new}\"}}}}}}]}}"
        ));
        let rule = &routes.http[0];
        let path =
            rule.rewrite.path.as_ref().unwrap().apply(path, rule.matches.first()).into_owned();
        assert_eq!(path, expected, "{prefix} → {new}");
    };
    rewritten("/xyz", "/foo", "/foo/bar", "/xyz/bar");
    rewritten("/xyz/", "/foo", "/foo/bar", "/xyz/bar");
    rewritten("/xyz", "/foo/", "/foo", "/xyz");
    rewritten("/", "/foo", "/foo/bar", "/bar");
    rewritten("/", "/foo", "/foo", "/");
    rewritten("/xyz", "/", "/bar", "/xyz/bar");
    let full = "type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /x}}";
    let path = |r: &HttpRule| r.rewrite.path.clone();
    check(&format!("filters: [{{{full}}}]"), path, Some(PathRewrite::Full("/x".into())));

    let to =
        "requestRedirect: {scheme: https, statusCode: 301, hostname: a.example.com, port: 8443}";
    let routes = rules(&format!("{{filters: [{{type: RequestRedirect, {to}}}]}}"));
    let Action::Redirect(redirect) = &routes.http[0].action else { panic!("{routes:?}") };
    assert_eq!((redirect.status, redirect.port), (301, RedirectPort::Number(8443)));
    assert_eq!(
        (redirect.scheme.as_deref(), redirect.authority.as_deref()),
        (Some("https"), Some("a.example.com"))
    );
}

/// Scenario: `timeouts` and `retry`, alone and together.
/// Guarantees: with one attempt the smaller timeout counts; with retries each attempt has its own.
#[test]
fn timeouts_and_retry() {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let read =
        |r: &HttpRule| (r.timeout, r.retries.as_ref().and_then(|retries| retries.per_try_timeout));
    check("timeouts: {request: 2s}", read, (Some(s(2)), None));
    check("timeouts: {backendRequest: 500ms}", read, (Some(ms(500)), None));
    check("timeouts: {request: 2s, backendRequest: 500ms}", read, (Some(ms(500)), None));
    check("timeouts: {request: 0s}", read, (None, None));
    check(
        "timeouts: {request: 2s, backendRequest: 500ms}, retry: {attempts: 3}",
        read,
        (Some(s(2)), Some(ms(500))),
    );
    let retries = |r: &HttpRule| {
        let retries = r.retries.clone().unwrap();
        (
            retries.retries_max,
            retries.backoff_base,
            retries.on.has_status(503),
            retries.on.has_status(500),
        )
    };
    check("retry: {}", retries, (1, ms(25), false, false));
    check("retry: {attempts: 3, backoff: 1s, codes: [503]}", retries, (3, s(1), true, false));
}

/// Scenario: a retry budget for a host with and without a rule of its own, in both dialects.
/// Guarantees: the rate is count ÷ interval; a rule's own budget goes before it.
#[test]
fn retry_constraint() {
    let policy = |constraint: &str, rule: &str| {
        compiled(&format!(
            "{{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {{name: \
             b, namespace: shop}}, spec: {{targetRefs: [{{name: inventory}}], retryConstraint: \
             {{{constraint}}}}}}}\n{rule}"
        ))
    };
    let check = |constraint: &str, rule: &str, percent, interval, retries_per_s_min| {
        let policy = policy(constraint, rule);
        let settings = policy.destination("web", "inventory.shop").unwrap().settings(None, 80);
        let budget = settings.retry_budget.expect("the text has one");
        let found = (budget.percent, budget.interval.as_secs(), budget.retries_per_s_min);
        assert_eq!(found, (percent, interval, retries_per_s_min), "{constraint}");
    };
    check("", "", 20.0, 10, 10.0);
    check("budget: {percent: 5, interval: 1m}", "", 5.0, 60, 10.0);
    check("minRetryRate: {count: 5, interval: 2s}", "", 20.0, 10, 2.5);
    let rule = |policy: &str| {
        format!(
            "---\n{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: r, namespace: \
             shop}}, spec: {{host: inventory, trafficPolicy: {{{policy}}}}}}}"
        )
    };
    check("", &rule(""), 20.0, 10, 10.0);
    check("", &rule("retryBudget: {percent: 7}"), 7.0, 0, 0.0);
}

/// Scenario: fields that exist and have no effect here.
/// Guarantees: each is said with its path.
#[test]
fn fields_without_effect_are_said() {
    let check = |rule: &str, part: &str| {
        assert_says(&route("r", "shop", SERVICE, rule), Severity::Warning, part);
    };
    check(
        &format!("{{{BACKEND}, sessionPersistence: {{}}}}"),
        "sessionPersistence: is not supported",
    );
    check(
        &format!("{{{BACKEND}, filters: [{{type: CORS, cors: {{}}}}]}}"),
        "filters[0]: is of a type that is not supported",
    );
    let one = "backendRefs: [{name: v1, filters: [{type: URLRewrite, urlRewrite: {hostname: a}}]}]";
    check(&format!("{{{one}}}"), "not supported on one backend");
    let twice = "matches: [{headers: [{name: a, value: b}, {name: A, value: c}]}]";
    check(&format!("{{{BACKEND}, {twice}}}"), "the first counts");
}
