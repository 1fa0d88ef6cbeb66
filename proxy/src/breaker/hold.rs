//! What an action holds back, and the share of it that passes all the same.

use super::{Crossing, Kind};
use fusebox_proto::command::Action;
use fusebox_proto::trace::TraceId;
use std::time::{Duration, Instant};

/// A cap lets this much of its rate through at once when it begins, which is when a storm rages.
const BURST: Duration = Duration::from_millis(500);
/// What arrives at random at four fifths of a rate loses under 1 % of itself to a bucket of ten
/// tokens, and a seventh to one of three: at low rates half a second is not enough.
const DEPTH_MIN: f64 = 10.0;

/// Probes that the proxies of an edge together have out at a time, until one succeeds. More proxies
/// than this have one each.
pub(super) const PROBES_MAX: u32 = 10;

/// An action in force, as the proxy applies it.
#[derive(Debug)]
pub(super) struct Hold {
    action: Action,
    /// Proxies of the edge, at least 1.
    proxies: u32,
    share: Share,
    bucket: Bucket,
}

impl Hold {
    pub(super) fn new(now: Instant, action: Action, proxies: u32) -> Self {
        let attempts_per_s = match action {
            Action::Cap { attempts_per_s } => attempts_per_s,
            Action::MuteRetries { .. } | Action::Shed { .. } | Action::Open => 0.0,
        };
        let bucket = Bucket::new(now, attempts_per_s / f64::from(proxies));
        Self { action, proxies, share: Share::default(), bucket }
    }

    pub(super) const fn action(&self) -> Action {
        self.action
    }

    /// Attempts that a ramp may have out at a time until one succeeds. Only a circuit that was
    /// open needs that: else the callee is known, because attempts flowed all the time.
    pub(super) const fn places(&self) -> u32 {
        match self.action {
            Action::Open if self.proxies < PROBES_MAX => PROBES_MAX / self.proxies,
            Action::Open => 1,
            Action::MuteRetries { .. } | Action::Cap { .. } | Action::Shed { .. } => u32::MAX,
        }
    }

    /// Whether an attempt passes, when the ramp gives back `given_back` percent of what the action
    /// refuses (0 while the lease lasts).
    pub(super) fn passes(&mut self, now: Instant, crossing: Crossing, given_back: u8) -> bool {
        match self.action {
            Action::Open => self.share.take(given_back),
            Action::MuteRetries { .. } if crossing.kind.is_retry() => {
                self.share.take(self.passing(given_back))
            }
            Action::MuteRetries { .. } => true,
            Action::Cap { .. } => self.bucket.take(now) || self.share.take(given_back),
            Action::Shed { .. } => match (self.passing(given_back), crossing.kind) {
                (100, _) | (_, Kind::Retry { of_refused: false }) => true,
                (_, Kind::Retry { of_refused: true }) => false,
                (passing, Kind::First | Kind::Hedge) => match crossing.trace {
                    Some(trace) => lot(trace) < passing,
                    None => self.share.take(passing),
                },
            },
        }
    }

    /// Percent that passes of what the action is about: of retries when muted, of first attempts
    /// when shedding, of what exceeds a cap, of all when open.
    pub(super) fn passing(&self, given_back: u8) -> u8 {
        let base = match self.action {
            Action::Open | Action::Cap { .. } => 0,
            Action::MuteRetries { percent } => percent,
            Action::Shed { percent } => 100 - percent,
        };
        let rest = u32::from(100 - base) * u32::from(given_back) / 100;
        base + u8::try_from(rest).expect("at most 100 - base")
    }

    /// Makes the next attempt of a share the one that passes, so that a step begins with a probe.
    pub(super) fn begin_step(&mut self) {
        self.share = Share::default();
    }
}

/// Lets a share pass, evenly spread and without chance: of any n in a row, `percent` of n.
#[derive(Debug)]
struct Share {
    /// Hundredths of an attempt that may pass.
    credit: u8,
}

impl Default for Share {
    fn default() -> Self {
        Self { credit: 99 }
    }
}

