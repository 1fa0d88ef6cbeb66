//! The policy in virtual time: versions, pushes, answers.

mod memory;

use super::bench::{Bench, Sidecar, service};
use crate::engine::{Apply, ConnectionId, Event, Lint, Output, Refusal};
use fusebox_proto::ProxyId;
use fusebox_proto::policy::{
    Profile, Push, PushAck, RollbackRequest, ShiftRequest, SourceFile, read_all,
};
use fusebox_proto::report::{Endpoints, Hello};
use fusebox_proto::view::{PolicyOutcome, PolicyResult, PolicyStanding, PolicyView};
use std::sync::Arc;
use std::time::Duration;

const CANARY: &str =
    include_str!("../../../../proto/tests/policy/valid/founding-inventory-canary.yaml");
const BREAKER: &str =
    include_str!("../../../../proto/tests/policy/valid/founding-payment-circuit-breaker.yaml");
const MTLS: &str = include_str!("../../../../proto/tests/policy/valid/founding-strict-mtls.yaml");
const INSTALL: &str =
    include_str!("../../../../proto/tests/policy/valid/founding-control-plane.yaml");

pub(super) fn request(id: &str, text: &str) -> Apply {
    let file = SourceFile { name: "a.yaml".into(), text: text.into() };
    let (documents, findings) = read_all(&[file]).expect("valid files");
    Apply {
        request_id: id.into(),
        documents,
        findings,
        profile: None,
        dry_run: false,
        strict: false,
        by: "ana".into(),
        reason: "drill".into(),
    }
}

/// What tests do with a policy.
pub(super) trait Operate {
    fn apply(&mut self, id: &str, text: &str);
    fn rollback(&mut self, id: &str, to: Option<u64>);
    fn shift(&mut self, id: &str, host: &str, weights: &[(&str, u32)]);
    fn join(&mut self, proxy: &str, version: u64) -> Sidecar;
    fn sent(&mut self) -> Vec<(ConnectionId, Arc<Push>)>;
    fn answer(&mut self, sidecar: &Sidecar, version: u64, rejected: Option<&str>);
    fn told(&mut self) -> Option<PolicyResult>;
    fn view(&self) -> PolicyView;
    fn newest(&self) -> (Option<u64>, Vec<String>);
    fn standings(&self) -> Vec<(String, Option<u64>, PolicyStanding)>;
}

impl Operate for Bench {
    fn apply(&mut self, id: &str, text: &str) {
        self.handle(Event::Apply(Box::new(request(id, text))));
    }

    fn rollback(&mut self, id: &str, to: Option<u64>) {
        let (request_id, reason, by) = (id.into(), "bad canary".into(), "ben".into());
        self.handle(Event::Rollback(RollbackRequest { request_id, to, reason, by }));
    }

    fn shift(&mut self, id: &str, host: &str, weights: &[(&str, u32)]) {
        self.handle(Event::Shift(ShiftRequest {
            request_id: id.into(),
            host: host.into(),
            weights: weights.iter().map(|(name, weight)| ((*name).into(), *weight)).collect(),
            reason: String::new(),
            by: "ana".into(),
        }));
    }

    fn join(&mut self, proxy: &str, version: u64) -> Sidecar {
        let connection = self.next_connection();
        let hello = Hello {
            proxy: ProxyId::new(proxy).unwrap(),
            service: service("payment"),
            instance: proxy.into(),
            build: "0.1.0".into(),
            boot: 1,
            held: Vec::new(),
            policy_version: version,
            endpoints: Endpoints::leading_to(vec![service("inventory")]),
        };
        self.handle(Event::Hello { connection, hello: hello.clone() });
        Sidecar { hello, connection, number: 0 }
    }

    fn sent(&mut self) -> Vec<(ConnectionId, Arc<Push>)> {
        let mut sent = Vec::new();
        self.outputs.retain(|output| match output {
            Output::PushPolicy { connection, push } => {
                sent.push((*connection, Arc::clone(push)));
                false
            }
            _ => true,
        });
        sent
    }

    fn answer(&mut self, sidecar: &Sidecar, version: u64, rejected: Option<&str>) {
        let ack = PushAck { version, rejected: rejected.map(Into::into) };
        self.handle(Event::PolicyAck { connection: sidecar.connection, ack });
    }

    fn told(&mut self) -> Option<PolicyResult> {
        let is_it = |output: &Output| matches!(output, Output::PolicyDone { .. });
        let at = self.outputs.iter().position(is_it)?;
        match self.outputs.remove(at) {
            Output::PolicyDone { result, .. } => Some(*result),
            _ => None,
        }
    }

