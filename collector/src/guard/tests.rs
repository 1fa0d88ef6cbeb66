//! Each limit by itself, and all of them whatever comes.

use super::*;
use fusebox_proto::ServiceId;
use fusebox_proto::command::ActionKind;
use proptest::prelude::*;

fn edge(n: usize) -> Edge {
    let service = |name: String| ServiceId::named(&name).expect("a name");
    Edge::new(service(format!("caller-{n}")), service("callee".to_owned()))
}

#[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
fn start() -> Now {
    Now { instant: Instant::now(), unix_ms: 1_700_056_800_000 }
}

fn acting(settings: Settings) -> Guard {
    Guard::new(Settings { mode: GuardMode::Act, ..settings })
}

/// Nothing speaks against it: a storm whose retries are recognised, and nothing succeeds.
fn clear() -> Case {
    Case {
        acted: 0,
        edge: edge(0),
        action: Some(ActionKind::MuteRetries),
        confidence: 0.97,
        tier: 0,
        is_counted: true,
        stale: 0,
        recognised: Some(1.0),
        path: Path { good: Some(0.0), first: 300.0, over: 0.0, held: 0.0 },
        held_by: None,
        leases: 0,
        edges: 40,
    }
}

fn opens(path: Path) -> Case {
    Case { action: Some(ActionKind::Open), path, ..clear() }
}

/// Scenario: suggestions with one thing that speaks against each, at its limit and short of it.
/// Guarantees: each limit alone keeps guard mode from acting, and is named; short of it, it acts.
#[test]
fn each_limit_alone_is_enough() {
    let check = |name: &str, case: Case, expected: Option<&str>| {
        let verdict = acting(Settings::default()).decide(start(), &case);
        let refusal = match &verdict {
            Verdict::Act => None,
            Verdict::Wait => Some("wait"),
            Verdict::Refuse(reason) => Some(reason.as_str()),
        };
        assert_eq!(refusal, expected, "{name}");
    };
    check("clear", clear(), None);
    check("weights", Case { action: None, ..clear() }, Some("policy_change"));
    check("spans", Case { is_counted: false, ..clear() }, Some("spans"));
    check("a silent proxy", Case { stale: 1, ..clear() }, Some("stale_proxies"));
    check("sure enough", Case { confidence: SURE, ..clear() }, None);
    check("unsure", Case { confidence: 0.899, ..clear() }, Some("unsure"));
    check("no number", Case { confidence: f64::NAN, ..clear() }, Some("unsure"));
    check("recognised", Case { recognised: Some(0.9), ..clear() }, None);
    check("less", Case { recognised: Some(0.89), ..clear() }, Some("unrecognised"));
    check("not at all", Case { recognised: Some(0.0), ..clear() }, Some("unrecognised"));
    let cap = |recognised| Case { action: Some(ActionKind::Cap), recognised, ..clear() };
    check("a cap needs no recognition", cap(Some(0.0)), None);
    check("but a second that shows the excess", cap(None), Some("too_early"));
    check("a person would be asked", Case { tier: 1, ..clear() }, Some("costly"));
    let held = |by: &str| Case { held_by: Some(by.to_owned()), ..clear() };
    check("its own lease", held(PRINCIPAL), Some("wait"));
    check("a person's lease", held("ana"), Some("persons_lease"));
    check("twice before", Case { acted: 2, ..clear() }, None);
    check("three times before", Case { acted: 3, ..clear() }, Some("per_incident"));
    check("two leases", Case { leases: 2, ..clear() }, None);
    check("three leases", Case { leases: 3, ..clear() }, Some("at_once"));
    check("one edge always", Case { edges: 1, ..clear() }, None);
    check("two of nineteen edges", Case { edges: 19, leases: 1, ..clear() }, Some("share"));
    check("two of twenty edges", Case { edges: 20, leases: 1, ..clear() }, None);
}

/// Scenario: `open` on edges with and without what succeeds, in services that do with and without
/// them.
/// Guarantees: an edge over which something succeeds is opened only where good answers are left
/// without it; one over which nothing succeeds always may be; other actions are not touched by it.
#[test]
fn the_last_healthy_path_stays() {
    let check = |name: &str, path: Path, is_refused: bool| {
        let verdict = acting(Settings::default()).decide(start(), &opens(path));
        let expected = if is_refused { Verdict::Refuse(Reason::LastPath) } else { Verdict::Act };
        assert_eq!(verdict, expected, "{name}");
    };
    let path = |good, first, over, held| Path { good, first, over, held };
    check("nothing succeeds", path(Some(0.0), 300.0, 0.0, 0.0), false);
    check("next to nothing succeeds", path(None, 300.0, 14.0, 0.0), false);
    check("all answers need it", path(Some(100.0), 300.0, 100.0, 0.0), true);
    check("several calls for an answer", path(Some(50.0), 300.0, 100.0, 0.0), true);
    check("half of them do without", path(Some(200.0), 300.0, 100.0, 0.0), false);
    check("the others need an open one", path(Some(200.0), 300.0, 100.0, 100.0), true);
    check("answers are not counted", path(None, 300.0, 100.0, 0.0), true);
    check("few do without", path(Some(104.0), 300.0, 100.0, 0.0), true);
    check("enough do without", path(Some(106.0), 300.0, 100.0, 0.0), false);
    let last = path(Some(100.0), 300.0, 100.0, 0.0);
    let muted = Case { path: last, ..clear() };
    assert_eq!(acting(Settings::default()).decide(start(), &muted), Verdict::Act);
}

