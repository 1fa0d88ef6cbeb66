//! A short run over real sockets: services, proxies, collector, lines.

use fusebox_demo::event::{Event, Line};
use fusebox_demo::scenario::Scenario;
use fusebox_demo::{Act, Options, run};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Two services; the callee fails everything after a second, for a second.
const SHORT: &str = r#"
name = "short"
summary = "ledger fails for a second"
duration_s = 3

[[load]]
to = "payment/book"
rate = 20
patience_ms = 2000

[services.payment]
instances = 2
[services.payment.routes]
book = [{ to = "ledger/book" }]

[[faults]]
at_s = 1
for_s = 1
change.errors = { service = "ledger", percent = 100 }
"#;

fn options(duration: Option<Duration>) -> Options {
    Options {
        scenario: Scenario::parse("short", SHORT).expect("a scenario"),
        seed: 1,
        duration,
        act: Act::Suggested,
        fault_at: None,
    }
}

/// Scenario: three seconds in which the callee fails for one.
/// Guarantees: the lines come in their order, started first, summary last; goodput before the fault
/// is the load, and after it again; a failure without repetitions is no storm, so nothing is done.
#[tokio::test]
async fn a_run_tells_what_happened() {
    let mut lines: Vec<Line> = Vec::new();
    let three = Some(Duration::from_secs(3));
    let tell = |line: &Line| lines.push(line.clone());
    let summary = run(options(three), CancellationToken::new(), tell).await.expect("a run");
    let told = |line: &Line| {
        let value = serde_json::to_value(line).expect("serialises");
        value["event"].as_str().expect("a name").to_owned()
    };
    let told: Vec<String> = lines.iter().map(told).collect();
    let expected = ["started", "fault_injected", "first_failure", "fault_ended", "summary"];
    assert_eq!(told, expected, "{lines:#?}");
    assert_eq!(lines.last().map(|line| &line.event), Some(&Event::Summary(summary.clone())));
    let before = summary.goodput_before.expect("a fault");
    assert!((15.0..=21.0).contains(&before), "{summary:?}");
    assert_eq!(summary.false_incidents, 0, "{summary:?}");
}

/// Scenario: a run without an end is stopped as soon as it has begun.
/// Guarantees: everything is shut down and the summary is told.
#[tokio::test]
async fn a_run_can_be_stopped() {
    let stop = CancellationToken::new();
    let mut lines = 0;
    let tell = |_: &Line| {
        lines += 1;
        stop.cancel();
    };
    let summary = run(options(None), stop.clone(), tell).await.expect("a run");
    assert_eq!(lines, 2);
    assert_eq!(summary.incident, None);
}
