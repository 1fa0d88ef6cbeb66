//! The collector over gRPC (or a recording in its place): follows it for ever, carries commands to it.
//!
//! One task follows: connect, watch, and when that ends say why and try again, at first soon, then
//! every few seconds. Each command is a task of its own with a deadline; a command that found no
//! connection is sent again under its id, which makes a second arrival harmless.

use crate::address::{Address, Client};
use crate::dashboard::{Feed, Played};
use crate::model::commands::{COMMANDS_MAX, Request};
use crate::model::playback::Control;
use crate::model::{Link, Message};
use crate::recorder::{self, RecordError};
use fusebox_proto::view::{PolicyOutcome, PolicyResult, TripResult, Update};
use fusebox_proto::wire::v1;
use fusebox_proto::wire::v1::record_request::Period;
use std::future::pending;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Code, Response, Status};

/// Messages on their way to the model. The stream waits when it is full, and the collector then
/// sends fewer and larger ones.
const INBOX_MAX: usize = 16;
/// The collector answers within a second, on a slow disk three; the rest is the way.
const COMMAND_WITHIN: Duration = Duration::from_secs(5);
/// Attempts of a command that found no connection.
const COMMAND_ATTEMPTS: u32 = 3;
const COMMAND_PAUSE: Duration = Duration::from_millis(200);

/// First pause between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause: someone who looks at the screen waits for it.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The collector, as the loop sees it, or who plays a recording in its place. Dropping it ends its
/// tasks.
pub(crate) struct Collector {
    inbox: mpsc::Receiver<Message>,
    requests: Option<mpsc::Sender<Request>>,
    controls: Option<mpsc::Sender<Control>>,
    /// Where incidents are kept from, and who is told.
    recorder: Option<(Address, mpsc::Sender<Message>)>,
    tasks: JoinSet<()>,
}

impl Collector {
    /// Begins to follow the collector.
    pub(crate) fn follow(address: Address) -> Self {
        let (messages, inbox) = mpsc::channel(INBOX_MAX);
        let (requests, outbox) = mpsc::channel(COMMANDS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(address.clone(), messages.clone()));
        tasks.spawn(command(address.clone(), outbox, messages.clone()));
        let recorder = Some((address, messages));
        Self { inbox, requests: Some(requests), controls: None, recorder, tasks }
    }

    /// Shows what somebody plays.
    pub(crate) fn play_back(feed: Feed) -> Self {
        let Feed { updates, controls } = feed;
        let (messages, inbox) = mpsc::channel(INBOX_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(hand_on(updates, messages));
        Self { inbox, requests: None, controls: Some(controls), recorder: None, tasks }
    }

    /// Keeps what came in around an incident as a file in the working directory.
    pub(crate) fn save(&mut self, incident: String) {
        let Some((address, messages)) = self.recorder.clone() else { return };
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            let result = save(&address, incident).await;
            // Only a console that ends no longer listens.
            drop(messages.send(Message::Saved(result)).await);
        });
    }

    /// Tells whoever plays a recording; a full queue means that it is told enough already.
    pub(crate) fn play(&self, control: Control) {
        if let Some(controls) = &self.controls {
            let _ = controls.try_send(control);
        }
    }

    /// What came next.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        self.inbox.recv().await
    }

    /// Sends a command; where it cannot, the answer comes at once.
    pub(crate) fn send(&self, request: Request) -> Option<Message> {
        let (id, why) = match &self.requests {
            None => (request.id().to_owned(), "this is a recording: nobody is there"),
            Some(requests) => {
                let refused = requests.try_send(request).err()?.into_inner();
                (refused.id().to_owned(), "too many commands are on their way")
            }
        };
        Some(Message::Answer { id, result: Err(why.into()) })
    }
}

/// The file's name, or why there is none. An id is a word of the collector's.
async fn save(address: &Address, incident: String) -> Result<String, String> {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name = format!("fusebox-{}.otlp.jsonl.zst", incident.chars().map(word).collect::<String>());
    let mut client = address.connect().await?;
    let period = Period::Incident(incident);
    let recorded = recorder::record(&mut client, period, Path::new(&name), pending()).await;
    let recorded = recorded.map_err(|error| match error {
        RecordError::Refused(status) => words(&status),
        error => fusebox_proto::text::visible(&error.to_string()).into_owned(),
    })?;
    let missing = if recorded.lost == 0 { "" } else { ", without what the collector had let go" };
    Ok(format!("{name}{missing}"))
}

