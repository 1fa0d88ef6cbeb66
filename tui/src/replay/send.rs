//! A replay for a collector elsewhere: spans leave when they end, on the clock of today.

use super::line::{Event, Line, Sent};
use super::otlp::{Endpoint, Refusal};
use crate::cli::args::Replay;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use fusebox_collector::replay::{Due, Recording, Schedule};
use fusebox_proto::Now;
use std::time::Duration;

/// Attempts of a request that may be sent again.
const ATTEMPTS_MAX: u32 = 6;
/// First pause between them; each is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// What is sent is told so often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Sends all spans to `url`, at the speed that is asked for. Failed where not all were taken.
pub(super) async fn run(
    recording: &Recording,
    url: &str,
    replay: &Replay,
) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find(url).await;
    let endpoint = endpoint.map_err(|why| Failure::Failed(anyhow::anyhow!("--to {why}")))?;
    let speed = replay.speed.unwrap_or(1.0);
    let started = Now::read();
    let schedule = Schedule::new(recording, started.unix_ms * 1_000_000, speed);
    let mut sending = Sending { endpoint, started, replay, sent: Sent::default(), failed: None };
    sending.say(Event::Sending {
        window: recording.window(),
        to: url.to_owned(),
        transport: sending.endpoint.transport.to_string(),
        speed,
        length_s: schedule.length().as_secs_f64(),
    })?;
    let result = tokio::select! {
        result = sending.all(schedule) => result,
        // Told to end: what was sent until now is told, and that it is not all.
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let window = recording.window();
    sending.sent.left_out = window.spans - sending.sent.spans - sending.sent.refused;
    sending.sent.proxy_messages_left_out = window.proxy_messages;
    sending.say(Event::Sent(sending.sent.clone()))?;
    result?;
    if let Some(why) = sending.failed {
        return Err(Failure::Failed(anyhow::anyhow!("--to {url}: {why}")));
    }
    Ok(if sending.sent.left_out == 0 { Exit::Done } else { Exit::Failed })
}

struct Sending<'r> {
    endpoint: Endpoint,
    started: Now,
    replay: &'r Replay,
    sent: Sent,
    /// The first thing that went wrong.
    failed: Option<String>,
}

impl Sending<'_> {
    async fn all(&mut self, schedule: Schedule<'_>) -> Result<(), Failure> {
        let mut tell_at = TELL_EVERY;
        for due in schedule {
            if tell_at <= due.at {
                tell_at = due.at + TELL_EVERY;
                self.say(Event::Progress(self.sent.clone()))?;
            }
            tokio::time::sleep_until((self.started.instant + due.at).into()).await;
            self.sent.behind_ms_max = self.sent.behind_ms_max.max(self.behind_ms(due.at));
            if !self.one(&due).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends one request until it is taken or refused for good; whether to go on.
    async fn one(&mut self, due: &Due) -> bool {
        let mut pause = PAUSE_MIN;
        for attempt in 1.. {
            match self.endpoint.send(&due.body).await {
                Ok(rejected) => {
                    self.sent.requests += 1;
                    self.sent.spans += due.spans - rejected.min(due.spans);
                    self.sent.refused += rejected.min(due.spans);
                    return true;
                }
                Err(Refusal::ForNow { pause: asked, .. }) if attempt < ATTEMPTS_MAX => {
                    self.sent.repeated += 1;
                    tokio::time::sleep(asked.unwrap_or_default().max(pause)).await;
                    pause *= 2;
                }
                // Nobody is there any more.
                Err(Refusal::ForNow { why, .. }) => {
                    self.failed = Some(why);
                    return false;
                }
                Err(Refusal::ForGood(why)) => {
                    self.sent.refused += due.spans;
                    self.failed.get_or_insert(why);
                    return true;
                }
            }
        }
        unreachable!("the last attempt ends it")
    }

    fn behind_ms(&self, due: Duration) -> u64 {
        let now = Now::read().instant.saturating_duration_since(self.started.instant);
        u64::try_from(now.saturating_sub(due).as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells a line; its time is that of today, since the start.
    fn say(&self, event: Event) -> Result<(), Failure> {
        let now = Now::read().instant.saturating_duration_since(self.started.instant);
        let t_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        out::print(&out::line(&Line { t_ms, event }, self.replay.output))
    }
}