/// Scenario: actions one after the other on edges of their own; then time passes.
/// Guarantees: a minute holds so many, sliding; an edge so many an hour.
#[test]
fn so_many_a_minute_and_an_hour() {
    let (t0, case) = (start(), clear());
    let mut guard = acting(Settings { per_minute_max: 2, ..Settings::default() });
    guard.acted(t0, &edge(1));
    guard.acted(t0.plus(Duration::from_secs(30)), &edge(2));
    let at = |s| t0.plus(Duration::from_secs(s));
    assert_eq!(guard.decide(at(59), &case), Verdict::Refuse(Reason::Minute(2)));
    assert_eq!(guard.decide(at(60), &case), Verdict::Act);

    let mut guard = acting(Settings::default());
    for n in 0..6 {
        assert_eq!(guard.decide(at(n * 300), &case), Verdict::Act, "{n}");
        guard.acted(at(n * 300), &case.edge);
    }
    assert_eq!(guard.decide(at(3_599), &case), Verdict::Refuse(Reason::Edge(6)));
    assert_eq!(guard.decide(at(3_600), &case), Verdict::Act);
    assert_eq!(guard.view(0).actions, 6);
}

/// Scenario: a person resets an edge, now or some minutes before this process started.
/// Guarantees: guard mode leaves it alone for a quarter of an hour from then, and only that edge.
#[test]
fn a_person_wins() {
    let t0 = start();
    let check = |ago_s: u64, after_s: u64, is_refused: bool| {
        let mut guard = acting(Settings::default());
        guard.person_reset(t0, &edge(0), Duration::from_secs(ago_s));
        let now = t0.plus(Duration::from_secs(after_s));
        let ago = Duration::from_secs(ago_s + after_s);
        let expected = if is_refused { Verdict::Refuse(Reason::Reset(ago)) } else { Verdict::Act };
        assert_eq!(guard.decide(now, &clear()), expected, "{ago_s} {after_s}");
        let other = Case { edge: edge(1), ..clear() };
        assert_eq!(guard.decide(now, &other), Verdict::Act);
    };
    check(0, 0, true);
    check(0, 899, true);
    check(0, 900, false);
    check(600, 299, true);
    check(600, 300, false);
    check(86_400, 0, false);
}

/// Scenario: the same refusals again and again, of several incidents and reasons.
/// Guarantees: each is told and counted once a minute, not at each look.
#[test]
fn a_refusal_is_told_once_a_minute() {
    let (t0, mut guard) = (start(), acting(Settings::default()));
    let mut told = |s: u64, incident: &str, reason: Reason| {
        guard.refused(t0.plus(Duration::from_secs(s)), incident, &reason)
    };
    assert!(told(0, "a", Reason::Spans));
    assert!(!told(59, "a", Reason::Spans));
    assert!(told(59, "b", Reason::Spans));
    assert!(told(59, "a", Reason::Unsure(0.5)));
    assert!(!told(59, "a", Reason::Unsure(0.6)), "the figure is no other reason");
    assert!(told(60, "a", Reason::Spans));
    let counts = guard.view(0).refused;
    let expected = [("spans".to_owned(), 3), ("unsure".to_owned(), 1)];
    assert_eq!(counts, expected.into());
}

/// What happens in a property's run.
#[derive(Clone, Debug)]
enum Happens {
    Suggested { edge: usize, incident: usize, case: Box<Case>, ttl_s: u64 },
    Reset { edge: usize },
    Trip { edge: usize, ttl_s: u64 },
}

prop_compose! {
    fn cases()(
        action in prop::sample::select(vec![
            None, Some(ActionKind::MuteRetries), Some(ActionKind::Cap), Some(ActionKind::Open),
        ]),
        confidence in prop_oneof![3 => 0.9..1.0, 1 => 0.0..1.0],
        tier in prop_oneof![4 => Just(0_u8), 1 => Just(1)],
        is_counted in prop::bool::weighted(0.9),
        stale in prop_oneof![6 => Just(0_u64), 1 => 1_u64..3],
        recognised in prop::option::weighted(0.9, 0.85..=1.0),
        (good, over) in (prop::option::of(0.0..200.0), 0.0..100.0),
    ) -> Case {
        let path = Path { good, first: 100.0, over, held: 0.0 };
        Case { action, confidence, tier, is_counted, stale, recognised, path, ..clear() }
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        12 => (0..12_usize, 0..30_usize, cases().prop_map(Box::new), 1..300_u64)
            .prop_map(|(edge, incident, case, ttl_s)| Happens::Suggested { edge, incident, case, ttl_s }),
        1 => (0..12_usize).prop_map(|edge| Happens::Reset { edge }),
        1 => (0..12_usize, 1..300_u64).prop_map(|(edge, ttl_s)| Happens::Trip { edge, ttl_s }),
    ]
}

