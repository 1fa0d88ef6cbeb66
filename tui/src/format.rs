//! Figures for people: short, aligned, with their unit.

use fusebox_proto::view::Stamp;
use std::time::Duration;
use unicode_width::UnicodeWidthStr as _;

/// What stands where nothing is known.
pub const UNKNOWN: &str = "·";

/// A rate or count in at most five cells: `0.4`, `12`, `408`, `3.9k`, `12k`, `1.2M`.
pub fn count(value: f64) -> String {
    let v = value.abs();
    match v {
        _ if !value.is_finite() => UNKNOWN.into(),
        _ if v < 0.05 => "0".into(),
        _ if v < 9.95 => format!("{value:.1}"),
        _ if v < 999.5 => format!("{value:.0}"),
        _ if v < 9_950.0 => format!("{:.1}k", value / 1e3),
        _ if v < 999_500.0 => format!("{:.0}k", value / 1e3),
        _ if v < 9.95e6 => format!("{:.1}M", value / 1e6),
        _ if v < 9.995e8 => format!("{:.0}M", value / 1e6),
        _ => format!("{value:.0e}"),
    }
}

/// A figure in a sentence: `9.8`, `3,890`.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return UNKNOWN.into();
    }
    if value.abs() < 99.95 {
        return format!("{value:.1}");
    }
    thousands(value.round())
}

/// A whole number in a sentence: `61`, `1,940`.
pub fn whole(count: u64) -> String {
    thousands(count as f64)
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::with_capacity(digits.len() * 4 / 3 + 1);
    if value < 0.0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share 0…1 as a percentage without its sign: `0`, `0.3`, `18.2`, `61.4`, `100`.
pub fn percent(ratio: f64) -> String {
    let v = ratio * 100.0;
    match v {
        _ if !v.is_finite() => UNKNOWN.into(),
        _ if v < 0.05 => "0".into(),
        _ if v < 99.95 => format!("{v:.1}"),
        _ => format!("{v:.0}"),
    }
}

/// A share 0…1 in at most four cells, with its sign: `0.3%`, `61%`.
pub fn percent_short(ratio: f64) -> String {
    let v = ratio * 100.0;
    match v {
        _ if !v.is_finite() => UNKNOWN.into(),
        _ if v < 0.05 => "0%".into(),
        _ if v < 9.95 => format!("{v:.1}%"),
        _ => format!("{v:.0}%"),
    }
}

/// Milliseconds in at most five cells: `0.4ms`, `41ms`, `2.9s`, `12s`, `3m`.
pub fn millis(ms: f64) -> String {
    match ms {
        _ if !ms.is_finite() => UNKNOWN.into(),
        _ if ms < 0.95 => format!("{ms:.1}ms"),
        _ if ms < 999.5 => format!("{ms:.0}ms"),
        _ if ms < 9_950.0 => format!("{:.1}s", ms / 1e3),
        _ if ms < 99_500.0 => format!("{:.0}s", ms / 1e3),
        _ => format!("{:.0}m", ms / 60e3),
    }
}

/// `f` of a value, or [`UNKNOWN`].
pub fn known(value: Option<f64>, f: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| UNKNOWN.into(), f)
}

/// An age in words: `now`, `39 s`, `4 min`, `3 h`, `2 d`.
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        0 => "now".into(),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// A lease's time left: `4:51`, `0:09`, `1:00:00`.
pub fn countdown(left: Duration) -> String {
    let s = left.as_secs();
    if s < 3_600 {
        format!("{}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
    }
}

/// The time of day of a stamp, UTC: `14:02:31`.
pub fn clock(at: Stamp) -> String {
    let s = at.0 / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

/// Words in lines of at most `width` cells, at most `lines_max` of them; the last one keeps the
/// rest, to be cut where it is drawn.
pub fn wrap(text: &str, width: u16, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let is_last = lines.len() == lines_max;
        match lines.last_mut() {
            Some(line) if is_last || line.width() + 1 + word.width() <= usize::from(width) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The figures of one piece of evidence in its unit: `9.8×`, `61.4 %`, `3,890 /s`, `2.95 s`.
pub fn evidence(value: Option<f64>, unit: &str) -> String {
    let Some(value) = value else { return UNKNOWN.into() };
    match unit {
        "×" => format!("{}×", figure(value)),
        "ms" if 1_000.0 <= value => format!("{:.2} s", value / 1e3),
        "ms" => format!("{value:.0} ms"),
        "%" => format!("{} %", figure(value)),
        "/s" => format!("{} /s", figure(value)),
        "" => figure(value),
        other => format!("{} {other}", figure(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: figures around each change of unit, and values that no service has.
    /// Guarantees: at most five cells, no rounding into a sixth, nothing invented for what is not
    /// a number.
    #[test]
    fn figures_are_short() {
        let check = |value: f64, expected: [&str; 3]| {
            assert_eq!([count(value), percent_short(value), millis(value)], expected);
        };
        check(0.0, ["0", "0%", "0.0ms"]);
        check(0.614, ["0.6", "61%", "0.6ms"]);
        check(9.96, ["10", "996%", "10ms"]);
        check(999.7, ["1.0k", "99970%", "1.0s"]);
        check(3_890.0, ["3.9k", "389000%", "3.9s"]);
        check(999_600.0, ["1.0M", "99960000%", "17m"]);
        check(f64::NAN, [UNKNOWN; 3]);
    }

    /// Scenario: ages and times left.
    /// Guarantees: units change where the next one says more, and a lease reads like a clock.
    #[test]
    fn times_read_like_a_clock() {
        let check = |s: u64, expected: [&str; 2]| {
            let d = Duration::from_secs(s);
            assert_eq!([age(d), countdown(d)], expected);
        };
        check(0, ["now", "0:00"]);
        check(39, ["39 s", "0:39"]);
        check(291, ["4 min", "4:51"]);
        check(7_300, ["2 h", "2:01:40"]);
        assert_eq!(clock(Stamp(50_551_000)), "14:02:31");
    }

    /// Scenario: evidence in each unit that detectors use.
    /// Guarantees: long latencies become seconds, large counts get separators.
    #[test]
    fn evidence_speaks_its_unit() {
        let check = |value, unit, expected: &str| assert_eq!(evidence(value, unit), expected);
        check(Some(9.8), "×", "9.8×");
        check(Some(3_890.2), "/s", "3,890 /s");
        check(Some(41.0), "ms", "41 ms");
        check(Some(2_950.0), "ms", "2.95 s");
        check(Some(61.4), "%", "61.4 %");
        check(Some(12_345_678.0), "requests", "12,345,678 requests");
        check(None, "%", UNKNOWN);
    }
}
