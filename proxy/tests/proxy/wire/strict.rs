//! A small and strict reader of HTTP/1.1, independent of hyper: what an origin may be sent.
//!
//! It knows RFC 9112 and takes nothing that two servers could read differently, even where the RFC
//! lets a recipient be lenient: one spelling of each line end, one `Host`, one kind of length in
//! its shortest decimal form, `chunked` alone, no header that belongs to another hop. The target
//! may hold any printable ASCII but `#`, as clients do send `{`, `|` and `"`.

#[cfg(test)]
mod tests;

/// A whole request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case, in order; trailers behind headers.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(one, _)| one == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A request, and how many bytes it has.
    Whole(Message, usize),
    /// The beginning of one.
    Incomplete,
    /// No request that every server reads alike.
    Violation(String),
}

/// Why there is no message.
enum Stop {
    Incomplete,
    Violation(String),
}

fn violation<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Violation(what.into()))
}

/// Heads and chunk lines longer than this are no test's.
const LINE_LEN_MAX: usize = 256 * 1024;

/// Reads the first request of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut reader = Reader { bytes, at: 0 };
    match reader.message() {
        Ok(message) => Parsed::Whole(message, reader.at),
        Err(Stop::Incomplete) => Parsed::Incomplete,
        Err(Stop::Violation(what)) => Parsed::Violation(what),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A line without its CRLF. CR and LF stand nowhere else.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| matches!(byte, b'\r' | b'\n')) else {
            let is_long = LINE_LEN_MAX < rest.len();
            return if is_long { violation("a line without end") } else { Err(Stop::Incomplete) };
        };
        match rest[end..] {
            [b'\r', b'\n', ..] => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            [b'\r'] => Err(Stop::Incomplete),
            [b'\r', ..] => violation("a bare CR"),
            _ => violation("a bare LF"),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..len));
        self.at += len;
        taken.ok_or(Stop::Incomplete)
    }

    fn message(&mut self) -> Result<Message, Stop> {
        let (method, target, is_old) = request_line(self.line()?)?;
        let mut headers = self.fields()?;
        host(&headers)?;
        let is_upgrade = hop_by_hop(&headers)?;
        let length = length(&headers, is_old)?;
        if is_upgrade && (method != "GET" || is_old || !matches!(length, Length::None)) {
            return violation("an upgrade that is not asked for by a GET of HTTP/1.1 without body");
        }
        let body = match length {
            Length::None => Vec::new(),
            Length::Exact(len) => self.take(len)?.to_vec(),
            Length::Chunked => {
                let body = self.chunks()?;
                let trailers = self.fields()?;
                if let Some((name, _)) = trailers.iter().find(|(name, _)| is_forbidden(name)) {
                    return violation(format!("the trailer {name}"));
                }
                headers.extend(trailers);
                body
            }
        };
        Ok(Message { method, target, headers, body })
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                return violation("a header line without colon");
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().copied().all(is_token) {
                return violation("a header name that is no token, or a folded line");
            }
            if !value.iter().all(|&byte| byte == b'\t' || (b' ' <= byte && byte != 0x7f)) {
                return violation("a control character in a header value");
            }
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            fields.push((text(name).to_ascii_lowercase(), text(value.trim_ascii())));
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Stop> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let is_size = !line.is_empty() && line.iter().all(u8::is_ascii_hexdigit);
            // A proxy frames anew: extensions of another hop are not its to pass on.
            if !is_size || 8 < line.len() || (1 < line.len() && line[0] == b'0') {
                return violation(format!("the chunk size {:?}", String::from_utf8_lossy(line)));
            }
            let digits = std::str::from_utf8(line).expect("hexadecimal digits");
            let len = usize::from_str_radix(digits, 16).expect("eight digits at most");
            if len == 0 {
                return Ok(body);
            }
            body.extend_from_slice(self.take(len)?);
            if self.take(2)? != b"\r\n" {
                return violation("no CRLF behind a chunk");
            }
        }
    }
}

pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn request_line(line: &[u8]) -> Result<(String, String, bool), Stop> {
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return violation("a request line that is not of three parts");
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return violation("a method that is no token");
    }
    let is_origin_form = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    if !is_origin_form || !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
        return violation("a target that is not in origin form");
    }
    let is_old = version == b"HTTP/1.0";
    if !is_old && version != b"HTTP/1.1" {
        return violation("a version other than HTTP/1.1 and HTTP/1.0");
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(method), text(target), is_old))
}

fn values<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str()).collect()
}

fn host(headers: &[(String, String)]) -> Result<(), Stop> {
    let hosts = values(headers, "host");
    let [host] = hosts[..] else {
        return violation(format!("{} Host headers", hosts.len()));
    };
    if is_authority(host) { Ok(()) } else { violation(format!("the Host {host:?}")) }
}

/// `uri-host [ ":" port ]` of RFC 9110, 7.2, not empty.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => ("", port),
                None if rest.is_empty() => return true,
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) if !host.is_empty() => (host, port),
            Some(_) => return false,
            None => (text, ""),
        },
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    !text.is_empty()
        && host.bytes().all(is_name)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok())
}

/// Fields that speak to one hop, and fields that would make a header of another message. Says
/// whether they ask for the one upgrade that a proxy carries, which it does in these words alone.
fn hop_by_hop(headers: &[(String, String)]) -> Result<bool, Stop> {
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        if !values(headers, name).is_empty() {
            return violation(format!("the header {name} of another hop"));
        }
    }
    if values(headers, "te").iter().any(|value| !value.eq_ignore_ascii_case("trailers")) {
        return violation("a TE that is not plain trailers");
    }
    match (&values(headers, "upgrade")[..], &values(headers, "connection")[..]) {
        ([], _) => (),
        ([protocol], ["upgrade"]) if protocol.eq_ignore_ascii_case("websocket") => return Ok(true),
        other => return violation(format!("the header upgrade of another hop: {other:?}")),
    }
    let names = values(headers, "connection").into_iter().flat_map(|value| value.split(','));
    for name in names.map(|name| name.trim().to_ascii_lowercase()) {
        if !matches!(&*name, "close" | "keep-alive" | "te") {
            return violation(format!("a Connection that names {name:?}"));
        }
    }
    Ok(false)
}

enum Length {
    None,
    Exact(usize),
    Chunked,
}

fn length(headers: &[(String, String)], is_old: bool) -> Result<Length, Stop> {
    let (lengths, codings) =
        (values(headers, "content-length"), values(headers, "transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Length::None),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && !is_old => Ok(Length::Chunked),
        ([length], []) => {
            let is_plain = !length.is_empty()
                && length.len() <= 9
                && length.bytes().all(|byte| byte.is_ascii_digit())
                && (*length == "0" || !length.starts_with('0'));
            match length.parse() {
                Ok(len) if is_plain => Ok(Length::Exact(len)),
                _ => violation(format!("the Content-Length {length:?}")),
            }
        }
        _ => violation(format!("the lengths {lengths:?} and {codings:?}")),
    }
}

/// Trailers may not frame, route, authenticate or describe a message (RFC 9110, 6.5.1).
pub(crate) fn is_forbidden(trailer: &str) -> bool {
    matches!(
        trailer,
        "transfer-encoding"
            | "content-length"
            | "host"
            | "connection"
            | "trailer"
            | "te"
            | "upgrade"
            | "keep-alive"
            | "proxy-connection"
            | "authorization"
            | "cookie"
            | "set-cookie"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "expect"
            | "cache-control"
            | "max-forwards"
            | "range"
            | "proxy-authorization"
            | "traceparent"
            | "tracestate"
            | "b3"
            | "x-b3-traceid"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-client-cert"
            | "x-envoy-attempt-count"
            | "x-fusebox-refused"
            | "idempotency-key"
    )
}
