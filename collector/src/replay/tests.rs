//! Captures that are made here, played and sent again.

use super::*;
use crate::capture::proxy_line;
use crate::decode;
use fusebox_proto::wire::v1;
use fusebox_proto::{Now, ServiceId};
use prost::Message as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

mod attempts;
mod incidents;

/// When the made captures begin, ns.
const START_NS: u64 = 1_800_000_000_000_000_000;
const MS: u64 = 1_000_000;

/// A file of these lines.
fn file(folder: &tempfile::TempDir, name: &str, lines: &[String]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn load(paths: &[PathBuf]) -> Result<Recording, LoadError> {
    Recording::load(paths.iter().map(PathBuf::as_path))
}

/// A line with one span; times in ms since the start.
fn span(
    service: &str,
    trace: u64,
    id: u64,
    parent: u64,
    kind: u8,
    (from, to): (u64, u64),
) -> String {
    let (from, to) = (START_NS + from * MS, START_NS + to * MS);
    let mut line = String::new();
    let _ = write!(
        line,
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"scope":{{"name":"made"}},"spans":[{{"traceId":"{trace:032x}","spanId":"{id:016x}","parentSpanId":"{}","name":"GET /stock","kind":{kind},"startTimeUnixNano":"{from}","endTimeUnixNano":"{to}","events":[{{"name":"e","timeUnixNano":"{from}"}}]}}]}}]}}]}}"#,
        if parent == 0 { String::new() } else { format!("{parent:016x}") },
    );
    line
}

/// A shop calls a stock ten times a second for so many seconds: three spans each.
fn shop(first: u64, seconds: u64) -> Vec<String> {
    let calls = (first * 10..(first + seconds) * 10).flat_map(|n| {
        let at = n * 100;
        let trace = n + 1;
        [
            span("shop", trace, 1, 0, 2, (at, at + 60)),
            span("shop", trace, 2, 1, 3, (at + 10, at + 50)),
            span("stock", trace, 3, 2, 2, (at + 20, at + 40)),
        ]
    });
    calls.collect()
}

/// Plays to the end; the snapshots of each second, as JSON.
fn play(recording: &Recording) -> Vec<String> {
    let mut player = Player::new(recording, Now::read());
    let mut told = Vec::new();
    let mut second = 0;
    while player.step(recording) == Stretch::More {
        if second < player.now().unix_ms / 1_000 {
            second = player.now().unix_ms / 1_000;
            told.push(serde_json::to_string(&player.snapshot()).unwrap());
        }
    }
    told
}

/// Scenario: the same spans in one file, in two, and in files that are in another order.
/// Guarantees: the same happens, second by second; the window is what the spans say; and the figures
/// are those of ten calls a second.
#[test]
fn the_order_of_files_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let lines = shop(0, 20);
    let whole = load(&[file(&folder, "whole", &lines)]).unwrap();
    let mut turned = lines.clone();
    turned.reverse();
    let (of_shop, of_stock): (Vec<String>, Vec<String>) =
        turned.into_iter().partition(|line| line.contains("\"shop\""));
    let parted =
        load(&[file(&folder, "stock", &of_stock), file(&folder, "shop", &of_shop)]).unwrap();
    let Window { from, to, spans, traces, proxy_messages } = whole.window();
    assert_eq!((from.0, to.0 - from.0), (START_NS / MS, 19_960));
    assert_eq!((spans, traces, proxy_messages), (600, 200, 0));
    let played = play(&whole);
    assert_eq!(played, play(&parted));
    let late: serde_json::Value = serde_json::from_str(&played[18]).unwrap();
    let edge = &late["edges"][0];
    assert_eq!((&edge["source"], &edge["destination"]), (&"shop".into(), &"stock".into()));
    let rate = edge["rate"].as_f64().unwrap();
    assert!((9.0..=11.0).contains(&rate), "{rate}");
}

/// Scenario: two captures, a day apart; and one whose clock is absurd.
/// Guarantees: nobody waits for the night; what was left out is said; all of it is played.
#[test]
fn quiet_time_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let day = 24 * 3_600;
    let lines = [shop(0, 3), shop(day, 3)].concat();
    let recording = load(&[file(&folder, "days", &lines)]).unwrap();
    let mut player = Player::new(&recording, Now::read());
    while player.step(&recording) == Stretch::More {}
    let skipped = player.skipped().as_secs();
    assert!((day - 1_000..day).contains(&skipped), "{skipped}");
    assert_eq!(player.now().unix_ms / 1_000, START_NS / 1_000_000_000 + day + 8);
    let rate = player.snapshot().edges[0].rate.unwrap();
    assert!(0.0 < rate, "the second day is played: {rate}");
    let absurd = vec![span("shop", 1, 1, 0, 2, (0, 7_000_000_000_000))];
    let recording = load(&[file(&folder, "absurd", &absurd)]).unwrap();
    let mut player = Player::new(&recording, Now::read());
    while player.step(&recording) == Stretch::More {}
    assert!(3_600 < player.skipped().as_secs());
}

/// Scenario: files with nothing that has a time, and with something that has none.
/// Guarantees: the former are refused; the latter is counted and the rest is played.
#[test]
fn what_has_no_time_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let empty = load(&[file(&folder, "empty", &["{\"resourceSpans\":[]}".into()])]);
    assert!(matches!(empty, Err(LoadError::Empty)));
    let mut lines = shop(0, 1);
    let end = format!("\"endTimeUnixNano\":\"{}\"", START_NS + 60 * MS);
    lines[0] = lines[0].replace(&end, "\"endTimeUnixNano\":\"0\"");
    lines.push("{\"resourceMetrics\":[]}".into());
    let recording = load(&[file(&folder, "some", &lines)]).unwrap();
    assert_eq!((recording.told().rejected, recording.told().other), (1, 1));
    assert_eq!(recording.window().spans, 29);
}

