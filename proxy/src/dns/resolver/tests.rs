//! Look-ups over real sockets on loopback.

use super::*;
use name_server::{Manner, NameServer};
use simple_dns::RCODE;

#[path = "../../../tests/proxy/name_server.rs"]
mod name_server;

/// Asks `servers` with these files; the system is asked only where no servers are given.
fn resolver(servers: &[SocketAddr], hosts: &str, conf: &str) -> Resolver {
    with(Machine::new(hosts.to_owned(), conf, servers))
}

fn with(machine: Machine) -> Resolver {
    // Files are read again after a time that no test takes.
    let known = (Now::read().instant + Duration::from_hours(1), Arc::new(machine));
    Resolver { machine: Mutex::new(Some(known)), ..Resolver::new(Vec::new()) }
}

/// `source ttl_s: address*weight ...`, or the failure.
fn said(answer: &Result<Answer, Failure>) -> String {
    match answer {
        Ok(answer) => {
            let found = answer.found.iter().map(|one| format!(" {}*{}", one.address, one.weight));
            let found: String = found.collect();
            format!("{} {}:{found}", answer.source.as_str(), answer.ttl.as_secs())
        }
        Err(failure) => failure.to_string(),
    }
}

const ZONE: &str = "
    a.example 60 A 127.0.0.2
    a.example 30 A 127.0.0.3
    a.example 90 AAAA ::1
    alias.example 20 CNAME a.example
    ring.example 20 CNAME ring.example
    nothing.example 5 SRV 1 1 1 a.example
    a.below.test 7 A 127.0.0.7
    _http._tcp.a.example 40 SRV 10 3 8080 b.example
    _http._tcp.a.example 50 SRV 10 1 8081 a.example
    _http._tcp.a.example 50 SRV 20 1 8082 c.example
    b.example 35 A 127.0.0.4
    _down._tcp.a.example 40 SRV 0 0 0 .
    _second._tcp.a.example 40 SRV 10 1 80 gone.example
    _second._tcp.a.example 40 SRV 20 1 81 b.example
    _none._tcp.a.example 40 SRV 10 1 80 gone.example
";

/// Scenario: names of every kind: addresses of both families, an alias, one in a ring, one without
/// addresses, none, short ones, literals, listed ones; services by weight and priority, that are not
/// available, and that nobody serves.
/// Guarantees: each gets all its addresses with the smallest TTL of what was used, and of services the
/// best priority that resolves, by weight; what there is not has a reason; the file of hosts goes
/// first, and of literals and localhost no name server is asked.
#[tokio::test]
async fn names_are_looked_up() {
    let server = NameServer::start(ZONE).await;
    let hosts = "127.0.0.9 listed a.listed.example\n";
    let resolver = resolver(&[server.address], hosts, "search below.test\n");
    let tally = Tally::default();
    let check = async |name: &str, expected: &str| {
        assert_eq!(said(&resolver.look_up(name, &tally).await), expected, "{name}");
    };
    let all = "127.0.0.2:80*1 127.0.0.3:80*1 [::1]:80*1";
    check("a.example:80", &format!("dns 30: {all}")).await;
    check("A.Example.:80", &format!("dns 30: {all}")).await;
    check("alias.example:80", &format!("dns 20: {all}")).await;
    check("a:80", "dns 7: 127.0.0.7:80*1").await;
    check("a.below.test:81", "dns 7: 127.0.0.7:81*1").await;
    check("ring.example:80", "no addresses").await;
    check("nothing.example:80", "no addresses").await;
    check("gone.example:80", "no such name").await;
    check("not_a name:80", "is no name: labels have 1 to 63 characters, a name at most 253").await;
    let asked = server.asked().len();
    check("127.0.0.1:80", "literal 300: 127.0.0.1:80*1").await;
    check("[::1]:80", "literal 300: [::1]:80*1").await;
    check("listed:80", "hosts 5: 127.0.0.9:80*1").await;
    check("A.listed.example:80", "hosts 5: 127.0.0.9:80*1").await;
    let local = said(&resolver.look_up("localhost:80", &tally).await);
    assert!(local.starts_with("system 5:") && local.contains("127.0.0.1:80*1"), "{local}");
    assert_eq!(server.asked().len(), asked, "{:?}", server.asked());

    let shares = "127.0.0.2:8081*1 127.0.0.3:8081*1 127.0.0.4:8080*9 [::1]:8081*1";
    check("srv:_http._tcp.a.example", &format!("dns 30: {shares}")).await;
    check("srv:_down._tcp.a.example", "dns 40:").await;
    check("srv:_second._tcp.a.example", "dns 35: 127.0.0.4:81*1").await;
    check("srv:_none._tcp.a.example", "no such name").await;
    check("srv:_gone._tcp.a.example", "no such name").await;
    check("srv:a.example", "no addresses").await;
    let asked = server.asked().len();
    server.tell_additional();
    check("srv:_http._tcp.a.example", &format!("dns 30: {shares}")).await;
    assert_eq!(server.asked()[asked..], ["_http._tcp.a.example SRV"]);
    let counted = [&tally.answered, &tally.failed].map(|count| count.load(Relaxed));
    assert_eq!(counted, [14, 7]);
}

