//! What is left of a policy after a restart, on disk and in the proxies.

use super::{BREAKER, CANARY, Operate, says};
use crate::engine::tests::bench::Bench;
use crate::engine::tests::keeping::life;
use crate::record::Restored;
use fusebox_proto::view::PolicyStanding;
use std::time::Duration;

/// Scenario: seventy versions; and a history with more bytes than are kept.
/// Guarantees: the newest that fit are kept, the newest always; numbers are never used again.
#[test]
fn versions_are_bounded() {
    let numbers = |bench: &Bench| -> Vec<u64> {
        bench.view().set.versions.iter().map(|one| one.version).collect()
    };
    let (mut bench, mut disk) = life();
    bench.apply("a", CANARY);
    for weight in 0..69 {
        bench.shift(&format!("s{weight}"), "inventory", &[("v1", 1_000), ("v2", weight)]);
    }
    assert_eq!(numbers(&bench), (7..=70).rev().collect::<Vec<_>>());
    disk.sync(&mut bench);
    let mut check = |megabytes: usize, kept: std::ops::RangeInclusive<u64>| {
        for record in &mut disk.restored.policies {
            let mut documents = record.documents.to_vec();
            documents[0].text = "x".repeat(megabytes << 20);
            record.documents = documents.into();
        }
        bench.restart_with(&disk.restored, Duration::from_secs(1), 0);
        assert_eq!(numbers(&bench), kept.rev().collect::<Vec<_>>());
    };
    check(5, 68..=70);
    check(17, 70..=70);
}

/// Scenario: a collector with a history is started again; proxies come back with the version that
/// they had, an older one, and none.
/// Guarantees: versions, with who and why, are as they were; numbers go on; who needs it gets it.
#[test]
fn versions_outlive_the_process() {
    let (mut bench, mut disk) = life();
    bench.join("p1", 0);
    bench.apply("a", CANARY);
    bench.shift("s", "inventory", &[("v1", 50), ("v2", 50)]);
    bench.rollback("r", None);
    disk.sync(&mut bench);
    let before = bench.view().set;
    bench.restart_with(&disk.restored, Duration::from_secs(2), -3_600_000);
    assert_eq!(bench.view().set, before);
    for (name, held, gets) in [("p1", 3, None), ("p2", 1, Some(3)), ("p3", 0, Some(3))] {
        bench.join(name, held);
        let sent = bench.sent().pop();
        assert_eq!(sent.as_ref().map(|(_, push)| push.version), gets, "{name}");
        let texts = before.documents.iter().map(|document| document.text.clone());
        assert!(sent.is_none_or(|(_, push)| push.documents == texts.collect::<Vec<_>>()));
    }
    bench.apply("b", BREAKER);
    disk.sync(&mut bench);
    assert_eq!(bench.view().set.version, Some(4));
}

/// Scenario: a policy is applied while the disk is slow, or full.
/// Guarantees: it is on its way to the proxies before it is on disk; the answer waits for the disk,
/// or says that it is not on it; once there is room, it is.
#[test]
fn an_answer_waits_for_the_disk() {
    let (mut bench, mut disk) = life();
    let sidecar = bench.join("p1", 0);
    disk.sync(&mut bench);
    bench.apply("a", CANARY);
    assert_eq!(bench.sent().len(), 1);
    bench.answer(&sidecar, 1, None);
    assert_eq!(bench.told(), None);
    disk.sync(&mut bench);
    assert_eq!(bench.told().map(|result| (result.applied, result.note)), Some((1, String::new())));
    disk.is_full = true;
    bench.apply("b", BREAKER);
    bench.answer(&sidecar, 2, None);
    disk.sync(&mut bench);
    let result = bench.told().expect("answered");
    assert_eq!(result.note, "it is not on the collector's disk: no space left");
    assert_eq!(disk.restored.policies.len(), 1);
    disk.is_full = false;
    for _ in 0..4 {
        bench.advance(Duration::from_secs(1));
        disk.sync(&mut bench);
    }
    let numbers: Vec<u64> = disk.restored.policies.iter().map(|one| one.number).collect();
    assert_eq!(numbers.last(), Some(&2), "{numbers:?}");
}

