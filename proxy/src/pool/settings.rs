//! What a policy and the command line say about the connections of one pool.

use crate::config::Limits;
use fusebox_proto::policy::{ConnectionPool, H2Upgrade, TcpKeepalive};
use std::time::{Duration, Instant};

/// An idle connection is closed after this long where nobody said how long to keep one: below the
/// 60 s and more of most servers; those that close earlier and do not say so are met by sending
/// again.
const IDLE_DEFAULT: Duration = Duration::from_secs(50);
/// Requests at once on one HTTP/2 connection: what RFC 9113 asks every server to allow at least.
/// Where one allows fewer, the HTTP/2 layer lets the rest wait for their turn.
const STREAMS_PER_CONNECTION: usize = 100;

/// How the connections of a pool are opened, shared out and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolSettings {
    /// Bounds of each endpoint; those that a policy sets for the whole pool are off here.
    pub(super) each: Limits,
    /// Connections of all endpoints together. Like Envoy, an endpoint may have its first one
    /// beyond that, so that none starves.
    pub(super) connections_max: Option<usize>,
    /// Requests of all endpoints together that wait for a connection.
    pub(super) pending_max: Option<usize>,
    /// Requests at once, of all endpoints together.
    pub(super) requests_max: usize,
    /// A connection closes after so many requests; 1: no keep-alive.
    pub(super) requests_per_connection_max: Option<u32>,
    /// Requests at once on one HTTP/2 connection.
    pub(super) streams_per_connection_max: usize,
    /// How long an idle connection is kept, if the server does not say less.
    pub(super) idle_timeout: Duration,
    /// How long a tunnel may be silent; zero: for ever. `None`: nobody said.
    pub(super) tunnel_idle: Option<Duration>,
    /// A connection takes no requests beyond this age.
    pub(super) connection_age_max: Option<Duration>,
    /// Signs of life on idle sockets.
    pub(super) keepalive: Option<TcpKeepalive>,
    /// Everything goes out as HTTP/2, whatever it came in as.
    pub(super) is_upgrading: bool,
}

impl PoolSettings {
    /// What `policy` says, and `limits` where it says nothing.
    pub(super) fn new(limits: Limits, policy: &ConnectionPool) -> Self {
        let count = |count: Option<u32>| count.map(|count| count as usize);
        let (connections_max, pending_max) =
            (count(policy.connections_max), count(policy.pending_max));
        let unless = |set: Option<usize>, own| if set.is_some() { usize::MAX } else { own };
        let streams = count(policy.streams_max).unwrap_or(STREAMS_PER_CONNECTION);
        let idle = policy.idle_timeout.unwrap_or(IDLE_DEFAULT);
        Self {
            each: Limits {
                connections_max: unless(connections_max, limits.connections_max),
                pending_max: unless(pending_max, limits.pending_max),
                streams_max: unless(count(policy.requests_max), limits.streams_max),
                connect_timeout: policy.connect_timeout.unwrap_or(limits.connect_timeout),
                preserve_header_case: limits.preserve_header_case,
            },
            connections_max,
            pending_max,
            requests_max: count(policy.requests_max).unwrap_or(usize::MAX),
            requests_per_connection_max: policy.requests_per_connection_max,
            streams_per_connection_max: streams.clamp(1, STREAMS_PER_CONNECTION),
            idle_timeout: if idle.is_zero() { Duration::MAX } else { idle },
            tunnel_idle: policy.tcp_idle_timeout,
            connection_age_max: policy.connection_duration_max,
            keepalive: policy.tcp_keepalive,
            is_upgrading: policy.h2_upgrade == H2Upgrade::Always && !policy.use_client_protocol,
        }
    }

    /// Whether a connection that carried `served` requests since `born` takes no more.
    pub(super) fn is_spent(&self, served: u32, born: Instant, now: Instant) -> bool {
        self.requests_per_connection_max.is_some_and(|max| max <= served)
            || self.connection_age_max.is_some_and(|max| max <= now.saturating_duration_since(born))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: settings of a pool with one thing set each.
    /// Guarantees: what is set for the host replaces the default of an endpoint, and nothing else
    /// changes; zero keeps idle connections for ever.
    #[test]
    fn a_policy_replaces_what_it_names() {
        let limits = Limits::default();
        let plain = PoolSettings::new(limits, &ConnectionPool::default());
        let of = |policy: ConnectionPool| PoolSettings::new(limits, &policy);
        assert_eq!(of(ConnectionPool::default()), plain);
        let check = |policy, expected: PoolSettings| assert_eq!(of(policy), expected);
        let each = |change: fn(&mut Limits)| {
            let mut each = limits;
            change(&mut each);
            PoolSettings { each, ..plain }
        };
        check(
            ConnectionPool { connections_max: Some(7), ..ConnectionPool::default() },
            PoolSettings {
                connections_max: Some(7),
                ..each(|each| each.connections_max = usize::MAX)
            },
        );
        check(
            ConnectionPool { pending_max: Some(0), ..ConnectionPool::default() },
            PoolSettings { pending_max: Some(0), ..each(|each| each.pending_max = usize::MAX) },
        );
        check(
            ConnectionPool { idle_timeout: Some(Duration::ZERO), ..ConnectionPool::default() },
            PoolSettings { idle_timeout: Duration::MAX, ..plain },
        );
        let always = ConnectionPool { h2_upgrade: H2Upgrade::Always, ..ConnectionPool::default() };
        check(always.clone(), PoolSettings { is_upgrading: true, ..plain });
        check(ConnectionPool { use_client_protocol: true, ..always }, plain);
    }

    /// Scenario: connections that carried some requests and lived some time.
    /// Guarantees: each limit ends a connection exactly when it is reached.
    #[test]
    fn connections_are_spent_by_count_and_by_age() {
        let born = fusebox_proto::Now::read().instant;
        let settings = PoolSettings {
            requests_per_connection_max: Some(10),
            connection_age_max: Some(Duration::from_mins(1)),
            ..PoolSettings::new(Limits::default(), &ConnectionPool::default())
        };
        let check = |served, age_s, expected| {
            let now = born + Duration::from_secs(age_s);
            assert_eq!(settings.is_spent(served, born, now), expected, "{served} {age_s}");
        };
        check(9, 59, false);
        check(10, 0, true);
        check(1, 60, true);
    }
}
