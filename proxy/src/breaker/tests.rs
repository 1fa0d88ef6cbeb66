use super::*;
use fusebox_proto::ServiceId;
use fusebox_proto::command::Action;
use std::time::Duration;

/// A command of this revision.
fn command(revision: u64, verb: Verb) -> Command {
    Command {
        id: format!("c{revision}"),
        revision,
        destination: ServiceId::named("inventory").unwrap(),
        verb,
        by: "ada".into(),
        reason: String::new(),
    }
}

pub(super) fn trip(action: Action) -> Verb {
    Verb::Trip { action, ttl: Duration::from_secs(30), proxies: 2 }
}

const RETRY: Kind = Kind::Retry { of_refused: false };
const RETRY_OF_REFUSED: Kind = Kind::Retry { of_refused: true };

fn crossing(kind: Kind) -> Crossing {
    Crossing { kind, trace: None }
}

/// A life of a breaker with what happened in it.
pub(super) struct Life {
    pub(super) now: Now,
    pub(super) breaker: Breaker,
    revision: u64,
    pub(super) log: String,
}

impl Life {
    pub(super) fn new() -> Self {
        let now = Now::read();
        Self { now, breaker: Breaker::new(now.instant), revision: 0, log: String::new() }
    }

    pub(super) fn ask(&mut self, kind: Kind, outcome: Outcome) {
        match self.breaker.admit(self.now, crossing(kind)) {
            Ok(permit) => self.breaker.on_outcome(self.now, permit, outcome),
            Err(_) => self.log.push('x'),
        }
    }

    pub(super) fn order(&mut self, verb: Verb) {
        self.revision += 1;
        let result = self.breaker.apply(self.now, &command(self.revision, verb));
        assert_eq!(result, AckResult::Applied);
    }

    /// One letter of a script; see [`run`].
    pub(super) fn event(&mut self, event: char) {
        match event {
            '+' => self.ask(Kind::First, Outcome::Success),
            '-' => self.ask(Kind::First, Outcome::Failure),
            'c' => self.ask(Kind::First, Outcome::Cancelled),
            'h' => self.ask(Kind::Hedge, Outcome::Success),
            'r' => self.ask(RETRY, Outcome::Success),
            'q' => self.ask(RETRY_OF_REFUSED, Outcome::Success),
            'F' => self.order(trip(Action::Open)),
            'M' => self.order(trip(Action::MuteRetries { percent: 0 })),
            'm' => self.order(trip(Action::MuteRetries { percent: 60 })),
            'K' => self.order(trip(Action::Cap { attempts_per_s: 10.0 })),
            'S' => self.order(trip(Action::Shed { percent: 50 })),
            'R' => self.order(Verb::Reset { at_once: false }),
            'N' => self.order(Verb::Reset { at_once: true }),
            '%' => {
                let percent = self.breaker.standing(self.now.instant).percent;
                self.log.push_str(&percent.map_or("-".into(), |percent| percent.to_string()));
                self.log.push(' ');
            }
            fives => {
                let fives = fives.to_digit(10).expect("an event of the script language");
                self.now = self.now.plus(Duration::from_secs(5) * fives);
            }
        }
        self.breaker.handle_timeout(self.now);
        for change in self.breaker.take_changes() {
            self.log.push(match change.to {
                BreakerState::Closed => 'C',
                BreakerState::RetriesMuted => 'M',
                BreakerState::Capped => 'K',
                BreakerState::Shedding => 'S',
                BreakerState::HalfOpen => 'H',
                BreakerState::ForcedOpen => 'F',
                BreakerState::Open => 'O',
            });
        }
    }
}

/// Runs a script of one-letter events against a fresh breaker of an edge of two proxies, and
/// returns what it did: a letter for each state that it entered, `x` for a refusal.
///
/// `+` a first attempt that succeeds, `-` one that fails, `c` one whose caller leaves, `h` a
/// hedge, `r` a retry, `q` a retry of a refused attempt; `F` open, `M` mute all retries, `m` let
/// 60 % of them pass, `K` cap at 10/s, `S` shed 50 %, each for 30 s; `R` reset through the ramp,
/// `N` now; `%` tells the percentage; a digit: so many times five seconds pass.
fn run(script: &str) -> String {
    let mut life = Life::new();
    script.chars().for_each(|event| life.event(event));
    life.log
}

fn check(script: &str, expected: &str) {
    assert_eq!(run(script), expected, "{script}");
}

