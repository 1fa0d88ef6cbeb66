//! The shell of the [`Engine`]: one task owns it, feeds it, keeps its time, does what it wants.
//!
//! Several inboxes, so that a flood of spans never delays a command: proxies and operators first, then
//! one request of spans at a time. What the engine knows leaves as a snapshot behind a watch channel, where
//! the newest wins: at most every 100 ms, and almost at once after something that someone waits
//! to see. A diagnosis takes its time on a thread of its own.

use crate::diagnose::{Answer as Seen, Look};
use crate::engine::{ConnectionId, Engine, Event, Lint, Output, Refusal};
use crate::history::{Numbered, Outbox, Receipt};
use crate::otlp::Delivery;
use crate::tally::Tally;
use fusebox_proto::Now;
use fusebox_proto::command::ToProxy;
use fusebox_proto::policy::Push;
use fusebox_proto::report::Hello;
use fusebox_proto::view::{LintResult, PolicyResult, Snapshot, TripResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Messages of proxies and operators that wait for the engine; past it their streams wait.
pub(crate) const MESSAGES_MAX: usize = 1_024;
/// OTLP requests that wait for the engine; past it they are refused.
pub(crate) const DELIVERIES_MAX: usize = 256;
/// Messages taken between two looks at the time.
const MESSAGES_AT_ONCE: usize = 64;
/// Between two snapshots, while only figures change.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);
/// Between two snapshots after an acknowledgement, a command, an incident: bursts of them make one.
const PUBLISH_INTERVAL_URGENT: Duration = Duration::from_millis(10);
/// A snapshot is never older than this.
const PUBLISH_INTERVAL_IDLE: Duration = Duration::from_secs(1);

/// What comes in from the control address.
#[derive(Debug)]
pub(crate) enum Message {
    /// A proxy introduced itself on a new stream.
    Attach {
        /// Its stream.
        connection: ConnectionId,
        /// What it said.
        hello: Hello,
        /// Where messages for it go.
        commands: Commands,
        /// Ends its stream.
        stop: CancellationToken,
    },
    /// What a proxy says.
    FromProxy(Event),
    /// A stream of a proxy ended.
    Detach { connection: ConnectionId },
    /// An operator asks; the answer goes to `reply`.
    Operator { request_id: String, event: Event, reply: oneshot::Sender<Answer> },
    /// Someone asks what is wrong with the policy.
    Lint { lint: Box<Lint>, reply: oneshot::Sender<LintResult> },
    /// Someone wants to look at the last minutes.
    Glance { reply: oneshot::Sender<Look> },
}

/// The way to a proxy; an error ends its stream.
pub(crate) type Commands = mpsc::Sender<Result<ToProxy, Status>>;

/// What an operator's request came to.
pub(crate) type Answer = Result<Reply, Refusal>;

/// What an operator is told.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// What came of a command, edge by edge.
    Command(Vec<TripResult>),
    /// What came of a request about the policy.
    Policy(Box<PolicyResult>),
}

/// A stream of a proxy, seen from here.
struct Stream {
    commands: Commands,
    stop: CancellationToken,
}

/// What the driver hears from.
#[derive(Debug)]
pub(crate) struct Inboxes {
    /// Proxies and operators.
    pub(crate) messages: mpsc::Receiver<Message>,
    /// Spans.
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    /// The history, if there is one.
    pub(crate) history: Option<Outbox>,
}

/// The task that owns the engine.
pub(crate) struct Driver {
    engine: Engine,
    tally: Arc<Tally>,
    inboxes: Inboxes,
    snapshots: watch::Sender<Arc<Snapshot>>,
    streams: HashMap<ConnectionId, Stream>,
    /// Those who wait, by the id of their request; asked twice, both are answered.
    waiting: HashMap<String, Vec<oneshot::Sender<Answer>>>,
    /// What they are told once a snapshot shows it, with the id of the request.
    answers: Vec<(String, Answer)>,
    /// The look that is being taken.
    diagnosis: Option<JoinHandle<Seen>>,
    published_at: Instant,
    /// When the next snapshot is due.
    publish_at: Instant,
}

impl Driver {
    /// A driver of `engine`, at `now`.
    pub(crate) fn new(now: Now, engine: Engine, tally: Arc<Tally>, inboxes: Inboxes) -> Self {
        let snapshots = watch::Sender::new(Arc::new(engine.snapshot(now)));
        Self {
            engine,
            tally,
            inboxes,
            snapshots,
            streams: HashMap::new(),
            waiting: HashMap::new(),
            answers: Vec::new(),
            diagnosis: None,
            published_at: now.instant,
            publish_at: now.instant + PUBLISH_INTERVAL_IDLE,
        }
    }