    fn view(&self) -> PolicyView {
        self.snapshot().policy
    }

    fn newest(&self) -> (Option<u64>, Vec<String>) {
        let set = self.view().set;
        (set.version, set.documents.iter().map(|document| document.text.clone()).collect())
    }

    fn standings(&self) -> Vec<(String, Option<u64>, PolicyStanding)> {
        self.view().proxies.into_iter().map(|one| (one.id, one.version, one.result)).collect()
    }
}

fn refused(bench: &mut Bench) -> Option<String> {
    let text = |output: &Output| match output {
        Output::Refused { refusal, .. } => Some(refusal.to_string()),
        _ => None,
    };
    let found = bench.outputs.iter().find_map(text);
    bench.outputs.retain(|output| text(output).is_none());
    found
}

fn says(bench: &Bench, text: &str) -> bool {
    bench.snapshot().events.iter().any(|event| event.text.contains(text))
}

/// Scenario: the four files of the founding guide, tried and then applied, one after the other.
/// Guarantees: trying says what would change and changes nothing; applying makes one version each,
/// strict or not; applying them again makes none.
#[test]
fn founding_files_are_applied() {
    let mut bench = Bench::new();
    let files = [CANARY, BREAKER, MTLS, INSTALL];
    for (at, file) in files.into_iter().enumerate() {
        let before = bench.view();
        let tried = Apply { dry_run: true, strict: true, ..request("d", file) };
        bench.handle(Event::Apply(Box::new(tried)));
        let tried = bench.told().expect("at once");
        assert_eq!(tried.outcome, PolicyOutcome::DryRun, "{:#?}", tried.findings);
        assert!(tried.changes.iter().all(|change| change.to_string().ends_with(" added")));
        assert_eq!(bench.view(), before);

        let applied = Apply { strict: true, ..request(&format!("a{at}"), file) };
        bench.handle(Event::Apply(Box::new(applied)));
        let applied = bench.told().expect("nobody is waited for");
        assert_eq!(
            (applied.outcome, applied.version),
            (PolicyOutcome::Applied, Some(at as u64 + 1))
        );
        assert_eq!((applied.changes, applied.findings), (tried.changes, tried.findings));
        assert!(applied.note.contains("no proxy is connected"), "{}", applied.note);
    }
    for (at, file) in files.into_iter().enumerate() {
        bench.apply(&format!("again{at}"), file);
        let again = bench.told().expect("at once");
        assert_eq!((again.outcome, again.version), (PolicyOutcome::Unchanged, Some(4)));
    }
    let view = bench.view().set;
    let kinds: Vec<&str> = view.documents.iter().map(|document| &*document.kind).collect();
    let expected = [
        "DestinationRule",
        "VirtualService",
        "DestinationRule",
        "PeerAuthentication",
        "IstioOperator",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(view.versions.len(), 4);
    let newest = &view.versions[0];
    assert_eq!((&*newest.by, &*newest.reason, &*newest.what), ("ana", "drill", "apply"));
    assert!(says(&bench, "ana made policy version 4: apply: drill"));
}

/// Scenario: files whose documents do not fit together, or only warn.
/// Guarantees: nothing of them is applied; a warning refuses only where that is asked for.
#[test]
fn what_is_wrong_is_refused_whole() {
    let check = |text: &str, strict: bool, outcome: PolicyOutcome, finding: &str| {
        let mut bench = Bench::new();
        bench.apply("a", MTLS);
        bench.told();
        let before = bench.view();
        bench.handle(Event::Apply(Box::new(Apply { strict, ..request("b", text) })));
        let result = bench.told().expect("an answer");
        assert_eq!(result.outcome, outcome, "{:#?}", result.findings);
        let all: Vec<String> = result.findings.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|one| one.contains(finding)), "{finding} is not in {all:#?}");
        assert_eq!(bench.view() == before, outcome == PolicyOutcome::Refused);
    };
    let undefined = CANARY.replace("name: v2", "name: v3");
    let wrong =
        "a.yaml:30: VirtualService/inventory-route: spec.http[0].route[1].destination.subset";
    check(&undefined, false, PolicyOutcome::Refused, wrong);
    let twice = format!("{BREAKER}\n---\n{BREAKER}");
    check(&twice, false, PolicyOutcome::Refused, "is there twice");
    let warns = BREAKER.replace("interval: 1s", "interval: 1s\n      unheard: 1");
    check(&warns, true, PolicyOutcome::Refused, "unheard");
    check(&warns, false, PolicyOutcome::Applied, "unheard");
}

