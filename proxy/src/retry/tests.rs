use super::*;
use fusebox_proto::Now;
use fusebox_proto::policy::RetryBudget;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Instant;

const MS: Duration = Duration::from_millis(1);

fn policy(conditions: &[RetryCondition], statuses: &[(u16, u16)]) -> Retries {
    Retries {
        retries_max: 3,
        per_try_timeout: None,
        on: RetryOn { conditions: conditions.to_vec(), statuses: statuses.to_vec() },
        backoff_base: 25 * MS,
    }
}

const FIRST: Progress = Progress { retries: 0, is_replayable: true, left: None };

const fn status(status: u16) -> Ended {
    Ended::Answered(Answer { status, grpc_status: None, is_refusal: false, pushback: None })
}

const fn grpc(status: u16) -> Ended {
    let grpc_status = Some(status);
    Ended::Answered(Answer { status: 200, grpc_status, is_refusal: false, pushback: None })
}

/// Scenario: every word of `retryOn` against every end of an attempt.
/// Guarantees: each word covers what Envoy means by it, and nothing else.
#[test]
fn conditions_are_envoys() {
    use RetryCondition as On;
    let ends: &[(&str, Ended)] = &[
        ("200", status(200)),
        ("404", status(404)),
        ("409", status(409)),
        ("500", status(500)),
        ("502", status(502)),
        ("503", status(503)),
        ("504", status(504)),
        ("599", status(599)),
        ("grpc0", grpc(0)),
        ("grpc1", grpc(1)),
        ("grpc4", grpc(4)),
        ("grpc8", grpc(8)),
        ("grpc13", grpc(13)),
        ("grpc14", grpc(14)),
        ("connect", Ended::NoConnection),
        ("refused", Ended::RefusedStream),
        ("reset", Ended::Reset { was_sent: true }),
        ("unsent", Ended::Reset { was_sent: false }),
        ("timeout", Ended::TimedOut),
        ("own", Ended::Refused),
    ];
    let check = |policy: &Retries, expected: &str| {
        let asked = ends.iter().filter(|(_, end)| is_asked(&policy.on, *end));
        let asked: Vec<_> = asked.map(|(name, _)| *name).collect();
        assert_eq!(asked.join(" "), expected, "{:?}", policy.on);
    };
    let on = |condition| policy(&[condition], &[]);
    let no_answer = "connect refused reset unsent timeout";
    check(&on(On::ServerError), &format!("500 502 503 504 599 {no_answer}"));
    check(&on(On::GatewayError), &format!("502 503 504 {no_answer}"));
    check(&on(On::Reset), no_answer);
    check(&on(On::ResetBeforeRequest), "connect unsent");
    check(&on(On::ConnectFailure), "connect");
    check(&on(On::RefusedStream), "refused");
    check(&on(On::Retriable4xx), "409");
    check(&on(On::Cancelled), "grpc1");
    check(&on(On::DeadlineExceeded), "grpc4");
    check(&on(On::ResourceExhausted), "grpc8");
    check(&on(On::Internal), "grpc13");
    check(&on(On::Unavailable), "grpc14");
    check(&policy(&[], &[(503, 503)]), "503");
    check(&policy(&[], &[(404, 409), (500, 502)]), "404 409 500 502");
    check(&policy(&[], &[]), "");
    let istio = [On::ConnectFailure, On::RefusedStream, On::Unavailable, On::Cancelled];
    check(&policy(&istio, &[]), "grpc1 grpc14 connect refused");
}

fn stop(policy: &Retries, progress: Progress, ended: Ended) -> Option<Stop> {
    wait(policy, progress, ended, u64::MAX).err()
}

/// Scenario: a retryable 503, with one thing after another against a retry.
/// Guarantees: each stops it, with its own reason; a refusal comes before everything else.
#[test]
fn each_reason_stops() {
    let policy = policy(&[RetryCondition::ServerError], &[]);
    let answer = Answer { status: 503, ..Answer::default() };
    let check = |progress, ended, expected| {
        assert_eq!(stop(&policy, progress, ended), expected, "{progress:?} {ended:?}");
    };
    check(FIRST, Ended::Answered(answer), None);
    check(FIRST, Ended::Refused, Some(Stop::Refused));
    let refusal = Answer { is_refusal: true, ..answer };
    check(FIRST, Ended::Answered(refusal), Some(Stop::Refused));
    check(FIRST, status(200), Some(Stop::NotAsked));
    check(FIRST, status(404), Some(Stop::NotAsked));
    let never = Answer { pushback: Some(Pushback::Never), ..answer };
    check(FIRST, Ended::Answered(never), Some(Stop::Pushback));
    check(Progress { retries: 2, ..FIRST }, Ended::Answered(answer), None);
    check(Progress { retries: 3, ..FIRST }, Ended::Answered(answer), Some(Stop::Exhausted));
    check(Progress { retries: 9, ..FIRST }, Ended::Answered(refusal), Some(Stop::Refused));
    let streamed = Progress { is_replayable: false, ..FIRST };
    check(streamed, Ended::Answered(answer), Some(Stop::NotReplayable));
    check(streamed, Ended::NoConnection, Some(Stop::NotReplayable));
    let left = |ms| Progress { left: Some(ms * MS), ..FIRST };
    check(left(0), Ended::Answered(answer), Some(Stop::NoTime));
    check(left(24), Ended::Answered(answer), Some(Stop::NoTime));
    check(left(25), Ended::Answered(answer), None);
}

