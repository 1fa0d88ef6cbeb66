//! Recordings that are made here, with answers that can be counted by hand.

use super::*;
use fusebox_proto::ServiceId;
use std::ops::Range;

/// When the made recordings begin, s.
const START_S: u64 = 1_800_000_000;

/// Attempts of one proxy: `per_s` a second in these seconds, evenly; each takes 50 ms.
fn attempts(per_s: u64, seconds: Range<u64>, kind: Kind, end: impl Fn(u64) -> End) -> Vec<Attempt> {
    let count = (seconds.end - seconds.start) * per_s;
    let attempt = |n: u64| {
        let sent_unix_us = (START_S + seconds.start) * 1_000_000 + n * 1_000_000 / per_s;
        let end = Some((sent_unix_us + 50_000, end(n)));
        Attempt { sent_unix_us, end, kind, proxy: 0, weight: 1.0 }
    };
    (0..count).map(attempt).collect()
}

fn crossings(parts: &[Vec<Attempt>]) -> Crossings {
    let mut attempts = parts.concat();
    attempts.sort_by_key(|attempt| attempt.sent_unix_us);
    Crossings { attempts, source: Source::Spans, proxies: 0, refused: 0, left_out: 0 }
}

/// A minute of ten first attempts a second, and a minute in which all fail and are repeated four times;
/// of the repetitions every tenth succeeds.
fn storm() -> Crossings {
    let tenth = |n: u64| if n.is_multiple_of(10) { End::Success } else { End::Failure };
    crossings(&[
        attempts(10, 0..60, Kind::First, |_| End::Success),
        attempts(10, 60..120, Kind::First, |_| End::Failure),
        attempts(40, 60..120, Kind::Retry, tenth),
    ])
}

fn at(s: f64) -> Stamp {
    Stamp(START_S * 1_000 + (s * 1e3).round() as u64)
}

fn question(lease: Option<Lease>) -> Question {
    let [source, destination] =
        ["payment", "inventory"].map(|name| ServiceId::named(name).unwrap());
    Question {
        incident: "41".into(),
        opened_at: at(62.0),
        edge: Edge::new(source, destination),
        name: EdgeName { source: "payment".into(), destination: "inventory".into() },
        lease,
        ends_at: at(120.0),
    }
}

fn lease(action: Action, ttl_s: u64) -> Lease {
    let ttl = Duration::from_secs(ttl_s);
    Lease { action, ttl, proxies: 1, at: at(62.0), is_suggested: true }
}

/// Opens after seven failures in a row, for five seconds at first, without jitter.
const SEVEN: ServiceBreaker = ServiceBreaker {
    success_window: None,
    open_min: Duration::from_secs(5),
    jitter: 0.0,
    ..ServiceBreaker::DEFAULT
};

fn trip(incident_s: f64, crossings: &Crossings) -> Tripped {
    let clock = Clock::new(Now::read(), crossings.attempts[0].sent_unix_us);
    tripped(clock, at(incident_s), SEVEN, crossings)
}

/// Scenario: each action for half a minute in a storm of ten first attempts a second and forty
/// repetitions, of which four succeed; one that outlasts the recording; one at a rate that is not
/// reached; one that no proxy would take.
/// Guarantees: exactly what the action is about is refused, from its moment to its end, and counted
/// with what succeeded and what was a retry.
#[test]
fn a_lease_refuses_what_it_is_about() {
    let check = |action: Action, ttl_s: u64, expected: Option<[u64; 4]>, until_s: f64| {
        let asked = question(Some(lease(action, ttl_s)));
        let answer = what_if(Now::read(), &asked, &storm()).action;
        let counts = answer
            .map(|it| it.refusals)
            .map(|it| [it.attempts, it.refused, it.succeeded, it.retries]);
        assert_eq!(counts, expected, "{action:?}");
        let Some(answer) = answer else { return };
        assert_eq!((answer.from, answer.until), (at(62.0), at(until_s)), "{action:?}");
        assert_eq!(answer.outlasts_recording, 62.0 + ttl_s as f64 > 120.0);
        assert_eq!((answer.action, answer.suggested), (action.kind(), true));
    };
    let mute = |percent| Action::MuteRetries { percent };
    check(mute(0), 30, Some([1_500, 1_200, 120, 1_200]), 92.0);
    check(mute(100), 30, Some([1_500, 0, 0, 0]), 92.0);
    check(Action::Open, 30, Some([1_500, 1_500, 120, 1_200]), 92.0);
    check(Action::Open, 300, Some([2_900, 2_900, 232, 2_320]), 120.0);
    check(Action::Cap { attempts_per_s: 60.0 }, 30, Some([1_500, 0, 0, 0]), 92.0);
    check(Action::Cap { attempts_per_s: f64::NAN }, 30, None, 92.0);
}

/// Scenario: half of a storm's retries let through, and all but a rate.
/// Guarantees: the share is exact, the rate is held.
#[test]
fn a_lease_refuses_its_share() {
    let refused = |action| {
        let asked = question(Some(lease(action, 30)));
        what_if(Now::read(), &asked, &storm()).action.unwrap().refusals.refused
    };
    assert_eq!(refused(Action::MuteRetries { percent: 25 }), 900);
    // Ten a second of fifty pass, and what a bucket holds at first.
    let capped = refused(Action::Cap { attempts_per_s: 10.0 });
    assert!((1_150..=1_200).contains(&capped), "{capped}");
}

