use super::*;
use fusebox_proto::command::{ActionKind, BreakerState};
use fusebox_proto::policy::{Change, Finding, Severity};
use fusebox_proto::view::{
    Advisory, Breaker, EdgeBreaker, EdgeName, EdgeView, Incident, LintResult, PolicyDocument,
    PolicyOutcome, PolicyProxy, PolicyResult, PolicySet, PolicyStanding, PolicyVersion, Proxy,
    Service, SuggestedAction,
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
            action: ActionKind::MuteRetries.into(),
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
    let head = "PROXY      SERVICE  NAMESPACE  INSTANCE  VERSION  POLICY  CONNECTED  LAST SEEN";
    let row = "payment-1  payment             1         0.1.0    ·       yes            840ms";
    check(Noun::Proxies, &storm, &[head, row]);
    let mut ends = storm.clone();
    ends.proxies[0].draining = true;
    let row = "payment-1  payment             1         0.1.0    ·       draining       840ms";
    check(Noun::Proxies, &ends, &[head, row]);
}

/// A canary that one of two proxies refuses.
fn canary() -> Snapshot {
    let mut snapshot = Snapshot { at: at(0), ..Snapshot::default() };
    let document = |kind: &str, name: &str| PolicyDocument {
        kind: kind.into(),
        name: name.into(),
        ..PolicyDocument::default()
    };
    let version = |version, seconds_ago, what: &str, reason: &str| PolicyVersion {
        version,
        at: at(seconds_ago),
        by: "ana@laptop".into(),
        reason: reason.into(),
        what: what.into(),
        documents: 2,
    };
    snapshot.policy.set = PolicySet {
        version: Some(2),
        documents: [document("DestinationRule", "inventory"), document("VirtualService", "route")]
            .into(),
        versions: vec![
            version(2, 9, "shift inventory v1=75 v2=25", "canary"),
            version(1, 192, "apply", ""),
        ],
        ..PolicySet::default()
    };
    snapshot.policy.proxies = vec![
        PolicyProxy {
            id: "payment-1".into(),
            version: Some(2),
            result: PolicyStanding::Applied,
            reason: String::new(),
        },
        PolicyProxy {
            id: "payment-2".into(),
            version: Some(1),
            result: PolicyStanding::Rejected,
            reason: "no room".into(),
        },
    ];
    snapshot
}

/// Scenario: a policy of two versions, with a proxy that refuses the newer.
/// Guarantees: what is in force where, and what to roll back to, is on one screen.
#[test]
fn a_policy_is_one_screen() {
    check(
        Noun::Policy,
        &canary(),
        &[
            "version 2, 2 documents, profile fusebox",
            "",
            "KIND             NAMESPACE  NAME",
            "DestinationRule             inventory",
            "VirtualService              route",
            "",
            "PROXY      VERSION  RESULT    REASON",
            "payment-1        2  applied",
            "payment-2        1  rejected  no room",
            "",
            "VERSION       MADE  BY          WHAT                         REASON",
            "      2     9s ago  ana@laptop  shift inventory v1=75 v2=25  canary",
            "      1  3m12s ago  ana@laptop  apply",
        ],
    );
    let mut foreign = Snapshot::default();
    foreign.policy.set.notice = "the mesh runs policy version 7".into();
    check(
        Noun::Policy,
        &foreign,
        &["no policy was applied here", "the mesh runs policy version 7"],
    );
}

/// Scenario: what can become of a request about the policy, and findings of a lint.
/// Guarantees: findings first, then changes, then one sentence; a mesh without flaw is told.
#[test]
fn policy_results_are_told() {
    let change = Change {
        object: "VirtualService/route".into(),
        field: "spec.http[0].route[1].weight".into(),
        before: Some("10".into()),
        after: Some("25".into()),
    };
    let finding = Finding::new(Severity::Warning, "DestinationRule/r", "spec.host", "is unknown");
    let result = PolicyResult {
        outcome: PolicyOutcome::Applied,
        version: Some(3),
        changes: vec![change],
        changes_left_out: 7,
        findings: vec![finding.clone()],
        applied: 1,
        proxies: 2,
        note: "p2 refused: no room".into(),
        ..PolicyResult::default()
    };
    let lines = "warning: DestinationRule/r: spec.host: is unknown\n\
                 VirtualService/route: spec.http[0].route[1].weight: 10 -> 25\n\
                 and 7 more changes\n\
                 version 3, applied on 1 of 2 proxies; p2 refused: no room\n";
    assert_eq!(policy_result(&result, true), lines);
    let check = |outcome, version, expected: &str| {
        let result = PolicyResult { outcome, version, ..PolicyResult::default() };
        assert_eq!(policy_result(&result, false), format!("{expected}\n"));
    };
    check(PolicyOutcome::Refused, None, "refused: nothing changed");
    check(PolicyOutcome::Unchanged, Some(3), "nothing changes, version 3 stays");
    check(PolicyOutcome::DryRun, Some(3), "not applied, as asked, version 3 stays");
    let found = LintResult { findings: vec![finding], findings_left_out: 2 };
    let lines = "warning: DestinationRule/r: spec.host: is unknown\n\
                 and 2 more findings\n0 errors, 1 warning\n";
    assert_eq!(lint(&found), lines);
    assert_eq!(lint(&LintResult::default()), "nothing to say\n");
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
    check(Noun::Policy, &empty, &["no policy was applied here"]);
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
