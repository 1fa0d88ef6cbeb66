//! First attempt, retry, or hedge? The application does not say; the sidecar recognises it.
//!
//! What one process sends to one callee passes here in the order in which it was sent, on one
//! clock. Two attempts that could be the same request share a key, and what happened to the earlier
//! one tells what the later one is:
//!
//! | the earlier attempt | the later one is |
//! |---|---|
//! | failed, was refused here, or its caller gave up; nobody repeated it yet | a **retry** |
//! | is still in flight | a **hedge** |
//! | succeeded (also 3xx and 401), or ended 10 s ago | **first** again: fan-out, polling |
//!
//! There are two keys, of two grades. The *narrow* one holds the caller's span (or an idempotency
//! key): urllib3 and gRPC libraries repeat a request under one span, so a retry is *certain*. The
//! *wide* one holds only the trace: tenacity, axios-retry and got make a new span for each
//! repetition, so a retry is *probable*. A long trace that asks for the same things again and again
//! (a batch, a poller) would be full of probable retries, so a trace that is older than 60 s or has
//! more than 64 keys on this edge counts only as certain. `grpc-previous-rpc-attempts` is believed;
//! `x-envoy-attempt-count` is not: applications copy it, clients forge it.
//!
//! Each failure invites *one* retry. Ten parallel calls of one request that all fail make ten
//! retries when repeated, not an ever open door; a success withdraws all invitations. A refusal
//! invites too, but never renews a key: 10 s after the last attempt that was forwarded the next one
//! is first, so that no loop is refused for ever.
//!
//! Where several layers repeat, a lower one gets the same order again, in the same trace. What it
//! sends then is *first* again: the trace came in anew at this proxy after the last attempt ended
//! ([`Arrivals`]). Only probable retries are told apart so: a span is of one order anyway.
//!
//! It costs two hashes and two looks into tables that do not allocate once they have grown: no
//! strings are kept. A request that succeeds is forgotten at once, so the tables
//! hold what is in flight and what failed in the last 10 s.

mod arrivals;
mod head;
mod request;
mod table;

pub use arrivals::{ARRIVALS_MAX, Arrivals};
pub use head::{BODY_PREFIX_LEN_MAX, BodyDigest, RequestHead};

use head::{Hash, Keys};
use request::Request;
use std::fmt;
use std::time::{Duration, Instant};
use table::{Key, Record, Table};

/// Requests that an edge remembers, two keys each. A storm of 400 requests a second that all fail
/// fits; what is forgotten is first, and counted.
pub const REQUEST_KEYS_MAX: usize = 16 * 1024;
/// Traces that an edge remembers. A trace that this many others pushed out begins anew.
pub const TRACES_MAX: usize = 4 * 1024;
/// So long after the last forwarded attempt the next is first again.
pub const REQUEST_AGE_MAX: Duration = Duration::from_secs(10);
/// Older traces count only as certain.
pub const TRACE_AGE_MAX: Duration = Duration::from_mins(1);
/// Traces with more keys than this on an edge count only as certain.
pub const TRACE_KEYS_MAX: u16 = 64;
/// A caller that gives up and repeats does both at once, on two connections: a repetition may be
/// seen this much before the end of the attempt that it repeats.
pub const OVERTAKING_MAX: Duration = Duration::from_millis(2);

/// Recognises the repetitions on one edge.
#[derive(Debug)]
pub struct Classifier {
    hash: Hash,
    /// Where ticks begin.
    start: Instant,
    requests: Table<Request>,
    traces: Table<Trace>,
}

/// How sure a retry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// The same idempotency key, the same caller's span, or its own word.
    Certain,
    /// The same trace.
    Probable,
}

/// What an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No repetition.
    First,
    /// Nothing to tell repetitions by.
    Unclassified,
    /// A repetition.
    Retry {
        /// How sure that is.
        grade: Grade,
        /// How the attempt ended that it repeats.
        original: Original,
        /// Whether that was refused here.
        of_refused: bool,
    },
    /// It overlaps an attempt of the same request.
    Hedge,
}

