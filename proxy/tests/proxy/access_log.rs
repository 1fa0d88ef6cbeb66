//! The access log: a line a request, and what is in it.

use crate::collector::Collector;
use crate::shop::{Shop, rules, under};
use crate::tcp;
use crate::world::{Caller, Proxy, Server, full, get, http2_caller, inbound, outbound, raw};
use fusebox_proto::command::Action;
use fusebox_proxy::Config;
use fusebox_proxy::config::operation::{AccessLog, Only};
use http::Request;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn logging(mut config: Config, path: &Path, only: Only) -> Config {
    config.operation.access_log = Some(AccessLog { path: Some(path.to_owned()), only });
    config
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// A folder of this test alone, and a file in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    (folder, path)
}

/// Scenario: calls of every fate: answered, with secrets in the query and escapes in the path;
/// without a server; malformed; refused by an operator; over HTTP/2.
/// Guarantees: each has one line of JSON that says what became of it and why, names its trace and
/// endpoint, and holds neither query nor raw control characters.
#[tokio::test]
async fn each_request_has_its_line() {
    let (_folder, path) = place();
    let server = Server::echo().await;
    let collector = Collector::start().await;
    let mut config = logging(outbound(&[server.address]), &path, Only::All);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = Request::post("/buy?token=secret")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-00"));
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(caller.send(request.body(full("hello")).unwrap()).await.status, 200);
    raw(proxy.address(), b"GET /\xc2\x9b2J HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    let mut http2 = http2_caller(proxy.address()).await;
    let request = Request::get("http://inventory/h2").body(full("")).unwrap();
    http2.send_request(request).await.unwrap();
    session.trip(1, Action::Open).await;
    assert_eq!(caller.get("/refused").await.status, 503);
    drop((caller, http2, session));
    collector.kill().await;
    proxy.shutdown(Duration::from_secs(5)).await;

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret") && !text.contains('\u{9b}'), "{text}");
    let all = lines(&path);
    let of = |path: &str, host: &str| {
        let mut found = all.iter().filter(|line| line["path"] == path && line["host"] == host);
        found.next().unwrap_or_else(|| panic!("{path}: {text}")).clone()
    };
    let bought = all.iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!(bought["status"], 200);
    assert_eq!(bought["bytes"], 5);
    assert_eq!(bought["edge"], "payment>inventory");
    assert_eq!(bought["endpoint"], server.address.to_string());
    assert_eq!(bought["attempt"], "first");
    assert_eq!(bought["trace_id"], trace);
    assert_eq!(bought["ended"], "complete");
    assert_eq!(bought["peer"], "127.0.0.1");
    assert_eq!(bought["refused"], Value::Null);
    assert!(bought["duration_ms"].as_f64().unwrap() > 0.0);
    let time = bought["time"].as_str().unwrap();
    assert!(fusebox_proto::view::Stamp::parse(time).is_some(), "{time}");
    let malformed = of("/\\u{9b}2J", "a");
    assert_eq!((&malformed["status"], &malformed["failure"]), (&400.into(), &"malformed".into()));
    assert_eq!(of("/h2", "inventory")["protocol"], "http/2");
    let refused = of("/refused", "inventory:80");
    assert_eq!((&refused["status"], &refused["refused"]), (&503.into(), &"forced-open".into()));
    assert_eq!(refused["endpoint"], Value::Null);
    assert_eq!(all.len(), 4, "{text}");
}

/// Scenario: a policy routes, answers itself and aborts; the log wants failures only, or refusals
/// only; the application behind an inbound listener is away.
/// Guarantees: route, subset and what the policy did are said; what is not wanted is not written.
#[tokio::test]
async fn what_a_policy_did_and_what_is_wanted() {
    let shop = Shop::open().await;
    let http = "[{name: stop, match: [{uri: {exact: /stop}}], \
                 fault: {abort: {httpStatus: 500, percentage: {value: 100}}}, \
                 route: [{destination: {host: inventory}}]}, \
                 {name: all, route: [{destination: {host: inventory}}]}]";
    for (only, expected) in [(Only::All, 2), (Only::Failures, 1), (Only::Refusals, 0)] {
        let (_folder, path) = place();
        let proxy = Proxy::start(logging(under(shop.config(), &rules(http)), &path, only));
        assert_eq!(get(proxy.address(), "/go").await.status, 200);
        assert_eq!(get(proxy.address(), "/stop").await.status, 500);
        proxy.shutdown(Duration::from_secs(5)).await;
        let all = lines(&path);
        assert_eq!(all.len(), expected, "{only:?}: {all:?}");
        for line in all {
            let is_stopped = line["path"] == "/stop";
            assert_eq!(line["policy"] == "fault-abort", is_stopped, "{line}");
            assert_eq!(line["route"].is_string(), !is_stopped, "{line}");
        }
    }
    let (_folder, path) = place();
    let dead = crate::world::dead_address().await;
    let proxy = Proxy::start(logging(inbound(dead), &path, Only::Failures));
    assert_eq!(get(proxy.address(), "/").await.status, 503);
    proxy.shutdown(Duration::from_secs(5)).await;
    let line = &lines(&path)[0];
    assert_eq!((&line["failure"], &line["listener"]), (&"connect".into(), &"inbound".into()));
    assert_eq!(line["endpoint"], dead.to_string());
}

/// Scenario: a caller goes away while its request is in the server.
/// Guarantees: there is a line of it, without a status.
#[tokio::test]
async fn who_went_away_has_a_line() {
    let (_folder, path) = place();
    let (server, _gate, mut arrivals) = Server::gated().await;
    let proxy = Proxy::start(logging(outbound(&[server.address]), &path, Only::All));
    let mut caller = Caller::connect(proxy.address()).await;
    let request = tokio::spawn(async move { caller.get("/gone").await });
    arrivals.recv().await.unwrap();
    request.abort();
    let _ = request.await;
    proxy.shutdown(Duration::from_secs(5)).await;
    let line = &lines(&path)[0];
    assert_eq!((&line["ended"], &line["status"]), (&"cancelled".into(), &Value::Null));
}

/// Scenario: sessions that are no HTTP, of every fate: served to its end, through both kinds of
/// listeners; to a server that is away; refused by an operator.
/// Guarantees: each has one line that says where it went, how many bytes its caller got, and why it
/// was refused or failed.
#[tokio::test]
async fn each_session_has_its_line() {
    let (server, dead) = (tcp::named("v1").await, crate::world::dead_address().await);
    let collector = Collector::start().await;
    let mut refused = outbound(&[server]);
    refused.collector = Some(collector.url.clone());
    let none = Value::Null;
    let (edge, to) = (Value::from("payment>inventory"), Value::from(server.to_string()));
    let served = [edge.clone(), to.clone(), 16.into(), none.clone(), none.clone()];
    let inside = [none.clone(), to, 16.into(), none.clone(), none.clone()];
    let failed = [edge.clone(), dead.to_string().into(), 0.into(), none.clone(), "connect".into()];
    let forced = [edge, none.clone(), 0.into(), "forced-open".into(), none];
    for (config, expected) in [
        (outbound(&[server]), served),
        (inbound(server), inside),
        (outbound(&[dead]), failed),
        (refused, forced),
    ] {
        let (_folder, path) = place();
        let is_tripped = config.collector.is_some();
        let proxy = Proxy::start(logging(config, &path, Only::All));
        if is_tripped {
            collector.attached().await.trip(1, Action::Open).await;
        }
        let says = if expected[2] == 0 { "" } else { "v1*1\r\n$4\r\nPING\r\n" };
        let mut caller = tcp::session(proxy.address(), tcp::PING, says).await;
        caller.shutdown().await.unwrap();
        tcp::closed(caller).await;
        proxy.shutdown(Duration::from_secs(5)).await;
        let [line] = &lines(&path)[..] else { panic!("one line: {:?}", lines(&path)) };
        assert_eq!((&line["protocol"], &line["status"]), (&"tcp".into(), &Value::Null));
        assert_eq!((&line["method"], &line["ended"]), (&Value::Null, &"complete".into()), "{line}");
        let told = ["edge", "endpoint", "bytes", "refused", "failure"].map(|key| line[key].clone());
        assert_eq!(told, expected, "{line}");
    }
}
