//! First attempt, retry, or hedge?

use std::fmt;

/// How the attempt ended that a retry repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// With this status, ours (503) if it was refused.
    Status(u16),
    /// The caller gave up.
    Timeout,
    /// The caller says that it is a retry, and its earlier attempt is not known here.
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

/// A classified attempt that was forwarded.
#[derive(Debug)]
pub struct Attempt {
    pub(crate) resend_count: u16,
}

impl Attempt {
    /// Attempts of the same request that went out before.
    pub const fn resend_count(&self) -> u16 {
        self.resend_count
    }
}
