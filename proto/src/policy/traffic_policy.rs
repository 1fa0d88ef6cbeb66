//! `trafficPolicy` of a `DestinationRule`: load balancer, connection pool, TLS, retry budget, ports.

use super::Profile;
use super::annotations::OutlierExtension;
use super::at::At;
use super::fields::Fields;
use super::outlier;
use super::settings::{
    Balancer, ConnectionPool, H2Upgrade, OutlierDetection, RetryBudget, ServiceBreaker, Settings,
    TcpKeepalive, TlsMode,
};
use std::time::Duration;

/// A count, as Istio's `int32`.
const COUNT_MAX: u32 = i32::MAX as u32;
/// `maxRequestsPerConnection`, after Istio's documentation.
const REQUESTS_PER_CONNECTION_MAX: u32 = 1 << 29;
/// Ports with settings of their own.
const PORTS_MAX: usize = 64;
const MS: Duration = Duration::from_millis(1);

/// What one `trafficPolicy`, or one entry of `portLevelSettings`, says. `None`: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct TrafficPolicy {
    pub(super) balancer: Option<Balancer>,
    pub(super) pool: Option<ConnectionPool>,
    pub(super) outlier: Option<OutlierDetection>,
    pub(super) tls: Option<TlsMode>,
    pub(super) retry_budget: Option<RetryBudget>,
    pub(super) ports: Vec<(u16, TrafficPolicy)>,
}

impl TrafficPolicy {
    /// This policy with what `over` says instead, part by part; ports apart.
    pub(super) fn overridden(&self, over: &Self) -> Self {
        Self {
            balancer: over.balancer.or(self.balancer),
            pool: over.pool.clone().or_else(|| self.pool.clone()),
            outlier: over.outlier.clone().or_else(|| self.outlier.clone()),
            tls: over.tls.or(self.tls),
            retry_budget: over.retry_budget.or(self.retry_budget),
            ports: Vec::new(),
        }
    }

    pub(super) fn settings(
        &self,
        profile: Profile,
        breaker: Option<ServiceBreaker>,
        retry_budget: Option<RetryBudget>,
    ) -> Settings {
        Settings {
            balancer: self.balancer.unwrap_or_default(),
            pool: self.pool.clone().unwrap_or_else(|| pool_default(profile)),
            outlier: self.outlier.clone(),
            retry_budget: self.retry_budget.or(retry_budget),
            breaker,
            tls: self.tls,
        }
    }
}

/// Reads a `trafficPolicy`.
pub(super) fn read(at: At<'_>, profile: Profile, extension: &OutlierExtension) -> TrafficPolicy {
    let Some(fields) = at.object() else { return TrafficPolicy::default() };
    let mut policy = parts(&fields, profile, extension);
    policy.retry_budget = fields.object("retryBudget").map(retry_budget);
    if let Some(at) = fields.get("portLevelSettings") {
        for at in at.items() {
            let Some(fields) = at.object() else { continue };
            let own = parts(&fields, profile, extension);
            let number = fields.required("port").and_then(port);
            fields.finish(&["tunnel", "proxyProtocol", "retryBudget"]);
            let Some(number) = number else { continue };
            if policy.ports.iter().any(|(other, _)| *other == number) {
                at.error(format!("is the second entry for port {number}"));
            } else if PORTS_MAX <= policy.ports.len() {
                at.error(format!("is one entry too many; at most {PORTS_MAX}"));
            } else {
                policy.ports.push((number, own));
            }
        }
    }
    fields.finish(&["tunnel", "proxyProtocol"]);
    policy
}

/// What a port can have, too.
fn parts(fields: &Fields<'_>, profile: Profile, extension: &OutlierExtension) -> TrafficPolicy {
    TrafficPolicy {
        balancer: fields.object("loadBalancer").map(balancer),
        pool: fields.object("connectionPool").map(|fields| pool(fields, profile)),
        outlier: fields.object("outlierDetection").map(|f| outlier::read(f, profile, extension)),
        tls: fields.object("tls").and_then(tls),
        ..TrafficPolicy::default()
    }
}

/// `port: {number: 8080}`.
pub(super) fn port(at: At<'_>) -> Option<u16> {
    let fields = at.object()?;
    let number = fields.required("number").and_then(|at| at.port());
    fields.finish(&["name"]);
    number
}

fn balancer(fields: Fields<'_>) -> Balancer {
    let choices = [
        ("LEAST_REQUEST", Some(Balancer::LeastRequest)),
        ("LEAST_CONN", Some(Balancer::LeastRequest)),
        ("UNSPECIFIED", Some(Balancer::LeastRequest)),
        ("ROUND_ROBIN", Some(Balancer::RoundRobin)),
        ("RANDOM", Some(Balancer::Random)),
        ("PASSTHROUGH", None),
    ];
    let at = fields.get("simple");
    let chosen = at.as_ref().and_then(|at| at.choice(&choices));
    if let (Some(at), Some(None)) = (&at, chosen) {
        at.warn("is PASSTHROUGH, which is not supported: the less loaded of two is taken");
    }
    fields.finish(&[
        "consistentHash",
        "localityLbSetting",
        "warmup",
        "warmupDurationSecs",
        "zoneAwareLbSetting",
    ]);
    chosen.flatten().unwrap_or_default()
}

