//! What a replay tells, a line each: as a demo does, one JSON object or one line for people.

use super::words;
use fusebox_collector::replay::Window;
use fusebox_demo::what_if::WhatIf;
use fusebox_proto::view::{Advisory, Incident, IncidentState, Snapshot, Stamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Advisories that are told; beyond, they are only counted.
const ADVISORIES_MAX: usize = 256;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    /// Milliseconds since the recording begins, in its own time.
    pub(super) t_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub(super) event: Event,
}

/// What happens in a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The recording begins.
    Started {
        /// What it covers.
        window: Window,
    },
    /// An incident opened.
    IncidentOpened(IncidentLine),
    /// An incident says something else now.
    IncidentChanged(IncidentLine),
    /// An incident is over.
    IncidentResolved {
        /// Its id.
        id: String,
        /// `retry_storm`, …
        kind: String,
    },
    /// Something worth knowing that is no incident.
    Advisory(Advisory),
    /// The recording is over.
    Summary(Box<Summary>),
    /// With `--to`: the recording begins.
    #[serde(rename = "started")]
    Sending {
        /// What it covers.
        window: Window,
        /// Where it goes.
        to: String,
        /// `http/protobuf` or `grpc`.
        transport: String,
        /// So many times as fast as it was.
        speed: f64,
        /// As long it will take.
        length_s: f64,
    },
    /// With `--to`: so far.
    Progress(Sent),
    /// With `--to`: the end.
    #[serde(rename = "summary")]
    Sent(Sent),
}

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    /// Spans that were taken.
    pub(super) spans: u64,
    /// In so many requests.
    pub(super) requests: u64,
    /// Spans that were refused for good.
    pub(super) refused: u64,
    /// Attempts that were refused for now, or failed, and were repeated.
    pub(super) repeated: u64,
    /// The longest that a request left after its time, ms.
    pub(super) behind_ms_max: u64,
    /// Spans that were not sent, because the end came before.
    pub(super) left_out: u64,
    /// OTLP has no place for what proxies tell their collector: it is not sent.
    pub(super) proxy_messages_left_out: u64,
}

/// An incident in a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct IncidentLine {
    id: String,
    kind: String,
    originator: Option<String>,
    victim: Option<String>,
    opened_at: Stamp,
    summary: String,
}

/// What came of it. `incidents` and `advisories` are those of `fusebox incidents`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// What the recording covers.
    pub(super) window: Window,
    /// As they stood at the end.
    pub(super) incidents: Vec<Incident>,
    /// All that were told.
    pub(super) advisories: Vec<Advisory>,
    /// What else would have been, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) what_if: Option<Vec<WhatIf>>,
    /// How good the data is.
    pub(super) data_quality: Quality,
}

/// How good the data of a recording is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Quality {
    /// Spans without ids or times.
    pub(super) rejected: u64,
    /// Lines or messages without spans, such as metrics.
    pub(super) other: u64,
    /// Files that end in the middle.
    pub(super) truncated: u64,
    /// Quiet time that was left out, s.
    pub(super) skipped_s: u64,
    /// What the collector dropped, by reason.
    pub(super) dropped: BTreeMap<String, u64>,
}

/// What was told so far, so that only news is.
#[derive(Debug, Default)]
pub(super) struct Told {
    incidents: BTreeMap<String, Incident>,
    advisories: Vec<Advisory>,
}

impl Told {
    /// What is new in a snapshot.
    pub(super) fn news(&mut self, snapshot: &Snapshot) -> Vec<Event> {
        let mut news = Vec::new();
        let mut incidents: Vec<&Incident> = snapshot.incidents.iter().collect();
        incidents.sort_by_key(|incident| incident.opened_at);
        for incident in incidents {
            let before = self.incidents.insert(incident.id.clone(), incident.clone());
            news.extend(change(before.as_ref(), incident));
        }
        for advisory in &snapshot.advisories {
            let same = |told: &Advisory| {
                (&told.kind, &told.source, &told.destination)
                    == (&advisory.kind, &advisory.source, &advisory.destination)
            };
            if ADVISORIES_MAX <= self.advisories.len() || self.advisories.iter().any(same) {
                continue;
            }
            self.advisories.push(advisory.clone());
            news.push(Event::Advisory(advisory.clone()));
        }
        news
    }

