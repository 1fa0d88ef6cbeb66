mod policy;

use super::v1;
use crate::command::{
    Ack, AckResult, Action, ActionKind, BreakerState, Command, HeldLease, REASON_LEN_MAX,
    ResetRequest, ResetScope, TTL_MAX, TTL_MIN, ToProxy, TripRequest, Verb, Welcome,
};
use crate::delta::Delta;
use crate::policy::{Profile, Push, PushAck};
use crate::report::{
    BreakerStatus, Cause, Dropped, EdgeCounts, EdgeWindow, Endpoint, Endpoints, FromProxy, Hello,
    InboundWindow, Protocol, Refusals, Report, RetryWaits, Transition,
};
use crate::view::{GuardMode, History, Snapshot, Update};
use crate::{Invalid, Latency, ProxyId, ServiceId};
use proptest::prelude::*;
use prost::Message as _;
use std::time::Duration;

fn service() -> ServiceId {
    ServiceId::new("prod", "shop", "inventory").unwrap()
}

fn command(verb: Verb) -> Command {
    let (by, reason) = ("ana".into(), "drill".into());
    Command { id: "t-1".into(), revision: 7, destination: service(), verb, by, reason }
}

fn latency() -> Latency {
    let mut latency = Latency::default();
    latency.record_us(1_234);
    latency
}

fn report() -> Report {
    let refused = Refusals { forced_open: 1, shed: 2, ..Refusals::default() };
    let counts = EdgeCounts { first_attempts: 3, timeouts: 4, refused, ..EdgeCounts::default() };
    let (destination, route) = (service(), "stock".to_owned());
    let (from, to, cause) = (BreakerState::Closed, BreakerState::ForcedOpen, Cause::Operator);
    Report {
        boot: 1,
        number: 2,
        start_unix_ms: 3,
        duration_ms: 1_000,
        edges: vec![EdgeWindow {
            destination: destination.clone(),
            route: route.clone(),
            subset: "v2".into(),
            protocol: Protocol::Grpc,
            counts,
            latency: latency(),
            retry_waits: Some(Box::new(RetryWaits { first: latency(), ..RetryWaits::default() })),
        }],
        inbound: vec![InboundWindow {
            route,
            requests: 1,
            failures: 2,
            cancelled: 3,
            in_flight: 4,
            latency: latency(),
        }],
        breakers: vec![BreakerStatus {
            destination: destination.clone(),
            state: to,
            cause,
            since_ms: 5,
            remaining_ms: Some(6),
            percent: Some(25),
            revision: 7,
            refused_total: 8,
            endpoint: "127.0.0.1:1".into(),
            shadow: true,
            detail: "consecutive_5xx: 5 of 5".into(),
            succeeded_total: 7,
        }],
        transitions: vec![Transition {
            destination,
            from,
            to,
            cause,
            revision: 7,
            at_unix_ms: 9,
            endpoint: "127.0.0.1:1".into(),
            shadow: false,
        }],
        dropped: Dropped { spans: 1, reports: 2, retry_keys: 3, transitions: 4 },
        draining: true,
        endpoints: Some(endpoints()),
        troubles: vec!["ingress port 80 cannot listen".into()],
    }
}

fn endpoints() -> Endpoints {
    let labels = vec![("version".into(), "v2".into()), ("zone".into(), String::new())];
    let endpoint = Endpoint { destination: service(), address: "127.0.0.1:1".into(), labels };
    Endpoints { revision: 3, destinations: vec![service()], all: vec![endpoint], left_out: 2 }
}

/// Scenario: one of each message on a proxy's stream, in both directions.
/// Guarantees: what is written is what is parsed.
#[test]
fn streams_round_trip() {
    let trip = |action| Verb::Trip { action, ttl: Duration::from_mins(5), proxies: 3 };
    let held = HeldLease { command: command(trip(Action::Open)), state: BreakerState::HalfOpen };
    let hello = Hello {
        proxy: ProxyId::new("payment-1").unwrap(),
        service: service(),
        instance: "1".into(),
        build: "0.1.0".into(),
        boot: 4,
        held: vec![held],
        policy_version: 5,
        endpoints: endpoints(),
    };
    let ack = |result| Ack { id: "t-1".into(), revision: 7, destination: service(), result };
    for message in [
        FromProxy::Hello(hello),
        FromProxy::Report(report()),
        FromProxy::Ack(ack(AckResult::Applied)),
        FromProxy::Ack(ack(AckResult::Superseded { revision: 9 })),
        FromProxy::Ack(ack(AckResult::Rejected { reason: "why".into() })),
        FromProxy::PolicyAck(PushAck { version: 5, rejected: None }),
        FromProxy::PolicyAck(PushAck { version: 5, rejected: Some("why".into()) }),
    ] {
        let wire = v1::ProxyMessage::from(message.clone());
        assert_eq!(FromProxy::try_from(wire).unwrap(), message);
    }
    let welcome = Welcome { build: "0.1.0".into(), otlp_grpc_url: "http://127.0.0.1:1".into() };
    for message in [
        ToProxy::Welcome(welcome),
        ToProxy::Command(command(trip(Action::Cap { attempts_per_s: 12.5 }))),
        ToProxy::Command(command(trip(Action::Shed { percent: 50 }))),
        ToProxy::Command(command(trip(Action::MuteRetries { percent: 0 }))),
        ToProxy::Command(command(Verb::Reset { at_once: true })),
        ToProxy::ReportAck { boot: 1, number: 2 },
        ToProxy::Policy(Push {
            version: 5,
            profile: Profile::IstioCompat,
            documents: vec!["kind: DestinationRule\n".into()],
        }),
    ] {
        let wire = v1::CollectorMessage::from(message.clone());
        assert_eq!(ToProxy::try_from(wire).unwrap(), message);
    }
}

