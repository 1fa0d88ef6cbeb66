//! What happened, in the order in which it did, and beside what: incidents, acts, changes.

use super::Model;
use fusebox_proto::view::{Event, Incident, Stamp};

/// Lengths of time that the lanes may show: the shortest that reaches back to the chosen row.
const SPANS_MS: [u64; 5] = [900_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000];

/// A row of things that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// From the beginning of an incident to its end.
    Incidents,
    /// What operators and guard mode did.
    Acts,
    /// New instances and versions, policy, certificates.
    Changes,
    /// What became of circuits, proxies and the collector.
    System,
}

impl Lane {
    /// From above.
    pub const ALL: [Self; 4] = [Self::Incidents, Self::Acts, Self::Changes, Self::System];

    /// Where an event of this kind belongs.
    pub fn of(kind: &str) -> Self {
        match kind {
            "incident" => Self::Incidents,
            "trip" | "reset" | "guard" | "note" => Self::Acts,
            "instance" | "deploy" | "policy" | "certificate" => Self::Changes,
            _ => Self::System,
        }
    }

    /// What stands before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incidents => "incidents",
            Self::Acts => "acts",
            Self::Changes => "changes",
            Self::System => "system",
        }
    }
}

/// The time that the lanes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// ms since the Unix epoch.
    pub from: u64,
    /// ms since the Unix epoch, not before `from`.
    pub to: u64,
}

impl Span {
    /// The cell of a moment among so many; `None` where it is not within.
    pub fn cell(self, at: Stamp, cells: u16) -> Option<u16> {
        let (past, whole) = (at.0.checked_sub(self.from)?, self.to.saturating_sub(self.from));
        if whole < past || cells == 0 {
            return None;
        }
        let cell = u128::from(past) * u128::from(cells) / u128::from(whole.max(1));
        u16::try_from(cell).ok().map(|cell| cell.min(cells - 1))
    }
}

impl Model {
    /// Events that the filter lets through, newest first.
    pub fn timeline_rows(&self) -> Vec<&Event> {
        let events = self.snapshot.events.iter();
        events.filter(|event| self.shows(&[&event.kind, &event.text])).collect()
    }

    /// The chosen event, if a row shows it; else the newest.
    pub fn selected_event(&self) -> Option<&Event> {
        let rows = self.timeline_rows();
        let chosen = self.selection.event.as_ref();
        rows.iter().find(|event| Some(**event) == chosen).or_else(|| rows.first()).copied()
    }

    /// The incident that the chosen event tells of: its text begins with `#`, its id and a space.
    pub fn told_incident(&self) -> Option<&Incident> {
        let event = self.selected_event().filter(|event| event.kind == "incident")?;
        let id = event.text.strip_prefix('#')?.split_whitespace().next()?;
        self.snapshot.incidents.iter().find(|incident| incident.id == id)
    }

    /// What the lanes show: up to now, and back to the chosen event.
    pub fn span(&self) -> Span {
        let to = self.wall().0;
        let chosen = self.selected_event().map_or(to, |event| event.at.0);
        let back = to.saturating_sub(chosen);
        let [.., longest] = SPANS_MS;
        let span = SPANS_MS.into_iter().find(|span| back < *span).unwrap_or(longest);
        Span { from: to.saturating_sub(span), to }
    }
}
