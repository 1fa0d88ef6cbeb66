//! Members of different weights.

/// Cumulative weights of the members that may be chosen.
#[derive(Debug)]
pub(super) struct Shares(Vec<u64>);

impl Shares {
    /// `None`: all are the same, or there are none.
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Option<Self> {
        let (mut sum, mut first, mut differ) = (0, None, false);
        let add = |weight: u32| {
            differ |= *first.get_or_insert(weight) != weight;
            sum += u64::from(weight);
            sum
        };
        let cumulative: Vec<u64> = weights.map(add).collect();
        differ.then_some(Self(cumulative))
    }

    /// The place that `point`, 0…1, falls on: each as often as its weight says.
    pub(super) fn at(&self, point: f64) -> usize {
        let sum = self.0.last().copied().unwrap_or_default();
        // The cast saturates: NaN and what lies below 0 count as 0.
        let reached = (point * sum as f64) as u64;
        self.0.partition_point(|upto| *upto <= reached).min(self.0.len().saturating_sub(1))
    }
}