    /// Where snapshots appear.
    pub(crate) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Runs until nobody is left who could say something.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::with_capacity(MESSAGES_AT_ONCE);
        loop {
            let due =
                self.engine.poll_timeout().map_or(self.publish_at, |at| at.min(self.publish_at));
            let Inboxes { messages: inbox, deliveries, history } = &mut self.inboxes;
            tokio::select! {
                biased;
                Some(receipt) = receipt(history) => self.stored(Now::read(), receipt),
                count = inbox.recv_many(&mut messages, MESSAGES_AT_ONCE) => {
                    if count == 0 {
                        return self.end().await;
                    }
                }
                () = tokio::time::sleep_until(due.into()) => (),
                seen = seen(&mut self.diagnosis) => self.diagnosed(Now::read(), seen),
                Some(delivery) = deliveries.recv() => self.delivery(delivery),
            }
            let now = Now::read();
            for message in messages.drain(..) {
                self.message(now, message);
            }
            if self.engine.poll_timeout().is_some_and(|at| at <= now.instant) {
                self.engine.handle_timeout(now);
                self.publish_within(now, PUBLISH_INTERVAL_URGENT);
            }
            while let Some(output) = self.engine.poll_output() {
                self.perform(now, output);
            }
            // Whoever is answered and then looks sees what became of it.
            if self.publish_at <= now.instant || !self.answers.is_empty() {
                self.publish(now);
            }
            self.answer();
        }
    }

    /// The process ends: what it knows and the next one does not goes to the disk.
    async fn end(mut self) {
        self.engine.end(Now::read());
        let Some(history) = &mut self.inboxes.history else { return };
        while let Some(output) = self.engine.poll_output() {
            if let Output::Store { number, at_unix_ms, record } = output {
                history.send_last(Numbered { number, at_unix_ms, record }).await;
            }
        }
    }

    fn delivery(&mut self, delivery: Delivery) {
        let now = Now::read();
        let Delivery { sender, batch, .. } = delivery;
        self.engine.handle(now, Event::Spans { sender, batch });
        self.publish_within(now, PUBLISH_INTERVAL);
    }

    fn message(&mut self, now: Now, message: Message) {
        let interval = match &message {
            Message::FromProxy(Event::Report { .. }) => PUBLISH_INTERVAL,
            _ => PUBLISH_INTERVAL_URGENT,
        };
        self.publish_within(now, interval);
        match message {
            Message::Attach { connection, hello, commands, stop } => {
                self.streams.insert(connection, Stream { commands, stop });
                self.engine.handle(now, Event::Hello { connection, hello });
            }
            Message::FromProxy(event) => self.engine.handle(now, event),
            Message::Detach { connection } => {
                self.streams.remove(&connection);
                self.engine.handle(now, Event::Gone { connection });
            }
            Message::Lint { lint, reply } => {
                // Who asked may have gone.
                let _ = reply.send(self.engine.lint(now, *lint));
            }
            Message::Glance { reply } => {
                let _ = reply.send(self.engine.glance());
            }
            Message::Operator { request_id, event, reply } => {
                self.waiting.retain(|_, replies| {
                    replies.retain(|reply| !reply.is_closed());
                    !replies.is_empty()
                });
                self.waiting.entry(request_id).or_default().push(reply);
                self.engine.handle(now, event);
            }
        }
    }

    fn stored(&mut self, now: Now, Receipt { numbers, result }: Receipt) {
        if result.is_err() {
            self.publish_within(now, PUBLISH_INTERVAL_URGENT);
        }
        self.engine.handle(now, Event::Stored { numbers, result });
    }

    fn diagnosed(&mut self, now: Now, seen: Seen) {
        self.diagnosis = None;
        self.engine.handle(now, Event::Diagnosed { answer: Box::new(seen) });
        self.publish_within(now, PUBLISH_INTERVAL);
    }

    fn perform(&mut self, now: Now, output: Output) {
        match output {
            Output::Diagnose { look } => {
                self.diagnosis = Some(task::spawn_blocking(move || look.run()));
            }
            Output::Push { connection, command } => {
                self.send(connection, ToProxy::Command(command));
            }
            Output::PushPolicy { connection, push } => {
                self.send(connection, ToProxy::Policy(Push::clone(&push)));
            }
            Output::Taken { connection, boot, number } => {
                self.send(connection, ToProxy::ReportAck { boot, number });
            }
            Output::Store { number, at_unix_ms, record } => {
                let record = Numbered { number, at_unix_ms, record };
                let sent = self.inboxes.history.as_ref().map(|history| history.send(record));
                if let Some(Err(receipt)) = sent {
                    self.stored(now, receipt);
                }
            }
            Output::Close { connection, reason } => self.close(connection, &reason),
            Output::Done { request_id, results } => {
                self.answers.push((request_id, Ok(Reply::Command(results))));
            }
            Output::PolicyDone { request_id, result } => {
                self.answers.push((request_id, Ok(Reply::Policy(result))));
            }
            Output::Refused { request_id, refusal } => {
                self.answers.push((request_id, Err(refusal)));
            }
        }
    }

    /// A proxy that does not read loses its stream rather than a command: it connects again, says
    /// what it holds, and is told what it should.
    fn send(&mut self, connection: ConnectionId, message: ToProxy) {
        let Some(stream) = self.streams.get(&connection) else { return };
        if stream.commands.try_send(Ok(message)).is_err() && !stream.commands.is_closed() {
            self.tally.drop_n("slow_proxies", 1);
            self.close(connection, "the proxy does not read its commands");
        }
    }

    fn close(&mut self, connection: ConnectionId, reason: &str) {
        if let Some(stream) = self.streams.remove(&connection) {
            tracing::info!(connection = connection.0, reason, "closing the stream of a proxy");
            // A full queue tells it nothing; the end of the stream does.
            let _ = stream.commands.try_send(Err(Status::aborted(reason)));
            stream.stop.cancel();
        }
    }

    fn answer(&mut self) {
        for (request_id, answer) in self.answers.drain(..) {
            for reply in self.waiting.remove(&request_id).unwrap_or_default() {
                // Who asked may have gone.
                let _ = reply.send(answer.clone());
            }
        }
    }

    /// Makes sure that a snapshot follows the last one within `interval`, or now if that is over.
    fn publish_within(&mut self, now: Now, interval: Duration) {
        let at = (self.published_at + interval).max(now.instant);
        self.publish_at = self.publish_at.min(at);
    }

    fn publish(&mut self, now: Now) {
        for (reason, count) in self.tally.take_dropped() {
            self.engine.handle(now, Event::Dropped { reason, count });
        }
        self.snapshots.send_replace(Arc::new(self.engine.snapshot(now)));
        self.published_at = now.instant;
        self.publish_at = now.instant + PUBLISH_INTERVAL_IDLE;
    }
}

