//! Mergeable latency windows.

use crate::Invalid;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

/// Longer latencies count as this: one hour, in microseconds.
pub const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Significant decimal digits: quantiles are right to 1 %.
const DIGITS: u8 = 2;

/// A serialised histogram larger than this is refused. A full one of two digits has 30 KiB.
pub const LATENCY_BYTES_MAX: usize = 64 * 1024;

/// More in one window is refused, as of other counts: sums stay far below an overflow.
const COUNT_MAX: u64 = 1 << 40;

/// First word of the uncompressed V2 format.
const COOKIE: u32 = 0x1c84_9313;
/// Cookie, length of the payload, offset, digits, lowest, highest, ratio.
const HEADER_LEN: usize = 40;

/// Latencies of one window, in microseconds, as an HDR histogram of two significant digits.
/// Merging is commutative and associative.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("constant bounds"))
    }
}

impl Latency {
    /// Counts one latency.
    pub fn record_us(&mut self, latency_us: u64) {
        self.record_n_us(latency_us, 1);
    }

    /// Counts `n` equal latencies.
    pub fn record_n_us(&mut self, latency_us: u64, n: u64) {
        self.0.saturating_record_n(latency_us.clamp(1, LATENCY_US_MAX), n);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all windows have the same bounds");
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency below which the share `q` of all lie; `None` where nothing was counted.
    pub fn quantile_us(&self, q: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.value_at_quantile(q))
    }

    /// As [`quantile_us`](Self::quantile_us) in milliseconds, and `None` below `samples_min`:
    /// 299 for a p99, 59 for a p95, 5 for a p50, so that the figure means something.
    pub fn quantile_ms(&self, q: f64, samples_min: u64) -> Option<f64> {
        if self.count() < samples_min {
            return None;
        }
        self.quantile_us(q).map(|us| us as f64 / 1_000.0)
    }

    /// The mean in microseconds; 0 where nothing was counted.
    pub fn mean_us(&self) -> f64 {
        self.0.mean()
    }

    /// How many latencies lie above `limit_us`.
    pub fn count_above_us(&self, limit_us: u64) -> u64 {
        let top = LATENCY_US_MAX;
        if top <= limit_us { 0 } else { self.0.count_between(limit_us + 1, top) }
    }

    /// Buckets that hold something, as (highest latency of the bucket in µs, count).
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_since_last_iteration()))
    }

    /// The histogram in `HdrHistogram`'s V2 format; empty where nothing was counted.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.is_empty() {
            V2Serializer::new().serialize(&self.0, &mut bytes).expect("a vector takes all");
        }
        bytes
    }

    /// Parses what [`to_bytes`](Self::to_bytes) wrote, or what another `HdrHistogram` did.
    ///
    /// # Errors
    /// If it is larger than [`LATENCY_BYTES_MAX`] or not such a histogram.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, Invalid> {
        let invalid = |reason: String| Invalid::new("latency_us", reason);
        let mut latency = Self::default();
        if bytes.is_empty() {
            return Ok(latency);
        }
        if LATENCY_BYTES_MAX < bytes.len() {
            return Err(invalid(format!("has {} bytes; at most {LATENCY_BYTES_MAX}", bytes.len())));
        }
        // The header of the V2 format carries length, digits and bounds, and the parser allocates
        // what it asks for: a foreign one could ask for gigabytes, a compressed one hides it.
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(invalid("is shorter than its header".into()));
        };
        let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| header[at + i]));
        let highest = u64::from_be_bytes(std::array::from_fn(|i| header[24 + i]));
        if word(0) != COOKIE || usize::try_from(word(4)) != Ok(payload.len()) {
            return Err(invalid("is no uncompressed V2 histogram of this length".into()));
        }
        let digits = word(12);
        if 3 < digits || LATENCY_US_MAX < highest {
            return Err(invalid(format!(
                "has {digits} digits up to {highest}; at most 3 up to {LATENCY_US_MAX}"
            )));
        }
        let parsed: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes).map_err(|e| invalid(e.to_string()))?;
        // The sum of a few saturates where one is as large as it can be.
        if parsed.iter_recorded().any(|v| COUNT_MAX < v.count_at_value())
            || COUNT_MAX < parsed.len()
        {
            return Err(invalid(format!("counts more than {COUNT_MAX}")));
        }
        latency.0.add(&parsed).map_err(|e| invalid(e.to_string()))?;
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Scenario: any latencies, split into two windows and merged, over the wire.
        /// Guarantees: nothing is lost, and order does not matter.
        #[test]
        fn windows_merge_and_travel(a in prop::collection::vec(0_u64..u64::MAX, 0..50), b in prop::collection::vec(0_u64..10_000_000, 0..50)) {
            let window = |us: &[u64]| {
                let mut window = Latency::default();
                for &us in us {
                    window.record_us(us);
                }
                window
            };
            let (mut ab, mut ba) = (window(&a), window(&b));
            ab.merge(&window(&b));
            ba.merge(&window(&a));
            prop_assert_eq!(&ab, &ba);
            prop_assert_eq!(ab.count(), (a.len() + b.len()) as u64);
            prop_assert_eq!(Latency::from_bytes(&ab.to_bytes()).unwrap(), ab);
        }

        /// Scenario: bytes that nobody wrote, and a real histogram with some bytes changed.
        /// Guarantees: an error or a histogram, never a panic, and no more memory than a histogram
        /// needs (a length of gigabytes in the header would take minutes here).
        #[test]
        fn foreign_bytes_are_survived(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let _ = Latency::from_bytes(&noise);
            let mut bytes = Latency::default();
            bytes.record_n_us(1_500, 3);
            let mut bytes = bytes.to_bytes();
            for (at, to) in changes {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let _ = Latency::from_bytes(&bytes);
        }
    }

    /// Scenario: a window that counts 2^40 latencies, and others that count more, in one bucket, in two,
    /// and as many as a histogram can.
    /// Guarantees: the first is taken, the others are refused with their reason.
    #[test]
    fn counts_are_bounded() {
        let check = |counts: &[u64], is_taken: bool| {
            let mut window = Latency::default();
            for (us, count) in (5..).zip(counts) {
                window.record_n_us(us, *count);
            }
            let parsed = Latency::from_bytes(&window.to_bytes());
            assert_eq!(parsed.as_ref().ok(), Some(&window).filter(|_| is_taken), "{counts:?}");
            assert!(is_taken || parsed.unwrap_err().reason.contains("more than"), "{counts:?}");
        };
        check(&[1 << 40], true);
        check(&[1, 1 << 40], false);
        check(&[(1 << 40) + 1], false);
        check(&[1 << 62, 1 << 62], false);
    }
}
