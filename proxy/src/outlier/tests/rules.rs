//! Envoy's rules, one by one.

use super::*;

/// Scenario: errors in a row, with other answers between them, and of every status.
/// Guarantees: the fifth 5xx in a row ejects; whatever is no 5xx begins anew; endpoints do not share
/// counts; unknown endpoints do no harm.
#[test]
fn consecutive_errors() {
    check(five(), 3, "1:500*4", "");
    check(five(), 3, "1:500*5", "-1:5xx@0");
    check(five(), 3, "1:500 1:501 1:502 1:503 1:599", "-1:5xx@0");
    check(five(), 3, "1:500*4 1:200 1:500*4", "");
    check(five(), 3, "1:500*4 1:404 1:500*4", "");
    check(five(), 3, "1:500*4 1:499 1:500*4 1:600 1:500*4", "");
    check(five(), 3, "1:500*4 2:500*4", "");
    check(five(), 3, "1:500*4 2:200 1:500", "-1:5xx@0");
    check(five(), 3, "1:500*4 +9 +9 1:500", "-1:5xx@18");
    check(five(), 3, "9:500*9", "");
    check(nothing(), 3, "1:500*99", "");
    let one = OutlierDetection { consecutive_errors: Some(in_a_row(1, 100)), ..nothing() };
    check(one, 3, "1:500", "-1:5xx@0");
}

/// Scenario: local failures without split.
/// Guarantees: a broken connection is a 503, a timeout a 504, an opened session a 200, and a mere
/// connection nothing.
#[test]
fn local_failures_are_statuses() {
    check(five(), 3, "1:broken*3 1:timeout*2", "-1:5xx@0");
    check(five(), 3, "1:broken*4 1:open 1:broken*4", "");
    check(five(), 3, "1:broken*4 1:connect 1:broken", "-1:5xx@0");
    check(gateway(), 3, "1:broken 1:timeout 1:502", "-1:gateway@0");
}

/// Scenario: gateway errors among other errors.
/// Guarantees: only 502, 503 and 504 count, any other answer begins anew, and they count as errors
/// too; the one that fires first ejects.
#[test]
fn consecutive_gateway_errors() {
    check(gateway(), 3, "1:502 1:503 1:504", "-1:gateway@0");
    check(gateway(), 3, "1:502*2 1:500 1:502*2", "-1:5xx@0");
    check(gateway(), 3, "1:502*2 1:500 1:502", "");
    check(gateway(), 3, "1:502*2 1:200 1:502*2", "");
    check(gateway(), 3, "1:505*3 1:501", "");
    let both = OutlierDetection { consecutive_gateway_errors: Some(in_a_row(5, 100)), ..five() };
    check(both, 3, "1:503*5", "-1:gateway@0");
}

/// Scenario: local failures and answers, kept apart.
/// Guarantees: local failures have a count of their own, which a connection resets and an answer
/// does not; errors count as before.
#[test]
fn local_origin_is_split() {
    check(split(), 3, "1:broken*3", "-1:local@0");
    check(split(), 3, "1:broken 1:timeout*2", "-1:local@0");
    check(split(), 3, "1:broken*2 1:connect 1:broken*2", "");
    check(split(), 3, "1:broken*2 1:open 1:broken*2", "");
    check(split(), 3, "1:broken*2 1:200 1:500 1:broken", "-1:local@0");
    check(split(), 3, "1:500*4 1:broken*2 1:500", "-1:5xx@0");
    check(split(), 3, "1:500*4 1:connect 1:500", "-1:5xx@0");
    check(OutlierDetection { split_local_origin: true, ..five() }, 3, "1:broken*99", "");
}

