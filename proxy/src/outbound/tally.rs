//! What a policy did in place of a server, counted apart from everything that servers do.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Something that a policy did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A request waited, because a fault says so.
    FaultDelay,
    /// A fault answered.
    FaultAbort,
    /// Answered 3xx.
    Redirect,
    /// Answered by the rule itself.
    DirectResponse,
    /// No rule matches: answered 404.
    NoRoute,
    /// The destination is no host of this proxy, answered 503; or it serves no such host, 404.
    UnknownHost,
    /// The subset has no endpoints: answered 503.
    EmptySubset,
    /// A rewrite gave no path: answered 500.
    Unwritable,
    /// A route's timeout is over.
    Timeout,
    /// A retry of ours went out.
    Retried,
    /// The budget allowed no retry.
    RetryBudget,
    /// A copy went to a mirror.
    Mirrored,
    /// A body was too long for a copy, or streams.
    MirrorTooLong,
    /// Too many copies are under way, or the mirror cannot be reached.
    MirrorDropped,
}

impl What {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::FaultDelay,
        Self::FaultAbort,
        Self::Redirect,
        Self::DirectResponse,
        Self::NoRoute,
        Self::UnknownHost,
        Self::EmptySubset,
        Self::Unwritable,
        Self::Timeout,
        Self::Retried,
        Self::RetryBudget,
        Self::Mirrored,
        Self::MirrorTooLong,
        Self::MirrorDropped,
    ];

    /// As in metrics and in `x-fusebox-policy`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::FaultDelay => "fault-delay",
            Self::FaultAbort => "fault-abort",
            Self::Redirect => "redirect",
            Self::DirectResponse => "direct-response",
            Self::NoRoute => "no-route",
            Self::UnknownHost => "unknown-host",
            Self::EmptySubset => "empty-subset",
            Self::Unwritable => "unwritable-path",
            Self::Timeout => "timeout",
            Self::Retried => "retried",
            Self::RetryBudget => "retry-budget",
            Self::Mirrored => "mirrored",
            Self::MirrorTooLong => "mirror-too-long",
            Self::MirrorDropped => "mirror-dropped",
        }
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; What::ALL.len()]);

impl Tally {
    /// Counts one.
    pub(crate) fn count(&self, what: What) {
        self.0[what as usize].fetch_add(1, Relaxed);
    }

    /// All counters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (What, u64)> {
        What::ALL.into_iter().map(|what| (what, self.0[what as usize].load(Relaxed)))
    }
}
