//! What of the engine's knowledge outlives the process: records, and what is made of them at the
//! next start.
//!
//! These are the core's own words; how they are written down is the business of `history`. The
//! record of a command says what was asked, a second one what came of it: both are only ever
//! appended, so that an audit can be read from them.

pub use crate::detect::{BaselineRecord, RetryBaseline, Subject};
pub use crate::incident::Blame;
pub use crate::policy::PolicyRecord;
pub use crate::store::Part;

use fusebox_proto::command::Command;
use fusebox_proto::view::{self, TripResult};
use fusebox_proto::{Edge, Now};
use std::collections::BTreeSet;
use std::time::Duration;

/// One thing to keep.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An incident as it stands, in place of what was kept of it before.
    Incident(Box<IncidentRecord>),
    /// Something happened.
    Event(view::Event),
    /// The newest command of an edge, in place of the one before.
    Wish(WishRecord),
    /// Nobody wishes anything of an edge any more.
    Unwished(Edge),
    /// An operator's command on one edge, or what came of it.
    Command(CommandRecord),
    /// A version of the policy.
    Policy(Box<PolicyRecord>),
    /// What is usual of an edge or service, in place of what was usual before.
    Baseline(Box<BaselineRecord>),
    /// The highest revision that was issued, or heard of.
    Revision(u64),
}

/// An incident, with what the next process needs to go on with it.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentRecord {
    /// The edges that storm.
    pub edges: BTreeSet<Edge>,
    /// When it began, Unix time in seconds.
    pub onset_unix_s: u64,
    /// Who causes it, who suffers.
    pub blame: Blame,
    /// As it is shown.
    pub view: view::Incident,
}

/// The newest command of an edge, while it matters.
#[derive(Clone, Debug, PartialEq)]
pub struct WishRecord {
    /// The edge.
    pub edge: Edge,
    /// As it was issued.
    pub command: Command,
    /// When it was issued, Unix time in milliseconds.
    pub issued_unix_ms: u64,
    /// When its lease ends; for a reset, when no proxy can hold the old lease any more.
    pub ends_unix_ms: u64,
}

/// What an operator asked of one edge, and later what came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandRecord {
    /// A command was issued.
    Asked {
        /// When, Unix time in milliseconds.
        at_unix_ms: u64,
        /// The edge.
        edge: Edge,
        /// Who, what, for how long and why.
        command: Command,
    },
    /// The operator was answered.
    Answered {
        /// When, Unix time in milliseconds.
        at_unix_ms: u64,
        /// The edge.
        edge: Edge,
        /// The answer; its id is the command's.
        result: TripResult,
    },
}

/// What an engine begins with, if there was one before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Open ones, and the newest of the others.
    pub incidents: Vec<IncidentRecord>,
    /// The newest, oldest first.
    pub events: Vec<view::Event>,
    /// Wishes whose time is not over.
    pub wishes: Vec<WishRecord>,
    /// Versions of the policy that are kept, oldest first.
    pub policies: Vec<PolicyRecord>,
    /// What was usual.
    pub baselines: Vec<BaselineRecord>,
    /// No revision is issued at or below this.
    pub revision: u64,
    /// When the last of all this was written, Unix time in milliseconds.
    pub last_unix_ms: u64,
    /// What an operator should know of how this was read, such as a file that was damaged.
    pub notes: Vec<String>,
}

impl Restored {
    /// Takes a record in, as a history does: the whole of it in memory, for simulations of a
    /// collector that dies and comes back.
    pub fn apply(&mut self, at_unix_ms: u64, record: Record) {
        self.last_unix_ms = at_unix_ms;
        match record {
            Record::Incident(incident) => {
                self.incidents.retain(|other| other.view.id != incident.view.id);
                self.incidents.push(*incident);
            }
            Record::Event(event) => self.events.push(event),
            Record::Wish(wish) => {
                self.revision = self.revision.max(wish.command.revision);
                self.wishes.retain(|other| other.edge != wish.edge);
                self.wishes.push(wish);
            }
            Record::Unwished(edge) => self.wishes.retain(|other| other.edge != edge),
            Record::Command(CommandRecord::Asked { command, .. }) => {
                self.revision = self.revision.max(command.revision);
            }
            Record::Command(CommandRecord::Answered { .. }) => (),
            Record::Policy(policy) => {
                self.policies.retain(|other| other.number != policy.number);
                self.policies.push(*policy);
            }
            Record::Baseline(baseline) => {
                self.baselines.retain(|other| other.subject != baseline.subject);
                self.baselines.push(*baseline);
            }
            Record::Revision(revision) => self.revision = self.revision.max(revision),
        }
    }

    /// The moment at which a wish ends, on both clocks of a process that starts `now`. Where the
    /// wall clock was set back meanwhile, it ends at the latest as if no time had passed since the
    /// last record.
    pub(crate) fn ends(&self, wish: &WishRecord, now: Now) -> Now {
        let at_ms = now.unix_ms.max(self.last_unix_ms).max(wish.issued_unix_ms);
        now.plus(Duration::from_millis(wish.ends_unix_ms.saturating_sub(at_ms)))
    }
}
