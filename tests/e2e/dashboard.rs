//! The dashboard in a real terminal: keys in, screen out.

use crate::trip::{Triangle, status};
use fusebox_tests::process::free_port;
use fusebox_tests::terminal::Terminal;

/// Sent when a program leaves the alternate screen.
const LEAVE_ALTERNATE_SCREEN: &[u8] = b"\x1b[?1049l";
const SHOW_CURSOR: &[u8] = b"\x1b[?25h";

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Scenario: an edge is picked in the Edges view of a small and of a large terminal, tripped with
/// `t` and `y`, and undone with `u`.
/// Guarantees: the screen shows the proxy's acknowledgement, calls are refused meanwhile and pass
/// afterwards, and `q` restores the terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_tripped_and_undone_by_keys() {
    for (columns, rows) in [(80, 24), (120, 40)] {
        let triangle = Triangle::start().await;
        let control = triangle.mesh.control();
        let mut terminal = Terminal::start(&["--collector", &control], columns, rows);
        terminal.wait_for("LIVE");
        terminal.press("4");
        terminal.wait("the edges", |screen| screen.contains("SOURCE"));
        terminal.wait_for("t trip a→b");
        terminal.press("t");
        terminal.wait_for(" y ");
        terminal.press("y");
        terminal.wait_for("1 of 1");
        assert_eq!(status(triangle.a_proxy.outbound[0]).await, 503);
        assert_eq!(status(triangle.c_proxy.outbound[0]).await, 200);
        terminal.press("u");
        triangle.mesh.edge("a", "b", |edge| edge["breaker"]["state"] == "closed").await;
        assert_eq!(status(triangle.a_proxy.outbound[0]).await, 200);
        terminal.press("q");
        let (code, bytes) = terminal.finish();
        assert_eq!(code, 0);
        assert!(contains(&bytes, LEAVE_ALTERNATE_SCREEN) && contains(&bytes, SHOW_CURSOR));
    }
}

/// Scenario: the dashboard is sent to an address where nobody listens.
/// Guarantees: it says so, names the address, and stays; it does not fall back.
#[test]
fn a_dead_collector_is_told() {
    let address = format!("http://127.0.0.1:{}", free_port());
    let mut terminal = Terminal::start(&["--collector", &address], 80, 24);
    let screen = terminal.wait_for(address.trim_start_matches("http://"));
    assert!(!screen.contains("EMBEDDED"), "{screen}");
    terminal.press("q");
    assert_eq!(terminal.finish().0, 0);
}

/// Scenario: `fusebox` alone on a machine where nothing sends.
/// Guarantees: it says that the collector is embedded and that nobody sends; nothing looks like
/// health. Where the OTLP port is taken, it names the port instead.
#[test]
fn an_empty_screen_is_not_health() {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let terminal = Terminal::start(&[], 80, 24);
    if [4317, 4318, 4319].into_iter().all(is_free) || is_free(4319) && !is_free(4317) {
        let screen = terminal.wait("an honest screen", |screen| {
            screen.contains("EMBEDDED · 0 senders") || screen.contains("4317")
        });
        let words = screen.to_lowercase();
        assert!(!words.contains("healthy") && !words.contains("all quiet"), "{screen}");
    }
}

/// Scenario: the two-command promise, in a terminal: `fusebox demo`, then `t`, then `u`; then `i`, and
/// there `Y`.
/// Guarantees: Triage names payment and inventory, one key reaches every proxy and the screen says
/// so, and undo is one key. Why it is payment can be read and goes to the terminal's clipboard.
#[test]
fn the_demo_names_the_storm_and_one_key_stops_it() {
    let mut terminal = Terminal::start(&["demo"], 120, 40);
    terminal.wait("the storm", |screen| {
        screen.contains("RETRY STORM") && screen.contains("payment sends inventory")
    });
    terminal.press("t");
    terminal.wait("every acknowledgement", |screen| {
        screen.contains("3 of 3") || screen.contains(" y ")
    });
    if !terminal.screen().contains("3 of 3") {
        terminal.press("y");
    }
    terminal.wait_for("3 of 3");
    terminal.press("u");
    terminal.wait("the undo", |screen| !screen.contains("3 of 3 proxies"));
    terminal.press("i");
    terminal.wait_for("multiplies its calls of inventory by");
    terminal.press("Y");
    terminal.wait_for("is copied");
    terminal.press("q");
    terminal.wait("the view below", |screen| !screen.contains("multiplies its calls"));
    terminal.press("q");
    let (code, bytes) = terminal.finish();
    assert_eq!(code, 0);
    // OSC 52, and `## Incident ` in base64.
    assert!(contains(&bytes, b"\x1b]52;c;IyMgSW5jaWRlbnQg"));
}
