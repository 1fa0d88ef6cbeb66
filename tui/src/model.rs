//! Everything on the screen, as plain data.
//!
//! What the collector says are *facts* ([`Model::snapshot`]); what the operator asked for are
//! *intents* ([`commands`]). They meet only in [`standing`], which says of an edge what was asked
//! and how much of it is true. Selection is by identity: a table that sorts itself anew under the
//! cursor moves the row, never the target.

pub mod act;
pub mod chain;
pub mod commands;
pub mod dossier;
pub mod graph;
pub mod guard;
pub mod history;
pub mod playback;
pub mod rows;
pub mod select;
pub mod severity;
pub mod standing;
pub mod timeline;
pub mod tree;
pub mod update;

use crate::dashboard::Ingest;
use crate::keys::{Action, Chord};
use act::Ask;
use commands::{Commands, Request};
use dossier::Reading;
use fusebox_proto::Now;
use fusebox_proto::delta::Delta;
use fusebox_proto::view::{
    EdgeName, EdgeView, Event, Incident, IncidentState, Snapshot, Stamp, TripResult,
};
use graph::Graph;
use guard::Guard;
use history::History;
use playback::{Control, Phase, Playback};
use rows::Sort;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use update::update;

/// Data older than this is stale: shown so, and nothing is tripped on it.
pub const STALE_AFTER: Duration = Duration::from_secs(3);
/// How long a line of the console's own stays in the footer.
pub const NOTICE_FOR: Duration = Duration::from_secs(6);
/// A filter is at most this many characters long.
pub const FILTER_LEN_MAX: usize = 64;

/// What does not change while the console runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Control address of the collector.
    pub collector: String,
    /// Where telemetry is to be sent.
    pub ingest: Ingest,
    /// Who acts.
    pub by: String,
    /// No key changes anything.
    pub read_only: bool,
    /// One line about this session.
    pub notice: Option<String>,
    /// Makes ids of requests unique among consoles.
    pub seed: u64,
}

/// A view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Screen {
    /// What is wrong and what to press.
    #[default]
    Triage,
    /// Who calls whom.
    Graph,
    /// Who calls whom in figures, as a tree.
    Services,
    /// Every edge in figures.
    Edges,
    /// Every circuit that is not closed.
    Breakers,
    /// What happened.
    Timeline,
}

impl Screen {
    /// All views that exist, in the order of their keys.
    pub const ALL: [Self; 6] =
        [Self::Triage, Self::Graph, Self::Services, Self::Edges, Self::Breakers, Self::Timeline];

    /// Its key and its name.
    pub const fn tab(self) -> (char, &'static str) {
        match self {
            Self::Triage => ('1', "Triage"),
            Self::Graph => ('2', "Graph"),
            Self::Services => ('3', "Services"),
            Self::Edges => ('4', "Edges"),
            Self::Breakers => ('6', "Breakers"),
            Self::Timeline => ('7', "Timeline"),
        }
    }
}

/// What lies over a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// Every key of this view.
    Help,
    /// The filter is being typed.
    Filter,
    /// An action waits for consent.
    Ask(Ask),
    /// All that is known of an incident.
    Dossier(Reading),
}

/// The connection to the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// No answer yet.
    Connecting,
    /// Updates flow.
    Live,
    /// The stream ended or cannot be had.
    Lost {
        /// Why, in words.
        reason: String,
        /// How many attempts failed since.
        attempts: u32,
    },
}

/// What the operator chose, by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Id of an incident on Triage.
    pub incident: Option<String>,
    /// Node of the graph, service of the tree.
    pub service: Option<String>,
    /// Edge on Graph, Services and Edges.
    pub edge: Option<EdgeName>,
    /// Edge and endpoint of a breaker.
    pub breaker: Option<(String, Option<String>)>,
    /// Row of the timeline.
    pub event: Option<Event>,
}

