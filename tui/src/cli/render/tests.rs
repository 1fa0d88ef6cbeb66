use super::*;
use fusebox_proto::command::{ActionKind, BreakerState};
use fusebox_proto::view::{
    Advisory, Breaker, EdgeBreaker, EdgeName, EdgeView, Incident, Proxy, Service, SuggestedAction,
};

/// 14:05:00 UTC of some day.
const NOW: u64 = 1_780_063_500_000;

fn at(seconds_ago: i64) -> Stamp {
    Stamp(NOW.checked_add_signed(-1_000 * seconds_ago).unwrap())
}

/// A storm that has just been tripped.
fn storm() -> Snapshot {
    let mut snapshot = Snapshot { at: at(0), ..Snapshot::default() };
    snapshot.status.health = Health::Incident;
    snapshot.status.services = 12;
    snapshot.status.edges = 15;
    snapshot.status.proxies = 3;
    snapshot.status.incidents_open = 1;
    snapshot.status.collector.version = "0.1.0".into();
    snapshot.status.collector.uptime_s = 192;
    snapshot.status.collector.spans_per_s = 1_240.0;
    snapshot.status.collector.senders = 15;
    snapshot.status.collector.dropped.insert("late_spans".into(), 7);
    snapshot.status.collector.history = Some(History::Disk);
    snapshot.services = services();
    snapshot.edges = edges();
    snapshot.incidents = incidents();
    snapshot.advisories = vec![Advisory {
        kind: "polling".into(),
        source: "frontend".into(),
        destination: "cart".into(),
        summary: "every 100 ms".into(),
        since: at(3_700),
    }];
    snapshot.breakers = vec![Breaker {
        edge: "payment>inventory".into(),
        kind: "operator".into(),
        state: BreakerState::RetriesMuted,
        cause: "operator".into(),
        since: Some(at(9)),
        until: Some(at(-291)),
        by: Some("ana@laptop".into()),
        reason: Some("drill".into()),
        applied: 3,
        proxies: 3,
        refused_total: 1_204,
        ..Breaker::default()
    }];
    snapshot.proxies = vec![Proxy {
        id: "payment-1".into(),
        service: "payment".into(),
        instance: "1".into(),
        build: "0.1.0".into(),
        connected: true,
        last_seen_ms: 840,
        ..Proxy::default()
    }];
    snapshot
}

fn services() -> Vec<Service> {
    vec![
        Service {
            name: "inventory".into(),
            rate: Some(408.2),
            error_ratio: Some(0.614),
            p50_ms: Some(2_950.0),
            instances: Some(3),
            environment: "prod".into(),
            ..Service::default()
        },
        Service {
            name: "postgres".into(),
            kind: fusebox_proto::view::ServiceKind::Database,
            ..Service::default()
        },
    ]
}

fn edges() -> Vec<EdgeView> {
    vec![
        EdgeView {
            source: "payment".into(),
            destination: "inventory".into(),
            protocol: "http/1.1".into(),
            rate: Some(391.0),
            error_ratio: Some(0.6),
            refused_per_s: Some(120.0),
            attempts_per_request: Some(9.8),
            proxies: 3,
            breaker: EdgeBreaker {
                state: BreakerState::RetriesMuted,
                percent: Some(0),
                until: Some(at(-291)),
                applied: 3,
                proxies: 3,
            },
            ..EdgeView::default()
        },
        EdgeView {
            source: "frontend".into(),
            destination: "cart".into(),
            protocol: "grpc".into(),
            ..EdgeView::default()
        },
    ]
}

fn incidents() -> Vec<Incident> {
    vec![Incident {
        id: "i1".into(),
        kind: "retry_storm".into(),
        opened_at: at(192),
        summary: "payment sends inventory 9.8 attempts per request since 14:01:48".into(),
        confidence: 0.93,
        action: Some(SuggestedAction {
            action: ActionKind::MuteRetries,
            source: "payment".into(),
            destination: "inventory".into(),
            ttl_s: 45,
            tier: 0,
            predicted: "inventory drains in about 12 s".into(),
        }),
        ..Incident::default()
    }]
}

#[track_caller]
fn check(noun: Noun, snapshot: &Snapshot, expected: &[&str]) {
    let text = table(noun, snapshot, None, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, expected, "{noun:?}");
}

