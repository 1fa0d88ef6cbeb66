//! Every field of a `VirtualService` beside its conditions, by its name.

use super::{assert_says, compiled, routes, service};
use fusebox_proto::policy::*;
use std::fmt::Debug;
use std::time::Duration;

const ROUTE: &str = "route: [{destination: {host: inventory}}]";

/// What one rule of `http` says; `part` stands beside a plain route.
#[track_caller]
fn check<T: PartialEq + Debug>(part: &str, read: impl Fn(&HttpRule) -> T, expected: T) {
    check_rule(&format!("{ROUTE}, {part}"), read, expected);
}

#[track_caller]
fn check_rule<T: PartialEq + Debug>(rule: &str, read: impl Fn(&HttpRule) -> T, expected: T) {
    let policy = compiled(&service(rule));
    assert_eq!(read(&routes(&policy).http[0]), expected, "{rule}");
}

fn destinations(rule: &HttpRule) -> &Destinations {
    match &rule.action {
        Action::Forward(destinations) => destinations,
        other => panic!("{other:?}"),
    }
}

fn percent(value: f64) -> Percent {
    Percent::new(value).expect("0 to 100")
}

fn to(host: &str) -> Destination {
    Destination { host: host.into(), subset: None, port: None }
}

/// Scenario: `name` and `timeout`, there and absent.
/// Guarantees: a rule without a name is named after its document; no timeout is no limit.
#[test]
fn name_and_timeout() {
    check("name: canary", |r| r.name.to_string(), "canary".to_owned());
    check("", |r| r.name.to_string(), "v[0]".to_owned());
    check("timeout: 1.5s", |r| r.timeout, Some(Duration::from_millis(1_500)));
    check("timeout: 0s", |r| r.timeout, None);
    check("", |r| r.timeout, None);
}

/// Scenario: destinations with every field, alone and beside others.
/// Guarantees: host, subset and port are kept; alone a destination gets everything; among others
/// no weight is 0.
#[test]
fn route() {
    let all = |rule: &HttpRule| {
        let all = destinations(rule).iter().map(|one| (one.destination.clone(), one.weight));
        all.collect::<Vec<_>>()
    };
    let port = Destination { port: Some(8081), ..to("inventory") };
    check_rule(
        "route: [{destination: {host: inventory, port: {number: 8081}}}]",
        all,
        vec![(port, 1)],
    );
    check_rule("route: [{destination: {host: a}, weight: 0}]", all, vec![(to("a"), 1)]);
    let two = "route: [{destination: {host: a}, weight: 3}, {destination: {host: b.shop}}]";
    let b = to("b.shop.svc.cluster.local");
    check_rule(two, all, vec![(to("a"), 3), (b, 0)]);
    assert_says(&service(two), Severity::Warning, "route[1]: has no weight");
    let own = "route: [{destination: {host: a}, headers: {request: {set: {x-a: b}}, response: {remove: [x-b]}}}]";
    let edits = |rule: &HttpRule| {
        let one = destinations(rule).iter().next().expect("one").clone();
        (one.request_headers.set, one.response_headers.remove)
    };
    check_rule(own, edits, (vec![("x-a".into(), "b".into())], vec!["x-b".into()]));
}

/// Scenario: weights that sum to anything, picked at evenly spaced points and at the borders.
/// Guarantees: each destination gets weight ÷ sum; weight 0 gets nothing; a point that is no
/// number picks one, too.
#[test]
fn weight() {
    let check = |weights: [u32; 3], expected: [usize; 3]| {
        let route =
            weights.map(|weight| format!("{{destination: {{host: h{weight}}}, weight: {weight}}}"));
        let policy = compiled(&service(&format!("route: [{}]", route.join(", "))));
        let destinations = destinations(&routes(&policy).http[0]);
        let mut counts = weights.map(|_| 0);
        for point in 0..1_000 {
            let picked = destinations.pick(f64::from(point) / 1_000.0).weight;
            counts[weights.iter().position(|&weight| weight == picked).unwrap()] += 1;
        }
        assert_eq!(counts, expected, "{weights:?}");
        for point in [-1.0, 1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert_ne!(destinations.pick(point).weight, 0, "{point}");
        }
    };
    check([90, 10, 0], [900, 100, 0]);
    check([0, 1, 3], [0, 250, 750]);
    check([500, 300, 200], [500, 300, 200]);
    check([2_000_000_000, 1_000_000_000, 0], [667, 333, 0]);
}

