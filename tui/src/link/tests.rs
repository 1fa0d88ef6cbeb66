//! The link against a scripted collector on loopback.

use super::*;
use crate::fixture::{UNIX_MS, World, storm_edge};
use fusebox_proto::command::{ActionKind, TripRequest};
use fusebox_proto::wire::v1::console_server::{Console, ConsoleServer};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::sync::{Arc, Mutex};
use tonic::transport::server::TcpIncoming;
use tonic::{Request as Call, Response};

/// A collector whose stream ends after its first snapshot, the first time, and which is not
/// available for the first command. It wants the token `secret`.
#[derive(Default)]
struct Scripted {
    watched: Mutex<u32>,
    ids: Mutex<Vec<String>>,
}

fn wants_token<T>(call: &Call<T>) -> Result<(), Status> {
    match call.metadata().get("authorization") {
        Some(token) if token == "Bearer secret" => Ok(()),
        _ => Err(Status::unauthenticated("")),
    }
}

#[tonic::async_trait]
impl Console for Scripted {
    type RecordStream = BoxStream<'static, Result<v1::RecordChunk, Status>>;

    async fn record(
        &self,
        _: Call<v1::RecordRequest>,
    ) -> Result<Response<Self::RecordStream>, Status> {
        Err(Status::unimplemented("the dashboard did not ask for it"))
    }

    type WatchStream = BoxStream<'static, Result<v1::Update, Status>>;

    async fn watch(
        &self,
        call: Call<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        wants_token(&call)?;
        let mut watched = self.watched.lock().expect("no panic while held");
        *watched += 1;
        let snapshot = Update::Snapshot(Box::new(World::Shop.calm(UNIX_MS)));
        let first = stream::iter([Ok(snapshot.into())]);
        let stream =
            if *watched == 1 { first.boxed() } else { first.chain(stream::pending()).boxed() };
        Ok(Response::new(stream))
    }

    async fn trip(
        &self,
        call: Call<v1::TripRequest>,
    ) -> Result<Response<v1::CommandReply>, Status> {
        wants_token(&call)?;
        let mut ids = self.ids.lock().expect("no panic while held");
        ids.push(call.into_inner().request_id);
        if ids.len() == 1 {
            return Err(Status::unavailable("starting"));
        }
        let result =
            TripResult { edge: storm_edge(), applied: 3, proxies: 3, ..TripResult::default() };
        Ok(Response::new(v1::CommandReply { results: vec![result.into()] }))
    }

    async fn apply(&self, _: Call<v1::ApplyRequest>) -> Result<Response<v1::PolicyReply>, Status> {
        Err(Status::unimplemented("the dashboard does not ask for it"))
    }

    async fn rollback(
        &self,
        _: Call<v1::RollbackRequest>,
    ) -> Result<Response<v1::PolicyReply>, Status> {
        Err(Status::unimplemented("the dashboard does not ask for it"))
    }

    async fn shift(&self, _: Call<v1::ShiftRequest>) -> Result<Response<v1::PolicyReply>, Status> {
        Err(Status::unimplemented("the dashboard does not ask for it"))
    }

    async fn lint(&self, _: Call<v1::LintRequest>) -> Result<Response<v1::LintReply>, Status> {
        Err(Status::unimplemented("the dashboard does not ask for it"))
    }

    async fn diagnose(
        &self,
        _: Call<v1::DiagnoseRequest>,
    ) -> Result<Response<v1::DiagnoseReply>, Status> {
        Err(Status::unimplemented("the dashboard does not ask for it"))
    }

    async fn reset(
        &self,
        call: Call<v1::ResetRequest>,
    ) -> Result<Response<v1::CommandReply>, Status> {
        wants_token(&call)?;
        Err(Status::not_found("unknown service “paymnt”; did you mean payment?"))
    }
}

