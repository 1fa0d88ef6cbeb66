//! Spans to the collector, over OTLP/gRPC: each full batch at once, the rest once a second.

use super::encode::Head;
use super::ring::{Batch, SpanRing};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How often spans are exported that do not fill a batch.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The method of OTLP's trace service.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Exports what is in `ring` to the OTLP/gRPC address that the collector names, for as long as it
/// names one, until `closing`, and then once more.
pub(crate) async fn run(
    ring: Arc<SpanRing>,
    head: Head,
    mut address: watch::Receiver<Option<String>>,
    closing: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let head = Arc::new(head);
    let mut client = None;
    loop {
        let (also_open, is_last) = tokio::select! {
            _ = ticks.tick() => (true, false),
            () = ring.filled() => (false, false),
            () = closing.cancelled() => (true, true),
        };
        if address.has_changed().unwrap_or(false) {
            client = address.borrow_and_update().as_deref().and_then(connect);
        }
        if let Some(client) = &mut client {
            flush(&ring, &head, client, also_open).await;
        }
        if is_last {
            return;
        }
    }
}

/// Connects when the first request is made, and again when it must.
fn connect(address: &str) -> Option<Grpc<Channel>> {
    let endpoint = Endpoint::from_shared(address.to_owned());
    let endpoint = endpoint.inspect_err(|error| tracing::warn!("OTLP address {address}: {error}"));
    let channel = endpoint.ok()?.tcp_nodelay(true).timeout(TIMEOUT).connect_lazy();
    Some(Grpc::new(channel))
}

async fn flush(ring: &SpanRing, head: &Arc<Head>, client: &mut Grpc<Channel>, also_open: bool) {
    while let Some(batch) = ring.take(also_open) {
        // While a request is under way its batch is in nobody's ring; an abort would lose it.
        let mut sending = Sending { ring, batch: Some(batch.clone()) };
        let len = batch.len;
        match export(client, Message { head: Arc::clone(head), batch }).await {
            Ok(refused) => {
                ring.drop_counted(u32::try_from(refused).unwrap_or(len).min(len));
                sending.batch = None;
            }
            Err(status) if is_refusal_for_good(status.code()) => {
                ring.drop_counted(len);
                sending.batch = None;
                tracing::warn!("the collector refuses spans for good: {}", status.message());
            }
            // Again in a second.
            Err(_) => return,
        }
    }
}

/// Sends a batch, and returns how many spans of it were refused.
async fn export(client: &mut Grpc<Channel>, message: Message) -> Result<i64, Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(EXPORT);
    let answer = client.unary(Request::new(message), path, Written).await?.into_inner();
    Ok(answer.partial_success.map_or(0, |partial| partial.rejected_spans.max(0)))
}

/// Sending such a batch again would be refused again.
fn is_refusal_for_good(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange)
}

/// A batch on its way. Dropped before it arrived, it goes back.
struct Sending<'a> {
    ring: &'a SpanRing,
    batch: Option<Batch>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.ring.give_back(batch);
        }
    }
}

/// One request.
pub(super) struct Message {
    pub(super) head: Arc<Head>,
    pub(super) batch: Batch,
}

impl Message {
    /// Writes it whole.
    pub(super) fn write(&self, out: &mut impl bytes::BufMut) {
        self.head.write(self.batch.bytes.len(), out);
        out.put_slice(&self.batch.bytes);
    }
}

/// The codec of messages that are written already.
#[derive(Clone, Copy, Debug, Default)]
struct Written;

impl Codec for Written {
    type Encode = Message;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Written {
    type Item = Message;
    type Error = Status;

    fn encode(&mut self, message: Message, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(message.head.request_len(message.batch.bytes.len()));
        message.write(out);
        Ok(())
    }
}

impl Decoder for Written {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = ExportTraceServiceResponse::decode(input);
        answer.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
