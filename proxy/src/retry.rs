//! The proxy's own retries: whether one more attempt follows, and when.
//!
//! What the policy asks for ([`Retries`]) is necessary and not sufficient. In this order an attempt
//! is followed by no other one, where
//!
//! 1. it was refused, by us or by a proxy or server further down: who says no shall not be asked
//!    again;
//! 2. what happened is not among the conditions of the policy;
//! 3. all attempts are used up, or the body is not at hand to be sent again;
//! 4. the wait would reach beyond the time that the route has left;
//! 5. the [`Budget`] of the destination is spent.
//!
//! The conditions are Envoy's, word by word. The wait is exponential with full jitter, 25 ms at first
//! unless the policy says otherwise, and at most ten times the first, as Envoy's; where a server
//! asks for a wait of its own (gRPC's pushback), that.
//!
//! A retry goes to an endpoint that its request has not tried yet, where there is one: the shell
//! keeps [`Tried`] and hands it to the balance.
//!
//! Pure: time and chance are parameters.

mod budget;

pub use budget::{Budget, BudgetStatus, RETRY_BUDGET_DEFAULT, RetryPermit, Spent};

use crate::backoff::full_jitter;
use crate::balance::EndpointId;
use fusebox_proto::policy::{Retries, RetryCondition, RetryOn};
use std::fmt;
use std::time::Duration;

/// No wait is longer than so many times the first, as in Envoy.
const BACKOFF_MAX_FACTOR: u32 = 10;
/// More endpoints than this are not remembered of one request; the oldest is forgotten.
pub const TRIED_MAX: usize = 16;

/// How an attempt ended, before a byte of its answer went to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server answered.
    Answered(Answer),
    /// No connection to the endpoint.
    NoConnection,
    /// The server said that it did not look at the request (HTTP/2 `REFUSED_STREAM`).
    RefusedStream,
    /// The server broke off.
    Reset {
        /// Whether a byte of the request may have reached it.
        was_sent: bool,
    },
    /// The time of this try is over.
    TimedOut,
    /// Our own breaker or limit.
    Refused,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `grpc-status`, where the head has one (trailers alone).
    pub grpc_status: Option<u16>,
    /// It says no to a retry: `x-envoy-ratelimited`, `x-envoy-overloaded` or `x-fusebox-refused`.
    pub is_refusal: bool,
    /// `grpc-retry-pushback-ms`.
    pub pushback: Option<Pushback>,
}

/// `grpc-retry-pushback-ms` (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// Do not retry: the value is negative, or unreadable.
    Never,
    /// Retry after exactly this long.
    After(Duration),
}

impl Pushback {
    /// Reads the header's value.
    pub fn parse(value: &[u8]) -> Self {
        let number =
            std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let ms = number.and_then(|ms| u64::try_from(ms).ok());
        ms.map_or(Self::Never, |ms| Self::After(Duration::from_millis(ms)))
    }
}

/// What is known of the request when an attempt has ended.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Retries that were made so far.
    pub retries: u32,
    /// Whether the whole body is at hand.
    pub is_replayable: bool,
    /// Time left of the route's timeout. `None`: it has none.
    pub left: Option<Duration>,
}

/// Whether another attempt follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// After this wait. The permit is handed back when the retry has ended.
    Retry {
        /// How long from now.
        after: Duration,
        /// The retry's place in the budget.
        permit: RetryPermit,
    },
    /// None; the caller gets what there is.
    Stop(Stop),
}

/// Why no attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// It is an answer, or a failure that the policy does not name.
    NotAsked,
    /// It was refused, by us or further down.
    Refused,
    /// The server asks for no retry.
    Pushback,
    /// All attempts are used up.
    Exhausted,
    /// The body is not at hand.
    NotReplayable,
    /// The route has no time left for it.
    NoTime,
    /// The budget is spent.
    Budget(Spent),
}