/// What was done, as a bystander writes it down.
#[derive(Default)]
struct Book {
    /// When, on which edge, for which incident, until when; s.
    acts: Vec<(u64, usize, usize, u64)>,
    resets: Vec<(u64, usize)>,
    /// Edge, whether a person's, until when.
    leases: Vec<(usize, bool, u64)>,
}

impl Book {
    fn acted(&self, is_meant: impl Fn(&(u64, usize, usize, u64)) -> bool) -> usize {
        self.acts.iter().filter(|act| is_meant(act)).count()
    }

    fn lease(&self, at: u64, edge: usize) -> Option<bool> {
        let own = self.leases.iter().rev().find(|(of, _, until)| *of == edge && at < *until);
        own.map(|(_, is_persons, _)| *is_persons)
    }

    fn check(&self, settings: Settings, at: u64, edge: usize, incident: usize, case: &Case) {
        assert!(case.is_counted && case.stale == 0 && case.tier == 0 && SURE <= case.confidence);
        assert!(case.action.is_some(), "no lease does it");
        assert!(case.recognised.is_some(), "nothing shows yet what it is made of");
        if case.action == Some(ActionKind::MuteRetries) {
            assert!(case.recognised.is_some_and(|share| RECOGNISED_MIN <= share));
        }
        if case.action == Some(ActionKind::Open) && 5.0 <= case.path.over {
            let good = case.path.good.expect("someone is served without it");
            assert!(0.05 * good < good - case.path.over);
        }
        assert_eq!(self.lease(at, edge), None, "a lease is in force");
        let minute = self.acted(|act| at < act.0 + 60);
        assert!(minute < settings.per_minute_max as usize, "{minute} a minute");
        assert!(case.leases < settings.at_once_max as usize);
        let share = case.edges * usize::from(settings.share_percent_max) / 100;
        assert!(case.leases == 0 || case.leases < share, "the share");
        let is_reset = |(when, of): &(u64, usize)| *of == edge && at < when + 900;
        assert!(!self.resets.iter().any(is_reset), "a person reset it");
        assert!(self.acted(|act| act.2 == incident) < 3, "per incident");
        assert!(self.acted(|act| act.1 == edge && at < act.0 + 3_600) < 6, "per edge");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Scenario: any suggestions, resets and trips of persons in any order and pace, under any
    /// settings; at the end an hour of rest.
    /// Guarantees: whenever it acts, every limit holds by a bystander's book; and after the rest a
    /// suggestion that nothing speaks against is acted on.
    #[test]
    fn whatever_comes_the_limits_hold(
        (per_minute_max, at_once_max, share_percent_max) in (1..5_u32, 1..5_u32, 1..100_u8),
        edges in 1..60_usize,
        story in prop::collection::vec((0..90_u64, happens()), 1..300),
    ) {
        let settings =
            Settings { mode: GuardMode::Act, per_minute_max, at_once_max, share_percent_max };
        let (t0, mut guard, mut book) = (start(), Guard::new(settings), Book::default());
        let mut at = 0;
        for (gap, what) in story {
            at += gap;
            let now = t0.plus(Duration::from_secs(at));
            match what {
                Happens::Reset { edge: n } => {
                    guard.person_reset(now, &edge(n), Duration::ZERO);
                    book.resets.push((at, n));
                    book.leases.retain(|(of, ..)| *of != n);
                }
                Happens::Trip { edge: n, ttl_s } => {
                    book.leases.retain(|(of, ..)| *of != n);
                    book.leases.push((n, true, at + ttl_s));
                }
                Happens::Suggested { edge: n, incident, mut case, ttl_s } => {
                    case.edge = edge(n);
                    case.edges = edges;
                    case.acted = book.acted(|act| act.2 == incident) as u64;
                    let held = book.lease(at, n);
                    case.held_by =
                        held.map(|person| if person { "ana" } else { PRINCIPAL }.to_owned());
                    let is_own = |(_, person, until): &&(usize, bool, u64)| !person && at < *until;
                    case.leases = book.leases.iter().filter(is_own).count();
                    if guard.decide(now, &case) == Verdict::Act {
                        book.check(settings, at, n, incident, &case);
                        guard.acted(now, &case.edge);
                        book.acts.push((at, n, incident, at + ttl_s));
                        book.leases.push((n, false, at + ttl_s));
                    }
                }
            }
        }
        let rested = t0.plus(Duration::from_secs(at + 3_600));
        prop_assert_eq!(guard.decide(rested, &clear()), Verdict::Act);
    }
}
