//! Endpoints whose addresses a name server knows: `dns:NAME:PORT`, `srv:NAME`, or a `ServiceEntry` with
//! DNS.
//!
//! [`Schedule`] is the core: it says which name is looked up when, by how long its last answer holds.
//! [`Resolver`] looks up: `/etc/hosts` first; then the name servers of `/etc/resolv.conf`, or those of
//! `--dns-server`, by `exchange` with the messages of `message`; and what these do not know, the
//! system's own resolver. `services` turns SRV records into shares of the traffic. `control::dns` is
//! the loop around them.
//!
//! (Whole resolvers, as `hickory-resolver` and `domain` are, cost more than half a minute of
//! processor time in each first build; one for messages and one for `resolv.conf` cost a second.)

mod exchange;
mod machine;
mod message;
mod resolver;
mod schedule;
mod services;

pub(crate) use resolver::Resolver;
pub(crate) use schedule::{Schedule, Status, Turn};

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A server at an address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Its part of the traffic, beside those of the others; at least 1.
    pub(crate) weight: u32,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In order, each once. None: the service is decidedly not available, says its `SRV` record.
    pub(crate) found: Vec<Found>,
    /// How long that holds.
    pub(crate) ttl: Duration,
    /// Who said so.
    pub(crate) source: Source,
}

/// Who knew a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A name server.
    Dns,
    /// `/etc/hosts`.
    Hosts,
    /// The system's resolver: multicast DNS, or a module of its own.
    System,
    /// It is an address.
    Literal,
}

impl Source {
    /// For pages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Hosts => "hosts",
            Self::System => "system",
            Self::Literal => "literal",
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// There is nobody to ask.
    #[error("no name server is known")]
    NoServers,
    /// No name server knows it.
    #[error("no such name")]
    NoSuchName,
    /// It is known, without what was asked for.
    #[error("no addresses")]
    NoAddresses,
    /// A name server says that it cannot tell.
    #[error("{0} says {1}")]
    Refused(SocketAddr, &'static str),
    /// A name server says nothing.
    #[error("{0} is silent")]
    Silent(SocketAddr),
    /// A name server cannot be reached.
    #[error("{0}: {1}")]
    Unreachable(SocketAddr, std::io::ErrorKind),
    /// A name server says what nobody understands.
    #[error("{0} sends what is no answer")]
    Malformed(SocketAddr),
    /// The system's resolver does not know it either.
    #[error("{0}")]
    System(String),
    /// It took too long altogether.
    #[error("no answer within {} s", .0.as_secs())]
    TooLate(Duration),
    /// It cannot be written as DNS wants it.
    #[error("is no name: labels have 1 to 63 characters, a name at most 253")]
    NoName,
}

/// What the look-ups of a proxy share with its pages.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// When each is looked up.
    pub(crate) schedule: Mutex<Schedule>,
    /// Other names may be wanted.
    pub(crate) changed: Notify,
    /// Each of the first names has been looked up once: the doors may open.
    pub(crate) settled: CancellationToken,
    /// Names that are not followed, because there are too many.
    pub(crate) beyond: AtomicUsize,
    /// Counters.
    pub(crate) tally: Tally,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Look-ups that were answered.
    pub(crate) answered: AtomicU64,
    /// Look-ups that failed.
    pub(crate) failed: AtomicU64,
    /// Addresses that were too many.
    pub(crate) addresses_dropped: AtomicU64,
    /// Targets of `SRV` records that were too many, or none.
    pub(crate) targets_dropped: AtomicU64,
    /// Datagrams that were not the answer to what was asked.
    pub(crate) foreign: AtomicU64,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// Addresses of a host, for this port.
    Host(&'a str, u16),
    /// `SRV` records.
    Service(&'a str),
}

impl<'a> Wanted<'a> {
    /// Of `NAME:PORT` or `srv:NAME`, as [`crate::config::Endpoint::followed`] has them.
    pub(crate) fn of(name: &'a str) -> Option<Self> {
        if let Some(service) = service_name(name) {
            return Some(Self::Service(service));
        }
        let (host, port) = name.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self::Host(host, port.parse().ok()?))
    }
}

/// `NAME` of `srv:NAME`. (`srv:80` is a host named `srv`.)
pub(crate) fn service_name(address: &str) -> Option<&str> {
    address.strip_prefix("srv:").filter(|name| name.parse::<u16>().is_err())
}

/// Whether `name` can be asked for: letters, digits, `-` and `_` in labels of 1 to 63 characters, 253
/// in all.
pub(crate) fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