/// Scenario: a policy that lists statuses of its own.
/// Guarantees: those are errors and no others, and none of them is a gateway error, as in Envoy.
#[test]
fn error_statuses() {
    let listed =
        |settings| OutlierDetection { error_statuses: vec![(404, 404), (500, 503)], ..settings };
    check(listed(five()), 3, "1:404*3 1:500 1:503", "-1:5xx@0");
    check(listed(five()), 3, "1:504*9 1:599*9", "");
    check(listed(five()), 3, "1:404*4 1:504 1:404*4", "");
    check(listed(gateway()), 3, "1:503*4", "");
    check(listed(gateway()), 3, "1:broken*3", "-1:gateway@0");
}

/// Scenario: an ejection of 30 s with sweeps every 10 s.
/// Guarantees: it ends at the first sweep that is not before its time, then errors count from
/// nothing.
#[test]
fn ejections_end_at_a_sweep() {
    check(five(), 3, "1:500*5 +30", "-1:5xx@0 +1@30");
    check(five(), 3, "+5 1:500*5 +34.9", "-1:5xx@5");
    check(five(), 3, "+5 1:500*5 +35", "-1:5xx@5 +1@40");
    check(five(), 3, "1:500*5 1:500*99 +30 1:500*4", "-1:5xx@0 +1@30");
    check(gateway(), 3, "1:500*3 1:502*2 1:500 +30 1:502*2 1:500*2", "-1:5xx@0 +1@30");
    check(split(), 3, "1:500*4 1:broken*3 +30 1:500 1:broken*2", "-1:local@0 +1@30");
}

/// Scenario: an endpoint that fails again as soon as it is back, for long; and one that behaves.
/// Guarantees: each ejection is longer by the base time, up to the maximum; each whole interval
/// without one takes a step back.
#[test]
fn ejection_time_backs_off_and_decays() {
    let again = "1:500*5 +30 1:500*5 +60 1:500*5 +90 1:500*5";
    check(five(), 3, again, "-1:5xx@0 +1@30 -1:5xx@30 +1@90 -1:5xx@90 +1@180 -1:5xx@180");
    let short = OutlierDetection { ejection_time_max: secs(50), ..five() };
    let log = "-1:5xx@0 +1@30 -1:5xx@30 +1@80 -1:5xx@80 +1@130";
    check(short.clone(), 3, "1:500*5 +30 1:500*5 +50 1:500*5 +59", log);
    // Backoff 2 falls by one in each quiet interval: 100 and 110 forgive, then it is the first.
    let log = "-1:5xx@0 +1@30 -1:5xx@30 +1@90 -1:5xx@100 +1@160";
    check(five(), 3, "1:500*5 +30 1:500*5 +60 +10 1:500*5 +60", log);
    let log = "-1:5xx@0 +1@30 -1:5xx@30 +1@90 -1:5xx@110 +1@140";
    check(five(), 3, "1:500*5 +30 1:500*5 +60 +20 1:500*5 +60", log);
    // The backoff stops growing at the first step beyond the maximum, here 3: two quiet intervals
    // later an ejection is the second again.
    let mut life = run(short, 3, "1:500*5 +30");
    for _ in 0..20 {
        "1:500*5 +50".split(' ').for_each(|word| life.word(word));
    }
    "+20 1:500*5 +50".split(' ').for_each(|word| life.word(word));
    assert_eq!(life.log[life.log.len() - 2..], ["-1:5xx@1050", "+1@1100"]);
}

/// Scenario: a base time above Envoy's usual maximum, and jitter of up to a second.
/// Guarantees: jitter comes on top of the maximum, in whole milliseconds.
#[test]
fn jitter_is_added() {
    let jittered = OutlierDetection {
        interval: Duration::from_millis(100),
        ejection_time_base: secs(3),
        ejection_time_max: secs(3),
        ejection_time_jitter_max: secs(1),
        ..five()
    };
    let check = |point: f64, expected: &str| {
        let mut life = Life::new(jittered.clone(), 3);
        life.point = point;
        "1:500*5 +9".split(' ').for_each(|word| life.word(word));
        assert_eq!(life.log.join(" "), expected);
    };
    check(0.0, "-1:5xx@0 +1@3");
    check(0.55, "-1:5xx@0 +1@3.6");
    check(0.999_999, "-1:5xx@0 +1@4");
    check(f64::NAN, "-1:5xx@0 +1@3");
    check(1e9, "-1:5xx@0 +1@4");
}