impl Share {
    fn take(&mut self, percent: u8) -> bool {
        debug_assert!(percent <= 100 && self.credit < 100);
        self.credit += percent;
        let passes = 100 <= self.credit;
        if passes {
            self.credit -= 100;
        }
        passes
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    per_s: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(now: Instant, per_s: f64) -> Self {
        Self { per_s, tokens: Self::burst(per_s).max(1.0), at: now }
    }

    fn burst(per_s: f64) -> f64 {
        per_s * BURST.as_secs_f64()
    }

    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        let tokens = self.tokens + elapsed.as_secs_f64() * self.per_s;
        self.tokens = tokens.min(Self::burst(self.per_s).max(DEPTH_MIN));
        let passes = 1.0 <= self.tokens;
        if passes {
            self.tokens -= 1.0;
        }
        passes
    }
}

/// The lot of a trace, 0 … 99: the same in every proxy, so that a trace is refused on all edges
/// of one command or on none. Not seeded for that reason; mixed, because samplers also look at the
/// last bytes of trace ids.
fn lot(trace: TraceId) -> u8 {
    let id = u128::from_be_bytes(*trace.as_bytes());
    let folded = (id >> 64) as u64 ^ id as u64;
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u8::try_from((u128::from(mixed) * 100) >> 64).expect("below 100")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::Now;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    /// Scenario: a thousand attempts against each share.
    /// Guarantees: exactly the share passes, the first attempt passes unless the share is 0, and
    /// no gap is longer than the share asks for.
    #[test]
    fn a_share_is_exact_and_even() {
        for percent in 0..=100 {
            let mut share = Share::default();
            let passed: Vec<bool> = (0..1_000).map(|_| share.take(percent)).collect();
            let count = passed.iter().filter(|&&passes| passes).count();
            assert!(count.abs_diff(10 * usize::from(percent)) <= 1, "{percent} %: {count}");
            assert_eq!(passed[0], 0 < percent);
            let gap = passed.split(|&passes| passes).map(<[bool]>::len).max().unwrap();
            assert!(percent == 0 || gap <= 100 / usize::from(percent), "{percent} %: gap {gap}");
        }
    }

    /// Scenario: an edge whose attempts come at random, at four fifths of its cap, at low and high
    /// rates, for an hour.
    /// Guarantees: under 1.5 % of what is usual is refused, and what comes at ten times the rate is
    /// held at the rate.
    #[test]
    fn a_cap_leaves_what_is_usual() {
        let check = |per_s: f64, share: f64, passing: std::ops::Range<f64>| {
            let now = Now::read().instant;
            let mut bucket = Bucket::new(now, per_s);
            let mut rng = StdRng::seed_from_u64(1);
            let (mut at_s, mut came, mut passed) = (0.0, 0.0, 0.0);
            while at_s < 3_600.0 {
                at_s -= (1.0 - rng.random::<f64>()).ln() / (per_s * share);
                came += 1.0;
                passed += f64::from(bucket.take(now + Duration::from_secs_f64(at_s)));
            }
            assert!(passing.contains(&(passed / came)), "{per_s}/s × {share}: {}", passed / came);
        };
        check(1.0, 0.8, 0.985..1.0);
        check(6.0, 0.8, 0.985..1.0);
        check(500.0, 0.8, 0.999..1.001);
        check(6.0, 10.0, 0.09..0.11);
    }

    /// Scenario: ten thousand trace ids that differ in their first, their last, or all bytes.
    /// Guarantees: lots are spread evenly whatever an id is made of.
    #[test]
    fn lots_are_even() {
        let check = |name: &str, id: fn(u64) -> [u64; 2]| {
            let below_half = (1..=10_000_u64)
                .filter(|&n| {
                    let mut bytes = [0; 16];
                    bytes[..8].copy_from_slice(&id(n)[0].to_be_bytes());
                    bytes[8..].copy_from_slice(&id(n)[1].to_be_bytes());
                    lot(TraceId::from_bytes(&bytes).unwrap()) < 50
                })
                .count();
            assert!((4_700..5_300).contains(&below_half), "{name}: {below_half}");
        };
        check("counted at the end", |n| [0, n]);
        check("counted in front", |n| [n, 7]);
        check("random", |n| {
            [n.wrapping_mul(0xbf58_476d_1ce4_e5b9), n.wrapping_mul(0x94d0_49bb_1331_11eb)]
        });
    }
}
