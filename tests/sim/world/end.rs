//! What breaks, how it heals, and what must be true in the end.

use super::{ALONE, Happening, Moment, SECOND, TIDY_AFTER, World};
use fusebox_collector::engine::ConnectionId;
use fusebox_proto::ServiceId;
use rand::RngExt as _;
use std::time::Duration;

impl World {
    pub(super) fn mischief(&mut self) {
        if !self.is_hostile {
            return;
        }
        match self.rng.random_range(0..12) {
            0..5 => {
                let open: Vec<ConnectionId> = self.lanes.keys().copied().collect();
                if !open.is_empty() {
                    let which = self.rng.random_range(0..open.len());
                    self.cut(open[which]);
                }
            }
            5..7 => {
                let pause = self.millis(100..10_000);
                self.collector_dies(pause);
            }
            7..9 => self.cut_console(),
            _ => {
                let proxy = self.rng.random_range(0..self.sidecars.len());
                self.sidecars[proxy].restart(self.now);
                if let Some(connection) = self.streams.remove(&proxy) {
                    self.cut(connection);
                }
                self.after(Duration::from_millis(500), Happening::Connect(proxy));
            }
        }
        let pause = self.millis(500..5_000);
        self.after(pause, Happening::Mischief);
    }

    /// The collector dies, and comes back after a pause.
    fn collector_dies(&mut self, pause: Duration) {
        self.engine = None;
        self.truth.collector_died();
        self.cut_console();
        self.console_is_forsaken();
        let open: Vec<ConnectionId> = self.lanes.keys().copied().collect();
        for connection in open {
            self.cut(connection);
        }
        // The new process knows nothing of the old one's streams, and nothing that was not synced.
        self.agenda.retain(|what| {
            !matches!(what, Happening::CollectorSeesEnd(_) | Happening::Synced { .. })
        });
        self.after(pause, Happening::CollectorStarts);
    }

    /// The network is whole again. Either someone looks at the console and ends what is left, or
    /// all is left alone, even by the collector, and leases end by their time.
    pub(super) fn heal(&mut self) {
        self.is_hostile = false;
        for sidecar in &mut self.sidecars {
            sidecar.abandon(self.now);
        }
        self.agenda.retain(|what| {
            !matches!(
                what,
                Happening::Call { .. }
                    | Happening::Answer { .. }
                    | Happening::Arrivals
                    | Happening::CollectorStarts
                    | Happening::AtConsole(Moment::OperatorActs)
            )
        });
        if self.is_tidied {
            self.after(Duration::ZERO, Happening::CollectorStarts);
            self.after(TIDY_AFTER, Happening::AtConsole(Moment::OperatorActs));
        } else {
            self.collector_dies(ALONE);
        }
    }

    /// Everything has come to rest: circuits closed, streams open, questions answered.
    pub(super) fn check_rest(&mut self) -> Result<(), String> {
        let engine = self.engine.as_ref().ok_or("no collector")?;
        let snapshot = engine.snapshot(self.now);
        for (proxy, sidecar) in self.sidecars.iter_mut().enumerate() {
            for destination in sidecar.destinations().to_vec() {
                let state = sidecar.state(self.now, &destination);
                if state.as_str() != "closed" {
                    return Err(format!("proxy {proxy} is stuck: {destination} is {state:?}"));
                }
            }
        }
        if let Some(proxy) = snapshot.proxies.iter().find(|proxy| !proxy.connected) {
            return Err(format!("the collector lost {proxy:?}"));
        }
        if snapshot.proxies.len() != self.sidecars.len() {
            return Err(format!("the collector knows {} proxies", snapshot.proxies.len()));
        }
        for edge in &snapshot.edges {
            if edge.breaker.state.as_str() != "closed" {
                return Err(format!("the collector believes in {edge:?}"));
            }
        }
        match self.twin.waiting() {
            0 => self.console.check_rest(),
            waiting => Err(format!("{waiting} requests of the twin were never answered")),
        }
    }

    /// After steady traffic over a whole network every attempt is in the books once.
    pub(super) fn check_books(&mut self) -> Result<(), String> {
        let engine = self.engine.as_ref().ok_or("no collector")?;
        let snapshot = engine.snapshot(self.now);
        // The rate is over the last 10 s; the books are exact but for a second at either end.
        let since = self.now.instant.checked_sub(10 * SECOND).expect("later than that");
        for edge in &snapshot.edges {
            let destination = ServiceId::named(&edge.destination).expect("a name of ours");
            let sources = self.sidecars.iter().filter(|sidecar| {
                sidecar.id.as_str().starts_with(&edge.source)
                    && sidecar.destinations().contains(&destination)
            });
            let truth: usize = sources.map(|sidecar| sidecar.forwarded(&destination, since)).sum();
            let truth = truth as f64 / 10.0;
            let told = edge.rate.unwrap_or(0.0);
            if truth == 0.0 || (told / truth - 1.0).abs() > 0.15 {
                return Err(format!(
                    "{}>{}: {told}/s told, {truth}/s true",
                    edge.source, edge.destination
                ));
            }
        }
        if snapshot.edges.len() != 3 {
            return Err(format!("{} edges", snapshot.edges.len()));
        }
        Ok(())
    }
}
