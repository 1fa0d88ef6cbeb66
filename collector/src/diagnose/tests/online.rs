//! Made captures that are looked at again and again while they come in.

use super::synthetic::Mesh;
use super::*;
use crate::diagnose::series::{Drafts, Sample, Subject};
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

/// The same with a proxy beside each service: its spans lie between those of the applications.
fn with_proxies(spans: &[Span]) -> Vec<Span> {
    let id = |of: SpanId, which: u8| {
        let mut bytes = *of.as_bytes();
        bytes[0] = which;
        SpanId::from_bytes(&bytes).unwrap()
    };
    let proxy = |span: &Span, which: u8, parent: SpanId, inset_ns: u64| Span {
        span_id: id(span.span_id, which),
        parent_id: Some(parent),
        emitter: Emitter::Proxy,
        operation: "GET".into(),
        start_unix_ns: span.start_unix_ns + inset_ns,
        end_unix_ns: span.end_unix_ns - inset_ns,
        ..span.clone()
    };
    let mut all = Vec::new();
    for span in spans {
        let mut span = span.clone();
        match (span.kind, span.parent_id) {
            (SpanKind::Client, _) => all.push(proxy(&span, 1, span.span_id, 50_000)),
            (SpanKind::Server, Some(caller)) => {
                all.push(proxy(&span, 2, id(caller, 1), 0));
                span.parent_id = Some(id(span.span_id, 2));
            }
            _ => (),
        }
        all.push(span);
    }
    all
}

/// When a span comes: a proxy's within a second, an application's with its SDK's batch of five.
fn arrives_s(span: &Span) -> u64 {
    let end_s = (span.end_unix_ns - T0_NS) / 1_000_000_000 + 1;
    let phase = u64::from(span.origin.service.name().as_bytes()[1]) % 5;
    if span.is_sidecar() { end_s } else { (end_s + phase).next_multiple_of(5) - phase }
}

/// Whom those are told who ask each second from 30 s on, and why; "nobody" where nobody is suspected.
fn asked(mut spans: Vec<Span>) -> Vec<(u64, String, String)> {
    spans.sort_by_key(|span| (arrives_s(span), span.end_unix_ns));
    let mut ring = Ring::default();
    #[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
    let started = Now { instant: Instant::now(), unix_ms: T0_NS / 1_000_000 };
    let mut told = Vec::new();
    for of_second in spans.chunk_by(|a, b| arrives_s(a) == arrives_s(b)) {
        let second = arrives_s(&of_second[0]);
        ring.add(started.plus(Duration::from_secs(second)), &batch(of_second.to_vec()));
        if 30 <= second {
            let diagnosis = Look::new(&ring, Vec::new()).diagnose(None).unwrap();
            let first = diagnosis.suspects.into_iter().next();
            let first = first.map(|first| (first.service, first.reason));
            let (service, reason) = first.unwrap_or(("nobody".into(), String::new()));
            told.push((second, service, reason));
        }
    }
    told
}

/// The same where cart waits for no more than 200 ms, and does not ask again; the store ends all the same.
fn given_up(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        let (name, kind) = (span.origin.service.name(), span.kind);
        let patience_ms = match (name, kind) {
            ("cart", SpanKind::Client) => 200,
            ("cart", _) => 205,
            ("gateway", _) => 210,
            _ => continue,
        };
        let until_ns = span.start_unix_ns + patience_ms * 1_000_000;
        if until_ns < span.end_unix_ns {
            span.end_unix_ns = until_ns;
            if kind == SpanKind::Client {
                span.outcome = Outcome::Timeout;
            }
        }
    }
    spans
}

/// Scenario: a mesh with and without proxies, of whose applications spans come in batches of five
/// seconds; the store gets slow, or so slow that its caller gives up. Somebody asks each second.
/// Guarantees: before and after, nobody is suspected of calling others, for the spans that show whom they
/// call are on their way; the store is the first suspect within four seconds with proxies, within eight
/// without, and from then on.
#[test]
fn who_asks_is_told_within_seconds() {
    const FAULT_S: u64 = 40;
    let check = |name: &str, within_s: u64, spans: Vec<Span>| {
        let told = asked(spans);
        let others = told.iter().find(|(.., reason)| reason.contains("calls others"));
        assert_eq!(others, None, "{name}");
        let is_wrong = |(at_s, first, _): &&(u64, String, String)| {
            (FAULT_S + within_s..FAULT_S + 18).contains(at_s) && first != "store"
        };
        assert_eq!(told.iter().find(is_wrong), None, "{name}: {told:#?}");
    };
    for seed in 0..if is_long() { 8 } else { 1 } {
        for slowness in [12.0, 200.0] {
            let slow = Trouble { own: [1.0, 1.0, slowness, 1.0], ..CALM };
            let trouble = |at_s: f64| if at_s < FAULT_S as f64 { CALM } else { slow };
            let spans = given_up(mesh_for(58, seed, 10.0, trouble));
            let name = format!("{slowness} times as slow, seed {seed}");
            check(&format!("with proxies, {name}"), 4, with_proxies(&spans));
            check(&format!("without, {name}"), 8, spans);
        }
    }
}

/// Scenario: twenty minutes, at three requests a second; towards their end it gets slow. Somebody asks each
/// second from the fourth to the fortieth after that.
/// Guarantees: since when is found within two seconds, whenever it is asked: however long before is known.
#[test]
fn what_began_just_now_is_found_beside_a_long_past() {
    const SECOND_NS: u64 = 1_000_000_000;
    const FAULT_NS: u64 = T0_NS + 1_200 * SECOND_NS;
    let series = |until_ns: u64| {
        let mut drafts = Drafts::default();
        for trace in 0..(until_ns - T0_NS) * 3 / SECOND_NS {
            let at_ns = T0_NS + trace * SECOND_NS / 3;
            let value = if at_ns < FAULT_NS { 5.0 } else { 60.0 } + (trace % 7) as f32 / 10.0;
            let subject = Subject::Own { service: 0, operation: 0 };
            let sample = Sample { trace: trace as u32, at_ns, value, weight: 1.0 };
            drafts.add(subject, Measure::Time, sample);
        }
        drafts.finish()
    };
    for after_s in 4..=40 {
        let until_ns = FAULT_NS + after_s * SECOND_NS;
        let ends = (T0_NS + (until_ns - T0_NS) / 2, until_ns);
        let (onset_ns, _) = findings::onset(&series(until_ns), ends, look::ASKED_TAIL);
        let off_ns = onset_ns.map(|onset_ns| onset_ns.abs_diff(FAULT_NS));
        assert!(off_ns.is_some_and(|off| off <= 2 * SECOND_NS), "after {after_s} s: {off_ns:?}");
    }
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
