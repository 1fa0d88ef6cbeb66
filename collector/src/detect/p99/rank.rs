//! How far a quantile of a sample may be from that of its source.
//!
//! Of `n` independent latencies the number beyond the quantile is binomial, whatever their
//! distribution; so order statistics bound the quantile (detection.md §2.2). Ranks count from
//! above, 0 is the longest: there the tail needs no large sums.

/// Both bounds hold with this probability each.
const SURE: f64 = 0.95;
/// The same in standard deviations.
pub(super) const SURE_Z: f64 = 1.645;
/// From so many expected ones on, the binomial is normal enough.
const NORMAL_FROM: f64 = 100.0;

/// The rank from above whose latency is no less than the quantile, with 95 %; `None` where the
/// sample is too small for that: below 299 for a p99, below 5 for a p50.
pub(in crate::detect) fn upper(n: f64, q: f64) -> Option<u64> {
    last_below(n, 1.0 - q, 1.0 - SURE)
}

/// The rank from above whose latency is no more than the quantile, with 95 %; `None` where the
/// sample is too small.
pub(in crate::detect) fn lower(n: f64, q: f64) -> Option<u64> {
    let rank = last_below(n, 1.0 - q, SURE).map_or(0, |last| last + 1);
    ((rank as f64) < n).then_some(rank)
}

/// The largest `m` for which no more than `m` of `n` lie beyond, with a probability of `level` at
/// most.
fn last_below(n: f64, p: f64, level: f64) -> Option<u64> {
    let mean = n * p;
    if NORMAL_FROM <= mean {
        let z = if level < 0.5 { -SURE_Z } else { SURE_Z };
        let m = mean + z * (mean * (1.0 - p)).sqrt() - 0.5;
        return Some(m.floor() as u64);
    }
    let mut term = (n * (-p).ln_1p()).exp();
    let mut sum = term;
    let mut m = None;
    let mut k = 0.0;
    while sum <= level && k < n {
        m = Some(k as u64);
        term *= (n - k) / (k + 1.0) * p / (1.0 - p);
        sum += term;
        k += 1.0;
    }
    m
}

/// Three standard deviations above the share `hits / trials`; never 0.
pub(super) fn share_upper(hits: f64, trials: f64) -> f64 {
    share_bounds(hits, trials, 3.0).1
}

/// So many standard deviations below and above the share `hits / trials`, by Wilson's score.
pub(in crate::detect) fn share_bounds(hits: f64, trials: f64, z: f64) -> (f64, f64) {
    let (p, z2) = (hits / trials, z * z);
    let spread = z * (p * (1.0 - p) / trials + z2 / (4.0 * trials * trials)).sqrt();
    let (middle, scale) = (p + z2 / (2.0 * trials), 1.0 + z2 / trials);
    ((middle - spread) / scale, (middle + spread) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: sample sizes, small and large, for a p99 and a p50.
    /// Guarantees: the bounds exist from the sizes that the field gives, and are those of the
    /// binomial's own quantiles.
    #[test]
    fn bounds_of_quantiles() {
        assert_eq!((upper(298.0, 0.99), upper(299.0, 0.99)), (None, Some(0)));
        assert_eq!((upper(4.0, 0.5), upper(5.0, 0.5)), (None, Some(0)));
        // scipy.stats.binom.ppf(0.05, 3000, 0.01) = 21, .ppf(0.95, ...) = 39
        assert_eq!((upper(3_000.0, 0.99), lower(3_000.0, 0.99)), (Some(20), Some(39)));
        // scipy.stats.binom.ppf(0.05, 1e5, 0.01) = 949, .ppf(0.95, ...) = 1052
        assert_eq!((upper(100_000.0, 0.99), lower(100_000.0, 0.99)), (Some(947), Some(1_052)));
        assert_eq!(lower(30.0, 0.99), Some(1));
    }

    /// Scenario: shares of little and of much.
    /// Guarantees: the bound is above the share, near it where much was seen, never 0 or above 1.
    #[test]
    fn bounds_of_shares() {
        let check = |hits: f64, trials: f64, expected: f64| {
            let upper = share_upper(hits, trials);
            assert!((upper - expected).abs() < 0.001, "{hits} of {trials}: {upper}");
        };
        check(0.0, 100.0, 0.0826);
        check(30.0, 3_000.0, 0.0171);
        check(1_000.0, 100_000.0, 0.0110);
        check(100.0, 100.0, 1.0);
    }
}
