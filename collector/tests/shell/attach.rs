//! Proxies on the control address, played by hand.

use crate::support::{LIMIT, Watcher, channel, json, start};
use fusebox_collector::{Config, Running};
use fusebox_proto::command::{Ack, AckResult, Action, ActionKind, ToProxy, TripRequest, Verb};
use fusebox_proto::report::{
    Dropped, EdgeCounts, EdgeWindow, Endpoints, FromProxy, Hello, Protocol, Report,
};
use fusebox_proto::view::TripResult;
use fusebox_proto::wire::v1;
use fusebox_proto::wire::v1::console_client::ConsoleClient;
use fusebox_proto::wire::v1::control_client::ControlClient;
use fusebox_proto::{Latency, Now, ProxyId, ServiceId};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

/// A proxy that says what the test makes it say.
pub(crate) struct FakeProxy {
    says: mpsc::Sender<v1::ProxyMessage>,
    hears: Streaming<v1::CollectorMessage>,
}

fn service(name: &str) -> ServiceId {
    ServiceId::named(name).expect("a name")
}

fn hello(id: &str) -> Hello {
    Hello {
        proxy: ProxyId::new(id).expect("an id"),
        service: service("payment"),
        instance: "payment-1".into(),
        build: "0.1.0".into(),
        boot: 7,
        held: vec![],
        policy_version: 0,
        endpoints: Endpoints::leading_to(vec![service("inventory")]),
    }
}

fn report(number: u64) -> Report {
    let mut latency = Latency::default();
    latency.record_n_us(12_000, 30);
    let counts = EdgeCounts {
        first_attempts: 10,
        retries_certain: 20,
        successes: 30,
        ..EdgeCounts::default()
    };
    let edge = EdgeWindow {
        destination: service("inventory"),
        route: String::new(),
        subset: String::new(),
        protocol: Protocol::Http1,
        counts,
        latency,
        retry_waits: None,
    };
    Report {
        boot: 7,
        number,
        start_unix_ms: Now::read().unix_ms - 5_000 + number * 1_000,
        duration_ms: 1_000,
        edges: vec![edge],
        inbound: vec![],
        breakers: vec![],
        transitions: vec![],
        dropped: Dropped::default(),
        draining: false,
        endpoints: None,
        troubles: Vec::new(),
    }
}

impl FakeProxy {
    /// Opens a stream that has said nothing yet.
    async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, None).await.expect("a stream")
    }

    async fn open_with(address: SocketAddr, token: Option<&str>) -> Result<Self, Status> {
        let (says, queue) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(queue));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        let mut control = ControlClient::new(channel(address).await);
        Ok(Self { says, hears: control.attach(request).await?.into_inner() })
    }

    /// Opens a stream and says hello.
    pub(crate) async fn attach(address: SocketAddr, id: &str) -> Self {
        let mut proxy = Self::open(address).await;
        proxy.say(FromProxy::Hello(hello(id))).await;
        let ToProxy::Welcome(_) = proxy.hear().await else { panic!("welcome comes first") };
        proxy
    }

    pub(crate) async fn say(&self, message: FromProxy) {
        self.says.send(message.into()).await.expect("the collector listens");
    }

    /// What the collector says next.
    pub(crate) async fn hear(&mut self) -> ToProxy {
        let message = self.next().await.expect("the stream goes on").expect("one more message");
        message.try_into().expect("a message that parses")
    }

    async fn next(&mut self) -> Result<Option<v1::CollectorMessage>, Status> {
        tokio::time::timeout(LIMIT, self.hears.message()).await.expect("an answer in time")
    }

    /// How the stream ends.
    async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => (),
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

fn trip(request_id: &str, destination: &str) -> v1::TripRequest {
    TripRequest {
        request_id: request_id.into(),
        source: "payment".into(),
        destination: destination.into(),
        action: ActionKind::Open,
        percent: None,
        ttl: Duration::from_mins(1),
        reason: "a test".into(),
        by: "tester".into(),
    }
    .into()
}

pub(crate) async fn console(collector: &Running) -> ConsoleClient<tonic::transport::Channel> {
    ConsoleClient::new(channel(collector.control()).await)
}

fn only(reply: tonic::Response<v1::CommandReply>) -> TripResult {
    let mut results = reply.into_inner().results;
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0).try_into().expect("a result that parses")
}

