//! What a console sees.

use crate::support::{Watcher, channel, start};
use fusebox_collector::Config;
use fusebox_proto::wire::v1::WatchRequest;
use fusebox_proto::wire::v1::console_client::ConsoleClient;
use tonic::Code;

/// Scenario: two consoles watch an embedded collector; spans arrive.
/// Guarantees: each first gets a snapshot, which says that it is embedded, then differences that
/// lead to the same picture.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_then_differences() {
    let config = Config { embedded: true, ..Config::on_free_ports() };
    let collector = fusebox_collector::start(config).await.expect("it starts");
    let mut early = Watcher::begin(collector.control()).await;
    assert!(early.snapshot.status.embedded);
    assert!(early.snapshot.services.is_empty());

    crate::otlp::send_one(&collector, "payment").await;
    let has_payment = |s: &fusebox_proto::view::Snapshot| {
        s.services.iter().any(|service| service.name == "payment")
    };
    early.until("payment", has_payment).await;
    assert!(1 <= early.deltas);
    let mut late = Watcher::begin(collector.control()).await;
    late.until("payment", has_payment).await;
    assert_eq!(early.snapshot.services[0].name, late.snapshot.services[0].name);
    assert_eq!(late.snapshot.status.collector.senders, 1);
}

/// Scenario: more consoles than are allowed.
/// Guarantees: the first ones watch, one more is told why not.
#[tokio::test(flavor = "multi_thread")]
async fn consoles_are_bounded() {
    let collector = start().await;
    let mut console = ConsoleClient::new(channel(collector.control()).await);
    let mut watching = Vec::new();
    for _ in 0..64 {
        watching.push(console.watch(WatchRequest {}).await.expect("a place").into_inner());
    }
    let refused = console.watch(WatchRequest {}).await.map(|_| ()).expect_err("no place");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("64"), "{refused}");
}
