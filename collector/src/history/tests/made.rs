//! Records of every kind.

use super::START_UNIX_MS;
use crate::detect::p99::{HourLevel, QuantileBaseline, SeriesBaseline, UsualBaseline};
use crate::record::{
    BaselineRecord, Blame, CommandRecord, IncidentRecord, Part, PolicyRecord, Record,
    RetryBaseline, Subject, WishRecord,
};
use fusebox_proto::command::{Action, ActionKind, Command, Verb};
use fusebox_proto::policy::Profile;
use fusebox_proto::view::{
    EdgeName, Event, Evidence, Incident, IncidentState, Layer, PolicyDocument, Stamp,
    SuggestedAction, TripResult,
};
use fusebox_proto::{Edge, ServiceId};
use std::time::Duration;

pub(super) fn edge(source: &str, destination: &str) -> Edge {
    let service = |name| ServiceId::new("prod", "shop", name).unwrap();
    Edge::new(service(source), service(destination))
}

fn command(revision: u64, edge: &Edge, verb: Verb) -> Command {
    Command {
        id: format!("t{revision}"),
        revision,
        destination: edge.destination.clone(),
        verb,
        by: "ana@laptop".into(),
        reason: "drill \"7\" – µ".into(),
    }
}

fn wish(revision: u64, edge: Edge, verb: Verb) -> Record {
    let command = command(revision, &edge, verb);
    let (issued_unix_ms, ends_unix_ms) = (START_UNIX_MS, START_UNIX_MS + 60_000);
    Record::Wish(WishRecord { edge, command, issued_unix_ms, ends_unix_ms })
}

fn trip(action: Action) -> Verb {
    Verb::Trip { action, ttl: Duration::from_millis(59_999), proxies: 3 }
}

pub(super) fn event(text: &str) -> Record {
    let text = text.to_owned();
    Record::Event(Event { at: Stamp(START_UNIX_MS), kind: "proxy".into(), text })
}

fn incident(id: &str, state: IncidentState) -> Record {
    let on = edge("payment", "inventory");
    let names = EdgeName { source: "payment".into(), destination: "inventory".into() };
    let layer =
        Layer { source: names.source.clone(), destination: names.destination.clone(), factor: 9.8 };
    let view = Incident {
        id: id.into(),
        kind: "retry_storm".into(),
        state,
        opened_at: Stamp(START_UNIX_MS),
        resolved_at: (state == IncidentState::Resolved).then_some(Stamp(START_UNIX_MS + 9)),
        summary: "payment sends inventory 9.8 attempts per request".into(),
        confidence: 0.97,
        edge: Some(names.clone()),
        amplification: Some(9.8),
        layers: vec![layer],
        evidence: vec![Evidence { series: vec![1.0, 2.5], ..Evidence::default() }],
        counter_evidence: vec!["none".into()],
        action: Some(SuggestedAction {
            action: ActionKind::MuteRetries.into(),
            source: names.source,
            destination: names.destination,
            ttl_s: 60,
            tier: 0,
            predicted: "removes 22 of 25 attempts/s".into(),
        }),
        ..Incident::default()
    };
    let blame = Blame {
        edge: on.clone(),
        victim: on.destination.clone(),
        layers: vec![(on.clone(), 9.8)],
        amplification: 9.8,
    };
    let onset_unix_s = START_UNIX_MS / 1_000;
    Record::Incident(Box::new(IncidentRecord { edges: [on].into(), onset_unix_s, blame, view }))
}

pub(super) fn policy(number: u64, text_len: usize) -> Record {
    let document = PolicyDocument {
        kind: "VirtualService".into(),
        namespace: "shop".into(),
        name: "inventory".into(),
        text: "x".repeat(text_len),
    };
    Record::Policy(Box::new(PolicyRecord {
        number,
        at_unix_ms: START_UNIX_MS,
        by: "ana@laptop".into(),
        reason: "drill \"7\" – µ".into(),
        what: "apply".into(),
        profile: Profile::IstioCompat,
        documents: vec![document].into(),
    }))
}

pub(super) fn baseline(subject: impl Into<Subject>, minutes: u64) -> Record {
    let wandered = QuantileBaseline { beyond: vec![0.01, 0.0], heights: vec![(0.693, 1e-5)] };
    let latency = SeriesBaseline {
        to_second: START_UNIX_MS / 1_000,
        is_measured: true,
        usual: UsualBaseline {
            buckets: vec![(255, 0.001), (20_479, 12_340.0), (u32::MAX, 1.0)],
            requests: 12_341.0,
            seen: 12_341.0,
            seconds: 61.5,
            minutes,
        },
        tail: wandered.clone(),
        middle: wandered,
        hours: vec![HourLevel { hour: 472_238, p99_us: 20_479, p50_us: 255 }],
    };
    let retries = RetryBaseline { retried: vec![0.25], fanout: vec![1.5] };
    let (subject, failed) = (subject.into(), vec![0.0, 0.015]);
    Record::Baseline(Box::new(BaselineRecord { subject, latency, retries, failed }))
}

pub(super) fn part(route: &str, subset: &str) -> Subject {
    let (edge, route, subset) = (edge("payment", "inventory"), route.into(), subset.into());
    Subject::Part(Part { edge, route, subset })
}

/// One of each kind, and of each verb.
pub(super) fn records() -> Vec<Record> {
    let on = edge("payment", "inventory");
    let asked = command(8, &on, trip(Action::Open));
    let result = TripResult { id: "t8".into(), applied: 2, ..TripResult::default() };
    vec![
        incident("aaaaa", IncidentState::Open),
        incident("bbbbb", IncidentState::Resolved),
        incident("aaaaa", IncidentState::Resolved),
        event("one"),
        event("two"),
        wish(1, edge("a", "b"), trip(Action::Open)),
        wish(2, edge("a", "c"), trip(Action::MuteRetries { percent: 10 })),
        wish(3, edge("a", "d"), trip(Action::Cap { attempts_per_s: 37.5 })),
        wish(4, edge("a", "e"), trip(Action::Shed { percent: 50 })),
        wish(5, edge("a", "f"), Verb::Reset { at_once: true }),
        wish(6, edge("a>b", "c"), trip(Action::Open)),
        wish(7, edge("a", "b>c"), trip(Action::Open)),
        Record::Unwished(edge("a", "e")),
        Record::Command(CommandRecord::Asked {
            at_unix_ms: START_UNIX_MS,
            edge: on.clone(),
            command: asked,
        }),
        Record::Command(CommandRecord::Answered { at_unix_ms: START_UNIX_MS, edge: on, result }),
        policy(1, 100),
        policy(2, 200),
        baseline(edge("payment", "inventory"), 1),
        baseline(edge("payment", "inventory"), 2),
        baseline(part("", "v2"), 4),
        baseline(part("checkout", ""), 5),
        baseline(edge("payment", "inventory").source, 3),
        Record::Revision(99),
    ]
}