/// Scenario: ten attempts a second, of which all fail from the tenth second to the twentieth.
/// Guarantees: the breaker opens with the end of the seventh, its probe meets the failures once and
/// success at the second time; what it refuses meanwhile is counted, with what succeeded.
#[test]
fn a_breaker_opens_and_probes() {
    let fails = |n: u64| if (100..200).contains(&n) { End::Failure } else { End::Success };
    let crossings = crossings(&[attempts(10, 0..40, Kind::First, fails)]);
    let tripped = trip(12.65, &crossings);
    // Failures end at 10.05, 10.15, … 10.65. A probe at 15.7 fails at 15.75: ten seconds more; the one
    // at 25.8 succeeds.
    assert_eq!((tripped.opened_at, tripped.closed_at), (Some(at(10.65)), Some(at(25.85))));
    assert_eq!(tripped.cause, Some("consecutive_failures"));
    let near = |seconds: Option<f64>, expected: f64| (seconds.unwrap() - expected).abs() < 1e-9;
    assert!(near(tripped.after_first_failure_s, 0.6), "{tripped:?}");
    assert!(near(tripped.before_incident_s, 2.0), "{tripped:?}");
    // 10.7 … 15.6 and 15.8 … 25.7; those from 20.0 on succeeded.
    let expected = Refusals { attempts: 400, refused: 50 + 100, succeeded: 58, retries: 0 };
    assert_eq!(tripped.refusals, expected);
    assert_eq!((tripped.openings, tripped.failures, tripped.given_up), (1, 100, 0));
}

/// Scenario: the same failures through two proxies; of a sample of one in four; an hour after others
/// that opened the breaker, too; and callers that give up instead.
/// Guarantees: each proxy has a breaker of its own; a sampled attempt counts for four; the opening that
/// is told is the incident's; callers that give up open nothing.
#[test]
fn breakers_are_of_proxies_and_openings_of_incidents() {
    let fails = |n: u64| if (100..200).contains(&n) { End::Failure } else { End::Success };
    let once = attempts(10, 0..40, Kind::First, fails);
    let mut two = crossings(&[once.clone(), once.clone()]);
    two.proxies = 2;
    for (number, attempt) in two.attempts.iter_mut().enumerate() {
        attempt.proxy = number % 2;
    }
    let tripped = trip(12.65, &two);
    assert_eq!((tripped.openings, tripped.refusals.refused), (2, 300));

    let mut sampled = crossings(std::slice::from_ref(&once));
    for attempt in &mut sampled.attempts {
        attempt.weight = 4.0;
    }
    assert_eq!(trip(12.65, &sampled).refusals.refused, 600);
    assert!(quality(&question(None), &sampled).sampled);

    let mut later = once.clone();
    for attempt in &mut later {
        attempt.sent_unix_us += 3_600_000_000;
        attempt.end = attempt.end.map(|(at_us, end)| (at_us + 3_600_000_000, end));
    }
    let both = crossings(&[once, later]);
    let of_later = trip(3_612.65, &both);
    assert_eq!((of_later.opened_at, of_later.openings), (Some(at(3_610.65)), 2));
    assert_eq!(of_later.after_first_failure_s, trip(12.65, &both).after_first_failure_s);

    let left = |n: u64| if (100..200).contains(&n) { End::GivenUp } else { End::Success };
    let tripped = trip(12.65, &crossings(&[attempts(10, 0..40, Kind::First, left)]));
    assert_eq!((tripped.opened_at, tripped.openings, tripped.given_up), (None, 0, 100));
    assert_eq!(tripped.refusals, Refusals { attempts: 400, ..Refusals::default() });
}

/// Scenario: ten requests a second with one repetition each second, and with forty.
/// Guarantees: the default budget bears the former whole, and of the latter what it promises: a fifth of
/// the requests and ten a second, whichever is more.
#[test]
fn a_budget_bears_a_share() {
    let budgeted = |per_s: u64| {
        let crossings = crossings(&[
            attempts(10, 0..60, Kind::First, |_| End::Success),
            attempts(per_s, 0..60, Kind::Retry, |_| End::Success),
        ]);
        what_if(Now::read(), &question(None), &crossings).retry_budget
    };
    let calm = budgeted(1);
    assert_eq!((calm.refusals.attempts, calm.refusals.refused, calm.first_at), (60, 0, None));
    let storm = budgeted(40);
    let Refusals { attempts, refused, succeeded, retries } = storm.refusals;
    assert_eq!((attempts, succeeded, retries), (2_400, refused, refused));
    let allowed_per_s = (attempts - refused) as f64 / 60.0;
    assert!((10.0..=13.0).contains(&allowed_per_s), "{storm:?}");
}

/// Scenario: the same question twice; an edge that nothing crossed.
/// Guarantees: the same answer; no answer is made up.
#[test]
fn an_answer_is_the_same_again() {
    let asked = question(Some(lease(Action::Open, 30)));
    let first = what_if(Now::read(), &asked, &storm());
    let later = Now::read().plus(Duration::from_secs(1_000));
    assert_eq!(first, what_if(later, &asked, &storm()));
    let nothing = what_if(later, &asked, &crossings(&[]));
    assert_eq!(nothing.breaker.opened_at, None);
    assert_eq!(nothing.action.unwrap().refusals, Refusals::default());
    assert_eq!(nothing.retry_budget.refusals, Refusals::default());
}