/// A line of the console's own, for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub text: String,
    /// Whether something was refused or failed.
    pub bad: bool,
    /// When it goes.
    pub until: Instant,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Message {
    /// A key went down.
    Key(Chord),
    /// Text was pasted: never commands.
    Paste(String),
    /// The terminal got the focus.
    Focus,
    /// The terminal has this size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Everything, anew.
    Snapshot(Box<Snapshot>),
    /// What changed.
    Delta(Box<Delta>),
    /// The connection changed.
    Link(Link),
    /// What came of keeping an incident as a file: which, or why not.
    Saved(Result<String, String>),
    /// Where the recording is that is shown instead of a mesh.
    Playback(Playback),
    /// The collector answered a request.
    Answer {
        /// Of the request.
        id: String,
        /// What came of it, or why nothing did.
        result: Result<TripResult, String>,
    },
    /// A time that [`Model::poll_timeout`] named has come.
    Tick,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this to the collector.
    Send(Request),
    /// Keep what came in around this incident as a file.
    Save(String),
    /// Tell this to whoever plays the recording.
    Play(Control),
    /// Put this text on the clipboard of whoever sits at the terminal.
    Copy(String),
    /// Paint everything anew.
    Redraw,
    /// Leave to the shell and come back.
    Suspend,
    /// End.
    Quit,
}

/// Everything on the screen.
#[derive(Clone, Debug)]
pub struct Model {
    /// What does not change.
    pub session: Session,
    /// The connection.
    pub link: Link,
    /// The recording that is shown instead of a mesh; [`None`] where what is shown is live.
    pub playback: Option<Playback>,
    /// Facts.
    pub snapshot: Snapshot,
    /// Facts of the last minute.
    pub history: History,
    /// The view.
    pub screen: Screen,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// What the operator chose.
    pub selection: Selection,
    /// Text that rows of a table must contain.
    pub filter: String,
    /// Order of the edges' table.
    pub sort: Sort,
    /// Services of the tree whose calls are folded away.
    pub folded: BTreeSet<String>,
    /// Positions of the graph.
    pub graph: Graph,
    /// Intents.
    pub commands: Commands,
    /// A line of the console's own.
    pub notice: Option<Notice>,
    /// What keeps keys from firing by accident.
    pub guard: Guard,
    /// Columns and rows.
    pub size: (u16, u16),
    /// When the newest data came and how old it was then; [`None`] before the first.
    pub arrival: Option<Arrival>,
    /// When the newest update came, with newer data in it or not.
    pub updated: Option<Instant>,
    /// The moment of the last message.
    pub now: Now,
}

/// When the newest data came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// On our clock.
    pub at: Instant,
    /// Age of the data then.
    pub age: Duration,
}

impl Model {
    /// A console that knows nothing yet.
    pub fn new(session: Session, now: Now) -> Self {
        Self {
            session,
            link: Link::Connecting,
            playback: None,
            snapshot: Snapshot::default(),
            history: History::default(),
            screen: Screen::Triage,
            overlay: None,
            selection: Selection::default(),
            filter: String::new(),
            sort: Sort::default(),
            folded: BTreeSet::new(),
            graph: Graph::default(),
            commands: Commands::default(),
            notice: None,
            guard: Guard::default(),
            size: (80, 24),
            arrival: None,
            updated: None,
            now,
        }
    }

    /// How old the newest data is; [`None`] before there is any.
    pub fn data_age(&self) -> Option<Duration> {
        let arrival = self.arrival?;
        Some(arrival.age + self.now.instant.saturating_duration_since(arrival.at))
    }

    /// Whether what is shown is too old to act on. Without any sender there is nothing to be stale.
    /// A recording is never stale: it is past.
    pub fn is_stale(&self) -> bool {
        if self.playback.is_some() {
            return false;
        }
        self.link != Link::Live || self.data_age().is_none_or(|age| STALE_AFTER < age)
    }

    /// Whether nobody sends any telemetry.
    pub fn has_no_data(&self) -> bool {
        self.snapshot.services.is_empty() && self.snapshot.edges.is_empty()
    }