/// Scenario: each action, and every kind of attempt.
/// Guarantees: an action refuses what it is about, and nothing else.
#[test]
fn an_action_refuses_what_it_is_about() {
    check("+-crqh", "");
    check("F+-crqh", "Fxxxxxx");
    check("M+-chrq", "Mxx");
    check("mrrrrrrrrrr", "Mxxxx");
    check("m++++++++++", "M");
    check("S++++++++", "Sxxxx");
    check("Srrrr", "S");
    check("Sqqqq", "Sxxxx");
}

/// Scenario: a cap of ten attempts a second on an edge of two proxies, met by bursts.
/// Guarantees: this proxy lets half a second of its five through at once, retries or not, and
/// what piles up of its rate while nobody comes is ten.
#[test]
fn a_cap_is_a_rate() {
    check("K+++++", "Kxxx");
    check("Krqh++", "Kxxx");
    check("K+++++1++++++++++++", "Kxxxxx");
}

/// Scenario: an operator trips the circuit and then vanishes, while callers come and go.
/// Guarantees: the lease ends by itself, the ramp rises as long as attempts end well or nobody
/// comes, and the circuit closes after four steps.
#[test]
fn a_lease_ends_in_a_ramp() {
    check("F5+1+", "FxH");
    check("F6%1%1%1%1%", "FH25 50 75 100 C- ");
    check("F6+1+1+1+1+", "FHC");
    check("M6%1%1%1%1%", "MH25 50 75 100 C- ");
    check("m%6%1%1%1%1%", "M60 H70 80 90 100 C- ");
    check("S%6%1%1%1%1%", "S50 H62 75 87 100 C- ");
    check("K%6%1%1%1%1%", "K- H25 50 75 100 C- ");
    check("F99", "FHC");
}

/// Scenario: eight attempts at once on each step of a ramp.
/// Guarantees: the share of the step passes, the first attempt among it; a muted edge lets first
/// attempts pass all the time.
#[test]
fn a_ramp_gives_back_a_share() {
    check("F6++++++++", "FHxxxxxx");
    check("F61++++++++", "FHxxxx");
    check("F62++++++++", "FHxx");
    check("F63++++++++", "FH");
    check("M6rrrrrrrr", "MHxxxxxx");
    check("M6++++++++", "MH");
    check("M62rrrrrrrr", "MHxx");
    check("S63++++qqqq", "SH");
    check("K63++++++++", "KH");
}

/// Scenario: probes fail on some step, once or all the time.
/// Guarantees: a failure goes back a step, a few among many successes do not; and 60 s after the
/// lease the circuit is closed all the same.
#[test]
fn a_failed_probe_goes_back_a_step() {
    check("F61%-%1%", "FH50 25 50 ");
    check("F6-%1%", "FH25 50 ");
    check("F63++++++++-%", "FH100 ");
    check("F63+++-%", "FH75 ");
    check("F6-1-1-1-1-1-1-1-1-1-1-1-1-", "FHC");
    check("F6-1-1-1-1-1-1-1-1-1-1-1-%", "FH25 ");
}

/// Scenario: callers of probes give up, so that nothing is known of the callee.
/// Guarantees: the ramp stays where it is, neither back nor forth, and ends in time.
#[test]
fn a_ramp_waits_while_callers_give_up() {
    check("F6c1%c1%", "FH25 25 ");
    check("F6c+1%", "FHx25 ");
    check("F6c1c1+1%", "FH50 ");
    check("F6c1c1c1c1c1c1c1c1c1c1c1c1", "FHC");
    check("F63++cc1", "FHC");
    check("F63+ccc1%", "FH100 ");
}

/// Scenario: an operator resets, with and without ramp, what is closed, leased, or on its ramp.
/// Guarantees: a reset ramps, a reset now does not, and neither makes anything worse.
#[test]
fn a_reset_moves_towards_closed() {
    check("R+N+", "");
    check("FR+1%", "FH50 ");
    check("FN+++", "FC");
    check("F6R1%R%N", "FH50 50 C");
    check("MRrrrr", "MHxxx");
    check("MN", "MC");
}

/// Scenario: one action after another, before and after the end of the first.
/// Guarantees: the newest is in force, for its own time; the same action again is a renewal.
#[test]
fn the_newest_action_is_in_force() {
    check("F5F5+", "Fx");
    check("F5F6", "FH");
    check("F3M5+", "FM");
    check("M6F+", "MHFx");
    check("F6F+", "FHFx");
}

