//! `fusebox record` and `fusebox replay`, as a person runs them.

use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Mesh;
use fusebox_tests::process::{self, Process};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// When the made capture begins, ms.
const START_MS: u64 = 1_800_000_000_000;
/// How long it is.
const SECONDS: u64 = 40;

/// Writes a capture: `shop` asks `stock` twenty times a second; after half of the time each request
/// is tried five times and fails.
fn capture(path: &Path) {
    let mut text = String::new();
    for n in 0..SECONDS * 20 {
        let at = START_MS + n * 50;
        let tries = if n < SECONDS * 10 { 1 } else { 5 };
        let mut spans = vec![span(n, 1, 0, 2, (at, at + 45), tries != 1)];
        for attempt in 0..tries {
            let from = at + 2 + attempt * 8;
            spans.push(span(n, 2 + attempt, 1, 3, (from, from + 7), tries != 1));
        }
        line(&mut text, "shop", &spans);
        let served = (0..tries).map(|attempt| {
            let from = at + 3 + attempt * 8;
            span(n, 20 + attempt, 2 + attempt, 2, (from, from + 5), tries != 1)
        });
        line(&mut text, "stock", &served.collect::<Vec<_>>());
    }
    std::fs::write(path, text).expect("a folder of the test");
}

fn span(trace: u64, id: u64, parent: u64, kind: u8, (from, to): (u64, u64), fails: bool) -> String {
    let status = if fails { 503 } else { 200 };
    let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
    format!(
        r#"{{"traceId":"{:032x}","spanId":"{id:016x}","parentSpanId":"{parent}","name":"GET /stock","kind":{kind},"startTimeUnixNano":"{from}000000","endTimeUnixNano":"{to}000000","attributes":[{{"key":"http.request.method","value":{{"stringValue":"GET"}}}},{{"key":"url.full","value":{{"stringValue":"http://stock/stock/1"}}}},{{"key":"server.address","value":{{"stringValue":"stock"}}}},{{"key":"http.response.status_code","value":{{"intValue":"{status}"}}}}]}}"#,
        trace + 1
    )
}

fn line(text: &mut String, service: &str, spans: &[String]) {
    let spans = spans.join(",");
    let _ = writeln!(
        text,
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#
    );
}

/// The lines of a command's output; the last is the summary.
fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A diagnosis without its dates: what is sent again is of now.
fn found(diagnosis: &Value) -> Value {
    let mut found = diagnosis.clone();
    for date in ["from", "to", "onset"] {
        assert!(found["window"][date].take().is_string(), "{diagnosis}");
    }
    found
}

/// Scenario: a capture of a storm is replayed headless; as lines for people; at a speed.
/// Guarantees: the storm is named with its ends and its moment; the summary has the contract's
/// incidents; the same again is the same.
#[test]
fn a_capture_is_judged_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("storm.jsonl");
    capture(&path);
    let path = path.to_str().expect("UTF-8");
    let run = || process::run("fusebox", &["replay", path, "--headless", "--output", "json"]);
    let finished = run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout, run().stdout);
    let told = lines(&finished.stdout);
    let [first, .., last] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&first["event"], &last["event"]), (&"started".into(), &"summary".into()));
    let incidents = last["incidents"].as_array().expect("incidents");
    let [incident] = incidents.as_slice() else { panic!("{incidents:?}") };
    assert_eq!(incident["kind"], "retry_storm");
    assert_eq!((&incident["originator"], &incident["victim"]), (&"shop".into(), &"stock".into()));
    let opened = told.iter().find(|line| line["event"] == "incident_opened").expect("it opened");
    let delay_ms = opened["t_ms"].as_u64().expect("ms") - SECONDS * 500;
    assert!(delay_ms <= 8_000, "{delay_ms}");
    let text = process::run("fusebox", &["replay", path, "--headless"]).stdout;
    assert!(text.contains("shop sends stock") && text.contains("the end: 1 incidents"), "{text}");
}

/// Scenario: the capture of a storm, in which each of twenty requests a second is tried five times and
/// fails, is asked what a proxy, a breaker and a budget would have done, twice.
/// Guarantees: retries from the incident on would have been refused, all of them and nothing else; the
/// breaker opens with the seventh failure and refuses nothing that succeeded; the same again is the
/// same; without the question nothing is answered.
#[test]
fn a_capture_says_what_would_have_been() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("storm.jsonl");
    capture(&path);
    let path = path.to_str().expect("UTF-8");
    let run = |more: &[&str]| {
        let args = [&["replay", path, "--headless"], more].concat();
        let finished = process::run("fusebox", &args);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stdout
    };
    let told = run(&["--what-if", "--output", "json"]);
    assert_eq!(told, run(&["--what-if", "--output", "json"]));
    let summary = lines(&told).pop().expect("a summary");
    let [what_if] = summary["what_if"].as_array().expect("answers").as_slice() else {
        panic!("{summary}");
    };
    let number = |value: &Value| value.as_u64().expect("a number");
    assert_eq!(what_if["incident"], summary["incidents"][0]["id"]);
    assert_eq!(what_if["edge"]["destination"], "stock");
    let action = &what_if["action"];
    assert_eq!((&action["action"], &action["suggested"]), (&"mute-retries".into(), &false.into()));
    let (attempts, refused) = (number(&action["attempts"]), number(&action["refused"]));
    assert!(0 < refused && refused.abs_diff(attempts * 4 / 5) <= 4, "{action}");
    assert_eq!((&action["retries"], &action["succeeded"]), (&refused.into(), &0.into()));
    let breaker = &what_if["breaker"];
    assert_eq!(number(&breaker["attempts"]), SECONDS * 10 * (1 + 5));
    assert_eq!(number(&breaker["failures"]), SECONDS * 10 * 5);
    assert_eq!(
        (&breaker["cause"], &breaker["succeeded"]),
        (&"consecutive_failures".into(), &0.into())
    );
    let after_s = breaker["after_first_failure_s"].as_f64().expect("it opens");
    assert!((0.05..0.1).contains(&after_s), "{breaker}");
    assert!(0.0 < breaker["before_incident_s"].as_f64().expect("it opens"), "{breaker}");
    assert_eq!(what_if["data_quality"]["source"], "spans");
    let text = run(&["--what-if"]);
    assert!(text.contains("what if there had been, on shop → stock:"), "{text}");
    assert!(!run(&[]).contains("what if"));
}