/// Scenario: a breaker for each cause, written and read.
/// Guarantees: none becomes another one, or unknown.
#[test]
fn causes_round_trip() {
    for cause in [
        Cause::Unknown,
        Cause::Operator,
        Cause::LeaseExpired,
        Cause::RampCompleted,
        Cause::ProbeFailed,
        Cause::ConsecutiveFailures,
        Cause::EjectionElapsed,
        Cause::SuccessRate,
        Cause::ProbeSucceeded,
    ] {
        let mut report = report();
        report.breakers[0].cause = cause;
        let read = Report::try_from(v1::Report::from(report)).unwrap();
        assert_eq!(read.breakers[0].cause, cause);
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut v1::Report), field: &str) {
    let mut wire = v1::Report::from(report());
    change(&mut wire);
    assert_eq!(Report::try_from(wire).map_err(|invalid| invalid.field), Err(field.to_owned()));
}

/// Scenario: a report with one wrong field at a time.
/// Guarantees: it is refused whole, and the error names the path of the field.
#[test]
fn invalid_reports_are_refused_with_a_path() {
    check(|report| report.number = 0, "number");
    check(|report| report.duration_ms = 0, "duration_ms");
    check(|report| report.edges[0].destination = None, "edges[0].destination");
    check(
        |report| report.edges[0].destination.as_mut().unwrap().name.clear(),
        "edges[0].destination.name",
    );
    check(|report| report.edges[0].latency_us = vec![1, 2, 3], "edges[0].latency_us");
    check(
        |report| report.edges[0].counts.as_mut().unwrap().retries_certain = u64::MAX,
        "edges[0].counts.retries_certain",
    );
    check(|report| report.start_unix_ms = u64::MAX, "start_unix_ms");
    check(|report| report.breakers[0].refused_total = u64::MAX, "breakers[0].refused_total");
    check(|report| report.breakers[0].percent = Some(101), "breakers[0].percent");
    check(|report| report.breakers[0].state = 0, "breakers[0].state");
    check(|report| report.transitions[0].to = 99, "transitions[0].to");
    check(|report| report.edges = vec![report.edges[0].clone(); 1_025], "edges");
}

/// Scenario: a snapshot with one wrong field at a time, and with values of a later version.
/// Guarantees: what could be taken for its opposite is refused with its path, the rest becomes
/// unknown.
#[test]
fn invalid_views_are_refused_with_a_path() {
    let check = |change: fn(&mut v1::Snapshot), expected: Result<(), &str>| {
        let mut snapshot = Snapshot::default();
        snapshot.services.push(crate::view::Service::default());
        snapshot.edges.push(crate::view::EdgeView::default());
        snapshot.incidents.push(crate::view::Incident::default());
        let mut wire = v1::Snapshot::from(snapshot);
        change(&mut wire);
        let parsed = Snapshot::try_from(wire).map(|_| ()).map_err(|invalid| invalid.field);
        assert_eq!(parsed, expected.map_err(str::to_owned));
    };
    check(|_| (), Ok(()));
    check(|snapshot| snapshot.edges[0].mtls = 99, Ok(()));
    check(
        |snapshot| {
            snapshot.status.as_mut().unwrap().collector.as_mut().unwrap().history = 99;
        },
        Ok(()),
    );
    check(|snapshot| snapshot.status = None, Err("status"));
    check(|snapshot| snapshot.policy = None, Err("policy"));
    check(|snapshot| snapshot.status.as_mut().unwrap().health = 0, Err("status.health"));
    check(|snapshot| snapshot.status.as_mut().unwrap().health = 99, Err("status.health"));
    check(|snapshot| snapshot.services[0].kind = 0, Err("services[0].kind"));
    check(|snapshot| snapshot.services[0].rate = Some(f64::NAN), Err("services[0].rate"));
    check(|snapshot| snapshot.edges[0].breaker = None, Err("edges[0].breaker"));
    check(|snapshot| snapshot.at_unix_ms = u64::MAX, Err("at_unix_ms"));
    check(
        |snapshot| snapshot.incidents[0].opened_at_unix_ms = u64::MAX,
        Err("incidents[0].opened_at_unix_ms"),
    );
    check(
        |snapshot| snapshot.incidents[0].counter_evidence = vec![String::new(); 1_025],
        Err("incidents[0].counter_evidence"),
    );
}