/// Scenario: a server that cannot tell, refuses, sends noise, counts more than it sends, cuts off, and
/// lies before it says the truth; alone, and before one that knows.
/// Guarantees: lies are passed over and counted; what is cut off is asked for by TCP; of the rest the
/// reason is told, and the next server is asked.
#[tokio::test]
async fn servers_that_misbehave() {
    let server = NameServer::start("a.example 60 A 127.0.0.2").await;
    let good = NameServer::start("a.example 50 A 127.0.0.5").await;
    let (right, other) = ("dns 60: 127.0.0.2:80*1", "dns 50: 127.0.0.5:80*1");
    let at = server.address;
    let tally = Tally::default();
    let cases = [
        (None, right.to_owned(), right),
        (Some(Manner::Lied), right.to_owned(), right),
        (Some(Manner::Truncated), right.to_owned(), right),
        (Some(Manner::Code(RCODE::ServerFailure)), format!("{at} says SERVFAIL"), other),
        (Some(Manner::Code(RCODE::Refused)), format!("{at} says REFUSED"), other),
        (Some(Manner::Noise), format!("{at} sends what is no answer"), other),
        (Some(Manner::Overcounted), format!("{at} sends what is no answer"), other),
    ];
    for (manner, alone, before) in cases {
        server.behave("a.example", manner);
        let single = resolver(&[at], "", "");
        assert_eq!(said(&single.look_up("a.example:80", &tally).await), alone, "{manner:?}");
        let both = resolver(&[at, good.address], "", "");
        assert_eq!(said(&both.look_up("a.example:80", &tally).await), before, "{manner:?}");
    }
    assert!(server.asked().contains(&"a.example A TCP".to_owned()));
    // Three lies about each of two types, twice.
    assert_eq!(tally.foreign.load(Relaxed), 12);
    let nobody = resolver(&["127.0.0.1:1".parse().unwrap()], "", "");
    let refused = said(&nobody.look_up("a.example:80", &tally).await);
    assert_eq!(refused, "127.0.0.1:1: connection refused");
}

/// Scenario: a silent server, alone and before one that knows, with one attempt of one second.
/// Guarantees: it is given up after that, and said to be silent; the next server answers.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let (silent, good) =
        (NameServer::start("").await, NameServer::start("a.example 50 A 127.0.0.5").await);
    silent.behave("a.example", Some(Manner::Silent));
    let (conf, tally) = ("options timeout:1 attempts:1\n", Tally::default());
    let alone = resolver(&[silent.address], "", conf);
    let before = resolver(&[silent.address, good.address], "", conf);
    let (alone, before) =
        tokio::join!(alone.look_up("a.example:80", &tally), before.look_up("a.example:80", &tally));
    assert_eq!(said(&alone), format!("{} is silent", silent.address));
    assert_eq!(said(&before), "dns 50: 127.0.0.5:80*1");
}

/// Scenario: more addresses of a name than a listener takes, and more than a datagram holds.
/// Guarantees: as many as it takes are endpoints, the others are counted.
#[tokio::test]
async fn too_many_addresses() {
    let line = |at: u32| format!("a.example 60 A {}\n", std::net::Ipv4Addr::from(0x7f01_0000 + at));
    let zone: String = (0..300).map(line).collect();
    let server = NameServer::start(&zone).await;
    server.behave("a.example", Some(Manner::Truncated));
    let (resolver, tally) = (resolver(&[server.address], "", ""), Tally::default());
    let answer = resolver.look_up("a.example:80", &tally).await.unwrap();
    assert_eq!(answer.found.len(), ENDPOINTS_MAX);
    assert_eq!(tally.addresses_dropped.load(Relaxed), 300 - ENDPOINTS_MAX as u64);
}

/// Scenario: a machine without name servers, and one whose name server knows nothing, are asked for an
/// address in a form that only the system reads; then a server that the operator named.
/// Guarantees: the system's resolver is asked for what no name server knows, and looked up again soon;
/// where the operator named the server, it is not.
#[tokio::test]
async fn the_system_knows_the_rest() {
    let server = NameServer::start("").await;
    let (tally, name) = (Tally::default(), "127.1:80");
    let by_system = "system 5: 127.0.0.1:80*1";
    let none = resolver(&[], "", "");
    assert_eq!(said(&none.look_up(name, &tally).await), by_system);
    assert_eq!(said(&none.look_up("srv:_a._tcp.b", &tally).await), "no name server is known");
    let mut machine = Machine::new(String::new(), "", &[]);
    machine.servers.push(server.address);
    let unknown = with(machine);
    assert_eq!(said(&unknown.look_up(name, &tally).await), by_system);
    let mut asked = server.asked();
    asked.sort_unstable();
    assert_eq!(asked, ["127.1 A", "127.1 AAAA"]);
    let own = resolver(&[server.address], "", "");
    assert_eq!(said(&own.look_up(name, &tally).await), "no such name");
}
