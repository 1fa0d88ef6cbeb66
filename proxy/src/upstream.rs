//! One destination as the policy sees it: which endpoint, how long it is out, how many retries.
//!
//! An [`Upstream`] stands for a host, a subset of it, a port: what has settings of its own, and what
//! is a *cluster* in Envoy. It joins the balance ([`crate::balance`]), the outlier detection
//! ([`crate::outlier`]) and the retry budget ([`crate::retry`]), so that the shell has one thing to
//! ask, under one short lock. (How many connections and requests there may be is the pool's.)
//!
//! ```text
//! pick ─▶ Choice ─ connected ─▶ observed ─▶ ended          an attempt
//!            │       (a connection)  (the head of the answer, or what came instead of one)
//!            └──────────────────────────────▶ ended        its caller went away, or it was not sent
//! ```
//!
//! Pure: time, and chance as points 0…1, are parameters.

use crate::balance::{Balance, EndpointId, MemberStatus, NoEndpoint};
use crate::breaker;
use crate::outlier::{Counters, Event, HostStatus, Observed, Outlier};
use crate::retry::{Budget, BudgetStatus, RetryPermit, Spent, Tried};
use fusebox_proto::policy::Settings;
use std::time::Instant;

/// The endpoints of one destination and what the policy says of them.
#[derive(Debug)]
pub struct Upstream {
    balance: Balance,
    endpoints: Vec<EndpointId>,
    outlier: Option<Outlier>,
    /// Of the detection, when the balance was told last.
    changes_told: u64,
    budget: Budget,
    in_flight: u64,
}

/// The endpoint of one attempt. Handed back exactly once, to [`Upstream::ended`], whatever becomes of
/// the attempt.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Choice {
    endpoint: EndpointId,
    started: Instant,
    is_observed: bool,
}

impl Choice {
    /// Which endpoint.
    pub const fn endpoint(&self) -> EndpointId {
        self.endpoint
    }
}

/// A destination as reports, metrics and the admin page show it.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamStatus {
    /// Load and latency of each endpoint, in order of their ids.
    pub members: Vec<MemberStatus>,
    /// Ejections of each endpoint, in the same order; empty without outlier detection.
    pub hosts: Vec<HostStatus>,
    /// Counts of the outlier detection.
    pub ejections: Option<Counters>,
    /// Whether so many are out that ejections are ignored.
    pub is_panicking: bool,
    /// The retry budget.
    pub budget: BudgetStatus,
    /// Attempts active or pending.
    pub in_flight: u64,
}

impl Upstream {
    /// No endpoints yet.
    pub fn new(now: Instant, settings: &Settings) -> Self {
        Self {
            balance: Balance::new(settings.balancer, panic_percent(settings)),
            endpoints: Vec::new(),
            outlier: settings.outlier.clone().map(|outlier| Outlier::new(now, outlier)),
            changes_told: 0,
            budget: Budget::new(now, settings.retry_budget, settings.pool.retries_max),
            in_flight: 0,
        }
    }

    /// Follows a change of policy. Ejections, counts and attempts under way stay; without outlier
    /// detection nobody is out.
    pub fn set_policy(&mut self, now: Instant, settings: &Settings) {
        self.balance.set_policy(settings.balancer, panic_percent(settings));
        self.budget.set_policy(now, settings.retry_budget, settings.pool.retries_max);
        match (&mut self.outlier, settings.outlier.clone()) {
            (Some(outlier), Some(settings)) => outlier.set_settings(now, settings),
            (None, Some(settings)) => {
                let mut outlier = Outlier::new(now, settings);
                outlier.set_hosts(&self.endpoints);
                self.outlier = Some(outlier);
            }
            (_, None) => self.outlier = None,
        }
        self.tell_all();
    }

    /// Follows a change of the endpoints, in any order. Those that stay keep what is known of them.
    /// `turn` is any number: where round robin begins.
    pub fn set_endpoints(&mut self, now: Instant, endpoints: &[EndpointId], turn: usize) {
        endpoints.clone_into(&mut self.endpoints);
        self.balance.set_members(now, endpoints, turn);
        if let Some(outlier) = &mut self.outlier {
            outlier.set_hosts(endpoints);
        }
        self.tell_all();
    }

    /// Follows a change of the endpoints' weights, which are 1 until they are told.
    pub fn set_weights(&mut self, weights: &[(EndpointId, u32)]) {
        self.balance.set_weights(weights);
    }

