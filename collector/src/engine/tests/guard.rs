//! Guard mode: storms that are stopped with nobody at the keys, and those that are left to a person.

use super::bench::{Bench, START_UNIX_MS, Sidecar, counts, inbound, service, window};
use super::mesh::{Plan, run};
use crate::engine::{Event, Limits};
use crate::guard::Settings;
use crate::observe::{AttemptClass, Ending, Observation, Outcome};
use crate::record::{Restored, WishRecord};
use fusebox_proto::Edge;
use fusebox_proto::command::{
    AckResult, ActionKind, BreakerState, Command, ResetScope, TripRequest, Verb,
};
use fusebox_proto::report::Protocol;
use fusebox_proto::view::{GuardMode, Incident};
use std::time::Duration;

const EDGE: (&str, &str) = ("payment", "inventory");

fn bench(mode: GuardMode) -> Bench {
    let guard = Settings { mode, ..Settings::default() };
    Bench::with(Limits { guard, ..Limits::default() })
}

/// Half a minute of calm, then a storm, through two proxies of payment.
struct Shop {
    bench: Bench,
    payment: Vec<Sidecar>,
}

impl Shop {
    fn new(mode: GuardMode) -> Self {
        Self::on(bench(mode))
    }

    fn on(mut bench: Bench) -> Self {
        let connect = |n| bench.connect(&format!("payment-{n}"), EDGE.0, &[EDGE.1]);
        let payment = [0, 1].map(connect).to_vec();
        let mut shop = Self { bench, payment };
        shop.pass(30, false);
        shop
    }

    fn pass(&mut self, seconds: u64, is_storm: bool) {
        for _ in 0..seconds {
            self.bench.advance(Duration::from_secs(1));
            for sidecar in &mut self.payment {
                let counts = if is_storm { counts(200, 1_760, 1_950) } else { counts(200, 0, 2) };
                let edges = vec![window(EDGE.1, counts, 30_000)];
                self.bench.report(sidecar, edges, vec![inbound(200, 2, 40_000)]);
            }
        }
    }

    /// Who asked for the commands of the last seconds, each once.
    fn asked(&mut self) -> Vec<String> {
        let pushed = self.bench.pushed();
        let mut by: Vec<String> = pushed.iter().map(|(_, command)| command.by.clone()).collect();
        by.dedup();
        for (connection, command) in pushed {
            self.bench.ack(connection, &command, AckResult::Applied);
        }
        by
    }

    /// Why it does not act.
    fn refusal(&self) -> Option<String> {
        self.bench.incident().guard?.refused
    }

    fn counted(&self, reason: &str) -> u64 {
        let guard = self.bench.snapshot().status.guard.expect("known");
        guard.refused.get(reason).copied().unwrap_or(0)
    }
}

/// Scenario: the founding story, simulated, in guard mode `suggest` and `act`.
/// Guarantees: within a second of the first suggestion that one key would fire, and three of the
/// incident, the lease is taken under its own name with the incident as the reason; goodput is back,
/// the incident is resolved, and it stays so.
#[test]
fn a_storm_is_stopped_with_nobody_at_the_keys() {
    for seed in 1..=4 {
        let plan = Plan {
            seed,
            retries: 9,
            rate: 40.0,
            servers: 8,
            slow: (30..38, 20),
            guard: GuardMode::Act,
            ..Plan::default()
        };
        let suggested = run(&Plan { seconds: 45, guard: GuardMode::Suggest, ..plan.clone() });
        let sure_s = suggested.sure_s.expect("a suggestion");
        let outcome = run(&plan);
        let told = format!("seed {seed}: {:?} {:?}", outcome.guarded, outcome.journal);
        let (acted_s, what) = outcome.guarded.first().expect(&told);
        let opened_s = outcome.opened_s.expect("a storm");
        assert!(acted_s - sure_s <= 1.0, "suggested {sure_s}: {told}");
        assert!(acted_s - opened_s <= 3.0, "opened {opened_s}: {told}");
        let incident = outcome.incident.expect("opened");
        assert!(what.starts_with("mute-retries "), "{told}");
        assert!(what.ends_with(&format!(" incident #{}", incident.id)), "{told}");
        assert_eq!(outcome.guarded.len(), 1, "{told}");
        assert_eq!(incident.guard.map(|guard| guard.actions), Some(1), "{told}");
        assert!(outcome.resolved_s.is_some() && outcome.reopened == 0, "{told}");
        let last: u64 = outcome.goodput[70..89].iter().sum();
        assert!(19 * 36 <= last, "{told} {:?}", outcome.goodput);
    }
}

