//! Every field and annotation of a `DestinationRule`, by its name.

use super::{annotated, assert_says, compiled, rule, settings};
use fusebox_proto::policy::*;
use std::fmt::Debug;
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What `spec.trafficPolicy` says of a setting.
#[track_caller]
fn check<T: PartialEq + Debug>(policy: &str, read: impl Fn(&Settings) -> T, expected: T) {
    let compiled = compiled(&rule(&format!("trafficPolicy: {{{policy}}}")));
    assert_eq!(read(settings(&compiled)), expected, "{policy}");
}

/// Scenario: each field of `connectionPool`, alone.
/// Guarantees: it sets what it names.
#[test]
fn connection_pool() {
    #[track_caller]
    fn check<T: PartialEq + Debug>(part: &str, read: impl Fn(&ConnectionPool) -> T, expected: T) {
        super::destination_rule::check(
            &format!("connectionPool: {{{part}}}"),
            |s| read(&s.pool),
            expected,
        );
    }
    check("tcp: {maxConnections: 7}", |p| p.connections_max, Some(7));
    check("tcp: {connectTimeout: 250ms}", |p| p.connect_timeout, Some(ms(250)));
    check(
        "tcp: {maxConnectionDuration: 1h30m}",
        |p| p.connection_duration_max,
        Some(ms(5_400_000)),
    );
    check("tcp: {idleTimeout: 0s}", |p| p.tcp_idle_timeout, Some(ms(0)));
    let keepalive = |probes, time, interval| Some(TcpKeepalive { probes, time, interval });
    check("tcp: {tcpKeepalive: {probes: 3}}", |p| p.tcp_keepalive, keepalive(Some(3), None, None));
    check(
        "tcp: {tcpKeepalive: {time: 1m}}",
        |p| p.tcp_keepalive,
        keepalive(None, Some(ms(60_000)), None),
    );
    check(
        "tcp: {tcpKeepalive: {interval: 5s}}",
        |p| p.tcp_keepalive,
        keepalive(None, None, Some(ms(5_000))),
    );
    check("http: {http1MaxPendingRequests: 1}", |p| p.pending_max, Some(1));
    check("http: {http2MaxRequests: 20}", |p| p.requests_max, Some(20));
    check("http: {maxRequestsPerConnection: 1}", |p| p.requests_per_connection_max, Some(1));
    check("http: {maxRequestsPerConnection: 0}", |p| p.requests_per_connection_max, None);
    check("http: {maxRetries: 3}", |p| p.retries_max, Some(3));
    check("http: {idleTimeout: 1.5s}", |p| p.idle_timeout, Some(ms(1_500)));
    check("http: {maxConcurrentStreams: 100}", |p| p.streams_max, Some(100));
    check("http: {h2UpgradePolicy: UPGRADE}", |p| p.h2_upgrade, H2Upgrade::Always);
    check("http: {h2UpgradePolicy: DO_NOT_UPGRADE}", |p| p.h2_upgrade, H2Upgrade::Never);
    check("http: {h2UpgradePolicy: DEFAULT}", |p| p.h2_upgrade, H2Upgrade::Default);
    check("http: {useClientProtocol: true}", |p| p.use_client_protocol, true);
    check("tcp: {}, http: {}", Clone::clone, ConnectionPool::default());
}

