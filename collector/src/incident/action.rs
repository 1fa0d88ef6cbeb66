//! What would help, least harm first.
//!
//! Muting retries harms nobody: it takes away only what multiplies, and the callee drains with
//! what its first attempts leave free. It needs retries that a proxy recognises. A surge of first
//! attempts is no reason against it: surges pass, and then the callee drains. Where retries are
//! not recognised, or are muted already and first attempts alone are too many, a cap at the usual
//! rate is next. A queue of abandoned work in a storm that sustains itself may take minutes to
//! drain beside first attempts, all of which fail meanwhile: then to open the circuit loses
//! nothing and is over sooner. A lease that ends before the queue is empty lets the storm
//! re-ignite, so its time comes from the drain time, with a margin.

use super::Scene;
use super::blame::Blame;
use super::capacity::{backlog, ingress, is_covered, load};
use crate::detect::{Phase, Usual};
use crate::store::Tally;
use fusebox_proto::command::ActionKind;
use fusebox_proto::view::SuggestedAction;

/// Share of the excess that must be recognised for an action that needs it.
const RECOGNISED_MIN: f64 = 0.9;
/// First attempts beyond what the victim can serve by this much are themselves too many.
const LOAD_MAX: f64 = 1.2;
/// A victim served its usual load, so it can serve at least a little more.
const USUAL_HEADROOM: f64 = 1.1;
/// A cap is this much above the usual rate, so that it does not cut what is usual.
pub(crate) const CAP_HEADROOM: f64 = 1.25;
/// To drain beside first attempts may take so long before opening is considered.
const PATIENCE_S: f64 = 30.0;
/// The ramp after an opened circuit, four steps of five seconds.
const RAMP_S: f64 = 20.0;
/// Confidence from which one key may fire.
const SURE: f64 = 0.9;
/// Share of what enters the mesh that one key may cost.
const LOSS_SMALL: f64 = 0.05;

/// The figures that the choice rests on, per second.
struct Figures {
    first: f64,
    attempts: f64,
    retries: f64,
    succeeded: f64,
    /// What reaches the victim, and would without this edge's retries.
    load_muted: f64,
    /// What the victim can serve.
    capacity: f64,
    /// Attempts that wait for it.
    waiting: f64,
}

impl Figures {
    fn see(scene: &Scene<'_>, blame: &Blame, usual: Option<Usual>, onset: u64) -> Option<Self> {
        let (track, front) = scene.track(&blame.edge)?;
        let recent = track.sum(front, 3);
        let seconds = 3.0;
        let before = load(scene.store, &blame.victim, onset.saturating_sub(2)).max(
            if blame.edge.destination == blame.victim {
                usual.map_or(0.0, |u| u.attempts)
            } else {
                0.0
            },
        );
        let best = scene.capacity.of(&blame.victim).unwrap_or(0.0);
        let capacity = best.max(USUAL_HEADROOM * before);
        let factor = recent.factor().unwrap_or(1.0).max(1.0);
        let load_now = load(scene.store, &blame.victim, front);
        Some(Self {
            first: recent.first / seconds,
            attempts: recent.attempts() / seconds,
            retries: (recent.attempts() - recent.first).max(0.0) / seconds,
            succeeded: first_successes(&recent) / seconds,
            load_muted: load_now / factor,
            capacity,
            waiting: backlog(scene.store, &blame.victim, onset, front, capacity),
        })
    }

    /// Seconds until nothing waits, if `load` still arrives.
    fn drain_s(&self, load: f64) -> f64 {
        if self.waiting <= 0.0 {
            return 0.0;
        }
        let free = self.capacity - load;
        if free <= 0.0 { f64::INFINITY } else { self.waiting / free }
    }
}

/// First attempts that still succeed, as far as shares tell.
fn first_successes(tally: &Tally) -> f64 {
    let ratio = tally.failure_ratio().map_or(1.0, |failed| 1.0 - failed);
    tally.first * ratio
}