/// What a look saw; never, where none is being taken.
async fn seen(diagnosis: &mut Option<JoinHandle<Seen>>) -> Seen {
    match diagnosis {
        Some(diagnosis) => diagnosis.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a diagnosis failed");
            Seen::default()
        }),
        None => std::future::pending().await,
    }
}

/// The next receipt of the history; never, where there is none.
async fn receipt(history: &mut Option<Outbox>) -> Option<Receipt> {
    match history {
        Some(history) => history.receipt().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Limits;
    use fusebox_proto::command::{ResetRequest, ResetScope};

    /// Scenario: a diagnosis is under way, and takes as long as it likes; an operator asks meanwhile;
    /// then it ends, and another is asked for, which panics.
    /// Guarantees: the operator is answered before it ends; what it saw is taken; a diagnosis that
    /// fails ends as one that saw nothing.
    #[tokio::test]
    async fn commands_do_not_wait_for_a_diagnosis() {
        let (messages, inbox) = mpsc::channel(MESSAGES_MAX);
        let (_deliveries, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let inboxes = Inboxes { messages: inbox, deliveries, history: None };
        let now = Now::read();
        let engine = Engine::new(now, Limits::default());
        let mut driver = Driver::new(now, engine, Arc::default(), inboxes);
        let (end, may_end) = std::sync::mpsc::channel::<()>();
        driver.diagnosis = Some(task::spawn_blocking(move || {
            may_end.recv().expect("the test ends it");
            Seen::default()
        }));
        let ask = async {
            let (reply, answer) = oneshot::channel();
            let scope = ResetScope::All;
            let (request_id, reason, by) = ("r-1".to_owned(), String::new(), "ada".into());
            let id = request_id.clone();
            let request = ResetRequest { request_id: id, scope, at_once: true, reason, by };
            let event = Event::Reset(request);
            let asked = Message::Operator { request_id, event, reply };
            messages.send(asked).await.expect("the driver listens");
            let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
            let answer = answer.expect("it does not wait").expect("it answers");
            assert!(answer.is_ok(), "{answer:?}");
            end.send(()).expect("it was not waited for");
            drop(messages);
        };
        tokio::join!(driver.run(), ask);

        let mut failed = Some(task::spawn_blocking(|| panic!("on purpose")));
        assert_eq!(seen(&mut failed).await, Seen::default());
        let mut nothing = Some(task::spawn_blocking(|| Look::default().run()));
        assert_eq!(seen(&mut nothing).await, Seen::default());
    }
}
