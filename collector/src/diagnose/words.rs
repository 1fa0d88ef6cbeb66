//! Findings in words and figures.

use super::blame::Blame;
use super::evidence;
use super::findings::Comparison;
use super::report::Exhibit;
use super::rows::Spans;
use super::series::{Measure, Node, Series, Subject};
use crate::names::Names;
use fusebox_proto::ServiceId;
use std::fmt::Write as _;

/// Findings beyond this many are not named in a reason.
const PARTS_MAX: usize = 2;

/// What is needed to speak of numbers.
pub(super) struct Words<'d> {
    pub(super) spans: &'d Spans,
    pub(super) names: Names,
    pub(super) all: &'d [Series],
    pub(super) comparison: &'d Comparison,
    pub(super) onset_ns: u64,
}

impl Words<'_> {
    /// How a node prints.
    pub(super) fn node(&self, node: Node) -> String {
        match node {
            Node::Service(service) => self.names.print(self.spans.services.get(service)),
            Node::Peer(peer) => self.spans.words.get(peer).to_string(),
        }
    }

    /// The service that a node is, or would be if it sent spans: a node of its caller's environment.
    pub(super) fn service(&self, node: Node) -> Option<ServiceId> {
        let peer = match node {
            Node::Service(service) => return Some(self.spans.services.get(service).clone()),
            Node::Peer(peer) => self.spans.words.get(peer),
        };
        let caller = self.all.iter().find_map(|series| match series.subject {
            Subject::Edge { caller, callee, .. } if callee == node => Some(caller),
            _ => None,
        })?;
        let caller = self.spans.services.get(caller);
        ServiceId::new(caller.environment(), "", peer).ok()
    }

    /// One finding, for a table.
    pub(super) fn exhibit(&self, at: usize, blames: Node) -> Exhibit {
        let finding = &self.comparison.findings[at];
        let series = &self.all[finding.series];
        let (before, after) = series.values.split_at(series.before(self.onset_ns));
        let (signal, unit) = match (series.measure, series.subject) {
            (Measure::Time, Subject::Own { .. }) => ("own time", "ms"),
            (Measure::Time, Subject::Edge { .. }) => ("time on the way", "ms"),
            (Measure::Failed, _) => ("failures", "%"),
            (Measure::Shape { .. }, _) => ("other calls", "%"),
        };
        let (before_figure, after_figure) = match series.measure {
            Measure::Time => (evidence::median(before), evidence::median(after)),
            _ => finding.shares,
        };
        let (place, operation) = match series.subject {
            Subject::Own { service, operation } => (self.node(Node::Service(service)), operation),
            Subject::Edge { caller, callee, operation } => {
                let ends = [Node::Service(caller), callee].map(|node| self.node(node));
                (ends.join(" → "), operation)
            }
        };
        Exhibit {
            signal: signal.into(),
            place,
            operation: self.spans.words.get(operation).to_string(),
            before: before_figure,
            after: after_figure,
            unit: unit.into(),
            requests: after.len() as u64,
            nats: finding.nats,
            blames: self.node(blames),
        }
    }

    /// Why a node is suspected.
    pub(super) fn reason(&self, blame: &Blame) -> String {
        let exhibits = blame.parts.iter().take(PARTS_MAX);
        let mut said: Vec<String> =
            exhibits.map(|(at, _)| sentence(&self.exhibit(*at, blame.node))).collect();
        let is_time = |(at, _): &&(usize, f64)| {
            self.all[self.comparison.findings[*at].series].measure == Measure::Time
        };
        let what = if blame.parts.iter().any(|part| is_time(&part)) { "excess" } else { "change" };
        said.push(format!("{:.0} % of the {what} is its", blame.score * 100.0));
        if let Some(load) = blame.load {
            said.push(format!("but its traffic is ×{load:.1}: load may be the cause"));
        }
        said.join("; ")
    }
}

fn sentence(exhibit: &Exhibit) -> String {
    let Exhibit { signal, place, operation, before, after, requests, .. } = exhibit;
    let mut said = match &**signal {
        "own time" => format!("own time on {operation} {} → {}", ms(*before), ms(*after)),
        "time on the way" => {
            format!("{place} {operation}, on the way {} → {}", ms(*before), ms(*after))
        }
        "failures" => {
            format!("{place} {operation} fails {} → {}", percent(*before), percent(*after))
        }
        _ => format!(
            "{place} calls others for {operation}, {} → {}",
            percent(*before),
            percent(*after)
        ),
    };
    let _ = match &**signal {
        "own time" | "time on the way" => write!(said, " (median of {requests} requests)"),
        _ => write!(said, " of {requests} requests"),
    };
    said
}

/// A time for people.
pub(super) fn ms(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 10_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1_000.0)
    }
}

/// A share for people.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
