//! The schedule in virtual time.

use super::*;
use fusebox_proto::Now;
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);

fn answer(ttl: Duration) -> Answer {
    Answer { found: Vec::new(), ttl, source: Source::Dns }
}

fn of(now: Instant, names: &[&str]) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.follow(now, &names.iter().map(ToString::to_string).collect());
    schedule
}

/// Scenario: answers with TTLs from 0 to a day, with the lowest and the highest dice.
/// Guarantees: the next look-up is when the TTL ends, but not sooner than a second nor later than five
/// minutes, and at most a twentieth and half a second of jitter after that.
#[test]
fn the_ttl_is_kept() {
    let now = Now::read().instant;
    let check = |ttl_s: u64, least_ms: u64, most_ms: u64| {
        for (dice, expected) in [(0, least_ms), (u64::MAX, most_ms)] {
            let mut schedule = of(now, &["a:1"]);
            assert_eq!(schedule.take_due(now, 9), ["a:1"]);
            assert_eq!(schedule.poll_timeout(), None, "it is being looked up");
            let answer = answer(S * u32::try_from(ttl_s).unwrap());
            schedule.answered(now, "a:1", Ok(&answer), dice);
            let wait = schedule.poll_timeout().unwrap() - now;
            assert!(wait.as_millis().abs_diff(expected.into()) <= 1, "{ttl_s}: {wait:?}");
        }
    };
    check(0, 1_000, 1_050);
    check(1, 1_000, 1_050);
    check(5, 5_000, 5_250);
    check(60, 60_000, 60_500);
    check(300, 300_000, 300_500);
    check(86_400, 300_000, 300_500);
}

/// Scenario: a name answers, then fails again and again, in two ways, and answers.
/// Guarantees: the good answer stays known; waits grow from one second to no more than thirty; each
/// new state of affairs is told once.
#[test]
fn failures_wait_with_patience() {
    let mut now = Now::read().instant;
    let mut schedule = of(now, &["a:1"]);
    schedule.take_due(now, 9);
    assert_eq!(schedule.answered(now, "a:1", Ok(&answer(S)), 0), Turn::Same);
    let start = now;
    let mut waits = Vec::new();
    for round in 0..10 {
        now = schedule.poll_timeout().unwrap();
        assert_eq!(schedule.take_due(now, 9).len(), 1);
        let failure = if round < 5 { Failure::NoSuchName } else { Failure::NoAddresses };
        let turn = schedule.answered(now, "a:1", Err(failure.clone()), u64::MAX);
        let expected = if round % 5 == 0 { Turn::Failing } else { Turn::Same };
        assert_eq!(turn, expected, "{round}");
        waits.push((schedule.poll_timeout().unwrap() - now).as_secs_f64().round() as u64);
        let status = schedule.statuses(now).next().unwrap();
        assert_eq!(status.error, Some(failure));
        assert_eq!(status.known, Some((now - start, S, Source::Dns)));
    }
    assert_eq!(waits, [2, 3, 5, 9, 17, 30, 30, 30, 30, 30]);
    schedule.take_due(now, 9);
    assert_eq!(schedule.answered(now, "a:1", Ok(&answer(S)), 0), Turn::Recovered);
    assert_eq!(schedule.statuses(now).next().unwrap().error, None);
}

/// Scenario: names come and go, one of them while it is looked up.
/// Guarantees: a new one is due at once, the time of others stays; an answer about one that is gone is
/// nothing; it is settled once each was looked up, well or not.
#[test]
fn names_come_and_go() {
    let now = Now::read().instant;
    assert!(Schedule::default().is_settled());
    let mut schedule = of(now, &["a:1", "b:1"]);
    assert_eq!(schedule.take_due(now, 1), ["a:1"]);
    assert_eq!(schedule.take_due(now, 9), ["b:1"]);
    schedule.answered(now, "a:1", Ok(&answer(S * 60)), 0);
    assert!(!schedule.is_settled());
    schedule.answered(now, "b:1", Err(Failure::NoSuchName), 0);
    assert!(schedule.is_settled());
    schedule.follow(now + S, &["a:1".to_owned(), "c:1".to_owned()].into());
    assert_eq!(schedule.take_due(now + S, 9), ["c:1"]);
    schedule.follow(now + S, &["a:1".to_owned()].into());
    assert_eq!(schedule.answered(now + S, "c:1", Err(Failure::NoName), 0), Turn::Same);
    assert_eq!(schedule.poll_timeout(), Some(now + S * 60));
    assert_eq!(schedule.statuses(now).count(), 1);
}

proptest! {
    /// Scenario: names with any TTLs and failures, answered after any time, with room for few at once.
    /// Guarantees: no name is looked up twice at once, nor sooner than a second after its last answer;
    /// never more than there is room for; what is due is looked up as soon as there is room; the next
    /// time is when the TTL is over, give or take the jitter, and after a failure within its bounds.
    #[test]
    fn each_name_in_its_time(
        names in 1_usize..12,
        room in 1_usize..4,
        turns in prop::collection::vec((0_u32..400, any::<bool>(), 0_u64..3_000, any::<u64>()), 1..200),
    ) {
        let (mut now, mut schedule) = (Now::read().instant, Schedule::default());
        schedule.follow(now, &(0..names).map(|at| format!("n{at}:1")).collect());
        let (mut asked, mut last) = (BTreeSet::new(), BTreeMap::<String, Instant>::new());
        for (ttl_s, is_good, took_ms, dice) in turns {
            for name in schedule.take_due(now, room - asked.len()) {
                prop_assert!(last.get(&name).is_none_or(|last| *last + WAIT_MIN <= now), "too early");
                prop_assert!(asked.insert(name), "twice at once");
            }
            prop_assert!(asked.len() <= room);
            let is_nobody_due = schedule.poll_timeout().is_none_or(|due| now < due);
            prop_assert!(asked.len() == room || is_nobody_due, "there was room");
            now += Duration::from_millis(took_ms);
            let Some(name) = asked.pop_first() else {
                now = now.max(schedule.poll_timeout().unwrap());
                continue;
            };
            let answer = answer(S * ttl_s);
            let said = if is_good { Ok(&answer) } else { Err(Failure::NoAddresses) };
            schedule.answered(now, &name, said, dice);
            let status = schedule.statuses(now).find(|status| status.name == name).unwrap();
            let (least, most) = if is_good {
                (S * ttl_s.clamp(1, 300), S * ttl_s.clamp(1, 300) + JITTER_MAX)
            } else {
                (WAIT_MIN, FAILED_WAIT_MAX)
            };
            prop_assert!((least..=most).contains(&status.next), "{status:?}");
            last.insert(name, now);
        }
    }
}
