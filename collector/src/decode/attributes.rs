//! Attributes of a span → what they mean, whichever convention wrote them.
//!
//! Old and new names live side by side, even within one span; a port or a status is an integer for
//! one SDK and a string for another; an Envoy writes strings only.

use crate::spans::{Emitter, Peer, SpanKind, Target};
use fusebox_proto::name::NAME_LEN_MAX;
use fusebox_proto::report::Protocol;
use fusebox_proto::text;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// Attributes beyond this many on one span are not looked at: SDKs stop at 128.
const ATTRIBUTES_MAX: usize = 256;

/// What the attributes of a span say, each from the best name that it was found under.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) http_status: Pick<'a>,
    pub(super) rpc_status: Pick<'a>,
    pub(super) response_flags: Pick<'a>,
    pub(super) error: Pick<'a>,
    pub(super) error_type: Pick<'a>,
    pub(super) resend_count: Pick<'a>,
    pub(super) moved_ns: Pick<'a>,
    http_method: Pick<'a>,
    route: Pick<'a>,
    http_version: Pick<'a>,
    url: Pick<'a>,
    path: Pick<'a>,
    query: Pick<'a>,
    host: Pick<'a>,
    port: Pick<'a>,
    upstream: Pick<'a>,
    component: Pick<'a>,
    peer_service: Pick<'a>,
    peer_namespace: Pick<'a>,
    refused: Pick<'a>,
    db_system: Pick<'a>,
    db_statement: Pick<'a>,
    messaging_system: Pick<'a>,
    messaging_destination: Pick<'a>,
    rpc_system: Pick<'a>,
    rpc_service: Pick<'a>,
    rpc_method: Pick<'a>,
}

/// A value, and how good the name is that it was found under: 0 is best.
#[derive(Debug, Default)]
pub(super) struct Pick<'a> {
    rank: u8,
    value: Option<&'a Value>,
}