/// Scenario: the other parts of `trafficPolicy`.
/// Guarantees: each sets what it names.
#[test]
fn traffic_policy() {
    check("loadBalancer: {simple: ROUND_ROBIN}", |s| s.balancer, Balancer::RoundRobin);
    check("loadBalancer: {simple: RANDOM}", |s| s.balancer, Balancer::Random);
    check("loadBalancer: {simple: LEAST_REQUEST}", |s| s.balancer, Balancer::LeastRequest);
    check("loadBalancer: {simple: LEAST_CONN}", |s| s.balancer, Balancer::LeastRequest);
    check("tls: {mode: DISABLE}", |s| s.tls, Some(TlsMode::Disable));
    check("tls: {mode: SIMPLE}", |s| s.tls, Some(TlsMode::Simple));
    check("tls: {mode: MUTUAL}", |s| s.tls, Some(TlsMode::Mutual));
    check("tls: {mode: ISTIO_MUTUAL}", |s| s.tls, Some(TlsMode::Mesh));
    check("tls: {}", |s| s.tls, Some(TlsMode::Disable));
    let budget = |percent, interval, concurrency_min| {
        Some(RetryBudget { percent, interval, retries_per_s_min: 0.0, concurrency_min })
    };
    check("retryBudget: {}", |s| s.retry_budget, budget(20.0, ms(0), 3));
    check("retryBudget: {percent: 12.5}", |s| s.retry_budget, budget(12.5, ms(0), 3));
    check("retryBudget: {minRetryConcurrency: 0}", |s| s.retry_budget, budget(20.0, ms(0), 0));
    check("retryBudget: {budgetInterval: 10s}", |s| s.retry_budget, budget(20.0, ms(10_000), 3));
    check("", Clone::clone, Settings::default());
}

fn detection(settings: &Settings) -> OutlierDetection {
    settings.outlier.clone().expect("the text has one")
}

const fn in_a_row(threshold: u32) -> Consecutive {
    Consecutive { threshold, enforcing_percent: 100 }
}

/// Scenario: each field of `outlierDetection`, alone.
/// Guarantees: it sets what it names; the rest has Envoy's defaults.
#[test]
fn outlier_detection() {
    #[track_caller]
    fn check<T: PartialEq + Debug>(part: &str, read: impl Fn(OutlierDetection) -> T, expected: T) {
        let policy = format!("outlierDetection: {{{part}}}");
        super::destination_rule::check(&policy, |s| read(detection(s)), expected);
    }
    check("", |o| o.interval, ms(10_000));
    check("", |o| o.ejection_time_base, ms(30_000));
    check("", |o| o.ejection_time_max, ms(300_000));
    check("", |o| o.ejection_percent_max, 10);
    check("", |o| o.consecutive_errors, Some(in_a_row(5)));
    check("", |o| o.consecutive_gateway_errors, None);
    check("", |o| o.consecutive_local_origin_failures, None);
    check("", |o| (o.success_rate, o.failure_percentage), (None, None));
    check("interval: 1s", |o| o.interval, ms(1_000));
    check("baseEjectionTime: 3m", |o| o.ejection_time_base, ms(180_000));
    check("baseEjectionTime: 10m", |o| o.ejection_time_max, ms(600_000));
    check("maxEjectionPercent: 40", |o| o.ejection_percent_max, 40);
    check("minHealthPercent: 30", |o| o.panic_percent, 30);
    check("consecutive5xxErrors: 3", |o| o.consecutive_errors, Some(in_a_row(3)));
    check("consecutive5xxErrors: 0", |o| o.consecutive_errors, None);
    check("consecutiveGatewayErrors: 2", |o| o.consecutive_gateway_errors, Some(in_a_row(2)));
    check("consecutiveGatewayErrors: 0", |o| o.consecutive_gateway_errors, None);
    check("consecutiveErrors: 4", |o| o.consecutive_gateway_errors, Some(in_a_row(4)));
    let split = "splitExternalLocalOriginErrors: true";
    check(split, |o| o.split_local_origin, true);
    check(split, |o| o.consecutive_local_origin_failures, Some(in_a_row(5)));
    let own = format!("{split}, consecutiveLocalOriginFailures: 2");
    check(&own, |o| o.consecutive_local_origin_failures, Some(in_a_row(2)));
    let codes = "outlierDetectionHttpErrorCodes: [503, 429, 502, 502]";
    check(codes, |o| o.error_statuses, vec![(429, 429), (502, 503)]);
}

/// What one annotation `outlier-...` adds to a detection.
#[track_caller]
fn check_outlier<T: PartialEq + Debug>(
    name: &str,
    value: &str,
    read: impl Fn(OutlierDetection) -> T,
    expected: T,
) {
    let spec = "trafficPolicy: {outlierDetection: {consecutiveGatewayErrors: 2, \
                splitExternalLocalOriginErrors: true}}";
    let text = annotated(&format!("fusebox.io/outlier-{name}: \"{value}\""), spec);
    assert_eq!(read(detection(settings(&compiled(&text)))), expected, "{name}");
}

