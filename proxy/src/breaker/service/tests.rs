use super::*;
use fusebox_proto::policy::SuccessWindow;
use rand::seq::IndexedRandom as _;
use std::collections::VecDeque;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Opens after three failures in a row, for 5 s at first and 60 s at most, without jitter.
pub(in crate::breaker) const fn three() -> policy::ServiceBreaker {
    policy::ServiceBreaker {
        consecutive_failures: Some(3),
        success_window: None,
        open_min: secs(5),
        open_max: secs(60),
        jitter: 0.0,
        shadow: false,
    }
}

/// Opens below 80 % successes among at least five in ten seconds.
const fn window() -> policy::ServiceBreaker {
    let rule = SuccessWindow { threshold_percent: 80.0, window: secs(10), requests_min: 5 };
    policy::ServiceBreaker { consecutive_failures: None, success_window: Some(rule), ..three() }
}

const fn shadow() -> policy::ServiceBreaker {
    policy::ServiceBreaker { shadow: true, ..three() }
}

/// A life of a breaker with what happened in it.
struct Life {
    now: Now,
    service: Service,
    /// Attempts that are out, oldest first.
    out: VecDeque<Pass>,
    state: BreakerState,
    log: String,
}

impl Life {
    fn new(policy: policy::ServiceBreaker, seed: u64) -> Self {
        let now = Now::read();
        let service = Service::new(now.instant, policy, seed);
        Self { now, service, out: VecDeque::new(), state: BreakerState::Closed, log: String::new() }
    }

    fn shadow(&self) -> ShadowStatus {
        self.service.shadow(self.now.instant).unwrap()
    }

    fn start(&mut self) {
        match self.service.refusal(self.now.instant) {
            None => self.out.push_back(self.service.admit(self.now.instant)),
            Some(Refused::HalfOpen) => self.log.push('h'),
            Some(_) => self.log.push('x'),
        }
    }

    fn end(&mut self, pass: Option<Pass>, outcome: Outcome) {
        if let Some(pass) = pass {
            self.service.ended(self.now, &pass, outcome);
        }
    }

