//! OTLP in: what applications and proxies send, over gRPC and over HTTP.
//!
//! Both transports do the same: read a bounded body, unfold it, read spans out of it beside the
//! engine, and hand them to its bounded inbox. What is not taken is a
//! [`Refusal`], which says whose fault it is and whether the same may be sent again.

mod body;
mod ledger;
mod refusal;

pub(crate) mod grpc;
pub(crate) mod http;

pub(crate) use refusal::Refusal;

use crate::decode::{self, DecodeError};
use crate::listen::Ends;
use crate::spans::{Emitter, Rejected, Span, SpanBatch};
use crate::tally::Tally;
use crate::tape::{self, Tape};
use ::http::HeaderValue;
use body::Compression;
use bytes::Bytes;
use fusebox_proto::Now;
use ledger::{Charge, Ledger};
use opentelemetry_proto::tonic::collector::trace;
use prost::Message as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// One of OTLP's three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Spans: graph, detectors.
    Traces,
    /// Checked and counted; proxies and spans give the figures.
    Metrics,
    /// Checked and counted.
    Logs,
}

impl Signal {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// As in paths and labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// How a message is written; the answer is written the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// OTLP's JSON.
    Json,
}

impl Encoding {
    /// The encoding of this media type, whose parameters do not matter.
    fn of_content_type(value: &str) -> Option<Self> {
        match value.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// One request that was taken, on its way to the engine.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Who sent it; `None` for a proxy, which is known by its control stream.
    pub(crate) sender: Option<Arc<str>>,
    /// Its spans; none for metrics and logs.
    pub(crate) batch: SpanBatch,
    /// Held until the engine has seen it.
    _charge: Charge,
}

/// The door to the engine, the same for both transports.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    deliveries: mpsc::Sender<Delivery>,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    tape: Arc<Tape>,
}

/// A body as it came.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// Its bytes, packed if they were.
    pub(crate) packed: Bytes,
    compression: Compression,
    /// How it is written.
    pub(crate) encoding: Encoding,
}

impl Posted {
    /// What is in it, once more.
    pub(crate) fn unfolded(&self) -> Result<Bytes, Refusal> {
        let charge = Arc::new(Ledger::default()).charge();
        self.compression.unfold(self.packed.clone(), &charge)
    }
}

/// A body, and what it holds of the memory until it is delivered.
struct Received {
    posted: Posted,
    charge: Charge,
}

/// Bodies up to this length are decoded where they are; a longer one would keep the runtime's
/// thread from everything else, a command to a proxy too.
const INLINE_LEN_MAX: usize = 64 * 1024;

impl Intake {
    /// A door to `deliveries`; what comes through it stays on the tape for a while.
    pub(crate) fn new(
        deliveries: mpsc::Sender<Delivery>,
        tally: Arc<Tally>,
        tape: Arc<Tape>,
    ) -> Self {
        Self { deliveries, ledger: Arc::default(), tally, tape }
    }

    /// Takes one request, counts it, and makes the answer's message.
    async fn take(
        &self,
        signal: Signal,
        received: Result<Received, Refusal>,
        ends: Ends,
    ) -> Result<Rejected, Refusal> {
        let result = match received {
            Ok(received) => self.deliver(signal, received, ends).await,
            Err(refusal) => Err(refusal),
        };
        match &result {
            Ok(rejected) => {
                self.tally.taken(signal);
                self.tally.drop_n("spans_rejected", rejected.count);
            }
            Err(refusal) => {
                tracing::debug!(peer = %ends.remote, signal = signal.as_str(), %refusal, "refused");
                self.tally.drop_n(refusal.reason(), 1);
            }
        }
        result
    }

    /// Asks for a place first: under overload nothing is decoded in vain.
    async fn deliver(
        &self,
        signal: Signal,
        received: Received,
        ends: Ends,
    ) -> Result<Rejected, Refusal> {
        let place = self.deliveries.try_reserve().map_err(|error| match error {
            TrySendError::Full(()) => Refusal::Overloaded,
            TrySendError::Closed(()) => Refusal::ShuttingDown,
        })?;
        let posted = received.posted.clone();
        let (mut batch, charge) = if posted.packed.len() <= INLINE_LEN_MAX {
            received.read(signal)
        } else {
            match tokio::task::spawn_blocking(move || received.read(signal)).await {
                Ok(read) => read,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => Err(Refusal::ShuttingDown),
            }
        }?;
        let rejected = std::mem::take(&mut batch.rejected);
        if !batch.spans.is_empty() {
            self.tape.push(Now::read().unix_ms, tape::What::Traces(posted));
        }
        place.send(Delivery { sender: sender(&batch, ends), batch, _charge: charge });
        Ok(rejected)
    }
}

