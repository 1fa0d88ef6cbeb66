//! What Istio has no field for: annotations `fusebox.io/...` of a `DestinationRule`.
//!
//! | annotation | allowed | meaning |
//! |---|---|---|
//! | `critical` | `true`, `false` | never tripped without a person |
//! | `muted-answer` | `424`, `replay` | what the caller of a muted retry gets |
//! | `muted-answer-callers` | `payment,checkout` | only these callers get that answer |
//! | `outlier-shadow` | `true`, `false` | outlier detection ejects nobody, and says whom it would have |
//! | `outlier-panic-percent` | 0…100 | with less of the endpoints left, ejections are ignored; 0: never |
//! | `outlier-always-eject-one-host` | `true`, `false` | Envoy's `always_eject_one_host` |
//! | `outlier-max-ejection-time`, `-jitter` | duration | Envoy's `max_ejection_time`, `max_ejection_time_jitter` |
//! | `outlier-enforcing-consecutive-5xx`, `-gateway-failure`, `-local-origin-failure` | 0…100 | share of detections that eject |
//! | `outlier-success-rate-minimum-hosts`, `-request-volume`, `-stdev-factor` | number | Envoy's `success_rate_*`: 5, 100, 1900 |
//! | `outlier-enforcing-success-rate`, `outlier-enforcing-local-origin-success-rate` | 0…100 | share that ejects; 100 once one of these is there |
//! | `outlier-failure-percentage-threshold`, `-minimum-hosts`, `-request-volume` | number | Envoy's `failure_percentage_*`: 85, 5, 50 |
//! | `outlier-enforcing-failure-percentage`, `outlier-enforcing-failure-percentage-local-origin` | 0…100 | share that ejects; 100 once one of these is there |
//! | `breaker` | `consecutive`, `success-rate`, `both`, `off` | the failure-driven breaker of the whole edge |
//! | `breaker-consecutive-failures` | from 1 | opens after so many in a row: 7 |
//! | `breaker-success-rate` | 0…100 | opens below this percentage of successes: 80 |
//! | `breaker-window`, `breaker-min-requests` | duration, number | of the success rate: 10 s, 5 |
//! | `breaker-open-min`, `breaker-open-max` | duration | first and longest time open: 1 s, 60 s |
//! | `breaker-jitter` | 0…1 | random part of the time open: 0.5 |
//! | `breaker-shadow` | `true`, `false` | counts what it would refuse, refuses nothing |
//!
//! Without an annotation of its kind, success rate and failure percentage are off and there is no
//! breaker, as in Istio. The defaults of the breaker are Linkerd's.

use super::at::At;
use super::fields::Fields;
use super::settings::{FailurePercentage, MutedAnswer, ServiceBreaker, SuccessRate, SuccessWindow};
use super::yaml::{Node, Value, resolved};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// All that is ours begins so.
const PREFIX: &str = "fusebox.io/";
/// Callers that one annotation can name.
const CALLERS_MAX: usize = 64;
const PERCENT: RangeInclusive<u32> = 0..=100;
const MS: Duration = Duration::from_millis(1);

/// What the annotations of a `DestinationRule` say.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotations {
    pub(super) critical: Option<bool>,
    pub(super) muted_answer: Option<MutedAnswer>,
    pub(super) muted_answer_callers: Vec<Arc<str>>,
    pub(super) breaker: Option<ServiceBreaker>,
    pub(super) outlier: OutlierExtension,
}

/// The part that extends `outlierDetection`.
#[derive(Clone, Debug, Default)]
pub(super) struct OutlierExtension {
    /// Whether any of it is there.
    pub(super) is_given: bool,
    pub(super) shadow: bool,
    pub(super) panic_percent: Option<u8>,
    pub(super) always_eject_one: Option<bool>,
    pub(super) ejection_time_max: Option<Duration>,
    pub(super) ejection_time_jitter_max: Option<Duration>,
    pub(super) enforcing_5xx: Option<u8>,
    pub(super) enforcing_gateway: Option<u8>,
    pub(super) enforcing_local_origin: Option<u8>,
    pub(super) success_rate: Option<SuccessRate>,
    pub(super) failure_percentage: Option<FailurePercentage>,
}

