//! Small traces for each way in which real data misleads, after §2 of what real data looks like.

use super::*;
use crate::spans::{Evidence, Peer, Target};
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::SpanId;
use proptest::prelude::*;

mod order;
mod sequences;
mod shapes;
mod time;

/// Wall clock of the first span, ns.
const T0_NS: u64 = 1_800_000_000_000_000_000;

/// A span in the making.
#[derive(Clone, Debug)]
struct Draft(Span);

/// A span of a service: its id, its parent's (0 for none), start and end in ms.
fn span(service: &str, kind: SpanKind, id: u8, parent: u8, start_ms: u64, end_ms: u64) -> Draft {
    let origin =
        Origin { service: ServiceId::named(service).unwrap(), instance: None, version: None };
    Draft(Span {
        trace_id: TraceId::from_bytes(&[7; 16]).unwrap(),
        span_id: SpanId::from_bytes(&[id; 8]).unwrap(),
        parent_id: SpanId::from_bytes(&[parent; 8]),
        parent_is_remote: None,
        kind,
        operation: "work".into(),
        origin: Arc::new(origin),
        emitter: Emitter::Application,
        start_unix_ns: T0_NS + start_ms * 1_000_000,
        end_unix_ns: T0_NS + end_ms * 1_000_000,
        outcome: Outcome::Success,
        evidence: Evidence::None,
        protocol: Protocol::Unknown,
        target: None,
        peer: None,
        is_refused: false,
        resend_count: 0,
        weight: 1.0,
        moved_ns: None,
        links: Vec::new(),
    })
}

fn client(service: &str, id: u8, parent: u8, start_ms: u64, end_ms: u64) -> Draft {
    span(service, SpanKind::Client, id, parent, start_ms, end_ms)
}

fn server(service: &str, id: u8, parent: u8, start_ms: u64, end_ms: u64) -> Draft {
    span(service, SpanKind::Server, id, parent, start_ms, end_ms)
}

impl Draft {
    /// An HTTP request for this path.
    fn http(mut self, path: &str) -> Self {
        self.0.protocol = Protocol::Http1;
        self.0.target = Some(Target::http("GET", path, ""));
        self
    }

    /// A gRPC call of this method.
    fn rpc(mut self, method: &str) -> Self {
        self.0.protocol = Protocol::Grpc;
        self.0.target = Some(Target::rpc("a.B", method));
        self
    }

    /// Answered with this HTTP status.
    fn status(self, status: u16) -> Self {
        let outcome = if status < 500 { Outcome::Success } else { Outcome::Failure };
        self.ended(outcome, Evidence::Status(status))
    }

    /// An error of no known kind and no status: so most SDKs show a timeout.
    fn error(self) -> Self {
        self.ended(Outcome::Failure, Evidence::UnknownError)
    }

    fn ended(mut self, outcome: Outcome, evidence: Evidence) -> Self {
        (self.0.outcome, self.0.evidence) = (outcome, evidence);
        self
    }

    /// The address that the client called.
    fn to(mut self, address: &str) -> Self {
        self.peer().address = address.into();
        self
    }

    /// The database that the client called.
    fn db(mut self, system: &str) -> Self {
        self.0.protocol = Protocol::Database;
        self.peer().system = system.into();
        self.0.target = Some(Target::statement(system));
        self
    }

    /// The queue that the message went to or came from.
    fn queue(mut self, system: &str, destination: &str) -> Self {
        self.0.protocol = Protocol::Messaging;
        self.peer().system = system.into();
        self.peer().destination = destination.into();
        self
    }

    fn peer(&mut self) -> &mut Peer {
        self.0.peer.get_or_insert_default()
    }

    fn by(mut self, emitter: Emitter) -> Self {
        self.0.emitter = emitter;
        self
    }

    fn remote(mut self, is_remote: bool) -> Self {
        self.0.parent_is_remote = Some(is_remote);
        self
    }
}

fn batch(spans: impl IntoIterator<Item = Draft>) -> SpanBatch {
    SpanBatch { spans: spans.into_iter().map(|draft| draft.0).collect(), ..SpanBatch::default() }
}

/// Checks the sums of a trace: in one piece, span by span, and backwards with every span twice.
fn check(spans: &[Draft], expected: &[&str]) -> Sums {
    let whole = sums(batch(spans.iter().cloned()));
    assert_eq!(whole.edges(), expected);
    let one_by_one = |spans: &mut dyn Iterator<Item = &Draft>| -> Arrivals {
        let each = spans.enumerate();
        each.map(|(at, draft)| (at as f64 * 0.2, batch([draft.clone()]))).collect()
    };
    assert_eq!(Sums::of(&told(one_by_one(&mut spans.iter()))), whole, "span by span");
    let backwards = one_by_one(&mut spans.iter().rev().chain(spans));
    assert_eq!(Sums::of(&told(backwards)), whole, "backwards, and twice");
    whole
}