/// Scenario: each annotation that extends `outlierDetection`, alone.
/// Guarantees: it sets the parameter of Envoy that it names.
#[test]
fn outlier_annotations() {
    let enforced = |rule: Option<Consecutive>| rule.map(|rule| rule.enforcing_percent);
    check_outlier("panic-percent", "0", |o| o.panic_percent, 0);
    check_outlier("always-eject-one-host", "false", |o| o.always_eject_one, false);
    check_outlier("max-ejection-time", "45s", |o| o.ejection_time_max, ms(45_000));
    check_outlier("max-ejection-time-jitter", "2s", |o| o.ejection_time_jitter_max, ms(2_000));
    check_outlier("enforcing-consecutive-5xx", "0", |o| enforced(o.consecutive_errors), Some(0));
    check_outlier(
        "enforcing-consecutive-gateway-failure",
        "7",
        |o| enforced(o.consecutive_gateway_errors),
        Some(7),
    );
    let local = |o: OutlierDetection| enforced(o.consecutive_local_origin_failures);
    check_outlier("enforcing-consecutive-local-origin-failure", "9", local, Some(9));
}

/// Scenario: each annotation of the success rate, alone.
/// Guarantees: it sets the parameter of Envoy that it names, with Envoy's defaults for the rest.
#[test]
fn success_rate_annotations() {
    let rate = SuccessRate {
        endpoints_min: 5,
        requests_min: 100,
        stdev_factor_thousandths: 1900,
        enforcing_percent: 100,
        enforcing_local_origin_percent: 100,
    };
    let with = |change: fn(&mut SuccessRate)| {
        let mut changed = rate;
        change(&mut changed);
        Some(changed)
    };
    let success = |o: OutlierDetection| o.success_rate;
    check_outlier("success-rate-minimum-hosts", "3", success, with(|r| r.endpoints_min = 3));
    check_outlier("success-rate-request-volume", "9", success, with(|r| r.requests_min = 9));
    let factor = with(|r| r.stdev_factor_thousandths = 1500);
    check_outlier("success-rate-stdev-factor", "1500", success, factor);
    check_outlier("enforcing-success-rate", "0", success, with(|r| r.enforcing_percent = 0));
    let local = with(|r| r.enforcing_local_origin_percent = 1);
    check_outlier("enforcing-local-origin-success-rate", "1", success, local);
}

/// Scenario: each annotation of the failure percentage, alone.
/// Guarantees: it sets the parameter of Envoy that it names, with Envoy's defaults for the rest.
#[test]
fn failure_percentage_annotations() {
    let percentage = FailurePercentage {
        threshold_percent: 85,
        endpoints_min: 5,
        requests_min: 50,
        enforcing_percent: 100,
        enforcing_local_origin_percent: 100,
    };
    let failure = |o: OutlierDetection| o.failure_percentage;
    let with = |change: fn(&mut FailurePercentage)| {
        let mut changed = percentage;
        change(&mut changed);
        Some(changed)
    };
    check_outlier(
        "failure-percentage-threshold",
        "60",
        failure,
        with(|p| p.threshold_percent = 60),
    );
    check_outlier("failure-percentage-minimum-hosts", "2", failure, with(|p| p.endpoints_min = 2));
    check_outlier("failure-percentage-request-volume", "9", failure, with(|p| p.requests_min = 9));
    check_outlier("enforcing-failure-percentage", "5", failure, with(|p| p.enforcing_percent = 5));
    let local = with(|p| p.enforcing_local_origin_percent = 6);
    check_outlier("enforcing-failure-percentage-local-origin", "6", failure, local);
}

