//! Guard mode: what a collector does about an incident by itself.

use super::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a collector does about an incident by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// Nothing: it does not even suggest.
    Off,
    /// It says what would help.
    #[default]
    Suggest,
    /// It does what it suggests, within limits.
    Act,
}

impl GuardMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Suggest, Self::Act];

    /// `off`, `suggest`, `act`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Suggest => "suggest",
            Self::Act => "act",
        }
    }

    /// The mode of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

impl fmt::Display for GuardMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Guard mode, and what came of it since the collector started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// What it may do.
    pub mode: GuardMode,
    /// Leases that it took.
    pub actions: u64,
    /// Those that are in force.
    pub leases: u64,
    /// What it did not do, by reason; only what is not zero. Of one incident a reason counts at most
    /// once a minute.
    pub refused: BTreeMap<String, u64>,
}

/// What guard mode did about an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentGuard {
    /// Leases that it took.
    pub actions: u64,
    /// When it took the last one.
    pub acted_at: Option<Stamp>,
    /// Why it does not take one now; `None` where it does, or has nothing to decide.
    pub refused: Option<String>,
}
