//! The last minutes of telemetry, as it came: what a recording is made of, also one of an incident
//! that began before anybody thought of recording.
//!
//! Bodies are kept as they were sent, packed if they were: keeping one costs no work. What is old,
//! or too much, goes; a reader that is slower than that is told how much it missed.

mod lines;

pub(crate) use lines::Lines;

use crate::otlp::Posted;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Bytes of bodies and messages that are kept.
const LEN_MAX: usize = 64 * 1024 * 1024;
/// A frame takes this beside its bytes.
const FRAME_LEN: usize = 128;
/// What came longer ago than this is not kept.
const AGE_MAX: Duration = Duration::from_mins(15);

/// Something that came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Wall clock, ms since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// What.
    pub(crate) what: What,
}

/// See [`Frame`].
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A request of spans.
    Traces(Posted),
    /// A proxy spoke, or (`None`) left.
    Proxy {
        /// On which stream.
        stream: u64,
        /// How it introduced itself on it.
        hello: Bytes,
        /// `ProxyMessage`
        message: Option<Bytes>,
    },
}

impl What {
    fn len(&self) -> usize {
        FRAME_LEN
            + match self {
                Self::Traces(posted) => posted.packed.len(),
                Self::Proxy { message, .. } => message.as_ref().map_or(0, Bytes::len),
            }
    }
}

/// The tape. One for each collector.
#[derive(Debug)]
pub(crate) struct Tape {
    kept: Mutex<Kept>,
    /// The number of the next frame.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    frames: VecDeque<Arc<Frame>>,
    /// The number of the oldest.
    first: u64,
    len: usize,
    len_max: usize,
}

impl Default for Tape {
    fn default() -> Self {
        Self::new(LEN_MAX)
    }
}

impl Tape {
    /// A tape that holds so many bytes.
    fn new(len_max: usize) -> Self {
        let kept = Kept { len_max, ..Kept::default() };
        Self { kept: Mutex::new(kept), next: watch::Sender::new(0) }
    }

    /// Keeps what came.
    pub(crate) fn push(&self, at_unix_ms: u64, what: What) {
        let next = {
            let mut kept = self.kept();
            kept.len += what.len();
            kept.frames.push_back(Arc::new(Frame { at_unix_ms, what }));
            kept.shed(at_unix_ms);
            kept.next()
        };
        self.next.send_replace(next);
    }

    /// A reader of what came at `from_unix_ms` or later.
    pub(crate) fn read_from(self: &Arc<Self>, from_unix_ms: u64) -> Reader {
        let kept = self.kept();
        let older = kept.frames.iter().take_while(|frame| frame.at_unix_ms < from_unix_ms).count();
        let next = kept.first + older as u64;
        drop(kept);
        Reader { tape: Arc::clone(self), next, lost: 0 }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics while it is held")
    }
}

impl Kept {
    fn next(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Lets go of what is too old or too much; the newest stays.
    fn shed(&mut self, now_unix_ms: u64) {
        let oldest_unix_ms = now_unix_ms.saturating_sub(AGE_MAX.as_millis() as u64);
        while 1 < self.frames.len()
            && (self.len_max < self.len || self.frames[0].at_unix_ms < oldest_unix_ms)
        {
            let gone = self.frames.pop_front().expect("there is more than one");
            self.len -= gone.what.len();
            self.first += 1;
        }
    }
}

/// Reads a tape, from somewhere on.
#[derive(Debug)]
pub(crate) struct Reader {
    tape: Arc<Tape>,
    next: u64,
    /// Frames that went before they were read.
    pub(crate) lost: u64,
}

impl Reader {
    /// The next frame, if it has come.
    pub(crate) fn next(&mut self) -> Option<Arc<Frame>> {
        let kept = self.tape.kept();
        let gone = kept.first.saturating_sub(self.next);
        self.lost += gone;
        self.next += gone;
        let at = usize::try_from(self.next - kept.first).ok()?;
        let frame = Arc::clone(kept.frames.get(at)?);
        self.next += 1;
        Some(frame)
    }

    /// Waits until there is a next frame.
    pub(crate) async fn ready(&self) {
        let mut next = self.tape.next.subscribe();
        // The tape lives as long as this.
        let _ = next.wait_for(|next| self.next < *next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(len: usize) -> What {
        let message = Some(Bytes::from(vec![0; len]));
        What::Proxy { stream: 1, hello: Bytes::new(), message }
    }

    fn times(reader: &mut Reader) -> Vec<u64> {
        std::iter::from_fn(|| reader.next()).map(|frame| frame.at_unix_ms).collect()
    }

    /// Scenario: frames over twenty minutes, a reader of some of them, and one that comes too late.
    /// Guarantees: a quarter of an hour is kept, each reader gets its own from its moment on, and is
    /// told what it missed.
    #[test]
    fn a_quarter_of_an_hour_is_kept() {
        let tape = Arc::new(Tape::default());
        let mut slow = tape.read_from(0);
        for minute in 0..20 {
            tape.push(minute * 60_000, said(10));
        }
        let minutes: Vec<u64> = (4..20).map(|minute| minute * 60_000).collect();
        assert_eq!(times(&mut slow), minutes);
        assert_eq!(slow.lost, 4);
        let mut of_late = tape.read_from(17 * 60_000 - 1);
        assert_eq!(times(&mut of_late), minutes[13..]);
        assert_eq!((of_late.lost, of_late.next().is_none()), (0, true));
    }

    /// Scenario: more bytes than are kept.
    /// Guarantees: the newest stay, within the limit; one that is larger than all is kept alone.
    #[test]
    fn no_more_is_kept_than_is_allowed() {
        let tape = Arc::new(Tape::new(1_000));
        for at in 0..100 {
            tape.push(at, said(72));
        }
        assert_eq!(times(&mut tape.read_from(0)), [95, 96, 97, 98, 99]);
        tape.push(100, said(5_000));
        assert_eq!(times(&mut tape.read_from(0)), [100]);
    }

    /// Scenario: a reader that waits.
    /// Guarantees: it is woken by the next frame, and not asked to wait for one that is there.
    #[tokio::test]
    async fn a_reader_is_woken() {
        let tape = Arc::new(Tape::default());
        let mut reader = tape.read_from(0);
        let pushed = Arc::clone(&tape);
        let (reader_ready, ()) =
            tokio::join!(reader.ready(), async move { pushed.push(1, said(1)) });
        let () = reader_ready;
        reader.ready().await;
        assert_eq!(times(&mut reader), [1]);
    }
}
