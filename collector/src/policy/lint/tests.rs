//! Each rule with a case in which it speaks, and one in which it is silent.

use super::{Live, LiveEdge, LiveService, lint};
use fusebox_proto::policy::{Profile, Severity, compile, read};
use fusebox_proto::view::{EdgeView, Service};
use fusebox_proto::{Edge, ServiceId};

fn service(name: &str, instances: u64, p50_ms: f64, p99_ms: f64) -> LiveService {
    let id = ServiceId::named(name).unwrap();
    let (instances, p50_ms, p99_ms) = (Some(instances), Some(p50_ms), Some(p99_ms));
    let view = Service { name: name.into(), instances, p50_ms, p99_ms, ..Service::default() };
    LiveService { id, versions: Vec::new(), endpoints: Vec::new(), view }
}

fn edge(source: &str, destination: &str, rate: f64) -> LiveEdge {
    let named = |name| ServiceId::named(name).unwrap();
    LiveEdge {
        edge: Edge::new(named(source), named(destination)),
        view: EdgeView {
            source: source.into(),
            destination: destination.into(),
            protocol: "http/1.1".into(),
            rate: Some(rate),
            p50_ms: Some(50.0),
            p99_ms: Some(400.0),
            attempts_per_request: Some(1.0),
            proxies: 2,
            ..EdgeView::default()
        },
    }
}

/// frontend → payment (200/s) → inventory (100/s) → stock (100/s); four instances of inventory.
fn mesh() -> Live {
    let services = [
        service("frontend", 2, 90.0, 500.0),
        service("payment", 2, 80.0, 450.0),
        service("inventory", 4, 60.0, 300.0),
        service("stock", 1, 10.0, 20.0),
    ];
    let edges = [
        edge("frontend", "payment", 200.0),
        edge("payment", "inventory", 100.0),
        edge("inventory", "stock", 100.0),
    ];
    Live { services: services.into(), edges: edges.into() }
}

fn findings(text: &str, live: &Live, profile: Profile) -> Vec<String> {
    let (documents, _) = read("a.yaml", text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let (policy, _) = compile(&documents, profile).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let findings = lint(&documents, &policy, live);
    assert!(findings.iter().all(|one| one.severity == Severity::Warning));
    let whole = |one: &fusebox_proto::policy::Finding| {
        let evidence = one.evidence.as_deref().expect("figures");
        format!("{} {} {} [{evidence}]", one.object, one.field, one.message)
    };
    findings.iter().map(whole).collect()
}

/// Asserts that these words are in exactly one finding; none: that nothing is found.
#[track_caller]
fn check_with(text: &str, live: &Live, profile: Profile, words: &[&str]) {
    let all = findings(text, live, profile);
    if words.is_empty() {
        return assert!(all.is_empty(), "{all:#?}\n{text}");
    }
    let hits = all.iter().filter(|one| words.iter().all(|word| one.contains(word))).count();
    assert_eq!(hits, 1, "{words:?} in {all:#?}\n{text}");
}

#[track_caller]
fn check(text: &str, words: &[&str]) {
    check_with(text, &mesh(), Profile::Fusebox, words);
}

fn document(kind: &str, annotations: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: n, annotations: \
         {{{annotations}}}}}, spec: {{{spec}}}}}\n"
    )
}

fn rule(host: &str, spec: &str) -> String {
    document("DestinationRule", "", &format!("host: {host}, {spec}"))
}

fn traffic(spec: &str) -> String {
    rule("inventory", &format!("trafficPolicy: {{{spec}}}"))
}

/// A route of `inventory`.
fn route(http: &str) -> String {
    routed("inventory", http)
}

fn routed(host: &str, http: &str) -> String {
    let to = format!("route: [{{destination: {{host: {host}}}}}]");
    document("VirtualService", "", &format!("hosts: [{host}], http: [{{{to}, {http}}}]"))
        .replace("name: n,", &format!("name: {host},"))
}

