//! A small and strict reader of HTTP/2 requests (RFC 9113, 8), as [`super::strict`] is of HTTP/1.1.

use super::frames::{self, Frame};
use super::hpack::{Decoder, Field};
use super::strict::{Message, is_authority, is_forbidden, is_token};
use std::collections::BTreeMap;

/// One connection, of which the preface was read.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    decoder: Decoder,
    /// The stream, the end of it, and what came of a block that is not whole.
    block: Option<(u32, bool, Vec<u8>)>,
    open: BTreeMap<u32, Message>,
    last: u32,
}

impl Connection {
    /// Takes a frame, and gives the request that it ends, with its stream.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take(&mut self, frame: &Frame) -> Result<Option<(u32, Message)>, String> {
        if self.block.is_some() != (frame.kind == frames::CONTINUATION) {
            return Err("a block that is torn apart, or a CONTINUATION of none".into());
        }
        match frame.kind {
            frames::DATA => {
                let message = self.open.get_mut(&frame.stream);
                let message = message.ok_or("DATA on a stream that is not open")?;
                message.body.extend_from_slice(unpadded(frame)?);
                self.end(frame.stream, frame.has(frames::END_STREAM))
            }
            frames::HEADERS => {
                let mut payload = unpadded(frame)?;
                if frame.has(frames::PRIORITIZED) {
                    payload.split_off(..5).ok_or("a priority that is cut off")?;
                }
                let is_end = frame.has(frames::END_STREAM);
                self.block(frame, (frame.stream, is_end, payload.to_vec()))
            }
            frames::CONTINUATION => {
                let mut block = self.block.take().expect("looked at above");
                if block.0 != frame.stream {
                    return Err("a CONTINUATION of another stream".into());
                }
                block.2.extend_from_slice(&frame.payload);
                self.block(frame, block)
            }
            frames::RST_STREAM => {
                self.open.remove(&frame.stream);
                Ok(None)
            }
            frames::PUSH_PROMISE => Err("a client that pushes".into()),
            _ => Ok(None),
        }
    }

    fn block(
        &mut self,
        frame: &Frame,
        block: (u32, bool, Vec<u8>),
    ) -> Result<Option<(u32, Message)>, String> {
        if !frame.has(frames::END_HEADERS) {
            self.block = Some(block);
            return Ok(None);
        }
        let (stream, is_end, bytes) = block;
        let fields = self.decoder.block(&bytes).ok_or("a block that is no HPACK")?;
        if let Some(message) = self.open.get_mut(&stream) {
            for (name, value) in fields.iter().map(text) {
                if name.starts_with(':') || is_forbidden(&name) || !is_end {
                    return Err(format!("the trailer {name}"));
                }
                message.headers.push((name, value));
            }
        } else {
            if stream <= self.last || stream % 2 == 0 {
                return Err(format!("the stream {stream} behind {}", self.last));
            }
            self.last = stream;
            let message = head(&fields).map_err(|what| {
                let fields: Vec<_> = fields.iter().map(text).collect();
                format!("{what} in {fields:?}")
            })?;
            self.open.insert(stream, message);
        }
        self.end(stream, is_end)
    }

    fn end(&mut self, stream: u32, is_end: bool) -> Result<Option<(u32, Message)>, String> {
        let Some(message) = self.open.remove(&stream) else {
            return Ok(None);
        };
        let lengths = message.all("content-length");
        let is_sum = match lengths[..] {
            [] => true,
            [length] if is_end => length == message.body.len().to_string(),
            [length] => length.parse().is_ok_and(|length: usize| message.body.len() <= length),
            _ => false,
        };
        if !is_sum {
            let (target, len) = (&message.target, message.body.len());
            return Err(format!("Content-Length {lengths:?} of {len} bytes to {target}"));
        }
        if is_end {
            return Ok(Some((stream, message)));
        }
        self.open.insert(stream, message);
        Ok(None)
    }
}

fn unpadded(frame: &Frame) -> Result<&[u8], String> {
    let mut payload = &frame.payload[..];
    if frame.has(frames::PADDED) {
        let padding = usize::from(*payload.split_off_first().ok_or("no padding")?);
        let len = payload.len().checked_sub(padding).ok_or("too much padding")?;
        payload = &payload[..len];
    }
    Ok(payload)
}

fn text((name, value): &Field) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(name), text(value))
}