/// Scenario: the callee stays slow, so that the storm is back whenever a lease ends.
/// Guarantees: it acts again, three times in all, never while a lease is in force; then it says that
/// a person is needed, and stays away.
#[test]
fn a_storm_that_comes_back_is_for_a_person() {
    let plan = Plan {
        retries: 9,
        rate: 40.0,
        servers: 8,
        slow: (30..2_000, 20),
        seconds: 1_500,
        guard: GuardMode::Act,
        ..Plan::default()
    };
    let outcome = run(&plan);
    let told = format!("{:?} {:?}", outcome.guarded, outcome.journal);
    assert_eq!(outcome.guarded.len(), 3, "{told}");
    for pair in outcome.guarded.windows(2) {
        let ttl: f64 = pair[0].1.split(' ').nth(1).expect("a TTL").parse().expect("a number");
        assert!(pair[0].0 + ttl <= pair[1].0, "{told}");
    }
    let guard = outcome.incident.and_then(|incident| incident.guard).expect("it acted");
    let refused = guard.refused.unwrap_or_default();
    assert_eq!((guard.actions, refused.contains("needs a person")), (3, true), "{refused}");
    assert!(outcome.journal.iter().any(|line| line.contains("needs a person")), "{told}");
}

/// Scenario: the same storm in each mode, and what an operator calling himself `guard` does.
/// Guarantees: `off` suggests nothing, `suggest` does nothing, `act` acts once and shows as whose
/// lease; nobody else passes as guard mode.
#[test]
fn off_suggest_and_act() {
    let stormy = |mode| {
        let mut shop = Shop::new(mode);
        shop.pass(6, true);
        let asked = shop.asked();
        (shop, asked)
    };
    let (off, asked) = stormy(GuardMode::Off);
    let incident = off.bench.incident();
    assert!(asked.is_empty() && incident.action.is_none() && incident.alternatives.is_empty());
    assert_eq!(incident.guard, None);

    let (suggest, asked) = stormy(GuardMode::Suggest);
    let incident = suggest.bench.incident();
    assert!(asked.is_empty() && incident.action.is_some());
    assert_eq!(incident.guard, None);

    let (act, asked) = stormy(GuardMode::Act);
    assert_eq!(asked, ["guard"]);
    let snapshot = act.bench.snapshot();
    let breaker = &snapshot.breakers[0];
    assert_eq!((breaker.by.as_deref(), breaker.state), (Some("guard"), BreakerState::RetriesMuted));
    assert_eq!(breaker.reason, Some(format!("incident #{}", act.bench.incident().id)));
    let guard = snapshot.status.guard.expect("known");
    assert_eq!((guard.mode, guard.actions, guard.leases), (GuardMode::Act, 1, 1));
    let line = "guard tripped payment>inventory: mute-retries for ";
    assert!(snapshot.events.iter().any(|event| event.text.starts_with(line)));

    let (mut suggest, _) = stormy(GuardMode::Suggest);
    suggest.bench.handle(Event::Trip(TripRequest {
        request_id: "t".to_owned(),
        source: EDGE.0.to_owned(),
        destination: EDGE.1.to_owned(),
        action: ActionKind::Open,
        percent: None,
        ttl: Duration::from_secs(9),
        reason: String::new(),
        by: "guard".to_owned(),
    }));
    assert_eq!(suggest.asked(), ["guard (an operator)"]);
    assert_eq!(suggest.bench.snapshot().status.guard, None);
}