    fn ask(&mut self, outcome: Outcome) {
        let before = self.out.len();
        self.start();
        if before < self.out.len() {
            let pass = self.out.pop_back();
            self.end(pass, outcome);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        if self.service.next().is_some_and(|due| due <= self.now.instant) {
            self.service.elapse();
        }
    }

    /// One letter of a script; see [`run`].
    fn event(&mut self, event: char) {
        match event {
            '+' => self.ask(Outcome::Success),
            '-' => self.ask(Outcome::Failure),
            'c' => self.ask(Outcome::Cancelled),
            'a' => self.start(),
            'S' | 'F' | 'X' => {
                let pass = self.out.pop_front();
                let outcome = match event {
                    'S' => Outcome::Success,
                    'F' => Outcome::Failure,
                    _ => Outcome::Cancelled,
                };
                self.end(pass, outcome);
            }
            'r' => self.service.reset(self.now, false),
            'R' => self.service.reset(self.now, true),
            'm' => self.pass(Duration::from_mins(1)),
            seconds => {
                let seconds = seconds.to_digit(10).expect("an event of the script language");
                self.pass(secs(seconds.into()));
            }
        }
        self.service.check_invariants();
        let state = self.service.state();
        if std::mem::replace(&mut self.state, state) != state {
            self.log.push(match state {
                BreakerState::Open => 'O',
                BreakerState::HalfOpen => 'H',
                _ => 'C',
            });
        }
    }
}

/// Runs a script of one-letter events, and returns what the breaker did: `O`, `H`, `C` for open,
/// half-open, closed; `x` for a refusal while open, `h` while a probe is out.
///
/// `+` an attempt that succeeds, `-` one that fails, `c` one whose caller leaves; `a` one that stays
/// out, of which `S`, `F`, `X` end the oldest well, badly, or with its caller; `r` a reset with a
/// probe, `R` at once; a digit: so many seconds pass, `m` a minute.
fn run(policy: policy::ServiceBreaker, script: &str) -> Life {
    let mut life = Life::new(policy, 1);
    script.chars().for_each(|event| life.event(event));
    life
}

#[track_caller]
fn check(policy: policy::ServiceBreaker, script: &str, expected: &str) {
    assert_eq!(run(policy, script).log, expected, "{script}");
}

/// Scenario: failures with and without anything between them.
/// Guarantees: the third in a row opens; a success begins anew; a caller that leaves says nothing;
/// without a policy for it nothing opens.
#[test]
fn failures_in_a_row_open() {
    check(three(), "--", "");
    check(three(), "---", "O");
    check(three(), "--+--", "");
    check(three(), "--c-", "O");
    check(three(), "--9m-", "O");
    check(three(), "---+-c", "Oxxx");
    check(policy::ServiceBreaker { consecutive_failures: None, ..three() }, "-----", "");
    check(policy::ServiceBreaker { consecutive_failures: Some(0), ..three() }, "+c-", "O");
}

/// Scenario: successes and failures in one window, at and below the threshold, across its end.
/// Guarantees: it opens below the threshold and not at it, only with enough attempts, also by a
/// success that makes them enough; what left the window does not count; failures in a row come
/// first.
#[test]
fn a_low_success_rate_opens() {
    check(window(), "++++-", "");
    check(window(), "+++--", "O");
    check(window(), "----", "");
    check(window(), "----+", "O");
    check(window(), "---ccccc", "");
    check(window(), "++++++++--", "");
    check(window(), "++++++++---", "O");
    check(window(), "----99+++++", "");
    check(window(), "----8+", "O");
    let cause = |policy, script| run(policy, script).service.cause();
    assert_eq!(cause(window(), "----+"), Cause::SuccessWindow);
    let both = policy::ServiceBreaker { consecutive_failures: Some(5), ..window() };
    assert_eq!(cause(both, "-----"), Cause::ConsecutiveFailures);
    assert_eq!(cause(both, "-+---"), Cause::SuccessWindow);
    let rule = SuccessWindow { threshold_percent: 100.0, window: secs(10), requests_min: 0 };
    let strict = policy::ServiceBreaker { success_window: Some(rule), ..window() };
    check(strict, "+++", "");
    check(strict, "+-", "O");
}

/// Scenario: an open circuit, and what comes after its time.
/// Guarantees: exactly one probe passes; its success closes, and everything is counted anew; its
/// failure opens again, and its caller's leaving frees the place for the next.
#[test]
fn one_probe_decides() {
    check(three(), "---4+", "Ox");
    check(three(), "---5", "OH");
    check(three(), "---5+", "OHC");
    check(three(), "---5-+", "OHOx");
    check(three(), "---5aaaS+", "OHhhC");
    check(three(), "---5aaF+", "OHhOx");
    check(three(), "---5aaXaaS", "OHhhC");
    check(three(), "---5c-", "OHO");
    check(three(), "---5+--", "OHC");
    check(three(), "---5+---", "OHCO");
    check(window(), "----+5+----", "OHC");
    let cause = |script| run(three(), script).service.cause();
    assert_eq!(cause("---5"), Cause::EjectionElapsed);
    assert_eq!(cause("---5-"), Cause::ProbeFailed);
    assert_eq!(cause("---5+"), Cause::ProbeSucceeded);
}

/// Scenario: probes fail again and again, then one succeeds, and the circuit opens once more.
/// Guarantees: the open time doubles up to its maximum, and begins short again.
#[test]
fn the_open_time_doubles() {
    check(three(), "---5-9+1-", "OHOxHO");
    // 5, 10, 20, 40, 60, 60 seconds.
    check(three(), "---5-91-992-99994-m", "OHOHOHOHOH");
    check(three(), "---5-91-992-99994-999995+9m-m+", "OHOHOHOHOxHOHC");
    check(three(), "---5-91+---5", "OHOHCOH");
    let short = policy::ServiceBreaker { open_max: secs(7), ..three() };
    check(short, "---5-6+1-7", "OHOxHOH");
}

/// Scenario: a probe that does not end, such as a stream of hours.
/// Guarantees: after as long as the circuit was open another one passes beside it, and either may
/// decide.
#[test]
fn a_hanging_probe_gives_its_place() {
    check(three(), "---5a4a1aa", "OHhh");
    check(three(), "---5a5+", "OHC");
    check(three(), "---5a5aS", "OHC");
    check(three(), "---5a5aF", "OHO");
    check(three(), "---5a5-F", "OHO");
    let quick = policy::ServiceBreaker { open_min: Duration::ZERO, ..three() };
    check(quick, "---0aa1a", "OHh");
}

/// Scenario: attempts admitted while closed, and probes of an earlier half-open state, end late.
/// Guarantees: stale evidence moves nothing.
#[test]
fn stragglers_are_ignored() {
    check(three(), "aaaa---FFFF5", "OH");
    check(three(), "a---5S", "OH");
    check(three(), "a---5aS", "OH");
    check(three(), "aaa---5+FFF", "OHC");
    check(three(), "---5a5-9S", "OHO");
}

/// Scenario: an operator resets a circuit that failures opened.
/// Guarantees: with a probe or at once, and never away from closed.
#[test]
fn a_reset_moves_towards_closed() {
    check(three(), "r+R+", "");
    check(three(), "---r+", "OHC");
    check(three(), "---ra-r", "OHh");
    check(three(), "---R+", "OC");
    check(three(), "---5R", "OHC");
    check(three(), "---r-9+1+", "OHOxHC");
}

/// Scenario: the same failures in shadow.
/// Guarantees: nothing is refused; the circuit would move as it does without shadow; what it would
/// have refused drives nothing and is counted, with what succeeded all the same.
#[test]
fn a_shadow_refuses_nothing() {
    check(shadow(), "---+++---", "O");
    check(shadow(), "---5-", "OHO");
    check(shadow(), "---+++5+", "OHC");
    check(shadow(), "---5aaaSSS", "OHC");
    let mut life = run(shadow(), "---++-c4--+1+");
    assert_eq!(life.log, "OHC");
    let trip: Vec<_> = life.service.take_shadow_trips().collect();
    let [trip] = trip[..] else { panic!("{trip:?}") };
    assert_eq!((trip.number, trip.cause), (1, Cause::ConsecutiveFailures));
    assert_eq!((trip.refused, trip.succeeded), (7, 3));
    assert_eq!(trip.closed_unix_ms.map(|closed| closed - trip.opened_unix_ms), Some(5_000));
    let status = life.shadow();
    assert_eq!(
        (status.refused, status.succeeded, status.standing.state),
        (7, 3, BreakerState::Closed)
    );
    assert_eq!((status.standing.refused, status.succeeded_lately), (7, 3), "of the last one");
    let plain = run(three(), "---");
    assert_eq!(plain.service.shadow(plain.now.instant), None);
}

/// Scenario: attempts that would have been refused end after the circuit would have closed.
/// Guarantees: they count to the trip that would have refused them.
#[test]
fn a_shadow_counts_late_ends() {
    let mut life = run(shadow(), "---aa5+S---+5+S");
    assert_eq!(life.log, "OHCOHC");
    let trips: Vec<_> =
        life.service.take_shadow_trips().map(|trip| (trip.refused, trip.succeeded)).collect();
    assert_eq!(trips, [(2, 2), (1, 1)]);
    assert_eq!((life.shadow().succeeded, life.shadow().succeeded_lately), (3, 1));
}

/// Scenario: a hundred openings in shadow that nobody takes.
/// Guarantees: the oldest are dropped, and counted.
#[test]
fn shadow_trips_are_bounded() {
    let mut life = run(shadow(), &"---5+".repeat(100));
    assert_eq!(life.shadow().trips_dropped, 36);
    let trips: Vec<_> = life.service.take_shadow_trips().collect();
    assert_eq!((trips.len(), trips[0].number), (64, 37));
}

/// Scenario: the policy changes while failures are counted, and while the circuit is open.
/// Guarantees: counts and the open circuit stay; a lowered threshold opens with the next failure; a
/// window of another length begins empty; coming out of the shadow begins closed.
#[test]
fn the_policy_changes_at_run_time() {
    let two = policy::ServiceBreaker { consecutive_failures: Some(2), ..three() };
    let mut life = run(policy::ServiceBreaker { consecutive_failures: Some(9), ..three() }, "---");
    life.service.set_policy(life.now, two);
    life.event('-');
    assert_eq!(life.log, "O");
    life.service.set_policy(life.now, three());
    life.event('+');
    life.service.set_policy(life.now, shadow());
    assert_eq!(life.service.state(), BreakerState::Closed);
    "---".chars().for_each(|event| life.event(event));
    assert_eq!(life.service.enforced(), BreakerState::Closed);
    life.service.set_policy(life.now, three());
    assert_eq!(life.service.state(), BreakerState::Closed);
    assert_eq!(life.service.take_shadow_trips().count(), 1);

    let mut life = run(window(), "----");
    let rule = SuccessWindow { window: secs(20), ..window().success_window.unwrap() };
    let longer = policy::ServiceBreaker { success_window: Some(rule), ..window() };
    life.service.set_policy(life.now, longer);
    "----".chars().for_each(|event| life.event(event));
    assert_eq!(life.log, "");
    life.event('-');
    assert_eq!(life.log, "O");
}

/// Scenario: openings of breakers with different seeds, and of policies beyond all reason.
/// Guarantees: jitter lies within its share, differs between proxies and is the same for the same
/// seed; nothing overflows.
#[test]
fn jitter_is_within_its_share() {
    let half = policy::ServiceBreaker { jitter: 0.5, ..three() };
    let open_for = |policy, seed| {
        let mut life = Life::new(policy, seed);
        "---".chars().for_each(|event| life.event(event));
        life.service.next().unwrap() - life.now.instant
    };
    let times: Vec<_> = (0..50).map(|seed| open_for(half, seed)).collect();
    assert!(times.iter().all(|time| (secs(5)..=Duration::from_millis(7_500)).contains(time)));
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*first + secs(1) < *last, "{first:?} to {last:?}");
    assert_eq!(open_for(half, 7), open_for(half, 7));
    let (open_min, open_max) = (Duration::MAX, Duration::MAX);
    let endless = policy::ServiceBreaker { jitter: f64::INFINITY, open_min, open_max, ..three() };
    assert!(open_for(endless, 1) <= 2 * OPEN_MAX);
    let unreasonable = policy::ServiceBreaker { jitter: f64::NAN, ..three() };
    assert_eq!(open_for(unreasonable, 1), secs(5));
}

