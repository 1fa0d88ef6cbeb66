//! What belongs together of a sidecar's spans while those between them are on their way.
//!
//! The spans of a proxy come within a second, those of the application between them with the next batch
//! of its SDK. Until then what a proxy sent on belongs to the request that it let in and that was under
//! way all the while; where it let none in, nothing is known of the stay yet.

use super::rows::Row;
use crate::spans::SpanKind;
use std::collections::HashMap;

/// Of what sidecars let in of a trace, no more is looked through for each that they sent on.
const AROUND_MAX: usize = 256;

/// What sidecars let in, by trace and service.
pub(super) struct LetIn(HashMap<(u32, u32), Vec<u32>, foldhash::fast::RandomState>);

/// Whether a sidecar sent on what its application sent.
pub(super) fn is_sent_on(row: &Row) -> bool {
    row.is_sidecar && row.kind == SpanKind::Client && row.parent != 0
}

impl LetIn {
    /// Of all rows.
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut all = Self(HashMap::default());
        for (at, row) in rows.iter().enumerate() {
            if row.is_sidecar && row.kind == SpanKind::Server {
                all.0.entry((row.trace, row.service)).or_default().push(at as u32);
            }
        }
        all
    }

    /// The request for which a sidecar sent on `row`: the shortest that it let in around it.
    pub(super) fn around(&self, rows: &[Row], row: &Row) -> Option<u32> {
        if !is_sent_on(row) {
            return None;
        }
        let of_trace = self.0.get(&(row.trace, row.service))?.iter().copied();
        let is_around = |at: &u32| {
            let request = &rows[*at as usize];
            request.start_ns <= row.start_ns && row.end_ns <= request.end_ns
        };
        let length_ns = |at: &u32| rows[*at as usize].end_ns - rows[*at as usize].start_ns;
        of_trace.take(AROUND_MAX).filter(is_around).min_by_key(length_ns)
    }
}
