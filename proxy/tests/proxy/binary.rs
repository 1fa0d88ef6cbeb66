//! The program itself: flags, environment, exit codes, signals.

use crate::world::{Server, get};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn program(flags: &str) -> Command {
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
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let (_, listeners) = line.split_once("outbound [").unwrap();
        let addresses = listeners.trim_end_matches(']').split(", ");
        let addresses: Vec<_> = addresses.map(|address| address.parse().unwrap()).collect();
        assert_eq!(addresses.len(), 2);
        for address in addresses {
            assert_eq!(get(address, "/").await.status, 200);
        }
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(0), "{signal:?}");
    }
}