/// Scenario: a proxy says hello and reports three windows, the second twice.
/// Guarantees: it learns where OTLP listens and what was taken; its edge is on the API with the
/// windows counted once, and it stands among the proxies until its stream ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_reports() {
    let collector = start().await;
    let mut proxy = FakeProxy::open(collector.control()).await;
    proxy.say(FromProxy::Hello(hello("payment-1"))).await;
    let ToProxy::Welcome(welcome) = proxy.hear().await else { panic!("welcome comes first") };
    assert_eq!(welcome.otlp_grpc_url, format!("http://{}", collector.otlp_grpc()));

    for number in [1, 2, 2, 3] {
        proxy.say(FromProxy::Report(report(number))).await;
        assert_eq!(proxy.hear().await, ToProxy::ReportAck { boot: 7, number });
    }
    let mut watcher = Watcher::begin(collector.control()).await;
    watcher.until("an edge with a rate", |s| s.edges.iter().any(|e| e.rate.is_some())).await;
    let edges = json(collector.http(), "/api/v1/edges").await;
    let edge = &edges["edges"][0];
    assert_eq!((&edge["source"], &edge["destination"]), (&"payment".into(), &"inventory".into()));
    assert_eq!(edge["protocol"], "http/1.1");
    assert_eq!(edge["attempts_per_request"], 3.0, "{edge}");
    let rate = edge["rate"].as_f64().expect("a rate");
    assert!(rate < 35.0, "30 attempts a second, the second window once: {edge}");
    let proxies = json(collector.http(), "/api/v1/proxies").await;
    assert_eq!(proxies["proxies"][0]["connected"], true, "{proxies}");

    drop(proxy);
    watcher
        .until("the proxy is gone", |s| {
            s.status.proxies == 0 && s.proxies.iter().all(|p| !p.connected)
        })
        .await;
}

/// Scenario: an operator trips an edge whose proxy is there and acknowledges; then one that no
/// proxy can enforce; then one of a service that nobody knows.
/// Guarantees: the command reaches the proxy and its acknowledgement the operator and the API;
/// where nobody enforces it, that is said; names that do not exist are refused with candidates.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_trips() {
    let collector = start().await;
    let mut proxy = FakeProxy::attach(collector.control(), "payment-1").await;
    proxy.say(FromProxy::Report(report(1))).await;
    proxy.hear().await;

    let mut operator = console(&collector).await;
    let mut asks = operator.clone();
    let asked = tokio::spawn(async move { asks.trip(trip("t1", "inventory")).await });
    let ToProxy::Command(command) = proxy.hear().await else { panic!("a command") };
    assert_eq!(command.destination, service("inventory"));
    let Verb::Trip { action, proxies, .. } = command.verb else { panic!("{command:?}") };
    assert_eq!((action, proxies, command.by.as_str()), (Action::Open, 1, "tester"));
    proxy
        .say(FromProxy::Ack(Ack {
            id: command.id,
            revision: command.revision,
            destination: command.destination,
            result: AckResult::Applied,
        }))
        .await;
    let result = only(asked.await.expect("no panic").expect("tripped"));
    assert_eq!((result.applied, result.proxies), (1, 1), "{result:?}");
    assert!(result.applied_ms.is_some_and(|ms| ms < 1_000.0), "{result:?}");
    assert_eq!(result.note, "");
    let mut watcher = Watcher::begin(collector.control()).await;
    watcher.until("the acknowledgement", |s| s.edges.iter().any(|e| e.breaker.applied == 1)).await;

    let mut other = hello("cart-1");
    other.service = service("cart");
    other.endpoints = Endpoints::default();
    let quiet = FakeProxy::open(collector.control()).await;
    quiet.say(FromProxy::Hello(other)).await;
    watcher.until("cart", |s| s.services.iter().any(|service| service.name == "cart")).await;
    let mut request = trip("t2", "inventory");
    request.source = "cart".into();
    let result = only(operator.trip(request).await.expect("an answer"));
    assert_eq!((result.applied, result.proxies), (0, 0), "{result:?}");
    assert!(!result.note.is_empty(), "{result:?}");

    let refused = operator.trip(trip("t3", "inventoryy")).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    assert!(refused.message().contains("inventory"), "{refused}");
    let mut request = trip("t4", "inventory");
    request.ttl_ms = 1;
    let refused = operator.trip(request).await.expect_err("too short");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

