//! The end of a proxy: announced, polite, bounded.
//!
//! ```text
//! serving ──begin──▶ draining ──grace──▶ closing ──all done, or the timeout──▶ ended
//! ```
//!
//! While it drains, a proxy still accepts, so that whoever has not heard yet is served: `/readyz`
//! says 503, each HTTP/1 answer `Connection: close`, each HTTP/2 connection `GOAWAY`. Once it
//! closes, nothing new comes in, and what is in flight ends in its own time or at the timeout.
//!
//! It begins with a signal, with `POST /drain`, or when a successor took over the listeners. To
//! begin again changes nothing, but for an end that would come sooner.

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A caller that uses its connection at least this often meets no connection that we closed; the
/// others have the race that all idle connections have.
pub(crate) const IDLE_PATIENCE: Duration = Duration::from_secs(1);

/// When a proxy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    /// No connection is accepted from then on.
    closes: Instant,
    /// What is in flight then is cut off.
    cut: Instant,
}

/// How far a proxy is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is not.
    Serving,
    /// It still accepts.
    Draining,
    /// It does not.
    Closing,
}

impl Stage {
    /// As the admin port says it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Closing => "closing",
        }
    }
}

/// The end of a proxy, as all its tasks see it.
#[derive(Debug)]
pub(crate) struct Drain {
    /// For those who ask at each request.
    is_draining: AtomicBool,
    began: CancellationToken,
    handed_over: CancellationToken,
    ends: watch::Sender<Option<Ends>>,
    parts: Mutex<Vec<Weak<Drain>>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            is_draining: AtomicBool::new(false),
            began: CancellationToken::new(),
            handed_over: CancellationToken::new(),
            ends: watch::Sender::new(None),
            parts: Mutex::default(),
        }
    }
}

impl Drain {
    /// The end of a part of the proxy: no later than its own, and perhaps before.
    pub(crate) fn part(&self) -> Arc<Self> {
        let part: Arc<Self> = Arc::default();
        let mut parts = self.parts.lock();
        parts.retain(|other| 0 < other.strong_count());
        parts.push(Arc::downgrade(&part));
        drop(parts);
        let ends = *self.ends.borrow();
        if let Some(ends) = ends {
            part.begin_at(ends);
        }
        part
    }

    /// Begins: listeners close after `grace`, and what is in flight is cut off after `timeout`,
    /// both from `now` on. An end that was announced before stays, if it is no later.
    pub(crate) fn begin(&self, now: Instant, grace: Duration, timeout: Duration) {
        let cut = now + timeout;
        self.begin_at(Ends { closes: (now + grace).min(cut), cut });
    }

    fn begin_at(&self, new: Ends) {
        self.is_draining.store(true, Relaxed);
        self.ends.send_modify(|ends| {
            let old = ends.unwrap_or(new);
            let (closes, cut) = (old.closes.min(new.closes), old.cut.min(new.cut));
            *ends = Some(Ends { closes, cut });
        });
        self.began.cancel();
        let parts = self.parts.lock().clone();
        parts.iter().filter_map(Weak::upgrade).for_each(|part| part.begin_at(new));
    }

    /// Begins because a successor serves on the same sockets: nothing is accepted any more.
    pub(crate) fn hand_over(&self, now: Instant, timeout: Duration) {
        self.handed_over.cancel();
        self.begin(now, Duration::ZERO, timeout);
    }

    /// Cancelled once a successor serves: the admin port and the collector are its own.
    pub(crate) fn handed_over(&self) -> &CancellationToken {
        &self.handed_over
    }

    /// Whether it began.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// How far it is.
    pub(crate) fn stage(&self, now: Instant) -> Stage {
        match *self.ends.borrow() {
            None => Stage::Serving,
            Some(ends) if now < ends.closes => Stage::Draining,
            Some(_) => Stage::Closing,
        }
    }

    /// For `/config`.
    pub(crate) fn page(&self, now: Instant) -> Value {
        let ends = *self.ends.borrow();
        let ms =
            |until: Instant| u64::try_from(until.saturating_duration_since(now).as_millis()).ok();
        json!({
            "stage": self.stage(now).as_str(),
            "closes_in_ms": ends.and_then(|ends| ms(ends.closes)),
            "ends_in_ms": ends.and_then(|ends| ms(ends.cut)),
        })
    }

    /// Returns once it began.
    pub(crate) async fn began(&self) {
        self.began.cancelled().await;
    }

    /// Returns when no more connections may be accepted.
    pub(crate) async fn closes(&self) {
        self.until(|ends| ends.closes).await;
    }

    /// Returns when what is in flight is cut off.
    pub(crate) async fn cut(&self) {
        self.until(|ends| ends.cut).await;
    }

    async fn until(&self, moment: impl Fn(&Ends) -> Instant) {
        let mut changes = self.ends.subscribe();
        loop {
            let at = changes.borrow_and_update().as_ref().map(&moment);
            let passed = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = changes.changed() => (),
                () = passed => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::Now;

    /// Scenario: an end is announced, then others that come later or sooner.
    /// Guarantees: the stage follows the clock; an end only ever comes nearer; no listener outlives
    /// the end of what is in flight.
    #[test]
    fn an_end_only_comes_nearer() {
        let second = Duration::from_secs(1);
        let start = Now::read().instant;
        let drain = Drain::default();
        let check = |at: u32, expected: Stage, ends: [Option<u64>; 2]| {
            let now = start + second * at;
            assert_eq!(drain.stage(now), expected, "{at}");
            let page = drain.page(now);
            let ms = ["closes_in_ms", "ends_in_ms"].map(|key| page[key].as_u64());
            assert_eq!(ms, ends, "{at}");
        };
        check(0, Stage::Serving, [None, None]);
        assert!(!drain.is_draining());
        drain.begin(start, second * 5, second * 20);
        assert!(drain.is_draining());
        check(4, Stage::Draining, [Some(1_000), Some(16_000)]);
        check(5, Stage::Closing, [Some(0), Some(15_000)]);
        drain.begin(start + second, second * 60, second * 60);
        check(4, Stage::Draining, [Some(1_000), Some(16_000)]);
        drain.begin(start + second, Duration::ZERO, second * 9);
        check(4, Stage::Closing, [Some(0), Some(6_000)]);
        let drain = Drain::default();
        drain.begin(start, second * 9, second * 2);
        assert_eq!(drain.page(start)["closes_in_ms"], 2_000);
    }

    /// Scenario: a part ends alone; then the whole, with a part that serves and one that comes later.
    /// Guarantees: the end of a part is no one else's; that of the whole is everybody's, but for who
    /// ends sooner.
    #[test]
    fn parts_end_with_the_whole() {
        let (second, start) = (Duration::from_secs(1), Now::read().instant);
        let whole = Drain::default();
        let (one, other) = (whole.part(), whole.part());
        one.begin(start, Duration::ZERO, second);
        assert!(one.is_draining() && !whole.is_draining() && !other.is_draining());
        whole.begin(start, second * 2, second * 9);
        let late = whole.part();
        let ends = |drain: &Drain| {
            let page = drain.page(start);
            [&page["closes_in_ms"], &page["ends_in_ms"]].map(|ms| ms.as_u64().unwrap())
        };
        assert_eq!(ends(&one), [0, 1_000]);
        assert_eq!((ends(&other), ends(&late)), ([2_000, 9_000], [2_000, 9_000]));
    }
}
