//! What is usual on an edge: an envelope of minutes, so that what one edge always does is no news.

use super::p99::rounded;
use std::collections::VecDeque;

/// Seconds of one block.
pub(crate) const BLOCK_SECONDS: u64 = 60;
/// Blocks that are remembered: four hours.
const BLOCKS_MAX: usize = 240;
/// The newest minutes outlive the process: an hour.
pub(crate) const KEPT_MINUTES: usize = 60;
/// A block of fewer attempts says nothing.
const BLOCK_ATTEMPTS_MIN: f64 = 20.0;
/// After so many seconds what was learned counts half.
const HALF_LIFE_S: f64 = 6.0 * 3_600.0;
/// The envelope: all but the worst 2.5 % of blocks lie below.
const QUANTILE: f64 = 0.975;

/// So much of what was learned counts after so many seconds more, 0 … 1.
pub(crate) fn kept_after(seconds: u64) -> f64 {
    0.5_f64.powf(seconds as f64 / HALF_LIFE_S)
}

/// The ratio of two counts, minute by minute, over the last hours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelope {
    blocks: VecDeque<f32>,
    numerator: f64,
    denominator: f64,
    seconds: u64,
}

impl Envelope {
    /// As it was kept. What cannot be is left out.
    pub(crate) fn restored(ratios: &[f32]) -> Self {
        let is_sound = |ratio: &&f32| ratio.is_finite() && 0.0 <= **ratio;
        let blocks = ratios.iter().filter(is_sound).take(BLOCKS_MAX).copied().collect();
        Self { blocks, ..Self::default() }
    }

    /// The newest minutes, to be kept.
    pub(crate) fn keep(&self) -> Vec<f32> {
        let newest = self.blocks.iter().skip(self.blocks.len().saturating_sub(KEPT_MINUTES));
        newest.copied().map(rounded).collect()
    }

    /// Takes one second in which nothing was wrong.
    pub(crate) fn add(&mut self, numerator: f64, denominator: f64) {
        self.numerator += numerator;
        self.denominator += denominator;
        self.seconds += 1;
        if self.seconds < BLOCK_SECONDS {
            return;
        }
        self.add_block(self.numerator, self.denominator);
        self.discard();
    }

    /// Takes a whole block in which nothing was wrong.
    pub(crate) fn add_block(&mut self, numerator: f64, denominator: f64) {
        if BLOCK_ATTEMPTS_MIN <= denominator {
            if BLOCKS_MAX <= self.blocks.len() {
                self.blocks.pop_front();
            }
            self.blocks.push_back((numerator / denominator) as f32);
        }
    }

    /// Forgets the block that has begun: something was wrong in it.
    pub(crate) const fn discard(&mut self) {
        self.numerator = 0.0;
        self.denominator = 0.0;
        self.seconds = 0;
    }

    /// The ratio that all but the worst blocks stay below; `None` before the first block.
    pub(crate) fn upper(&self) -> Option<f64> {
        let mut blocks: Vec<f32> = self.blocks.iter().copied().collect();
        let index = (QUANTILE * blocks.len() as f64).ceil() as usize;
        let index = index.checked_sub(1)?;
        let (_, upper, _) = blocks.select_nth_unstable_by(index, f32::total_cmp);
        Some(f64::from(*upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: minutes of known ratios, one of them cut short by an incident.
    /// Guarantees: the envelope is near the worst usual minute, and without the incident's.
    #[test]
    fn envelope_of_minutes() {
        let mut envelope = Envelope::default();
        assert_eq!(envelope.upper(), None);
        let minute = |envelope: &mut Envelope, ratio: f64, seconds: u64| {
            (0..seconds).for_each(|_| envelope.add(ratio * 100.0, 100.0));
        };
        minute(&mut envelope, 0.02, 60);
        minute(&mut envelope, 0.9, 30);
        envelope.discard();
        minute(&mut envelope, 0.25, 60);
        assert!((envelope.upper().unwrap() - 0.25).abs() < 1e-6);
        (0..100).for_each(|_| minute(&mut envelope, 0.05, 60));
        assert!((envelope.upper().unwrap() - 0.05).abs() < 1e-6, "one bad minute in a hundred");
    }
}
