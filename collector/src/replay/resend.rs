//! A recording sent again, as if it happened now.
//!
//! A trace is moved as a whole: what is within it (who waited for whom, and how long) stays as it
//! was at any speed, and only the traces follow each other faster. At ten times the speed there is
//! so ten times the load, and nothing is faster than it was. Each span tells by how much its trace
//! is nearer to the first for it: to a diagnosis a minute that was calm is still a minute.

use super::recording::{Move, Recording, What};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::{DecodeError, Message as _};
use std::collections::HashMap;
use std::time::Duration;

/// In one request, as SDKs send at most by default.
const SPANS_MAX: usize = 512;
/// What is due within so much is sent together.
const TOGETHER: Duration = Duration::from_millis(100);

/// When each span of a recording is to be sent.
#[derive(Debug)]
pub struct Schedule<'r> {
    recording: &'r Recording,
    /// In order.
    dues: Vec<Planned>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    /// Since the start.
    at: Duration,
    item: usize,
    /// From the recording's time to that of `started_unix_ns`.
    by: Move,
}

/// One request that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Since the start.
    pub at: Duration,
    /// How many spans there are in it.
    pub spans: u64,
    /// `ExportTraceServiceRequest`, as protobuf.
    pub body: Vec<u8>,
}

impl<'r> Schedule<'r> {
    /// The plan of a replay that starts at this time and goes `speed` times as fast as it was.
    pub fn new(recording: &'r Recording, started_unix_ns: u64, speed: f64) -> Self {
        let first = recording.window().from.0 * 1_000_000;
        let started = started_unix_ns.cast_signed();
        let is_warped = f64::EPSILON < (speed - 1.0).abs();
        let mut begun: HashMap<[u8; 16], u64, foldhash::fast::RandomState> = HashMap::default();
        let spans = || recording.items().iter().enumerate();
        for (_, item) in spans() {
            if let What::Span { trace, start_unix_ns, .. } = &item.what {
                let begins = begun.entry(*trace).or_insert(*start_unix_ns);
                *begins = (*begins).min(*start_unix_ns);
            }
        }
        let planned = |(item, of): (usize, &super::recording::Item)| {
            let What::Span { trace, .. } = &of.what else { return None };
            let begins = begun[trace];
            let since = begins.saturating_sub(first) as f64 / speed;
            let moved = started.saturating_add(since as i64);
            let by_ns = moved.saturating_sub(begins.cast_signed());
            let at = of.at_unix_ns.saturating_add_signed(by_ns);
            let at = Duration::from_nanos(at.saturating_sub(started_unix_ns));
            let warped_ns = by_ns.saturating_sub(started.saturating_sub(first.cast_signed()));
            let warped_ns = is_warped.then_some(warped_ns);
            Some(Planned { at, item, by: Move { by_ns, warped_ns } })
        };
        let mut dues: Vec<Planned> = spans().filter_map(planned).collect();
        dues.sort_by_key(|due| due.at);
        Self { recording, dues, next: 0 }
    }

    /// How long it takes.
    pub fn length(&self) -> Duration {
        self.dues.last().map_or(Duration::ZERO, |due| due.at)
    }
}

impl Iterator for Schedule<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let rest = &self.dues[self.next..];
        let until = rest.first()?.at + TOGETHER;
        let count = rest.iter().take(SPANS_MAX).take_while(|due| due.at < until).count();
        let taken = &rest[..count];
        self.next += count;
        let request = self.recording.request(taken.iter().map(|due| (due.item, due.by)));
        let at = taken.last().expect("there is a first").at;
        Some(Due { at, spans: count as u64, body: request.encode_to_vec() })
    }
}

/// How many spans a collector refused for good, from its answer.
///
/// # Errors
/// If it is no `ExportTraceServiceResponse`.
pub fn rejected(response: &[u8]) -> Result<u64, DecodeError> {
    let partial = ExportTraceServiceResponse::decode(response)?.partial_success;
    Ok(partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
}
