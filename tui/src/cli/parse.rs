//! Values as they are typed. Each refusal says what is allowed.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use fusebox_proto::command::{ActionKind, TTL_MAX, TTL_MIN};
use fusebox_proto::policy::{Profile, WEIGHT_MAX};
use fusebox_proto::view::Stamp;
use std::time::Duration;

/// The longest demo.
const LENGTH_MAX: Duration = Duration::from_hours(24);

/// The slowest replay.
const SPEED_MIN: f64 = 0.1;
/// The fastest; without any the machine decides.
const SPEED_MAX: f64 = 1_000.0;

/// A control address.
pub(super) fn collector(text: &str) -> Result<String, String> {
    const ALLOWED: &str = "a control address is http://HOST:PORT, such as http://127.0.0.1:4319";
    let uri: tonic::transport::Uri = text.parse().map_err(|_| ALLOWED.to_owned())?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) || !is_bare {
        return Err(ALLOWED.into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// An OTLP endpoint, with or without a path.
pub(super) fn otlp(text: &str) -> Result<String, String> {
    const ALLOWED: &str = "an OTLP endpoint is http://HOST:PORT, such as http://127.0.0.1:4318";
    let uri: tonic::transport::Uri = text.parse().map_err(|_| ALLOWED.to_owned())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(ALLOWED.into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// How many times as fast.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed = text.trim_end_matches(['x', '×']).parse().ok();
    let speed = speed.filter(|speed| (SPEED_MIN..=SPEED_MAX).contains(speed));
    speed.ok_or_else(|| format!("a number from {SPEED_MIN} to {SPEED_MAX}, such as 10"))
}

/// An action, by its name.
pub(super) fn action() -> impl TypedValueParser<Value = ActionKind> {
    // In the order of the contract.
    let kinds = [ActionKind::Open, ActionKind::MuteRetries, ActionKind::Cap, ActionKind::Shed];
    PossibleValuesParser::new(kinds.map(ActionKind::as_str))
        .map(|text| ActionKind::parse(&text).expect("is one of the possible values"))
}

/// How documents are read, by its name.
pub(super) fn profile() -> impl TypedValueParser<Value = Profile> {
    let profiles = [Profile::Fusebox, Profile::IstioCompat];
    PossibleValuesParser::new(profiles.map(Profile::as_str))
        .map(|text| Profile::parse(&text).expect("is one of the possible values"))
}

/// The weight of a subset.
pub(super) fn weight(text: &str) -> Result<(String, u32), String> {
    let (subset, weight) = text.split_once('=').unwrap_or_default();
    let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    weight
        .filter(|_| !subset.is_empty())
        .map(|weight| (subset.to_owned(), weight))
        .ok_or_else(|| format!("a subset and its weight, 0 to {WEIGHT_MAX}, such as v2=10"))
}

/// A moment.
pub(super) fn instant(text: &str) -> Result<Stamp, String> {
    let stamp = Stamp::parse(text);
    stamp.ok_or_else(|| "a moment in UTC, such as 2026-11-23T14:01:52Z".to_owned())
}

/// The length of a lease.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    within(text, TTL_MIN, TTL_MAX)
}

/// The length of a demo.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), LENGTH_MAX)
}

fn within(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok();
    duration.filter(|duration| (min..=max).contains(duration)).ok_or_else(|| {
        format!("a time from {} to {} with its unit, such as 90s or 5m", time(min), time(max))
    })
}

/// A time as it is typed: `5m`, `1h30m`, `4m51s`. Below a second it has milliseconds.
pub(super) fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    let units = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let mut written = String::new();
    for (count, unit) in units.into_iter().filter(|(count, _)| 0 < *count) {
        written.push_str(&count.to_string());
        written.push_str(unit);
    }
    if written.is_empty() { "0s".to_owned() } else { written }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: times as people type them, and such that mean nothing or too much.
    /// Guarantees: units are needed, bounds hold, and what is printed can be typed.
    #[test]
    fn times_are_read_and_written() {
        let check = |text: &str, expected: Option<u64>| {
            let parsed = ttl(text);
            assert_eq!(parsed.as_ref().ok().map(Duration::as_secs), expected, "{text}");
            match parsed {
                Ok(duration) => assert_eq!(ttl(&time(duration)), Ok(duration)),
                Err(reason) => assert!(reason.contains("1s to 1h"), "{reason}"),
            }
        };
        check("1s", Some(1));
        check("90s", Some(90));
        check("5m", Some(300));
        check("1h", Some(3_600));
        check("4m51s", Some(291));
        check("4m 51s", Some(291));
        check("0s", None);
        check("999ms", None);
        check("61m", None);
        check("2h", None);
        check("5", None);
        check("-5m", None);
        check("five minutes", None);
        check("", None);
    }

    /// Scenario: weights as people type them, and such that mean nothing or too much.
    /// Guarantees: a subset and a number are needed; the refusal shows how.
    #[test]
    fn weights_are_read() {
        let check = |text: &str, expected: Option<(&str, u32)>| {
            let parsed = weight(text);
            let expected = expected.map(|(subset, weight)| (subset.to_owned(), weight));
            assert_eq!(parsed.clone().ok(), expected, "{text}");
            assert!(parsed.err().is_none_or(|reason| reason.contains("v2=10")));
        };
        check("v1=90", Some(("v1", 90)));
        check("v1=0", Some(("v1", 0)));
        check("v1=2147483647", Some(("v1", 2_147_483_647)));
        check("v1=2147483648", None);
        check("v1=-1", None);
        check("v1=10%", None);
        check("v1=", None);
        check("=1", None);
        check("v1", None);
    }

    /// Scenario: durations of every size.
    /// Guarantees: they are written without blanks, with the units that matter.
    #[test]
    fn times_are_short() {
        let check = |ms: u64, expected: &str| {
            assert_eq!(time(Duration::from_millis(ms)), expected);
        };
        check(0, "0s");
        check(84, "84ms");
        check(1_984, "1s");
        check(291_000, "4m51s");
        check(5_400_000, "1h30m");
    }

    /// Scenario: addresses with what an address must not have.
    /// Guarantees: only `http://HOST:PORT` passes, a final slash apart.
    #[test]
    fn addresses_are_read() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(collector(text).ok().as_deref(), expected, "{text}");
        };
        check("http://127.0.0.1:4319", Some("http://127.0.0.1:4319"));
        check("http://[::1]:4319/", Some("http://[::1]:4319"));
        check("http://collector.mesh:4319", Some("http://collector.mesh:4319"));
        check("https://127.0.0.1:4319", None);
        check("127.0.0.1:4319", None);
        check("http://", None);
        check("http://127.0.0.1:4319/api/v1", None);
        check("http://127.0.0.1:4319?x", None);
        check("", None);
    }
}