impl<'a> Pick<'a> {
    fn offer(&mut self, rank: u8, value: &'a Value) {
        let is_empty = matches!(value, Value::StringValue(text) if text.is_empty());
        if !is_empty && (self.value.is_none() || rank < self.rank) {
            *self = Self { rank, value: Some(value) };
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, also where it is written as text.
    pub(super) fn number(&self) -> Option<i64> {
        match self.value? {
            Value::IntValue(number) => Some(*number),
            Value::StringValue(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// `true`, also where it is written as text.
    pub(super) fn is_true(&self) -> bool {
        match self.value {
            Some(Value::BoolValue(value)) => *value,
            Some(Value::StringValue(text)) => text == "true",
            _ => false,
        }
    }

    const fn is_some(&self) -> bool {
        self.value.is_some()
    }
}

/// The text in a value, if it is one.
pub(super) fn text(value: &AnyValue) -> Option<&str> {
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

impl<'a> Facts<'a> {
    /// Reads the attributes of one span.
    pub(super) fn of(attributes: &'a [KeyValue]) -> Self {
        let mut facts = Self::default();
        for entry in attributes.iter().take(ATTRIBUTES_MAX) {
            let Some(value) = entry.value.as_ref().and_then(|any| any.value.as_ref()) else {
                continue;
            };
            if let Some((pick, rank)) = facts.place(&entry.key) {
                pick.offer(rank, value);
            }
        }
        facts
    }

    /// Where the attribute of this name belongs, and its rank among the names for the same thing.
    fn place(&mut self, key: &str) -> Option<(&mut Pick<'a>, u8)> {
        Some(match key {
            "http.request.method" => (&mut self.http_method, 0),
            "http.method" => (&mut self.http_method, 1),
            "http.route" => (&mut self.route, 0),
            "http.response.status_code" => (&mut self.http_status, 0),
            "http.status_code" => (&mut self.http_status, 1),
            "url.full" => (&mut self.url, 0),
            "http.url" => (&mut self.url, 1),
            "url.path" => (&mut self.path, 0),
            "http.target" => (&mut self.path, 1),
            "url.query" => (&mut self.query, 0),
            "network.protocol.version" => (&mut self.http_version, 0),
            "http.flavor" => (&mut self.http_version, 1),
            "http.protocol" => (&mut self.http_version, 2),
            "http.request.resend_count" => (&mut self.resend_count, 0),
            "retry.count" => (&mut self.resend_count, 1),
            "server.address" => (&mut self.host, 0),
            "net.peer.name" => (&mut self.host, 1),
            "network.peer.address" => (&mut self.host, 2),
            "net.peer.ip" => (&mut self.host, 3),
            "server.port" => (&mut self.port, 0),
            "net.peer.port" => (&mut self.port, 1),
            "network.peer.port" => (&mut self.port, 2),
            "upstream_address" => (&mut self.upstream, 0),
            "peer.address" => (&mut self.upstream, 1),
            "response_flags" => (&mut self.response_flags, 0),
            "component" => (&mut self.component, 0),
            "error" => (&mut self.error, 0),
            "error.type" => (&mut self.error_type, 0),
            "service.peer.name" => (&mut self.peer_service, 0),
            "peer.service" => (&mut self.peer_service, 1),
            "service.peer.namespace" => (&mut self.peer_namespace, 0),
            super::MOVED_NS => (&mut self.moved_ns, 0),
            "fusebox.refused" => (&mut self.refused, 0),
            "db.system.name" => (&mut self.db_system, 0),
            "db.system" => (&mut self.db_system, 1),
            "db.query.text" => (&mut self.db_statement, 0),
            "db.statement" => (&mut self.db_statement, 1),
            "db.operation.name" => (&mut self.db_statement, 2),
            "db.operation" => (&mut self.db_statement, 3),
            "messaging.system" => (&mut self.messaging_system, 0),
            "messaging.destination.name" => (&mut self.messaging_destination, 0),
            "messaging.destination" => (&mut self.messaging_destination, 1),
            // RabbitMQ's default exchange has no name; there the routing key names the queue.
            "messaging.rabbitmq.destination.routing_key" => (&mut self.messaging_destination, 2),
            "messaging.rabbitmq.routing_key" => (&mut self.messaging_destination, 3),
            "rpc.system.name" => (&mut self.rpc_system, 0),
            "rpc.system" => (&mut self.rpc_system, 1),
            "rpc.service" => (&mut self.rpc_service, 0),
            "rpc.method" => (&mut self.rpc_method, 0),
            "rpc.response.status_code" => (&mut self.rpc_status, 0),
            "rpc.grpc.status_code" => (&mut self.rpc_status, 1),
            _ => return None,
        })
    }

    /// Whether these are the attributes that an Envoy writes.
    pub(super) fn is_envoy(&self) -> bool {
        self.component.text() == Some("proxy")
    }

    /// Whether one of our proxies says that it refused the request.
    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    const fn is_http(&self) -> bool {
        self.http_method.is_some() || self.http_status.is_some() || self.url.is_some()
    }

    /// The kind of conversation.
    pub(super) fn protocol(&self) -> Protocol {
        if self.messaging_system.is_some() {
            return Protocol::Messaging;
        }
        if self.db_system.is_some() {
            return Protocol::Database;
        }
        if self.rpc_system.text() == Some("grpc") {
            return Protocol::Grpc;
        }
        if !self.is_http() {
            return Protocol::Unknown;
        }
        let version = self.http_version.text().unwrap_or_default();
        let version = version.strip_prefix("HTTP/").unwrap_or(version);
        if version.starts_with('2') { Protocol::Http2 } else { Protocol::Http1 }
    }

    /// The template of the path, where the server knows it.
    pub(super) fn route(&self) -> Option<&'a str> {
        self.route.text()
    }

    /// What is asked for.
    pub(super) fn target(&self) -> Option<Target> {
        if let Some(statement) = self.db_statement.text().filter(|_| self.db_system.is_some()) {
            return Some(Target::statement(statement));
        }
        if let Some(method) = self.rpc_method.text() {
            return Some(Target::rpc(self.rpc_service.text().unwrap_or_default(), method));
        }
        if !self.is_http() {
            return None;
        }
        let method = self.http_method.text().unwrap_or_default();
        let url = self.url.text().map(Url::split);
        let (path, query) = match (self.path.text(), &url) {
            (Some(path), _) => split_query(path),
            (None, Some(url)) => (url.path, url.query),
            (None, None) => return None,
        };
        Some(Target::http(method, path, self.query.text().unwrap_or(query)))
    }

    /// The other side, as seen from a span of this kind; `None` where nothing names it.
    pub(super) fn peer(&self, kind: SpanKind, emitter: Emitter) -> Option<Box<Peer>> {
        // On a server span, `net.peer.*` and `network.peer.*` are the caller's ephemeral address.
        // Only an Envoy names its upstream there.
        let is_server = matches!(kind, SpanKind::Server | SpanKind::Internal);
        let is_envoy = matches!(emitter, Emitter::Envoy | Emitter::EnvoyRouter);
        if is_server && !is_envoy {
            return None;
        }
        let address = match (is_envoy, is_server) {
            (false, _) => self.address(),
            (true, true) if self.upstream.rank != 0 => String::new(),
            (true, _) => self.upstream.text().unwrap_or_default().to_owned(),
        };
        let name = |pick: &Pick<'_>| -> Box<str> {
            text::cut(pick.text().unwrap_or_default(), NAME_LEN_MAX).into()
        };
        let is_messaging = self.messaging_system.is_some();
        let peer = Peer {
            address: text::cut(&address, NAME_LEN_MAX).into(),
            service: name(&self.peer_service),
            namespace: name(&self.peer_namespace),
            system: name(if is_messaging { &self.messaging_system } else { &self.db_system }),
            destination: name(&self.messaging_destination),
        };
        (peer != Peer::default()).then(|| Box::new(peer))
    }

    /// `host:port` in the order new names, old names, URL. A port that the scheme implies is left
    /// out, so that one host has one name.
    fn address(&self) -> String {
        let (host, port) = match self.host.text() {
            Some(host) => {
                let (host, port_behind) = split_port(host);
                (host, self.port.number().and_then(|port| u16::try_from(port).ok()).or(port_behind))
            }
            None => {
                split_port(self.url.text().map(|url| Url::split(url).authority).unwrap_or_default())
            }
        };
        match port {
            None | Some(0 | 80 | 443) => host.to_owned(),
            Some(port) => format!("{host}:{port}"),
        }
    }
}

struct Url<'a> {
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Url<'a> {
    /// Splits an absolute URL, or a bare path.
    fn split(url: &'a str) -> Self {
        let url = url.split('#').next().unwrap_or_default();
        let (authority, rest) = match url.split_once("://") {
            Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
            None => ("", url),
        };
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (path, query) = split_query(rest);
        Self { authority, path, query }
    }
}

fn split_query(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
}

/// Host and port of `host:port`, of `[::1]:port`, or of a bare host of either sort.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}