/// Hands on what is played. After the last of it nothing comes any more, which is no loss.
async fn hand_on(mut updates: mpsc::Receiver<Played>, messages: mpsc::Sender<Message>) {
    while let Some(Played { snapshot, playback }) = updates.recv().await {
        for message in [Message::Playback(playback), Message::Snapshot(snapshot)] {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    }
    messages.closed().await;
}

/// Connects and watches, again and again.
async fn watch(address: Address, messages: mpsc::Sender<Message>) {
    let mut attempts = 0;
    loop {
        let reason = match address.connect().await {
            Ok(client) => {
                let (updates, reason) = updates(client, &messages).await;
                if 0 < updates {
                    attempts = 0;
                }
                reason
            }
            Err(reason) => reason,
        };
        attempts += 1;
        if messages.send(Message::Link(Link::Lost { reason, attempts })).await.is_err() {
            return;
        }
        tokio::time::sleep(pause(attempts)).await;
    }
}

/// Hands on updates until the stream ends; how many there were, and why it ended.
async fn updates(mut client: Client, messages: &mpsc::Sender<Message>) -> (u64, String) {
    let mut stream = match client.watch(v1::WatchRequest {}).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (0, words(&status)),
    };
    let mut count = 0;
    loop {
        let update = match stream.message().await {
            Ok(Some(update)) => Update::try_from(update),
            Ok(None) => return (count, "the collector closed the connection".into()),
            Err(status) => return (count, words(&status)),
        };
        let message = match update {
            Ok(Update::Snapshot(snapshot)) => Message::Snapshot(snapshot),
            Ok(Update::Delta(delta)) => Message::Delta(delta),
            Err(invalid) => return (count, format!("the collector sent nonsense: {invalid}")),
        };
        count += 1;
        if messages.send(message).await.is_err() {
            return (count, "the console ends".into());
        }
    }
}

/// Carries commands, each on its own.
async fn command(
    address: Address,
    mut outbox: mpsc::Receiver<Request>,
    messages: mpsc::Sender<Message>,
) {
    let client = address.connect_lazy();
    let mut running = JoinSet::new();
    while let Some(request) = outbox.recv().await {
        let (client, messages) = (client.clone(), messages.clone());
        running.spawn(async move {
            let id = request.id().to_owned();
            let result = match tokio::time::timeout(COMMAND_WITHIN, send(client, request)).await {
                Ok(result) => result,
                Err(_) => Err("the collector did not answer in time".into()),
            };
            // Only a console that ends no longer listens.
            drop(messages.send(Message::Answer { id, result }).await);
        });
        while running.try_join_next().is_some() {}
    }
}

async fn send(mut client: Client, request: Request) -> Result<TripResult, String> {
    let mut attempt = 1;
    loop {
        let result = match request.clone() {
            Request::Trip(trip) => client.trip(v1::TripRequest::from(trip)).await.map(answer),
            Request::Reset(reset) => client.reset(v1::ResetRequest::from(reset)).await.map(answer),
            Request::Shift(shift) => {
                let id = shift.request_id.clone();
                client.shift(v1::ShiftRequest::from(shift)).await.map(|reply| shifted(id, reply))
            }
        };
        match result {
            Ok(result) => return result,
            Err(status) if status.code() == Code::Unavailable && attempt < COMMAND_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(COMMAND_PAUSE).await;
            }
            Err(status) => return Err(words(&status)),
        }
    }
}

/// What came of a command on an edge.
fn answer(reply: Response<v1::CommandReply>) -> Result<TripResult, String> {
    let first = reply.into_inner().results.into_iter().next();
    let first = first.ok_or("the collector knows of no lease there")?;
    TripResult::try_from(first).map_err(|invalid| invalid.to_string())
}

/// What came of other weights, in the words of a command.
fn shifted(id: String, reply: Response<v1::PolicyReply>) -> Result<TripResult, String> {
    let result = PolicyResult::try_from(reply.into_inner()).map_err(|e| e.to_string())?;
    let PolicyResult { outcome, applied, proxies, applied_ms, note, findings, .. } = result;
    if outcome == PolicyOutcome::Refused {
        let first = findings.first().map(ToString::to_string);
        return Err(first.unwrap_or_else(|| "the policy was refused".into()));
    }
    let action = "shift".to_owned();
    Ok(TripResult { id, action, applied, proxies, applied_ms, note, ..TripResult::default() })
}

/// Pause before the next attempt to connect, after so many failed.
fn pause(attempts: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE_MAX)
}

/// A status for people.
fn words(status: &Status) -> String {
    let said = fusebox_proto::text::visible(status.message());
    match status.code() {
        Code::Unauthenticated => "the collector wants a token, or another one".into(),
        Code::PermissionDenied => format!("the collector does not allow it: {said}"),
        Code::Unavailable if status.message().is_empty() => "the collector is gone".into(),
        _ if said.is_empty() => format!("the collector answered {:?}", status.code()),
        _ => said.into_owned(),
    }
}

#[cfg(test)]
mod tests;