/// A message of a proxy of `shop`, as a line.
fn said(at_s: u64, kind: v1::proxy_message::Kind) -> String {
    let message = v1::ProxyMessage { kind: Some(kind) }.encode_to_vec();
    proxy_line(START_NS + at_s * 1_000 * MS, 7, Some(&message))
}

fn wire(name: &str) -> v1::ServiceId {
    ServiceId::named(name).unwrap().into()
}

/// What a proxy of `shop` says in a minute in which every request is tried six times and fails,
/// after a minute in which all is well.
fn storm() -> Vec<String> {
    storm_by(0)
}

/// The same by a proxy whose clock is so much behind.
fn storm_by(behind_ms: u64) -> Vec<String> {
    let hello = v1::Hello {
        proxy_id: "shop-1".into(),
        service: Some(wire("shop")),
        boot: 1,
        ..Default::default()
    };
    let mut lines = vec![said(0, v1::proxy_message::Kind::Hello(hello))];
    for number in 1..=120 {
        let retries = if number <= 60 { 0 } else { 250 };
        let counts = v1::EdgeCounts {
            first_attempts: 50,
            retries_certain: retries,
            successes: if retries == 0 { 50 } else { 0 },
            failures: if retries == 0 { 0 } else { 300 },
            ..Default::default()
        };
        let edge = v1::EdgeWindow {
            destination: Some(wire("stock")),
            protocol: v1::Protocol::Http1.into(),
            counts: Some(counts),
            ..Default::default()
        };
        let report = v1::Report {
            boot: 1,
            number,
            start_unix_ms: START_NS / MS + (number - 1) * 1_000 - behind_ms,
            duration_ms: 1_000,
            edges: vec![edge],
            ..Default::default()
        };
        lines.push(said(number, v1::proxy_message::Kind::Report(report)));
    }
    lines.push(proxy_line(START_NS + 121_000 * MS, 7, None));
    lines
}

/// Scenario: a recording of what a proxy told, without any spans, of a storm.
/// Guarantees: the storm is named again, within three seconds of its beginning, by the proxy's counters.
#[test]
fn what_proxies_told_is_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let recording = load(&[file(&folder, "storm", &storm())]).unwrap();
    assert_eq!(recording.window().proxy_messages, 122);
    let mut player = Player::new(&recording, Now::read());
    while player.step(&recording) == Stretch::More {}
    let snapshot = player.snapshot();
    let [incident] = snapshot.incidents.as_slice() else { panic!("{:?}", snapshot.incidents) };
    assert_eq!(incident.kind, "retry_storm");
    assert_eq!(
        (incident.originator.as_deref(), incident.victim.as_deref()),
        (Some("shop"), Some("stock"))
    );
    let delay_ms = incident.opened_at.0 - (START_NS / MS + 60_000);
    assert!((1_000..=3_000).contains(&delay_ms), "{delay_ms}");
}

/// Scenario: a capture is sent again at several speeds.
/// Guarantees: every span once, in order of its time; within a trace all is as it was; traces follow
/// each other as many times as fast; no request has more spans than an SDK would send.
#[test]
fn traces_are_moved_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let recording = load(&[file(&folder, "whole", &shop(0, 30))]).unwrap();
    let today = START_NS + 86_400_000 * MS + 17;
    for speed in [0.5, 1.0, 10.0, 1_000.0] {
        let schedule = Schedule::new(&recording, today, speed);
        let length = schedule.length();
        let mut at = Duration::ZERO;
        let mut traces: BTreeMap<u128, Vec<(u64, u64)>> = BTreeMap::new();
        let mut count = 0;
        for due in schedule {
            assert!(at <= due.at && due.spans <= 512, "{speed}");
            at = due.at;
            let batch = decode::protobuf(&due.body).unwrap();
            assert_eq!(batch.spans.len() as u64, due.spans);
            count += due.spans;
            for span in batch.spans {
                // Never sent before it ends.
                assert!(span.end_unix_ns <= today + due.at.as_nanos() as u64, "{speed}");
                let trace = u128::from_str_radix(&span.trace_id.to_string(), 16).unwrap();
                let times = (span.start_unix_ns - today, span.end_unix_ns - today);
                traces.entry(trace).or_default().push(times);
            }
        }
        assert_eq!((count, at), (900, length), "{speed}");
        for (trace, mut spans) in traces {
            spans.sort_unstable();
            let begins = (((trace - 1) as f64) * 100.0 * MS as f64 / speed) as u64;
            let moved = |(from, to): (u64, u64)| (begins + from * MS, begins + to * MS);
            assert_eq!(spans, [(0, 60), (10, 50), (20, 40)].map(moved), "{speed} {trace}");
        }
    }
}

/// Scenario: what a collector answers.
/// Guarantees: spans that it refused are counted; nonsense is an error.
#[test]
fn refused_spans_are_read_from_the_answer() {
    assert_eq!(rejected(&[]), Ok(0));
    assert_eq!(rejected(&[0x0a, 0x02, 0x08, 0x05]), Ok(5));
    assert!(rejected(&[0xff]).is_err());
}
