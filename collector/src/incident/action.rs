//! What would help, least harm first; nothing where only spans say that anything is wrong, because
//! anybody can send spans in anybody's name.
//!
//! Muting retries harms nobody: it takes away only what multiplies, and the callee drains with
//! what its first attempts leave free. It needs retries that a proxy recognises. A surge of first
//! attempts is no reason against it: surges pass, and then the callee drains. Where retries are
//! not recognised, a cap at the usual rate is next. A queue of abandoned work in a storm that sustains itself may take minutes to
//! drain beside first attempts, all of which fail meanwhile: where opening the circuit is over
//! much sooner, it loses nothing. A lease that ends before the queue is empty lets the storm
//! re-ignite, so its time comes from the drain time, with a margin.

use super::Scene;
use super::before::Before;
use super::blame::Blame;
use super::capacity::{backlog, ingress, is_covered, load};
use super::sentence::rate;
use crate::detect::{Phase, Usual};
use crate::store::Tally;
use fusebox_proto::command::{ActionKind, SHED_PERCENT_DEFAULT};
use fusebox_proto::view::SuggestedAction;

/// Share of the excess that must be recognised for an action that needs it.
pub(crate) const RECOGNISED_MIN: f64 = 0.9;
/// A victim served its usual load, so it can serve at least a little more.
const USUAL_HEADROOM: f64 = 1.1;
/// A cap is this much above the usual rate, so that it does not cut what is usual.
pub(crate) const CAP_HEADROOM: f64 = 1.25;
/// To drain beside first attempts may take so long before opening is considered.
const PATIENCE_S: f64 = 30.0;
/// The ramp after an opened circuit, four steps of five seconds.
const RAMP_S: f64 = 20.0;
/// Opening must be so many times as fast to be worth refusing everything: how much waits is mostly
/// guessed, and if it is less, muting is over soon and has harmed nobody.
const OPEN_GAIN: f64 = 2.0;
/// Confidence from which one key may fire.
pub(crate) const SURE: f64 = 0.9;
/// Share of what enters the mesh that one key may cost.
const LOSS_SMALL: f64 = 0.05;
/// What is now is read from so many seconds.
const SECONDS: u64 = 3;
/// A longer drain time is not told in seconds: most of it is guessed, because nobody sees what a
/// callee still works on for callers that left.
const EXACT_S: f64 = 60.0;
/// No lease is suggested for longer: whoever wants more says so.
const TTL_S_MAX: f64 = 300.0;

/// The figures that the choice rests on, per second.
struct Figures {
    first: f64,
    attempts: f64,
    retries: f64,
    /// First attempts that still succeed.
    succeeded: f64,
    /// Attempts before it began, on the edge.
    usual: Option<f64>,
    /// What reaches the victim, on all edges.
    load: f64,
    /// Attempts per first attempt.
    factor: f64,
    /// Whether the edge leads to the victim itself.
    is_direct: bool,
    /// What the victim can serve, at least.
    capacity: f64,
    /// Attempts that wait for it, as far as that can be told.
    waiting: f64,
}

impl Figures {
    fn see(
        scene: &Scene<'_>,
        blame: &Blame,
        usual: Option<Usual>,
        before: &Before,
        onset: u64,
    ) -> Option<Self> {
        let (track, front) = scene.track(&blame.edge)?;
        let recent = track.sum(front, SECONDS);
        let per_s = |count: f64| count / SECONDS as f64;
        let capacity = scene.capacity.of(&blame.victim).unwrap_or(0.0);
        let usual_load = before.per_s(Tally::attempts).unwrap_or(0.0);
        let capacity =
            capacity.max(USUAL_HEADROOM * usual_load).max(unloaded(scene, blame, before));
        Some(Self {
            first: per_s(recent.first),
            attempts: per_s(recent.attempts()),
            retries: per_s((recent.attempts() - recent.first).max(0.0)),
            succeeded: per_s(first_successes(&recent)),
            usual: usual.map(|usual| usual.attempts).filter(|usual| 0.0 < *usual),
            load: load(scene.store, &blame.victim, front),
            factor: recent.factor().unwrap_or(1.0).max(1.0),
            is_direct: blame.edge.destination == blame.victim,
            capacity,
            waiting: backlog(scene.store, &blame.victim, onset, front, capacity),
        })
    }

    /// What reaches the victim once an action is in force. Of an edge further up it is not known
    /// which of the victim's load comes from it: there all of it is taken to.
    fn load_after(&self, action: ActionKind) -> f64 {
        let others = if self.is_direct { (self.load - self.attempts).max(0.0) } else { 0.0 };
        let own = self.load - others;
        others
            + match action {
                ActionKind::MuteRetries => own / self.factor,
                ActionKind::Cap => own.min(CAP_HEADROOM * self.usual.unwrap_or(0.0)),
                ActionKind::Shed => own * (1.0 - shed_share()),
                ActionKind::Open => 0.0,
            }
    }

    /// Seconds until nothing waits, once an action is in force; infinite where what still
    /// comes is more than the victim is known to serve.
    fn drain_s(&self, action: ActionKind) -> f64 {
        if self.waiting <= 0.0 {
            return 0.0;
        }
        let free = self.capacity - self.load_after(action);
        if free <= 0.0 { f64::INFINITY } else { self.waiting / free }
    }

    /// First attempts that succeed now and would be refused, per second.
    fn lost(&self, action: ActionKind) -> f64 {
        match action {
            ActionKind::MuteRetries => 0.0,
            ActionKind::Cap => {
                let passing = CAP_HEADROOM * self.usual.unwrap_or(0.0);
                let share = 1.0 - (passing / self.attempts.max(passing)).min(1.0);
                self.succeeded * share
            }
            ActionKind::Shed => self.succeeded * shed_share(),
            ActionKind::Open => self.succeeded,
        }
    }
}