/// Scenario: `outlier-shadow` beside every kind of detection.
/// Guarantees: all are kept, none is enforced.
#[test]
fn outlier_shadow() {
    let text = annotated(
        "fusebox.io/outlier-shadow: \"true\", fusebox.io/outlier-success-rate-minimum-hosts: \"3\", \
         fusebox.io/outlier-failure-percentage-threshold: \"50\"",
        "trafficPolicy: {outlierDetection: {consecutiveGatewayErrors: 2}}",
    );
    let found = detection(settings(&compiled(&text)));
    assert_eq!(found.consecutive_errors.unwrap().enforcing_percent, 0);
    assert_eq!(found.consecutive_gateway_errors.unwrap().enforcing_percent, 0);
    assert_eq!(found.success_rate.unwrap().enforcing_percent, 0);
    assert_eq!(found.failure_percentage.unwrap().enforcing_percent, 0);
}

/// Scenario: each annotation of the service breaker.
/// Guarantees: it sets what it names, with Linkerd's defaults for the rest.
#[test]
fn breaker_annotations() {
    #[track_caller]
    fn check(annotations: &str, expected: Option<ServiceBreaker>) {
        assert_eq!(
            settings(&compiled(&annotated(annotations, ""))).breaker,
            expected,
            "{annotations}"
        );
    }
    let window = SuccessWindow { threshold_percent: 80.0, window: ms(10_000), requests_min: 5 };
    let base = ServiceBreaker {
        consecutive_failures: Some(7),
        success_window: None,
        open_min: ms(1_000),
        open_max: ms(60_000),
        jitter: 0.5,
        shadow: false,
    };
    let rate = ServiceBreaker { consecutive_failures: None, success_window: Some(window), ..base };
    let consecutive = "fusebox.io/breaker: consecutive";
    let success = "fusebox.io/breaker: success-rate";
    let with = |annotation: &str, kind: &str| format!("{kind}, fusebox.io/breaker-{annotation}");
    check("", None);
    check("fusebox.io/breaker: off", None);
    check(consecutive, Some(base));
    check(success, Some(rate));
    check(
        "fusebox.io/breaker: both",
        Some(ServiceBreaker { success_window: Some(window), ..base }),
    );
    let five = ServiceBreaker { consecutive_failures: Some(5), ..base };
    check(&with("consecutive-failures: \"5\"", consecutive), Some(five));
    let own = |window| Some(ServiceBreaker { success_window: Some(window), ..rate });
    let percent = SuccessWindow { threshold_percent: 62.5, ..window };
    check(&with("success-rate: \"62.5\"", success), own(percent));
    check(&with("window: 30s", success), own(SuccessWindow { window: ms(30_000), ..window }));
    check(
        &with("min-requests: \"50\"", success),
        own(SuccessWindow { requests_min: 50, ..window }),
    );
    let times = ServiceBreaker { open_min: ms(2_000), ..base };
    check(&with("open-min: 2s", consecutive), Some(times));
    let long = ServiceBreaker { open_min: ms(120_000), open_max: ms(120_000), ..base };
    check(&with("open-min: 2m", consecutive), Some(long));
    check(&with("open-max: 5s", consecutive), Some(ServiceBreaker { open_max: ms(5_000), ..base }));
    check(&with("jitter: \"0\"", consecutive), Some(ServiceBreaker { jitter: 0.0, ..base }));
    check(&with("shadow: \"true\"", consecutive), Some(ServiceBreaker { shadow: true, ..base }));
}

/// Scenario: the annotations of a host as a whole.
/// Guarantees: `critical` and the muted answer are the host's, the latter for the named callers.
#[test]
fn host_annotations() {
    let host = |annotations: &str| {
        compiled(&annotated(annotations, "")).destination("", "inventory").unwrap().clone()
    };
    assert!(host("fusebox.io/critical: \"true\"").critical);
    assert!(!host("fusebox.io/critical: \"false\"").critical);
    let replay = host("fusebox.io/muted-answer: replay");
    assert_eq!(replay.muted_answer_for("payment"), MutedAnswer::Replay);
    assert_eq!(host("fusebox.io/muted-answer: \"424\"").muted_answer, MutedAnswer::Refuse);
    let one =
        host("fusebox.io/muted-answer: replay, fusebox.io/muted-answer-callers: \"web, cart\"");
    assert_eq!(one.muted_answer_for("cart"), MutedAnswer::Replay);
    assert_eq!(one.muted_answer_for("payment"), MutedAnswer::Refuse);
}