/// Scenario: an edge of ten proxies after its lease; the callee does not answer.
/// Guarantees: each proxy has one probe out; a caller that gives up frees its place; a success
/// opens the gate to the whole share.
#[test]
fn probes_are_shared_out() {
    let now = Now::read();
    let mut breaker = Breaker::new(now.instant);
    let ttl = Duration::from_secs(1);
    let verb = Verb::Trip { action: Action::Open, ttl, proxies: 10 };
    assert_eq!(breaker.apply(now, &command(1, verb)), AckResult::Applied);
    let now = now.plus(ttl);
    let admit = |breaker: &mut Breaker| breaker.admit(now, crossing(Kind::First));
    let probe = admit(&mut breaker).unwrap();
    for _ in 0..20 {
        assert_eq!(admit(&mut breaker).unwrap_err(), Refused::HalfOpen);
    }
    breaker.on_outcome(now, probe, Outcome::Cancelled);
    let probe = (0..4).find_map(|_| admit(&mut breaker).ok()).unwrap();
    breaker.on_outcome(now, probe, Outcome::Success);
    let mut passed: Vec<_> = (0..20).filter_map(|_| admit(&mut breaker).ok()).collect();
    assert_eq!(passed.len(), 5);
    breaker.on_outcome(now, passed.remove(0), Outcome::Failure);
    breaker.on_outcome(now, passed.remove(0), Outcome::Failure);
    let passed = (0..20).filter(|_| admit(&mut breaker).is_ok()).count();
    assert_eq!(passed, 1, "unproven again");
}

/// Scenario: the probes of a ramp hang, and never end.
/// Guarantees: the circuit closes a minute after the lease all the same.
#[test]
fn hanging_probes_do_not_hold_a_ramp() {
    let mut life = Life::new();
    "F6".chars().for_each(|event| life.event(event));
    let _hangs = life.breaker.admit(life.now, crossing(Kind::First)).unwrap();
    "92%1".chars().for_each(|event| life.event(event));
    assert_eq!(life.log, "FH25 C");
}

/// Scenario: attempts admitted before a trip, and before a step back, answer late.
/// Guarantees: stale evidence moves nothing.
#[test]
fn stragglers_are_ignored() {
    let mut life = Life::new();
    let early = [(); 3].map(|()| life.breaker.admit(life.now, crossing(Kind::First)).unwrap());
    "F61".chars().for_each(|event| life.event(event));
    for permit in early {
        life.breaker.on_outcome(life.now, permit, Outcome::Failure);
    }
    let [first, second] = [(); 2].map(|()| {
        (0..2).find_map(|_| life.breaker.admit(life.now, crossing(Kind::First)).ok()).unwrap()
    });
    life.event('%');
    life.breaker.on_outcome(life.now, first, Outcome::Failure);
    life.event('1');
    life.event('%');
    life.breaker.on_outcome(life.now, second, Outcome::Failure);
    life.event('%');
    assert_eq!(life.log, "FH50 50 50 ");
}

/// Scenario: a lease of a second, looked at a nanosecond before its end and at its end; and a
/// shell that wakes an hour late.
/// Guarantees: it ends exactly at its TTL; what was due is told as of when it was due.
#[test]
fn a_lease_ends_exactly_at_its_ttl() {
    let ttl = Duration::from_secs(1);
    let start = Now::read();
    let leased = || {
        let mut breaker = Breaker::new(start.instant);
        let verb = Verb::Trip { action: Action::Open, ttl, proxies: 1 };
        assert_eq!(breaker.apply(start, &command(1, verb)), AckResult::Applied);
        assert_eq!(breaker.poll_timeout(), Some(start.instant + ttl));
        breaker
    };
    let mut breaker = leased();
    let just_before = start.plus(Duration::from_nanos(999_999_999));
    assert_eq!(breaker.admit(just_before, crossing(Kind::First)).unwrap_err(), Refused::ForcedOpen);
    assert!(breaker.admit(start.plus(ttl), crossing(Kind::First)).is_ok());

    let mut breaker = leased();
    breaker.handle_timeout(start.plus(Duration::from_hours(1)));
    let changes: Vec<_> = breaker
        .take_changes()
        .map(|change| (change.to, change.cause, change.at_unix_ms - start.unix_ms))
        .collect();
    let expected = [
        (BreakerState::ForcedOpen, Cause::Operator, 0),
        (BreakerState::HalfOpen, Cause::LeaseExpired, 1_000),
        (BreakerState::Closed, Cause::RampCompleted, 21_000),
    ];
    assert_eq!(changes, expected);
}

