//! Incidents, with all that speaks for and against them.

use super::{maybe_line, maybe_stamp, stamp};
use crate::Invalid;
use crate::policy::WEIGHTS_MAX;
use crate::view::{
    DataQuality, Evidence, Incident, IncidentState, Layer, Remedy, Shift, SuggestedAction, Suspect,
};
use crate::wire::command::action_kind;
use crate::wire::{all, each, finite, line, lines, maybe_finite, required, v1};

/// Nobody reads a longer list about one incident.
const FACTS_MAX: usize = 1_024;
/// No series is longer: a value a second of the last minute.
const SERIES_MAX: usize = 60;

impl From<Incident> for v1::Incident {
    fn from(value: Incident) -> Self {
        Self {
            id: value.id,
            kind: value.kind,
            resolved: value.state == IncidentState::Resolved,
            phase: value.phase,
            opened_at_unix_ms: value.opened_at.0,
            resolved_at_unix_ms: value.resolved_at.map(|at| at.0),
            summary: value.summary,
            confidence: value.confidence,
            originator: value.originator,
            victim: value.victim,
            edge: value.edge.map(Into::into),
            amplification: value.amplification,
            layers: all(value.layers),
            evidence: all(value.evidence),
            counter_evidence: value.counter_evidence,
            suspects: all(value.suspects),
            action: value.action.map(Into::into),
            alternatives: all(value.alternatives),
            data_quality: Some(value.data_quality.into()),
            subset: value.subset,
            guard: value.guard.map(Into::into),
        }
    }
}

impl TryFrom<v1::Incident> for Incident {
    type Error = Invalid;

    fn try_from(wire: v1::Incident) -> Result<Self, Invalid> {
        Ok(Self {
            id: line(&wire.id),
            kind: line(&wire.kind),
            state: if wire.resolved { IncidentState::Resolved } else { IncidentState::Open },
            phase: line(&wire.phase),
            opened_at: stamp(wire.opened_at_unix_ms, "opened_at_unix_ms")?,
            resolved_at: maybe_stamp(wire.resolved_at_unix_ms, "resolved_at_unix_ms")?,
            summary: line(&wire.summary),
            confidence: finite(wire.confidence, "confidence")?,
            originator: maybe_line(wire.originator.as_ref()),
            victim: maybe_line(wire.victim.as_ref()),
            subset: maybe_line(wire.subset.as_ref()),
            edge: wire
                .edge
                .map(TryInto::try_into)
                .transpose()
                .map_err(|invalid: Invalid| invalid.within("edge"))?,
            amplification: maybe_finite(wire.amplification, "amplification")?,
            layers: each(wire.layers, "layers", FACTS_MAX)?,
            evidence: each(wire.evidence, "evidence", FACTS_MAX)?,
            counter_evidence: lines(&wire.counter_evidence, "counter_evidence", FACTS_MAX)?,
            suspects: each(wire.suspects, "suspects", FACTS_MAX)?,
            action: wire
                .action
                .map(TryInto::try_into)
                .transpose()
                .map_err(|invalid: Invalid| invalid.within("action"))?,
            alternatives: each(wire.alternatives, "alternatives", FACTS_MAX)?,
            data_quality: required(wire.data_quality, "data_quality")?
                .try_into()
                .map_err(|invalid: Invalid| invalid.within("data_quality"))?,
            guard: wire
                .guard
                .map(TryInto::try_into)
                .transpose()
                .map_err(|invalid: Invalid| invalid.within("guard"))?,
        })
    }
}

impl From<Layer> for v1::Layer {
    fn from(value: Layer) -> Self {
        Self { source: value.source, destination: value.destination, factor: value.factor }
    }
}

impl TryFrom<v1::Layer> for Layer {
    type Error = Invalid;

    fn try_from(wire: v1::Layer) -> Result<Self, Invalid> {
        Ok(Self {
            source: line(&wire.source),
            destination: line(&wire.destination),
            factor: finite(wire.factor, "factor")?,
        })
    }
}

impl From<Evidence> for v1::Evidence {
    fn from(value: Evidence) -> Self {
        Self {
            signal: value.signal,
            baseline: value.baseline,
            current: value.current,
            unit: value.unit,
            series: value.series,
        }
    }
}

impl TryFrom<v1::Evidence> for Evidence {
    type Error = Invalid;