impl Stop {
    /// As in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::Refused => "refused",
            Self::Pushback => "pushback",
            Self::Exhausted => "exhausted",
            Self::NotReplayable => "not-replayable",
            Self::NoTime => "no-time",
            Self::Budget(Spent::Rate) => "budget",
            Self::Budget(Spent::Concurrency) => "budget-concurrency",
            Self::Budget(Spent::RetriesMax) => "retries-max",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decides whether an attempt follows one that ended so. `random` is evenly spread over all values.
/// `budget` takes the retry's place in the budget and is asked last.
pub fn decide(
    policy: &Retries,
    progress: Progress,
    ended: Ended,
    random: u64,
    budget: impl FnOnce() -> Result<RetryPermit, Spent>,
) -> Decision {
    match wait(policy, progress, ended, random) {
        Err(stop) => Decision::Stop(stop),
        Ok(after) => match budget() {
            Ok(permit) => Decision::Retry { after, permit },
            Err(spent) => Decision::Stop(Stop::Budget(spent)),
        },
    }
}

/// How long a try may take: the policy's time, within what the route has left. `None`: no limit.
pub fn try_timeout(policy: Option<&Retries>, left: Option<Duration>) -> Option<Duration> {
    let own = policy.and_then(|policy| policy.per_try_timeout);
    own.into_iter().chain(left).min()
}

/// How long to wait before the next attempt, or why there is none.
fn wait(policy: &Retries, progress: Progress, ended: Ended, random: u64) -> Result<Duration, Stop> {
    let pushback = match ended {
        Ended::Refused => return Err(Stop::Refused),
        Ended::Answered(answer) if answer.is_refusal => return Err(Stop::Refused),
        Ended::Answered(answer) => answer.pushback,
        _ => None,
    };
    if !is_asked(&policy.on, ended) {
        return Err(Stop::NotAsked);
    }
    if policy.retries_max <= progress.retries {
        return Err(Stop::Exhausted);
    }
    if !progress.is_replayable {
        return Err(Stop::NotReplayable);
    }
    let after = match pushback {
        Some(Pushback::Never) => return Err(Stop::Pushback),
        Some(Pushback::After(wait)) => wait,
        None => {
            let max = policy.backoff_base.saturating_mul(BACKOFF_MAX_FACTOR);
            full_jitter(policy.backoff_base, max, progress.retries, random)
        }
    };
    match progress.left {
        Some(left) if left <= after => Err(Stop::NoTime),
        _ => Ok(after),
    }
}

/// Whether the policy names what happened, as Envoy reads its words: whoever retries 5xx or gateway
/// errors also retries where there is no answer at all.
fn is_asked(on: &RetryOn, ended: Ended) -> bool {
    use RetryCondition as On;
    let has_any = |conditions: &[On]| conditions.iter().any(|&condition| on.has(condition));
    let no_answer = &[On::Reset, On::ServerError, On::GatewayError];
    match ended {
        Ended::Refused => false,
        Ended::Answered(Answer { status, grpc_status, .. }) => {
            on.has_status(status) || grpc_status.is_some_and(|status| on.has_grpc_status(status))
        }
        Ended::NoConnection => {
            has_any(no_answer) || has_any(&[On::ConnectFailure, On::ResetBeforeRequest])
        }
        Ended::RefusedStream => has_any(no_answer) || on.has(On::RefusedStream),
        Ended::Reset { was_sent } => {
            has_any(no_answer) || (!was_sent && on.has(On::ResetBeforeRequest))
        }
        Ended::TimedOut => has_any(no_answer),
    }
}

/// The endpoints that a request has tried.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<EndpointId>);

impl Tried {
    /// One more.
    pub fn add(&mut self, endpoint: EndpointId) {
        if self.0.len() == TRIED_MAX {
            self.0.remove(0);
        }
        self.0.push(endpoint);
    }

    /// All of them, for [`Balance::pick`](crate::balance::Balance::pick).
    pub fn as_slice(&self) -> &[EndpointId] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
