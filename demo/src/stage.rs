//! What all services and visitors of a run share: the plan, the clock, the conditions of the
//! moment, and the witness of the truth.

use crate::clock::Clock;
use crate::conditions::Conditions;
use crate::event::Event;
use crate::plan::Plan;
use crate::truth::{First, Seen, Truth};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Firsts are told once each; more than this never wait.
const NOTICES_MAX: usize = 8;

/// Shared by everything that runs in a shop.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Clock,
    /// Tasks of services, jobs and visitors.
    pub(crate) tasks: TaskTracker,
    /// Ends them.
    pub(crate) stop: CancellationToken,
    conditions: Mutex<Conditions>,
    truth: Mutex<Truth>,
    notices: mpsc::Sender<(std::time::Duration, Event)>,
}

/// Something that a caller saw, and when.
pub(crate) type Notices = mpsc::Receiver<(std::time::Duration, Event)>;

impl Stage {
    /// An empty stage whose clock begins now.
    pub(crate) fn new(plan: Arc<Plan>) -> (Arc<Self>, Notices) {
        let (notices, receiver) = mpsc::channel(NOTICES_MAX);
        let stage = Self {
            clock: Clock::start(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            conditions: Mutex::new(Conditions::new(Arc::clone(&plan))),
            truth: Mutex::new(Truth::new(&plan)),
            notices,
            plan,
        };
        (Arc::new(stage), receiver)
    }

    /// The conditions of the moment, for a moment.
    pub(crate) fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The truth so far, for a moment.
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fault of the plan in words, with the names of this run.
    pub(crate) fn describe(&self, fault: usize) -> String {
        self.plan.describe(&self.plan.scenario.faults[fault].change)
    }

    /// Bears witness to a call that just ended.
    pub(crate) fn saw(&self, seen: Seen<'_>) {
        let now = self.clock.elapsed();
        let Some(first) = self.truth().call_ended(now, seen) else { return };
        let name = |role| self.plan.name(role).to_owned();
        let source = seen.source.map_or_else(|| "visitor".to_owned(), name);
        let destination = name(seen.destination);
        let event = match first {
            First::Failure => {
                Event::FirstFailure { source, destination, outcome: seen.outcome.to_string() }
            }
            First::Refusal => {
                let refusal = seen.refusal.unwrap_or_default().to_owned();
                Event::FirstRefusal { source, destination, refusal }
            }
        };
        // Full only if nobody listens any more.
        let _ = self.notices.try_send((now, event));
    }
}
