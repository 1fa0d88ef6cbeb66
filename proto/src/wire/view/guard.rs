//! Guard mode.

use super::{LISTED_MAX, maybe_line, maybe_stamp};
use crate::Invalid;
use crate::view::{Guard, GuardMode, IncidentGuard};
use crate::wire::{line, v1};

impl From<GuardMode> for v1::GuardMode {
    fn from(value: GuardMode) -> Self {
        match value {
            GuardMode::Off => Self::Off,
            GuardMode::Suggest => Self::Suggest,
            GuardMode::Act => Self::Act,
        }
    }
}

impl From<Guard> for v1::Guard {
    fn from(value: Guard) -> Self {
        Self {
            mode: v1::GuardMode::from(value.mode).into(),
            actions: value.actions,
            leases: value.leases,
            refused: value.refused.into_iter().collect(),
        }
    }
}

impl TryFrom<v1::Guard> for Guard {
    type Error = Invalid;

    fn try_from(wire: v1::Guard) -> Result<Self, Invalid> {
        if LISTED_MAX < wire.refused.len() {
            let reason = format!("has {} entries; at most {LISTED_MAX}", wire.refused.len());
            return Err(Invalid::new("refused", reason));
        }
        let mode = match v1::GuardMode::try_from(wire.mode) {
            Ok(v1::GuardMode::Off) => GuardMode::Off,
            Ok(v1::GuardMode::Suggest) => GuardMode::Suggest,
            Ok(v1::GuardMode::Act) => GuardMode::Act,
            Ok(v1::GuardMode::Unspecified) | Err(_) => {
                let reason = format!("is {}, which is no mode", wire.mode);
                return Err(Invalid::new("mode", reason));
            }
        };
        let refused = wire.refused.into_iter().map(|(reason, count)| (line(&reason), count));
        let (actions, leases) = (wire.actions, wire.leases);
        Ok(Self { mode, actions, leases, refused: refused.collect() })
    }
}

impl From<IncidentGuard> for v1::IncidentGuard {
    fn from(value: IncidentGuard) -> Self {
        Self {
            actions: value.actions,
            acted_at_unix_ms: value.acted_at.map(|at| at.0),
            refused: value.refused,
        }
    }
}

impl TryFrom<v1::IncidentGuard> for IncidentGuard {
    type Error = Invalid;

    fn try_from(wire: v1::IncidentGuard) -> Result<Self, Invalid> {
        Ok(Self {
            actions: wire.actions,
            acted_at: maybe_stamp(wire.acted_at_unix_ms, "acted_at_unix_ms")?,
            refused: maybe_line(wire.refused.as_ref()),
        })
    }
}