    /// Wall clock of the collector now, as far as we know: leases run by it.
    pub fn wall(&self) -> Stamp {
        if let Some(playback) = &self.playback {
            return playback.at;
        }
        let age = self.data_age().unwrap_or_default();
        Stamp(self.snapshot.at.0.saturating_add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Whether no key changes anything: it was asked for, or this is a recording.
    pub fn is_read_only(&self) -> bool {
        self.session.read_only || self.playback.is_some()
    }

    /// Open incidents, newest first.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.snapshot.incidents.iter().filter(|i| i.state == IncidentState::Open)
    }

    /// The chosen open incident, else the newest.
    pub fn incident(&self) -> Option<&Incident> {
        let chosen = self.selection.incident.as_ref();
        self.open_incidents()
            .find(|i| Some(&i.id) == chosen)
            .or_else(|| self.open_incidents().next())
    }

    /// The figures of an edge.
    pub fn edge(&self, name: &EdgeName) -> Option<&EdgeView> {
        let key = (name.source.as_str(), name.destination.as_str());
        let at = self
            .snapshot
            .edges
            .binary_search_by(|e| (e.source.as_str(), e.destination.as_str()).cmp(&key));
        at.ok().map(|at| &self.snapshot.edges[at])
    }

    /// Whether this action would do something now: the footer shows only what would.
    pub fn can(&self, action: Action) -> bool {
        match action {
            Action::Trip | Action::Mute => !self.is_read_only() && self.target().is_some(),
            Action::Suggested => !self.is_read_only() && self.suggested_otherwise().is_some(),
            Action::Reset => !self.is_read_only() && self.resettable().is_some(),
            Action::Undo => !self.is_read_only() && self.undoable().is_some(),
            Action::Confirm => !self.is_read_only(),
            Action::Pause => self.playback.is_some_and(|playback| playback.phase != Phase::Over),
            Action::Faster | Action::Slower | Action::JumpBack | Action::JumpOn => {
                self.playback.is_some()
            }
            Action::Save => self.playback.is_none() && self.incident().is_some(),
            Action::Dossier if self.screen == Screen::Timeline => self.told_incident().is_some(),
            Action::Dossier | Action::Copy => self.incident().is_some(),
            Action::Incident => self.open_incidents().next().is_some(),
            Action::Up | Action::Down
                if self.screen == Screen::Triage && self.overlay.is_none() =>
            {
                1 < self.open_incidents().count()
            }
            Action::Open => self.screen != Screen::Graph && self.target().is_some(),
            _ => true,
        }
    }

    /// When the screen changes by time alone, if it does.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let now = self.now.instant;
        let second = now + Duration::from_secs(1);
        [
            self.notice.as_ref().map(|n| n.until),
            self.guard.armed.as_ref().map(|armed| armed.at + guard::ARM_FOR),
            self.stale_at(),
            self.shows_seconds().then_some(second),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When data that is fresh will be stale.
    fn stale_at(&self) -> Option<Instant> {
        let arrival = self.arrival.filter(|_| !self.is_stale())?;
        Some(arrival.at + STALE_AFTER.saturating_sub(arrival.age) + Duration::from_millis(1))
    }

    /// Whether something on the screen counts seconds without new data: a lease, a command under
    /// way, the age of stale data.
    fn shows_seconds(&self) -> bool {
        if self.playback.is_some() {
            return false;
        }
        let counts_age = self.arrival.is_some() && self.is_stale();
        counts_age
            || self.commands.is_waiting()
            || self.snapshot.breakers.iter().any(|b| b.until.is_some())
    }

    /// Shows a line of the console's own.
    pub fn say(&mut self, text: impl Into<String>, bad: bool) {
        let until = self.now.instant + NOTICE_FOR;
        self.notice = Some(Notice { text: text.into(), bad, until });
    }
}

#[cfg(test)]
mod tests;
