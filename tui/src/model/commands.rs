//! Intents: what this console asked for, and what became of it. Facts are in the snapshot.

use fusebox_proto::command::{ActionKind, ResetRequest, TripRequest};
use fusebox_proto::policy::ShiftRequest;
use fusebox_proto::view::{EdgeName, Stamp, TripResult};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests remembered; the oldest is forgotten, its lease stands in the snapshot.
pub const COMMANDS_MAX: usize = 32;
/// A request without an answer after this long is given up, and said to be.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What goes to the collector.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Take a lease.
    Trip(TripRequest),
    /// End a lease.
    Reset(ResetRequest),
    /// Move traffic between subsets.
    Shift(ShiftRequest),
}

impl Request {
    /// Its id: asking twice with the same one acts once.
    pub fn id(&self) -> &str {
        match self {
            Self::Trip(trip) => &trip.request_id,
            Self::Reset(reset) => &reset.request_id,
            Self::Shift(shift) => &shift.request_id,
        }
    }
}

/// What was asked of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A lease.
    Trip(ActionKind),
    /// The end of a lease.
    Reset {
        /// At once, not through the ramp.
        at_once: bool,
    },
    /// Other weights of the callee's subsets.
    Shift,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// No answer yet.
    Waiting,
    /// The proxies answered.
    Answered {
        /// What they did.
        result: TripResult,
        /// When we learned it.
        at: Instant,
    },
    /// Nothing came of it.
    Failed(String),
}

/// Whose lease is in force on an edge, as the data tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's, or the data is too old to know.
    Unknown,
    /// This operator's.
    Me,
    /// Somebody else's.
    Other,
}

/// One request of this console.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Of the request.
    pub id: String,
    /// Of which edge.
    pub edge: EdgeName,
    /// What.
    pub verb: Verb,
    /// When.
    pub sent_at: Instant,
    /// For how long, if it is a lease.
    pub ttl: Duration,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether it was undone since.
    pub undone: bool,
}

/// Requests of this console, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    list: VecDeque<Command>,
    count: u64,
}

impl Commands {
    /// The id of the next request of the console with this seed.
    pub fn next_id(&mut self, seed: u64) -> String {
        self.count += 1;
        format!("console-{seed:016x}-{}", self.count)
    }

    /// Remembers a request that is on its way.
    pub fn sent(&mut self, command: Command) {
        if self.list.len() == COMMANDS_MAX {
            self.list.pop_front();
        }
        self.list.push_back(command);
    }

    /// Takes the answer to a request; says which, if it is known.
    pub fn answered(
        &mut self,
        now: Instant,
        id: &str,
        result: Result<TripResult, String>,
    ) -> Option<&Command> {
        let at = self.list.iter().rposition(|command| command.id == id)?;
        let failed = result.as_ref().map_or(true, |result| result.applied == 0);
        self.list[at].outcome = match result {
            Ok(result) => Outcome::Answered { result, at: now },
            Err(reason) => Outcome::Failed(reason),
        };
        if failed && matches!(self.list[at].verb, Verb::Reset { .. }) {
            // What was to be undone still stands, and may be undone again.
            let edge = self.list[at].edge.clone();
            for command in self.list.iter_mut().filter(|command| command.edge == edge) {
                command.undone = false;
            }
        }
        self.list.get(at)
    }

    /// Gives up on what has waited too long.
    pub fn expire(&mut self, now: Instant) {
        for command in &mut self.list {
            let waited = now.saturating_duration_since(command.sent_at);
            if command.outcome == Outcome::Waiting && ANSWER_WITHIN <= waited {
                command.outcome = Outcome::Failed("the collector did not answer".into());
            }
        }
    }

    /// Whether an answer is awaited.
    pub fn is_waiting(&self) -> bool {
        self.list.iter().any(|command| command.outcome == Outcome::Waiting)
    }

    /// The newest request about an edge.
    pub fn newest(&self, edge: &EdgeName) -> Option<&Command> {
        self.list.iter().rev().find(|command| &command.edge == edge)
    }

    /// My newest lease that may still be in force at this time of the collector's wall clock, as far
    /// as answers tell; where there was none, or it is old, the data tells who holds an edge.
    pub fn undoable(
        &self,
        wall: Stamp,
        holder: impl Fn(&EdgeName, Option<Instant>) -> Holder,
    ) -> Option<&Command> {
        self.list.iter().rev().find(|command| {
            matches!(command.verb, Verb::Trip(_))
                && !command.undone
                && match &command.outcome {
                    Outcome::Waiting => true,
                    Outcome::Answered { result, at } if 0 < result.applied => {
                        match holder(&command.edge, Some(*at)) {
                            // A proxy that got it late holds it beyond the time that was answered.
                            Holder::Me => true,
                            Holder::Other => false,
                            Holder::Unknown => result.expires_at.is_none_or(|at| wall < at),
                        }
                    }
                    // The answer was lost, or proxies took it later.
                    Outcome::Answered { .. } | Outcome::Failed(_) => {
                        holder(&command.edge, None) == Holder::Me
                    }
                }
        })
    }

    /// Leases on this edge are undone.
    pub fn mark_undone(&mut self, edge: &EdgeName) {
        for command in &mut self.list {
            command.undone |= &command.edge == edge;
        }
    }
}