/// What Istio has where nothing is said.
pub(super) fn pool_default(profile: Profile) -> ConnectionPool {
    let istio = |duration| (profile == Profile::IstioCompat).then_some(duration);
    ConnectionPool {
        connect_timeout: istio(Duration::from_secs(10)),
        tcp_idle_timeout: istio(Duration::from_hours(1)),
        idle_timeout: istio(Duration::from_hours(1)),
        ..ConnectionPool::default()
    }
}

fn pool(fields: Fields<'_>, profile: Profile) -> ConnectionPool {
    let mut pool = pool_default(profile);
    if let Some(tcp) = fields.object("tcp") {
        pool.connections_max = limit(&tcp, "maxConnections", Zero::Unset);
        pool.connect_timeout = tcp.duration("connectTimeout", MS).or(pool.connect_timeout);
        pool.connection_duration_max = tcp.duration("maxConnectionDuration", MS);
        let idle = tcp.duration("idleTimeout", Duration::ZERO);
        pool.tcp_idle_timeout = idle.or(pool.tcp_idle_timeout);
        pool.tcp_keepalive = tcp.object("tcpKeepalive").map(keepalive);
        tcp.finish(&[]);
    }
    if let Some(http) = fields.object("http") {
        let zero = if profile == Profile::IstioCompat { Zero::Unset } else { Zero::None };
        pool.pending_max = limit(&http, "http1MaxPendingRequests", zero);
        pool.requests_max = limit(&http, "http2MaxRequests", Zero::Unset);
        let per_connection = http.uint("maxRequestsPerConnection", 0..=REQUESTS_PER_CONNECTION_MAX);
        pool.requests_per_connection_max = per_connection.filter(|&count| count != 0);
        pool.retries_max = limit(&http, "maxRetries", zero);
        pool.idle_timeout = http.duration("idleTimeout", Duration::ZERO).or(pool.idle_timeout);
        pool.streams_max = limit(&http, "maxConcurrentStreams", Zero::Unset);
        let upgrades = [
            ("DEFAULT", H2Upgrade::Default),
            ("DO_NOT_UPGRADE", H2Upgrade::Never),
            ("UPGRADE", H2Upgrade::Always),
        ];
        pool.h2_upgrade = http.choice("h2UpgradePolicy", &upgrades).unwrap_or_default();
        pool.use_client_protocol = http.boolean("useClientProtocol").unwrap_or_default();
        http.finish(&["http2KeepAlive"]);
    }
    fields.finish(&[]);
    pool
}

/// What 0 means: in Istio, always that nothing was said.
#[derive(Clone, Copy)]
enum Zero {
    /// No limit. Nobody wants to refuse everything.
    Unset,
    /// None at all: no waiting, no retries.
    None,
}

fn limit(fields: &Fields<'_>, name: &'static str, zero: Zero) -> Option<u32> {
    let at = fields.get(name)?;
    match (at.uint(0..=COUNT_MAX)?, zero) {
        (0, Zero::Unset) => {
            at.note("is 0, which sets no limit, as in Istio");
            None
        }
        (0, Zero::None) => {
            at.note("is 0, and means none at all; Istio would take it for no limit");
            Some(0)
        }
        (limit, _) => Some(limit),
    }
}

fn keepalive(fields: Fields<'_>) -> TcpKeepalive {
    let second = Duration::from_secs(1);
    let read = TcpKeepalive {
        probes: fields.uint("probes", 1..=127),
        time: fields.duration("time", second),
        interval: fields.duration("interval", second),
    };
    fields.finish(&[]);
    read
}

fn tls(fields: Fields<'_>) -> Option<TlsMode> {
    let modes = [
        ("DISABLE", TlsMode::Disable),
        ("SIMPLE", TlsMode::Simple),
        ("MUTUAL", TlsMode::Mutual),
        ("ISTIO_MUTUAL", TlsMode::Mesh),
    ];
    // Absent is the first of the enum, as in protobuf.
    let mode = match fields.get("mode") {
        Some(at) => at.choice(&modes),
        None => Some(TlsMode::Disable),
    };
    fields.finish(&[
        "caCertificates",
        "caCrl",
        "clientCertificate",
        "credentialName",
        "insecureSkipVerify",
        "privateKey",
        "sni",
        "subjectAltNames",
    ]);
    mode
}

/// Istio's `retryBudget` counts requests under way, not a rate.
fn retry_budget(fields: Fields<'_>) -> RetryBudget {
    let budget = RetryBudget {
        percent: fields.get("percent").and_then(|at| at.float(0.0..=100.0)).unwrap_or(20.0),
        interval: fields.duration("budgetInterval", Duration::ZERO).unwrap_or_default(),
        retries_per_s_min: 0.0,
        concurrency_min: fields.uint("minRetryConcurrency", 0..=u32::MAX).unwrap_or(3),
    };
    fields.finish(&[]);
    budget
}
