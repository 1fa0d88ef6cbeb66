//! What the collector said, followed from poll to poll. Pure.

use crate::event::{Event, Summary};
use crate::scenario::Expect;
use crate::truth::Truth;
use fusebox_proto::view::{Incident, IncidentState, Layer, SuggestedAction};
use std::time::Duration;

/// More incidents than this are not followed; a run that has as many has failed anyway.
const INCIDENTS_MAX: usize = 1_000;

/// Every incident of a run, in the order in which they were first seen, as it was last seen.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    incidents: Vec<Incident>,
}

impl Verdict {
    /// Takes what the collector says now; returns what is new about it.
    pub fn take(&mut self, said: Vec<Incident>) -> Vec<Event> {
        let mut events = Vec::new();
        for incident in said {
            let known = self.incidents.iter().position(|known| known.id == incident.id);
            let was_open = known.map(|at| self.incidents[at].state == IncidentState::Open);
            if was_open.is_none() {
                events.push(opened(&incident));
            }
            if incident.state == IncidentState::Resolved && was_open != Some(false) {
                let (id, kind) = (incident.id.clone(), incident.kind.clone());
                events.push(Event::IncidentResolved { id, kind });
            }
            match known {
                Some(at) => self.incidents[at] = incident,
                None if self.incidents.len() < INCIDENTS_MAX => self.incidents.push(incident),
                None => (),
            }
        }
        events
    }

    /// What the collector suggests to do about the first open incident that has a remedy.
    pub fn suggestion(&self) -> Option<&SuggestedAction> {
        let mut open = self.incidents.iter().filter(|i| i.state == IncidentState::Open);
        open.find_map(|incident| incident.action.as_ref())
    }

    /// The incident that a run is about: the expected one, else one of its kind, else the first.
    fn about(&self, expect: Option<&Expect>) -> Option<&Incident> {
        let is_kind = |i: &&Incident| expect.is_some_and(|expect| expect.kind == i.kind);
        (self.incidents.iter().find(|incident| is_expected(expect, incident)))
            .or_else(|| self.incidents.iter().find(is_kind))
            .or_else(|| self.incidents.first())
    }
}

fn opened(incident: &Incident) -> Event {
    Event::IncidentOpened {
        id: incident.id.clone(),
        kind: incident.kind.clone(),
        originator: incident.originator.clone(),
        victim: incident.victim.clone(),
        opened_at: incident.opened_at,
        summary: incident.summary.clone(),
    }
}

fn is_expected(expect: Option<&Expect>, incident: &Incident) -> bool {
    expect.is_some_and(|expect| {
        expect.kind == incident.kind
            && incident.originator.as_ref() == Some(&expect.originator)
            && incident.victim.as_ref() == Some(&expect.victim)
            && (expect.subset.is_none() || incident.subset == expect.subset)
    })
}

/// What a run was, besides the truth and the verdict.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Which run.
    pub seed: u64,
    /// The incident that is true.
    pub expect: Option<&'a Expect>,
    /// Wall clock at which the load began, ms since the Unix epoch.
    pub began_unix_ms: u64,
    /// When the load ended.
    pub end: Duration,
    /// From sending the action to the answer that all proxies have acknowledged it.
    pub act: Option<Duration>,
}

/// Truth beside verdict.
pub fn summary(run: &Run<'_>, truth: &Truth, verdict: &Verdict) -> Summary {
    let ms = |duration: Duration| tenth(duration.as_secs_f64() * 1_000.0);
    let incident = verdict.about(run.expect);
    let detect_ms = incident.zip(truth.failure_at()).map(|(incident, failure_at)| {
        let opened_ms = incident.opened_at.0 as f64 - run.began_unix_ms as f64;
        tenth(opened_ms - failure_at.as_secs_f64() * 1_000.0)
    });
    let false_incidents =
        verdict.incidents.iter().filter(|incident| !is_expected(run.expect, incident)).count();
    Summary {
        scenario: run.scenario.to_owned(),
        seed: run.seed,
        detect_ms,
        incident: incident.map(|incident| incident.kind.clone()),
        originator: incident.and_then(|incident| incident.originator.clone()),
        victim: incident.and_then(|incident| incident.victim.clone()),
        act_ms: run.act.map(ms),
        first_refusal_ms: truth.refusal_after().map(ms),
        recovered_ms: truth.recovery_after().map(ms),
        goodput_before: truth.before().map(tenth),
        goodput_during: truth.during(run.end).map(tenth),
        goodput_after: truth.after(run.end).map(tenth),
        false_incidents: false_incidents as u64,
        amplification: incident.and_then(|incident| incident.amplification).map(tenth),
        amplification_true: truth.amplification(run.end).map(tenth),
        layers: incident.map(|incident| incident.layers.clone()).unwrap_or_default(),
        layers_true: layers_true(run, truth),
        subset: incident.and_then(|incident| incident.subset.clone()),
        failed_without_collector: truth.failed_without_collector(),
        refused_without_collector_ms: truth.refused_without_collector().map(ms),
        reconnected_ms: truth.reconnected_after().map(ms),
    }
}

fn layers_true(run: &Run<'_>, truth: &Truth) -> Vec<Layer> {
    let expected = run.expect.map(Expect::layers).unwrap_or_default();
    let layer = |((source, destination), factor): ((&str, &str), Option<f64>)| {
        let (source, destination) = (source.to_owned(), destination.to_owned());
        factor.map(|factor| Layer { source, destination, factor })
    };
    expected.into_iter().zip(truth.factors(run.end)).filter_map(layer).collect()
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
