//! Lines of OTLP JSON, and documents over many lines.

use super::{DOCUMENT_LEN_MAX, PART_LEN_MAX, Part, Walk, Why, proxies};
use crate::decode;
use serde::de::IgnoredAny;
use std::io::{BufRead, ErrorKind, Read as _};
use std::ops::ControlFlow;

/// Keys of a document of Jaeger's, in any order.
const JAEGER_KEYS: [&[u8]; 5] = [b"data", b"total", b"limit", b"offset", b"errors"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether this is how JSON begins: a brace, and after it a quote or a brace.
pub(super) fn is_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    let inner = head.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| matches!(inner.first(), Some(b'"' | b'}')))
}

impl Walk<'_> {
    pub(super) fn json(&mut self, source: &mut dyn BufRead) -> Result<(), Why> {
        if source.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            source.consume(BYTE_ORDER_MARK.len());
        }
        let mut line = Vec::new();
        let mut is_first = true;
        for number in 1.. {
            self.line = Some(number);
            line.clear();
            let limit = PART_LEN_MAX as u64 + 1;
            let read = match (&mut *source).take(limit).read_until(b'\n', &mut line) {
                // What was unpacked before a cut ends in the middle of a line, or just behind one.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.told.truncated = 1;
                    line.len()
                }
                read => read?,
            };
            if read == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if is_first && (is_jaeger(&line) || PART_LEN_MAX < line.len() || is_cut(&line)) {
                return self.document(line, source);
            }
            if PART_LEN_MAX < line.len() {
                return Err(Why::TooLong { len_max: PART_LEN_MAX });
            }
            is_first = false;
            match self.line(&line) {
                Ok(ControlFlow::Continue(())) => (),
                Ok(ControlFlow::Break(())) => break,
                Err(_) if !line.ends_with(b"\n") && is_cut(&line) => self.told.truncated = 1,
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// What one line holds.
    fn line(&mut self, line: &[u8]) -> Result<ControlFlow<()>, Why> {
        if proxies::is_said(line) {
            let mut said = proxies::read(line)?.into_iter().map(Part::Proxy);
            return Ok(said.try_for_each(|part| (self.each)(part)));
        }
        Ok(self.give(decode::json_request(line)?))
    }

    /// One document, of which `head` has been read.
    fn document(&mut self, mut head: Vec<u8>, source: &mut dyn BufRead) -> Result<(), Why> {
        let room = DOCUMENT_LEN_MAX + 1 - head.len();
        let read = source.take(room as u64).read_to_end(&mut head);
        if DOCUMENT_LEN_MAX < head.len() {
            return Err(Why::TooLong { len_max: DOCUMENT_LEN_MAX });
        }
        let cut = read.is_err() || is_cut(&head);
        self.line = None;
        let result = if is_jaeger(&head) {
            let mut flow = ControlFlow::Continue(());
            decode::jaeger(&head, |request| {
                if flow.is_continue() {
                    flow = self.give(request);
                }
            })
        } else {
            decode::json_request(&head).map(|request| {
                // The last part: there is nothing to break off.
                let _ = self.give(request);
            })
        };
        match result {
            Err(_) if cut => self.told.truncated = 1,
            result => result?,
        }
        read.map_or_else(|error| Err(error.into()), |_| Ok(()))
    }
}

fn is_jaeger(text: &[u8]) -> bool {
    let inner = text.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let key = inner.and_then(|inner| inner.strip_prefix(b"\"")?.split(|&byte| byte == b'"').next());
    key.is_some_and(|key| JAEGER_KEYS.contains(&key))
}

/// Whether this is the beginning of some JSON, without its end.
fn is_cut(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}
