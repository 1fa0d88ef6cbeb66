//! `outlierDetection`: Istio's fields, what its translation to Envoy makes of them, and what our
//! annotations add.

use super::Profile;
use super::annotations::OutlierExtension;
use super::fields::Fields;
use super::settings::{Consecutive, OutlierDetection};
use std::ops::RangeInclusive;
use std::time::Duration;

const PERCENT: RangeInclusive<u32> = 0..=100;
const MS: Duration = Duration::from_millis(1);
/// Envoy's defaults, which Istio leaves alone.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
const EJECTION_TIME_BASE_DEFAULT: Duration = Duration::from_secs(30);
const EJECTION_TIME_MAX_DEFAULT: Duration = Duration::from_mins(5);
const EJECTION_PERCENT_MAX_DEFAULT: u8 = 10;
const CONSECUTIVE_DEFAULT: u32 = 5;
/// Below half of the endpoints the load of the others is the larger danger: bare Envoy's default.
const PANIC_PERCENT_DEFAULT: u8 = 50;

/// Reads an `outlierDetection`.
pub(super) fn read(
    fields: Fields<'_>,
    profile: Profile,
    extension: &OutlierExtension,
) -> OutlierDetection {
    let base = fields.duration("baseEjectionTime", MS).unwrap_or(EJECTION_TIME_BASE_DEFAULT);
    let (ejection_percent_max, always_eject_one) = ejection_percent(&fields, profile);
    let split_local_origin = fields.boolean("splitExternalLocalOriginErrors").unwrap_or_default();
    let mut detection = OutlierDetection {
        interval: fields.duration("interval", MS).unwrap_or(INTERVAL_DEFAULT),
        ejection_time_base: base,
        ejection_time_max: extension
            .ejection_time_max
            .unwrap_or(EJECTION_TIME_MAX_DEFAULT.max(base)),
        ejection_time_jitter_max: extension.ejection_time_jitter_max.unwrap_or_default(),
        ejection_percent_max,
        always_eject_one: extension.always_eject_one.unwrap_or(always_eject_one),
        panic_percent: panic_percent(&fields, profile, extension, ejection_percent_max),
        split_local_origin,
        error_statuses: error_statuses(&fields),
        consecutive_errors: None,
        consecutive_gateway_errors: None,
        consecutive_local_origin_failures: None,
        success_rate: extension.success_rate,
        failure_percentage: extension.failure_percentage,
    };
    consecutive(&fields, &mut detection, extension);
    if extension.shadow {
        shadow(&mut detection);
    }
    fields.finish(&[]);
    detection
}

fn consecutive(
    fields: &Fields<'_>,
    detection: &mut OutlierDetection,
    extension: &OutlierExtension,
) {
    let rule = |threshold: u32, enforcing: Option<u8>| {
        let enforcing_percent = enforcing.unwrap_or(100);
        (threshold != 0).then_some(Consecutive { threshold, enforcing_percent })
    };
    let errors = fields.uint("consecutive5xxErrors", 0..=u32::MAX).unwrap_or(CONSECUTIVE_DEFAULT);
    detection.consecutive_errors = rule(errors, extension.enforcing_5xx);

    let old = fields.get("consecutiveErrors");
    let old_count = old.as_ref().and_then(|at| at.uint(0..=u32::MAX));
    let gateway = fields.get("consecutiveGatewayErrors");
    if let Some(at) = &old {
        at.warn("is deprecated: it counts as consecutiveGatewayErrors, which goes before it");
    }
    let gateway_count = gateway.as_ref().and_then(|at| at.uint(0..=u32::MAX)).or(old_count);
    let threshold = gateway_count.unwrap_or_default();
    if let Some(at) = gateway.as_ref().or(old.as_ref())
        && threshold != 0
        && errors != 0
        && errors <= threshold
    {
        at.warn(format!(
            "is {threshold} and never decides: consecutive5xxErrors {errors} counts them, too"
        ));
    }
    detection.consecutive_gateway_errors = rule(threshold, extension.enforcing_gateway);

    let local = fields.get("consecutiveLocalOriginFailures");
    let local_count = local.as_ref().and_then(|at| at.uint(0..=u32::MAX));
    if detection.split_local_origin {
        let threshold = local_count.unwrap_or(CONSECUTIVE_DEFAULT);
        detection.consecutive_local_origin_failures =
            rule(threshold, extension.enforcing_local_origin);
    } else if let Some(at) = &local {
        at.warn("has no effect without splitExternalLocalOriginErrors: true");
    }
}