/// Scenario: 256 lives of two thousand random events from a seed each; then all callers leave, and a
/// day passes.
/// Guarantees: what the state refuses is refused and nothing else, in half-open at most one probe is
/// out without patience; and in the end an attempt passes and closes the circuit.
#[test]
fn a_circuit_always_closes_again() {
    for seed in 1..=256 {
        let mut rng = StdRng::seed_from_u64(seed);
        let kinds = [three(), window(), shadow()];
        let policy = *kinds.choose(&mut rng).unwrap();
        let policy = policy::ServiceBreaker { jitter: rng.random(), ..policy };
        let mut life = Life::new(policy, seed);
        let events: Vec<char> = "++++-----caaaaaSSFFXr0123456".chars().collect();
        for _ in 0..2_000 {
            life.event(*events.choose(&mut rng).unwrap());
            let refusal = life.service.judgement(life.now.instant);
            match life.service.stage {
                Stage::Closed { .. } => assert_eq!(refusal, None),
                Stage::Open { until, .. } => {
                    assert!(life.now.instant < until);
                    assert_eq!(refusal, Some(Refused::Open));
                }
                Stage::HalfOpen { probes, patience, .. } => {
                    let is_taken = 0 < probes && life.now.instant < patience;
                    assert_eq!(refusal.is_some(), is_taken);
                }
            }
            assert!(!policy.shadow || life.service.refusal(life.now.instant).is_none());
        }
        while let Some(pass) = life.out.pop_front() {
            life.end(Some(pass), Outcome::Cancelled);
        }
        life.pass(secs(86_400));
        life.event('+');
        assert_eq!(life.service.state(), BreakerState::Closed, "seed {seed}");
    }
}