/// Scenario: a policy is applied to three proxies; two take it, one at once and one later, the
/// third refuses or does not answer.
/// Guarantees: all get it whole; the answer comes with the last acknowledgement, or after one
/// second with what there is, and names who is missing and why.
#[test]
fn proxies_acknowledge() {
    let check = |third: Option<Option<&str>>, applied: u64, note: &str| {
        let mut bench = Bench::new();
        let proxies = ["p1", "p2", "p3"].map(|name| bench.join(name, 0));
        assert_eq!((bench.sent(), bench.standings()), (Vec::new(), Vec::new()));
        bench.apply("a", CANARY);
        let sent = bench.sent();
        let streams: Vec<ConnectionId> = sent.iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, proxies.each_ref().map(|proxy| proxy.connection));
        assert_eq!((sent[0].1.version, &sent[0].1.documents), (1, &bench.newest().1));
        bench.answer(&proxies[0], 1, None);
        bench.advance(Duration::from_millis(30));
        bench.answer(&proxies[1], 1, None);
        assert_eq!(bench.told(), None);
        match third {
            Some(rejected) => bench.answer(&proxies[2], 1, rejected),
            None => bench.advance(Duration::from_millis(969)),
        }
        if third.is_none() {
            assert_eq!(bench.told(), None);
            bench.advance(Duration::from_millis(1));
        }
        let result = bench.told().expect("an answer");
        assert_eq!((result.applied, result.proxies, &*result.note), (applied, 3, note));
        let is_whole = applied == 3;
        assert_eq!(result.applied_ms.map(f64::round), is_whole.then_some(30.0));
        let (version, standing) = match third {
            Some(None) => (Some(1), PolicyStanding::Applied),
            Some(Some(_)) => (None, PolicyStanding::Rejected),
            None => (None, PolicyStanding::Pending),
        };
        let expected = ("p3".to_owned(), version, standing);
        assert_eq!(bench.standings()[2], expected);
        assert_eq!(bench.snapshot().proxies[2].policy_version, version);
        assert_eq!(bench.snapshot().proxies[0].policy_version, Some(1));
        bench.apply("a", CANARY);
        assert_eq!(
            bench.told().map(|again| again.version),
            Some(Some(1)),
            "asked twice, made once"
        );
        assert!(bench.sent().is_empty());
    };
    check(Some(None), 3, "");
    check(Some(Some("no \x1broom")), 2, "p3 refused: no \\u{1b}room");
    check(None, 2, "p3 has not answered");
}

/// Scenario: proxies connect with each version that they can have; one loses its stream before it
/// answers and comes back with the old or the new version.
/// Guarantees: who has another version gets the newest, who has it is not told again.
#[test]
fn who_connects_gets_the_newest() {
    let check = |held: u64, gets: Option<u64>, standing: PolicyStanding| {
        let mut bench = Bench::new();
        bench.apply("a", CANARY);
        bench.apply("b", BREAKER);
        let first = bench.join("p1", 0);
        assert_eq!(bench.sent().pop().map(|(_, push)| push.version), Some(2));
        bench.handle(Event::Gone { connection: first.connection });
        assert!(bench.standings().is_empty());
        bench.join("p1", held);
        assert_eq!(bench.sent().pop().map(|(_, push)| push.version), gets, "{held}");
        let version = Some(held).filter(|held| *held != 0);
        assert_eq!(bench.standings(), [("p1".to_owned(), version, standing)]);
    };
    check(0, Some(2), PolicyStanding::Pending);
    check(1, Some(2), PolicyStanding::Pending);
    check(2, None, PolicyStanding::Applied);
}

/// Scenario: a stream is replaced by a newer one of the same proxy, and then ends.
/// Guarantees: the end of the old one takes nothing away.
#[test]
fn an_old_stream_takes_nothing_away() {
    let mut bench = Bench::new();
    bench.apply("a", CANARY);
    let old = bench.join("p1", 0);
    let new = bench.join("p1", 0);
    bench.handle(Event::Gone { connection: old.connection });
    bench.answer(&old, 1, None);
    assert_eq!(bench.standings()[0].2, PolicyStanding::Pending);
    bench.answer(&new, 1, None);
    assert_eq!(bench.standings()[0].2, PolicyStanding::Applied);
}