fn shed_share() -> f64 {
    f64::from(SHED_PERCENT_DEFAULT) / 100.0
}

/// What the victim serves if each instance works on one request at a time, as long as it took when
/// all was well: it can do no less, once whatever slows it is over.
fn unloaded(scene: &Scene<'_>, blame: &Blame, before: &Before) -> f64 {
    let instances = scene.instances.of(&blame.victim).count().max(1) as f64;
    before.work_s().filter(|work_s| 0.0 < *work_s).map_or(0.0, |work_s| instances / work_s)
}

/// First attempts that still succeed, as far as shares tell.
fn first_successes(tally: &Tally) -> f64 {
    let ratio = tally.failure_ratio().map_or(1.0, |failed| 1.0 - failed);
    tally.first * ratio
}

/// What can be done about a cause.
pub(super) struct Advice {
    /// The least harmful that helps.
    pub(super) suggested: SuggestedAction,
    /// What else would be possible, least harm first.
    pub(super) alternatives: Vec<SuggestedAction>,
}

/// What can be done about a cause that began in the second `onset`; `None` where no proxy could
/// enforce anything, or where none counted any of it.
pub(super) fn advise(
    scene: &Scene<'_>,
    blame: &Blame,
    phase: Phase,
    confidence: f64,
    (before, onset): (&Before, u64),
) -> Option<Advice> {
    scene.proxies.enforcing(&blame.edge).next()?;
    let (track, front) = scene.track(&blame.edge)?;
    (onset..=front).any(|second| track.is_covered(second)).then_some(())?;
    let watch = scene.detectors.get(&blame.edge)?;
    let figures = Figures::see(scene, blame, watch.usual(), before, onset)?;
    let is_recognised = RECOGNISED_MIN <= scene.recognised(&blame.edge).unwrap_or(0.0);
    let is_fresh = is_covered(scene.store, &blame.edge, scene.now_second().saturating_sub(2))
        && scene.proxies.stale(scene.now, &blame.edge.source) == 0;
    let entering = ingress(scene.store, scene.graph, scene.now_second().saturating_sub(3));
    let names = scene.names.print_edge(&blame.edge);
    let victim = scene.names.print(&blame.victim);
    let plan = |action: ActionKind| {
        let is_cheap = figures.lost(action) <= LOSS_SMALL * entering.max(figures.first);
        let drain_s = figures.drain_s(action);
        SuggestedAction {
            action: action.into(),
            source: names.source.clone(),
            destination: names.destination.clone(),
            ttl_s: ttl_s(action, drain_s),
            tier: u8::from(!(SURE <= confidence && is_fresh && is_cheap)),
            predicted: predict(action, &figures, drain_s, &victim),
        }
    };
    let chosen = choose(&figures, phase, is_recognised);
    let is_possible = |action: &ActionKind| match action {
        ActionKind::MuteRetries => is_recognised,
        ActionKind::Cap => figures.usual.is_some(),
        ActionKind::Shed | ActionKind::Open => true,
    };
    let others = ActionKind::ALL.into_iter().filter(|action| *action != chosen);
    let alternatives = others.filter(is_possible).map(plan).collect();
    Some(Advice { suggested: plan(chosen), alternatives })
}

/// The least harmful action that helps.
fn choose(figures: &Figures, phase: Phase, is_recognised: bool) -> ActionKind {
    let muted_s = figures.drain_s(ActionKind::MuteRetries);
    let opened_s = figures.drain_s(ActionKind::Open);
    let is_stuck = phase == Phase::Sustained
        && PATIENCE_S < muted_s
        && OPEN_GAIN * (opened_s + RAMP_S) < muted_s;
    match figures.usual {
        _ if is_stuck => ActionKind::Open,
        _ if is_recognised => ActionKind::MuteRetries,
        Some(_) => ActionKind::Cap,
        None => ActionKind::Open,
    }
}

fn ttl_s(action: ActionKind, drain_s: f64) -> u64 {
    let wanted = match action {
        ActionKind::Open => 1.2 * drain_s + 5.0,
        // While it lasts nobody is harmed, so it may last.
        _ => 2.0 * drain_s + 30.0,
    };
    wanted.clamp(ttl_s_least(action) as f64, TTL_S_MAX).round() as u64
}

/// How long a lease is suggested where nothing waits.
pub(super) const fn ttl_s_least(action: ActionKind) -> u64 {
    match action {
        ActionKind::Open => 10,
        _ => 60,
    }
}

fn predict(action: ActionKind, figures: &Figures, drain_s: f64, victim: &str) -> String {
    let effect = match action {
        ActionKind::MuteRetries => format!(
            "removes {} of {} attempts/s; all {} first attempts/s pass",
            rate(figures.retries),
            rate(figures.attempts),
            rate(figures.first)
        ),
        ActionKind::Cap => format!(
            "holds {} attempts/s at {}",
            rate(figures.attempts),
            rate(CAP_HEADROOM * figures.usual.unwrap_or(0.0))
        ),
        ActionKind::Shed | ActionKind::Open => {
            let share = if action == ActionKind::Open { 1.0 } else { shed_share() };
            format!(
                "removes {} of {} attempts/s, {}/s of which would succeed",
                rate(share * figures.attempts),
                rate(figures.attempts),
                rate(figures.lost(action))
            )
        }
    };
    match drain_s.max(1.0).ceil() {
        seconds if seconds <= EXACT_S => {
            format!("{effect}; {victim} drains in about {seconds:.0} s")
        }
        long if long.is_finite() => format!("{effect}; {victim} drains within minutes"),
        _ => format!("{effect}; {victim} drains once the load on it falls"),
    }
}
