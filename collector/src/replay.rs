//! Captures played again: the same telemetry, the same detectors, in the capture's own time.
//!
//! | | |
//! |---|---|
//! | [`recording`] | all that some files hold, in the order in which it happened |
//! | [`player`] | an engine to which it happens again, as fast as wanted |
//! | [`attempts`] | what went over some edges, attempt by attempt: to ask what a breaker would have done |
//! | [`resend`] | the same spans as if they were made now, for a collector elsewhere |
//!
//! A span is told when it ended, whatever the order of the files: so a replay does not depend on
//! how exporters batched, and two replays of the same files are the same.

mod attempts;
mod player;
mod recording;
mod resend;
#[cfg(test)]
mod tests;

pub use attempts::{Attempt, Crossings, End, Kind, Source, crossings};
pub use player::{Player, Stretch};
pub use recording::{LoadError, Recording, Window};
pub use resend::{Due, Schedule, rejected};
