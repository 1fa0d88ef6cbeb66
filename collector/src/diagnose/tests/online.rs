//! Made captures that are looked at again and again while they come in.

use super::synthetic::Mesh;
use super::*;
use crate::incident::ACCUSING;
use crate::proofs::is_long;
use fusebox_proto::Now;
use std::time::{Duration, Instant};

/// Whom looks accuse, in order: as the incidents have it, twice in a row and then for sure.
fn accused(mut spans: Vec<Span>) -> Vec<String> {
    spans.sort_by_key(|span| span.end_unix_ns);
    let mut ring = Ring::default();
    #[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
    let started = Now { instant: Instant::now(), unix_ms: T0_NS / 1_000_000 };
    let (mut told, mut last) = (Vec::new(), None);
    let mut rest = &spans[..];
    for second in (10..=LENGTH_S + 10).step_by(10) {
        let until = T0_NS + second * 1_000_000_000;
        let (come, later) = rest.split_at(rest.partition_point(|span| span.end_unix_ns < until));
        rest = later;
        ring.add(started.plus(Duration::from_secs(second)), &batch(come.to_vec()));
        let Some(diagnosis) = Look::new(&ring, Vec::new()).run().diagnosis else { continue };
        let first =
            diagnosis.suspects.into_iter().next().filter(|first| VERDICT <= first.confidence);
        let sure = first.clone().filter(|first| ACCUSING <= first.confidence);
        let first = first.map(|first| first.service);
        if first == last {
            told.extend(sure.map(|sure| sure.service));
        }
        last = first;
    }
    told.dedup();
    told
}

/// Scenario: made captures of five minutes, each of another mesh, that are looked at thirty times
/// while they come; half of them with a fault. (`FUSEBOX_LONG=1`: 60 of each instead of 6.)
/// Guarantees: with no fault at most one of fifty accuses somebody; with a fault the guilty is
/// accused first in six of ten, and somebody else in one of fifty.
#[test]
fn looking_again_and_again_accuses_the_guilty_only() {
    let (seeds, from) = if is_long() { (60, 10_000) } else { (6, 0) };
    let (mut clean, mut right, mut wrong) = (0, 0, 0);
    for seed in from..from + seeds {
        clean += u64::from(!accused(Mesh::new(seed, false).capture().spans).is_empty());
        let mesh = Mesh::new(seed, true).capture();
        let guilty = format!("service-{}", mesh.guilty);
        match accused(mesh.spans).first() {
            Some(first) if *first == guilty => right += 1,
            Some(_) => wrong += 1,
            None => (),
        }
    }
    println!("{seeds} of each: {clean} clean ones accuse; {right} are right, {wrong} wrong");
    assert!(clean * 50 <= seeds && wrong * 50 <= seeds && seeds * 6 <= right * 10);
}
