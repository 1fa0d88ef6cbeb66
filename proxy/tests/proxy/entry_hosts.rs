//! Hosts that only a `ServiceEntry` names, at the listener for all services.

use crate::collector::{Collector, Session};
use crate::shop::{metric, page, push, saw, witness};
use crate::world::{Answer, Caller, Proxy, Server, full, http2_caller, until};
use fusebox_proto::ServiceId;
use fusebox_proto::command::{AckResult, Action, Verb};
use fusebox_proxy::config::Config;
use http::Request;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The proxy of `payment` with nothing but a listener for all services, attached to a collector.
async fn with_collector(change: impl FnOnce(&mut Config)) -> (Proxy, Collector, Session) {
    let collector = Collector::start().await;
    let mut config = Config::new(ServiceId::named("payment").unwrap());
    config.by_host.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.collector = Some(collector.url.clone());
    change(&mut config);
    let proxy = Proxy::start(config);
    let session = collector.attached().await;
    (proxy, collector, session)
}

/// An entry of this host with these ports and endpoints (in flow style).
fn entry(host: &str, resolution: &str, ports: &str, endpoints: &[String]) -> String {
    let name = host.replace('.', "-");
    let endpoints = match endpoints {
        [] => String::new(),
        some => format!(", endpoints: [{}]", some.join(", ")),
    };
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\n\
         spec: {{hosts: [{host}], resolution: {resolution}, ports: [{ports}]{endpoints}}}\n"
    )
}

/// At `server`, for the port of this name.
fn endpoint(address: &str, port: &str, server: &Server, version: &str) -> String {
    let number = server.address.port();
    format!("{{address: {address}, ports: {{{port}: {number}}}, labels: {{version: {version}}}}}")
}

const HTTP: &str = "{number: 80, name: http}";
const API: &str = "api.example.com";

/// A policy, who answers to each host under it, and how many hosts are known.
type Step<'a> = (String, &'a [(&'a str, &'a str)], u64);

async fn get(caller: &mut Caller, host: &str) -> Answer {
    caller.send(Request::get("/").header("host", host).body(full("")).unwrap()).await
}

/// Scenario: requests on one connection, over HTTP/1 and HTTP/2, while the policy knows no host, one
/// at two ports, two, the second elsewhere and by name, and none any more; with and without
/// `--transparent` (nothing is redirected here).
/// Guarantees: from the acknowledgement on each host leads to the endpoints of its entry at the port
/// that its caller names, as an edge of its own; 404 where no entry names it, or not that port; how
/// many are known is shown.
#[tokio::test]
async fn hosts_come_and_go_with_the_policy() {
    let (a, b, c) = (witness("a").await, witness("b").await, witness("c").await);
    for transparent in [false, true] {
        let (proxy, _collector, mut session) =
            with_collector(|config| config.transparent = transparent).await;
        let two_ports = format!("{HTTP}, {{number: 8080, name: other}}");
        let (port_a, port_b) = (a.address.port(), b.address.port());
        let both = format!("{{address: 127.0.0.1, ports: {{http: {port_a}, other: {port_b}}}}}");
        let one = entry(API, "STATIC", &two_ports, &[both]);
        let at = |address: &str, server| vec![endpoint(address, "http", server, "v1")];
        let stock = |resolution, address, server| {
            entry("stock.example.com", resolution, HTTP, &at(address, server))
        };
        let missing = "404 unknown-host";
        let api = [(API, "a"), ("API.example.com:80", "a"), ("api.example.com:8080", "b")];
        let steps: [Step<'_>; 5] = [
            (one.clone(), &[api[0], api[1], api[2], ("api.example.com:81", missing)], 2),
            (
                one.clone() + &stock("STATIC", "127.0.0.1", &c),
                &[api[0], api[2], ("stock.example.com", "c")],
                3,
            ),
            (one + &stock("STATIC", "127.0.0.1", &b), &[api[1], ("stock.example.com", "b")], 3),
            (stock("DNS", "localhost", &a), &[("stock.example.com", "a"), (API, missing)], 1),
            (String::new(), &[("stock.example.com", missing), (API, missing)], 0),
        ];
        for (version, (policy, expected, known)) in (1..).zip(steps) {
            assert_eq!(push(&mut session, version, &policy).await.rejected, None, "{policy}");
            for (host, expected) in expected {
                // Who names nobody is not read on.
                let answer = get(&mut Caller::connect(proxy.by_host()).await, host).await;
                check(&answer, host, expected);
                let mut caller = http2_caller(proxy.by_host()).await;
                let request = Request::get(format!("http://{host}/"));
                let request = request.version(http::Version::HTTP_2).body(full("")).unwrap();
                let answer = caller.send_request(request).await.unwrap();
                check(&Answer::read(answer).await.unwrap(), host, expected);
            }
            assert_eq!(metric(&proxy, "fusebox_proxy_hosts{state=\"known\"}").await, known);
        }
        let labels = format!("destination=\"{API}\",protocol=\"http/2\",class=\"first\"");
        until(&proxy, &format!("fusebox_proxy_attempts_total{{{labels}}}"), 6).await;
        // Its edge is gone once its last window is closed.
        let state =
            format!("fusebox_proxy_breaker_state{{destination=\"{API}\",state=\"closed\"}}");
        until(&proxy, &state, 0).await;
    }
}