/// A request of these fields, or what is wrong with them.
fn head(fields: &[Field]) -> Result<Message, String> {
    let mut pseudo = BTreeMap::new();
    let mut headers = Vec::new();
    for field in fields {
        let (name, value) = text(field);
        if field.1.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
            || value.trim_ascii() != value
        {
            return Err(format!("the value {value:?} of {name:?}"));
        }
        if let Some(name) = name.strip_prefix(':') {
            let is_known = ["method", "scheme", "authority", "path"].contains(&name);
            if !headers.is_empty() || !is_known {
                return Err(format!("the pseudo-header {name:?}"));
            }
            if pseudo.insert(name.to_owned(), value).is_some() {
                return Err(format!("two of {name:?}"));
            }
            continue;
        }
        let is_name = |byte: u8| is_token(byte) && !byte.is_ascii_uppercase();
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(format!("the name {name:?}"));
        }
        let is_foreign = matches!(
            &*name,
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings"
                | "host"
        );
        if is_foreign || (name == "te" && value != "trailers") {
            return Err(format!("the header {name:?}: {value:?}"));
        }
        headers.push((name, value));
    }
    let mut need = |name: &str| pseudo.remove(name).ok_or_else(|| format!("no {name:?}"));
    let (method, scheme, target) = (need("method")?, need("scheme")?, need("path")?);
    let authority = need("authority")?;
    let is_path = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    if !is_path || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(format!("the path {target:?}"));
    }
    if method.is_empty() || !method.bytes().all(is_token) || method == "CONNECT" {
        return Err(format!("the method {method:?}"));
    }
    if !is_authority(&authority) || !matches!(&*scheme, "http" | "https") {
        return Err(format!("the target {scheme:?} {authority:?}"));
    }
    headers.push(("host".into(), authority));
    Ok(Message { method, target, headers, body: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frames::{END_STREAM, frame, headers};

    const PLAIN: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/")];

    fn read(mut bytes: Vec<u8>) -> Result<Option<(u32, Message)>, String> {
        let mut connection = Connection::default();
        let mut last = Ok(None);
        while let Some(frame) = Frame::take(&mut bytes) {
            last = connection.take(&frame);
            if last.is_err() {
                break;
            }
        }
        last
    }

    /// Scenario: requests with a body, padding, continuation, trailers.
    /// Guarantees: they are read whole.
    #[test]
    fn whole_requests() {
        let with = [&PLAIN[..], &[("content-length", "3"), ("te", "trailers")]].concat();
        let request = [headers(0, 1, &with), frame(frames::DATA, END_STREAM, 1, b"abc")].concat();
        let (stream, message) = read(request).unwrap().unwrap();
        assert_eq!((stream, &message.body[..], &*message.target), (1, &b"abc"[..], "/"));

        let head = headers(0, 1, &PLAIN).split_off(9);
        let (first, rest) = head.split_at(7);
        let request = [
            frame(frames::HEADERS, 0, 1, first),
            frame(frames::CONTINUATION, frames::END_HEADERS, 1, rest),
            frame(frames::DATA, frames::PADDED, 1, b"\x02ab--"),
            headers(END_STREAM, 1, &[("x-end", "1")]),
        ];
        let (_, message) = read(request.concat()).unwrap().unwrap();
        assert_eq!((&message.body[..], message.all("x-end")), (&b"ab"[..], vec!["1"]));
    }

    /// Scenario: one fault of each class.
    /// Guarantees: each is found.
    #[test]
    fn faults_are_found() {
        for (name, value) in [
            ("host", "y"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("a b", "c"),
            ("te", "gzip"),
            ("Upper", "a"),
            ("a", "b\r\nc: d"),
            ("a", "b\0"),
            ("", "a"),
            (":path", "/b"),
            (":status", "200"),
            ("content-length", "1"),
            ("a", " b"),
            ("upgrade", "h2c"),
            ("a:b", "c"),
            ("a\r\nb", "c"),
            ("proxy-connection", "x"),
        ] {
            let fields = [&PLAIN[..], &[("a", "b"), (name, value)]].concat();
            assert!(read(headers(END_STREAM, 1, &fields)).is_err(), "{name:?}: {value:?}");
        }
        for (at, value) in [
            (0, "CONNECT"),
            (0, "G T"),
            (1, "file"),
            (2, ""),
            (2, "u@x"),
            (3, ""),
            (3, "*"),
            (3, "a"),
            (3, "/a b"),
            (3, "/#"),
        ] {
            let mut fields = PLAIN;
            fields[at].1 = value;
            assert!(read(headers(END_STREAM, 1, &fields)).is_err(), "{at} {value:?}");
        }
        for missing in 0..4 {
            let mut fields = PLAIN.to_vec();
            fields.remove(missing);
            assert!(read(headers(END_STREAM, 1, &fields)).is_err(), "{missing}");
        }
        let behind = |more: Vec<u8>| read([headers(0, 3, &PLAIN), more].concat());
        assert!(behind(headers(END_STREAM, 3, &[(":path", "/")])).is_err());
        assert!(behind(headers(END_STREAM, 3, &[("content-length", "1")])).is_err());
        assert!(behind(headers(END_STREAM, 1, &PLAIN)).is_err());
        assert!(behind(frame(frames::DATA, 0, 5, b"a")).is_err());
        assert!(behind(frame(frames::DATA, frames::PADDED, 3, b"\x09a")).is_err());
        assert!(behind(frame(frames::CONTINUATION, 4, 3, b"")).is_err());
        assert!(behind(frame(frames::HEADERS, 4, 5, b"\xff\xff\xff\xff\xff")).is_err());
    }
}
