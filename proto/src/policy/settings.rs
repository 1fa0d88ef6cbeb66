//! How to talk to a host: the compiled traffic policy of one destination.
//!
//! `None` is "not said", and leaves the choice to the proxy; the profile `istio-compat` fills in
//! Istio's defaults instead. Counts without a limit are `None`, too.

use std::sync::Arc;
use std::time::Duration;

/// Everything that `DestinationRule`s, their annotations and `XBackendTrafficPolicy`s say about one
/// host, with its subsets and ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationPolicy {
    /// For traffic to no subset.
    pub all: PortSettings,
    /// In the order of the documents.
    pub subsets: Vec<Subset>,
    /// `fusebox.io/critical`: never tripped without a person.
    pub critical: bool,
    /// `fusebox.io/muted-answer`: what the caller of a muted retry gets.
    pub muted_answer: MutedAnswer,
    /// `fusebox.io/muted-answer-callers`: the callers (service names) that get
    /// [`Self::muted_answer`], the others [`MutedAnswer::Refuse`]. Empty: all callers get it.
    pub muted_answer_callers: Vec<Arc<str>>,
}

impl DestinationPolicy {
    /// The settings for traffic to `subset` (or to none) at `port`.
    pub fn settings(&self, subset: Option<&str>, port: u16) -> &Settings {
        subset
            .and_then(|name| self.subset(name))
            .map_or(&self.all, |subset| &subset.settings)
            .at(port)
    }

    /// The subset of this name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| &*subset.name == name)
    }

    /// What `caller`, a service name, gets for a muted retry.
    pub fn muted_answer_for(&self, caller: &str) -> MutedAnswer {
        let callers = &self.muted_answer_callers;
        if callers.is_empty() || callers.iter().any(|name| &**name == caller) {
            self.muted_answer
        } else {
            MutedAnswer::Refuse
        }
    }
}

/// Settings, and those of single ports. A port inherits nothing, as in Istio: what its entry leaves
/// out has the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortSettings {
    /// For ports that have no settings of their own.
    pub base: Settings,
    /// By port.
    pub ports: Vec<(u16, Settings)>,
}

impl PortSettings {
    /// The settings for traffic to this port.
    pub fn at(&self, port: u16) -> &Settings {
        let own = self.ports.iter().find(|(number, _)| *number == port);
        own.map_or(&self.base, |(_, settings)| settings)
    }
}

/// A named part of a host's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// As routes name it.
    pub name: Arc<str>,
    /// Endpoints with all of these labels belong to it.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// The host's settings with what the subset overrides.
    pub settings: PortSettings,
}

impl Subset {
    /// Whether an endpoint with these labels belongs to the subset.
    pub fn selects<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.labels.iter().all(|(key, value)| label(key) == Some(&**value))
    }
}

/// How to talk to the endpoints of one host, subset and port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Which endpoint.
    pub balancer: Balancer,
    /// Connections and requests at once.
    pub pool: ConnectionPool,
    /// When an endpoint is taken out. `None`: never.
    pub outlier: Option<OutlierDetection>,
    /// How many retries at once. `None`: the proxy's default budget.
    pub retry_budget: Option<RetryBudget>,
    /// When the whole edge opens by itself. `None`: never.
    pub breaker: Option<ServiceBreaker>,
    /// `tls.mode`. `None`: not said.
    pub tls: Option<TlsMode>,
}

/// `loadBalancer.simple`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balancer {
    /// The less loaded of two: `LEAST_REQUEST`, `LEAST_CONN`, and the default.
    #[default]
    LeastRequest,
    /// `RANDOM`.
    Random,
    /// `ROUND_ROBIN`.
    RoundRobin,
}

/// `connectionPool`. Limits hold for this proxy and the whole host, as in Istio.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`.
    pub connections_max: Option<u32>,
    /// `tcp.connectTimeout`.
    pub connect_timeout: Option<Duration>,
    /// `tcp.maxConnectionDuration`. `None`: no end.
    pub connection_duration_max: Option<Duration>,
    /// `tcp.idleTimeout`, of tunnels and raw TCP. Zero: off.
    pub tcp_idle_timeout: Option<Duration>,
    /// `tcp.tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `http.http1MaxPendingRequests`: requests that wait for a connection, HTTP/1 and HTTP/2.
    pub pending_max: Option<u32>,
    /// `http.http2MaxRequests`: requests at once, HTTP/1 and HTTP/2.
    pub requests_max: Option<u32>,
    /// `http.maxRequestsPerConnection`. 1 switches keep-alive off.
    pub requests_per_connection_max: Option<u32>,
    /// `http.maxRetries`: retries at once.
    pub retries_max: Option<u32>,
    /// `http.idleTimeout`, of pooled connections. Zero: off.
    pub idle_timeout: Option<Duration>,
    /// `http.maxConcurrentStreams`: of one HTTP/2 connection.
    pub streams_max: Option<u32>,
    /// `http.h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
    /// `http.useClientProtocol`: speak to the endpoint what the client spoke to us.
    pub use_client_protocol: bool,
}

/// `tcpKeepalive`. What is `None` is the operating system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// `probes`: unanswered ones before the connection is dead.
    pub probes: Option<u32>,
    /// `time`: idle before the first probe.
    pub time: Option<Duration>,
    /// `interval`: between probes.
    pub interval: Option<Duration>,
}

/// `h2UpgradePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum H2Upgrade {
    /// `DEFAULT`: the proxy's choice.
    #[default]
    Default,
    /// `DO_NOT_UPGRADE`: HTTP/1 stays HTTP/1.
    Never,
    /// `UPGRADE`: HTTP/1 from the client becomes HTTP/2 to the endpoint.
    Always,
}

