//! What is only shadowed, and changes at run time.

use super::*;

/// Five errors in a row, not enforced.
fn shadow() -> OutlierDetection {
    OutlierDetection { consecutive_errors: Some(in_a_row(5, 0)), ..nothing() }
}

/// Scenario: detection that is not enforced, while the endpoint goes on answering.
/// Guarantees: it stays in; the ejection is imagined with its sweeps, its backoff and its gate; what
/// began meanwhile is counted with its successes; more detections meanwhile are counted only.
#[test]
fn a_shadow_says_what_it_would_cost() {
    check(shadow(), 3, "1:500*5 1:200*3 1:404 1:500 +30 1:200", "(-1:5xx@0) (+1@30 5/4)");
    check(shadow(), 3, "1:500*5 1:500*20 +30", "(-1:5xx@0) (+1@30 20/0)");
    check(shadow(), 3, "1:500*5 2:200*9 +30", "(-1:5xx@0) (+1@30 0/0)");
    let twice = "1:500*5 +30 1:500*5 +59 1:200 +1";
    check(shadow(), 3, twice, "(-1:5xx@0) (+1@30 0/0) (-1:5xx@30) (+1@90 1/1)");
    let half = OutlierDetection { ejection_percent_max: 50, ..shadow() };
    check(half, 3, "1:500*5 2:500*5", "(-1:5xx@0) !2:5xx@0");
    let life = run(shadow(), 3, "1:500*25 1:200");
    let Counters { detected, enforced, ejections_active, shadows_active, shadow_cost, .. } =
        life.outlier.counters();
    assert_eq!((detected[0], enforced[0], ejections_active, shadows_active), (5, 0, 0, 1));
    assert_eq!(shadow_cost, Cost { attempts: 21, succeeded: 1 });
    assert!(!life.outlier.is_ejected(EndpointId(1)));
}

/// Scenario: attempts that began before a shadowed ejection end while it lasts.
/// Guarantees: they would have gone to the endpoint all the same, and cost nothing.
#[test]
fn a_shadow_counts_what_began_in_it() {
    let mut life = run(shadow(), 3, "+5 1:500*5 +5");
    let (host, now) = (EndpointId(1), life.start + life.at);
    let ok = Observed::Answered(200);
    life.outlier.observed(now, host, life.start + secs(4), ok, || 0.5);
    life.outlier.observed(now, host, life.start + secs(5), ok, || 0.5);
    life.outlier.observed(now, host, now, ok, || 0.5);
    assert_eq!(life.outlier.counters().shadow_cost, Cost { attempts: 2, succeeded: 2 });
}

/// Scenario: half of the detections are enforced; one is not, the next one is.
/// Guarantees: the real ejection ends the imagined one, and what that cost stays counted.
#[test]
fn an_ejection_overtakes_a_shadow() {
    let half = OutlierDetection { consecutive_errors: Some(in_a_row(5, 50)), ..nothing() };
    let mut life = Life::new(half, 3);
    life.point = 0.9;
    life.word("1:500*5");
    life.point = 0.1;
    "1:500*5 +30".split(' ').for_each(|word| life.word(word));
    assert_eq!(life.log, ["(-1:5xx@0)", "-1:5xx@0", "+1@30"]);
    let Counters { shadow_cost, shadows_active, .. } = life.outlier.counters();
    assert_eq!((shadow_cost, shadows_active), (Cost { attempts: 5, succeeded: 0 }, 0));
}

/// Scenario: endpoints come and go while one is out and one has failed four times.
/// Guarantees: those that stay keep count and ejection; those that leave are forgotten, and come
/// back as new; the share is that of the endpoints of now.
#[test]
fn endpoints_come_and_go() {
    let mut life = run(OutlierDetection { ejection_percent_max: 50, ..five() }, 2, "1:500*5");
    let set = |life: &mut Life, ids: &[u64]| {
        life.outlier.set_hosts(&ids.iter().copied().map(EndpointId).collect::<Vec<_>>());
    };
    assert_eq!(life.outlier.healthy(), (1, 2));
    life.word("2:500*4");
    set(&mut life, &[4, 3, 2, 1, 3]);
    assert_eq!(life.outlier.healthy(), (3, 4));
    life.word("2:500");
    life.word("3:500*5");
    assert_eq!(life.log, ["-1:5xx@0", "-2:5xx@0", "!3:5xx@0"]);
    set(&mut life, &[2, 3, 4]);
    assert_eq!(life.outlier.counters().ejections_active, 1);
    set(&mut life, &[1, 2, 3, 4]);
    assert!(!life.outlier.is_ejected(EndpointId(1)));
    life.word("+30");
    assert_eq!(life.log[3..], ["+2@30"]);
    set(&mut life, &[]);
    life.word("+30");
    assert_eq!((life.outlier.healthy(), life.log.len()), ((0, 0), 4));
}

/// Scenario: thresholds, times and the interval change while errors are counted and endpoints are
/// out.
/// Guarantees: counts and ejections stay; a lowered threshold fires with the next error; an
/// ejection lasts as the new settings say; a shorter interval begins at once.
#[test]
fn settings_change_at_run_time() {
    let mut life = run(five(), 3, "1:500*4");
    let now = life.start;
    let three = OutlierDetection { consecutive_errors: Some(in_a_row(3, 100)), ..nothing() };
    life.outlier.set_settings(now, three.clone());
    life.word("1:500");
    assert_eq!(life.log, ["-1:5xx@0"]);
    let quick = OutlierDetection { interval: secs(1), ejection_time_base: secs(2), ..three };
    life.outlier.set_settings(now, quick);
    life.word("+2");
    assert_eq!(life.log, ["-1:5xx@0", "+1@2"]);
    life.outlier.set_settings(now + secs(2), nothing());
    life.word("1:500*99");
    assert_eq!(life.log.len(), 2);
}

