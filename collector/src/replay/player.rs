//! An engine to which a recording happens again, in the recording's own time.

use super::recording::{Move, Recording, What};
use crate::capture::Said;
use crate::decode;
use crate::engine::{ConnectionId, Engine, Event, Limits, Output};
use crate::otlp;
use fusebox_proto::command::Verb;
use fusebox_proto::report::FromProxy;
use fusebox_proto::view::{EdgeName, Snapshot, SuggestedAction};
use fusebox_proto::{Edge, Now};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What ended within so many ms is told together, at the end of them.
pub(super) const SLOT_MS: u64 = 100;
/// Once nothing has happened for this long, time goes on at the next thing that happens: files of
/// different days are no reason to wait.
const QUIET_MS_MAX: u64 = 10 * 60 * 1_000;
/// After the last thing so much time passes: windows close, and what waited for more is judged.
const TAIL_MS: u64 = 5_000;

/// Plays a recording. Deterministic: the same recording gives the same snapshots.
#[derive(Debug)]
pub struct Player {
    engine: Engine,
    /// The beginning: the recording's wall clock, and any instant.
    started: Now,
    now: Now,
    /// The next item.
    next: usize,
    /// Spans without ids and the like.
    rejected: u64,
    /// Time in which nothing happened and which was left out.
    skipped: Duration,
}

/// Where a player stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// There is more.
    More,
    /// All has happened.
    Over,
}

impl Player {
    /// A player at the beginning of `recording`. Of `now` only the instant matters.
    pub fn new(recording: &Recording, now: Now) -> Self {
        let from = recording.window().from.0;
        // A second before, so that the first things are not of the moment of the start.
        let started = Now { unix_ms: from.saturating_sub(1_000), ..now };
        let engine = Engine::new(started, Limits::default());
        let skipped = Duration::ZERO;
        Self { engine, started, now: started, next: 0, rejected: 0, skipped }
    }

    /// The recording's own time.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Spans that were refused so far.
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// How much time was left out so far because nothing happened in it.
    pub const fn skipped(&self) -> Duration {
        self.skipped
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot(self.now)
    }

    /// The edge that prints so at this moment; `None` where the names mean none, or several.
    pub fn edge(&self, name: &EdgeName) -> Option<Edge> {
        self.engine.edge_named(name)
    }

    /// What the proxies would be sent if this were done at this moment; `None` where it is no trip,
    /// or cannot be done.
    pub fn order(&self, suggestion: &SuggestedAction) -> Option<(Edge, Verb)> {
        self.engine.suggested(self.now, suggestion)
    }

    /// Lets a tenth of a second happen.
    pub fn step(&mut self, recording: &Recording) -> Stretch {
        let Some(item) = recording.items().get(self.next) else {
            let last = recording.window().to.0;
            if last + TAIL_MS <= self.now.unix_ms {
                return Stretch::Over;
            }
            self.pass(Duration::from_millis(SLOT_MS));
            return Stretch::More;
        };
        let quiet_ms = (item.at_unix_ns / 1_000_000).saturating_sub(self.now.unix_ms);
        if QUIET_MS_MAX < quiet_ms {
            self.skip(Duration::from_millis(quiet_ms - SLOT_MS));
        }
        let until_unix_ms = self.now.unix_ms + SLOT_MS;
        let range = recording.range(self.next, until_unix_ms * 1_000_000);
        self.next = range.end;
        self.pass(Duration::from_millis(SLOT_MS));
        self.spans(recording, range.clone().map(|at| (at, Move::default())));
        for at in range {
            if let What::Proxy { stream, said } = &recording.items()[at].what {
                self.proxy(ConnectionId(*stream), said);
            }
        }
        Stretch::More
    }

    /// Time in which nothing happens: once it is long, all that was known has aged out.
    fn skip(&mut self, quiet: Duration) {
        let lived = Duration::from_millis(QUIET_MS_MAX);
        self.pass(lived.min(quiet));
        let rest = quiet.saturating_sub(lived);
        self.skipped += rest;
        self.now = self.now.plus(rest);
    }

    /// Lets `time` pass, with all timeouts in it.
    fn pass(&mut self, time: Duration) {
        let until = self.now.plus(time);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= until.instant) {
            let at = at.max(self.now.instant);
            let passed = at.saturating_duration_since(self.started.instant);
            self.now = self.started.plus(passed);
            self.engine.handle_timeout(self.now);
            self.perform();
        }
        self.now = until;
    }

    /// A request of each sender, as over the network.
    fn spans(&mut self, recording: &Recording, items: impl IntoIterator<Item = (usize, Move)>) {
        let batch = decode::batch(&recording.request(items));
        self.rejected += batch.rejected.count;
        let mut by_sender: BTreeMap<Option<Arc<str>>, crate::spans::SpanBatch> = BTreeMap::new();
        for span in batch.spans {
            by_sender.entry(otlp::sender_of(&span, String::new)).or_default().spans.push(span);
        }
        for (sender, batch) in by_sender {
            self.engine.handle(self.now, Event::Spans { sender, batch });
            self.perform();
        }
    }

    fn proxy(&mut self, connection: ConnectionId, said: &Said) {
        let event = match said {
            Said::Gone => Event::Gone { connection },
            Said::Message(message) => match (**message).clone() {
                FromProxy::Hello(hello) => Event::Hello { connection, hello },
                FromProxy::Report(report) => Event::Report { connection, report },
                FromProxy::Ack(ack) => Event::Ack { connection, ack },
                FromProxy::PolicyAck(ack) => Event::PolicyAck { connection, ack },
            },
        };
        self.engine.handle(self.now, event);
        self.perform();
    }

    /// What the engine wants done: looks, at once; else nobody is there to whom it could be done.
    fn perform(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            if let Output::Diagnose { look } = output {
                let answer = Box::new(look.run());
                self.engine.handle(self.now, Event::Diagnosed { answer });
            }
        }
    }
}
