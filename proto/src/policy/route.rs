//! Where a request goes: the compiled rules of one host, in the order in which they are tried.

use super::matching::{Caller, HttpMatch, Request};
use super::rewrite::{HeaderEdits, Redirect, Rewrite};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the `VirtualService` or the `HTTPRoute`s of one host say.
#[derive(Clone, Debug, PartialEq)]
pub struct Routes {
    /// `VirtualService/shop/inventory-route`: where it is written.
    pub object: Arc<str>,
    /// Gateways that it is bound to, as `namespace/name`; `mesh` for traffic between services.
    pub gateways: Vec<Arc<str>>,
    /// Tried in this order.
    pub http: Vec<Arc<HttpRule>>,
    /// For TLS that passes through, by server name. Tried in this order, before [`Self::tcp`].
    pub tls: Vec<Arc<TcpRule>>,
    /// For raw TCP, tried in this order.
    pub tcp: Vec<Arc<TcpRule>>,
}

impl Routes {
    /// The first rule that matches. `None`, although there are rules: the answer is 404, as in
    /// Istio and the Gateway API. Allocates nothing (unless `request` does).
    pub fn route(&self, request: &Request<'_>) -> Option<Matched<'_>> {
        self.http.iter().find_map(|rule| rule.matched(request))
    }

    /// The first rule for a connection: by server name where it is TLS that has one, then by port.
    pub fn route_tcp(&self, sni: Option<&str>, port: u16, caller: &Caller) -> Option<&TcpRule> {
        let tls = sni.and_then(|_| self.tls.iter().find(|rule| rule.matches(sni, port, caller)));
        let tcp = || self.tcp.iter().find(|rule| rule.matches(sni, port, caller));
        tls.or_else(tcp).map(|rule| &**rule)
    }
}

/// One rule of `http`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRule {
    /// `http[].name`, or `inventory-route[0]` where it has none: the *route* of reports.
    pub name: Arc<str>,
    /// One of these must match; empty: every request does.
    pub matches: Vec<HttpMatch>,
    /// What happens to the request.
    pub action: Action,
    /// How long all attempts together may take. `None`: no limit.
    pub timeout: Option<Duration>,
    /// `None`: none.
    pub retries: Option<Retries>,
    /// Faults, injected before anything else.
    pub fault: Fault,
    /// Copies, whose answers are dropped.
    pub mirrors: Vec<Mirror>,
    /// Path and authority on the way to the endpoint.
    pub rewrite: Rewrite,
    /// Edits of the request's headers, before those of the destination.
    pub request_headers: HeaderEdits,
    /// Edits of the response's headers, after those of the destination.
    pub response_headers: HeaderEdits,
}

impl HttpRule {
    /// This rule, if one of its matches holds.
    pub fn matched(&self, request: &Request<'_>) -> Option<Matched<'_>> {
        if self.matches.is_empty() {
            return Some(Matched { rule: self, condition: None });
        }
        let condition = self.matches.iter().find(|condition| condition.holds(request))?;
        Some(Matched { rule: self, condition: Some(condition) })
    }
}

/// A rule that matched, and by which of its conditions: a prefix rewrite needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'p> {
    /// The rule.
    pub rule: &'p HttpRule,
    /// The condition that held; `None`: the rule has none.
    pub condition: Option<&'p HttpMatch>,
}

/// What a rule does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send it on.
    Forward(Destinations),
    /// Answer 3xx.
    Redirect(Redirect),
    /// Answer at once.
    Respond(DirectResponse),
}

/// `directResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200…599.
    pub status: u16,
    /// `body.string`; empty where there is none.
    pub body: Arc<[u8]>,
}

/// Destinations with their weights. The share of each is weight ÷ sum, whatever the sum is.
#[derive(Clone, Debug, PartialEq)]
pub struct Destinations {
    all: Arc<[Weighted]>,
    /// Never zero.
    weight_sum: u64,
}

/// A destination of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// Where to.
    pub destination: Destination,
    /// Its part of the sum of the rule.
    pub weight: u32,
    /// Edits of the request's headers for this destination only.
    pub request_headers: HeaderEdits,
    /// Edits of the response's headers from this destination only.
    pub response_headers: HeaderEdits,
}

impl Destinations {
    /// `None` if there is none, or none with a weight.
    pub fn new(all: Vec<Weighted>) -> Option<Self> {
        let weight_sum = all.iter().map(|one| u64::from(one.weight)).sum();
        (weight_sum != 0).then(|| Self { all: all.into(), weight_sum })
    }

    /// The destination at `point`, 0…1 (a random number, or a hash scaled to it): pure, so that
    /// the same point gives the same destination. Weight 0 is never picked.
    pub fn pick(&self, point: f64) -> &Weighted {
        // The cast saturates: NaN and what lies below 0 count as 0.
        let mut at = ((point * self.weight_sum as f64) as u64).min(self.weight_sum - 1);
        for one in &*self.all {
            match at.checked_sub(u64::from(one.weight)) {
                Some(rest) => at = rest,
                None => return one,
            }
        }
        self.all.last().expect("a positive sum has a destination")
    }

    /// All of them, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &Weighted> {
        self.all.iter()
    }

    /// The sum of weights; never zero.
    pub const fn weight_sum(&self) -> u64 {
        self.weight_sum
    }
}

/// Where to: a host, which may be cut down to a subset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// `inventory.shop.svc.cluster.local`, `inventory` where the document has no namespace, or a
    /// domain: what [`Policy::destination`](super::Policy::destination) takes.
    pub host: Arc<str>,
    /// One of the host's subsets.
    pub subset: Option<Arc<str>>,
    /// Another port than the request's.
    pub port: Option<u16>,
}