/// Scenario: a proxy with redirected connections; a policy names a host with endpoints and one without; then
/// none any more, while the circuit of the second is held.
/// Guarantees: the collector is told of both within a window, before anybody calls them, and that one
/// is gone; who has a lease stays.
#[tokio::test]
async fn a_collector_learns_where_calls_can_go() {
    let (_proxy, _collector, mut session) =
        with_collector(|config| config.transparent = true).await;
    let server = witness("a").await;
    let at = [endpoint("127.0.0.1", "http", &server, "v1")];
    let policy = entry(API, "STATIC", HTTP, &at) + &entry("far.example.com", "NONE", HTTP, &[]);
    assert_eq!(push(&mut session, 1, &policy).await.rejected, None);
    until_told(&mut session, &[API, "far.example.com", "passthrough"]).await;
    let verb = Verb::Trip { action: Action::Open, ttl: Duration::from_hours(1), proxies: 1 };
    let ack = session.command_to("far.example.com", 1, verb).await;
    assert_eq!(ack.result, AckResult::Applied);
    assert_eq!(push(&mut session, 2, "").await.rejected, None);
    until_told(&mut session, &["far.example.com", "passthrough"]).await;
}

/// Reads reports until one says that calls can go to these.
async fn until_told(session: &mut Session, expected: &[&str]) {
    loop {
        if let Some(endpoints) = session.report().await.endpoints {
            let mut told: Vec<_> = endpoints.destinations.iter().map(ServiceId::name).collect();
            told.sort_unstable();
            if told == expected {
                return;
            }
        }
    }
}

fn check(answer: &Answer, host: &str, expected: &str) {
    let seen = match answer.status {
        200 => saw(answer)["name"].as_str().unwrap_or_default().to_owned(),
        status => {
            let why = answer.header("x-fusebox-policy");
            format!("{status} {}", why.split(';').next().unwrap_or_default())
        }
    };
    assert_eq!(seen, expected, "{host}");
}

/// Scenario: a host of an entry with two versions, under a `DestinationRule` and a `VirtualService` of
/// that host: all to one subset, with a header; then with outlier detection, where one version fails.
/// Guarantees: subsets, routes and outlier detection hold as for a listener of its own; the ejection
/// is counted at the edge of the host.
#[tokio::test]
async fn rules_of_the_host_hold() {
    let good = witness("good").await;
    let bad =
        Server::start(|_| async { http::Response::builder().status(500).body(full("")).unwrap() })
            .await;
    let (proxy, _collector, mut session) = with_collector(|_| ()).await;
    let endpoints =
        [endpoint("127.0.0.1", "http", &good, "v1"), endpoint("127.0.0.1", "http", &bad, "v2")];
    let both = entry(API, "STATIC", HTTP, &endpoints);
    let rules = |policy: &str, spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: api}}\n\
             spec: {{host: {API}, {policy}subsets: [{{name: v1, labels: {{version: v1}}}}, \
             {{name: v2, labels: {{version: v2}}}}]}}\n{spec}"
        )
    };
    let route = |subset: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: api}}\n\
             spec: {{hosts: [{API}], http: [{{headers: {{request: {{set: {{x-own: yes}}}}}}, \
             route: [{{destination: {{host: {API}, subset: {subset}}}}}]}}]}}\n"
        )
    };
    let mut caller = Caller::connect(proxy.by_host()).await;
    push(&mut session, 1, &(both.clone() + &rules("", &route("v1")))).await;
    for _ in 0..5 {
        let answer = get(&mut caller, API).await;
        assert_eq!((saw(&answer)["name"].as_str(), answer.status), (Some("good"), 200));
        assert_eq!(saw(&answer)["headers"]["x-own"], "yes");
    }
    push(&mut session, 2, &(both.clone() + &rules("", &route("v2")))).await;
    assert_eq!(get(&mut caller, API).await.status, 500);

    let outlier = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: \
                   {consecutive5xxErrors: 2, baseEjectionTime: 10m, maxEjectionPercent: 100}}, ";
    push(&mut session, 3, &(both + &rules(outlier, ""))).await;
    let mut failed = 0;
    for _ in 0..20 {
        failed += u32::from(get(&mut caller, API).await.status == 500);
    }
    assert_eq!(failed, 2);
    let line = format!("fusebox_proxy_ejections_active{{destination=\"{API}\"}}");
    assert_eq!(metric(&proxy, &line).await, 1);
}

