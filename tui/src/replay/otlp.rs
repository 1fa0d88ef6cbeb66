//! One OTLP endpoint, over HTTP or gRPC as it answers, one request at a time.

use bytes::{BufMut as _, Bytes, BytesMut};
use fusebox_collector::replay;
use fusebox_proto::text;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, TE};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;

/// An answer within this, or there is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_LEN_MAX: usize = 64 * 1024;
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH: &str = "/v1/traces";
/// Statuses after which the same may be sent again: OTLP/HTTP's, and gRPC's as OTLP lists them
/// (`RESOURCE_EXHAUSTED` where it says when, which is not looked at: it is tried a few times).
const RETRYABLE_HTTP: [u16; 4] = [429, 502, 503, 504];
const RETRYABLE_GRPC: [u16; 7] = [1, 4, 8, 10, 11, 14, 15];
/// Longest that an endpoint may have us wait.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// OTLP/HTTP, protobuf.
    Http,
    /// OTLP/gRPC without TLS.
    Grpc,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http/protobuf",
            Self::Grpc => "grpc",
        })
    }
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It may be sent again, after so long at least.
    #[error("{why}")]
    ForNow {
        /// In words.
        why: String,
        /// What the endpoint asks for.
        pause: Option<Duration>,
    },
    /// It is refused for good.
    #[error("{0}")]
    ForGood(String),
}

/// An endpoint.
pub(super) struct Endpoint {
    authority: String,
    path: String,
    pub(super) transport: Transport,
    connection: Option<Connection>,
}

enum Connection {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Endpoint {
    /// Finds out how the endpoint at `url` speaks, with a request of no spans.
    pub(super) async fn find(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url} is no URL"))?;
        let mut tried = Vec::new();
        for transport in [Transport::Http, Transport::Grpc] {
            let mut endpoint = Self::new(&uri, transport);
            match endpoint.send(&[]).await {
                // Busy is no reason to try another way.
                Ok(_) | Err(Refusal::ForNow { pause: Some(_), .. }) => return Ok(endpoint),
                Err(refusal) => tried.push(format!("over {transport}: {refusal}")),
            }
        }
        Err(format!("{url} takes no OTLP; {}", tried.join("; ")))
    }