/// Scenario: a proxy of the same id attaches again while its old stream still stands.
/// Guarantees: the old stream ends, and its end does not take the new one away: commands reach it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_replaces_the_first() {
    let collector = start().await;
    let mut first = FakeProxy::attach(collector.control(), "payment-1").await;
    let mut second = FakeProxy::attach(collector.control(), "payment-1").await;
    assert_eq!(first.end().await.code(), Code::Aborted);
    drop(first);

    let mut operator = console(&collector).await;
    let asked = tokio::spawn(async move { operator.trip(trip("t1", "inventory")).await });
    let ToProxy::Command(_) = second.hear().await else { panic!("a command") };
    assert!(asked.await.expect("no panic").is_ok());
    let status = json(collector.http(), "/api/v1/status").await;
    assert_eq!(status["proxies"], 1, "{status}");
}

/// Scenario: streams that begin with something else, say what does not parse, or say hello twice.
/// Guarantees: each ends with the reason; no such proxy is ever counted.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_the_language_is_sent_away() {
    let collector = start().await;
    let check = async |messages: Vec<v1::ProxyMessage>, word: &str| {
        let mut proxy = FakeProxy::open(collector.control()).await;
        for message in messages {
            proxy.says.send(message).await.expect("room");
        }
        let status = proxy.end().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{word}: {status}");
        assert!(status.message().contains(word), "{word}: {status}");
    };
    let nameless = v1::Hello { proxy_id: "x".into(), ..v1::Hello::default() };
    let wrong = |hello| v1::ProxyMessage { kind: Some(v1::proxy_message::Kind::Hello(hello)) };
    check(vec![FromProxy::Report(report(1)).into()], "hello first").await;
    check(vec![v1::ProxyMessage { kind: None }], "kind").await;
    check(vec![wrong(nameless)], "service").await;
    let twice = FromProxy::Hello(hello("twice"));
    check(vec![twice.clone().into(), twice.into()], "once").await;

    let mut watcher = Watcher::begin(collector.control()).await;
    let sent_away = |s: &fusebox_proto::view::Snapshot| {
        s.status.collector.dropped.get("invalid_messages") == Some(&2)
    };
    watcher.until("both are counted", sent_away).await;
    watcher.until("nobody is connected", |s| s.status.proxies == 0).await;
}

/// Scenario: a collector with a token; proxies and consoles with it, with another, with none.
/// Guarantees: only who shows it attaches, watches or trips.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_of_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "the-token-of-this-test\n").expect("written");
    let config = Config { token_file: Some(file), ..Config::on_free_ports() };
    let collector = fusebox_collector::start(config).await.expect("it starts");
    let address = collector.control();

    for wrong in [None, Some("another-token-of-this-test")] {
        let refused = FakeProxy::open_with(address, wrong).await.err().expect("no entry");
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}: {refused}");
    }
    let mut operator = console(&collector).await;
    let refused = operator.trip(trip("t1", "inventory")).await.expect_err("no entry");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = operator.watch(v1::WatchRequest {}).await.map(|_| ()).expect_err("no entry");
    assert_eq!(refused.code(), Code::Unauthenticated);

    let mut proxy =
        FakeProxy::open_with(address, Some("the-token-of-this-test")).await.expect("in");
    proxy.say(FromProxy::Hello(hello("payment-1"))).await;
    assert!(matches!(proxy.hear().await, ToProxy::Welcome(_)));
}

/// Scenario: a collector ends while a proxy is attached and a console watches.
/// Guarantees: both streams are ended, and all of it within the grace period.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_to_all() {
    let collector = start().await;
    let mut proxy = FakeProxy::attach(collector.control(), "payment-1").await;
    let mut operator = console(&collector).await;
    let mut updates = operator.watch(v1::WatchRequest {}).await.expect("watching").into_inner();
    updates.message().await.expect("a snapshot");
    assert!(collector.shutdown(LIMIT).await, "it ended in time");
    assert_eq!(proxy.end().await.code(), Code::Unavailable);
    while let Ok(Some(_)) = updates.message().await {}
}
