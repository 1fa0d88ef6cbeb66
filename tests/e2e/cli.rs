//! The command line as its users mistype it.

use fusebox_tests::mesh::Mesh;
use fusebox_tests::process::{self, free_port};
use fusebox_tests::upstream::{Answer, Upstream};

#[track_caller]
fn check(name: &str, args: &[&str], code: i32, says: &[&str]) {
    let finished = process::run(name, args);
    assert_eq!(finished.code, Some(code), "{name} {args:?}: {finished:?}");
    for word in says {
        assert!(finished.stderr.contains(word), "{name} {args:?}: {word} is not in {finished:?}");
    }
}

/// Scenario: wrong flags and values, one each.
/// Guarantees: exit 2, and the message names the flag and what is allowed.
#[test]
fn wrong_words_exit_2_and_say_what_is_allowed() {
    check("fusebox", &["nonsense"], 2, &["nonsense"]);
    check("fusebox", &["trip", "a"], 2, &["DESTINATION"]);
    check("fusebox", &["trip", "a", "b", "--action", "explode"], 2, &["explode", "mute-retries"]);
    check("fusebox", &["trip", "a", "b", "--ttl", "0s"], 2, &["ttl"]);
    check("fusebox", &["trip", "a", "b", "--percent", "101"], 2, &["101"]);
    check("fusebox", &["reset"], 2, &["--all"]);
    check("fusebox", &["status", "--output", "xml"], 2, &["xml", "json"]);
    check(
        "fusebox",
        &["demo", "--headless", "--scenario", "no-such"],
        2,
        &["no-such", "retry-storm"],
    );
    check("fusebox-collector", &["--http", "here"], 2, &["--http", "here"]);
    check("fusebox-collector", &["--http", "0.0.0.0:0"], 2, &["--insecure"]);
    check("fusebox-collector", &["--control", "0.0.0.0:0", "--insecure"], 2, &["--token-file"]);
    check("fusebox-collector", &["--config", "no-such.toml"], 2, &["no-such.toml"]);
    check("fusebox-proxy", &[], 2, &["--service"]);
    check("fusebox-proxy", &["--service", "a", "--outbound", "x"], 2, &["--outbound", "x"]);
    check(
        "fusebox-proxy",
        &["--service", "a", "--inbound", "0.0.0.0:1=127.0.0.1:2"],
        2,
        &["--insecure"],
    );
}

/// Scenario: a collector that is not there.
/// Guarantees: exit 1, the address is named, and there is no fall-back.
#[test]
fn a_dead_collector_exits_1() {
    let address = format!("http://127.0.0.1:{}", free_port());
    for command in ["status", "edges", "incidents"] {
        let args = ["--collector", &address, command];
        check("fusebox", &args, 1, &[address.trim_start_matches("http://")]);
    }
}

/// Scenario: ports that somebody else holds.
/// Guarantees: exit 1; flag or purpose and address are named.
#[test]
fn a_busy_port_exits_1_and_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = holder.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    let args = ["--otlp-grpc", free, "--otlp-http", free, "--control", free, "--http", &busy];
    check("fusebox-collector", &args, 1, &[&busy]);
    let outbound = format!("{busy}=b@127.0.0.1:1");
    let args = ["--service", "a", "--admin", free, "--outbound", &outbound];
    check("fusebox-proxy", &args, 1, &[&busy]);
}

/// Scenario: each query of the command line and its twin in the HTTP API, on a calm mesh.
/// Guarantees: JSON with the same keys from both, a table for people, exit 0.
#[tokio::test]
async fn queries_have_twins() {
    let mesh = Mesh::start(&[]).await;
    let app = Upstream::start(|_, _| Answer::status(200)).await;
    let _proxy = mesh.proxy("a", Some(app.address()), &[]).await;
    for noun in ["status", "services", "edges", "incidents", "breakers", "proxies", "policy"] {
        let printed = mesh.fusebox(&[noun, "--output", "json"]);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let printed: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
        let served = mesh.api(noun).await.unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&printed), keys(&served), "{noun}");
        let table = mesh.fusebox(&[noun]);
        assert_eq!(table.code, Some(0), "{table:?}");
        assert!(!table.stdout.contains('\x1b'), "escapes without a terminal: {table:?}");
    }
}

/// Scenario: a collector whose control address wants a token.
/// Guarantees: without it or with a wrong one nothing is told; with it all is.
#[tokio::test]
async fn a_token_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, token: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, token).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (right, wrong) = (file("right", "s3cret-s3cret-s3cret\n"), file("wrong", "guess\n"));
    let mesh = Mesh::start(&["--token-file", &right]).await;
    assert_eq!(mesh.fusebox(&["status"]).code, Some(1));
    assert_eq!(mesh.fusebox(&["--token-file", &wrong, "status"]).code, Some(1));
    assert_eq!(mesh.fusebox(&["--token-file", &right, "status"]).code, Some(0));
}