/// Scenario: the status of an ejected, a shadowed and a plain endpoint, with what was counted.
/// Guarantees: admin page and reports have the reason, the times and the counts in words.
#[test]
fn a_status_tells_all() {
    let mut life = run(five(), 3, "1:500*5 2:502*2 2:200 2:503*3 +10");
    let [one, two, three] = life.outlier.status().collect::<Vec<_>>().try_into().unwrap();
    let detection = Detection { by: Detector::ConsecutiveErrors, measured: 5.0, threshold: 5.0 };
    let since = life.start;
    assert_eq!(one.ejected, Some(Ejection { detection, since, until: since + secs(30) }));
    assert_eq!((one.ejections, one.success_rates), (1, [Some(0.0), None]));
    assert_eq!((two.ejected, two.in_a_row), (None, [3, 3, 0]));
    assert_eq!((three.in_a_row, three.success_rates), ([0; 3], [None; 2]));
    assert_eq!(detection.to_string(), "consecutive_5xx: 5 of 5");
    let rate = Detection { by: Detector::SuccessRate, measured: 50.0, threshold: 52.04 };
    assert_eq!(rate.to_string(), "success_rate: 50.0 % below 52.0 %");
    let share = Detection { by: Detector::FailurePercentage, measured: 90.0, threshold: 85.0 };
    assert_eq!(share.to_string(), "failure_percentage: 90.0 % at or above 85.0 %");
    life.outlier.set_settings(life.start + life.at, shadow());
    life.word("3:500*5");
    assert!(life.outlier.status().nth(2).unwrap().shadowed.is_some());
}

/// Scenario: a shell that wakes late, by less and by much more than an interval.
/// Guarantees: one sweep happens, and the next one is on the grid again.
#[test]
fn sweeps_keep_to_their_grid() {
    let check = |at_ms: u64, next_ms: u64| {
        let mut life = Life::new(five(), 3);
        life.outlier.handle_timeout(life.start + Duration::from_millis(at_ms), || 0.5);
        let next = life.outlier.poll_timeout() - life.start;
        assert_eq!(next, Duration::from_millis(next_ms), "late at {at_ms}");
    };
    check(0, 10_000);
    check(9_999, 10_000);
    check(10_000, 20_000);
    check(10_001, 20_000);
    check(19_999, 20_000);
    check(20_000, 30_000);
    check(3_600_003, 3_610_000);
}

/// Scenario: more events than are kept, and more endpoints than are watched.
/// Guarantees: the oldest events are dropped and counted; endpoints beyond the bound are counted and
/// never ejected.
#[test]
fn everything_is_bounded() {
    let mut life =
        Life::new(OutlierDetection { consecutive_errors: Some(in_a_row(1, 100)), ..five() }, 0);
    let ids: Vec<_> = (1..=HOSTS_MAX as u64 + 3).map(EndpointId).collect();
    life.outlier.set_hosts(&ids);
    assert_eq!(life.outlier.unwatched(), 3);
    for &id in &ids {
        life.outlier.observed(life.start, id, life.start, Observed::Broken, || 0.5);
    }
    assert_eq!(life.outlier.healthy(), (0, HOSTS_MAX));
    assert_eq!(life.outlier.events_dropped(), (HOSTS_MAX - EVENTS_MAX) as u64);
    assert_eq!(life.outlier.take_events().count(), EVENTS_MAX);
}

/// Scenario: every detector.
/// Guarantees: reports and metrics have words for it; what is of local origin is told by its kind.
#[test]
fn detectors_have_words() {
    let words = Detector::ALL.map(|detector| (detector.as_str(), detector.cause().as_str()));
    assert_eq!(
        words,
        [
            ("consecutive_5xx", "consecutive_failures"),
            ("consecutive_gateway_failure", "consecutive_gateway_errors"),
            ("consecutive_local_origin_failure", "consecutive_local_origin_failures"),
            ("success_rate", "success_rate"),
            ("local_origin_success_rate", "success_rate"),
            ("failure_percentage", "failure_percentage"),
            ("local_origin_failure_percentage", "failure_percentage"),
        ]
    );
}

/// Scenario: settings with times of nothing and of ages.
/// Guarantees: no clock overflows; an interval is at least a millisecond.
#[test]
fn times_are_bounded() {
    let nothing = OutlierDetection { interval: Duration::ZERO, ..five() };
    assert_eq!(Life::new(nothing, 1).outlier.settings.interval, Duration::from_millis(1));
    let ages = OutlierDetection {
        interval: Duration::MAX,
        ejection_time_base: Duration::MAX,
        ejection_time_max: Duration::MAX,
        ejection_time_jitter_max: Duration::MAX,
        ..five()
    };
    let mut life = run(ages.clone(), 3, "1:500*5");
    life.outlier.set_settings(life.start, ages);
    life.pass(TIME_MAX);
    assert!(life.outlier.is_ejected(EndpointId(1)), "base, and half the jitter");
}

/// Scenario: every gRPC status.
/// Guarantees: it counts as the HTTP status that Envoy makes of it.
#[test]
fn grpc_statuses_are_mapped() {
    let mapped =
        [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500];
    for (status, expected) in (0..).zip(mapped) {
        assert_eq!(fusebox_proto::grpc::http_status(status), expected, "{status}");
    }
}