/// Scenario: names with characters that are made visible, as long as they may be and longer.
/// Guarantees: a name that one program takes is taken by the next, as the same name.
#[test]
fn names_travel_on() {
    let check = |name: &str, passes: bool| {
        let Ok(first) = ServiceId::named(name) else { return assert!(!passes, "{name:?}") };
        assert!(passes, "{name:?}");
        let next = ServiceId::try_from(v1::ServiceId::from(first.clone()));
        assert_eq!(next, Ok(first));
    };
    check("payment", true);
    check("pay\u{1b}ment", true);
    check(&"x".repeat(128), true);
    check(&"x".repeat(129), false);
    check(&"\u{1b}".repeat(21), true);
    check(&"\u{1b}".repeat(22), false);
}

/// Scenario: text with escape sequences in a console's update.
/// Guarantees: it arrives visible.
#[test]
fn text_is_made_visible() {
    let mut snapshot = v1::Snapshot::from(Snapshot::default());
    let event = v1::Event { at_unix_ms: 1, kind: "\x1b[2J".into(), text: "a\u{202e}b".into() };
    snapshot.events.push(event);
    let parsed = Snapshot::try_from(snapshot).unwrap();
    assert_eq!(parsed.events[0].kind, "\\u{1b}[2J");
    assert_eq!(parsed.events[0].text, "a\\u{202e}b");
}

/// Parses bytes as each message; whatever comes of it, it comes as a value.
fn parse_all(bytes: &[u8]) {
    fn parse<W: prost::Message + Default, T: TryFrom<W, Error = Invalid>>(bytes: &[u8]) {
        if let Ok(wire) = W::decode(bytes) {
            let _ = T::try_from(wire);
        }
    }
    parse::<v1::ProxyMessage, FromProxy>(bytes);
    parse::<v1::CollectorMessage, ToProxy>(bytes);
    parse::<v1::Update, Update>(bytes);
    parse::<v1::TripRequest, TripRequest>(bytes);
    parse::<v1::ResetRequest, ResetRequest>(bytes);
    parse::<v1::TripResult, crate::view::TripResult>(bytes);
    parse::<v1::ApplyRequest, crate::policy::ApplyRequest>(bytes);
    parse::<v1::RollbackRequest, crate::policy::RollbackRequest>(bytes);
    parse::<v1::ShiftRequest, crate::policy::ShiftRequest>(bytes);
    parse::<v1::LintRequest, crate::policy::LintRequest>(bytes);
    parse::<v1::PolicyReply, crate::view::PolicyResult>(bytes);
    parse::<v1::LintReply, crate::view::LintResult>(bytes);
}

proptest! {
    /// Scenario: bytes that nobody wrote, and real messages with bytes changed.
    /// Guarantees: a value or an error, never a panic.
    #[test]
    fn foreign_bytes_are_survived(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        parse_all(&noise);
        let mut bytes = v1::ProxyMessage::from(FromProxy::Report(report())).encode_to_vec();
        let index = at.index(bytes.len());
        bytes[index] = to;
        parse_all(&bytes);
    }

    /// Scenario: two snapshots that differ in anything.
    /// Guarantees: the difference, over the wire, leads from one to the other.
    #[test]
    fn deltas_lead_from_snapshot_to_snapshot(old in snapshots(), new in snapshots()) {
        let delta = Delta::between(&old, &new);
        let wire = v1::Delta::from(delta.clone());
        let travelled = Delta::try_from(wire).unwrap();
        prop_assert_eq!(&travelled, &delta);
        let mut followed = old;
        followed.apply(travelled);
        prop_assert_eq!(followed, new);
    }

    /// Scenario: any request of an operator.
    /// Guarantees: what is written is what is parsed.
    #[test]
    fn requests_round_trip(trip in trips(), reset in resets()) {
        let bytes = v1::TripRequest::from(trip.clone()).encode_to_vec();
        prop_assert_eq!(TripRequest::try_from(v1::TripRequest::decode(&*bytes).unwrap()), Ok(trip));
        let bytes = v1::ResetRequest::from(reset.clone()).encode_to_vec();
        prop_assert_eq!(ResetRequest::try_from(v1::ResetRequest::decode(&*bytes).unwrap()), Ok(reset));
    }
}

