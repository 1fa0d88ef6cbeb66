//! Paths and redirects: what a request becomes.

use super::matching::Map;
use super::{compiled, routes, service};
use fusebox_proto::policy::*;

/// A `GET http://shop.example.com:8080<target>`, at the first rule.
fn at_first_rule<T>(rule: &str, target: &str, read: impl Fn(&Matched<'_>, &Request<'_>) -> T) -> T {
    let policy = compiled(&service(rule));
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let (headers, caller) = (Map(Vec::new()), Caller::default());
    let request = Request {
        method: "GET",
        scheme: "http",
        authority: "shop.example.com:8080",
        path,
        query,
        port: 15001,
        headers: &headers,
        caller: &caller,
    };
    read(&routes(&policy).route(&request).expect("it matches"), &request)
}

/// Scenario: `rewrite.uri` and `uriRegexRewrite` with each kind of condition.
/// Guarantees: Istio's: a matched prefix is replaced byte for byte, else the whole path; groups of a
/// regular expression are numbered as in RE2.
#[test]
fn paths() {
    let check = |condition: &str, rewrite: &str, path: &str, expected: &str| {
        let rule = format!(
            "match: [{condition}], rewrite: {{{rewrite}}}, route: [{{destination: {{host: a}}}}]"
        );
        let found = at_first_rule(&rule, path, |matched, request| {
            let rewrite = matched.rule.rewrite.path.as_ref().expect("the text has one");
            rewrite.apply(request.path, matched.condition).into_owned()
        });
        assert_eq!(found, expected, "{condition} {rewrite}");
    };
    check("{uri: {prefix: /api}}", "uri: /v2", "/api/cart", "/v2/cart");
    check("{uri: {prefix: /api/}}", "uri: /", "/api/cart", "/cart");
    check("{uri: {prefix: /api}}", "uri: /", "/api/cart", "//cart");
    check("{uri: {prefix: /API}, ignoreUriCase: true}", "uri: /v2", "/api/cart", "/v2/cart");
    check("{uri: {exact: /api}}", "uri: /v2", "/api", "/v2");
    check("{uri: {regex: \"/api.*\"}}", "uri: /v2", "/api/cart", "/v2");
    check("{method: {exact: GET}}", "uri: /v2/", "/cart", "/v2/cart");
    check("{uri: {prefix: /a}}, {uri: {prefix: /b/}}", "uri: /x/", "/b/c", "/x/c");
    let regex =
        "uriRegexRewrite: {match: \"^/service/([^/]+)(/.*)$\", rewrite: '\\2/instance/\\1'}";
    check("{}", regex, "/service/foo/v1/api", "/v1/api/instance/foo");
    check("{}", regex, "/other", "/other");
    check("{}", "uriRegexRewrite: {match: one, rewrite: two}", "/one/one", "/two/two");
    check("{}", "uriRegexRewrite: {match: b+, rewrite: '\\0\\\\'}", "/abb", "/abb\\");
}

/// Scenario: `redirect` with each field.
/// Guarantees: what is not named stays as in the request; the port of a changed scheme does not.
#[test]
fn redirects() {
    let check = |redirect: &str, status: u16, expected: &str| {
        let rule = format!("match: [{{uri: {{prefix: /a}}}}], redirect: {{{redirect}}}");
        let found =
            at_first_rule(&rule, "/a/b?q=1", |matched, request| match &matched.rule.action {
                Action::Redirect(to) => (to.status, to.location(request, matched.condition)),
                other => panic!("{other:?}"),
            });
        assert_eq!(found, (status, expected.to_owned()), "{redirect}");
    };
    check("uri: /c", 301, "http://shop.example.com:8080/c?q=1");
    check("uri: /c, redirectCode: 307", 307, "http://shop.example.com:8080/c?q=1");
    check("prefixRewrite: /c", 301, "http://shop.example.com:8080/c/b?q=1");
    check("authority: new.example.com", 301, "http://new.example.com/a/b?q=1");
    check("authority: \"new.example.com:81\"", 301, "http://new.example.com:81/a/b?q=1");
    check("scheme: https", 301, "https://shop.example.com/a/b?q=1");
    check("scheme: https, port: 8443", 301, "https://shop.example.com:8443/a/b?q=1");
    check("port: 80", 301, "http://shop.example.com/a/b?q=1");
    check("scheme: https, port: 443", 301, "https://shop.example.com/a/b?q=1");
    check("uri: /c, derivePort: FROM_REQUEST_PORT", 301, "http://shop.example.com:15001/c?q=1");
    check("uri: /c, derivePort: FROM_PROTOCOL_DEFAULT", 301, "http://shop.example.com/c?q=1");
}

/// Scenario: `rewrite.authority`.
/// Guarantees: it is kept as written.
#[test]
fn authority() {
    let rule = "rewrite: {authority: other.example.com}, route: [{destination: {host: a}}]";
    let found = at_first_rule(rule, "/", |matched, _| matched.rule.rewrite.authority.clone());
    assert_eq!(found.as_deref(), Some("other.example.com"));
}
