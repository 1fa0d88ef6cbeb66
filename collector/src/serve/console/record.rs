//! `Console.Record`: what came in, as lines of a capture.

use super::Service;
use crate::serve::Answers;
use crate::tape::{Lines, Reader};
use fusebox_proto::Now;
use fusebox_proto::view::Snapshot;
use fusebox_proto::wire::v1::record_request::Period;
use fusebox_proto::wire::v1::{RecordChunk, RecordRequest};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

/// The longest recording.
const LENGTH_MAX: Duration = Duration::from_hours(24);
/// Before an incident this is recorded, too: what is usual must be in it.
const LEAD_MS: u64 = 5 * 60 * 1_000;
/// And after it.
const TAIL_MS: u64 = 10_000;
/// More recordings at once than this are refused.
pub(super) const RECORDINGS_MAX: usize = 8;
/// Bytes of a piece.
const CHUNK_LEN: usize = 256 * 1024;
/// Frames that are written in one go, on a thread that may take its time.
const FRAMES_AT_ONCE: usize = 64;
/// A recording of what is to come tells so often how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Service {
    /// Begins a recording.
    pub(super) fn recording(
        &self,
        request: RecordRequest,
    ) -> Result<Response<Answers<RecordChunk>>, Status> {
        let place = Arc::clone(&self.recording).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{RECORDINGS_MAX} recordings are under way already"))
        })?;
        let now = Now::read();
        let asked = request.period.ok_or_else(|| Status::invalid_argument("period: is absent"))?;
        let (from_unix_ms, until_unix_ms) = period(&asked, now, &self.shared.snapshots.borrow())?;
        let left = Duration::from_millis(until_unix_ms.saturating_sub(now.unix_ms));
        let recording = Recording {
            reader: self.shared.tape.read_from(from_unix_ms),
            lines: Lines::default(),
            until_unix_ms,
            ends: Instant::from_std(now.instant + left),
            from_unix_ms: 0,
            to_unix_ms: 0,
            pieces: VecDeque::new(),
            is_over: false,
            stop: self.shared.stop.clone(),
            _place: place,
        };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(recording, Recording::next))))
    }
}

/// From when to when, on the wall clock.
fn period(asked: &Period, now: Now, snapshot: &Snapshot) -> Result<(u64, u64), Status> {
    match asked {
        Period::ForMs(ms) if (1..=LENGTH_MAX.as_millis() as u64).contains(ms) => {
            Ok((now.unix_ms, now.unix_ms + ms))
        }
        Period::ForMs(_) => {
            let max = LENGTH_MAX.as_secs();
            Err(Status::invalid_argument(format!("for_ms: is not from 1 ms to {max} s")))
        }
        Period::Incident(id) => {
            let incident = snapshot.incidents.iter().find(|incident| incident.id == *id);
            let incident = incident.ok_or_else(|| {
                let ids: Vec<&str> = snapshot.incidents.iter().map(|it| it.id.as_str()).collect();
                let there = match ids.as_slice() {
                    [] => "there is none".to_owned(),
                    ids => format!("there is {}", ids.join(", ")),
                };
                Status::not_found(format!("no incident is called {id:?}; {there}"))
            })?;
            let from = incident.opened_at.0.saturating_sub(LEAD_MS);
            let over = incident.resolved_at.map_or(u64::MAX, |over| over.0 + TAIL_MS);
            Ok((from, over.min(now.unix_ms)))
        }
    }
}

/// A recording under way. Pulled by its connection: a slow one misses what leaves the tape, and is
/// told.
struct Recording {
    reader: Reader,
    lines: Lines,
    until_unix_ms: u64,
    ends: Instant,
    from_unix_ms: u64,
    to_unix_ms: u64,
    /// Written and not sent.
    pieces: VecDeque<Vec<u8>>,
    is_over: bool,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Recording {
    async fn next(mut self) -> Option<(Result<RecordChunk, Status>, Self)> {
        if self.pieces.is_empty() {
            if self.is_over {
                return None;
            }
            self = self.write().await;
        }
        let chunk = RecordChunk {
            data: self.pieces.pop_front().unwrap_or_default(),
            requests: self.lines.requests,
            proxy_messages: self.lines.proxy_messages,
            lost: self.reader.lost,
            from_unix_ms: self.from_unix_ms,
            to_unix_ms: self.to_unix_ms,
        };
        Some((Ok(chunk), self))
    }

    /// Waits for what comes next, or for the end, and writes some of it.
    async fn write(mut self) -> Self {
        let tell = (Instant::from_std(Now::read().instant) + TELL_EVERY).min(self.ends);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => self.is_over = true,
            () = self.reader.ready() => (),
            () = tokio::time::sleep_until(tell) => self.is_over = self.ends <= tell,
        }
        tokio::task::spawn_blocking(move || {
            self.write_some();
            self
        })
        .await
        .expect("writing lines does not panic")
    }

    fn write_some(&mut self) {
        let mut text = String::new();
        for _ in 0..FRAMES_AT_ONCE {
            let Some(frame) = self.reader.next() else { break };
            if self.until_unix_ms < frame.at_unix_ms {
                self.is_over = true;
                break;
            }
            // What is there is given before the end.
            self.is_over = false;
            self.from_unix_ms =
                if self.from_unix_ms == 0 { frame.at_unix_ms } else { self.from_unix_ms };
            self.to_unix_ms = frame.at_unix_ms;
            text.push_str(&self.lines.of(&frame));
        }
        self.pieces.extend(text.into_bytes().chunks(CHUNK_LEN).map(<[u8]>::to_vec));
    }
}