/// Scenario: each noun in the middle of a storm.
/// Guarantees: columns are aligned, times are told as people tell them, and what is not known is
/// not zero.
#[test]
fn a_storm_is_told_in_tables() {
    let storm = storm();
    check(
        Noun::Status,
        &storm,
        &[
            "health     incident",
            "incidents  1 open",
            "graph      12 services, 15 edges",
            "proxies    3 connected",
            "senders    15",
            "spans      1.2k/s",
            "collector  0.1.0, up 3m12s",
            "history    on disk",
            "dropped    7 late_spans",
            "           payment sends inventory 9.8 attempts per request since 14:01:48",
        ],
    );
    check(
        Noun::Services,
        &storm,
        &[
            "SERVICE    KIND      RATE/S  ERR%   P50  P95  P99  INSTANCES  NAMESPACE  ENVIRONMENT",
            "inventory  service      408  61.4  3.0s    ·    ·          3             prod",
            "postgres   database       ·     ·     ·    ·    ·          ·",
        ],
    );
    check(
        Noun::Edges,
        &storm,
        &[
            "SOURCE    DESTINATION  PROTOCOL  RATE/S  ERR%  REFUSED/S  ATT/REQ  P50  P95  P99  MTLS  PROXIES  BREAKER",
            "payment   inventory    http/1.1     391  60.0        120      9.8    ·    ·    ·  ·           3  retries_muted, 0 % of retries pass, 3 of 3 proxies, 4m51s left",
            "frontend  cart         grpc           ·     ·          ·        ·    ·    ·    ·  ·           0  closed",
        ],
    );
    check(
        Noun::Incidents,
        &storm,
        &[
            "ID  STATE  KIND            OPENED  SURE%  SUGGESTED                           SUMMARY",
            "i1  open   retry_storm  3m12s ago   93.0  mute-retries payment>inventory 45s  payment sends inventory 9.8 attempts per request since 14:01:48",
            "",
            "ADVISORY  EDGE                 SINCE  SUMMARY",
            "polling   frontend>cart  1h1m40s ago  every 100 ms",
        ],
    );
    check(
        Noun::Breakers,
        &storm,
        &[
            "EDGE               KIND      ENDPOINT  STATE          CAUSE      SINCE        LEFT  APPLIED  REFUSED  BY          REASON",
            "payment>inventory  operator  ·         retries_muted  operator  9s ago  4m51s left   3 of 3     1204  ana@laptop  drill",
        ],
    );
    check(
        Noun::Proxies,
        &storm,
        &[
            "PROXY      SERVICE  NAMESPACE  INSTANCE  VERSION  POLICY  CONNECTED  LAST SEEN",
            "payment-1  payment             1         0.1.0    ·       yes            840ms",
        ],
    );
}

/// Scenario: each noun where there is nothing.
/// Guarantees: nothing is said in words, never by an empty table.
#[test]
fn nothing_is_told_in_words() {
    let empty = Snapshot::default();
    check(Noun::Services, &empty, &["no services"]);
    check(Noun::Edges, &empty, &["no edges"]);
    check(Noun::Incidents, &empty, &["no incidents"]);
    check(Noun::Breakers, &empty, &["all circuits are closed"]);
    check(Noun::Proxies, &empty, &["no proxies"]);
}

/// Scenario: each noun on a narrow terminal, and without anything but ASCII.
/// Guarantees: no line is wider than the terminal; what we draw is ASCII.
#[test]
fn tables_fit_the_terminal() {
    use unicode_width::UnicodeWidthStr as _;
    for noun in Noun::ALL {
        for width in [10, 40, 80] {
            let text = table(noun, &storm(), Some(width), true);
            assert!(text.lines().all(|line| line.width() <= width), "{noun:?} {width}: {text}");
            assert!(text.is_ascii(), "{noun:?}: {text}");
        }
    }
}

/// Scenario: collectors that keep their history in each way, or do not say.
/// Guarantees: whether it lasts is said in words.
#[test]
fn whether_the_history_lasts_is_said() {
    let check = |history: Option<History>, expected: Option<&str>| {
        let mut snapshot = Snapshot::default();
        snapshot.status.collector.history = history;
        let text = table(Noun::Status, &snapshot, None, false);
        assert_eq!(text.lines().find_map(|line| line.strip_prefix("history    ")), expected);
    };
    check(None, None);
    check(Some(History::Disk), Some("on disk"));
    check(Some(History::Memory), Some("in memory, ends with the collector"));
    check(Some(History::Failing), Some("cannot be written: what happens is not kept"));
}

/// Scenario: results of trips that went well, in part, and not at all, and of a reset.
/// Guarantees: one sentence with what a person asks next.
#[test]
fn results_are_sentences() {
    let check = |applied, proxies, ms, coverage, note: &str, ttl, expected: &str| {
        let edge = EdgeName { source: "a".into(), destination: "b".into() };
        let action = if ttl { "open" } else { "reset" }.into();
        let result = TripResult {
            edge,
            action,
            applied,
            proxies,
            applied_ms: ms,
            coverage,
            note: note.into(),
            ..TripResult::default()
        };
        assert_eq!(super::result(&result, ttl.then_some("5m")), expected);
    };
    let whole = "a>b: open for 5m, applied on 3 of 3 proxies in 84ms, 62.0 % of attempts";
    check(3, 3, Some(84.2), Some(0.62), "", true, whole);
    let part = "a>b: open for 5m, applied on 1 of 2 proxies; p2 has not answered";
    check(1, 2, None, None, "p2 has not answered", true, part);
    let none = "a>b: open, applied on 0 of 0 proxies; no proxy of a can enforce it";
    check(0, 0, None, None, "no proxy of a can enforce it", true, none);
    check(1, 1, Some(3.0), None, "", false, "a>b: reset, applied on 1 of 1 proxies in 3ms");
}