/// Scenario: retry after retry, with the highest, the middle and the lowest dice.
/// Guarantees: the wait is anywhere below a bound that doubles from the base to ten times it.
#[test]
fn waits_double_to_ten_times_the_first() {
    let check = |base: Duration, random, expected: [u64; 6]| {
        let policy = Retries { backoff_base: base, ..policy(&[RetryCondition::Reset], &[]) };
        let policy = Retries { retries_max: u32::MAX, ..policy };
        let wait = |retries| {
            let progress = Progress { retries, ..FIRST };
            wait(&policy, progress, Ended::TimedOut, random).unwrap().as_micros() as u64
        };
        assert_eq!([0, 1, 2, 3, 4, 1_000_000].map(wait), expected);
    };
    check(25 * MS, u64::MAX, [24_999, 49_999, 99_999, 199_999, 249_999, 249_999]);
    check(25 * MS, u64::MAX / 2, [12_499, 24_999, 49_999, 99_999, 124_999, 124_999]);
    check(25 * MS, 0, [0; 6]);
    check(Duration::ZERO, u64::MAX, [0; 6]);
    check(
        Duration::from_secs(1),
        u64::MAX,
        [999_999, 1_999_999, 3_999_999, 7_999_999, 9_999_999, 9_999_999],
    );
}

/// Scenario: values of `grpc-retry-pushback-ms`, and what is left of the route's time.
/// Guarantees: a number is the wait, exactly; a negative or unreadable one forbids; none goes beyond
/// the route's time.
#[test]
fn pushback_is_obeyed() {
    let check = |value: &str, expected| {
        assert_eq!(Pushback::parse(value.as_bytes()), expected, "{value}");
    };
    check("0", Pushback::After(Duration::ZERO));
    check("100", Pushback::After(100 * MS));
    check(" 7 ", Pushback::After(7 * MS));
    check("-1", Pushback::Never);
    check("", Pushback::Never);
    check("soon", Pushback::Never);
    check("99999999999", Pushback::Never);
    assert_eq!(Pushback::parse(b"\xff"), Pushback::Never);

    let policy = policy(&[RetryCondition::Unavailable], &[]);
    let pushback = Some(Pushback::After(700 * MS));
    let answer = Answer { status: 200, grpc_status: Some(14), is_refusal: false, pushback };
    let wait = |left| wait(&policy, Progress { left, ..FIRST }, Ended::Answered(answer), u64::MAX);
    assert_eq!(wait(None), Ok(700 * MS));
    assert_eq!(wait(Some(701 * MS)), Ok(700 * MS));
    assert_eq!(wait(Some(700 * MS)), Err(Stop::NoTime));
}

/// Scenario: per-try timeouts beside what is left of the route's.
/// Guarantees: the shorter one holds; without either there is none.
#[test]
fn a_try_ends_with_its_route() {
    let with = |own| Retries { per_try_timeout: own, ..policy(&[], &[]) };
    let check = |own: Option<Duration>, left, expected| {
        assert_eq!(try_timeout(Some(&with(own)), left), expected);
    };
    check(None, None, None);
    check(Some(5 * MS), None, Some(5 * MS));
    check(None, Some(5 * MS), Some(5 * MS));
    check(Some(5 * MS), Some(3 * MS), Some(3 * MS));
    check(Some(3 * MS), Some(5 * MS), Some(3 * MS));
    assert_eq!(try_timeout(None, Some(MS)), Some(MS));
}

