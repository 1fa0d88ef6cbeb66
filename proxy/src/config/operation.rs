//! How a proxy is operated: what it writes, what it believes, how it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What is in flight at the end may take this long: below the 30 s that orchestrators give.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);

/// How a proxy is operated.
#[derive(Clone, Debug)]
pub struct Operation {
    /// A JSON line for each request.
    pub access_log: Option<AccessLog>,
    /// Proxies in front of inbound listeners, and of an ingress, whose `x-forwarded-*` are believed;
    /// `None`: all callers are, because they are of the mesh, and at an ingress none.
    pub trusted_hops: Option<u8>,
    /// Labels of the own application, as `sourceLabels` see them, beside `app` with the service's
    /// name, which one of these may replace.
    pub labels: BTreeMap<String, String>,
    /// Whether the listeners of a proxy that runs on the same state directory are taken over.
    pub takeover: bool,
    /// Name servers in place of those of `/etc/resolv.conf`; the system's resolver is then not asked.
    pub dns_servers: Vec<SocketAddr>,
    /// At the end connections are still accepted for so long, by whoever has not heard of it.
    pub drain_grace: Duration,
    /// What is in flight at the end may take this long, from its beginning on.
    pub drain_timeout: Duration,
}

impl Default for Operation {
    fn default() -> Self {
        Self {
            access_log: None,
            trusted_hops: None,
            labels: BTreeMap::new(),
            takeover: false,
            dns_servers: Vec::new(),
            drain_grace: Duration::ZERO,
            drain_timeout: DRAIN_TIMEOUT_DEFAULT,
        }
    }
}

/// Where the access log goes, and which requests are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// A file, which is appended to; `None`: standard output.
    pub path: Option<PathBuf>,
    /// Which requests.
    pub only: Only,
}

/// Which requests are in the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// All of them.
    #[default]
    All,
    /// Refused, failed, 5xx, or broken off.
    Failures,
    /// Refused by this proxy.
    Refusals,
}

impl Only {
    /// As on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failures => "failures",
            Self::Refusals => "refusals",
        }
    }
}