/// The suggestion for a cause that began in the second `onset`; `None` where no proxy could
/// enforce any.
pub(super) fn suggest(
    scene: &Scene<'_>,
    blame: &Blame,
    phase: Phase,
    confidence: f64,
    onset: u64,
) -> Option<SuggestedAction> {
    scene.proxies.enforcing(&blame.edge).next()?;
    let watch = scene.detectors.get(&blame.edge)?;
    let figures = Figures::see(scene, blame, watch.usual(), onset)?;
    let recognised = scene.recognised(&blame.edge).unwrap_or(0.0);
    let usual = watch.usual().map(|usual| usual.attempts).filter(|usual| 0.0 < *usual);
    let muted_s = figures.drain_s(figures.load_muted);
    let opened_s = figures.drain_s(0.0);
    let is_muted = scene.lease(&blame.edge) == Some(ActionKind::MuteRetries);
    let is_too_much = is_muted && LOAD_MAX * figures.capacity < figures.load_muted;
    let is_stuck = phase == Phase::Sustained && PATIENCE_S < muted_s && opened_s + RAMP_S < muted_s;
    let (action, drain_s) = if RECOGNISED_MIN <= recognised && !is_too_much && !is_stuck {
        (ActionKind::MuteRetries, muted_s)
    } else if is_stuck {
        (ActionKind::Open, opened_s)
    } else if let Some(usual) = usual {
        (ActionKind::Cap, figures.drain_s(CAP_HEADROOM * usual))
    } else {
        (ActionKind::Open, opened_s)
    };
    let names = scene.names.print_edge(&blame.edge);
    let is_fresh = is_covered(scene.store, &blame.edge, scene.now_second().saturating_sub(2))
        && scene.proxies.stale(scene.now, &blame.edge.source) == 0;
    let lost = lost(action, &figures, usual);
    let entering = ingress(scene.store, scene.graph, scene.now_second().saturating_sub(3));
    let is_cheap = lost <= LOSS_SMALL * entering.max(figures.first);
    Some(SuggestedAction {
        action,
        source: names.source,
        destination: names.destination,
        ttl_s: ttl_s(action, drain_s),
        tier: u8::from(!(SURE <= confidence && is_fresh && is_cheap)),
        predicted: predict(action, &figures, usual, drain_s, &scene.names.print(&blame.victim)),
    })
}

/// First attempts that succeed now and would be refused, per second.
fn lost(action: ActionKind, figures: &Figures, usual: Option<f64>) -> f64 {
    match action {
        ActionKind::MuteRetries => 0.0,
        ActionKind::Cap => {
            let passing = CAP_HEADROOM * usual.unwrap_or(0.0);
            let share = 1.0 - (passing / figures.attempts.max(passing)).min(1.0);
            figures.succeeded * share
        }
        ActionKind::Shed | ActionKind::Open => figures.succeeded,
    }
}

fn ttl_s(action: ActionKind, drain_s: f64) -> u64 {
    let (wanted, least) = match action {
        ActionKind::Open => (1.2 * drain_s + 5.0, 10.0),
        // While it lasts nobody is harmed, so it may last.
        _ => (2.0 * drain_s + 30.0, 60.0),
    };
    wanted.clamp(least, 300.0).round() as u64
}

fn predict(
    action: ActionKind,
    figures: &Figures,
    usual: Option<f64>,
    drain_s: f64,
    victim: &str,
) -> String {
    let rate = super::sentence::rate;
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
            rate(CAP_HEADROOM * usual.unwrap_or(0.0))
        ),
        ActionKind::Shed | ActionKind::Open => format!(
            "removes all {} attempts/s, {}/s of which would succeed",
            rate(figures.attempts),
            rate(figures.succeeded)
        ),
    };
    if drain_s.is_finite() {
        format!("{effect}; {victim} drains in about {:.0} s", drain_s.max(1.0).ceil())
    } else {
        format!("{effect}; {victim} drains once the load on it falls")
    }
}
