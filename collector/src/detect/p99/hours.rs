//! What each hour of the week has: what comes at the same hour every week is no news.
//!
//! Of each hour of the last four weeks two figures are left: the highest p99 and the highest median
//! of its parts, with the upper bounds of both ([`rank`]); a job does not begin on the stroke, and
//! lasts as long as it lasts. An hour is usually as high as it was in the middle one of the three weeks before; a
//! series that is not known for three weeks yet, as the lowest of the three days before. So one bad
//! hour makes none of its kind usual. Unlike the hours just gone ([`super::usual`]) these take in
//! also what was slow: that the same happens again is what they are for. Hours are UTC's
//! (detection.md §2.3, step 2).

use super::rank;
use crate::store::SparseLatency;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const HOUR_SECONDS: u64 = 3_600;
const PART_SECONDS: u64 = 600;
const DAY_HOURS: u32 = 24;
const WEEK_HOURS: u32 = 7 * DAY_HOURS;
/// So many weeks are looked back.
const WEEKS: u32 = 4;
/// An hour of fewer requests says nothing: three of them are three thousand.
const SAMPLES_MIN: f64 = 1_000.0;

/// One hour of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32, u32)", into = "(u32, u32, u32)")]
pub struct Level {
    /// Which: hours of Unix time.
    pub hour: u32,
    /// The p99 was nowhere in it higher, µs.
    pub p99_us: u32,
    /// The median was nowhere in it higher, µs.
    pub p50_us: u32,
}

impl From<(u32, u32, u32)> for Level {
    fn from((hour, p99_us, p50_us): (u32, u32, u32)) -> Self {
        Self { hour, p99_us, p50_us }
    }
}

impl From<Level> for (u32, u32, u32) {
    fn from(level: Level) -> Self {
        (level.hour, level.p99_us, level.p50_us)
    }
}

/// The hours of one series.
#[derive(Clone, Debug, Default)]
pub(super) struct Hours {
    /// The part that is not over, in parts of Unix time, and what it has so far.
    part: u64,
    latency: SparseLatency,
    seen: f64,
    /// The hour that is not over: the parts of it that are, and requests in them.
    level: Level,
    level_seen: f64,
    /// By hour; each at most once.
    levels: VecDeque<Level>,
}

impl Hours {
    /// As they were kept.
    pub(super) fn restored(levels: &[Level]) -> Self {
        let mut levels = levels.to_vec();
        levels.sort_by_key(|level| level.hour);
        levels.dedup_by_key(|level| level.hour);
        Self { levels: levels.into(), ..Self::default() }
    }

    /// To be kept.
    pub(super) fn levels(&self) -> Vec<Level> {
        self.levels.iter().copied().collect()
    }

    /// Takes a second; whether it is the first of its hour. `seen_share`: of the latencies that are
    /// counted, so many were really seen.
    pub(super) fn learn(
        &mut self,
        second: u64,
        latency: Option<&SparseLatency>,
        seen_share: f64,
    ) -> bool {
        let part = second / PART_SECONDS;
        if part != self.part {
            self.end_part();
            self.part = part;
        }
        let hour = u32::try_from(second / HOUR_SECONDS).unwrap_or(u32::MAX);
        let is_new = hour != self.level.hour;
        if is_new {
            self.end_hour();
            self.level = Level { hour, ..Level::default() };
            self.levels.retain(|level| hour <= level.hour.saturating_add(WEEKS * WEEK_HOURS));
        }
        if let Some(latency) = latency {
            self.seen += latency.count() as f64 * seen_share;
            self.latency.merge(latency);
        }
        is_new
    }

    fn end_part(&mut self) {
        let seen = self.seen;
        let share = seen / (self.latency.count() as f64).max(1.0);
        let upper_us = |q| {
            // Of those that were seen; each stands for as many of those that are counted.
            let rank = (rank::upper(seen, q)? as f64 / share) as u64;
            self.latency.ranked_us(rank).map(|us| u32::try_from(us).unwrap_or(u32::MAX))
        };
        if let (Some(p99_us), Some(p50_us)) = (upper_us(0.99), upper_us(0.5)) {
            self.level.p99_us = self.level.p99_us.max(p99_us);
            self.level.p50_us = self.level.p50_us.max(p50_us);
            self.level_seen += seen;
        }
        self.latency.clear();
        self.seen = 0.0;
    }

    fn end_hour(&mut self) {
        let is_next = self.levels.back().is_none_or(|last| last.hour < self.level.hour);
        if SAMPLES_MIN <= self.level_seen && is_next {
            self.levels.push_back(self.level);
        }
        self.level_seen = 0.0;
    }

    /// What is usual at this hour; `None` where that is not known.
    pub(super) fn usual(&self) -> Option<Level> {
        let before = |hours: u32| {
            let hour = self.level.hour.checked_sub(hours)?;
            let at = self.levels.binary_search_by_key(&hour, |level| level.hour).ok()?;
            self.levels.get(at)
        };
        let weeks: Vec<&Level> =
            (1..=WEEKS).filter_map(|weeks| before(weeks * WEEK_HOURS)).take(3).collect();
        if weeks.len() == 3 {
            return Some(self.height(&weeks, 1));
        }
        let days: Option<Vec<&Level>> = (1..=3).map(|days| before(days * DAY_HOURS)).collect();
        days.map(|days| self.height(&days, 0))
    }