/// `inventory`, `inventory/v2`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.subset.iter().try_for_each(|subset| write!(f, "/{subset}"))
    }
}

/// `retries`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// Retries, not attempts: at most 1 + this many requests are sent. At least 1.
    pub retries_max: u32,
    /// `None`: each attempt may take what is left of the rule's timeout.
    pub per_try_timeout: Option<Duration>,
    /// On what.
    pub on: RetryOn,
    /// Wait before the first retry; doubles with each one, with full jitter.
    pub backoff_base: Duration,
}

/// `retryOn`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// By what happened.
    pub conditions: Vec<RetryCondition>,
    /// By status of a real answer (a reset is no 503), as inclusive ranges.
    pub statuses: Vec<(u16, u16)>,
}

impl RetryOn {
    /// Whether this condition is among them.
    pub fn has(&self, condition: RetryCondition) -> bool {
        self.conditions.contains(&condition)
    }

    /// Whether an answer with this status is retried: by code, or as `5xx`, `gateway-error`,
    /// `retriable-4xx`.
    pub fn has_status(&self, status: u16) -> bool {
        self.statuses.iter().any(|&(low, high)| (low..=high).contains(&status))
            || (self.has(RetryCondition::ServerError) && (500..600).contains(&status))
            || (self.has(RetryCondition::GatewayError) && (502..=504).contains(&status))
            || (self.has(RetryCondition::Retriable4xx) && status == 409)
    }

    /// Whether an answer with this `grpc-status` is retried.
    pub fn has_grpc_status(&self, status: u16) -> bool {
        let condition = match status {
            1 => RetryCondition::Cancelled,
            4 => RetryCondition::DeadlineExceeded,
            8 => RetryCondition::ResourceExhausted,
            13 => RetryCondition::Internal,
            14 => RetryCondition::Unavailable,
            _ => return false,
        };
        self.has(condition)
    }
}

/// A word of `retryOn`, after Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryCondition {
    /// `5xx`: any 5xx, and no answer at all (reset, per-try timeout).
    ServerError,
    /// `gateway-error`: 502, 503, 504.
    GatewayError,
    /// `reset`: no answer at all.
    Reset,
    /// `reset-before-request`: no answer, and no byte of the request was sent.
    ResetBeforeRequest,
    /// `connect-failure`: no connection.
    ConnectFailure,
    /// `retriable-4xx`: 409.
    Retriable4xx,
    /// `refused-stream`: HTTP/2 `REFUSED_STREAM`.
    RefusedStream,
    /// `cancelled`: `grpc-status: 1`.
    Cancelled,
    /// `deadline-exceeded`: `grpc-status: 4`.
    DeadlineExceeded,
    /// `resource-exhausted`: `grpc-status: 8`.
    ResourceExhausted,
    /// `internal`: `grpc-status: 13`.
    Internal,
    /// `unavailable`: `grpc-status: 14`.
    Unavailable,
}

/// `fault`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    /// Wait, for a share of requests.
    pub delay: Option<(Duration, Percent)>,
    /// Answer, for a share of requests, instead of sending them on.
    pub abort: Option<(Abort, Percent)>,
}

/// `fault.abort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// `httpStatus`.
    Http(u16),
    /// `grpcStatus`, as its number.
    Grpc(u16),
}

/// A share, 0…100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);
    /// Everything.
    pub const ALL: Self = Self(100.0);

    /// `None` outside 0…100.
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self(percent))
    }

    /// Whether a request at `point`, 0…1, is in the share: pure, the same point gives the same.
    pub fn takes(self, point: f64) -> bool {
        point * 100.0 < self.0
    }

    /// 0…100.
    pub const fn value(self) -> f64 {
        self.0
    }
}

/// `mirrors[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Where the copy goes.
    pub destination: Destination,
    /// Of how many requests.
    pub percent: Percent,
}

/// One rule of `tcp` or `tls`.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpRule {
    /// `inventory-route.tcp[0]`.
    pub name: Arc<str>,
    /// One of these must match; empty: every connection does.
    pub matches: Vec<TcpMatch>,
    /// Where to.
    pub destinations: Destinations,
}

impl TcpRule {
    fn matches(&self, sni: Option<&str>, port: u16, caller: &Caller) -> bool {
        let mut matches = self.matches.iter();
        self.matches.is_empty() || matches.any(|one| one.holds(sni, port, caller))
    }
}

/// One condition on a connection; all that is there must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpMatch {
    /// Server names, exact or `*.domain`; empty: any, or no TLS at all.
    pub sni_hosts: Vec<Arc<str>>,
    /// The port that the client dialled.
    pub port: Option<u16>,
    /// The caller has all of these labels.
    pub source_labels: Vec<(Arc<str>, Arc<str>)>,
    /// The caller is in this namespace.
    pub source_namespace: Option<Arc<str>>,
}

impl TcpMatch {
    fn holds(&self, sni: Option<&str>, port: u16, caller: &Caller) -> bool {
        (self.sni_hosts.is_empty()
            || sni.is_some_and(|sni| self.sni_hosts.iter().any(|host| is_server_name(host, sni))))
            && self.port.is_none_or(|own| own == port)
            && caller.is(&self.source_labels, self.source_namespace.as_deref())
    }
}

/// Whether `sni` is `pattern`, which may be `*` or `*.domain`. Case does not matter.
fn is_server_name(pattern: &str, sni: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix('*') else {
        return pattern.eq_ignore_ascii_case(sni);
    };
    let at = sni.len().checked_sub(suffix.len());
    at.and_then(|at| sni.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
        && suffix.len() < sni.len()
}