/// Scenario: a collector without memory starts in a mesh whose proxies run version 7; later an
/// operator applies a policy.
/// Guarantees: nothing is sent, and a notice says what the mesh runs; the new version's number is
/// above all that proxies have, and applying it warns that version 7 ends.
#[test]
fn a_policy_that_nobody_has_is_not_wiped() {
    let mut bench = Bench::new();
    bench.join("p1", 7);
    bench.join("p2", 7);
    bench.join("p3", 0);
    assert_eq!(bench.sent(), []);
    let view = bench.view();
    assert_eq!(view.set.version, None);
    assert!(view.set.notice.contains("runs policy version 7"), "{}", view.set.notice);
    let has = |id: &str| (id.to_owned(), Some(7), PolicyStanding::Applied);
    assert_eq!(bench.standings(), [has("p1"), has("p2")]);
    assert!(says(&bench, "policy version 7, which this collector does not have"));
    bench.apply("a", CANARY);
    let sent: Vec<u64> = bench.sent().iter().map(|(_, push)| push.version).collect();
    assert_eq!(sent, [8, 8, 8]);
    assert_eq!(bench.view().set.notice, "");
    bench.advance(Duration::from_secs(1));
    let findings = bench.told().expect("an answer").findings;
    assert!(findings.iter().any(|one| one.message.contains("ends policy version 7")));
}

/// Scenario: the operator is faster than the proxies: a collector without memory has version 1 when
/// proxies connect that have a version 1, or 5, of an earlier process.
/// Guarantees: the operator's documents get a number above all of theirs, and reach everybody.
#[test]
fn numbers_of_an_earlier_process_are_not_used_again() {
    let check = |held: u64| {
        let mut bench = Bench::new();
        bench.apply("a", CANARY);
        let sidecar = bench.join("p1", held);
        let sent: Vec<u64> = bench.sent().iter().map(|(_, push)| push.version).collect();
        assert_eq!(sent, [held + 1]);
        bench.answer(&sidecar, held + 1, None);
        bench.join("p2", held);
        assert_eq!(bench.sent().len(), 1);
        let expected = ("p1".to_owned(), Some(held + 1), PolicyStanding::Applied);
        assert_eq!(bench.standings()[0], expected);
        assert!(bench.view().set.versions[0].what.starts_with("renumber"));
    };
    check(1);
    check(5);
}

/// Scenario: a history that is older than the mesh (a backup): it has version 2, proxies run 5.
/// Guarantees: version 5 stays in force until an operator speaks; then numbers go on from 6.
#[test]
fn an_old_history_does_not_turn_the_mesh_back() {
    let (mut bench, mut disk) = life();
    bench.apply("a", CANARY);
    bench.apply("b", BREAKER);
    disk.sync(&mut bench);
    bench.restart_with(&disk.restored, Duration::from_secs(2), 0);
    bench.join("p1", 5);
    bench.join("p2", 5);
    assert_eq!(bench.sent(), []);
    assert!(bench.view().set.notice.contains("version 5"));
    assert_eq!(bench.standings()[1], ("p2".to_owned(), Some(5), PolicyStanding::Pending));
    bench.apply("again", BREAKER);
    let sent: Vec<u64> = bench.sent().iter().map(|(_, push)| push.version).collect();
    assert_eq!(sent, [6, 6], "the same documents, but not those of the mesh");
}

/// Scenario: a version whose documents an earlier program took and this one does not read.
/// Guarantees: the collector starts and says so; the texts are sent as they are.
#[test]
fn a_version_that_does_not_compile_any_more_is_told() {
    let (mut bench, mut disk) = life();
    bench.apply("a", CANARY);
    disk.sync(&mut bench);
    let record = &mut disk.restored.policies[0];
    let mut documents = record.documents.to_vec();
    documents[1].text = documents[1].text.replace("weight: 10", "weight: many");
    record.documents = documents.into();
    let restored: &Restored = &disk.restored;
    bench.restart_with(restored, Duration::from_secs(2), 0);
    assert!(says(&bench, "policy version 1 was accepted by an earlier program"));
    bench.join("p1", 0);
    assert!(bench.sent()[0].1.documents[1].contains("many"));
}
