//! Spans to the collector, over OTLP/gRPC, once a second.

use super::encode::{self, Anchor};
use super::{Finished, SpanRing};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Spans in one request: some 200 kB.
const BATCH_LEN_MAX: usize = 512;
/// How often spans are exported.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Exports what is in `ring` to the OTLP/gRPC address that the collector names, for as long as it
/// names one, until `closing`, and then once more.
pub(crate) async fn run(
    ring: Arc<SpanRing>,
    resource: Resource,
    mut address: watch::Receiver<Option<String>>,
    closing: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut client = None;
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = closing.cancelled() => true,
        };
        if address.has_changed().unwrap_or(false) {
            client = address.borrow_and_update().as_deref().and_then(connect);
        }
        if let Some(client) = &mut client {
            flush(&ring, &resource, client).await;
        }
        if is_last {
            return;
        }
    }
}

/// Connects when the first request is made, and again when it must.
fn connect(address: &str) -> Option<TraceServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(address.to_owned());
    let endpoint = endpoint.inspect_err(|error| tracing::warn!("OTLP address {address}: {error}"));
    let channel = endpoint.ok()?.tcp_nodelay(true).timeout(TIMEOUT).connect_lazy();
    Some(TraceServiceClient::new(channel))
}

async fn flush(ring: &SpanRing, resource: &Resource, client: &mut TraceServiceClient<Channel>) {
    loop {
        // While a request is under way its batch is in nobody's ring; an abort would lose it.
        let batch = Batch { ring, spans: ring.take(BATCH_LEN_MAX) };
        if batch.spans.is_empty() {
            return;
        }
        let request = encode::request(resource, &batch.spans, Anchor::read());
        let is_last = batch.spans.len() < BATCH_LEN_MAX;
        match client.export(request).await {
            Ok(_) => batch.arrived(),
            Err(status) if is_refusal_for_good(status.code()) => {
                ring.drop_counted(batch.spans.len() as u64);
                batch.arrived();
                tracing::warn!("the collector refuses spans for good: {}", status.message());
            }
            // Again in a second.
            Err(_) => return,
        }
        if is_last {
            return;
        }
    }
}

/// Sending such a batch again would be refused again.
fn is_refusal_for_good(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange)
}

/// Spans on their way. Dropped before they arrived, they go back.
struct Batch<'a> {
    ring: &'a SpanRing,
    spans: Vec<Finished>,
}

impl Batch<'_> {
    fn arrived(mut self) {
        self.spans.clear();
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.ring.give_back(std::mem::take(&mut self.spans));
    }
}
