//! Requests about the policy, their answers, and the policy in a view.

use crate::Invalid;
use crate::policy::{
    ApplyRequest, Change, DOCUMENTS_MAX, Finding, LintRequest, Profile, RollbackRequest, Severity,
    ShiftRequest, SourceFile,
};
use crate::view::{
    LintResult, PolicyDocument, PolicyOutcome, PolicyProxy, PolicyResult, PolicySet,
    PolicyStanding, PolicyVersion, PolicyView, Stamp,
};
use crate::wire::v1;
use std::fmt::Debug;

#[track_caller]
fn round<T, W>(value: &T)
where
    T: Clone + PartialEq + Debug + TryFrom<W, Error = Invalid>,
    W: From<T>,
{
    assert_eq!(T::try_from(W::from(value.clone())).as_ref(), Ok(value));
}

fn apply() -> ApplyRequest {
    ApplyRequest {
        request_id: "r1".into(),
        files: vec![SourceFile { name: "a.yaml".into(), text: "kind: X\n".into() }],
        dry_run: true,
        strict: true,
        profile: Some(Profile::IstioCompat),
        reason: "canary".into(),
        by: "ana".into(),
    }
}

fn shift() -> ShiftRequest {
    ShiftRequest {
        request_id: "r1".into(),
        host: "inventory".into(),
        weights: vec![("v1".into(), 75), ("v2".into(), 25)],
        reason: String::new(),
        by: "ana".into(),
    }
}

fn finding() -> Finding {
    Finding::new(Severity::Warning, "DestinationRule/r", "spec.host", "is unknown")
        .resting_on("3/s")
}

fn view() -> PolicyView {
    let document = PolicyDocument {
        kind: "VirtualService".into(),
        namespace: "shop".into(),
        name: "inventory".into(),
        text: "apiVersion: networking.istio.io/v1\nkind: VirtualService\n".into(),
    };
    let version = PolicyVersion {
        version: 3,
        at: Stamp(1),
        by: "ana".into(),
        reason: "canary".into(),
        what: "apply".into(),
        documents: 1,
    };
    let proxy =
        |result| PolicyProxy { id: "p".into(), version: Some(2), result, reason: "r".into() };
    let standings =
        [PolicyStanding::Pending, PolicyStanding::Applied, PolicyStanding::Rejected].map(proxy);
    PolicyView {
        set: PolicySet {
            version: Some(3),
            profile: Profile::IstioCompat,
            documents: vec![document].into(),
            versions: vec![version],
            notice: "n".into(),
        },
        proxies: standings.into(),
    }
}

/// Scenario: one of each request and answer about the policy, and the policy itself.
/// Guarantees: what is written is what is parsed, and what JSON says is what it is read as.
#[test]
fn requests_and_answers_round_trip() {
    round::<_, v1::ApplyRequest>(&apply());
    round::<_, v1::ApplyRequest>(&ApplyRequest { profile: None, ..apply() });
    round::<_, v1::ShiftRequest>(&shift());
    for to in [None, Some(0), Some(7)] {
        let (request_id, reason, by) = ("r1".into(), "bad".into(), "ana".into());
        round::<_, v1::RollbackRequest>(&RollbackRequest { request_id, to, reason, by });
    }
    round::<_, v1::LintRequest>(&LintRequest::default());
    round::<_, v1::LintRequest>(&LintRequest { files: apply().files, profile: apply().profile });
    round::<_, v1::LintReply>(&LintResult { findings: vec![finding()], findings_left_out: 4 });
    let (before, after) = (Some("10".into()), None);
    for outcome in [
        PolicyOutcome::Applied,
        PolicyOutcome::Unchanged,
        PolicyOutcome::DryRun,
        PolicyOutcome::Refused,
    ] {
        round::<_, v1::PolicyReply>(&PolicyResult {
            outcome,
            version: Some(3),
            changes: vec![Change {
                object: "o".into(),
                field: "f".into(),
                before: before.clone(),
                after: after.clone(),
            }],
            changes_left_out: 1,
            findings: vec![finding()],
            findings_left_out: 2,
            applied: 3,
            proxies: 4,
            applied_ms: Some(5.5),
            note: "n".into(),
        });
    }
    round::<_, v1::PolicyView>(&view());
    let json = serde_json::to_string(&view()).unwrap();
    assert_eq!(serde_json::from_str::<PolicyView>(&json).unwrap(), view());
}

