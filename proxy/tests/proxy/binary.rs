//! The program itself: flags, environment, exit codes, signals.

use crate::world::{Caller, Server, full, get};
use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The program, with these flags and nothing of the environment.
pub(crate) fn program(flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fusebox-proxy"));
    command.args(flags.split_whitespace()).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Scenario: the program asked about itself, with wrong flags, and with a port that is taken.
/// Guarantees: exit codes of the contract, and a message that names what is wrong.
#[tokio::test]
async fn exit_codes() {
    let taken = Server::echo().await.address;
    let check = async |flags: &str, code: i32, says: &str| {
        let output = program(flags).output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags}: {text}");
        assert!(text.contains(says), "{flags}: {text}");
    };
    check("--version", 0, "fusebox-proxy 0.").await;
    check("--help", 0, "--trace-root").await;
    check("", 2, "--service").await;
    check("--service a", 2, "--inbound").await;
    check("--service a --inbound 0.0.0.0:0=127.0.0.1:1 --admin 127.0.0.1:0", 2, "--insecure").await;
    let admin = "--service a --admin 127.0.0.1:0";
    check(&format!("{admin} --inbound {taken}=127.0.0.1:1"), 1, &taken.to_string()).await;
    check(&format!("{admin} --inbound {taken}=127.0.0.1:1 --workers 2"), 1, "--inbound").await;
    let inbound = "--service a --inbound 127.0.0.1:0=127.0.0.1:1";
    check(&format!("{inbound} --admin {taken}"), 1, &taken.to_string()).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("policy.yaml");
    let config = format!("{inbound} --admin 127.0.0.1:0 --config {}", file.display());
    check(&config, 2, "No such file").await;
    std::fs::write(&file, "apiVersion: networking.istio.io/v1\nkind: VirtualService\n").unwrap();
    check(&config, 2, "policy.yaml:1").await;
    let weights = "[{destination: {host: a}, weight: -1}]";
    let document = crate::shop::rules(&format!("[{{route: {weights}}}]"));
    std::fs::write(&file, document).unwrap();
    check(&config, 2, "spec.http[0].route[0].weight").await;
}

pub(crate) type Lines = tokio::io::Lines<BufReader<tokio::process::ChildStderr>>;

/// Where a program listens that was just started: admin and outbound.
pub(crate) async fn listens(child: &mut Child) -> (SocketAddr, Vec<SocketAddr>, Lines) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.contains("outbound [") {
            break line;
        }
    };
    let (_, admin) = line.split_once("admin ").unwrap();
    let admin = admin.split(',').next().unwrap().parse().unwrap();
    let (_, listeners) = line.split_once("outbound [").unwrap();
    let addresses = listeners.trim_end_matches(']').split(", ");
    (admin, addresses.map(|address| address.parse().unwrap()).collect(), lines)
}

fn kill(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Scenario: the program configured by its environment alone serves a call, and is told to end by
/// each of the two signals.
/// Guarantees: it serves; it exits 0.
#[tokio::test]
async fn environment_and_signals() {
    let server = Server::echo().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = program("")
            .env("FUSEBOX_SERVICE", "payment")
            .env("FUSEBOX_ADMIN", "127.0.0.1:0")
            .env(
                "FUSEBOX_OUTBOUND",
                format!(
                    "127.0.0.1:0=inventory@{0} 127.0.0.1:0=stock@{0};version=v2",
                    server.address
                ),
            )
            .spawn()
            .unwrap();
        let (_, addresses, _stderr) = listens(&mut child).await;
        assert_eq!(addresses.len(), 2);
        for address in addresses {
            assert_eq!(get(address, "/").await.status, 200);
        }
        kill(&child, signal);
        assert_eq!(child.wait().await.unwrap().code(), Some(0), "{signal:?}");
    }
}

/// Scenario: a program with an access log, whose file is renamed and then asked for anew; it is told
/// to drain while a request hangs, and then by a signal to hurry.
/// Guarantees: lines before the signal are in the old file, lines after it in the new; the second
/// word ends it at once, with exit code 0.
#[tokio::test]
async fn logs_turn_over_and_a_second_word_hastens() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let place = tempfile::tempdir().unwrap();
    let (log, old) = (place.path().join("access.log"), place.path().join("access.log.1"));
    let flags = format!(
        "--service payment --admin 127.0.0.1:0 --drain-timeout 1h --access-log {} \
         --outbound 127.0.0.1:0=inventory@{}",
        log.display(),
        server.address
    );
    let mut child = program(&flags).spawn().unwrap();
    let (admin, addresses, _stderr) = listens(&mut child).await;
    gate.add_permits(2);
    assert_eq!(get(addresses[0], "/before").await.status, 200);
    eventually(|| std::fs::read_to_string(&log).unwrap().contains("/before")).await;
    std::fs::rename(&log, &old).unwrap();
    kill(&child, Signal::HUP);
    eventually(|| log.exists()).await;
    assert_eq!(get(addresses[0], "/after").await.status, 200);
    eventually(|| std::fs::read_to_string(&log).unwrap().contains("/after")).await;
    assert!(!std::fs::read_to_string(&old).unwrap().contains("/after"));

    for _ in 0..2 {
        arrivals.recv().await.unwrap();
    }
    let hangs = tokio::spawn(get(addresses[0], "/hangs"));
    arrivals.recv().await.unwrap();
    let mut caller = Caller::connect(admin).await;
    let drain = Request::post("/drain").body(full("")).unwrap();
    assert_eq!(caller.send(drain).await.status, 200);
    assert_eq!(get(admin, "/readyz").await.status, 503);
    kill(&child, Signal::TERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert!(hangs.await.is_err());
}

/// Looks again and again until `is_so`; the test's own time limit ends it otherwise.
async fn eventually(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