/// Annotations with our prefix, their values typed (`"5"` is a number); none: `None`.
pub(super) fn own(metadata: Option<&Node>) -> Option<Node> {
    let annotations = metadata?.get("annotations")?;
    let Value::Map(entries) = &annotations.value else { return None };
    let own = entries.iter().filter(|(key, _)| key.starts_with(PREFIX));
    let own: Vec<_> = own.map(|(key, node)| (key.clone(), resolved(node))).collect();
    (!own.is_empty()).then_some(Node { line: annotations.line, value: Value::Map(own) })
}

/// Reads them where the kind has some.
pub(super) fn read(at: At<'_>) -> Annotations {
    let Some(fields) = at.object() else { return Annotations::default() };
    let answers = [("424", MutedAnswer::Refuse), ("replay", MutedAnswer::Replay)];
    let read = Annotations {
        critical: fields.boolean("fusebox.io/critical"),
        muted_answer: fields.choice("fusebox.io/muted-answer", &answers),
        muted_answer_callers: callers(&fields),
        breaker: breaker(&fields),
        outlier: outlier(&fields),
    };
    if read.muted_answer.is_none() && !read.muted_answer_callers.is_empty() {
        at.warn("names callers for fusebox.io/muted-answer, which is not there");
    }
    fields.finish(&[]);
    read
}

/// Complains about all of them where the kind has none.
pub(super) fn refuse(at: At<'_>) {
    if let Some(fields) = at.object() {
        fields.finish(&[]);
    }
}

fn callers(fields: &Fields<'_>) -> Vec<Arc<str>> {
    let Some(at) = fields.get("fusebox.io/muted-answer-callers") else { return Vec::new() };
    let names = at.text().unwrap_or_default().split(',').map(str::trim);
    let names: Vec<Arc<str>> = names.filter(|name| !name.is_empty()).map(Into::into).collect();
    if CALLERS_MAX < names.len() {
        at.error(format!("names {} callers; at most {CALLERS_MAX}", names.len()));
    }
    names
}

fn outlier(fields: &Fields<'_>) -> OutlierExtension {
    let percent = |name| fields.uint(name, PERCENT).map(|percent| percent as u8);
    OutlierExtension {
        is_given: fields.has_prefix("fusebox.io/outlier-"),
        shadow: fields.boolean("fusebox.io/outlier-shadow").unwrap_or_default(),
        panic_percent: percent("fusebox.io/outlier-panic-percent"),
        always_eject_one: fields.boolean("fusebox.io/outlier-always-eject-one-host"),
        ejection_time_max: fields.duration("fusebox.io/outlier-max-ejection-time", MS),
        ejection_time_jitter_max: fields
            .duration("fusebox.io/outlier-max-ejection-time-jitter", Duration::ZERO),
        enforcing_5xx: percent("fusebox.io/outlier-enforcing-consecutive-5xx"),
        enforcing_gateway: percent("fusebox.io/outlier-enforcing-consecutive-gateway-failure"),
        enforcing_local_origin: percent(
            "fusebox.io/outlier-enforcing-consecutive-local-origin-failure",
        ),
        success_rate: success_rate(fields),
        failure_percentage: failure_percentage(fields),
    }
}

/// Envoy's defaults for what is not said; enforced, because somebody asked for it.
fn success_rate(fields: &Fields<'_>) -> Option<SuccessRate> {
    let number = |name| fields.uint(name, 1..=u32::MAX);
    let hosts = number("fusebox.io/outlier-success-rate-minimum-hosts");
    let volume = number("fusebox.io/outlier-success-rate-request-volume");
    let factor = fields.uint("fusebox.io/outlier-success-rate-stdev-factor", 0..=u32::MAX);
    let enforcing = fields.uint("fusebox.io/outlier-enforcing-success-rate", PERCENT);
    let local = fields.uint("fusebox.io/outlier-enforcing-local-origin-success-rate", PERCENT);
    [hosts, volume, factor, enforcing, local].iter().any(Option::is_some).then(|| SuccessRate {
        endpoints_min: hosts.unwrap_or(5),
        requests_min: volume.unwrap_or(100),
        stdev_factor_thousandths: factor.unwrap_or(1900),
        enforcing_percent: enforcing.unwrap_or(100) as u8,
        enforcing_local_origin_percent: local.unwrap_or(100) as u8,
    })
}