/// A scripted collector, and its control address.
fn serve() -> (Arc<Scripted>, String) {
    let scripted = Arc::new(Scripted::default());
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = incoming.local_addr().expect("it is bound");
    let service = ConsoleServer::from_arc(Arc::clone(&scripted));
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
    );
    (scripted, format!("http://{address}"))
}

fn follow(url: &str, token: Option<&str>) -> Collector {
    Collector::follow(Address::new(url, token).expect("a good address"))
}

/// Scenario: the collector ends the stream after a snapshot.
/// Guarantees: the console says why, connects anew, and gets a whole snapshot again.
#[tokio::test]
async fn a_lost_stream_is_found_again() {
    let (scripted, url) = serve();
    let mut collector = follow(&url, Some("secret"));
    assert!(matches!(collector.recv().await, Some(Message::Snapshot(_))));
    let Some(Message::Link(Link::Lost { reason, attempts })) = collector.recv().await else {
        panic!("the loss is told");
    };
    assert!(reason.contains("closed") && attempts == 1, "{reason}");
    assert!(matches!(collector.recv().await, Some(Message::Snapshot(_))));
    assert_eq!(*scripted.watched.lock().expect("no panic while held"), 2);
}

/// Scenario: a command while the collector starts; one with a name that nobody has.
/// Guarantees: the first is sent again under the same id and answered once; the refusal arrives in
/// the collector's words.
#[tokio::test]
async fn a_command_is_sent_until_it_arrives() {
    let (scripted, url) = serve();
    let mut collector = follow(&url, Some("secret"));
    let trip = TripRequest {
        request_id: "console-7-1".into(),
        source: "payment".into(),
        destination: "inventory".into(),
        action: ActionKind::Open,
        percent: None,
        ttl: Duration::from_mins(5),
        reason: String::new(),
        by: "ana".into(),
    };
    assert!(collector.send(Request::Trip(trip)).is_none());
    let (id, result) = answer(&mut collector).await;
    assert_eq!((id.as_str(), result.map(|r| r.applied)), ("console-7-1", Ok(3)));
    let ids = scripted.ids.lock().expect("no panic while held").clone();
    assert_eq!(ids, ["console-7-1", "console-7-1"]);

    let reset = fusebox_proto::command::ResetRequest {
        request_id: "console-7-2".into(),
        scope: fusebox_proto::command::ResetScope::All,
        at_once: true,
        reason: String::new(),
        by: "ana".into(),
    };
    assert!(collector.send(Request::Reset(reset)).is_none());
    let (_, result) = answer(&mut collector).await;
    assert!(result.is_err_and(|reason| reason.contains("did you mean payment")));
}

async fn answer(collector: &mut Collector) -> (String, Result<TripResult, String>) {
    loop {
        match collector.recv().await {
            Some(Message::Answer { id, result }) => return (id, result),
            Some(_) => {}
            None => panic!("the link ended"),
        }
    }
}

/// Scenario: no token, and nobody at the address.
/// Guarantees: the reason is in words that say what to do, and the link goes on trying.
#[tokio::test]
async fn why_there_is_no_connection_is_told() {
    let (_, url) = serve();
    let mut collector = follow(&url, None);
    let Some(Message::Link(Link::Lost { reason, .. })) = collector.recv().await else {
        panic!("it is refused");
    };
    assert!(reason.contains("token"), "{reason}");
    let mut collector = follow("http://127.0.0.1:9", None);
    for expected in 1..=2 {
        let Some(Message::Link(Link::Lost { reason, attempts })) = collector.recv().await else {
            panic!("nobody is there");
        };
        assert!(reason.contains("refused") && attempts == expected, "{reason}");
    }
}

/// Scenario: attempts to connect fail for ever.
/// Guarantees: pauses grow from short to the longest and stay there.
#[test]
fn pauses_grow_and_stop_growing() {
    let check = |attempts, ms| assert_eq!(pause(attempts), Duration::from_millis(ms));
    check(1, 250);
    check(2, 500);
    check(5, 4_000);
    check(6, 5_000);
    check(u32::MAX, 5_000);
}