/// Scenario: commands arrive twice, late, and out of order.
/// Guarantees: the highest revision is in force; the same again changes nothing, not even after
/// its lease is over; an older one is told what is newer.
#[test]
fn commands_never_go_backwards() {
    let mut now = Now::read();
    let mut breaker = Breaker::new(now.instant);
    let open = |revision| command(revision, trip(Action::Open));
    let superseded = |revision| AckResult::Superseded { revision };
    assert_eq!(breaker.apply(now, &open(5)), AckResult::Applied);
    assert_eq!(breaker.apply(now, &command(4, Verb::Reset { at_once: true })), superseded(5));
    now = now.plus(Duration::from_secs(20));
    assert_eq!(breaker.apply(now, &open(5)), AckResult::Applied);
    assert_eq!(breaker.held(now.instant).unwrap().command.verb, {
        let ttl = Duration::from_secs(10);
        Verb::Trip { action: Action::Open, ttl, proxies: 2 }
    });
    now = now.plus(Duration::from_hours(1));
    assert_eq!(breaker.apply(now, &open(5)), AckResult::Applied);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.apply(now, &command(6, Verb::Reset { at_once: false })), AckResult::Applied);
    assert_eq!(breaker.apply(now, &open(5)), superseded(6));
    assert_eq!(breaker.apply(now, &open(7)), AckResult::Applied);
    assert_eq!(breaker.state(), BreakerState::ForcedOpen);
    breaker.reset(now, true);
    assert_eq!(breaker.apply(now, &open(7)), AckResult::Applied);
    assert_eq!(breaker.state(), BreakerState::Closed, "undone by hand, and stays undone");
}

/// Scenario: commands that no proxy can enforce.
/// Guarantees: refused whole with a reason; what was in force stays, and so does its revision.
#[test]
fn impossible_commands_are_rejected() {
    let now = Now::read();
    let mut breaker = Breaker::new(now.instant);
    assert_eq!(breaker.apply(now, &command(1, trip(Action::Open))), AckResult::Applied);
    let mut check = |revision, verb, field: &str| {
        let result = breaker.apply(now, &command(revision, verb));
        assert!(
            matches!(&result, AckResult::Rejected { reason } if reason.starts_with(field)),
            "{result:?}"
        );
        assert_eq!(breaker.state(), BreakerState::ForcedOpen);
        assert_eq!(breaker.standing(now.instant).revision, 1);
    };
    let ttl = Duration::from_secs(30);
    check(0, trip(Action::Open), "revision");
    check(2, trip(Action::Shed { percent: 101 }), "percent");
    check(2, trip(Action::MuteRetries { percent: 255 }), "percent");
    check(2, trip(Action::Cap { attempts_per_s: f64::NAN }), "attempts_per_s");
    check(2, trip(Action::Cap { attempts_per_s: 0.0 }), "attempts_per_s");
    check(2, Verb::Trip { action: Action::Open, ttl, proxies: 0 }, "proxies");
    check(2, Verb::Trip { action: Action::Open, ttl: Duration::ZERO, proxies: 1 }, "ttl");
    check(2, Verb::Trip { action: Action::Open, ttl: Duration::MAX, proxies: 1 }, "ttl");
}

/// Scenario: a circuit through lease, ramp, and closed, with refusals.
/// Guarantees: reports tell state, cause, time left and refusals of that state.
#[test]
fn a_standing_tells_all() {
    let mut life = Life::new();
    let standing = |life: &Life| {
        let s = life.breaker.standing(life.now.instant);
        let remaining = s.remaining.map(|left| left.as_secs());
        (s.state, s.cause, s.since.as_secs(), remaining, s.refused)
    };
    "F+++1".chars().for_each(|event| life.event(event));
    assert_eq!(standing(&life), (BreakerState::ForcedOpen, Cause::Operator, 5, Some(25), 3));
    "51+++++".chars().for_each(|event| life.event(event));
    assert_eq!(standing(&life), (BreakerState::HalfOpen, Cause::LeaseExpired, 5, Some(55), 2));
    life.event('-');
    life.event('-');
    assert_eq!(standing(&life).1, Cause::ProbeFailed);
    "N1".chars().for_each(|event| life.event(event));
    assert_eq!(standing(&life), (BreakerState::Closed, Cause::Operator, 5, None, 0));
}

/// Scenario: an operator plays with trip and reset, and no report takes the changes.
/// Guarantees: the oldest are dropped and counted.
#[test]
fn changes_are_bounded() {
    let now = Now::read();
    let mut breaker = Breaker::new(now.instant);
    for revision in 1..=200 {
        let verb =
            if revision % 2 == 1 { trip(Action::Open) } else { Verb::Reset { at_once: true } };
        assert_eq!(breaker.apply(now, &command(revision, verb)), AckResult::Applied);
    }
    assert_eq!(breaker.changes_dropped(), 200 - CHANGES_MAX as u64);
    assert_eq!(breaker.take_changes().last().unwrap().revision, 200);
}