/// As [`success_rate`].
fn failure_percentage(fields: &Fields<'_>) -> Option<FailurePercentage> {
    let number = |name| fields.uint(name, 1..=u32::MAX);
    let threshold = fields.uint("fusebox.io/outlier-failure-percentage-threshold", PERCENT);
    let hosts = number("fusebox.io/outlier-failure-percentage-minimum-hosts");
    let volume = number("fusebox.io/outlier-failure-percentage-request-volume");
    let enforcing = fields.uint("fusebox.io/outlier-enforcing-failure-percentage", PERCENT);
    let local =
        fields.uint("fusebox.io/outlier-enforcing-failure-percentage-local-origin", PERCENT);
    let given = [threshold, hosts, volume, enforcing, local];
    given.iter().any(Option::is_some).then(|| FailurePercentage {
        threshold_percent: threshold.unwrap_or(85) as u8,
        endpoints_min: hosts.unwrap_or(5),
        requests_min: volume.unwrap_or(50),
        enforcing_percent: enforcing.unwrap_or(100) as u8,
        enforcing_local_origin_percent: local.unwrap_or(100) as u8,
    })
}

fn breaker(fields: &Fields<'_>) -> Option<ServiceBreaker> {
    // (consecutive, success rate)
    let kinds = [
        ("consecutive", (true, false)),
        ("success-rate", (false, true)),
        ("both", (true, true)),
        ("off", (false, false)),
    ];
    let kind = fields.choice("fusebox.io/breaker", &kinds);
    let failures = fields.uint("fusebox.io/breaker-consecutive-failures", 1..=u32::MAX);
    let percent = fields.get("fusebox.io/breaker-success-rate");
    let percent = percent.and_then(|at| at.float(0.0..=100.0));
    let window = fields.duration("fusebox.io/breaker-window", 10 * MS);
    let requests_min = fields.uint("fusebox.io/breaker-min-requests", 1..=1_000_000);
    let open_min = fields.duration("fusebox.io/breaker-open-min", MS);
    let open_min = open_min.unwrap_or(ServiceBreaker::DEFAULT.open_min);
    let open_max = fields.duration("fusebox.io/breaker-open-max", MS);
    let jitter = fields.get("fusebox.io/breaker-jitter").and_then(|at| at.float(0.0..=1.0));
    let shadow = fields.boolean("fusebox.io/breaker-shadow").unwrap_or_default();
    let Some((is_consecutive, is_success_rate)) = kind else {
        if fields.has_prefix("fusebox.io/breaker-") && !fields.has("fusebox.io/breaker") {
            fields
                .at()
                .warn("sets fusebox.io/breaker-..., without fusebox.io/breaker there is none");
        }
        return None;
    };
    let open_max = open_max.unwrap_or(ServiceBreaker::DEFAULT.open_max.max(open_min));
    if let Some(at) = fields.get("fusebox.io/breaker-open-max").filter(|_| open_max < open_min) {
        at.error(format!("is {open_max:?}; allowed is at least breaker-open-min, {open_min:?}"));
    }
    for (name, has_use) in [
        ("fusebox.io/breaker-consecutive-failures", is_consecutive),
        ("fusebox.io/breaker-success-rate", is_success_rate),
        ("fusebox.io/breaker-window", is_success_rate),
        ("fusebox.io/breaker-min-requests", is_success_rate),
    ] {
        if let Some(at) = fields.get(name).filter(|_| !has_use) {
            at.warn("has no effect with this kind of fusebox.io/breaker");
        }
    }
    (is_consecutive || is_success_rate).then(|| ServiceBreaker {
        consecutive_failures: is_consecutive
            .then(|| failures.unwrap_or(ServiceBreaker::CONSECUTIVE_FAILURES_DEFAULT)),
        success_window: is_success_rate.then(|| SuccessWindow {
            threshold_percent: percent.unwrap_or(SuccessWindow::DEFAULT.threshold_percent),
            window: window.unwrap_or(SuccessWindow::DEFAULT.window),
            requests_min: requests_min.unwrap_or(SuccessWindow::DEFAULT.requests_min),
        }),
        open_min,
        open_max,
        jitter: jitter.unwrap_or(ServiceBreaker::DEFAULT.jitter),
        shadow,
    })
}