/// Scenario: outlier detection that allows less than one endpoint, or judges by more requests or
/// endpoints than there are.
/// Guarantees: it is told with the live counts; where one can be ejected, nothing is said.
#[test]
fn outlier_detection_that_never_trips() {
    // One layer: there is no path along which Istio's own retries multiply.
    let mut one = mesh();
    one.edges.retain(|edge| edge.view.source == "payment");
    let percent =
        |percent: u32| traffic(&format!("outlierDetection: {{maxEjectionPercent: {percent}}}"));
    let never = [
        "n spec.trafficPolicy.outlierDetection.maxEjectionPercent is 10",
        "one of 4",
        "[4 instances",
    ];
    check_with(&percent(10), &one, Profile::IstioCompat, &never);
    check_with(&percent(24), &one, Profile::IstioCompat, &["can never eject"]);
    check_with(&percent(25), &one, Profile::IstioCompat, &[]);
    check(&percent(10), &[]);
    check(&percent(0), &["is 0", "can never eject"]);
    let statistic = |annotations: &str| {
        document(
            "DestinationRule",
            annotations,
            "host: inventory, trafficPolicy: {outlierDetection: {maxEjectionPercent: 100}}",
        )
    };
    let annotated = |name: &str, hosts: u32, volume: u32| {
        statistic(&format!(
            "fusebox.io/outlier-{name}-minimum-hosts: '{hosts}', fusebox.io/outlier-{name}-request-volume: '{volume}'"
        ))
    };
    // 100/s over 2 proxies and 4 endpoints: 125 requests in 10 s.
    for name in ["success-rate", "failure-percentage"] {
        check(&annotated(name, 4, 125), &[]);
        check(&annotated(name, 5, 125), &["minimum-hosts] needs 5", "inventory has 4"]);
        check(&annotated(name, 4, 126), &["request-volume] needs 126", "125.0", "50.0/s in each"]);
    }
    let mut unknown = one;
    unknown.services.iter_mut().for_each(|service| service.view.instances = None);
    check_with(&percent(10), &unknown, Profile::IstioCompat, &[]);
}

/// Scenario: budgets where nobody retries, where retries never come to what is always allowed, or
/// to the percentage; and one that can bind.
/// Guarantees: only the last is silent.
#[test]
fn budgets_that_never_bind() {
    let budget = |percent: u32| traffic(&format!("retryBudget: {{percent: {percent}}}"));
    let retries = |attempts: u32| {
        route(&format!("retries: {{attempts: {attempts}, retryOn: 'connect-failure'}}"))
    };
    check(
        &budget(20),
        &["retryBudget can never bind: no rule of a caller retries", "[payment>inventory]"],
    );
    check(&(budget(20) + &retries(2)), &[]);
    check(&(budget(100) + &retries(1)), &["allows 100 %", "retry 1 times"]);
    check(&(budget(99) + &retries(1)), &[]);
    let constraint = "---\n{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {name: b}, spec: {targetRefs: [{group: '', kind: Service, name: inventory}], retryConstraint: {budget: {percent: 20, interval: 10s}, minRetryRate: {count: COUNT, interval: 1s}}}}\n";
    let constraint = |count: u32| constraint.replace("COUNT", &count.to_string());
    check(
        &(constraint(100) + &retries(2)),
        &["always allows 100/s", "100.0/s", "50.0/s × 2 retries"],
    );
    check(&(constraint(99) + &retries(2)), &[]);
}

/// Scenario: limits below and above what is under way at once: 50/s in each proxy, 50 ms each.
/// Guarantees: a limit that is hit all the time is told; connections limit HTTP/1.1 only.
#[test]
fn limits_below_what_is_under_way() {
    let connections =
        |n: u32| traffic(&format!("connectionPool: {{tcp: {{maxConnections: {n}}}}}"));
    let requests =
        |n: u32| traffic(&format!("connectionPool: {{http: {{http2MaxRequests: {n}}}}}"));
    check(&connections(2), &["tcp.maxConnections is 2", "50.0/s in each proxy × 50 ms = 2.5"]);
    check(&connections(3), &[]);
    check(&requests(2), &["http.http2MaxRequests is 2"]);
    check(&requests(3), &[]);
    let mut grpc = mesh();
    grpc.edges[1].view.protocol = "grpc".into();
    check_with(&connections(1), &grpc, Profile::Fusebox, &[]);
    let subset = rule(
        "inventory",
        "subsets: [{name: v1, labels: {a: b}, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}}]",
    );
    check(&subset, &["spec.subsets[0].trafficPolicy.connectionPool.http.http2MaxRequests"]);
}

