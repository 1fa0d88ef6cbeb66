//! What is on a tape → lines of a capture.

use super::{Frame, What};
use crate::capture;
use crate::decode;
use crate::otlp::{Encoding, Posted, Refusal};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use std::collections::HashSet;

/// A line of this length can be read by whoever reads captures; a longer request is split.
const LINE_LEN_MAX: usize = 8 * 1024 * 1024;

/// Writes lines, each with its end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Streams whose proxy was introduced.
    introduced: HashSet<u64>,
    /// Requests of spans that were written.
    pub(crate) requests: u64,
    /// Messages of proxies that were written.
    pub(crate) proxy_messages: u64,
}

impl Lines {
    /// The lines of a frame. What could not be read when it came is not on the tape.
    pub(crate) fn of(&mut self, frame: &Frame) -> String {
        let mut text = String::new();
        match &frame.what {
            What::Traces(posted) => {
                if let Ok(request) = request(posted) {
                    self.requests += 1;
                    write_request(&mut text, request);
                }
            }
            What::Proxy { stream, hello, message } => {
                let at_unix_ns = frame.at_unix_ms * 1_000_000;
                let mut say = |message: Option<&[u8]>| {
                    text.push_str(&capture::proxy_line(at_unix_ns, *stream, message));
                    text.push('\n');
                };
                // A recording may begin long after a proxy did.
                let is_hello = message.as_ref() == Some(hello);
                if self.introduced.insert(*stream) && !is_hello {
                    say(Some(hello));
                }
                say(message.as_deref());
                self.proxy_messages += 1;
                if message.is_none() {
                    self.introduced.remove(stream);
                }
            }
        }
        text
    }
}

fn request(posted: &Posted) -> Result<ExportTraceServiceRequest, Refusal> {
    let body = posted.unfolded()?;
    let request = match posted.encoding {
        Encoding::Protobuf => decode::protobuf_request(&body),
        Encoding::Json => decode::json_request(&body),
    };
    request.map_err(|error| Refusal::Malformed(error.to_string()))
}

/// One line; or, where that is too long, one for each half.
fn write_request(text: &mut String, mut request: ExportTraceServiceRequest) {
    let line = serde_json::to_string(&request).expect("plain data");
    if LINE_LEN_MAX < line.len()
        && let Some(rest) = split(&mut request)
    {
        write_request(text, request);
        write_request(text, rest);
        return;
    }
    text.push_str(&line);
    text.push('\n');
}

/// Takes the second half of the resources, else of the scopes, else of the spans.
fn split(request: &mut ExportTraceServiceRequest) -> Option<ExportTraceServiceRequest> {
    let half = |len: usize| len.div_ceil(2);
    let resources = &mut request.resource_spans;
    if 1 < resources.len() {
        let rest = resources.split_off(half(resources.len()));
        return Some(ExportTraceServiceRequest { resource_spans: rest });
    }
    let [resource] = resources.as_mut_slice() else { return None };
    let mut rest = resource.clone();
    if 1 < resource.scope_spans.len() {
        rest.scope_spans = resource.scope_spans.split_off(half(resource.scope_spans.len()));
    } else {
        let [scope] = resource.scope_spans.as_mut_slice() else { return None };
        if scope.spans.len() < 2 {
            return None;
        }
        let spans = scope.spans.split_off(half(scope.spans.len()));
        rest.scope_spans[0].spans = spans;
    }
    Some(ExportTraceServiceRequest { resource_spans: vec![rest] })
}