/// Scenario: more endpoints fail than may be out.
/// Guarantees: the share is strict, what is beyond it is an overflow, told once a sweep and counted
/// each time, after which errors count from nothing; one may always be out where that is set.
#[test]
fn ejection_percent() {
    let percent = |ejection_percent_max| OutlierDetection { ejection_percent_max, ..five() };
    let one = |ejection_percent_max| OutlierDetection {
        always_eject_one: true,
        ..percent(ejection_percent_max)
    };
    check(percent(10), 9, "1:500*5", "!1:5xx@0");
    check(percent(10), 10, "1:500*5 2:500*5", "-1:5xx@0 !2:5xx@0");
    check(percent(50), 3, "1:500*5 2:500*5", "-1:5xx@0 !2:5xx@0");
    check(percent(66), 3, "1:500*5 2:500*5", "-1:5xx@0 !2:5xx@0");
    check(percent(67), 3, "1:500*5 2:500*5 3:500*5", "-1:5xx@0 -2:5xx@0 !3:5xx@0");
    check(percent(100), 2, "1:500*5 2:500*5", "-1:5xx@0 -2:5xx@0");
    check(percent(255), 2, "1:500*5 2:500*5", "-1:5xx@0 -2:5xx@0");
    check(percent(0), 2, "1:500*5", "!1:5xx@0");
    check(one(0), 2, "1:500*5 2:500*5", "-1:5xx@0 !2:5xx@0");
    check(one(10), 1, "1:500*5", "-1:5xx@0");
    check(percent(10), 9, "1:500*9 +10 1:500*5", "!1:5xx@0 !1:5xx@10");
    let life = run(percent(10), 9, "1:500*24 2:500*10");
    assert_eq!(life.log, ["!1:5xx@0", "!2:5xx@0"]);
    assert_eq!(life.outlier.counters().ejections_overflow, 6);
    assert_eq!(life.outlier.counters().detected[Detector::ConsecutiveErrors as usize], 6);
}

/// Scenario: success rates of five endpoints over one interval, at and below the volumes asked for.
/// Guarantees: Envoy's example ejects the one at 50 %; too few requests or endpoints judge nobody;
/// exactly at the threshold is no outlier; each interval stands alone.
#[test]
fn success_rates() {
    let half = "1:500*50 1:200*50";
    check(success_rate(), 5, &format!("{half} 2-5:200*100 +10"), "-1:rate@10");
    check(success_rate(), 5, &format!("{half} 2-5:200*99 +10"), "");
    check(success_rate(), 4, &format!("{half} 2-4:200*100 +10"), "");
    check(success_rate(), 6, &format!("{half} 2-5:200*100 6:200 +10"), "-1:rate@10");
    check(success_rate(), 5, "1:500*47 1:200*53 2-5:200*100 +10", "-1:rate@10");
    check(success_rate(), 5, "1-5:500*100 +10", "");
    check(success_rate(), 5, "1:500*50 +10 1:200*50 2-5:200*100 +10", "");
    check(success_rate(), 5, "1:broken*50 1:200*50 2-5:200*100 +10", "-1:rate@10");
    // Two of ten at 50 %: mean 90, σ 20, threshold 52.
    check(success_rate(), 10, "1-2:500*50 1-2:200*50 3-10:200*100 +10", "-1:rate@10 -2:rate@10");
    check(success_rate(), 10, "1-2:500*48 1-2:200*52 3-10:200*100 +10", "-1:rate@10 -2:rate@10");
    let mean = run(success_rate(), 5, &format!("{half} 2-5:200*100 +10"));
    assert_eq!(mean.outlier.rates(), [Some(Rates { mean: 90.0, threshold: 52.0 }), None]);
    // An ejected endpoint is not compared, whatever it still answers.
    let log = "-1:rate@10 +1@40";
    check(success_rate(), 5, &format!("{half} 2-5:200*100 +10 {half} 2-5:200*100 +30"), log);
    // Exactly at the threshold: rates 0 and 100 with factor 1 are at mean − σ = 0.
    let rule =
        SuccessRate { stdev_factor_thousandths: 1_000, ..success_rate().success_rate.unwrap() };
    let exact = OutlierDetection {
        success_rate: Some(SuccessRate { endpoints_min: 2, ..rule }),
        ..nothing()
    };
    check(exact, 2, "1:500*100 2:200*100 +10", "");
}

