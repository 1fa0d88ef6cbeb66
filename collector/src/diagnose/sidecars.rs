//! What belongs together of a sidecar's spans while those between them are on their way; where it let no
//! request in, nothing is known of the stay yet.

use super::rows::Row;
use crate::pairing::shortest_around;
use crate::spans::SpanKind;
use std::collections::HashMap;

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
        let of_trace = self.0.get(&(row.trace, row.service))?.iter();
        let times = |row: &Row| [row.start_ns, row.end_ns];
        shortest_around(times(row), of_trace.map(|at| (*at, times(&rows[*at as usize]))))
    }
}