/// Scenario: a request is under way when the entry of its host goes, and when its endpoint does.
/// Guarantees: it is answered and counted; the next one gets what the policy says by then.
#[tokio::test]
async fn what_is_under_way_ends_as_it_would() {
    let (slow, gate, mut arrivals) = Server::gated().await;
    let other = witness("other").await;
    let (proxy, _collector, mut session) = with_collector(|_| ()).await;
    let at = |server| entry(API, "STATIC", HTTP, &[endpoint("127.0.0.1", "http", server, "v1")]);
    for (version, next, expected) in
        [(1, at(&other), "other"), (3, String::new(), "404 unknown-host")]
    {
        push(&mut session, version, &at(&slow)).await;
        let mut caller = Caller::connect(proxy.by_host()).await;
        let under_way = tokio::spawn(async move { (get(&mut caller, API).await, caller) });
        arrivals.recv().await.unwrap();
        push(&mut session, version + 1, &next).await;
        check(&get(&mut Caller::connect(proxy.by_host()).await, API).await, API, expected);
        gate.add_permits(1);
        let (answer, mut caller) = under_way.await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"done"[..]));
        // The same connection, under the new policy.
        check(&get(&mut caller, API).await, API, expected);
    }
    let labels = format!("destination=\"{API}\",protocol=\"http/1.1\",outcome=\"success\"");
    until(&proxy, &format!("fusebox_proxy_ended_total{{{labels}}}"), 4).await;
}

/// Scenario: a proxy with one listener, for `inventory`, whose route leads to a host of an entry at its
/// second port; another entry nothing leads to; then the route is gone.
/// Guarantees: requests arrive there, as an edge of that host; what nothing leads to is not kept; what
/// is, `/config` shows.
#[tokio::test]
async fn routes_lead_to_hosts_of_entries() {
    let (own, other) = (witness("own").await, witness("other").await);
    let (proxy, _collector, mut session) = with_collector(|config| {
        config.outbound = crate::world::outbound(&[own.address]).outbound;
        config.by_host.clear();
    })
    .await;
    let ports = format!("{HTTP}, {{number: 8080, name: other}}");
    let entries = entry(API, "STATIC", &ports, &[endpoint("127.0.0.1", "other", &other, "v1")])
        + &entry("unused.example.com", "STATIC", HTTP, &["{address: 127.0.0.1}".into()]);
    let route = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: inventory}}\n\
         spec: {{hosts: [inventory], http: [{{route: [{{destination: {{host: {API}, \
         port: {{number: 8080}}}}}}]}}]}}\n"
    );
    let mut caller = Caller::connect(proxy.address()).await;
    for (version, policy, expected, hosts) in [
        (1, entries.clone() + &route, "other", &["api.example.com:80", "api.example.com:8080"][..]),
        (2, entries, "own", &[]),
    ] {
        assert_eq!(push(&mut session, version, &policy).await.rejected, None);
        assert_eq!(saw(&caller.get("/").await)["name"], expected);
        let config = page(&proxy, "/config").await;
        let known = config["hosts"].as_array().unwrap().iter();
        let known: Vec<_> = known.map(|one| one["host"].as_str().unwrap_or_default()).collect();
        assert_eq!(known, hosts);
    }
    let labels = format!("destination=\"{API}\",protocol=\"http/1.1\",class=\"first\"");
    until(&proxy, &format!("fusebox_proxy_attempts_total{{{labels}}}"), 1).await;
}

/// Scenario: a policy names more hosts than a proxy keeps.
/// Guarantees: the first ones lead to their endpoints, a further one is answered 404; how many have no
/// place is shown, and nothing of it is left with the next policy.
#[tokio::test]
async fn hosts_are_bounded() {
    const MAX: usize = 512;
    let server = witness("server").await;
    let (proxy, _collector, mut session) = with_collector(|_| ()).await;
    let mut hosts = String::new();
    for at in 0..MAX + 3 {
        write!(hosts, "{}h{at}.example.com", if at == 0 { "" } else { ", " }).unwrap();
    }
    let own = endpoint("127.0.0.1", "http", &server, "v1");
    let many = entry("many", "STATIC", HTTP, &[own])
        .replace("hosts: [many]", &format!("hosts: [{hosts}]"));
    assert_eq!(push(&mut session, 1, &many).await.rejected, None);
    for (at, expected) in [(0, "server"), (MAX - 1, "server"), (MAX, "404 unknown-host")] {
        let host = format!("h{at}.example.com");
        check(&get(&mut Caller::connect(proxy.by_host()).await, &host).await, &host, expected);
    }
    let hosts = async |state: &str| {
        metric(&proxy, &format!("fusebox_proxy_hosts{{state=\"{state}\"}}")).await
    };
    assert_eq!((hosts("known").await, hosts("beyond_limit").await), (MAX as u64, 3));
    assert_eq!(push(&mut session, 2, "").await.rejected, None);
    assert_eq!((hosts("known").await, hosts("beyond_limit").await), (0, 0));
    let breakers = async || page(&proxy, "/breakers").await["breakers"].as_array().map(Vec::len);
    let gone = async {
        while breakers().await != Some(0) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.is_ok());
}