/// Scenario: a spent budget, met by attempts that would be retried and others.
/// Guarantees: it is asked only where all else says yes, and its reason is told.
#[test]
fn the_budget_is_asked_last() {
    let policy = policy(&[RetryCondition::ServerError], &[]);
    let spent = |ended| decide(&policy, FIRST, ended, 0, || Err(Spent::Rate));
    assert_eq!(spent(status(503)), Decision::Stop(Stop::Budget(Spent::Rate)));
    let unasked = decide(&policy, FIRST, status(200), 0, || panic!("not asked"));
    assert_eq!(unasked, Decision::Stop(Stop::NotAsked));
    let mut budget = Budget::new(Now::read().instant, None, None);
    let now = Now::read().instant;
    let decision = decide(&policy, FIRST, status(503), 0, || budget.take(now, 1));
    let Decision::Retry { after, permit } = decision else { panic!("{decision:?}") };
    assert_eq!((after, budget.status().retries_active), (Duration::ZERO, 1));
    budget.give_back(permit);
    assert_eq!(budget.status(), BudgetStatus { retries_active: 0, allowed: 1, refused: 0 });
}

/// Scenario: a request that tries endpoint after endpoint.
/// Guarantees: all are remembered, up to the bound; then the oldest is forgotten.
#[test]
fn tried_endpoints_are_bounded() {
    let mut tried = Tried::default();
    (0..20).for_each(|id| tried.add(EndpointId(id)));
    assert_eq!(tried.as_slice(), (4..20).map(EndpointId).collect::<Vec<_>>());
}

/// A budget in virtual time.
struct Life {
    now: Instant,
    budget: Budget,
    permits: Vec<RetryPermit>,
}

impl Life {
    fn new(settings: Option<RetryBudget>, retries_max: Option<u32>) -> Self {
        let now = Now::read().instant;
        Self { now, budget: Budget::new(now, settings, retries_max), permits: Vec::new() }
    }

    /// Asks for so many retries, which all go on, and says how many there was leave for and why
    /// there was none for the last.
    fn take(&mut self, count: u32, in_flight: u64) -> (u32, Option<Spent>) {
        let mut allowed = 0;
        let mut why = None;
        for _ in 0..count {
            match self.budget.take(self.now, in_flight) {
                Ok(permit) => {
                    self.permits.push(permit);
                    allowed += 1;
                }
                Err(spent) => why = Some(spent),
            }
        }
        (allowed, why)
    }

    fn end_all(&mut self) {
        for permit in self.permits.drain(..) {
            self.budget.give_back(permit);
        }
    }
}

/// Scenario: the default budget, with few and many requests, quick and slow retries.
/// Guarantees: a fifth of the requests of the last ten seconds, or ten a second, whichever is more;
/// what was retried stands against it until it leaves the window; retries that hang are bounded.
#[test]
fn the_default_is_a_rate() {
    let mut life = Life::new(None, None);
    assert_eq!(life.take(200, 0), (100, Some(Spent::Rate)), "ten a second over ten seconds");
    life.end_all();
    life.now += Duration::from_secs(9);
    assert_eq!(life.take(1, 0), (0, Some(Spent::Rate)));
    life.now += Duration::from_secs(1);
    assert_eq!(life.take(200, 0).0, 100);
    life.end_all();

    let mut life = Life::new(None, None);
    (0..2_000).for_each(|_| life.budget.request(life.now));
    assert_eq!(life.take(1_000, 2_000), (400, Some(Spent::Rate)));
    life.end_all();
    life.now += Duration::from_secs(10);
    assert_eq!(life.take(1_000, 0).0, 100, "the requests have left the window");

    let mut life = Life::new(None, None);
    (0..2_000).for_each(|_| life.budget.request(life.now));
    assert_eq!(life.take(1_000, 10), (100, Some(Spent::Concurrency)));
    assert_eq!(life.take(1_000, 1_000), (100, Some(Spent::Concurrency)), "200 at once");
    life.end_all();
    assert_eq!(life.take(1_000, 1_000), (200, Some(Spent::Rate)));
}

/// Scenario: a budget without interval, as Istio's, with retries under way.
/// Guarantees: Envoy's formula: below max(percent of what is active or pending, truncated, minimum).
#[test]
fn without_interval_it_is_envoys() {
    let check = |percent, concurrency_min, in_flight, allowed| {
        let settings = RetryBudget {
            percent,
            interval: Duration::ZERO,
            retries_per_s_min: 0.0,
            concurrency_min,
        };
        let mut life = Life::new(Some(settings), None);
        let (count, why) = life.take(1_000, in_flight);
        assert_eq!((count, why), (allowed, Some(Spent::Concurrency)), "{percent} {in_flight}");
        life.end_all();
        assert_eq!(life.take(1_000, in_flight).0, allowed, "nothing stays of the past");
    };
    check(20.0, 3, 0, 3);
    check(20.0, 3, 15, 3);
    check(20.0, 3, 19, 3);
    check(20.0, 3, 20, 4);
    check(20.0, 3, 104, 20);
    check(20.0, 0, 4, 0);
    check(0.0, 3, 1_000, 3);
    check(100.0, 0, 7, 7);
    let settings = RetryBudget { interval: Duration::ZERO, ..RETRY_BUDGET_DEFAULT };
    assert_eq!(Life::new(Some(settings), None).take(99, 0).0, 10, "ten a second, all the same");
}

