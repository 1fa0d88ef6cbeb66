//! The words of a detector.

use crate::store::{Served, Tally, Track};

/// Where an edge stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing wrong.
    #[default]
    Normal,
    /// More retries than usual, no storm.
    Retrying,
    /// Retries multiply the load on a failing callee.
    Storm,
    /// The storm keeps itself alive: its trigger is gone, or no longer needed.
    Sustained,
    /// Attempts are few again; the callee is not well yet, or our lease still refuses.
    Draining,
}

impl Phase {
    /// Whether a storm is not over.
    pub(crate) const fn is_storm(self) -> bool {
        matches!(self, Self::Storm | Self::Sustained | Self::Draining)
    }

    /// As in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Retrying => "retrying",
            Self::Storm => "storm",
            Self::Sustained => "sustained",
            Self::Draining => "draining",
        }
    }
}

/// How retries were told from first attempts, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// By a proxy, attempt by attempt.
    #[default]
    Recognised,
    /// By the structure of spans.
    Structural,
    /// By arithmetic: more attempts per request than usual, while they fail.
    ByRatio,
}

impl Grade {
    /// What a conclusion from it is worth at most.
    pub(super) const fn weight(self) -> f64 {
        match self {
            Self::Recognised => 1.0,
            Self::Structural => 0.9,
            Self::ByRatio => 0.6,
        }
    }
}

/// What a detector is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    /// The edge.
    pub(crate) track: &'a Track<Tally>,
    /// Who calls, as its own requests go.
    pub(crate) caller: Option<&'a Track<Served>>,
    /// Who is called, seen from itself.
    pub(crate) callee: Option<&'a Track<Served>>,
    /// The second of the collector's clock.
    pub(crate) now_second: u64,
    /// The newest complete second.
    pub(crate) front: u64,
    /// Whether the source's proxies are heard, so that no attempts means no attempts.
    pub(crate) is_heard: bool,
    /// Whether a lease of ours is in force on the edge.
    pub(crate) is_refused: bool,
    /// How many edges are watched.
    pub(crate) edges: usize,
}

/// What was usual before the onset, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usual {
    /// First attempts.
    pub(crate) first: f64,
    /// Attempts.
    pub(crate) attempts: f64,
    /// Share of failed attempts, 0 … 1.
    pub(crate) failed: f64,
}