    /// Chooses an endpoint for an attempt: a first one if nothing was tried, else a retry, which
    /// avoids what was.
    ///
    /// # Errors
    /// Why there is none. That is the server's failure, as in Envoy: 503, no healthy upstream.
    pub fn pick(
        &mut self,
        now: Instant,
        tried: &Tried,
        points: [f64; 2],
    ) -> Result<Choice, NoEndpoint> {
        let endpoint = self.balance.pick(now, tried.as_slice(), points)?;
        if tried.as_slice().is_empty() {
            self.budget.request(now);
        }
        self.in_flight += 1;
        Ok(Choice { endpoint, started: now, is_observed: false })
    }

    /// Asks leave for a retry of an attempt that has ended.
    ///
    /// # Errors
    /// What is spent.
    pub fn take_retry(&mut self, now: Instant) -> Result<RetryPermit, Spent> {
        self.budget.take(now, self.in_flight)
    }

    /// A retry has ended, or was never sent.
    pub const fn give_back_retry(&mut self, permit: RetryPermit) {
        self.budget.give_back(permit);
    }

    /// The attempt has a connection, new or kept.
    pub fn connected(&mut self, choice: &Choice) {
        if let Some(outlier) = &mut self.outlier {
            outlier.connected(choice.endpoint);
        }
    }

    /// Learns what came of an attempt, as soon as it is known: with the head of the answer, not with
    /// the end of its body. What breaks off after that is observed once more. `dice` gives points.
    pub fn observed(
        &mut self,
        now: Instant,
        choice: &mut Choice,
        observed: Observed,
        dice: impl FnMut() -> f64,
    ) {
        choice.is_observed = true;
        let outcome = match observed {
            Observed::Answered(500..=599) | Observed::Broken | Observed::TimedOut => {
                breaker::Outcome::Failure
            }
            Observed::Answered(_) | Observed::Opened => breaker::Outcome::Success,
        };
        let latency = now.saturating_duration_since(choice.started);
        self.balance.observed(now, choice.endpoint, outcome, latency);
        if let Some(outlier) = &mut self.outlier {
            outlier.observed(now, choice.endpoint, choice.started, observed, dice);
            self.tell_changes();
        }
    }

    /// An attempt is over. One that nothing was observed of was given up, by its caller or by us:
    /// that says nothing about the endpoint but that it took at least so long.
    #[expect(clippy::needless_pass_by_value, reason = "a choice is handed back once")]
    pub fn ended(&mut self, now: Instant, choice: Choice) {
        let Choice { endpoint, started, is_observed } = choice;
        if !is_observed {
            let waited = now.saturating_duration_since(started);
            self.balance.observed(now, endpoint, breaker::Outcome::Cancelled, waited);
        }
        self.balance.released(endpoint);
        debug_assert!(0 < self.in_flight, "it was chosen");
        self.in_flight -= 1;
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outlier.as_ref().map(Outlier::poll_timeout)
    }

    /// Lets time pass: sweeps, and so ends ejections.
    pub fn handle_timeout(&mut self, now: Instant, dice: impl FnMut() -> f64) {
        if let Some(outlier) = &mut self.outlier {
            outlier.handle_timeout(now, dice);
            self.tell_changes();
        }
    }

    /// What happened to endpoints since the last call, in order.
    pub fn take_events(&mut self) -> impl Iterator<Item = Event> {
        self.outlier.iter_mut().flat_map(Outlier::take_events)
    }

    /// Attempts active or pending.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Everything there is to show.
    pub fn status(&self, now: Instant) -> UpstreamStatus {
        UpstreamStatus {
            members: self.balance.status(now).collect(),
            hosts: self.outlier.iter().flat_map(Outlier::status).collect(),
            ejections: self.outlier.as_ref().map(Outlier::counters),
            is_panicking: self.balance.is_panicking(),
            budget: self.budget.status(),
            in_flight: self.in_flight,
        }
    }

    fn tell_changes(&mut self) {
        if self.outlier.as_ref().map_or(0, Outlier::changes) != self.changes_told {
            self.tell_all();
        }
    }

    /// The balance learns who is out.
    fn tell_all(&mut self) {
        self.changes_told = self.outlier.as_ref().map_or(0, Outlier::changes);
        for &endpoint in &self.endpoints {
            let outlier = self.outlier.as_ref();
            let is_ejected = outlier.is_some_and(|outlier| outlier.is_ejected(endpoint));
            self.balance.set_ejected(endpoint, is_ejected);
        }
    }
}

fn panic_percent(settings: &Settings) -> u8 {
    settings.outlier.as_ref().map_or(0, |outlier| outlier.panic_percent)
}

#[cfg(test)]
mod tests;