/// Scenario: rules for hosts that are called, known but not called, and unknown; an empty mesh.
/// Guarantees: what nobody calls is told, once something is called at all.
#[test]
fn hosts_that_nobody_calls() {
    let text = |host: &str| rule(host, "trafficPolicy: {}");
    check(&text("inventory"), &[]);
    check(&text("'*.default.svc.cluster.local'"), &[]);
    check(&text("frontend"), &["spec.host is frontend, which nobody calls", "[none of 3 edges"]);
    check(&text("invetory"), &["is invetory"]);
    check(&text("inventory.shop"), &["is inventory.shop.svc.cluster.local"]);
    check_with(&text("invetory"), &Live::default(), Profile::Fusebox, &[]);
}

/// Scenario: subsets by version, where instances tell theirs and where they do not.
/// Guarantees: a version that no instance has is told only where versions are known.
#[test]
fn subsets_that_nobody_has() {
    let text = rule(
        "inventory",
        "subsets: [{name: a, labels: {version: v1}}, {name: b, labels: {version: v3}}]",
    );
    check(&text, &[]);
    let mut live = mesh();
    live.services[2].versions = vec!["v1".into(), "v2".into()];
    let words = ["spec.subsets[1].labels.version is v3", "inventory", "[seen are v1, v2]"];
    check_with(&text, &live, Profile::Fusebox, &words);
    live.services[2].versions.push("v3".into());
    check_with(&text, &live, Profile::Fusebox, &[]);
}

/// Scenario: subsets by any label, where proxies tell what endpoints they have: all of them, one
/// without the label, one that another proxy has.
/// Guarantees: a subset that no proxy has an endpoint of is told, with the labels that there are;
/// what telemetry says of versions does not count then.
#[test]
fn subsets_without_endpoints() {
    let subset =
        |labels: &str| rule("inventory", &format!("subsets: [{{name: a, labels: {labels}}}]"));
    let mut live = mesh();
    let labels = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    live.services[2].versions = vec!["v9".into()];
    live.services[2].endpoints = vec![
        vec![labels(&[("version", "v1"), ("zone", "a")]), labels(&[])],
        vec![labels(&[("zone", "b")])],
    ];
    let find = |text: &str, words: &[&str]| check_with(text, &live, Profile::Fusebox, words);
    find(&subset("{zone: a}"), &[]);
    find(&subset("{zone: b}"), &[]);
    find(&subset("{version: v1, zone: a}"), &[]);
    let known = "[labels of its endpoints are none, version=v1;zone=a, zone=b]";
    find(&subset("{zone: c}"), &["spec.subsets[0].labels select no endpoint of inventory", known]);
    find(&subset("{version: v1, zone: b}"), &["spec.subsets[0].labels select no endpoint"]);
    find(&subset("{version: v9}"), &["spec.subsets[0].labels select no endpoint"]);
}

/// Scenario: outlier detection of a subset that may eject half of its endpoints; its proxies have one
/// of them, telemetry knows four instances of the service.
/// Guarantees: what proxies have counts, and that of the subset.
#[test]
fn a_subset_of_one_is_never_ejected() {
    let text = rule(
        "inventory",
        "subsets: [{name: a, labels: {zone: a}, trafficPolicy: {outlierDetection: \
         {consecutive5xxErrors: 5, maxEjectionPercent: 50}}}]",
    );
    let mut live = mesh();
    let before = findings(&text, &live, Profile::IstioCompat);
    assert!(!before.concat().contains("maxEjectionPercent"), "{before:?}");
    let zone = |zone: &str| vec![("zone".to_owned(), zone.to_owned())];
    live.services[2].endpoints = vec![vec![zone("a"), zone("b"), zone("b")]];
    let words = ["less than one of 1 endpoints", "[1 endpoints in a proxy that calls inventory]"];
    check_with(&text, &live, Profile::IstioCompat, &words);
}