/// Scenario: `retries` with each field.
/// Guarantees: Istio's meaning of attempts, conditions and codes; nothing is retried without
/// attempts.
#[test]
fn retries() {
    let read = |part: &str| {
        let policy = compiled(&service(&format!("{ROUTE}, retries: {{{part}}}")));
        routes(&policy).http[0].retries.clone()
    };
    assert_eq!(read("attempts: 0"), None);
    assert_eq!(read(""), None);
    let plain = read("attempts: 3").unwrap();
    assert_eq!((plain.retries_max, plain.per_try_timeout), (3, None));
    assert_eq!(plain.backoff_base, Duration::from_millis(25));
    assert!(plain.on.has(RetryCondition::ConnectFailure) && plain.on.has_grpc_status(14));
    let own =
        read("attempts: 1, perTryTimeout: 200ms, backoff: 1s, retryOn: \"503, 5xx,reset,503\"");
    let own = own.unwrap();
    assert_eq!(own.per_try_timeout, Some(Duration::from_millis(200)));
    assert_eq!(own.backoff_base, Duration::from_secs(1));
    assert_eq!(own.on.statuses, [(503, 503)]);
    assert_eq!(own.on.conditions, [RetryCondition::ServerError, RetryCondition::Reset]);
}

/// Scenario: each word of `retryOn`, asked about each status.
/// Guarantees: it retries what Envoy's documentation says.
#[test]
fn retry_on() {
    let check = |words: &str, statuses: &[u16], grpc: &[u16]| {
        let text = service(&format!("{ROUTE}, retries: {{attempts: 1, retryOn: \"{words}\"}}"));
        let policy = compiled(&text);
        let on = routes(&policy).http[0].retries.clone().unwrap().on;
        let found: Vec<u16> = (100..600).filter(|&status| on.has_status(status)).collect();
        assert_eq!(found, statuses, "{words}");
        let found: Vec<u16> = (0..17).filter(|&status| on.has_grpc_status(status)).collect();
        assert_eq!(found, grpc, "{words}");
    };
    let all: Vec<u16> = (500..600).collect();
    check("5xx", &all, &[]);
    check("gateway-error", &[502, 503, 504], &[]);
    check("retriable-4xx", &[409], &[]);
    check("429,503", &[429, 503], &[]);
    check("reset,connect-failure,refused-stream,reset-before-request", &[], &[]);
    check("cancelled", &[], &[1]);
    check("deadline-exceeded", &[], &[4]);
    check("resource-exhausted", &[], &[8]);
    check("internal", &[], &[13]);
    check("unavailable", &[], &[14]);
}

/// Scenario: `fault` with each field, with and without a percentage.
/// Guarantees: an absent percentage is none, and said.
#[test]
fn fault() {
    let second = Duration::from_secs(1);
    let delay = |rule: &HttpRule| rule.fault.delay;
    let abort = |rule: &HttpRule| rule.fault.abort;
    check(
        "fault: {delay: {fixedDelay: 1s, percentage: {value: 12.5}}}",
        delay,
        Some((second, percent(12.5))),
    );
    check("fault: {delay: {fixedDelay: 1s, percent: 7}}", delay, Some((second, percent(7.0))));
    check("fault: {delay: {fixedDelay: 1s}}", delay, Some((second, Percent::ZERO)));
    check(
        "fault: {abort: {httpStatus: 500, percentage: {value: 100}}}",
        abort,
        Some((Abort::Http(500), Percent::ALL)),
    );
    check(
        "fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 1}}}",
        abort,
        Some((Abort::Grpc(14), percent(1.0))),
    );
    let none = service(&format!("{ROUTE}, fault: {{abort: {{httpStatus: 500}}}}"));
    assert_says(&none, Severity::Warning, "fault.abort: has no percentage, which is 0");
    let note = service(&format!(
        "{ROUTE}, timeout: 1s, fault: {{delay: {{fixedDelay: 1s, percentage: {{value: 1}}}}}}"
    ));
    assert_says(&note, Severity::Info, "faults come first");
}

/// Scenario: points around a percentage.
/// Guarantees: exactly that share is taken, nothing at 0, everything at 100.
#[test]
fn percentages() {
    let check = |value: f64, expected: usize| {
        let taken = (0..1_000).filter(|&at| percent(value).takes(f64::from(at) / 1_000.0)).count();
        assert_eq!(taken, expected, "{value}");
    };
    check(0.0, 0);
    check(0.1, 1);
    check(50.0, 500);
    check(100.0, 1_000);
    assert_eq!(Percent::new(100.1), None);
    assert_eq!(Percent::new(f64::NAN), None);
}

/// Scenario: `mirror` and `mirrors`.
/// Guarantees: an absent percentage is all.
#[test]
fn mirror() {
    let read = |rule: &HttpRule| rule.mirrors.clone();
    let one = |percent| vec![Mirror { destination: to("copy"), percent }];
    check("mirror: {host: copy}", read, one(Percent::ALL));
    check("mirror: {host: copy}, mirrorPercentage: {value: 5}", read, one(percent(5.0)));
    check("mirror: {host: copy}, mirrorPercent: 6", read, one(percent(6.0)));
    check(
        "mirrors: [{destination: {host: copy}, percentage: {value: 0.5}}]",
        read,
        one(percent(0.5)),
    );
    check("mirrors: [{destination: {host: copy}}]", read, one(Percent::ALL));
}