/// Scenario: a person's lease is in force when the storm comes; a person resets what guard mode did,
/// in this process, or in one before it.
/// Guarantees: guard mode changes nothing, and says why, once a minute; a quarter of an hour after the
/// reset it acts again.
#[test]
fn what_persons_want_stays() {
    let mut shop = Shop::new(GuardMode::Act);
    shop.bench.trip("t", EDGE, ActionKind::Shed, 3_600);
    assert_eq!(shop.asked(), ["ana"]);
    shop.pass(6, true);
    assert!(shop.asked().is_empty());
    let snapshot = shop.bench.snapshot();
    assert_eq!(snapshot.breakers[0].by.as_deref(), Some("ana"));
    let until = snapshot.breakers[0].until.expect("a lease");
    assert_eq!(until.0 - START_UNIX_MS, 3_630_000, "neither longer nor shorter");

    let mut shop = Shop::new(GuardMode::Act);
    shop.pass(6, true);
    assert_eq!(shop.asked(), ["guard"]);
    let scope = ResetScope::Edge { source: EDGE.0.to_owned(), destination: EDGE.1.to_owned() };
    shop.bench.reset("r", scope);
    assert_eq!(shop.asked(), ["ana"]);
    shop.pass(890, true);
    assert!(shop.asked().is_empty());
    let refusal = shop.refusal().expect("a reason");
    assert!(refusal.starts_with("a person reset it"), "{refusal}");
    assert!((10..=16).contains(&shop.counted("persons_reset")), "once a minute");
    shop.pass(15, true);
    assert_eq!(shop.asked(), ["guard"]);

    let mut bench = bench(GuardMode::Act);
    let command = Command {
        id: "r".to_owned(),
        revision: 7,
        destination: service(EDGE.1),
        verb: Verb::Reset { at_once: true },
        by: "ana".to_owned(),
        reason: String::new(),
    };
    let wish = WishRecord {
        edge: Edge::new(service(EDGE.0), service(EDGE.1)),
        command,
        issued_unix_ms: START_UNIX_MS - 300_000,
        ends_unix_ms: START_UNIX_MS + 3_300_000,
    };
    let restored = Restored { wishes: vec![wish], revision: 7, ..Restored::default() };
    bench.restart_with(&restored, Duration::ZERO, 0);
    let mut shop = Shop::on(bench);
    shop.pass(560, true);
    assert!(shop.asked().is_empty());
    shop.pass(20, true);
    assert_eq!(shop.asked(), ["guard"], "{:?}", shop.refusal());
}

/// Scenario: a storm that only spans tell, of a service whose proxy is connected and counts nothing.
/// Guarantees: nothing is suggested, and guard mode does nothing.
#[test]
fn spans_alone_are_never_enough() {
    let mut bench = bench(GuardMode::Act);
    let mut proxy = bench.connect("payment-0", EDGE.0, &[EDGE.1]);
    let attempt = |bench: &Bench, class, outcome| Observation::Attempt {
        edge: Edge::new(service(EDGE.0), service(EDGE.1)),
        protocol: Protocol::Http1,
        ending: Ending { class, outcome },
        latency_us: Some(1_000_000),
        waited: None,
        weight: 1.0,
        at_unix_ms: bench.now.unix_ms - 1_500,
        from_proxy: false,
    };
    for second in 0..70 {
        bench.advance(Duration::from_secs(1));
        bench.report(&mut proxy, Vec::new(), Vec::new());
        let is_storm = 40 <= second;
        let mut spans = Vec::new();
        for _ in 0..30 {
            let outcome = if is_storm { Outcome::Failure } else { Outcome::Success };
            spans.push(attempt(&bench, AttemptClass::First, outcome));
            let retries = if is_storm { 9 } else { 0 };
            spans.extend(
                (0..retries).map(|_| attempt(&bench, AttemptClass::Retry, Outcome::Failure)),
            );
        }
        let now = bench.now;
        bench.engine.observe(now, &spans);
    }
    let incident: Incident = bench.incident();
    assert_eq!((&incident.action, &incident.guard), (&None, &None), "{incident:#?}");
    assert_eq!(incident.data_quality.source, "spans");
    let is_command = |verb: &Verb| matches!(verb, Verb::Trip { .. });
    assert!(!bench.pushed().iter().any(|(_, command)| is_command(&command.verb)));
}