    /// All that was told.
    pub(super) fn end(self) -> (Vec<Incident>, Vec<Advisory>) {
        let mut incidents: Vec<Incident> = self.incidents.into_values().collect();
        incidents.sort_by_key(|incident| incident.opened_at);
        (incidents, self.advisories)
    }
}

/// What of an incident is news. Figures change all the time; who is blamed does not.
fn change(before: Option<&Incident>, now: &Incident) -> Option<Event> {
    let line = || IncidentLine {
        id: now.id.clone(),
        kind: now.kind.clone(),
        originator: now.originator.clone(),
        victim: now.victim.clone(),
        opened_at: now.opened_at,
        summary: now.summary.clone(),
    };
    let Some(before) = before else { return Some(Event::IncidentOpened(line())) };
    if before.state != now.state && now.state == IncidentState::Resolved {
        let (id, kind) = (now.id.clone(), now.kind.clone());
        return Some(Event::IncidentResolved { id, kind });
    }
    let blamed = |incident: &Incident| {
        (incident.kind.clone(), incident.originator.clone(), incident.victim.clone())
    };
    let is_new = blamed(before) != blamed(now) && now.state == IncidentState::Open;
    is_new.then(|| Event::IncidentChanged(line()))
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
            Self::Started { window } => {
                let Window { from, to, spans, traces, proxy_messages } = window;
                write!(f, "{from} to {to}: {spans} spans of {traces} traces")?;
                match proxy_messages {
                    0 => Ok(()),
                    n => write!(f, ", {n} messages of proxies"),
                }
            }
            Self::IncidentOpened(IncidentLine { id, summary, .. }) => {
                write!(f, "incident {id} opened: {summary}")
            }
            Self::IncidentChanged(IncidentLine { id, summary, .. }) => {
                write!(f, "incident {id} now: {summary}")
            }
            Self::IncidentResolved { id, kind } => write!(f, "incident {id} ({kind}) resolved"),
            Self::Advisory(advisory) => write!(f, "worth knowing: {}", advisory.summary),
            Self::Summary(summary) => write!(f, "{summary}"),
            Self::Sending { window, to, transport, speed, length_s } => write!(
                f,
                "{} spans of {} traces to {to} over {transport}, {speed} times as fast as they \
                 were: {length_s:.0} s",
                window.spans, window.traces
            ),
            Self::Progress(sent) => write!(f, "{} spans sent", sent.spans),
            Self::Sent(sent) => write!(f, "{sent}"),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans sent in {} requests", self.spans, self.requests)?;
        let counts = [
            (self.refused, "spans refused for good"),
            (self.left_out, "spans not sent"),
            (self.repeated, "attempts repeated"),
            (
                self.proxy_messages_left_out,
                "messages of proxies left out: OTLP has no place for them",
            ),
        ];
        counts
            .into_iter()
            .filter(|(count, _)| 0 < *count)
            .try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = |incident: &&Incident| incident.state == IncidentState::Open;
        let still_open = self.incidents.iter().filter(open).count();
        write!(f, "the end: {} incidents, {still_open} still open", self.incidents.len())?;
        for incident in &self.incidents {
            write!(f, "\n           {} {}", incident.id, incident.summary)?;
            let said =
                incident.suspects.iter().take(3).map(|suspect| {
                    format!("{} {:.0} %", suspect.service, suspect.confidence * 100.0)
                });
            let suspects: Vec<String> = said.collect();
            if !suspects.is_empty() {
                write!(f, "\n             suspects: {}", suspects.join(", "))?;
            }
            for what_if in self.what_if.iter().flatten().filter(|it| it.incident == incident.id) {
                for line in words::lines(incident, what_if) {
                    write!(f, "\n             {line}")?;
                }
            }
        }
        let Quality { rejected, other, truncated, skipped_s, dropped } = &self.data_quality;
        let counts = [
            (*rejected, "spans without ids or times"),
            (*other, "lines or messages without spans"),
            (*truncated, "files that end in the middle"),
            (*skipped_s, "quiet seconds left out"),
            (dropped.values().sum(), "things dropped at a limit"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| 0 < *count) {
            write!(f, "\n           {count} {what}")?;
        }
        Ok(())
    }
}
