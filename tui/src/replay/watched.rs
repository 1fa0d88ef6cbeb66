//! A replay on the dashboard: one task plays, the dashboard shows and says what it wants.

use crate::cli::args::{Global, Replay};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{many_threads, open, operator};
use fusebox::dashboard::{self, Feed, Options, Played};
use fusebox::model::playback::{Control, Phase, Playback};
use fusebox_collector::replay::{Player, Recording, Stretch};
use fusebox_proto::Now;
use fusebox_proto::view::Stamp;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Between two frames of figures.
const FRAME: Duration = Duration::from_millis(100);
/// Moments that wait for the dashboard; beyond, some are left out.
const SHOWN_MAX: usize = 16;
/// Controls that wait for the player.
const CONTROLS_MAX: usize = 16;
/// Steps of a search between two looks at what else is wanted.
const STEPS_AT_ONCE: usize = 100;
/// At the beginning nothing is known; the first frame is of so much later, ms.
const PROLOGUE_MS: u64 = 2_000;

/// Shows the recording until the operator leaves.
pub(super) fn run(recording: Recording, replay: &Replay, global: &Global) -> Result<Exit, Failure> {
    let (updates, shown) = mpsc::channel(SHOWN_MAX);
    let (controls, wanted) = mpsc::channel(CONTROLS_MAX);
    let speed = replay.speed.unwrap_or(1.0);
    let names: Vec<String> = replay.files.iter().map(|path| path.display().to_string()).collect();
    let name = fusebox_proto::text::visible(&names.join(", ")).into_owned();
    let options = Options {
        collector: format!("a recording, {name}"),
        token: None,
        by: operator(),
        read_only: true,
        plain: global.plain,
        ascii: global.ascii,
        theme: global.theme.clone(),
        ingest: open::ingest(""),
        notice: Some(format!("replay of {name}")),
    };
    let stage = Stage::new(recording, speed, updates, wanted);
    let feed = Feed { updates: shown, controls };
    many_threads()?.block_on(async {
        tokio::select! {
            result = dashboard::replay(options, feed) => result,
            () = stage.run() => Ok(()),
        }
    })?;
    Ok(Exit::Done)
}

/// What the player owns.
struct Stage {
    recording: Recording,
    player: Player,
    speed: f64,
    phase: Phase,
    /// Where the operator wants it.
    goal: Option<Stamp>,
    /// From which moments on it runs at this speed: of today, and of the recording.
    since: (Instant, u64),
    updates: mpsc::Sender<Played>,
    wanted: mpsc::Receiver<Control>,
}

impl Stage {
    fn new(
        recording: Recording,
        speed: f64,
        updates: mpsc::Sender<Played>,
        wanted: mpsc::Receiver<Control>,
    ) -> Self {
        let now = Now::read();
        let player = Player::new(&recording, now);
        let since = (now.instant, player.now().unix_ms);
        let goal = Some(Stamp(recording.window().from.0 + PROLOGUE_MS));
        let phase = Phase::Playing;
        Self { recording, player, speed, phase, goal, since, updates, wanted }
    }

    /// Plays for as long as somebody watches.
    async fn run(mut self) {
        loop {
            let rest = self.advance();
            // A dashboard that has not shown the last one yet gets the next.
            if let Ok(place) = self.updates.try_reserve() {
                let snapshot = Box::new(self.player.snapshot());
                place.send(Played { snapshot, playback: self.playback() });
            }
            tokio::select! {
                biased;
                control = self.wanted.recv() => match control {
                    Some(control) => self.take(control),
                    None => return,
                },
                () = tokio::time::sleep(rest.unwrap_or_default()) => (),
            }
        }
    }

    fn take(&mut self, control: Control) {
        match control {
            Control::Pause => self.phase = Phase::Paused,
            Control::Play => self.phase = Phase::Playing,
            Control::Speed(speed) => self.speed = speed,
            Control::Seek(at) => {
                if at.0 < self.player.now().unix_ms {
                    self.player = Player::new(&self.recording, Now::read());
                }
                if self.phase == Phase::Over {
                    self.phase = Phase::Playing;
                }
                self.goal = Some(at);
            }
        }
        self.restart();
    }

    /// The clock goes on from here.
    fn restart(&mut self) {
        self.since = (Now::read().instant, self.player.now().unix_ms);
    }

    /// Plays what is due, and says how long nothing is; `None` where there is more to do at once.
    fn advance(&mut self) -> Option<Duration> {
        let target_ms = match self.goal {
            Some(goal) => goal.0,
            None if self.phase == Phase::Playing => {
                let passed = Now::read().instant.saturating_duration_since(self.since.0);
                self.since.1 + passed.mul_f64(self.speed).as_millis() as u64
            }
            None => return Some(FRAME),
        };
        let second = self.player.now().unix_ms / 1_000;
        for _ in 0..STEPS_AT_ONCE {
            // Each second is shown, as it was live: sparklines have no gaps at any speed.
            if second < self.player.now().unix_ms / 1_000 {
                return None;
            }
            if target_ms <= self.player.now().unix_ms {
                if self.goal.take().is_some() {
                    self.restart();
                }
                return Some(FRAME);
            }
            if self.player.step(&self.recording) == Stretch::Over {
                (self.phase, self.goal) = (Phase::Over, None);
                return Some(FRAME);
            }
        }
        None
    }

    fn playback(&self) -> Playback {
        let window = self.recording.window();
        Playback {
            from: window.from,
            to: window.to,
            at: Stamp(self.player.now().unix_ms),
            speed: self.speed,
            phase: if self.goal.is_some() { Phase::Seeking } else { self.phase },
        }
    }
}
