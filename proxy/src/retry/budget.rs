//! How many retries a destination bears: the guard against a storm of one's own.
//!
//! One [`Budget`] is shared by all routes to a destination. With an interval it is a rate: retries in
//! the last ten buckets of the interval may be a share of the first attempts in them, and a number
//! a second is always allowed. A rate alone lets retries pile up where answers are slow, so a bound
//! on retries at once stands behind it, which only binds where a retry takes longer than the
//! interval. Without an interval the budget is Envoy's:
//! `retries at once < max(percent × (active + pending), concurrency_min)`.
//!
//! A retry is under way from the decision on, with its wait, until its permit comes back.

use crate::buckets::Buckets;
use fusebox_proto::policy::RetryBudget;
use std::time::{Duration, Instant};

/// Where the policy says nothing: a fifth over ten seconds, and ten a second. Linkerd's and the
/// Gateway API's.
pub const RETRY_BUDGET_DEFAULT: RetryBudget = RetryBudget {
    percent: 20.0,
    interval: Duration::from_secs(10),
    retries_per_s_min: 10.0,
    concurrency_min: 0,
};

/// Retries are counted over this long where the policy has no interval.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Columns of the window.
const REQUESTS: usize = 0;
const RETRIES: usize = 1;

/// The retry budget of one destination.
#[derive(Debug)]
pub struct Budget {
    settings: RetryBudget,
    /// `connectionPool.http.maxRetries`, which stands beside the budget.
    retries_max: Option<u32>,
    window: Buckets<2>,
    status: BudgetStatus,
}

/// Leave for one retry. Handed back with its end, also where it was never sent.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct RetryPermit(());

/// Why there is no leave for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spent {
    /// The share of requests.
    Rate,
    /// The retries at once that the budget allows.
    Concurrency,
    /// `connectionPool.http.maxRetries`.
    RetriesMax,
}

/// Counts for metrics and the admin page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Retries under way.
    pub retries_active: u64,
    /// Retries allowed since the budget began.
    pub allowed: u64,
    /// Retries that it did not allow.
    pub refused: u64,
}

impl Budget {
    /// With what the policy says of the destination.
    pub fn new(now: Instant, settings: Option<RetryBudget>, retries_max: Option<u32>) -> Self {
        let settings = settings.unwrap_or(RETRY_BUDGET_DEFAULT);
        let window = Buckets::new(now, window(settings));
        Self { settings, retries_max, window, status: BudgetStatus::default() }
    }

    /// Follows a change of policy. Retries under way stay counted; a window of another length
    /// begins empty.
    pub fn set_policy(
        &mut self,
        now: Instant,
        settings: Option<RetryBudget>,
        retries_max: Option<u32>,
    ) {
        let settings = settings.unwrap_or(RETRY_BUDGET_DEFAULT);
        if settings.interval != self.settings.interval {
            self.window = Buckets::new(now, window(settings));
        }
        (self.settings, self.retries_max) = (settings, retries_max);
    }

    /// Counts a request: its first attempt, not its retries.
    pub fn request(&mut self, now: Instant) {
        self.window.add(now, REQUESTS);
    }

    /// Asks leave for a retry, while so many attempts to the destination are active or pending.
    ///
    /// # Errors
    /// What is spent.
    pub fn take(&mut self, now: Instant, in_flight: u64) -> Result<RetryPermit, Spent> {
        let spent = self.spent(now, in_flight);
        if let Some(spent) = spent {
            self.status.refused += 1;
            return Err(spent);
        }
        self.window.add(now, RETRIES);
        self.status.allowed += 1;
        self.status.retries_active += 1;
        Ok(RetryPermit(()))
    }

    /// The retry has ended.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is spent once")]
    pub const fn give_back(&mut self, permit: RetryPermit) {
        let RetryPermit(()) = permit;
        debug_assert!(0 < self.status.retries_active, "a permit was given for it");
        self.status.retries_active -= 1;
    }

    /// Counts since the budget began.
    pub const fn status(&self) -> BudgetStatus {
        self.status
    }

    fn spent(&mut self, now: Instant, in_flight: u64) -> Option<Spent> {
        let RetryBudget { percent, interval, retries_per_s_min, concurrency_min } = self.settings;
        let active = self.status.retries_active;
        if self.retries_max.is_some_and(|max| u64::from(max) <= active) {
            return Some(Spent::RetriesMax);
        }
        if active < u64::from(concurrency_min) {
            return None;
        }
        let [requests, retries] = self.window.sums(now);
        // A number a second, over the whole window.
        let always = retries_per_s_min * window(self.settings).as_secs_f64();
        if interval.is_zero() {
            let is_rare = (retries + 1) as f64 <= always;
            // Envoy truncates.
            let at_once = (percent / 100.0 * in_flight as f64) as u64;
            return (!is_rare && at_once <= active).then_some(Spent::Concurrency);
        }
        // The retry that is asked for must fit as a whole.
        let bound = (percent / 100.0 * requests as f64).max(always);
        if bound < (retries + 1) as f64 {
            return Some(Spent::Rate);
        }
        let at_once = (percent / 100.0 * in_flight as f64).max(always);
        (at_once < (active + 1) as f64).then_some(Spent::Concurrency)
    }
}

fn window(settings: RetryBudget) -> Duration {
    if settings.interval.is_zero() { INTERVAL_MIN } else { settings.interval }
}
