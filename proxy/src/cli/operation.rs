//! Flags for how a proxy is operated.

use crate::config::operation::{AccessLog, Only, Operation};
use fusebox_proto::Invalid;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A drain may take no longer than this.
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// Kubernetes allows no longer value of a label; a key is a few of these.
const LABEL_LEN_MAX: usize = 63;
/// More labels than this are refused.
const LABELS_MAX: usize = 64;

/// More name servers than this are refused: each may have to be waited for.
const DNS_SERVERS_MAX: usize = 8;

/// How a proxy is operated.
#[derive(Debug, clap::Args)]
pub(super) struct OperationArgs {
    /// File for one JSON line a request, `-` for standard output; SIGHUP opens the file anew
    #[arg(long, value_name = "PATH|-", env = "FUSEBOX_ACCESS_LOG")]
    access_log: Option<PathBuf>,
    /// Log only failures (refused, failed, 5xx, broken off), or only refusals of this proxy
    #[arg(long, value_name = "failures|refusals", value_parser = only, env = "FUSEBOX_ACCESS_LOG_ONLY")]
    access_log_only: Option<Only>,
    /// Proxies in front of --inbound and --ingress whose x-forwarded-* headers are believed; 0 for a
    /// proxy that strangers call [default: all callers of --inbound, none of --ingress]
    #[arg(long, value_name = "N", env = "FUSEBOX_TRUSTED_HOPS")]
    trusted_hops: Option<u8>,
    /// A label of the application, for sourceLabels of policies, such as version=v2; app is the
    /// service's name unless it is given
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, value_delimiter = ' ', env = "FUSEBOX_LABEL")]
    labels: Vec<(String, String)>,
    /// Take the listeners over from the proxy that runs on the same --state-dir, if there is one;
    /// it then drains and ends
    #[arg(long, requires = "state_dir", env = "FUSEBOX_TAKEOVER")]
    takeover: bool,
    /// A name server for dns: and srv: endpoints and service entries with resolution DNS, in place of those of
    /// /etc/resolv.conf and of the system's resolver, such as 127.0.0.1:53
    #[arg(long = "dns-server", value_name = "IP:PORT", value_parser = dns_server, value_delimiter = ' ', env = "FUSEBOX_DNS_SERVER")]
    dns_servers: Vec<SocketAddr>,
    /// How long listeners accept after SIGTERM or POST /drain, while /readyz says 503
    #[arg(long, value_name = "TIME", value_parser = drain_time, default_value = "0s", env = "FUSEBOX_DRAIN_GRACE")]
    drain_grace: Duration,
    /// How long requests in flight may take at the end, such as 20s or 5m
    #[arg(long, value_name = "TIME", value_parser = drain_time, default_value = "20s", env = "FUSEBOX_DRAIN_TIMEOUT")]
    drain_timeout: Duration,
}

impl OperationArgs {
    pub(super) fn operation(self) -> Result<Operation, Invalid> {
        if self.drain_timeout < self.drain_grace {
            let reason = "is longer than --drain-timeout, of which it is a part";
            return Err(Invalid::new("--drain-grace", reason));
        }
        if self.access_log.is_none() && self.access_log_only.is_some() {
            let reason = "chooses among the lines of --access-log, which is not given";
            return Err(Invalid::new("--access-log-only", reason));
        }
        if DNS_SERVERS_MAX < self.dns_servers.len() {
            let reason = format!("{} servers; at most {DNS_SERVERS_MAX}", self.dns_servers.len());
            return Err(Invalid::new("--dns-server", reason));
        }
        let access_log = self.access_log.map(|path| AccessLog {
            path: Some(path).filter(|path| path.as_os_str() != "-"),
            only: self.access_log_only.unwrap_or_default(),
        });
        Ok(Operation {
            access_log,
            trusted_hops: self.trusted_hops,
            labels: labels(self.labels)?,
            takeover: self.takeover,
            dns_servers: self.dns_servers,
            drain_grace: self.drain_grace,
            drain_timeout: self.drain_timeout,
        })
    }
}

fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let server: Option<SocketAddr> = text.parse().ok();
    let allowed = "allowed is IP:PORT such as 127.0.0.1:53 or [::1]:53";
    server
        .filter(|server| server.port() != 0 && !server.ip().is_unspecified())
        .ok_or_else(|| format!("{text:?} is no name server; {allowed}"))
}

fn label(text: &str) -> Result<(String, String), String> {
    let allowed = format!("allowed is KEY=VALUE, the value of at most {LABEL_LEN_MAX} characters");
    let (key, value) = text.split_once('=').ok_or_else(|| format!("has no '='; {allowed}"))?;
    if key.is_empty() || LABEL_LEN_MAX * 5 < key.len() || LABEL_LEN_MAX < value.len() {
        return Err(format!("{text:?} is no label; {allowed}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn labels(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Invalid> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(other) = labels.insert(key.clone(), value) {
            let reason = format!("{key:?} is given twice, once as {other:?}");
            return Err(Invalid::new("--label", reason));
        }
    }
    if LABELS_MAX < labels.len() {
        let reason = format!("{} labels; at most {LABELS_MAX}", labels.len());
        return Err(Invalid::new("--label", reason));
    }
    Ok(labels)
}

fn only(text: &str) -> Result<Only, String> {
    match text {
        "failures" => Ok(Only::Failures),
        "refusals" => Ok(Only::Refusals),
        _ => Err("allowed are failures and refusals".into()),
    }
}

/// `20s`, `5m`, `500ms`, `0s`.
fn drain_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; allowed is 0s to 1h, such as 500ms, 20s or 5m");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let time = number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)?;
    if time <= DRAIN_TIMEOUT_MAX { Ok(time) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::operation::DRAIN_TIMEOUT_DEFAULT;

    /// Scenario: times as people write them, right and wrong.
    /// Guarantees: they parse into what they say; what is none says what is allowed.
    #[test]
    fn times() {
        let check = |text: &str, expected: Option<u64>| {
            let parsed = drain_time(text);
            if let Err(message) = &parsed {
                assert!(message.contains("20s"), "{message}");
            }
            assert_eq!(parsed.ok(), expected.map(Duration::from_millis), "{text}");
        };
        check("20s", Some(20_000));
        check("500ms", Some(500));
        check("5m", Some(300_000));
        check("1h", Some(3_600_000));
        check("0s", Some(0));
        check("2h", None);
        check("20", None);
        check("s", None);
        check("-1s", None);
        check("99999999999999999999s", None);
        assert_eq!(drain_time("20s"), Ok(DRAIN_TIMEOUT_DEFAULT));
    }

    /// Scenario: name servers as people write them, right and wrong.
    /// Guarantees: an address with its port is one; what is none says what is allowed.
    #[test]
    fn name_servers() {
        for server in ["127.0.0.1:53", "[::1]:5353", "[fe80::1%7]:53"] {
            assert_eq!(dns_server(server).map(|server| server.to_string()), Ok(server.into()));
        }
        for wrong in ["10.0.0.1", "localhost:53", "127.0.0.1:0", "0.0.0.0:53", "[::1]", ""] {
            let message = dns_server(wrong).expect_err(wrong);
            assert!(message.contains("IP:PORT"), "{wrong}: {message}");
        }
    }
}
