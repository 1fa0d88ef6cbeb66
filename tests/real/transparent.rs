//! Connections that the kernel redirects, with real rules in a network namespace of the test's own.

use crate::setup::is_real;
use fusebox_tests::process::binary;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Whether this kernel lets us make a network namespace; anything else that is amiss fails the test.
fn can_make_namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    let probe = unshare.args(["--net", "true"]).env("LC_ALL", "C").output().expect("unshare runs");
    let said = String::from_utf8_lossy(&probe.stderr);
    let is_forbidden = said.contains("Operation not permitted");
    assert!(probe.status.success() || is_forbidden, "unshare --net: {said}");
    if is_forbidden {
        // Not by a macro: what those print of a test that passes, nobody sees.
        let warning = "\nNOT TESTED: redirected connections: this user may not make a network \
                       namespace; run it as root\n\n";
        std::io::stderr().write_all(warning.as_bytes()).expect("stderr takes it");
    }
    !is_forbidden
}

/// Scenario: an application connects to addresses as if there were no proxy, under the rules of
/// `fusebox-proxy redirect --install`, of nftables and of iptables, installed twice: to an endpoint
/// of a service, to another address with the service's host, to a host that nobody knows, to raw TCP
/// and to a server that speaks first; to hosts of service entries by `Host`, by the address of an
/// endpoint, by a virtual address, by the server that TLS names, and by a `*`; then without rules and
/// proxy.
/// Guarantees: everything arrives; the former two are requests of the service's edge, the next three
/// traffic of `passthrough`; a host goes before an address; traffic to a service entry is of its edge,
/// and where it has no endpoints goes on to where it was going, by the rules of the host; nothing of the proxy's own is
/// redirected; removed rules redirect nothing.
#[test]
fn redirected_connections() {
    if !is_real("redirected connections") {
        return;
    }
    if !can_make_namespaces() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("real/python/transparent.py");
    let policy = script.with_extension("yaml");
    for tool in ["nft", "iptables"] {
        let mut command = Command::new("unshare");
        command.args(["--net", "--kill-child", "python3"]).arg(&script);
        let output = command.arg(binary("fusebox-proxy")).arg(tool).arg(&policy).output();
        let output = output.expect("unshare runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool}: {said}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("one object");
        let saw = |key: &str| told["saw"][key].as_str().unwrap_or_default().to_owned();
        assert_eq!(saw("endpoint"), "inventory inventory", "{tool}: {said}");
        assert_eq!(saw("by_host"), "inventory inventory");
        assert_eq!(saw("unknown_host"), "other elsewhere.example.com");
        assert_eq!((saw("raw"), saw("server_first")), ("ping\n".into(), "220 ready\r\n".into()));
        let api = "api api.example.com";
        assert_eq!(
            (saw("entry_by_host"), saw("entry_unresolved")),
            (api.into(), "other rewritten.example.com".into())
        );
        assert_eq!(saw("entry_at_its_endpoint"), "api elsewhere.example.com");
        assert_eq!(saw("entry_named_at_anothers"), format!("{api}:80"));
        assert_eq!((saw("entry_tls_one"), saw("entry_tls_two")), ("one".into(), "two".into()));
        assert_eq!(
            (saw("entry_virtual"), saw("entry_answered")),
            ("ping\n".into(), "by rule".into())
        );
        let metrics = told["metrics"].as_str().expect("a page");
        let count = |destination: &str, protocol: &str| {
            let labels = format!("destination=\"{destination}\",protocol=\"{protocol}\"");
            let line = format!("fusebox_proxy_attempts_total{{{labels},class=\"first\"}} ");
            metrics.lines().find_map(|one| one.strip_prefix(&line)?.parse::<u64>().ok())
        };
        assert_eq!(count("inventory", "http/1.1"), Some(2), "{tool}");
        assert_eq!(count("passthrough", "http/1.1"), Some(1), "{tool}");
        assert_eq!(count("*.wild.example.com", "http/1.1"), Some(1), "{tool}");
        assert_eq!(count("passthrough", "tcp"), Some(2), "{tool}");
        assert_eq!(count("api.example.com", "http/1.1"), Some(3), "{tool}");
        for host in ["store", "one", "two"] {
            assert_eq!(count(&format!("{host}.example.com"), "tcp"), Some(1), "{tool} {host}");
        }
        assert_eq!(told["direct"], "inventory inventory", "{tool}");
    }
}