/// Scenario: failure percentages at and around the threshold.
/// Guarantees: at the threshold is enough, below is not; volumes count as for success rates; all
/// may fail.
#[test]
fn failure_percentages() {
    let check = |hosts, script, log| check(failure_percentage(), hosts, script, log);
    check(5, "1:500*85 1:200*15 2-5:200*50 +10", "-1:percentage@10");
    check(5, "1:500*84 1:200*16 2-5:200*50 +10", "");
    check(5, "1:500*49 2-5:200*50 +10", "");
    check(4, "1:500*50 2-4:200*50 +10", "");
    check(5, "1-2:500*50 3-5:200*50 +10", "-1:percentage@10 -2:percentage@10");
}

/// Scenario: both rules at once, on the same endpoint, and with different volumes.
/// Guarantees: each is detected and counted, the endpoint is ejected once.
#[test]
fn both_rules_of_a_sweep() {
    let both = OutlierDetection {
        failure_percentage: failure_percentage().failure_percentage,
        ..success_rate()
    };
    let life = run(both.clone(), 5, "1:500*100 2-5:200*100 +10");
    assert_eq!(life.log, ["-1:rate@10"]);
    let Counters { ejections_active, detected, enforced, .. } = life.outlier.counters();
    assert_eq!(ejections_active, 1);
    assert_eq!((detected[Detector::FailurePercentage as usize], enforced.iter().sum()), (1, 1));
    check(both, 5, "1:500*60 2-5:200*60 +10", "-1:percentage@10");
}

/// Scenario: local failures, split, against success rate and percentage of their own.
/// Guarantees: they are judged by themselves, under their own enforcement.
#[test]
fn local_origin_rates() {
    let split = |settings| OutlierDetection { split_local_origin: true, ..settings };
    let script = "1:broken*50 1:connect*50 2-5:connect*100 1-5:200*100 +10";
    check(split(success_rate()), 5, script, "-1:local-rate@10");
    let script = "1:timeout*50 2-5:open*50 +10";
    check(split(failure_percentage()), 5, script, "-1:local-percentage@10");
    check(failure_percentage(), 5, script, "-1:percentage@10");
    let mut shadow = split(failure_percentage());
    shadow.failure_percentage.as_mut().unwrap().enforcing_local_origin_percent = 0;
    check(shadow, 5, script, "(-1:local-percentage@10)");
}

/// Scenario: enforcement of every percentage, with dice that show a low, middle and high point.
/// Guarantees: 0 never ejects and 100 always; between them the dice decide, and are not asked else.
#[test]
fn enforcement_is_a_roll_of_dice() {
    let check = |percent, point, ejects| {
        let mut life = Life::new(
            OutlierDetection { consecutive_errors: Some(in_a_row(5, percent)), ..nothing() },
            3,
        );
        life.point = point;
        life.word("1:500*5");
        assert_eq!(life.outlier.is_ejected(EndpointId(1)), ejects, "{percent} % at {point}");
        let Counters { detected, enforced, .. } = life.outlier.counters();
        assert_eq!((detected[0], enforced[0]), (1, u64::from(ejects)));
    };
    check(0, 0.0, false);
    check(100, 0.999, true);
    check(30, 0.29, true);
    check(30, 0.31, false);
    check(99, 0.995, false);
    check(255, 1.0, true);
}
