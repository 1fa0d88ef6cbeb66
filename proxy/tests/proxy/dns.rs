//! Endpoints whose addresses a name server tells.

use crate::binary::{listens, program};
use crate::name_server::{Manner, NameServer};
use crate::shop::under;
use crate::world::{Caller, Proxy, Server, full, get, outbound, until};
use fusebox_proxy::config::{Config, Endpoint};
use http::Response;
use serde_json::Value;
use simple_dns::RCODE;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const NAME: &str = "inventory.example";
const SERVICE: &str = "_http._tcp.inventory.example";
/// A TTL of one second, a second, and what a busy machine takes.
const SOON: Duration = Duration::from_secs(2);

#[expect(clippy::disallowed_methods, reason = "how soon it follows is measured")]
fn now() -> Instant {
    Instant::now()
}

/// A server on each of these addresses, all on the same port, that answers with its address.
async fn servers<const N: usize>(lasts: [u8; N]) -> ([Server; N], u16) {
    loop {
        let ip = |last: u8| Ipv4Addr::new(127, 0, 9, last);
        let first = TcpListener::bind((ip(lasts[0]), 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for last in &lasts[1..] {
            listeners.extend(TcpListener::bind((ip(*last), port)).await);
        }
        // Somebody else may have the port there.
        if let Ok(listeners) = <[TcpListener; N]>::try_from(listeners) {
            let start = |listener: TcpListener| {
                let own = listener.local_addr().unwrap().ip().to_string();
                Server::start_on(listener, move |_| {
                    let own = own.clone();
                    async move { Response::new(full(own)) }
                })
            };
            return (listeners.map(start), port);
        }
    }
}

fn followed(address: &str, name_server: &NameServer) -> Config {
    let mut config = outbound(&[]);
    let endpoint =
        |address: &str| Endpoint { address: address.into(), labels: BTreeMap::new(), weight: 1 };
    config.outbound[0].endpoints = address.split(',').map(endpoint).collect();
    config.operation.dns_servers = vec![name_server.address];
    config
}

async fn reached(proxy: &Proxy) -> String {
    let answer = get(proxy.address(), "/").await;
    if answer.status == 200 {
        String::from_utf8(answer.body.to_vec()).unwrap()
    } else {
        answer.status.to_string()
    }
}

/// Sends requests until one reaches `expected`, and says how long that took.
async fn follows(proxy: &Proxy, expected: &str) -> Duration {
    let start = now();
    loop {
        let seen = reached(proxy).await;
        if seen == expected {
            return now() - start;
        }
        assert!(now() - start < Duration::from_secs(20), "still {seen}, not {expected}");
    }
}

/// What `/config` says of the name at this place.
async fn page(proxy: &Proxy, at: usize) -> Value {
    let config: Value = serde_json::from_slice(&get(proxy.admin(), "/config").await.body).unwrap();
    config["names"][at].clone()
}

/// Scenario: a name with a TTL of a second, and one with one of minutes beside it, move; then the name
/// server fails, knows the name no more, and knows it again at a third place.
/// Guarantees: the first request after the start has an endpoint; requests follow within the TTL and a
/// second, and no sooner than asked; the long TTL is kept; failures change nothing, are said on the
/// pages, and end.
#[tokio::test]
async fn endpoints_follow_within_the_ttl() {
    let ([_a, _b, _c], port) = servers([1, 2, 3]).await;
    let zone = |last: u8| format!("{NAME} 1 A 127.0.9.{last}\nlong.example 600 A 127.0.9.{last}");
    let server = NameServer::start(&zone(1)).await;
    let proxy =
        Proxy::start(followed(&format!("dns:{NAME}:{port},dns:long.example:{port}"), &server));
    assert_eq!(reached(&proxy).await, "127.0.9.1");
    server.zone(&zone(2));
    let took = follows(&proxy, "127.0.9.2").await;
    assert!(took < SOON, "{took:?}");
    let own = page(&proxy, 0).await;
    assert_eq!((&own["name"], &own["source"]), (&format!("{NAME}:{port}").into(), &"dns".into()));
    assert_eq!(own["addresses"][0]["address"], format!("127.0.9.2:{port}"));
    assert_eq!((&own["ttl_ms"], &own["error"]), (&1_000.into(), &Value::Null));

    let failing = format!("fusebox_proxy_dns_failing{{name=\"{NAME}:{port}\"}}");
    server.behave(NAME, Some(Manner::Code(RCODE::ServerFailure)));
    until(&proxy, &failing, 1).await;
    let own = page(&proxy, 0).await;
    assert_eq!(own["addresses"][0]["address"], format!("127.0.9.2:{port}"));
    let says = format!("{} says SERVFAIL", server.address);
    assert_eq!((&own["error"], &own["ttl_ms"]), (&says.into(), &1_000.into()));
    follows(&proxy, "127.0.9.2").await;
    server.behave(NAME, Some(Manner::Code(RCODE::NameError)));
    while page(&proxy, 0).await["error"] != "no such name" {}
    follows(&proxy, "127.0.9.2").await;
    server.zone(&zone(3));
    server.behave(NAME, None);
    follows(&proxy, "127.0.9.3").await;
    until(&proxy, &failing, 0).await;

    let of_long = |one: &&String| *one == "long.example A";
    assert_eq!(server.asked().iter().filter(of_long).count(), 1, "its TTL is not over");
    let long = page(&proxy, 1).await;
    assert_eq!(long["addresses"][0]["address"], format!("127.0.9.1:{port}"));
}

/// Scenario: a service of two targets with weights 3 and 1, and one of a worse priority, by turns; then
/// the better ones are gone, then the service is not available at all, and then it is back.
/// Guarantees: each target has exactly its share, the worse priority none; then it has all; then
/// requests are refused with 503, until it is back; each within the TTL and a second.
#[tokio::test]
async fn services_are_shared_by_weight() {
    let ([a, b, c], port) = servers([1, 2, 3]).await;
    let hosts = "a.example 1 A 127.0.9.1\nb.example 1 A 127.0.9.2\nc.example 1 A 127.0.9.3\n";
    let service = |lines: &[&str]| -> String {
        let line =
            |line: &&str| format!("{SERVICE} 1 SRV {}\n", line.replace("PORT", &port.to_string()));
        lines.iter().map(line).collect()
    };
    let all = ["10 3 PORT a.example", "10 1 PORT b.example", "20 1 PORT c.example"];
    let server = NameServer::start(&(service(&all) + hosts)).await;
    let config = under(
        followed(&format!("srv:{SERVICE}"), &server),
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: inventory}\n\
         spec: {host: inventory, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}\n",
    );
    let proxy = Proxy::start(config);
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..40 {
        assert_eq!(caller.get("/").await.status, 200);
    }
    assert_eq!([&a, &b, &c].map(Server::requests), [30, 10, 0]);
    let own = page(&proxy, 0).await;
    assert_eq!(own["name"], format!("srv:{SERVICE}"));
    assert_eq!([&own["addresses"][0]["weight"], &own["addresses"][1]["weight"]], [3, 1]);

    server.zone(&(service(&all) + "c.example 1 A 127.0.9.3"));
    assert!(follows(&proxy, "127.0.9.3").await < SOON);
    let before = a.requests() + b.requests();
    for _ in 0..10 {
        assert_eq!(caller.get("/").await.body, "127.0.9.3");
    }
    assert_eq!(a.requests() + b.requests(), before);
    server.zone(&service(&["0 0 0 ."]));
    assert!(follows(&proxy, "503").await < SOON);
    assert_eq!(page(&proxy, 0).await["addresses"], Value::Array(Vec::new()));
    server.zone(&(service(&all[1..]) + hosts));
    assert!(follows(&proxy, "127.0.9.2").await < SOON);
}

/// Scenario: a service entry with resolution DNS, whose endpoints have names, one in the other's place;
/// and a name server that lies before it tells the truth.
/// Guarantees: requests reach the true address; the lies are counted.
#[tokio::test]
async fn service_entries_follow_too() {
    let ([_a], port) = servers([1]).await;
    let server = NameServer::start(&format!("{NAME} 60 A 127.0.9.1")).await;
    server.behave(NAME, Some(Manner::Lied));
    let mut config = outbound(&[]);
    config.operation.dns_servers = vec![server.address];
    let entry = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: inventory}}\n\
         spec: {{hosts: [inventory], resolution: DNS, ports: [{{number: 80, name: http}}], \
         endpoints: [{{address: {NAME}, ports: {{http: {port}}}}}]}}\n"
    );
    let proxy = Proxy::start(under(config, &entry));
    assert_eq!(reached(&proxy).await, "127.0.9.1");
    until(&proxy, "fusebox_proxy_dns_foreign_total{}", 6).await;
    until(&proxy, "fusebox_proxy_dns_lookups_total{result=\"answered\"}", 1).await;
}

/// Scenario: the program with a name server of its environment and a service of its flags; the name
/// server says nothing at first.
/// Guarantees: it starts nevertheless, refuses with 503, and serves once there is an answer.
#[tokio::test]
async fn the_program_asks_its_name_server() {
    let ([_a], port) = servers([1]).await;
    let zone = format!("{SERVICE} 60 SRV 1 1 {port} {NAME}\n{NAME} 60 A 127.0.9.1");
    let server = NameServer::start(&zone).await;
    server.behave(SERVICE, Some(Manner::Code(RCODE::Refused)));
    let flags = format!(
        "--service payment --admin 127.0.0.1:0 --outbound 127.0.0.1:0=inventory@srv:{SERVICE}"
    );
    let mut program = program(&flags);
    let environment = program.env("FUSEBOX_DNS_SERVER", server.address.to_string());
    let mut child = environment.spawn().unwrap();
    let (_, addresses, _stderr) = listens(&mut child).await;
    let address: SocketAddr = addresses[0];
    assert_eq!(get(address, "/").await.status, 503);
    server.behave(SERVICE, None);
    let answered = async { while get(address, "/").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
    child.kill().await.unwrap();
}