/// `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// `DISABLE`: plain text.
    Disable,
    /// `SIMPLE`: TLS, the server is verified.
    Simple,
    /// `MUTUAL`: with a client certificate of one's own.
    Mutual,
    /// `ISTIO_MUTUAL`: with the mesh's certificates.
    Mesh,
}

/// `outlierDetection`, with all that Envoy has and Istio does not expose (by annotation, see
/// [`annotations`](super::annotations)). The algorithm is Envoy's; `enforcing_percent` is a dice
/// roll at the moment of ejection, and 0 is *shadow*: detect, count and say, but eject nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// Between two sweeps.
    pub interval: Duration,
    /// Of a first ejection; grows with each one that follows.
    pub ejection_time_base: Duration,
    /// Longest ejection, before jitter.
    pub ejection_time_max: Duration,
    /// A random part up to this is added to each ejection.
    pub ejection_time_jitter_max: Duration,
    /// No more than this share of the endpoints at once: `100 * (ejected + 1) / endpoints <= max`.
    pub ejection_percent_max: u8,
    /// One endpoint may be ejected whatever [`Self::ejection_percent_max`] says.
    pub always_eject_one: bool,
    /// With less than this share of endpoints left, ejections are ignored. 0: never.
    pub panic_percent: u8,
    /// Failures to connect and to get an answer count apart from answers.
    pub split_local_origin: bool,
    /// Statuses that are errors, as inclusive ranges, instead of 5xx. Empty: 500…599.
    pub error_statuses: Vec<(u16, u16)>,
    /// Errors in a row.
    pub consecutive_errors: Option<Consecutive>,
    /// 502, 503, 504 (and local failures, if not split) in a row.
    pub consecutive_gateway_errors: Option<Consecutive>,
    /// Local failures in a row; only if split.
    pub consecutive_local_origin_failures: Option<Consecutive>,
    /// Success rate against that of the other endpoints.
    pub success_rate: Option<SuccessRate>,
    /// Failure percentage against a fixed threshold.
    pub failure_percentage: Option<FailurePercentage>,
}

/// So many in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consecutive {
    /// In a row; at least 1.
    pub threshold: u32,
    /// Of the detections, how many eject. 0: shadow.
    pub enforcing_percent: u8,
}

/// Ejects endpoints whose success rate over one interval is below mean − factor × σ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// Needs so many endpoints with enough requests.
    pub endpoints_min: u32,
    /// Enough requests: so many in one interval.
    pub requests_min: u32,
    /// Factor of σ, in thousandths.
    pub stdev_factor_thousandths: u32,
    /// Of the detections, how many eject. 0: shadow.
    pub enforcing_percent: u8,
    /// The same for local failures, if split.
    pub enforcing_local_origin_percent: u8,
}

/// Ejects endpoints with at least this failure percentage over one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// `100 - success rate >= threshold`.
    pub threshold_percent: u8,
    /// Needs so many endpoints with enough requests.
    pub endpoints_min: u32,
    /// Enough requests: so many in one interval.
    pub requests_min: u32,
    /// Of the detections, how many eject. 0: shadow.
    pub enforcing_percent: u8,
    /// The same for local failures, if split.
    pub enforcing_local_origin_percent: u8,
}

/// How many retries may be under way. Whichever bound allows more decides about the budget;
/// `connectionPool.http.maxRetries` stands beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries as a share of requests.
    pub percent: f64,
    /// Requests of this long count. Zero: those active or pending now.
    pub interval: Duration,
    /// So many retries a second are always allowed.
    pub retries_per_s_min: f64,
    /// So many retries at once are always allowed.
    pub concurrency_min: u32,
}

/// A failure-driven breaker for the whole edge (Istio has none; Linkerd's is per endpoint). *Open*
/// refuses for `open_min`, then half-open lets one probe pass: success closes, failure opens for
/// twice as long, at most `open_max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceBreaker {
    /// Opens after so many failures in a row. At least one of this and
    /// [`Self::success_window`] is there.
    pub consecutive_failures: Option<u32>,
    /// Opens when too few requests succeed.
    pub success_window: Option<SuccessWindow>,
    /// How long it stays open the first time.
    pub open_min: Duration,
    /// How long at most.
    pub open_max: Duration,
    /// A random part of up to this share (0…1) is added to each time, so that proxies do not probe
    /// all at once.
    pub jitter: f64,
    /// Counts and says what it would have refused; refuses nothing.
    pub shadow: bool,
}

impl ServiceBreaker {
    /// Linkerd's: enough to tell a failing service from an unlucky minute.
    pub const CONSECUTIVE_FAILURES_DEFAULT: u32 = 7;
    /// `fusebox.io/breaker: both`, with nothing else said.
    pub const DEFAULT: Self = Self {
        consecutive_failures: Some(Self::CONSECUTIVE_FAILURES_DEFAULT),
        success_window: Some(SuccessWindow::DEFAULT),
        open_min: Duration::from_secs(1),
        open_max: Duration::from_mins(1),
        jitter: 0.5,
        shadow: false,
    };
}

/// An exact window of [`SuccessWindow::BUCKETS`] buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessWindow {
    /// Opens below this share of successes, 0…100.
    pub threshold_percent: f64,
    /// Length of the window.
    pub window: Duration,
    /// No judgement below so many requests in the window.
    pub requests_min: u32,
}

impl SuccessWindow {
    /// Buckets of the window.
    pub const BUCKETS: u32 = 10;
    /// With nothing said.
    pub const DEFAULT: Self =
        Self { threshold_percent: 80.0, window: Duration::from_secs(10), requests_min: 5 };
}

/// What the caller of a muted retry gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MutedAnswer {
    /// 424: client libraries stop there.
    #[default]
    Refuse,
    /// The status of the attempt that it repeats, 504 for a timeout.
    Replay,
}
