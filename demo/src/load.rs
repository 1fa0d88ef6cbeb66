//! Visitors: requests from outside, in an open loop. They come whether or not the shop keeps up,
//! and what becomes of them is the truth about goodput.

use crate::client::Outcome;
use crate::instance::root;
use crate::link::Link;
use crate::scenario::{Load, Spacing};
use crate::stage::Stage;
use crate::truth::Seen;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// So many visitors wait at once; a further one turns away, which is no success.
const WAITING_MAX: usize = 5_000;
/// While the load is nothing, it is looked at again after this time.
const PAUSE: Duration = Duration::from_millis(100);

/// The visitors of one load.
#[derive(Debug)]
pub(crate) struct Visitors {
    stage: Arc<Stage>,
    load: Load,
    doors: Vec<Arc<Link>>,
    rng: StdRng,
    closing: CancellationToken,
    waiting: Arc<Semaphore>,
}

impl Visitors {
    /// Visitors on the way to the `doors`, until `closing`.
    pub(crate) fn new(
        stage: Arc<Stage>,
        load: &Load,
        doors: &[SocketAddr],
        rng: StdRng,
        closing: CancellationToken,
    ) -> Self {
        let role = load.to.split_once('/').map_or(load.to.as_str(), |(role, _)| role);
        let host = stage.plan.name(role);
        let doors = doors.iter().map(|door| Arc::new(Link::new(*door, host))).collect();
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self { stage, load: load.clone(), doors, rng, closing, waiting }
    }

    /// They come, each at its time, until the doors close.
    pub(crate) async fn come(mut self) {
        let mut due = self.stage.clock.elapsed();
        let mut number = 0;
        loop {
            let rate = self.load.rate * self.stage.conditions().load();
            let is_quiet = rate <= 0.0;
            due += if is_quiet { PAUSE } else { self.gap(rate) };
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = self.stage.stop.cancelled() => return,
                () = sleep_until(self.stage.clock.moment(due)) => (),
            }
            if !is_quiet {
                self.visit(due, number);
                number += 1;
            }
        }
    }

    fn gap(&mut self, rate: f64) -> Duration {
        let share = match self.load.spacing {
            Spacing::Even => 1.0,
            Spacing::Random => -(1.0 - self.rng.random::<f64>()).ln(),
        };
        Duration::from_secs_f64(share / rate)
    }

    fn visit(&mut self, began: Duration, number: usize) {
        let is_sampled =
            self.rng.random_range(0.0..100.0) < self.stage.plan.scenario.sampled_percent;
        let traceparent = root(&mut self.rng, is_sampled).to_string();
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else { return };
        let door = Arc::clone(&self.doors[number % self.doors.len()]);
        let stage = Arc::clone(&self.stage);
        let to = self.load.to.clone();
        let patience = Duration::from_millis(self.load.patience_ms);
        self.stage.tasks.spawn(async move {
            let (role, route) = to.split_once('/').unwrap_or((&to, ""));
            let path = format!("/{route}");
            let outcome = match timeout(patience, door.get(&path, Some(traceparent))).await {
                Ok(Ok(answer)) => Outcome::Answered(answer.status().as_u16()),
                Ok(Err(_)) => Outcome::Broken,
                Err(_) => Outcome::TimedOut,
            };
            drop(place);
            if outcome.is_success() {
                stage.truth().entry_succeeded(began);
            } else {
                stage.truth().entry_failed(began);
            }
            stage.saw(Seen { source: None, destination: role, attempt: 1, outcome, refusal: None });
        });
    }
}