/// Scenario: `headers` of a rule.
/// Guarantees: set, add and remove on both ways, names in lower case; `Host` is a rewrite.
#[test]
fn headers() {
    let pair = |name: &str, value: &str| vec![(name.into(), value.into())];
    let edits = |set, add, remove| HeaderEdits { set, add, remove };
    check(
        "headers: {request: {set: {X-A: b}}}",
        |r| r.request_headers.clone(),
        edits(pair("x-a", "b"), vec![], vec![]),
    );
    check(
        "headers: {request: {add: {X-A: b}}}",
        |r| r.request_headers.clone(),
        edits(vec![], pair("x-a", "b"), vec![]),
    );
    check(
        "headers: {response: {remove: [X-A]}}",
        |r| r.response_headers.clone(),
        edits(vec![], vec![], vec!["x-a".into()]),
    );
    check(
        "headers: {request: {set: {Host: a.example.com}}}",
        |r| r.rewrite.authority.clone(),
        Some("a.example.com".into()),
    );
    let command =
        service(&format!("{ROUTE}, headers: {{request: {{set: {{x-a: \"%START_TIME%\"}}}}}}"));
    assert_says(&command, Severity::Warning, "%COMMANDS% are not supported");
}

/// Scenario: `directResponse`.
/// Guarantees: status and body are kept.
#[test]
fn direct_response() {
    let response = |status, body: &str| {
        Action::Respond(DirectResponse { status, body: body.as_bytes().into() })
    };
    check_rule(
        "directResponse: {status: 503, body: {string: later}}",
        |r| r.action.clone(),
        response(503, "later"),
    );
    check_rule("directResponse: {status: 204}", |r| r.action.clone(), response(204, ""));
}

/// Scenario: `tcp` and `tls` rules.
/// Guarantees: by server name first, then by port, then whatever is left; by weight.
#[test]
fn tcp_and_tls() {
    let text = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v}, spec: \
        {hosts: [inventory], \
        tls: [{match: [{sniHosts: [a.example.com, \"*.b.example.com\"], port: 443}], route: [{destination: {host: tls}}]}], \
        tcp: [{match: [{port: 6379, sourceLabels: {app: web}}], route: [{destination: {host: web}}]}, \
        {match: [{port: 6379, sourceNamespace: shop}], route: [{destination: {host: shop}}]}, \
        {route: [{destination: {host: rest}, weight: 1}, {destination: {host: none}, weight: 0}]}]}}";
    let policy = compiled(text);
    let caller = |namespace: &str, app: &str| Caller {
        namespace: namespace.into(),
        labels: [("app".to_owned(), app.to_owned())].into(),
    };
    let check = |sni: Option<&str>, port, caller: Caller, expected: &str| {
        let rule = routes(&policy).route_tcp(sni, port, &caller).expect("the last takes all");
        assert_eq!(&*rule.destinations.pick(0.5).destination.host, expected, "{sni:?} {port}");
    };
    check(Some("A.example.com"), 443, caller("", "cart"), "tls");
    check(Some("x.b.example.com"), 443, caller("", "cart"), "tls");
    check(Some("b.example.com"), 443, caller("", "cart"), "rest");
    check(Some("a.example.com"), 444, caller("", "cart"), "rest");
    check(None, 443, caller("", "cart"), "rest");
    check(None, 6379, caller("", "web"), "web");
    check(None, 6379, caller("shop", "cart"), "shop");
    check(None, 6379, caller("other", "cart"), "rest");
}

/// Scenario: fields that exist and have no effect here.
/// Guarantees: each is said with its path.
#[test]
fn fields_without_effect_are_said() {
    let check = |rule: &str, part: &str| assert_says(&service(rule), Severity::Warning, part);
    let beside = |part: &str, said: &str| check(&format!("{ROUTE}, {part}"), said);
    beside("corsPolicy: {}", "http[0].corsPolicy: is not supported");
    check("delegate: {name: other}", "the rule is left out");
    beside(
        "retries: {attempts: 1, retryRemoteLocalities: true}",
        "retryRemoteLocalities: is not supported",
    );
    beside("retries: {attempts: 1, retryIgnorePreviousHosts: false}", "retryIgnorePreviousHosts");
    beside("retries: {perTryTimeout: 1s}", "nothing is retried");
    beside("mirrorPercentage: {value: 1}", "no mirror");
    beside(
        "fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}",
        "exponentialDelay: is not supported",
    );
    check("directResponse: {status: 200, body: {bytes: aGk=}}", "body.bytes: is not supported");
    check(
        "directResponse: {status: 200}, retries: {attempts: 1}",
        "on a rule that forwards nothing",
    );
}