impl Class {
    /// As in metrics and in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Unclassified => "unclassified",
            Self::Retry { grade: Grade::Certain, .. } => "retry_certain",
            Self::Retry { grade: Grade::Probable, .. } => "retry_probable",
            Self::Hedge => "hedge",
        }
    }
}

/// How the attempt ended that a retry repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Original {
    /// With this status, ours (503) if it was refused.
    Status(u16),
    /// The caller gave up.
    Timeout,
    /// The caller says that it is a retry, and its earlier attempt is not known here.
    #[default]
    Unknown,
}

/// As in `x-fusebox-refused`: `original=503`, `original=timeout`, `original=unknown`.
impl fmt::Display for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Timeout => f.write_str("timeout"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A classified attempt. Goes to exactly one of [`Classifier::refused`] and
/// [`Classifier::forwarded`], and after the latter to [`Classifier::ended`] or
/// [`Classifier::withdrawn`].
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    class: Class,
    keys: Keys,
    /// Attempts of the same request that went out before.
    resend_count: u16,
    at_us: u64,
    /// When the request was last forwarded before this attempt.
    renewed_us: u64,
    waited_us: Option<u64>,
}

impl Attempt {
    /// What it is.
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Attempts of the same request that went out before.
    pub const fn resend_count(&self) -> u16 {
        self.resend_count
    }

    /// From the end of the attempt that it repeats, µs; `None` where it repeats none that was forwarded,
    /// or others are under way beside it.
    pub const fn waited_us(&self) -> Option<u64> {
        self.waited_us
    }
}

/// How a forwarded attempt ended, to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer that nobody repeats a request for.
    Answered,
    /// With an answer that invites a retry.
    Failed {
        /// The answer.
        status: u16,
    },
    /// The caller did not wait for it.
    GivenUp,
}

/// What the end of an attempt says about attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insight {
    /// The attempt was given up because another one of its request succeeded.
    pub is_hedge_loser: bool,
    /// So many attempts that were given up before were hedge losers: this is their winner.
    pub hedge_losers_before: u16,
    /// The attempt that was taken for a hedge of this one was its retry.
    pub hedge_was_retry: Option<Grade>,
}

/// What is remembered of a trace.
#[derive(Clone, Copy, Debug, Default)]
struct Trace {
    first_us: u64,
    last_us: u64,
    keys: u16,
}

impl Record for Trace {
    /// A trace that sleeps for as long as it may be old is a new one.
    fn is_live(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.last_us) < TRACE_AGE_MAX.as_micros() as u64
    }

    fn touched_us(&self) -> u64 {
        self.last_us
    }
}

