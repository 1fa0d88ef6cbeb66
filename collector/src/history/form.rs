//! Records as JSON: one object each, with the version of its form, for whoever looks into the file.
//!
//! What is read back is input. A form of a later version is told apart from one that does not
//! parse: the former is refused, the latter skipped and counted.

mod baseline;
mod policy;

pub(super) use baseline::{is_part, read_baseline, subject_key, write_baseline};
pub(super) use policy::{read_policy, write_policy};

use crate::record::{Blame, CommandRecord, IncidentRecord, WishRecord};
use fusebox_proto::command::{Action, Command, Verb};
use fusebox_proto::view::{Event, Incident, Stamp, TripResult};
use fusebox_proto::{Edge, Invalid, ServiceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is of this version, which only a later program knows.
    Later(u64),
    /// It does not parse.
    Broken,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u64,
    #[serde(flatten)]
    form: T,
}

fn write<T: Serialize>(form: T) -> String {
    let versioned = Versioned { v: VERSION.into(), form };
    serde_json::to_string(&versioned).expect("every key is a string, and nothing here can fail")
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Head {
        v: u64,
    }
    let Head { v } = serde_json::from_str(text).map_err(|_| Unreadable::Broken)?;
    if v != u64::from(VERSION) {
        return Err(Unreadable::Later(v));
    }
    let Versioned { form, .. } = serde_json::from_str(text).map_err(|_| Unreadable::Broken)?;
    Ok(form)
}

impl From<Invalid> for Unreadable {
    fn from(_: Invalid) -> Self {
        Self::Broken
    }
}

#[derive(Serialize, Deserialize)]
struct ServiceForm {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    environment: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
}

impl From<&ServiceId> for ServiceForm {
    fn from(service: &ServiceId) -> Self {
        Self {
            environment: service.environment().to_owned(),
            namespace: service.namespace().to_owned(),
            name: service.name().to_owned(),
        }
    }
}

impl TryFrom<ServiceForm> for ServiceId {
    type Error = Invalid;

    fn try_from(form: ServiceForm) -> Result<Self, Invalid> {
        Self::new(&form.environment, &form.namespace, &form.name)
    }
}

#[derive(Serialize, Deserialize)]
struct EdgeForm {
    source: ServiceForm,
    destination: ServiceForm,
}

impl From<&Edge> for EdgeForm {
    fn from(edge: &Edge) -> Self {
        Self { source: (&edge.source).into(), destination: (&edge.destination).into() }
    }
}

impl TryFrom<EdgeForm> for Edge {
    type Error = Invalid;

    fn try_from(form: EdgeForm) -> Result<Self, Invalid> {
        Ok(Self::new(form.source.try_into()?, form.destination.try_into()?))
    }
}

/// The key under which the wish of an edge is kept.
pub(super) fn edge_key(edge: &Edge) -> String {
    serde_json::to_string(&EdgeForm::from(edge)).expect("nothing here can fail")
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum VerbForm {
    Open { ttl_ms: u64, proxies: u32 },
    MuteRetries { percent: u8, ttl_ms: u64, proxies: u32 },
    Cap { attempts_per_s: f64, ttl_ms: u64, proxies: u32 },
    Shed { percent: u8, ttl_ms: u64, proxies: u32 },
    Reset { at_once: bool },
}

impl From<Verb> for VerbForm {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Reset { at_once } => Self::Reset { at_once },
            Verb::Trip { action, ttl, proxies } => {
                let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                match action {
                    Action::Open => Self::Open { ttl_ms, proxies },
                    Action::MuteRetries { percent } => {
                        Self::MuteRetries { percent, ttl_ms, proxies }
                    }
                    Action::Cap { attempts_per_s } => Self::Cap { attempts_per_s, ttl_ms, proxies },
                    Action::Shed { percent } => Self::Shed { percent, ttl_ms, proxies },
                }
            }
        }
    }
}

impl From<VerbForm> for Verb {
    fn from(form: VerbForm) -> Self {
        let (action, ttl_ms, proxies) = match form {
            VerbForm::Reset { at_once } => return Self::Reset { at_once },
            VerbForm::Open { ttl_ms, proxies } => (Action::Open, ttl_ms, proxies),
            VerbForm::MuteRetries { percent, ttl_ms, proxies } => {
                (Action::MuteRetries { percent }, ttl_ms, proxies)
            }
            VerbForm::Cap { attempts_per_s, ttl_ms, proxies } => {
                (Action::Cap { attempts_per_s }, ttl_ms, proxies)
            }
            VerbForm::Shed { percent, ttl_ms, proxies } => {
                (Action::Shed { percent }, ttl_ms, proxies)
            }
        };
        Self::Trip { action, ttl: Duration::from_millis(ttl_ms), proxies }
    }
}