/// Scenario: timeouts around the callee's p50 (60 ms) and p99 (400 ms, as its caller sees it).
/// Guarantees: the harsher finding is told, with the figure; a timeout above both is not.
#[test]
fn timeouts_below_the_callees_times() {
    check(&route("timeout: 59ms"), &["spec.http[0].timeout is 59ms, below the p50", "60 ms"]);
    check(
        &route("timeout: 60ms"),
        &["below the p99 of inventory", "payment>inventory: p99 400 ms"],
    );
    check(&route("timeout: 399ms"), &["below the p99"]);
    check(&route("timeout: 400ms"), &[]);
    check(
        &route("name: all, retries: {attempts: 1, perTryTimeout: 59ms, retryOn: connect-failure}"),
        &["spec.http[all].retries.perTryTimeout is 59ms, below the p50"],
    );
    check(&routed("frontend", "timeout: 1ms"), &[]);
}

/// Scenario: attempts that fit into the timeout, and such that do not.
/// Guarantees: the finding says how many fit.
#[test]
fn attempts_beyond_the_timeout() {
    let text = |timeout: &str| {
        route(&format!(
            "timeout: {timeout}, retries: {{attempts: 3, perTryTimeout: 2s, retryOn: connect-failure}}"
        ))
    };
    check(&text("5s"), &["spec.http[0].retries allows 4 attempts, and only 2", "4 × 2s = 8s"]);
    check(&text("8s"), &[]);
}

/// Scenario: retries after answers of the server, for any method, for POST, for idempotent ones.
/// Guarantees: what may do a thing twice is told.
#[test]
fn posts_that_are_retried() {
    let text = |on: &str, matches: &str| {
        route(&format!("{matches} retries: {{attempts: 2, retryOn: '{on}'}}"))
    };
    let post = "match: [{method: {exact: POST}}],";
    let get = "match: [{method: {exact: GET}}, {method: {exact: PUT}}],";
    for on in ["5xx", "gateway-error", "reset", "connect-failure,503"] {
        check(
            &text(on, ""),
            &["spec.http[0].retries.retryOn repeats POST", "[rule inventory[0] takes POST"],
        );
        check(&text(on, post), &["repeats POST"]);
        check(&text(on, get), &[]);
    }
    check(&text("connect-failure,refused-stream", ""), &[]);
}

/// Scenario: an application that retries, below rules that retry too, and alone.
/// Guarantees: both are multiplied; one alone is not told.
#[test]
fn retries_of_applications_multiply() {
    let text = route("retries: {attempts: 2, retryOn: connect-failure}");
    check(&text, &[]);
    let mut live = mesh();
    live.edges[1].view.attempts_per_request = Some(3.2);
    let words = ["spec.http[0].retries.attempts adds to retries that payment", "3.2", "up to 9.6"];
    check_with(&text, &live, Profile::Fusebox, &words);
    check_with(&route("timeout: 9s"), &live, Profile::Fusebox, &[]);
}

/// Scenario: retries on one, two and three layers of a path, with a circle in the mesh; Istio's
/// own retries where nobody asked.
/// Guarantees: the worst path is named with its product, its parts are not; one layer alone is no
/// finding.
#[test]
fn layers_multiply_along_a_path() {
    let retries = |hosts: &[&str]| -> String {
        let text = |host: &&str| routed(host, "retries: {attempts: 2, retryOn: connect-failure}");
        hosts.iter().map(text).collect()
    };
    let all = "[frontend>payment 3 × payment>inventory 3 × inventory>stock 3]";
    check(
        &retries(&["payment", "inventory", "stock"]),
        &["one request of frontend", "27 attempts on stock", all],
    );
    check(&retries(&["inventory"]), &[]);
    let two = "[frontend>payment 3 × payment>inventory 1 × inventory>stock 3]";
    check(&retries(&["payment", "stock"]), &["9 attempts on stock", two]);
    let mut circle = mesh();
    circle.edges.push(edge("stock", "frontend", 1.0));
    let told = findings(&retries(&["payment", "inventory", "stock"]), &circle, Profile::Fusebox);
    assert!(told.iter().any(|one| one.contains("27 attempts")), "{told:#?}");
    check_with(
        &routed("elsewhere", "timeout: 1s"),
        &mesh(),
        Profile::IstioCompat,
        &["27 attempts"],
    );
}

/// Scenario: no documents, and no mesh.
/// Guarantees: nothing is said.
#[test]
fn nothing_is_wrong_with_nothing() {
    check("", &[]);
    check_with(&traffic("outlierDetection: {}"), &Live::default(), Profile::IstioCompat, &[]);
}