impl Classifier {
    /// A classifier that knows nothing yet. `seed` is secret, so that nobody can aim at a key.
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            hash: Hash::new(seed),
            start: now,
            requests: Table::new(REQUEST_KEYS_MAX),
            traces: Table::new(TRACES_MAX),
        }
    }

    /// Says what an attempt is.
    pub fn classify(&mut self, now: Instant, head: &RequestHead<'_>) -> Attempt {
        let now_us = self.ticks(now);
        let mut keys = self.hash.request(head);
        if let (Some(wide), Some(context)) = (keys.wide, head.trace)
            && !self.is_plain(now_us, self.hash.trace(&context), wide)
        {
            keys.wide = None;
        }
        let known = |key: Option<Key>| {
            key.and_then(|key| self.requests.get(key, now_us)).filter(|r| r.is_fresh(now_us))
        };
        let says_so = 0 < head.grpc_previous_attempts;
        let (narrow, wide) = (known(keys.narrow), known(keys.wide));
        let wide = wide.filter(|request| says_so || !self.is_asked_anew(now, request, head));
        let grade = if says_so { Grade::Certain } else { Grade::Probable };
        let judged = |request: Option<&'_ Request>, grade| {
            request.and_then(|it| Some((it.judge(grade)?, it.idle_us(now_us))))
        };
        let judged = judged(narrow, Grade::Certain).or_else(|| judged(wide, grade));
        let waited_us = judged.and_then(|(class, idle_us)| match class {
            Class::Retry { of_refused: false, .. } => idle_us,
            _ => None,
        });
        let class = judged.map_or(
            match keys.narrow {
                _ if says_so => {
                    Class::Retry { grade, original: Original::Unknown, of_refused: false }
                }
                None => Class::Unclassified,
                Some(_) => Class::First,
            },
            |(class, _)| class,
        );
        let earlier = wide.or(narrow);
        let counted = u16::try_from(head.grpc_previous_attempts).unwrap_or(u16::MAX);
        Attempt {
            class,
            keys,
            resend_count: earlier.map_or(0, Request::attempts).max(counted),
            at_us: now_us,
            renewed_us: earlier.map_or(now_us, Request::touched_us),
            waited_us,
        }
    }

    /// Learns that an attempt is on its way.
    pub fn forwarded(&mut self, attempt: &Attempt) {
        for key in attempt.keys.both() {
            self.requests.get_or_insert(key, attempt.at_us).forwarded(attempt.at_us, attempt.class);
        }
    }

    /// Learns that an attempt was refused with `status`. The refusal of a retry changes nothing:
    /// the attempt that it repeats is still not repeated.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt has one fate")]
    pub fn refused(&mut self, attempt: Attempt, status: u16) {
        if !matches!(attempt.class, Class::Retry { .. }) {
            for key in attempt.keys.both() {
                let request = self.requests.get_or_insert(key, attempt.at_us);
                request.refused(attempt.at_us, attempt.class, status);
            }
        }
    }

    /// Learns that an attempt was not sent after all, but refused with `status`.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt has one fate")]
    pub fn withdrawn(&mut self, now: Instant, attempt: Attempt, status: u16) {
        let now_us = self.ticks(now);
        for key in attempt.keys.both() {
            if let Some(request) = self.requests.get_mut(key, now_us) {
                request.withdrawn(attempt.renewed_us, attempt.class, status);
            }
        }
    }

    /// Learns how a forwarded attempt ended.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt has one fate")]
    pub fn ended(&mut self, now: Instant, attempt: Attempt, end: End) -> Insight {
        let now_us = self.ticks(now);
        let mut insight = Insight::default();
        let grades = [(attempt.keys.narrow, Grade::Certain), (attempt.keys.wide, Grade::Probable)];
        for (key, grade) in grades {
            // What was forgotten meanwhile stays forgotten.
            let Some(key) = key else { continue };
            let Some(request) = self.requests.get_mut(key, now_us) else { continue };
            let seen = request.ended(now_us, attempt.at_us, end);
            insight.is_hedge_loser |= seen.is_hedge_loser;
            insight.hedge_losers_before = insight.hedge_losers_before.max(seen.hedge_losers_before);
            if seen.hedge_was_retry {
                insight.hedge_was_retry = insight.hedge_was_retry.or(Some(grade));
            }
            if request.is_settled() {
                self.requests.remove(key);
            }
        }
        insight
    }

    /// Requests that were forgotten before their time.
    pub const fn forgotten(&self) -> u64 {
        self.requests.evicted()
    }

    /// Whether a request is asked for anew by a caller of the own application. Looked up only for
    /// what would else be a repetition.
    fn is_asked_anew(&self, now: Instant, request: &Request, head: &RequestHead<'_>) -> bool {
        let arrived = (head.arrivals.zip(head.trace.as_ref()))
            .and_then(|(arrivals, trace)| arrivals.last(now, trace));
        arrived.is_some_and(|at| request.is_asked_anew(self.ticks(at)))
    }

    /// Whether a trace is short and small enough to tell repetitions by. Counts its keys.
    fn is_plain(&mut self, now_us: u64, trace: Key, request: Key) -> bool {
        let is_new = self.requests.get(request, now_us).is_none();
        let trace = self.traces.get_or_insert(trace, now_us);
        if trace.last_us == 0 {
            trace.first_us = now_us;
        }
        trace.last_us = now_us;
        trace.keys = trace.keys.saturating_add(u16::from(is_new));
        let age_us = now_us.saturating_sub(trace.first_us);
        trace.keys <= TRACE_KEYS_MAX && age_us <= TRACE_AGE_MAX.as_micros() as u64
    }

    /// Microseconds since the classifier began, never 0.
    fn ticks(&self, now: Instant) -> u64 {
        let ticks = now.saturating_duration_since(self.start).as_micros();
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