/// Scenario: the capture is sent to a live collector over HTTP while that is recorded; the recording
/// is replayed, and sent again over gRPC; then an incident is recorded, also where the disk is full.
/// Guarantees: every span arrives; the live collector names the storm, and, asked for a diagnosis, says
/// what the file says; what was recorded has every span and gives the same verdict; who has no place
/// for it is told where what fitted is; an incident that nobody knows is the operator's affair.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_can_be_recorded_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (made, kept) = (file("made.jsonl"), file("kept.jsonl.zst"));
    capture(Path::new(&made));
    let mesh = Mesh::start(&[]).await;
    let nothing = mesh.fusebox(&["diagnose"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    let control = mesh.control();
    let args = ["--collector", &control, "record", "--out", &kept, "--for", "1h"];
    let recorder = Process::start("fusebox", &args);
    let begun = || async {
        if Path::new(&format!("{kept}.part")).exists() { Ok(()) } else { Err("not yet".to_owned()) }
    };
    eventually("the recording begins", Duration::from_secs(10), begun).await;

    let send = |url: String| {
        let args = ["replay", &made, "--to", &url, "--speed", "4", "--output", "json"];
        process::run("fusebox", &args)
    };
    let sent = send(mesh.otlp_http());
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let summary = lines(&sent.stdout).pop().expect("a summary");
    let spans = SECONDS * 10 * (3 + 11);
    assert_eq!((&summary["event"], &summary["spans"]), (&"summary".into(), &spans.into()));
    let storm = || async {
        let incidents = mesh.api("incidents").await.map_err(|error| error.to_string())?;
        let first = incidents["incidents"][0].clone();
        if first["kind"] == "retry_storm" { Ok(first) } else { Err(format!("{first}")) }
    };
    let incident = eventually("the storm is named", Duration::from_secs(15), storm).await;
    assert_eq!(incident["originator"], "shop");
    let of_file = process::run("fusebox", &["diagnose", &made, "--output", "json"]);
    let of_file = found(&lines(&of_file.stdout).pop().expect("a diagnosis"));
    let live = mesh.fusebox(&["diagnose", "--output", "json"]);
    assert_eq!(found(&lines(&live.stdout).pop().expect("a diagnosis")), of_file, "{live:?}");
    assert_eq!(found(&mesh.api("diagnose").await.expect("a diagnosis")), of_file);
    let text = mesh.fusebox(&["diagnose"]).stdout;
    assert!(text.contains("SUSPECT") && text.contains("5600 spans of 800 traces"), "{text}");

    let status = recorder.interrupt();
    assert!(status.success(), "{status}");
    let replay = |path: &str| {
        let args = ["replay", path, "--headless", "--output", "json"];
        lines(&process::run("fusebox", &args).stdout).pop().expect("a summary")
    };
    let again = replay(&kept);
    assert_eq!(again["window"]["spans"], spans);
    assert_eq!(again["incidents"][0]["originator"], "shop", "{again}");

    let id = incident["id"].as_str().expect("an id");
    let around = file("incident.jsonl.gz");
    let finished = mesh.fusebox(&["record", "--out", &around, "--incident", id]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(replay(&around)["window"]["spans"], spans);
    let full = file("full.jsonl");
    std::os::unix::fs::symlink("/dev/full", format!("{full}.part")).expect("a link");
    let finished = mesh.fusebox(&["record", "--out", &full, "--incident", id]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let says = [&*full, "No space left", &format!("what fitted is in {full}.part")];
    assert!(says.iter().all(|words| finished.stderr.contains(words)), "{finished:?}");

    let finished = mesh.fusebox(&["record", "--out", &around, "--incident", "nobody"]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains(id), "{finished:?}");

    let sent = send(mesh.otlp_grpc());
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.stdout.contains("\"transport\":\"grpc\""), "{sent:?}");
}

/// Scenario: files and endpoints that cannot be replayed.
/// Guarantees: 2 and the reason for the former, 1 for the latter.
#[test]
fn what_cannot_be_replayed_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.jsonl");
    capture(&path);
    let made = path.to_str().expect("UTF-8");
    let check = |args: &[&str], code: i32, says: &str| {
        let finished = process::run("fusebox", args);
        assert_eq!(finished.code, Some(code), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains(says), "{args:?}: {finished:?}");
    };
    check(&["replay", "no-such.jsonl"], 2, "no-such.jsonl: ");
    check(&["replay", made, "--speed", "0"], 2, "from 0.1 to 1000");
    check(&["replay", made, "--to", "https://127.0.0.1:4318"], 2, "http://HOST:PORT");
    let nobody = format!("http://127.0.0.1:{}", process::free_port());
    check(&["replay", made, "--to", &nobody], 1, "takes no OTLP");
    std::fs::write(&path, "{\"resourceSpans\":[]}\n").expect("a folder of the test");
    check(&["replay", made, "--headless"], 2, "there are no spans");
}
