//! What proxies of ours tell their collector, as lines of a capture: OTLP log records, so that the
//! whole file stays OTLP and anyone's tools pass it on. The body is the message of
//! `fusebox/v1/control.proto` as it came; a replay needs its counters, which are never sampled.

use super::Why;
use crate::decode::DecodeError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fusebox_proto::report::FromProxy;
use fusebox_proto::wire::v1::ProxyMessage;
use prost::Message as _;
use serde::{Deserialize, Serialize};

/// Instrumentation scope of these records.
const SCOPE: &str = "fusebox.control";
/// `event.name` of a message.
const MESSAGE: &str = "fusebox.proxy.message";
/// `event.name` of the end of a stream.
const GONE: &str = "fusebox.proxy.gone";
/// Attribute: which stream of a proxy.
const STREAM: &str = "fusebox.stream";
/// How such a line begins.
const HEAD: &[u8] = b"{\"resourceLogs\"";

/// What a proxy said, and when it was heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProxySaid {
    /// Wall clock of the collector, ns since the Unix epoch.
    pub(crate) at_unix_ns: u64,
    /// Which of the collector's streams.
    pub(crate) stream: u64,
    /// What.
    pub(crate) said: Said,
}

/// See [`ProxySaid`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// A message.
    Message(Box<FromProxy>),
    /// The stream ended.
    Gone,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ResourceLogs {
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeLogs {
    scope: Scope,
    log_records: Vec<LogRecord>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Scope {
    name: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogRecord {
    /// A 64-bit integer is a string in protobuf's JSON.
    time_unix_nano: String,
    event_name: String,
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Attribute {
    key: String,
    value: Value,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Value {
    #[serde(skip_serializing_if = "Option::is_none")]
    int_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_value: Option<String>,
}

/// One record as a line, without its end. `message` is that of the wire; `None`: the stream ended.
pub(crate) fn line(at_unix_ns: u64, stream: u64, message: Option<&[u8]>) -> String {
    let stream = Value { int_value: Some(stream.to_string()), bytes_value: None };
    let record = LogRecord {
        time_unix_nano: at_unix_ns.to_string(),
        event_name: if message.is_some() { MESSAGE } else { GONE }.to_owned(),
        attributes: vec![Attribute { key: STREAM.to_owned(), value: stream }],
        body: message
            .map(|bytes| Value { int_value: None, bytes_value: Some(STANDARD.encode(bytes)) }),
    };
    let scope = Scope { name: SCOPE.to_owned() };
    let scope_logs = vec![ScopeLogs { scope, log_records: vec![record] }];
    let line = Line { resource_logs: vec![ResourceLogs { scope_logs }] };
    serde_json::to_string(&line).expect("plain data")
}

/// Whether this line may hold such records.
pub(super) fn is_said(line: &[u8]) -> bool {
    let scope = SCOPE.as_bytes();
    line.trim_ascii_start().starts_with(HEAD) && line.windows(scope.len()).any(|it| it == scope)
}

/// The records in a line; logs of others are passed over.
pub(super) fn read(line: &[u8]) -> Result<Vec<ProxySaid>, Why> {
    let line: Line = serde_json::from_slice(line).map_err(DecodeError::from)?;
    let scopes = line.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let ours = scopes.filter(|scope| scope.scope.name == SCOPE);
    let records = ours.flat_map(|scope| scope.log_records);
    records.filter_map(|record| said(&record).transpose()).collect()
}

/// What a record says; `None` where its event is none of ours.
fn said(record: &LogRecord) -> Result<Option<ProxySaid>, Why> {
    let malformed = |what: &str| DecodeError::Malformed(format!("{}: {what}", record.event_name));
    let at = record.time_unix_nano.parse();
    let at_unix_ns = at.map_err(|_| malformed("timeUnixNano is no number of nanoseconds"))?;
    let stream = record.attributes.iter().find(|attribute| attribute.key == STREAM);
    let stream = stream.and_then(|attribute| attribute.value.int_value.as_ref()?.parse().ok());
    let stream = stream.ok_or_else(|| malformed("no fusebox.stream"))?;
    let said = match record.event_name.as_str() {
        GONE => Said::Gone,
        MESSAGE => {
            let bytes = record.body.as_ref().and_then(|body| body.bytes_value.as_ref());
            let bytes = bytes.and_then(|text| STANDARD.decode(text).ok());
            let bytes = bytes.ok_or_else(|| malformed("its body is no base64"))?;
            let message = ProxyMessage::decode(bytes.as_slice()).map_err(DecodeError::from)?;
            let message = FromProxy::try_from(message);
            Said::Message(Box::new(message.map_err(|invalid| malformed(&invalid.to_string()))?))
        }
        _ => return Ok(None),
    };
    Ok(Some(ProxySaid { at_unix_ns, stream, said }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::report::Hello;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

    fn hello() -> Vec<u8> {
        let wire = fusebox_proto::wire::v1::Hello {
            proxy_id: "payment-1".into(),
            service: Some(fusebox_proto::ServiceId::named("payment").unwrap().into()),
            boot: 7,
            ..Default::default()
        };
        let kind = fusebox_proto::wire::v1::proxy_message::Kind::Hello(wire);
        ProxyMessage { kind: Some(kind) }.encode_to_vec()
    }

    /// Scenario: a message of a proxy and the end of its stream, written and read.
    /// Guarantees: the same comes back; and OTLP's own types read the line.
    #[test]
    fn what_is_written_is_read() {
        let written = line(1_800_000_000_000_000_123, 4, Some(&hello()));
        assert!(is_said(written.as_bytes()) && !written.contains('\n'));
        let read_back = read(written.as_bytes()).unwrap();
        let [ProxySaid { at_unix_ns: 1_800_000_000_000_000_123, stream: 4, said }] = &*read_back
        else {
            panic!("{read_back:?}");
        };
        let Said::Message(message) = said else { panic!("{said:?}") };
        assert!(matches!(&**message, FromProxy::Hello(Hello { boot: 7, .. })), "{message:?}");
        let gone = read(line(5, 4, None).as_bytes()).unwrap();
        assert_eq!(gone, [ProxySaid { at_unix_ns: 5, stream: 4, said: Said::Gone }]);
        let otlp: ExportLogsServiceRequest = serde_json::from_str(&written).unwrap();
        let record = &otlp.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(record.time_unix_nano, 1_800_000_000_000_000_123);
    }

    /// Scenario: records that are damaged, and logs of somebody else.
    /// Guarantees: the former are refused and say what is wrong; the latter are no fault.
    #[test]
    fn damage_is_told() {
        let good = line(5, 4, Some(&hello()));
        let check = |text: String, says: &str| {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        check(good.replace("fusebox.stream", "stream"), "no fusebox.stream");
        check(good.replace("\"timeUnixNano\":\"5\"", "\"timeUnixNano\":\"x\""), "timeUnixNano");
        check(line(5, 4, Some(b"\x0a\x01")), "no OTLP request");
        check(line(5, 4, Some(b"")), "fusebox.proxy.message");
        check(good.replace("\"bytesValue\":\"", "\"bytesValue\":\"*"), "base64");
        assert!(read(good.replace(SCOPE, "another").as_bytes()).unwrap().is_empty());
        assert!(read(good.replace(MESSAGE, "else").as_bytes()).unwrap().is_empty());
        assert!(!is_said(b"{\"resourceLogs\":[]}"));
    }
}