impl Received {
    /// Unfolds and decodes it. Metrics and logs are checked, and leave no spans.
    fn read(self, signal: Signal) -> Result<(SpanBatch, Charge), Refusal> {
        let Self { posted: Posted { packed, compression, encoding }, charge } = self;
        let body = compression.unfold(packed, &charge)?;
        let nothing = |_| SpanBatch::default();
        let batch = match (signal, encoding) {
            (Signal::Traces, Encoding::Protobuf) => decode::protobuf(&body),
            (Signal::Traces, Encoding::Json) => decode::json(&body),
            (Signal::Metrics, Encoding::Protobuf) => decode::metrics_protobuf(&body).map(nothing),
            (Signal::Metrics, Encoding::Json) => decode::metrics_json(&body).map(nothing),
            (Signal::Logs, Encoding::Protobuf) => decode::logs_protobuf(&body).map(nothing),
            (Signal::Logs, Encoding::Json) => decode::logs_json(&body).map(nothing),
        }
        .map_err(|error: DecodeError| Refusal::Malformed(error.to_string()))?;
        Ok((batch, charge))
    }
}

/// The process behind a request: by its resource where spans name it, else by its address, so that
/// twelve services on one machine are twelve.
fn sender(batch: &SpanBatch, ends: Ends) -> Option<Arc<str>> {
    let ip = || ends.remote.ip().to_string();
    match batch.spans.first() {
        Some(span) => sender_of(span, ip),
        None => Some(ip().into()),
    }
}

/// The process that made a span; `place` is told where its resource does not say which it is.
pub(crate) fn sender_of(span: &Span, place: impl FnOnce() -> String) -> Option<Arc<str>> {
    let Span { origin, emitter, .. } = span;
    let instance = || origin.instance.as_ref().map_or_else(place, ToString::to_string);
    (*emitter != Emitter::Proxy).then(|| format!("{} {}", origin.service, instance()).into())
}

/// The message of a success; `partial_success` only where something was refused for good.
fn success(signal: Signal, encoding: Encoding, rejected: Rejected) -> Vec<u8> {
    match encoding {
        Encoding::Json if rejected.count == 0 => b"{}".to_vec(),
        Encoding::Json => {
            // An int64 is a string in protobuf's JSON.
            let (count, reason) = (rejected.count.to_string(), rejected.reason);
            serde_json::json!({"partialSuccess": {"rejectedSpans": count, "errorMessage": reason}})
                .to_string()
                .into_bytes()
        }
        Encoding::Protobuf => match signal {
            Signal::Traces => {
                let partial = |rejected: Rejected| trace::v1::ExportTracePartialSuccess {
                    rejected_spans: i64::try_from(rejected.count).unwrap_or(i64::MAX),
                    error_message: rejected.reason,
                };
                let partial_success = (rejected.count != 0).then(|| partial(rejected));
                trace::v1::ExportTraceServiceResponse { partial_success }.encode_to_vec()
            }
            // A message whose fields are all unset has no bytes.
            Signal::Metrics | Signal::Logs => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: an engine that takes nothing for a while, and then is gone.
    /// Guarantees: what does not fit is refused so that it may be repeated, before it is decoded,
    /// and counted; the same once nobody is left to take it.
    #[tokio::test]
    async fn a_full_inbox_refuses_retryably() {
        let (deliveries, inbox) = mpsc::channel(1);
        let tally = Arc::new(Tally::default());
        let intake = Intake::new(deliveries, Arc::clone(&tally), Arc::default());
        let loopback = "127.0.0.1:1".parse().expect("an address");
        let ends = Ends { remote: loopback, local: loopback };
        let take = async |body: &'static [u8]| {
            let charge = intake.ledger.charge();
            let (compression, encoding) = (Compression::Identity, Encoding::Protobuf);
            let posted = Posted { packed: body.into(), compression, encoding };
            let received = Received { posted, charge };
            intake.take(Signal::Traces, Ok(received), ends).await
        };
        assert_eq!(take(b"").await, Ok(Rejected::default()));
        assert_eq!(take(b"not read at all").await, Err(Refusal::Overloaded));
        drop(inbox);
        assert_eq!(take(b"").await, Err(Refusal::ShuttingDown));
        assert_eq!(tally.requests(Signal::Traces), 1);
        let dropped: Vec<_> = tally.take_dropped().into_iter().collect();
        assert_eq!(dropped, [("otlp_overloaded", 1), ("otlp_shutting_down", 1)]);
        assert!(tally.take_dropped().is_empty());
    }
}