/// `maxEjectionPercent`, and whether one endpoint can always be ejected.
fn ejection_percent(fields: &Fields<'_>, profile: Profile) -> (u8, bool) {
    let at = fields.get("maxEjectionPercent");
    let percent = at.as_ref().and_then(|at| at.uint(PERCENT)).map(|percent| percent as u8);
    if profile == Profile::IstioCompat {
        let percent = percent.filter(|&percent| percent != 0);
        return (percent.unwrap_or(EJECTION_PERCENT_MAX_DEFAULT), false);
    }
    if at.is_some() && percent.is_none() {
        return (EJECTION_PERCENT_MAX_DEFAULT, true);
    }
    let at = at.as_ref().unwrap_or(fields.at());
    match percent {
        Some(0) => {
            at.note("is 0: nothing is ejected; Istio would take it for 10");
            (0, false)
        }
        percent => {
            let percent = percent.unwrap_or(EJECTION_PERCENT_MAX_DEFAULT);
            if percent < 100 {
                at.note(format!(
                    "allows {percent} % of the endpoints to be ejected, which is none of fewer than {}: \
                     Istio would never eject there, this profile always ejects one",
                    100_u32.div_ceil(percent.into())
                ));
            }
            (percent, true)
        }
    }
}

fn panic_percent(
    fields: &Fields<'_>,
    profile: Profile,
    extension: &OutlierExtension,
    ejection_percent_max: u8,
) -> u8 {
    let given = fields.uint("minHealthPercent", PERCENT).map(|percent| percent as u8);
    let given = given.filter(|&percent| percent != 0).or(extension.panic_percent);
    match (given, profile) {
        (Some(percent), _) => extension.panic_percent.unwrap_or(percent),
        (None, Profile::IstioCompat) => 0,
        (None, Profile::Fusebox) => {
            // Whoever allows more than half to be ejected has said what comes first.
            let percent = PANIC_PERCENT_DEFAULT.min(100 - ejection_percent_max);
            if percent != 0 {
                fields.at().note(format!(
                    "has no minHealthPercent: with less than {percent} % of the endpoints left this \
                     profile ignores ejections, Istio would not"
                ));
            }
            percent
        }
    }
}

fn error_statuses(fields: &Fields<'_>) -> Vec<(u16, u16)> {
    let Some(at) = fields.get("outlierDetectionHttpErrorCodes") else { return Vec::new() };
    let mut statuses: Vec<u16> =
        at.items().filter_map(|at| at.uint(100..=599)).map(|status| status as u16).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for status in statuses {
        match ranges.last_mut() {
            Some((_, high)) if *high + 1 == status => *high = status,
            _ => ranges.push((status, status)),
        }
    }
    ranges
}

fn shadow(detection: &mut OutlierDetection) {
    let consecutive = [
        &mut detection.consecutive_errors,
        &mut detection.consecutive_gateway_errors,
        &mut detection.consecutive_local_origin_failures,
    ];
    for rule in consecutive.into_iter().flatten() {
        rule.enforcing_percent = 0;
    }
    if let Some(rule) = &mut detection.success_rate {
        (rule.enforcing_percent, rule.enforcing_local_origin_percent) = (0, 0);
    }
    if let Some(rule) = &mut detection.failure_percentage {
        (rule.enforcing_percent, rule.enforcing_local_origin_percent) = (0, 0);
    }
}
