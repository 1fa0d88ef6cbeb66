//! What was usual before it began: read once, because the windows forget after a minute.

use super::Scene;
use super::blame::Blame;
use crate::store::{Counts as _, LatencyTotal, Latent, Tally};
use fusebox_proto::ServiceId;

/// What was usual is read from so many seconds before the onset.
const SECONDS: u64 = 30;

/// The seconds before an incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// Attempts per request on the edge to act on.
    pub(super) factor: Option<f64>,
    /// All that went into the victim.
    pub(super) into: Tally,
    /// In so many seconds; 0 where nothing was known yet.
    pub(super) seconds: f64,
    /// The victim's latency.
    pub(super) latency: LatencyTotal,
    /// Waits before first and later retries on the edge to act on.
    pub(super) waits: [LatencyTotal; 2],
}

impl Before {
    /// Reads what was usual before the second `onset`.
    pub(super) fn see(scene: &Scene<'_>, blame: &Blame, onset: u64) -> Self {
        // The second before the onset may hold its first moments already.
        let last = onset.saturating_sub(2);
        let mut into = Tally::default();
        let mut seconds: f64 = 0.0;
        for (_, track) in scene.store.edges_into(&blame.victim) {
            into.add(&track.sum(last, SECONDS));
            seconds = seconds.max(track.known_seconds(last, SECONDS).unwrap_or(0.0));
        }
        let track = scene.store.edge(&blame.edge);
        Self {
            factor: track.and_then(|track| track.sum(last, SECONDS).factor()),
            into,
            seconds,
            latency: latencies(scene, &blame.victim)
                .map_or_else(LatencyTotal::default, |own| own.latency_of(last, SECONDS)),
            waits: scene.store.waits().sum(&blame.edge, last, SECONDS),
        }
    }

    /// Whether there was time to learn anything.
    pub(super) fn is_known(&self) -> bool {
        0.0 < self.seconds
    }

    /// A figure per second.
    pub(super) fn per_s(&self, figure: impl Fn(&Tally) -> f64) -> Option<f64> {
        self.is_known().then(|| figure(&self.into) / self.seconds)
    }

    /// Seconds that the victim took for a request, half of the time.
    pub(super) fn work_s(&self) -> Option<f64> {
        self.latency.quantile_ms(0.5, 5).map(|ms| ms / 1_000.0)
    }
}

/// The latencies of a service: its own where it reports, else as its heaviest caller sees them.
pub(super) fn latencies<'a>(scene: &Scene<'a>, service: &ServiceId) -> Option<&'a dyn Latent> {
    let own = scene.store.service(service).filter(|track| 0 < track.latency().count());
    own.map(|track| track as &dyn Latent).or_else(|| {
        let callers = scene.store.edges_into(service).map(|(_, track)| track);
        callers.max_by_key(|track| track.latency().count()).map(|track| track as &dyn Latent)
    })
}