    fn new(uri: &Uri, transport: Transport) -> Self {
        let base = uri.path().trim_end_matches('/');
        let path = match transport {
            Transport::Http if base.ends_with(HTTP_PATH) => base.to_owned(),
            Transport::Http => format!("{base}{HTTP_PATH}"),
            Transport::Grpc => GRPC_PATH.to_owned(),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let authority = match (uri.port(), transport) {
            (None, Transport::Http) => format!("{authority}:80"),
            _ => authority.to_owned(),
        };
        Self { authority, path, transport, connection: None }
    }

    /// Sends one `ExportTraceServiceRequest`; how many of its spans were refused for good.
    pub(super) async fn send(&mut self, body: &[u8]) -> Result<u64, Refusal> {
        let for_now = |why: String| Refusal::ForNow { why, pause: None };
        let connection = match &mut self.connection {
            Some(connection) if connection.is_ready() => connection,
            _ => {
                let connected = connect(&self.authority, self.transport).await;
                self.connection.insert(connected.map_err(for_now)?)
            }
        };
        let request = request(&self.authority, &self.path, self.transport, body);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, connection.exchange(request)).await;
        match answer {
            Ok(Ok(answer)) => answer.read(self.transport),
            Ok(Err(why)) => {
                self.connection = None;
                Err(for_now(why))
            }
            Err(_) => {
                self.connection = None;
                Err(for_now(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
            }
        }
    }
}

async fn connect(authority: &str, transport: Transport) -> Result<Connection, String> {
    let words = |error: &dyn std::error::Error| text::visible(&error.to_string()).into_owned();
    let connecting = tokio::time::timeout(ANSWER_TIMEOUT, TcpStream::connect(authority)).await;
    let stream = connecting.map_err(|_| "nobody answers".to_owned())?;
    let stream = stream.map_err(|error| words(&error))?;
    // Only lets small requests leave at once.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(stream);
    Ok(match transport {
        Transport::Http => {
            let (sender, connection) = http1::handshake(io).await.map_err(|error| words(&error))?;
            tokio::spawn(connection);
            Connection::Http(sender)
        }
        Transport::Grpc => {
            let handshake = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = handshake.map_err(|error| words(&error))?;
            tokio::spawn(connection);
            Connection::Grpc(sender)
        }
    })
}

fn request(authority: &str, path: &str, transport: Transport, body: &[u8]) -> Request<Full<Bytes>> {
    let (uri, content_type, body) = match transport {
        Transport::Http => {
            (path.to_owned(), "application/x-protobuf", Bytes::copy_from_slice(body))
        }
        Transport::Grpc => {
            let mut framed = BytesMut::with_capacity(5 + body.len());
            framed.put_u8(0);
            framed.put_u32(u32::try_from(body.len()).expect("a request of some hundred spans"));
            framed.put_slice(body);
            (format!("http://{authority}{path}"), "application/grpc", framed.freeze())
        }
    };
    let mut request = Request::post(uri).header(CONTENT_TYPE, content_type);
    request = match transport {
        Transport::Http => request.header(http::header::HOST, authority),
        Transport::Grpc => request.header(TE, "trailers"),
    };
    request.body(Full::new(body)).expect("the address was parsed")
}

/// An answer, whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl Connection {
    fn is_ready(&self) -> bool {
        match self {
            Self::Http(sender) => !sender.is_closed(),
            Self::Grpc(sender) => !sender.is_closed(),
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let words = |error: hyper::Error| text::visible(&error.to_string()).into_owned();
        let response: Response<Incoming> = match self {
            Self::Http(sender) => {
                sender.ready().await.map_err(words)?;
                sender.send_request(request).await
            }
            Self::Grpc(sender) => {
                sender.ready().await.map_err(words)?;
                sender.send_request(request).await
            }
        }
        .map_err(words)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
        let body = body.map_err(|error| text::visible(&error.to_string()).into_owned())?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }
}

impl Answer {
    /// What an answer says: how many spans were refused for good, or why all of them.
    fn read(&self, transport: Transport) -> Result<u64, Refusal> {
        let content_type = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let content_type = content_type.unwrap_or_default();
        match transport {
            Transport::Http if self.status.is_success() => {
                if !content_type.starts_with(b"application/x-protobuf") {
                    return Err(Refusal::ForGood("what answers there is no OTLP/HTTP".into()));
                }
                rejected(&self.body)
            }
            Transport::Http => {
                let why = format!("it answered {}", self.status);
                let pause = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let pause = pause.and_then(|text| text.parse().ok()).map(Duration::from_secs);
                Err(refusal(RETRYABLE_HTTP.contains(&self.status.as_u16()), why, pause))
            }
            Transport::Grpc if !content_type.starts_with(b"application/grpc") => {
                Err(Refusal::ForGood(format!("it answered {}, which is no gRPC", self.status)))
            }
            Transport::Grpc => {
                let field = |name: &str| self.trailers.get(name).or(self.headers.get(name));
                let status =
                    field("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
                match status {
                    Some(0) => rejected(self.body.get(5..).unwrap_or_default()),
                    Some(code) => {
                        let said = field("grpc-message").map(HeaderValue::as_bytes);
                        let said = String::from_utf8_lossy(said.unwrap_or_default());
                        let said = text::visible(&text::cut(&said, 200)).into_owned();
                        let why = format!("it answered status {code} {said}");
                        Err(refusal(RETRYABLE_GRPC.contains(&code), why, None))
                    }
                    None => Err(Refusal::ForGood("it answered without a status".into())),
                }
            }
        }
    }
}

fn refusal(is_retryable: bool, why: String, pause: Option<Duration>) -> Refusal {
    if is_retryable {
        Refusal::ForNow { why, pause: Some(pause.unwrap_or_default().min(PAUSE_MAX)) }
    } else {
        Refusal::ForGood(why)
    }
}

fn rejected(body: &[u8]) -> Result<u64, Refusal> {
    let nonsense = |_| Refusal::ForGood("its answer is no OTLP".into());
    replay::rejected(body).map_err(nonsense)
}