/// Text as it is inside: control and bidi characters have been made visible.
fn text(chars_max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..=chars_max)
        .prop_map(|chars| crate::text::visible(&chars.into_iter().collect::<String>()).into_owned())
}

/// A reason, as long as it may be.
fn reasons() -> impl Strategy<Value = String> {
    text(2 * REASON_LEN_MAX)
        .prop_map(|reason| crate::text::cut(&reason, REASON_LEN_MAX).into_owned())
}

fn request_ids() -> impl Strategy<Value = String> {
    text(40).prop_filter("an id is not empty", |id| !id.is_empty())
}

prop_compose! {
    fn trips()(
        request_id in request_ids(),
        (source, destination, by) in (text(40), text(40), text(40)),
        action in prop::sample::select(&ActionKind::ALL[..]),
        percent in prop::option::of(0_u8..=100),
        ttl_ms in TTL_MIN.as_millis() as u64..=TTL_MAX.as_millis() as u64,
        reason in reasons(),
    ) -> TripRequest {
        let ttl = Duration::from_millis(ttl_ms);
        TripRequest { request_id, source, destination, action, percent, ttl, reason, by }
    }
}

prop_compose! {
    fn resets()(
        request_id in request_ids(),
        edge in prop::option::of((text(40), text(40))),
        at_once in any::<bool>(),
        (reason, by) in (reasons(), text(40)),
    ) -> ResetRequest {
        let scope = match edge {
            Some((source, destination)) => ResetScope::Edge { source, destination },
            None => ResetScope::All,
        };
        ResetRequest { request_id, scope, at_once, reason, by }
    }
}

prop_compose! {
    fn snapshots()(
        at in 0_u64..1_000,
        services in prop::collection::btree_map("[a-d]", prop::option::of(0.0..100.0), 0..4),
        edges in prop::collection::btree_map(("[a-d]", "[a-d]"), 0_u64..4, 0..4),
        incidents in prop::collection::btree_map("[a-d]", (0_u64..9, prop::option::of(0_u64..9)), 0..4),
        proxies in prop::collection::btree_map("[a-d]", any::<bool>(), 0..4),
        events in prop::collection::vec("[a-d]{1,3}", 0..3),
        history in prop::sample::select(vec![
            None, Some(History::Memory), Some(History::Disk), Some(History::Failing),
        ]),
        version in prop::option::of(1_u64..3),
        holders in prop::collection::vec("[a-d]", 0..3),
        (mode, acted) in (prop::sample::select(GuardMode::ALL.to_vec()), prop::option::of(0_u64..9)),
    ) -> Snapshot {
        use crate::view::{
            EdgeView, Event, Guard, Incident, IncidentGuard, IncidentState, PolicyProxy, PolicyView, Proxy, Service,
            Stamp,
        };
        let services = services.into_iter().map(|(name, rate)| Service { name, rate, ..Service::default() });
        let edges = edges.into_iter().map(|((source, destination), proxies)| EdgeView { source, destination, proxies, ..EdgeView::default() });
        let incidents = incidents.into_iter().map(|(id, (opened, resolved))| Incident {
            id,
            opened_at: Stamp(opened),
            resolved_at: resolved.map(Stamp),
            state: if resolved.is_some() { IncidentState::Resolved } else { IncidentState::Open },
            guard: acted.map(|at| IncidentGuard {
                actions: at, acted_at: Some(Stamp(at)), refused: Some("spans".to_owned()),
            }),
            ..Incident::default()
        });
        let proxies = proxies.into_iter().map(|(id, connected)| Proxy { id, connected, ..Proxy::default() });
        let events = events.into_iter().map(|text| Event { text, ..Event::default() });
        let mut policy = PolicyView::default();
        policy.set.version = version;
        policy.proxies =
            holders.into_iter().map(|id| PolicyProxy { id, ..PolicyProxy::default() }).collect();
        let mut snapshot = Snapshot {
            at: Stamp(at),
            policy,
            services: services.collect(),
            edges: edges.collect(),
            incidents: incidents.collect(),
            proxies: proxies.collect(),
            events: events.collect(),
            ..Snapshot::default()
        };
        snapshot.status.collector.history = history;
        snapshot.status.guard = acted.map(|actions| Guard {
            mode, actions, leases: 1, refused: [("spans".to_owned(), actions)].into(),
        });
        snapshot.sort();
        snapshot
    }
}
