//! A real name server: dnsmasq, as routers and laptops have it.

use crate::setup::{Part, is_real};
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::process::{Process, free_port, free_ports};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TTL: Duration = Duration::from_secs(2);
/// What the specification allows beyond the TTL.
const BEYOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "how soon it follows is measured")]
fn now() -> Instant {
    Instant::now()
}

/// Listens on `port` of 127.0.9.`last`, or on any, and answers requests with that last number.
async fn server(last: u8, port: u16) -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 9, last), port)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let text = last.to_string();
            let len = text.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n");
            // Who hangs up first does not want it.
            let _ = stream.write_all((answer + &text).as_bytes()).await;
        }
    });
    Ok(port)
}

/// Two servers on the same port of 127.0.9.11 and 127.0.9.12.
async fn servers() -> u16 {
    loop {
        let port = server(11, 0).await.expect("a free port");
        if server(12, port).await.is_ok() {
            return port;
        }
    }
}

/// It knows only what it is told, with a TTL of [`TTL`].
async fn dnsmasq(port: u16, args: &[String]) -> Part {
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
    dnsmasq.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--pid-file="]);
    dnsmasq.args([&format!("--port={port}"), &format!("--local-ttl={}", TTL.as_secs())]);
    let part = Part::start(dnsmasq.args(args));
    eventually("dnsmasq listens", PATIENCE, || TcpStream::connect(("127.0.0.1", port))).await;
    part
}

fn hosts(file: &Path, last: u8) {
    let text = format!("127.0.9.{last} inventory.example\n");
    std::fs::write(file, text).expect("a writable folder");
}

/// The proxy's program, with its admin port and its listener.
fn proxy(name_server: u16, endpoint: &str) -> (Process, SocketAddr, SocketAddr) {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let [admin, outbound] = free_ports().map(address);
    let args = [
        "--service=payment".to_owned(),
        format!("--admin={admin}"),
        format!("--outbound={outbound}=inventory@{endpoint}"),
        format!("--dns-server=127.0.0.1:{name_server}"),
    ];
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    (Process::start("fusebox-proxy", &args), admin, outbound)
}

async fn reached(proxy: SocketAddr) -> Result<String, String> {
    let answer = client::get(proxy, "/", &[]).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

async fn reaches(proxy: SocketAddr, expected: &str) -> Result<(), String> {
    let seen = reached(proxy).await?;
    if seen == expected { Ok(()) } else { Err(seen) }
}

/// What `/config` says of the name, once its answer is not older than `age`.
async fn page(admin: SocketAddr, age: Duration) -> Value {
    eventually("a fresh answer", PATIENCE, || async {
        let config = client::json(admin, "/config").await.map_err(|error| error.to_string())?;
        let name = config["names"][0].clone();
        let is_fresh = name["age_ms"].as_u64().is_some_and(|ms| u128::from(ms) < age.as_millis());
        if is_fresh { Ok(name) } else { Err(name.to_string()) }
    })
    .await
}

/// How long it takes until ten requests in a row reach `expected`: one may do so by chance.
async fn follows(proxy: SocketAddr, expected: &str) -> Duration {
    let start = now();
    eventually("requests follow", PATIENCE, || async {
        for _ in 0..10 {
            reaches(proxy, expected).await?;
        }
        Ok::<_, String>(())
    })
    .await;
    now() - start
}

/// Scenario: a real dnsmasq tells an address with a TTL of two seconds, from a file that changes, at
/// SIGHUP.
/// Guarantees: requests through the proxy's program reach the other address within the TTL and a
/// second; the pages tell the TTL that dnsmasq gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_follow_a_real_name_server() {
    if !is_real("a name that dnsmasq tells") {
        return;
    }
    let (port, place) = (servers().await, tempfile::tempdir().expect("a folder"));
    let (name_server, file) = (free_port(), place.path().join("hosts"));
    hosts(&file, 11);
    let dnsmasq = dnsmasq(name_server, &[format!("--addn-hosts={}", file.display())]).await;
    let (_proxy, admin, outbound) = proxy(name_server, &format!("dns:inventory.example:{port}"));
    eventually("the proxy serves", PATIENCE, || reaches(outbound, "11")).await;
    let name = page(admin, PATIENCE).await;
    assert_eq!((&name["ttl_ms"], &name["source"]), (&2_000.into(), &"dns".into()));
    for last in [12, 11] {
        hosts(&file, last);
        let mut hup = Command::new("kill");
        let sent = hup.args(["-HUP", &dnsmasq.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let took = follows(outbound, &last.to_string()).await;
        println!("followed after {} ms", took.as_millis());
        assert!(took < TTL + BEYOND, "{took:?}");
    }
}

/// Scenario: a real dnsmasq tells SRV records of two targets with weights 3 and 1; it is started anew
/// with one target only.
/// Guarantees: requests through the proxy's program are shared by the weights; then all follow within
/// the TTL and a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_follow_real_srv_records() {
    if !is_real("SRV records that dnsmasq tells") {
        return;
    }
    let (port, name_server) = (servers().await, free_port());
    let host = |name: &str, last: u8| format!("--host-record={name}.example,127.0.9.{last},2");
    let service = |name: &str, weight: u16| {
        format!("--srv-host=_http._tcp.inventory.example,{name}.example,{port},10,{weight}")
    };
    let both = [host("a", 11), host("b", 12), service("a", 3), service("b", 1)];
    let first = dnsmasq(name_server, &both).await;
    let (_proxy, admin, outbound) = proxy(name_server, "srv:_http._tcp.inventory.example");
    eventually("the proxy serves", PATIENCE, || reached(outbound)).await;
    let name = page(admin, PATIENCE).await;
    let weights = [&name["addresses"][0]["weight"], &name["addresses"][1]["weight"]];
    assert_eq!((weights, &name["ttl_ms"]), ([&3.into(), &1.into()], &2_000.into()), "{name}");
    let mut heavy = 0;
    for _ in 0..200 {
        heavy += usize::from(reached(outbound).await.expect("it serves") == "11");
    }
    // By load, at random: four standard deviations, and more.
    assert!((120..=180).contains(&heavy), "{heavy} of 200");

    // Not while it is being asked.
    page(admin, TTL / 4).await;
    drop(first);
    let _second = dnsmasq(name_server, &[host("b", 12), service("b", 1)]).await;
    let took = follows(outbound, "12").await;
    println!("followed after {} ms", took.as_millis());
    assert!(took < TTL + BEYOND, "{took:?}");
}