/// Scenario: `connectionPool.http.maxRetries` and a minimum at once, beside a budget.
/// Guarantees: the former binds whatever the budget allows; the latter is allowed whatever the rate.
#[test]
fn other_bounds_stand_beside() {
    assert_eq!(Life::new(None, Some(3)).take(9, 0), (3, Some(Spent::RetriesMax)));
    assert_eq!(Life::new(None, Some(0)).take(9, 0), (0, Some(Spent::RetriesMax)));
    let none = RetryBudget { percent: 0.0, retries_per_s_min: 0.0, ..RETRY_BUDGET_DEFAULT };
    assert_eq!(Life::new(Some(none), None).take(9, 99), (0, Some(Spent::Rate)));
    let two = RetryBudget { concurrency_min: 2, ..none };
    let mut life = Life::new(Some(two), None);
    assert_eq!(life.take(9, 99), (2, Some(Spent::Rate)));
    life.end_all();
    assert_eq!(life.take(9, 99).0, 2);
}

/// Scenario: the policy changes while retries are under way.
/// Guarantees: they stay counted, and so does the window where its length stays.
#[test]
fn the_policy_changes_at_run_time() {
    let mut life = Life::new(None, None);
    assert_eq!(life.take(60, 0).0, 60);
    life.budget.set_policy(life.now, None, Some(62));
    assert_eq!(life.take(9, 0), (2, Some(Spent::RetriesMax)));
    life.budget.set_policy(life.now, None, None);
    assert_eq!(life.take(99, 0), (38, Some(Spent::Rate)));
    let other = RetryBudget { interval: Duration::from_secs(20), ..RETRY_BUDGET_DEFAULT };
    life.budget.set_policy(life.now, Some(other), None);
    assert_eq!(life.take(999, 0), (100, Some(Spent::Concurrency)), "100 are under way");
    life.end_all();
    assert_eq!(life.budget.status().retries_active, 0);
}

proptest! {
    /// Scenario: requests, retries and their ends at random times, under random budgets.
    /// Guarantees: at every moment the retries of the last ten buckets are within the share of the
    /// requests in them or the rate that is always allowed, and retries at once within their bound;
    /// whatever a model that counts one by one would allow is allowed; and after a window of silence
    /// a retry passes.
    #[test]
    fn a_budget_holds(
        percent in 0.0..100.0_f64,
        per_s in 1.0..20.0_f64,
        events in prop::collection::vec((0_u64..400, 0_u8..10, 0_u64..200), 1..300),
    ) {
        let interval = Duration::from_secs(2);
        let settings = RetryBudget {
            percent,
            interval,
            retries_per_s_min: per_s,
            concurrency_min: 0,
        };
        let mut life = Life::new(Some(settings), None);
        let start = life.now;
        let mut log: VecDeque<(u128, bool)> = VecDeque::new();
        for (step_ms, kind, in_flight) in events {
            life.now += step_ms as u32 * MS;
            let bucket = (life.now - start).as_millis() / 200;
            log.retain(|&(at, _)| bucket < at + 10);
            let count = |retry| log.iter().filter(|&&(_, is)| is == retry).count() as f64;
            match kind {
                0..5 => {
                    life.budget.request(life.now);
                    log.push_back((bucket, false));
                }
                5..9 => {
                    let always = per_s * 2.0;
                    let active = life.permits.len() as f64;
                    let fits_rate = count(true) < (percent / 100.0 * count(false)).max(always).floor();
                    let at_once = (percent / 100.0 * in_flight as f64).max(always);
                    let fits = fits_rate && active < at_once.floor();
                    let (allowed, _) = life.take(1, in_flight);
                    prop_assert_eq!(allowed == 1, fits);
                    if fits {
                        log.push_back((bucket, true));
                    }
                }
                _ => {
                    if let Some(permit) = life.permits.pop() {
                        life.budget.give_back(permit);
                    }
                }
            }
        }
        life.end_all();
        life.now += interval;
        prop_assert_eq!(life.take(1, 0).0, 1);
    }
}
