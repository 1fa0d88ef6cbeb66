//! What a detection tells: events for reports, states and counts for admin page and metrics.

use crate::balance::EndpointId;
use fusebox_proto::report::Cause;
use std::fmt;
use std::time::{Duration, Instant};

/// By what an endpoint was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// Errors in a row.
    ConsecutiveErrors,
    /// Gateway errors in a row.
    ConsecutiveGatewayErrors,
    /// Local failures in a row.
    ConsecutiveLocalOriginFailures,
    /// Success rate.
    SuccessRate,
    /// Success rate of local failures.
    SuccessRateLocalOrigin,
    /// Failure percentage.
    FailurePercentage,
    /// Failure percentage of local failures.
    FailurePercentageLocalOrigin,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ConsecutiveErrors,
        Self::ConsecutiveGatewayErrors,
        Self::ConsecutiveLocalOriginFailures,
        Self::SuccessRate,
        Self::SuccessRateLocalOrigin,
        Self::FailurePercentage,
        Self::FailurePercentageLocalOrigin,
    ];

    /// As in metrics, after Envoy's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveErrors => "consecutive_5xx",
            Self::ConsecutiveGatewayErrors => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailures => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::SuccessRateLocalOrigin => "local_origin_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::FailurePercentageLocalOrigin => "local_origin_failure_percentage",
        }
    }

    /// As in reports.
    pub const fn cause(self) -> Cause {
        match self {
            Self::ConsecutiveErrors => Cause::ConsecutiveFailures,
            Self::ConsecutiveGatewayErrors => Cause::ConsecutiveGatewayErrors,
            Self::ConsecutiveLocalOriginFailures => Cause::ConsecutiveLocalOriginFailures,
            Self::SuccessRate | Self::SuccessRateLocalOrigin => Cause::SuccessRate,
            Self::FailurePercentage | Self::FailurePercentageLocalOrigin => {
                Cause::FailurePercentage
            }
        }
    }
}

/// Why an endpoint was found: what was measured, against which threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// By what.
    pub by: Detector,
    /// Failures in a row, a success rate or a failure percentage.
    pub measured: f64,
    /// Of the same kind.
    pub threshold: f64,
}

/// `consecutive_5xx: 5 of 5`, `success_rate: 50.0 % below 52.0 %`.
impl fmt::Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, measured, threshold } = self;
        f.write_str(by.as_str())?;
        match by {
            Detector::ConsecutiveErrors
            | Detector::ConsecutiveGatewayErrors
            | Detector::ConsecutiveLocalOriginFailures => write!(f, ": {measured} of {threshold}"),
            Detector::SuccessRate | Detector::SuccessRateLocalOrigin => {
                write!(f, ": {measured:.1} % below {threshold:.1} %")
            }
            Detector::FailurePercentage | Detector::FailurePercentageLocalOrigin => {
                write!(f, ": {measured:.1} % at or above {threshold:.1} %")
            }
        }
    }
}

/// Something that happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Which endpoint.
    pub host: EndpointId,
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// It is out, at least until then.
    Ejected {
        /// Why.
        detection: Detection,
        /// It comes back at the first sweep that is not before.
        until: Instant,
    },
    /// It is back.
    Unejected {
        /// How long it was out.
        lasted: Duration,
    },
    /// It would be out, but detection is not enforced.
    Shadowed {
        /// Why.
        detection: Detection,
        /// It would come back at the first sweep that is not before.
        until: Instant,
    },
    /// It would be back.
    Unshadowed {
        /// What the ejection would have cost.
        cost: Cost,
    },
    /// It was found, but too many are out already. Told once a sweep.
    Overflowed {
        /// Why.
        detection: Detection,
    },
}

/// What an ejection would have cost: these would have gone to other endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Attempts that began while it would have lasted.
    pub attempts: u64,
    /// Of them, those that ended well.
    pub succeeded: u64,
}

/// Counts since the detection began, after Envoy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Endpoints that are out now.
    pub ejections_active: u64,
    /// Detections while too many were out.
    pub ejections_overflow: u64,
    /// Detections of each [`Detector`], in the order of [`Detector::ALL`], enforced or not.
    pub detected: [u64; Detector::ALL.len()],
    /// Ejections of each, in the same order.
    pub enforced: [u64; Detector::ALL.len()],
    /// Endpoints that would be out now.
    pub shadows_active: u64,
    /// Of all shadowed ejections.
    pub shadow_cost: Cost,
}

/// Success rates of the endpoints that had enough requests in one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Their mean, percent.
    pub mean: f64,
    /// Below this one is found, percent.
    pub threshold: f64,
}

/// An ejection that lasts, or would last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    /// Why.
    pub detection: Detection,
    /// When it began.
    pub since: Instant,
    /// It ends at the first sweep that is not before.
    pub until: Instant,
}

/// An endpoint as reports and an admin page show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostStatus {
    /// Which one.
    pub host: EndpointId,
    /// It is out.
    pub ejected: Option<Ejection>,
    /// It would be out.
    pub shadowed: Option<Ejection>,
    /// What that would have cost so far.
    pub shadow_cost: Cost,
    /// Ejections so far.
    pub ejections: u32,
    /// Errors, gateway errors and local failures in a row.
    pub in_a_row: [u32; 3],
    /// Success rates over the last whole interval, from outside and of local origin, percent.
    /// `None`: no requests.
    pub success_rates: [Option<f64>; 2],
}

impl Cost {
    pub(super) const fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.succeeded += other.succeeded;
    }
}