/// Scenario: a canary is moved, rolled back, rolled back again, to a certain version, and to none.
/// Guarantees: each is a new version; documents come back byte for byte; what is not kept is
/// refused with what is.
#[test]
fn rollback_restores_the_documents() {
    let mut bench = Bench::new();
    bench.rollback("r0", None);
    assert!(refused(&mut bench).is_some_and(|text| text.contains("nothing was applied")));
    bench.apply("a", CANARY);
    let first = bench.newest().1;
    bench.shift("s", "inventory", &[("v1", 50), ("v2", 50)]);
    let second = bench.newest().1;
    assert_ne!(first, second);
    bench.rollback("r1", None);
    assert_eq!(bench.newest(), (Some(3), first.clone()));
    bench.rollback("r2", None);
    assert_eq!(bench.newest(), (Some(4), second));
    bench.rollback("r3", Some(1));
    assert_eq!(bench.newest(), (Some(5), first));
    bench.outputs.clear();
    bench.rollback("r4", Some(9));
    let text = refused(&mut bench).expect("refused");
    assert!(text.contains("is 9; kept are 1 to 5, and 0"), "{text}");
    bench.rollback("r5", Some(0));
    assert_eq!(bench.newest(), (Some(6), Vec::new()));
    let whats: Vec<String> = bench.view().set.versions.into_iter().map(|one| one.what).collect();
    let expected = [
        "rollback to 0",
        "rollback to 1",
        "rollback to 2",
        "rollback to 1",
        "shift inventory v1=50 v2=50",
        "apply",
    ];
    assert_eq!(whats, expected);
}

/// Scenario: shifts that name what is not there.
/// Guarantees: nothing changes; the refusal names what there is.
#[test]
fn shifts_that_do_not_fit_are_refused() {
    let mut bench = Bench::new();
    bench.apply("a", CANARY);
    bench.told();
    let mut check = |host: &str, weights: &[(&str, u32)], words: &[&str]| {
        bench.shift("s", host, weights);
        let is_unknown = bench.outputs.iter().any(|output| {
            matches!(output, Output::Refused { refusal: Refusal::UnknownHost { .. }, .. })
        });
        assert_eq!(is_unknown, host != "inventory");
        let text = refused(&mut bench).expect("refused");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert_eq!(bench.view().set.version, Some(1));
    };
    check("stock", &[("v1", 1)], &["no rule routes \"stock\"", "there is inventory"]);
    check("inventory", &[("v3", 1)], &["is v3", "v1, v2"]);
    check("inventory", &[("v2", 1)], &["also sends to v1"]);
    check("inventory", &[("v1", 0), ("v2", 0)], &["0 for all"]);
}

/// Scenario: the set's profile is changed by an apply without other changes.
/// Guarantees: it is a new version, and reaches the proxies; later applies keep it.
#[test]
fn a_profile_is_part_of_the_set() {
    let mut bench = Bench::new();
    bench.join("p1", 0);
    bench.apply("a", CANARY);
    let profile = Some(Profile::IstioCompat);
    bench.handle(Event::Apply(Box::new(Apply { profile, ..request("b", CANARY) })));
    bench.apply("c", BREAKER);
    let sent: Vec<Profile> = bench.sent().iter().map(|(_, push)| push.profile).collect();
    assert_eq!(sent, [Profile::Fusebox, Profile::IstioCompat, Profile::IstioCompat]);
}

/// Scenario: lint without documents, over documents that are in force, and over such that do not
/// fit.
/// Guarantees: it says what compiling says, of the set as it would be, and changes nothing.
#[test]
fn lint_looks_at_the_set_as_it_would_be() {
    let mut bench = Bench::new();
    let said = |bench: &Bench, text: Option<&str>| {
        let Apply { documents, findings, .. } = text.map_or_else(
            || Apply { documents: Vec::new(), ..request("l", MTLS) },
            |text| request("l", text),
        );
        let lint = Lint { documents, findings, profile: None };
        let findings = bench.engine.lint(bench.now, lint).findings;
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(&bench, None), "");
    assert!(said(&bench, Some(CANARY)).contains("Istio would retry twice here"));
    bench.apply("a", CANARY);
    assert!(said(&bench, None).contains("Istio would retry twice here"));
    let alone = CANARY.split("---").next().unwrap().replace("name: v2", "name: v9");
    assert!(said(&bench, Some(&alone)).contains("is v2, which no DestinationRule"));
    assert_eq!(bench.view().set.version, Some(1));
}