    fn try_from(wire: v1::Evidence) -> Result<Self, Invalid> {
        Ok(Self {
            signal: line(&wire.signal),
            baseline: maybe_finite(wire.baseline, "baseline")?,
            current: maybe_finite(wire.current, "current")?,
            unit: line(&wire.unit),
            series: series(&wire.series)?,
        })
    }
}

impl From<Suspect> for v1::Suspect {
    fn from(value: Suspect) -> Self {
        Self {
            service: value.service,
            score: value.score,
            confidence: value.confidence,
            reason: value.reason,
        }
    }
}

impl TryFrom<v1::Suspect> for Suspect {
    type Error = Invalid;

    fn try_from(wire: v1::Suspect) -> Result<Self, Invalid> {
        Ok(Self {
            service: line(&wire.service),
            score: finite(wire.score, "score")?,
            confidence: finite(wire.confidence, "confidence")?,
            reason: line(&wire.reason),
        })
    }
}

impl From<SuggestedAction> for v1::SuggestedAction {
    fn from(value: SuggestedAction) -> Self {
        let (action, shift) = match value.action {
            Remedy::Trip(kind) => (kind.into(), None),
            Remedy::Shift(shift) => (v1::ActionKind::Unspecified, Some(shift.into())),
        };
        Self {
            action: action.into(),
            shift,
            source: value.source,
            destination: value.destination,
            ttl_s: value.ttl_s,
            tier: value.tier.into(),
            predicted: value.predicted,
        }
    }
}

impl TryFrom<v1::SuggestedAction> for SuggestedAction {
    type Error = Invalid;

    fn try_from(wire: v1::SuggestedAction) -> Result<Self, Invalid> {
        let action = match wire.shift {
            Some(shift) => {
                Remedy::Shift(shift.try_into().map_err(|invalid: Invalid| invalid.within("shift"))?)
            }
            None => Remedy::Trip(action_kind(wire.action, "action")?),
        };
        Ok(Self {
            action,
            source: line(&wire.source),
            destination: line(&wire.destination),
            ttl_s: wire.ttl_s,
            tier: tier(wire.tier)?,
            predicted: line(&wire.predicted),
        })
    }
}

impl From<Shift> for v1::Shift {
    fn from(value: Shift) -> Self {
        let weight = |(subset, weight)| v1::SubsetWeight { subset, weight };
        Self { host: value.host, weights: value.weights.into_iter().map(weight).collect() }
    }
}

impl TryFrom<v1::Shift> for Shift {
    type Error = Invalid;

    fn try_from(wire: v1::Shift) -> Result<Self, Invalid> {
        let len = wire.weights.len();
        if WEIGHTS_MAX < len {
            return Err(Invalid::new(
                "weights",
                format!("has {len} entries; at most {WEIGHTS_MAX}"),
            ));
        }
        let weights = wire.weights.into_iter().map(|one| (line(&one.subset), one.weight));
        Ok(Self { host: line(&wire.host), weights: weights.collect() })
    }
}

impl From<DataQuality> for v1::DataQuality {
    fn from(value: DataQuality) -> Self {
        Self {
            source: value.source,
            coverage: value.coverage,
            sampling: value.sampling,
            recognised: value.recognised,
            late_ratio: value.late_ratio,
            stale_proxies: value.stale_proxies,
            note: value.note,
        }
    }
}

impl TryFrom<v1::DataQuality> for DataQuality {
    type Error = Invalid;

    fn try_from(wire: v1::DataQuality) -> Result<Self, Invalid> {
        Ok(Self {
            source: line(&wire.source),
            coverage: maybe_finite(wire.coverage, "coverage")?,
            sampling: maybe_finite(wire.sampling, "sampling")?,
            recognised: maybe_finite(wire.recognised, "recognised")?,
            late_ratio: maybe_finite(wire.late_ratio, "late_ratio")?,
            stale_proxies: wire.stale_proxies,
            note: line(&wire.note),
        })
    }
}

fn series(wire: &[f64]) -> Result<Vec<f64>, Invalid> {
    if SERIES_MAX < wire.len() {
        let reason = format!("has {} values; at most {SERIES_MAX}", wire.len());
        return Err(Invalid::new("series", reason));
    }
    wire.iter().map(|&value| finite(value, "series")).collect()
}

fn tier(wire: u32) -> Result<u8, Invalid> {
    match wire {
        0 => Ok(0),
        1 => Ok(1),
        2 => Ok(2),
        _ => Err(Invalid::new("tier", format!("is {wire}; 0 … 2 is allowed"))),
    }
}
