//! `retries`, and what happens where there are none.

use super::Profile;
use super::at::At;
use super::fields::Fields;
use super::route::{Retries, RetryCondition, RetryOn};
use std::time::Duration;

/// More retries than this are a storm by themselves.
const RETRIES_MAX: u32 = 100;
/// Istio's default, where a rule does not say `retries`: twice.
const ISTIO_RETRIES: u32 = 2;
/// Istio's `retryOn` where none is named.
const ISTIO_ON: &str = "connect-failure,refused-stream,unavailable,cancelled";
/// Envoy's.
pub(super) const BACKOFF_BASE: Duration = Duration::from_millis(25);
const MS: Duration = Duration::from_millis(1);

const CONDITIONS: [(&str, RetryCondition); 12] = [
    ("5xx", RetryCondition::ServerError),
    ("gateway-error", RetryCondition::GatewayError),
    ("reset", RetryCondition::Reset),
    ("reset-before-request", RetryCondition::ResetBeforeRequest),
    ("connect-failure", RetryCondition::ConnectFailure),
    ("retriable-4xx", RetryCondition::Retriable4xx),
    ("refused-stream", RetryCondition::RefusedStream),
    ("cancelled", RetryCondition::Cancelled),
    ("deadline-exceeded", RetryCondition::DeadlineExceeded),
    ("resource-exhausted", RetryCondition::ResourceExhausted),
    ("internal", RetryCondition::Internal),
    ("unavailable", RetryCondition::Unavailable),
];

/// Words that Istio takes and that have no effect here.
const UNSUPPORTED: [&str; 4] = [
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "retriable-headers",
    "retriable-status-codes",
];

/// What Istio does where nobody says `retries`; the default profile does not.
pub(super) fn unasked(profile: Profile) -> Option<Retries> {
    (profile == Profile::IstioCompat).then(|| Retries {
        retries_max: ISTIO_RETRIES,
        per_try_timeout: None,
        on: RetryOn {
            conditions: vec![
                RetryCondition::ConnectFailure,
                RetryCondition::RefusedStream,
                RetryCondition::Unavailable,
                RetryCondition::Cancelled,
            ],
            statuses: Vec::new(),
        },
        backoff_base: BACKOFF_BASE,
    })
}

/// The note where a rule says nothing.
pub(super) fn say_unasked(at: &At<'_>, profile: Profile) {
    if profile == Profile::Fusebox {
        at.note(format!(
            "has no retries: Istio would retry twice here ({ISTIO_ON}), this profile \
             does not"
        ));
    }
}

/// The `retries` of a rule that forwards (or does not).
pub(super) fn of_rule(rule: &Fields<'_>, is_forwarded: bool, profile: Profile) -> Option<Retries> {
    let Some(fields) = rule.object("retries") else {
        if !is_forwarded || rule.has("retries") {
            return None;
        }
        say_unasked(rule.at(), profile);
        return unasked(profile);
    };
    let attempts = fields.uint("attempts", 0..=RETRIES_MAX);
    let per_try_timeout = fields.duration("perTryTimeout", MS);
    let on = match fields.get("retryOn") {
        Some(at) => retry_on(&at),
        None => unasked(Profile::IstioCompat).map(|istio| istio.on).unwrap_or_default(),
    };
    let backoff_base = fields.duration("backoff", MS).unwrap_or(BACKOFF_BASE);
    if fields.boolean("retryIgnorePreviousHosts") == Some(false) {
        fields.at().warn("has retryIgnorePreviousHosts: false, which has no effect: a retry goes to another endpoint where there is one");
    }
    if attempts.is_none() && !fields.has("attempts") {
        fields.at().warn("has no attempts, which is 0: nothing is retried, as in Istio");
    }
    if !is_forwarded {
        fields.at().warn("has no effect on a rule that forwards nothing");
    }
    fields.finish(&["retryRemoteLocalities"]);
    let retries_max = attempts.filter(|&attempts| attempts != 0 && is_forwarded)?;
    Some(Retries { retries_max, per_try_timeout, on, backoff_base })
}

fn retry_on(at: &At<'_>) -> RetryOn {
    let mut on = RetryOn::default();
    for word in at.text().unwrap_or_default().split(',').map(str::trim) {
        let known = CONDITIONS.iter().find(|(name, _)| *name == word);
        let status = word.parse().ok().filter(|status| (100..=599).contains(status));
        if let Some((_, condition)) = known {
            on.conditions.extend(Some(*condition).filter(|condition| !on.has(*condition)));
        } else if let Some(status) = status {
            let range = (status, status);
            on.statuses.extend(Some(range).filter(|range| !on.statuses.contains(range)));
        } else if UNSUPPORTED.contains(&word) {
            at.warn(format!("names {word}, which is not supported and has no effect"));
        } else {
            let names: Vec<&str> = CONDITIONS.iter().map(|(name, _)| *name).collect();
            at.error(format!(
                "names {word}; allowed are {} and statuses, 100 to 599",
                names.join(", ")
            ));
        }
    }
    on
}
