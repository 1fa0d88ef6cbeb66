//! Which spans were seen before: exporters resend what was taken and not acknowledged in time.

use foldhash::fast::RandomState;
use fusebox_proto::trace::{SpanId, TraceId};
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// A span is remembered for one to two of these: exporters give up after about a minute of backoff.
const GENERATION: Duration = Duration::from_secs(90);
/// Spans in a generation, 9 bytes each: about 10 MB for both. At a higher rate they are shorter.
const GENERATION_LEN_MAX: usize = 500_000;

/// Seeded digests of (trace id, span id), in two generations. A collision among a million of 64
/// bits costs one span in some thousand years.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hasher: RandomState,
    current: HashSet<u64, RandomState>,
    previous: HashSet<u64, RandomState>,
    began: Option<Instant>,
}

impl Seen {
    /// Whether this span is new.
    pub(super) fn insert(&mut self, now: Instant, trace: TraceId, span: SpanId) -> bool {
        let began = *self.began.get_or_insert(now);
        if GENERATION <= now.saturating_duration_since(began)
            || GENERATION_LEN_MAX <= self.current.len()
        {
            self.previous = std::mem::take(&mut self.current);
            self.began = Some(now);
        }
        let digest = self.hasher.hash_one((trace, span));
        !self.previous.contains(&digest) && self.current.insert(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::Now;

    /// Scenario: a span resent after seconds, after more than one generation, and after ages.
    /// Guarantees: it is known for at least one generation, and forgotten after two.
    #[test]
    fn remembered_for_a_generation_or_two() {
        let now = Now::read().instant;
        let at = |seconds| now + Duration::from_secs(seconds);
        let trace = TraceId::from_bytes(&[1; 16]).unwrap();
        let span = |byte| SpanId::from_bytes(&[byte; 8]).unwrap();
        let mut seen = Seen::default();
        assert!(seen.insert(at(0), trace, span(1)));
        assert!(seen.insert(at(0), trace, span(2)));
        assert!(!seen.insert(at(5), trace, span(1)));
        assert!(!seen.insert(at(95), trace, span(1)));
        assert!(seen.insert(at(300), trace, span(3)));
        assert!(seen.insert(at(400), trace, span(1)));
    }
}
