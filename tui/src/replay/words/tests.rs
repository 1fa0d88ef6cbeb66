use super::*;
use fusebox_demo::what_if::{Quality, Refusals};
use fusebox_proto::command::ActionKind;
use fusebox_proto::policy::ServiceBreaker;
use fusebox_proto::view::{EdgeName, Remedy, Shift, Stamp, SuggestedAction};

/// 14:01:54.500 of some day.
const AT: Stamp = Stamp(1_800_000_000_000 + 21_714_500);

fn what_if() -> WhatIf {
    let refusals = Refusals { attempts: 2_210, refused: 1_940, succeeded: 61, retries: 1_940 };
    WhatIf {
        incident: "41".into(),
        edge: EdgeName { source: "payment".into(), destination: "inventory".into() },
        action: Some(Leased {
            action: ActionKind::MuteRetries,
            suggested: true,
            ttl_s: 90,
            from: AT,
            until: Stamp(AT.0 + 90_000),
            outlasts_recording: false,
            refusals,
        }),
        breaker: Tripped {
            policy: Policy::from(ServiceBreaker::DEFAULT),
            opened_at: Some(Stamp(AT.0 - 1_600)),
            closed_at: None,
            cause: Some("consecutive_failures"),
            after_first_failure_s: Some(0.4),
            before_incident_s: Some(1.6),
            openings: 1,
            failures: 2_000,
            given_up: 30,
            refusals,
        },
        retry_budget: Budgeted {
            percent: 20.0,
            interval_s: 10,
            retries_per_s_min: 10.0,
            first_at: Some(AT),
            refusals: Refusals { attempts: 1_940, refused: 1_700, succeeded: 3, retries: 1_700 },
        },
        data_quality: Quality {
            source: "proxies",
            proxies: 1,
            sampled: false,
            refused_already: 0,
            left_out: 0,
            note: "from what a proxy counted".into(),
        },
    }
}

/// Scenario: an action that refuses retries only, one that refuses first attempts too and outlasts the
/// recording, one that nobody suggested and that refuses nothing.
/// Guarantees: how many, until when, how many retries and successes; never more than is known.
#[test]
fn an_action_is_told() {
    let check = |change: &dyn Fn(&mut Leased), expected: &str| {
        let mut action = what_if().action.unwrap();
        change(&mut action);
        assert_eq!(taken(&action), expected);
    };
    check(
        &|_| (),
        "mute-retries at 14:01:54 for 90 s, as suggested: 1,940 of 2,210 attempts refused until \
         14:03:24, all of them retries; 61 of them succeeded",
    );
    check(
        &|it| {
            it.action = ActionKind::Open;
            it.outlasts_recording = true;
            it.refusals.retries = 1_000;
        },
        "open at 14:01:54 for 90 s, as suggested: 1,940 of 2,210 attempts refused until the recording \
         ends at 14:03:24, 1,000 of them retries; 61 of them succeeded",
    );
    check(
        &|it| {
            it.suggested = false;
            it.refusals = Refusals { attempts: 7, ..Refusals::default() };
        },
        "mute-retries at 14:01:54 for 90 s, by a proxy: 0 of 7 attempts refused until 14:03:24; none \
         of them succeeded",
    );
}

/// Scenario: a breaker that opens before and after the incident, once and often, and one that does not.
/// Guarantees: when, on which side, at which cost; or why not.
#[test]
fn a_breaker_is_told() {
    const HEAD: &str = "a breaker (7 failures in a row, or below 80 % of at least 5 in 10 s):";
    let check = |change: &dyn Fn(&mut Tripped), expected: &str| {
        let mut breaker = what_if().breaker;
        change(&mut breaker);
        assert_eq!(tripped(&breaker, 1), format!("{HEAD} {expected}"));
    };
    check(
        &|it| it.given_up = 0,
        "open at 14:01:52, 0.4 s after the first failure, 1.6 s before the incident; 1,940 of 2,210 \
         attempts refused; 61 of them succeeded",
    );
    check(
        &|it| (it.before_incident_s, it.openings) = (Some(-3.0), 12),
        "open at 14:01:52, 0.4 s after the first failure, 3.0 s after the incident, 12 times in all; \
         1,940 of 2,210 attempts refused; 61 of them succeeded; 30 were given up by callers, which \
         tells it nothing",
    );
    let many = Tripped { openings: 4, given_up: 0, ..what_if().breaker };
    assert!(tripped(&many, 3).contains("before the incident, 4 times in 3 proxies; 1,940 of"));
    check(
        &|it| it.opened_at = None,
        "not opened, 2,000 of 2,210 attempts failed; 30 were given up by callers, which tells it \
         nothing",
    );
}

/// Scenario: retries beyond a budget, within it, and none; incidents without an action, and with one that
/// is no trip.
/// Guarantees: each is told, or left out where there is nothing to tell; what it rests on comes last.
#[test]
fn a_budget_is_told() {
    let all = lines(&Incident::default(), &what_if());
    assert_eq!(all[0], "what if there had been, on payment → inventory:");
    assert_eq!(
        all[3],
        "  a retry budget (20 % of requests in 10 s, at least 10/s): 1,700 of 1,940 retries refused, the \
         first at 14:01:54; 3 of them succeeded"
    );
    assert_eq!((all.len(), &*all[4]), (5, "  (from what a proxy counted)"));
    let mut calm = what_if();
    calm.action = None;
    calm.retry_budget.first_at = None;
    assert!(lines(&Incident::default(), &calm)[2].ends_with("all 1,940 retries within it"));
    let shift = SuggestedAction {
        action: Remedy::Shift(Shift::default()),
        source: "payment".into(),
        destination: "inventory".into(),
        ttl_s: 0,
        tier: 1,
        predicted: String::new(),
    };
    let canary = Incident { action: Some(shift), ..Incident::default() };
    assert_eq!(lines(&canary, &calm)[1], "  shift, as suggested: a recording cannot tell");
    calm.retry_budget.refusals.attempts = 0;
    assert_eq!(lines(&Incident::default(), &calm).len(), 3);
}
