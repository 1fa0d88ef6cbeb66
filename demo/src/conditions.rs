//! What is different just now: the faults that are active, over the plan. Pure.

use crate::plan::Plan;
use crate::scenario::{Change, Client};
use crate::station::Slowness;
use std::sync::Arc;
use std::time::Duration;

/// A fault begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// When, from the start of the load.
    pub at: Duration,
    /// Ends come before beginnings of the same moment.
    pub begins: bool,
    /// Index in the scenario's faults.
    pub fault: usize,
}

/// All turns of a plan in their order.
pub fn script(plan: &Plan) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (fault, entry) in plan.scenario.faults.iter().enumerate() {
        let at = Duration::from_secs_f64(entry.at_s);
        turns.push(Turn { at, begins: true, fault });
        if let Some(for_s) = entry.for_s {
            turns.push(Turn { at: at + Duration::from_secs_f64(for_s), begins: false, fault });
        }
    }
    turns.sort();
    turns
}

/// The plan and the faults that are active.
#[derive(Clone, Debug)]
pub struct Conditions {
    plan: Arc<Plan>,
    active: Vec<usize>,
}

impl Conditions {
    /// Nothing is wrong yet.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self { plan, active: Vec::new() }
    }

    /// Takes a turn of the script.
    pub fn turn(&mut self, turn: Turn) {
        self.active.retain(|fault| *fault != turn.fault);
        if turn.begins {
            self.active.push(turn.fault);
        }
    }

    /// Settings of the library with which `service` calls `callee`: of the latest release.
    pub fn client(&self, service: &str, callee: &str) -> Client {
        let released = self.active().filter_map(|change| match change {
            Change::Release { service: s, callee: c, client } if s == service && c == callee => {
                Some(client)
            }
            _ => None,
        });
        let built_in = self.plan.service(service).clients.get(callee);
        released.last().or(built_in).cloned().unwrap_or_default()
    }

    /// By how much longer than planned `service` takes. Of several changes the factors multiply, and
    /// the smallest share counts.
    pub fn slowness(&self, service: &str) -> Slowness {
        let mut slowness = Slowness::NONE;
        for change in self.active() {
            if let Change::Slow { service: slow, factor, percent } = change
                && slow == service
            {
                slowness.factor *= factor;
                slowness.percent = slowness.percent.min(*percent);
            }
        }
        slowness
    }

    /// Share of requests that `service` answers with 500.
    pub fn error_percent(&self, service: &str) -> f64 {
        let errors = self.active().filter_map(|change| match change {
            Change::Errors { service: failing, percent } if failing == service => Some(*percent),
            _ => None,
        });
        errors.fold(self.plan.service(service).error_percent, f64::max)
    }

    /// How often `service` makes the call `to`, that it makes `planned` times by its routes.
    pub fn times(&self, service: &str, to: &str, planned: u32) -> u32 {
        let repeated = self.active().filter_map(|change| match change {
            Change::Repeat { service: s, to: t, times } if s == service && t == to => Some(*times),
            _ => None,
        });
        repeated.last().unwrap_or(planned)
    }

    /// So many times the planned load comes.
    pub fn load(&self) -> f64 {
        let factors = self.active().map(|change| match change {
            Change::Load { factor } => *factor,
            _ => 1.0,
        });
        factors.product()
    }

    fn active(&self) -> impl Iterator<Item = &Change> {
        self.active.iter().map(|fault| &self.plan.scenario.faults[*fault].change)
    }
}
