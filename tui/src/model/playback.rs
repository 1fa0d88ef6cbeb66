//! A recording on the screen instead of a mesh: where it stands, and the keys that move it. Nothing
//! can be done to it: nobody trips the past.

use super::{Effect, Model};
use crate::keys::Action;
use fusebox_proto::view::Stamp;

/// Each press of a speed key makes it so many times as fast, or as slow.
const SPEED_STEP: f64 = 2.0;
/// The slowest.
pub const SPEED_MIN: f64 = 0.125;
/// The fastest.
pub const SPEED_MAX: f64 = 1_024.0;
/// So far the keys jump, ms.
const JUMP_MS: u64 = 30_000;

/// Where a recording stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playback {
    /// Where it begins.
    pub from: Stamp,
    /// Where it ends.
    pub to: Stamp,
    /// Where it is.
    pub at: Stamp,
    /// So many times as fast as it was.
    pub speed: f64,
    /// Whether it stands still.
    pub phase: Phase,
}

/// Whether a recording moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It runs.
    Playing,
    /// It stands, as asked.
    Paused,
    /// It is on its way to where the operator wants it.
    Seeking,
    /// All of it has happened.
    Over,
}

/// What is wanted of whoever plays it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Control {
    /// Stand still.
    Pause,
    /// Go on.
    Play,
    /// Go so many times as fast as it was.
    Speed(f64),
    /// Go there.
    Seek(Stamp),
}

impl Model {
    /// What a key wants of the recording.
    pub(super) fn play(&mut self, action: Action) -> Vec<Effect> {
        let Some(playback) = &mut self.playback else { return Vec::new() };
        let control = match action {
            Action::Pause if playback.phase == Phase::Paused => Control::Play,
            Action::Pause => Control::Pause,
            Action::Faster | Action::Slower => {
                let faster = playback.speed * SPEED_STEP;
                let slower = playback.speed / SPEED_STEP;
                let speed = if action == Action::Faster { faster } else { slower };
                // Shown at once, so that the next press builds on it.
                playback.speed = speed.clamp(SPEED_MIN, SPEED_MAX);
                Control::Speed(playback.speed)
            }
            Action::JumpBack => Control::Seek(Stamp(playback.at.0.saturating_sub(JUMP_MS))),
            Action::JumpOn => Control::Seek(Stamp(playback.at.0.saturating_add(JUMP_MS))),
            _ => return Vec::new(),
        };
        if let Control::Seek(Stamp(at)) = control {
            let at = Stamp(at.clamp(playback.from.0, playback.to.0));
            playback.at = at;
            playback.phase = Phase::Seeking;
            return vec![Effect::Play(Control::Seek(at))];
        }
        vec![Effect::Play(control)]
    }

    /// The player tells where it is. Whatever came before it is no past of a time before that.
    pub(super) fn playback(&mut self, playback: Playback) {
        if playback.at < self.snapshot.at {
            self.history = super::History::default();
        }
        self.playback = Some(playback);
    }
}
