//! The lines of a run: what happened, in the words of the contract.
//!
//! Serialised, each is one JSON object with `t_ms` (since the load began) and `event`; displayed,
//! one line for people.

use crate::scenario::Expect;
use fusebox_proto::view::{Layer, Stamp};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Milliseconds since the load began.
    pub t_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Line {
    /// What happened `at` a time of the run.
    pub fn new(at: Duration, event: Event) -> Self {
        Self { t_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX), event }
    }
}

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Everything is up and the load begins. Carries the truth, which the collector never sees.
    Started(Started),
    /// A fault begins.
    FaultInjected {
        /// In words.
        fault: String,
    },
    /// The first call that fails because of the fault.
    FirstFailure {
        /// Who called.
        source: String,
        /// Who was called.
        destination: String,
        /// What the caller saw.
        outcome: String,
    },
    /// The collector opened an incident.
    IncidentOpened {
        /// The collector's id.
        id: String,
        /// `retry_storm`, …
        kind: String,
        /// Who causes it.
        originator: Option<String>,
        /// Who suffers.
        victim: Option<String>,
        /// When it fired.
        opened_at: Stamp,
        /// The collector's sentence.
        summary: String,
    },
    /// The suggested action goes to the collector.
    ActionSent {
        /// What.
        action: String,
        /// On which edge: caller.
        source: String,
        /// Callee.
        destination: String,
        /// Length of the lease.
        ttl_s: u64,
    },
    /// The collector answered it.
    ActionApplied {
        /// Proxies in which it is in force.
        applied: u64,
        /// Proxies in which it should be.
        proxies: u64,
        /// Why it is not in force everywhere; empty where it is.
        note: String,
    },
    /// The first refusal that a caller sees.
    FirstRefusal {
        /// Who called.
        source: String,
        /// Who was called.
        destination: String,
        /// `x-fusebox-refused` of the answer.
        refusal: String,
    },
    /// A fault that does not stay is over.
    FaultEnded {
        /// In words.
        fault: String,
    },
    /// Goodput is back, for five seconds.
    Recovered {
        /// When those five seconds began, since the load began.
        since_ms: u64,
    },
    /// The collector closed an incident.
    IncidentResolved {
        /// The collector's id.
        id: String,
        /// `retry_storm`, …
        kind: String,
    },
    /// The run is over.
    Summary(Summary),
}

/// Where everything is, and what is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Started {
    /// Control address of the collector.
    pub collector: String,
    /// The collector's HTTP.
    pub http: String,
    /// The collector's OTLP over gRPC.
    pub otlp_grpc: String,
    /// The collector's OTLP over HTTP.
    pub otlp_http: String,
    /// Which run.
    pub seed: u64,
    /// Name of the scenario.
    pub scenario: String,
    /// How many services there are.
    pub services: usize,
    /// How many instances, each with a proxy.
    pub proxies: usize,
    /// The incident that is true; `null` where everything must stay quiet.
    pub expect: Option<Expect>,
}

/// What came of a run. Times are milliseconds, `None` (`null`) what did not happen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// Which run.
    pub seed: u64,
    /// From the first call that fails because of the fault to the opening of the incident.
    pub detect_ms: Option<f64>,
    /// Kind of the incident: the expected one if it was opened, else the first.
    pub incident: Option<String>,
    /// Its originator.
    pub originator: Option<String>,
    /// Its victim.
    pub victim: Option<String>,
    /// From sending the action to the answer that all proxies have acknowledged it.
    pub act_ms: Option<f64>,
    /// From sending the action to the first refusal that a caller sees.
    pub first_refusal_ms: Option<f64>,
    /// From sending the action to the start of the first five seconds with at least 95 % of
    /// `goodput_before`.
    pub recovered_ms: Option<f64>,
    /// Successful entry requests per second in the ten seconds before the fault.
    pub goodput_before: Option<f64>,
    /// From the fault to the action; without an action to the last ten seconds.
    pub goodput_during: Option<f64>,
    /// In the last ten seconds.
    pub goodput_after: Option<f64>,
    /// Incidents that the scenario's truth does not expect.
    pub false_incidents: u64,
    /// Attempts per request as the incident says it at the end.
    pub amplification: Option<f64>,
    /// And as the callers counted it in the last ten seconds of the storm: before the action, before
    /// the end of the fault where it ended with that, else before the end.
    pub amplification_true: Option<f64>,
    /// Attempts per request of each layer, uppermost first, as the incident says it.
    pub layers: Vec<Layer>,
    /// And as the callers counted it, in the same time.
    pub layers_true: Vec<Layer>,
    /// The subset of the originator that the incident names.
    pub subset: Option<String>,
    /// Entry requests that failed and began while there was no collector; `None` where there always
    /// was one.
    pub failed_without_collector: Option<u64>,
    /// From the death of the collector to the last refusal that a caller saw without one: leases end
    /// by themselves.
    pub refused_without_collector_ms: Option<f64>,
    /// From the start of the new collector until all proxies were connected to it.
    pub reconnected_ms: Option<f64>,
}