    /// The `nth` lowest of some levels, for each quantile.
    fn height(&self, levels: &[&Level], nth: usize) -> Level {
        let nth_of = |us_of: fn(&Level) -> u32| {
            let mut all: Vec<u32> = levels.iter().map(|level| us_of(level)).collect();
            all.sort_unstable();
            all.get(nth).copied().unwrap_or_default()
        };
        let (p99_us, p50_us) = (nth_of(|level| level.p99_us), nth_of(|level| level.p50_us));
        Level { hour: self.level.hour, p99_us, p50_us }
    }

    /// Above what is usual at an hour lies no more than this share of it.
    pub(super) fn share_above(q: f64) -> f64 {
        rank::share_upper((1.0 - q) * SAMPLES_MIN, SAMPLES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 2024-01-01, 00:00 UTC, in hours.
    const MONDAY: u32 = 473_352;

    /// Hours of so many requests, of which every fiftieth takes `tail_us`.
    fn lived(hours: &[(u32, u64, u64)]) -> Hours {
        let mut all = Hours::default();
        for &(hour, requests, tail_us) in hours {
            let mut latency = SparseLatency::of_us(1_000, requests - requests / 50);
            latency.merge(&SparseLatency::of_us(tail_us, requests / 50));
            all.learn(u64::from(hour) * HOUR_SECONDS, Some(&latency), 1.0);
        }
        all
    }

    /// Scenario: the same hour of some weeks and days before, high, low and missing ones.
    /// Guarantees: three weeks of the last four count, by their middle; before there are three, three
    /// days in a row, by their lowest; an hour of few requests counts as missing; what is older than
    /// four weeks is forgotten.
    #[test]
    fn usual_hours() {
        let check = |before: &[(u32, u64)], expected_ms: Option<u64>, why: &str| {
            let mut hours: Vec<_> =
                before.iter().map(|(hours, ms)| (MONDAY - hours, 5_000, ms * 1_000)).collect();
            hours.push((MONDAY, 50, 1_000));
            let usual_ms = lived(&hours).usual().map(|usual| u64::from(usual.p99_us) / 1_000);
            assert_eq!(usual_ms, expected_ms, "{why}: {before:?}");
        };
        check(
            &[(3 * WEEK_HOURS, 80), (2 * WEEK_HOURS, 90), (WEEK_HOURS, 100)],
            Some(90),
            "three weeks",
        );
        check(
            &[(3 * WEEK_HOURS, 10), (2 * WEEK_HOURS, 900), (WEEK_HOURS, 20)],
            Some(20),
            "one of them was bad",
        );
        check(
            &[(4 * WEEK_HOURS, 80), (2 * WEEK_HOURS, 90), (WEEK_HOURS, 100)],
            Some(90),
            "one of four is missing",
        );
        check(
            &[(5 * WEEK_HOURS, 80), (2 * WEEK_HOURS, 90), (WEEK_HOURS, 100)],
            None,
            "too long ago",
        );
        check(&[(2 * WEEK_HOURS, 90), (WEEK_HOURS, 100)], None, "two weeks only");
        check(&[(72, 60), (48, 40), (24, 50)], Some(40), "three days");
        check(&[(72, 60), (48, 1), (24, 50)], Some(1), "not on each of them");
        check(&[(96, 60), (48, 40), (24, 50)], None, "a day is missing");
        let few = [(MONDAY - 72, 5_000, 9), (MONDAY - 48, 900, 9), (MONDAY - 24, 5_000, 9)];
        assert_eq!(lived(&few).usual(), None, "few requests");
    }

    /// Scenario: a job that lasts ten minutes of an hour, on three days.
    /// Guarantees: the hour is as high as the job makes it, not as all of it together.
    #[test]
    fn a_part_of_an_hour_counts() {
        let mut hours = Hours::default();
        for day in (0..3).rev() {
            for second in 0..HOUR_SECONDS {
                let is_job = (1_200..1_800).contains(&second);
                let latency = SparseLatency::of_us(if is_job { 9_000 } else { 1_000 }, 10);
                let start = u64::from(MONDAY - 24 - day * 24) * HOUR_SECONDS;
                hours.learn(start + second, Some(&latency), 1.0);
            }
        }
        hours.learn(u64::from(MONDAY) * HOUR_SECONDS, None, 1.0);
        let usual = hours.usual().map(|usual| (usual.p99_us / 1_000, usual.p50_us / 1_000));
        assert_eq!(usual, Some((9, 9)));
    }

    /// Scenario: hours are kept and read back, out of order and twice; then the clock goes back.
    /// Guarantees: they say the same; an hour that was there already is not taken again.
    #[test]
    fn hours_are_kept() {
        let hours = [(MONDAY - 72, 5_000, 60_000), (MONDAY - 48, 5_000, 60_000)];
        let mut before = lived(&[&hours[..], &[(MONDAY - 24, 5_000, 60_000)]].concat());
        assert!(before.learn(u64::from(MONDAY) * HOUR_SECONDS, None, 1.0));
        let mut levels = before.levels();
        assert_eq!(levels.len(), 3);
        levels.reverse();
        levels.push(levels[0]);
        let mut after = Hours::restored(&levels);
        assert!(after.learn(u64::from(MONDAY) * HOUR_SECONDS, None, 1.0));
        assert_eq!(after.usual(), before.usual());
        assert!(after.usual().is_some());
        let latency = SparseLatency::of_us(9_000, 5_000);
        after.learn(u64::from(MONDAY - 48) * HOUR_SECONDS, Some(&latency), 1.0);
        after.learn(u64::from(MONDAY) * HOUR_SECONDS, None, 1.0);
        assert_eq!(after.levels(), before.levels());
    }
}