/// Scenario: requests and views with one wrong field at a time.
/// Guarantees: they are refused whole, and the error names the path of the field.
#[test]
fn wrong_fields_are_refused_with_a_path() {
    let check = |change: fn(&mut v1::ApplyRequest), field: &str| {
        let mut wire = v1::ApplyRequest::from(apply());
        change(&mut wire);
        assert_eq!(ApplyRequest::try_from(wire).map_err(|e| e.field), Err(field.to_owned()));
    };
    check(|wire| wire.request_id.clear(), "request_id");
    check(|wire| wire.files.clear(), "files");
    check(|wire| wire.files = vec![v1::PolicyFile::default(); 1_025], "files");
    check(|wire| wire.files[0].text = "x".repeat((8 << 20) + 1), "files");
    check(|wire| wire.profile = 9, "profile");

    let check = |change: fn(&mut v1::ShiftRequest), field: &str| {
        let mut wire = v1::ShiftRequest::from(shift());
        change(&mut wire);
        assert_eq!(ShiftRequest::try_from(wire).map_err(|e| e.field), Err(field.to_owned()));
    };
    check(|wire| wire.weights.clear(), "weights");
    check(|wire| wire.weights = vec![wire.weights[0].clone(); 65], "weights");
    check(|wire| wire.weights[1].subset.clear(), "weights[1].subset");
    check(|wire| wire.weights[1].weight = 1 << 31, "weights[1].weight");

    let check = |change: fn(&mut v1::PolicyView), field: &str| {
        let mut wire = v1::PolicyView::from(view());
        change(&mut wire);
        assert_eq!(PolicyView::try_from(wire).map_err(|e| e.field), Err(field.to_owned()));
    };
    check(|wire| wire.set = None, "set");
    check(|wire| wire.proxies[1].standing = 0, "proxies[1].standing");
    let set = |wire: &mut v1::PolicyView, change: fn(&mut v1::PolicySet)| {
        change(wire.set.as_mut().unwrap());
    };
    let check = |change: fn(&mut v1::PolicySet), field: &str| {
        let mut wire = v1::PolicyView::from(view());
        set(&mut wire, change);
        assert_eq!(PolicyView::try_from(wire).map_err(|e| e.field), Err(field.to_owned()));
    };
    check(|set| set.profile = 0, "set.profile");
    check(|set| set.documents = vec![set.documents[0].clone(); DOCUMENTS_MAX + 1], "set.documents");
    check(|set| set.documents[0].text = "a: \x1b[2J\n".into(), "set.documents[0].text");
    check(|set| set.versions[0].at_unix_ms = u64::MAX, "set.versions[0].at_unix_ms");

    let reply = v1::PolicyReply { outcome: 0, ..v1::PolicyReply::default() };
    assert_eq!(PolicyResult::try_from(reply).unwrap_err().field, "outcome");
    let finding = v1::Finding { severity: 4, ..v1::Finding::default() };
    let reply = v1::LintReply { findings: vec![finding], findings_left_out: 0 };
    assert_eq!(LintResult::try_from(reply).unwrap_err().field, "findings[0].severity");
}

/// Scenario: more findings than an answer holds.
/// Guarantees: the worst come first, and those left out are counted.
#[test]
fn findings_are_bounded() {
    let info = Finding::new(Severity::Info, "", "", "i");
    let mut findings = vec![info; 1_001];
    findings.push(Finding::new(Severity::Error, "", "", "e"));
    let result = LintResult::new(findings);
    assert_eq!((result.findings.len(), result.findings_left_out), (1_000, 2));
    assert_eq!(result.findings[0].severity, Severity::Error);
}