#[derive(Serialize, Deserialize)]
struct CommandForm {
    id: String,
    revision: u64,
    edge: EdgeForm,
    #[serde(flatten)]
    verb: VerbForm,
    by: String,
    reason: String,
}

impl CommandForm {
    fn new(edge: &Edge, command: &Command) -> Self {
        Self {
            id: command.id.clone(),
            revision: command.revision,
            edge: edge.into(),
            verb: command.verb.into(),
            by: command.by.clone(),
            reason: command.reason.clone(),
        }
    }

    fn parse(self) -> Result<(Edge, Command), Invalid> {
        let edge = Edge::try_from(self.edge)?;
        let command = Command {
            id: self.id,
            revision: self.revision,
            destination: edge.destination.clone(),
            verb: self.verb.into(),
            by: self.by,
            reason: self.reason,
        };
        Ok((edge, command))
    }
}

#[derive(Serialize, Deserialize)]
struct WishForm {
    issued_at: Stamp,
    ends_at: Stamp,
    command: CommandForm,
}

/// A wish as JSON.
pub(super) fn write_wish(wish: &WishRecord) -> String {
    write(WishForm {
        issued_at: Stamp(wish.issued_unix_ms),
        ends_at: Stamp(wish.ends_unix_ms),
        command: CommandForm::new(&wish.edge, &wish.command),
    })
}

/// And back.
pub(super) fn read_wish(text: &str) -> Result<WishRecord, Unreadable> {
    let form: WishForm = read(text)?;
    let (edge, command) = form.command.parse()?;
    let (issued_unix_ms, ends_unix_ms) = (form.issued_at.0, form.ends_at.0);
    Ok(WishRecord { edge, command, issued_unix_ms, ends_unix_ms })
}

#[derive(Serialize)]
#[serde(untagged)]
enum CommandRecordForm {
    Asked { asked_at: Stamp, command: CommandForm },
    Answered { answered_at: Stamp, edge: EdgeForm, result: TripResult },
}

/// A command, or what came of it, as JSON.
pub(super) fn write_command(record: &CommandRecord) -> String {
    write(match record {
        CommandRecord::Asked { at_unix_ms, edge, command } => CommandRecordForm::Asked {
            asked_at: Stamp(*at_unix_ms),
            command: CommandForm::new(edge, command),
        },
        CommandRecord::Answered { at_unix_ms, edge, result } => CommandRecordForm::Answered {
            answered_at: Stamp(*at_unix_ms),
            edge: edge.into(),
            result: result.clone(),
        },
    })
}

#[derive(Serialize, Deserialize)]
struct LayerForm {
    edge: EdgeForm,
    factor: f64,
}

#[derive(Serialize, Deserialize)]
struct IncidentForm {
    edges: Vec<EdgeForm>,
    onset_at: Stamp,
    to_act_on: EdgeForm,
    victim: ServiceForm,
    layers: Vec<LayerForm>,
    amplification: f64,
    view: Incident,
}

/// An incident as JSON.
pub(super) fn write_incident(record: &IncidentRecord) -> String {
    let Blame { edge, victim, layers, amplification } = &record.blame;
    let layer = |(edge, factor): &(Edge, f64)| LayerForm { edge: edge.into(), factor: *factor };
    write(IncidentForm {
        edges: record.edges.iter().map(EdgeForm::from).collect(),
        onset_at: Stamp(record.onset_unix_s.saturating_mul(1_000)),
        to_act_on: edge.into(),
        victim: victim.into(),
        layers: layers.iter().map(layer).collect(),
        amplification: *amplification,
        view: record.view.clone(),
    })
}

/// And back.
pub(super) fn read_incident(text: &str) -> Result<IncidentRecord, Unreadable> {
    let form: IncidentForm = read(text)?;
    let layer = |form: LayerForm| Ok::<_, Invalid>((form.edge.try_into()?, form.factor));
    let blame = Blame {
        edge: form.to_act_on.try_into()?,
        victim: form.victim.try_into()?,
        layers: form.layers.into_iter().map(layer).collect::<Result<_, _>>()?,
        amplification: form.amplification,
    };
    Ok(IncidentRecord {
        edges: form.edges.into_iter().map(Edge::try_from).collect::<Result<_, _>>()?,
        onset_unix_s: form.onset_at.0 / 1_000,
        blame,
        view: form.view,
    })
}

/// An event as JSON.
pub(super) fn write_event(event: &Event) -> String {
    write(event)
}

/// And back.
pub(super) fn read_event(text: &str) -> Result<Event, Unreadable> {
    read(text)
}
