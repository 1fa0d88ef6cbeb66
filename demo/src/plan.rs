//! What a seed makes of a scenario: names, rates, times and counts.

use crate::scenario::{Change, Expect, Scenario, Service};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::time::Duration;

/// The seed whose run is the scenario as it is written, with the names of the founding story.
pub const SEED_DEFAULT: u64 = 1;

/// A scenario as one run plays it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// With the figures of this run.
    pub scenario: Scenario,
    /// Which run.
    pub seed: u64,
    names: BTreeMap<String, String>,
}

impl Plan {
    /// The run of `seed`. [`SEED_DEFAULT`] takes everything as it is written.
    pub fn new(mut scenario: Scenario, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_varied = seed != SEED_DEFAULT;
        let mut names = BTreeMap::new();
        for (role, service) in &mut scenario.services {
            let name =
                if is_varied { service.names.choose(&mut rng) } else { service.names.first() };
            names.insert(role.clone(), name.unwrap_or(role).clone());
            if is_varied {
                vary_service(service, scenario.vary.work, &mut rng);
            }
        }
        if is_varied {
            let factor = between(scenario.vary.rate, &mut rng);
            scenario.load.iter_mut().for_each(|load| load.rate *= factor);
        }
        Self { scenario, seed, names }
    }

    /// What the service of this role is called in this run.
    pub fn name<'a>(&'a self, role: &'a str) -> &'a str {
        self.names.get(role).map_or(role, String::as_str)
    }

    /// The truth, in names.
    pub fn expect(&self) -> Option<Expect> {
        self.scenario.expect.as_ref().map(|expect| Expect {
            kind: expect.kind.clone(),
            originator: self.name(&expect.originator).to_owned(),
            through: expect.through.iter().map(|role| self.name(role).to_owned()).collect(),
            victim: self.name(&expect.victim).to_owned(),
            subset: expect.subset.clone(),
        })
    }

    /// The service of this role, which a checked scenario has wherever it names one.
    pub fn service(&self, role: &str) -> &Service {
        &self.scenario.services[role]
    }

    /// When the first fault begins, from the start of the load.
    pub fn first_fault_at(&self) -> Option<Duration> {
        let starts = self.scenario.faults.iter().map(|fault| fault.at_s);
        starts.min_by(f64::total_cmp).map(Duration::from_secs_f64)
    }

    /// A change in words, with the names of this run.
    pub fn describe(&self, change: &Change) -> String {
        let place = |to: &str| match to.split_once('/') {
            Some((role, route)) => format!("{}/{route}", self.name(role)),
            None => to.to_owned(),
        };
        match change {
            Change::Release { service, callee, client } => format!(
                "a release of {}: calls to {} get {} attempts, {} ms timeout, {} ms backoff{}",
                self.name(service),
                self.name(callee),
                client.attempts,
                client.timeout_ms,
                client.backoff_ms,
                if client.hedge_after_ms == 0 { "" } else { ", hedged" },
            ),
            Change::Slow { service, factor, percent } if *percent < 100.0 => {
                let name = self.name(service);
                format!("{name} needs {factor} times as long for {percent} % of its requests")
            }
            Change::Slow { service, factor, .. } => {
                format!("{} needs {factor} times as long", self.name(service))
            }
            Change::Errors { service, percent } => {
                format!("{} fails {percent} % of its requests", self.name(service))
            }
            Change::Repeat { service, to, times } => {
                let (service, to) = (self.name(service), place(to));
                format!("a release of {service}: {times} calls to {to}, one after another")
            }
            Change::Load { factor } => format!("{factor} times the load"),
            Change::Job { service, to, every_ms, one_trace, .. } => {
                let (service, to) = (self.name(service), place(to));
                let trace = if *one_trace { ", in one trace" } else { "" };
                format!("{service} calls {to} every {every_ms} ms{trace}")
            }
            Change::Rollout { service, percent } => {
                format!("{percent} % of {} go to its new version", self.name(service))
            }
            Change::Lease { service, callee, action, ttl_s } => {
                let (service, callee) = (self.name(service), self.name(callee));
                format!("an operator: {action} {service} → {callee} for {ttl_s} s")
            }
            Change::CollectorDies {} => "the collector dies".to_owned(),
        }
    }

    /// Moves all faults, so that the first begins at `at`.
    pub fn begin_faults_at(&mut self, at: Duration) {
        let Some(first) = self.first_fault_at() else { return };
        for fault in &mut self.scenario.faults {
            fault.at_s = (fault.at_s - first.as_secs_f64() + at.as_secs_f64()).max(0.0);
        }
    }
}

fn vary_service(service: &mut Service, work: (f64, f64), rng: &mut StdRng) {
    service.work_ms *= between(work, rng);
    if let Some((least, most)) = service.instances_vary {
        service.instances = rng.random_range(least..=most);
    }
}

fn between((least, most): (f64, f64), rng: &mut StdRng) -> f64 {
    rng.random_range(least..=most)
}
