//! The policy from an operator to a proxy and back.

use crate::attach::{FakeProxy, console};
use crate::support::{Watcher, json, start};
use fusebox_proto::command::ToProxy;
use fusebox_proto::policy::{
    ApplyRequest, LintRequest, PushAck, RollbackRequest, ShiftRequest, SourceFile,
};
use fusebox_proto::report::FromProxy;
use fusebox_proto::view::{LintResult, PolicyOutcome, PolicyResult};
use fusebox_proto::wire::v1;
use tonic::Code;

const CANARY: &str =
    include_str!("../../../proto/tests/policy/valid/founding-inventory-canary.yaml");

fn files(text: &str) -> Vec<SourceFile> {
    vec![SourceFile { name: "canary.yaml".into(), text: text.into() }]
}

fn apply(request_id: &str, text: &str) -> v1::ApplyRequest {
    let (reason, by) = ("drill".into(), "ana".into());
    let request_id = request_id.into();
    ApplyRequest {
        request_id,
        files: files(text),
        dry_run: false,
        strict: false,
        profile: None,
        reason,
        by,
    }
    .into()
}

fn parsed(reply: tonic::Response<v1::PolicyReply>) -> PolicyResult {
    reply.into_inner().try_into().expect("a reply that parses")
}

async fn takes(proxy: &mut FakeProxy, rejected: Option<&str>) -> Vec<String> {
    let ToProxy::Policy(push) = proxy.hear().await else { panic!("a policy") };
    let ack = PushAck { version: push.version, rejected: rejected.map(Into::into) };
    proxy.say(FromProxy::PolicyAck(ack)).await;
    push.documents
}

/// Scenario: an operator applies a canary, moves it, and rolls it back, with a proxy that takes the
/// first two and refuses the third; then asks for what there is not.
/// Guarantees: the proxy gets each version whole; each answer comes with its acknowledgement; the
/// API tells the same; what there is not is refused with what there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_moves_and_comes_back() {
    let collector = start().await;
    let mut proxy = FakeProxy::attach(collector.control(), "payment-1").await;
    let operator = console(&collector).await;

    let mut asks = operator.clone();
    let asked = tokio::spawn(async move { asks.apply(apply("a", CANARY)).await });
    let first = takes(&mut proxy, None).await;
    let result = parsed(asked.await.expect("no panic").expect("applied"));
    assert_eq!((result.outcome, result.version), (PolicyOutcome::Applied, Some(1)));
    assert_eq!((result.applied, result.proxies, &*result.note), (1, 1, ""), "{result:?}");
    assert!(result.applied_ms.is_some_and(|ms| ms < 1_000.0), "{result:?}");

    let weights = vec![("v1".into(), 0), ("v2".into(), 1)];
    let (host, reason, by) = ("inventory".into(), String::new(), "ana".into());
    let shift = ShiftRequest { request_id: "s".into(), host, weights, reason, by };
    let (mut asks, wanted) = (operator.clone(), shift.clone());
    let asked = tokio::spawn(async move { asks.shift(v1::ShiftRequest::from(wanted)).await });
    let second = takes(&mut proxy, None).await;
    assert!(second[1].contains("weight: 0") && !first[1].contains("weight: 0"), "{second:?}");
    assert_eq!(parsed(asked.await.expect("no panic").expect("shifted")).applied, 1);

    let rollback = |to| {
        v1::RollbackRequest::from(RollbackRequest {
            request_id: format!("r{to:?}"),
            to,
            reason: "bad".into(),
            by: "ana".into(),
        })
    };
    let (mut asks, wanted) = (operator.clone(), rollback(None));
    let asked = tokio::spawn(async move { asks.rollback(wanted).await });
    assert_eq!(takes(&mut proxy, Some("no room")).await, first);
    let result = parsed(asked.await.expect("no panic").expect("rolled back"));
    assert_eq!((result.applied, result.proxies), (0, 1));
    assert!(result.note.contains("payment-1 refused: no room"), "{result:?}");

    let mut watcher = Watcher::begin(collector.control()).await;
    watcher.until("the refusal", |s| s.policy.proxies.iter().any(|p| p.reason == "no room")).await;
    let policy = json(collector.http(), "/api/v1/policy").await;
    let expected = serde_json::json!(
        [{"id": "payment-1", "version": 2, "result": "rejected", "reason": "no room"}]
    );
    assert_eq!((&policy["version"], &policy["proxies"]), (&3.into(), &expected), "{policy}");
    assert_eq!(policy["documents"][1]["text"], first[1]);
    let proxies = json(collector.http(), "/api/v1/proxies").await;
    assert_eq!(proxies["proxies"][0]["policy_version"], 2, "{proxies}");

    let mut asks = operator.clone();
    let refused = asks.rollback(rollback(Some(9))).await.expect_err("not kept");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("kept are 1 to 3"), "{refused}");
    let unknown = ShiftRequest { host: "stock".into(), request_id: "s2".into(), ..shift };
    let refused = asks.shift(v1::ShiftRequest::from(unknown)).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("inventory"), "{refused}");
}

/// Scenario: a file that does not read, one that does not fit, and lint of both and of nothing.
/// Guarantees: the findings name file and line, and nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_files_are_told_with_their_lines() {
    let collector = start().await;
    let mut operator = console(&collector).await;
    let mut check = async |text: &str, finding: &str| {
        let reply = operator.apply(apply(finding, text)).await.expect("an answer");
        let result = parsed(reply);
        assert_eq!((result.outcome, result.version), (PolicyOutcome::Refused, None));
        let request = LintRequest { files: files(text), profile: None };
        let reply = operator.lint(v1::LintRequest::from(request)).await.expect("an answer");
        let lint = LintResult::try_from(reply.into_inner()).expect("it parses");
        for all in [result.findings, lint.findings] {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            assert!(all.iter().any(|one| one.starts_with(finding)), "{finding} is not in {all:?}");
        }
    };
    check("a: [", "canary.yaml:").await;
    check(
        &CANARY.replace("weight: 90", "weight: lots"),
        "canary.yaml:27: VirtualService/inventory-route: spec.http[0].route[0].weight:",
    )
    .await;
    let policy = json(collector.http(), "/api/v1/policy").await;
    assert_eq!(policy["version"], serde_json::Value::Null);
}