/// One line for people: time, then what happened.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} s  {}", self.t_ms as f64 / 1_000.0, self.event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(started) => write!(f, "{started}"),
            Self::FaultInjected { fault } => write!(f, "fault: {fault}"),
            Self::FirstFailure { source, destination, outcome } => {
                write!(f, "first failure: {source} → {destination} {outcome}")
            }
            Self::IncidentOpened { id, summary, .. } => {
                write!(f, "incident {id} opened: {summary}")
            }
            Self::ActionSent { action, source, destination, ttl_s } => {
                write!(f, "action sent: {action} {source} → {destination} for {ttl_s} s")
            }
            Self::ActionApplied { applied, proxies, note } if note.is_empty() => {
                write!(f, "action in force on {applied} of {proxies} proxies")
            }
            Self::ActionApplied { applied, proxies, note } => {
                write!(f, "action in force on {applied} of {proxies} proxies: {note}")
            }
            Self::FirstRefusal { source, destination, refusal } => {
                write!(f, "first refusal: {source} → {destination} {refusal}")
            }
            Self::FaultEnded { fault } => write!(f, "fault over: {fault}"),
            Self::Recovered { since_ms } => {
                write!(f, "goodput is back since {:.1} s", *since_ms as f64 / 1_000.0)
            }
            Self::IncidentResolved { id, kind } => write!(f, "incident {id} ({kind}) resolved"),
            Self::Summary(summary) => write!(f, "{summary}"),
        }
    }
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, services, proxies, collector, http, .. } = self;
        write!(f, "{scenario}, seed {seed}: {services} services behind {proxies} proxies; ")?;
        write!(f, "collector {collector}, {http}; expected: ")?;
        match &self.expect {
            Some(expect) => {
                write!(f, "{} {} → {}", expect.kind, expect.originator, expect.victim)
            }
            None => write!(f, "nothing"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let figure = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}{unit}"))
        };
        writeln!(f, "{}, seed {}", self.scenario, self.seed)?;
        let incident = text(&self.incident);
        let (originator, victim) = (text(&self.originator), text(&self.victim));
        writeln!(f, "  incident       {incident} {originator} → {victim}")?;
        writeln!(f, "  detected       {}", figure(self.detect_ms, " ms after the first failure"))?;
        writeln!(f, "  acknowledged   {}", figure(self.act_ms, " ms after the action"))?;
        writeln!(f, "  first refusal  {}", figure(self.first_refusal_ms, " ms after the action"))?;
        writeln!(f, "  recovered      {}", figure(self.recovered_ms, " ms after the action"))?;
        let [before, during, after] =
            [self.goodput_before, self.goodput_during, self.goodput_after].map(|v| figure(v, "/s"));
        writeln!(f, "  goodput        before {before}, during {during}, after {after}")?;
        let [said, counted] = [self.amplification, self.amplification_true].map(|v| figure(v, "×"));
        writeln!(f, "  amplification  {said}, counted by the callers {counted}")?;
        if 1 < self.layers_true.len() {
            writeln!(f, "  layers         {}", layers(&self.layers))?;
            writeln!(f, "  counted        {}", layers(&self.layers_true))?;
        }
        if let Some(subset) = &self.subset {
            writeln!(f, "  subset         {subset}")?;
        }
        if let Some(failed) = self.failed_without_collector {
            let refused = figure(self.refused_without_collector_ms, " ms");
            let back = figure(self.reconnected_ms, " ms");
            writeln!(
                f,
                "  no collector   {failed} requests failed, the last refusal after {refused}"
            )?;
            writeln!(f, "  a new one      has all proxies after {back}")?;
        }
        write!(f, "  false incidents {}", self.false_incidents)
    }
}

fn layers(layers: &[Layer]) -> String {
    let one =
        |layer: &Layer| format!("{} → {} {:.1}×", layer.source, layer.destination, layer.factor);
    layers.iter().map(one).collect::<Vec<_>>().join(", ")
}