/// Scenario: a host, one of its ports and two subsets, with settings of their own.
/// Guarantees: a port inherits nothing; a subset overrides part by part, also at the host's ports.
#[test]
fn ports_and_subsets() {
    let text = rule(
        "trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 1}}, \
         portLevelSettings: [{port: {number: 81}, connectionPool: {tcp: {maxConnections: 81}}}]}, \
         subsets: [{name: v1, labels: {version: v1}}, \
         {name: v2, labels: {version: v2}, trafficPolicy: {connectionPool: {http: {maxRetries: 2}}, \
         portLevelSettings: [{port: {number: 82}, loadBalancer: {simple: ROUND_ROBIN}}]}}]",
    );
    let policy = compiled(&text);
    let host = policy.destination("", "inventory").unwrap();
    let check = |subset: Option<&str>, port, balancer, connections_max, retries_max| {
        let settings = host.settings(subset, port);
        let found = (settings.balancer, settings.pool.connections_max, settings.pool.retries_max);
        assert_eq!(found, (balancer, connections_max, retries_max), "{subset:?} {port}");
    };
    check(None, 80, Balancer::Random, Some(1), None);
    check(None, 81, Balancer::LeastRequest, Some(81), None);
    check(Some("v1"), 80, Balancer::Random, Some(1), None);
    check(Some("v1"), 81, Balancer::LeastRequest, Some(81), None);
    check(Some("v2"), 80, Balancer::Random, None, Some(2));
    check(Some("v2"), 81, Balancer::LeastRequest, None, Some(2));
    check(Some("v2"), 82, Balancer::RoundRobin, None, None);
    check(Some("unknown"), 80, Balancer::Random, Some(1), None);

    let v1 = host.subset("v1").unwrap();
    assert!(v1.selects(|key| (key == "version").then_some("v1")));
    assert!(!v1.selects(|key| (key == "version").then_some("v2")));
    assert!(!v1.selects(|_| None));
}

/// Scenario: settings that cannot do what they seem to.
/// Guarantees: each is said, with its path.
#[test]
fn settings_without_effect_are_said() {
    let check = |policy: &str, part: &str| {
        assert_says(&rule(&format!("trafficPolicy: {{{policy}}}")), Severity::Warning, part);
    };
    check("outlierDetection: {consecutiveGatewayErrors: 5}", "never decides");
    check(
        "outlierDetection: {consecutiveLocalOriginFailures: 5}",
        "splitExternalLocalOriginErrors",
    );
    check("outlierDetection: {consecutiveErrors: 5}", "deprecated");
    check("loadBalancer: {simple: PASSTHROUGH}", "PASSTHROUGH");
    check(
        "loadBalancer: {localityLbSetting: {}}",
        "loadBalancer.localityLbSetting: is not supported",
    );
    check("connectionPool: {http: {http2KeepAlive: {}}}", "http2KeepAlive: is not supported");
    check("tunnel: {}", "trafficPolicy.tunnel: is not supported");
    check("tls: {mode: MUTUAL, clientCertificate: /a}", "tls.clientCertificate: is not supported");
    check("conectionPool: {}", "did you mean connectionPool?");
    let spec = "workloadSelector: {matchLabels: {app: a}}";
    assert_says(&rule(spec), Severity::Warning, "spec.workloadSelector: is not supported");
    let lone = annotated("fusebox.io/outlier-shadow: \"true\"", "");
    assert_says(&lone, Severity::Warning, "no outlierDetection");
    let lone = annotated("fusebox.io/breaker-window: 10s", "");
    assert_says(&lone, Severity::Warning, "without fusebox.io/breaker there is none");
    let lone = annotated("fusebox.io/muted-answer-callers: web", "");
    assert_says(&lone, Severity::Warning, "fusebox.io/muted-answer, which is not there");
}
