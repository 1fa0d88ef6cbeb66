//! What is usual of a series, for the process after this one.

use super::hours::{Hours, Level};
use super::quantile::Quantile;
use super::usual::UsualLatency;
use super::{P50, P99, Series};
use serde::{Deserialize, Serialize};

/// Of older ones only the hours of the week are told: what was usual then need not be now.
const SECONDS_MAX: u64 = 7 * 86_400;

/// What is usual of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesBaseline {
    /// It was learned up to here, Unix time in seconds.
    pub to_second: u64,
    /// Whether proxies measured it; else spans told it.
    pub is_measured: bool,
    /// The latencies of the last hours.
    pub usual: UsualBaseline,
    /// How the p99 wandered.
    pub tail: QuantileBaseline,
    /// How the median wandered.
    pub middle: QuantileBaseline,
    /// Hours of the last weeks.
    pub hours: Vec<Level>,
}

/// The latencies of the last hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsualBaseline {
    /// (highest latency of the bucket in µs, weight)
    pub buckets: Vec<(u32, f32)>,
    /// Requests that were counted, the older the less.
    pub requests: f64,
    /// Those of them that were really seen.
    pub seen: f64,
    /// Of so many seconds, the older the less.
    pub seconds: f64,
    /// Minutes that were counted.
    pub minutes: u64,
}

/// How a quantile wandered in the last hour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantileBaseline {
    /// Of each minute the share beyond what was taken for usual.
    pub beyond: Vec<f32>,
    /// Of each minute ln of the quantile, and the variance of that.
    pub heights: Vec<(f32, f32)>,
}

impl Series {
    /// What is usual, to be kept; `None` where too little is known.
    pub(crate) fn keep(&self, to_second: u64, is_measured: bool) -> Option<SeriesBaseline> {
        let hours = self.hours.levels();
        (self.usual.is_known() || !hours.is_empty()).then(|| SeriesBaseline {
            to_second,
            is_measured,
            usual: self.usual.keep(),
            tail: self.tail.keep(),
            middle: self.middle.keep(),
            hours,
        })
    }

    /// A series of which this was usual before `now_second`.
    pub(crate) fn resumed(kept: &SeriesBaseline, now_second: u64) -> Self {
        let mut series = Self { hours: Hours::restored(&kept.hours), ..Self::default() };
        if now_second <= kept.to_second.saturating_add(SECONDS_MAX) {
            series.usual = UsualLatency::restored(&kept.usual);
            series.tail = Quantile::restored(P99, &kept.tail);
            series.middle = Quantile::restored(P50, &kept.middle);
            series.aim();
        }
        series
    }
}

/// A figure with four digits: more would be noise that takes room.
pub(in crate::detect) fn rounded(figure: f32) -> f32 {
    format!("{figure:.3e}").parse().unwrap_or(figure)
}
