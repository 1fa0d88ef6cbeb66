//! A replay line by line, as fast as it goes or at a speed.

use super::asked::Asked;
use super::line::{Event, Line, Quality, Summary, Told};
use crate::cli::args::Replay;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use fusebox_collector::replay::{Player, Recording, Stretch};
use fusebox_proto::Now;
use std::time::Duration;

/// Verdicts are looked at so often, in the recording's time.
const LOOK_MS: u64 = 500;

/// Plays to the end, and tells what is found.
pub(super) async fn run(recording: &Recording, replay: &Replay) -> Result<Exit, Failure> {
    let window = recording.window();
    let say = |t_ms, event| out::print(&out::line(&Line { t_ms, event }, replay.output));
    say(0, Event::Started { window })?;
    let started = Now::read();
    let mut player = Player::new(recording, started);
    let mut told = Told::default();
    let mut asked = replay.what_if.then(Asked::default);
    let mut looked_ms = 0;
    loop {
        let stretch = player.step(recording);
        let now_ms = player.now().unix_ms;
        let t_ms = now_ms.saturating_sub(window.from.0);
        if looked_ms + LOOK_MS <= now_ms || stretch == Stretch::Over {
            looked_ms = now_ms;
            let snapshot = player.snapshot();
            if let Some(asked) = &mut asked {
                asked.see(&player, &snapshot, window.to);
            }
            told.news(&snapshot).into_iter().try_for_each(|event| say(t_ms, event))?;
        }
        if stretch == Stretch::Over {
            break say(t_ms, summary(recording, &player, told, asked))?;
        }
        if let Some(speed) = replay.speed {
            let due = started.instant + Duration::from_millis(t_ms).div_f64(speed);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    Ok(Exit::Done)
}

fn summary(recording: &Recording, player: &Player, told: Told, asked: Option<Asked>) -> Event {
    let of_files = recording.told();
    let data_quality = Quality {
        rejected: of_files.rejected + player.rejected(),
        other: of_files.other,
        truncated: of_files.truncated,
        skipped_s: player.skipped().as_secs(),
        dropped: player.snapshot().status.collector.dropped,
    };
    let (incidents, advisories) = told.end();
    let window = recording.window();
    let what_if = asked.map(|asked| asked.answers(recording, player.now(), &incidents));
    Event::Summary(Box::new(Summary { window, incidents, advisories, what_if, data_quality }))
}
