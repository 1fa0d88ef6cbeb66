//! OTLP protobuf: one request, read resource by resource, or many, each with its length before it.

use super::{PART_LEN_MAX, Walk, Why};
use crate::decode;
use std::io::{self, BufRead, ErrorKind, Read as _};

/// The key of `resource_spans`, field 1 of a request.
const RESOURCE_SPANS: u8 = 0x0a;

/// How messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// One request.
    Single,
    /// Many, with their lengths.
    Delimited,
}

/// How a file that begins so is read; `None` where it is no protobuf of ours. A first message of
/// exactly ten bytes would be taken for a request: it could hold no span.
pub(super) fn framing(head: &[u8]) -> Option<Framing> {
    let (&first, rest) = head.split_first()?;
    if first == RESOURCE_SPANS {
        // A resource, scopes or a schema.
        let inner = after_length(rest)?;
        return matches!(inner, 0x0a | 0x12 | 0x1a).then_some(Framing::Single);
    }
    (after_length(head)? == RESOURCE_SPANS).then_some(Framing::Delimited)
}

fn after_length(head: &[u8]) -> Option<u8> {
    let length_len = head.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    head.get(length_len).copied()
}

impl Walk<'_> {
    pub(super) fn protobuf(
        &mut self,
        source: &mut dyn BufRead,
        framing: Framing,
    ) -> Result<(), Why> {
        let mut part = Vec::new();
        for number in 1.. {
            self.line = Some(number);
            part.clear();
            if source.fill_buf()?.is_empty() {
                break;
            }
            if framing == Framing::Single {
                // Each field of a request is, alone, a request.
                part.push(byte(source)?);
            }
            let mut length = Vec::new();
            let len = varint(source, &mut length)?;
            if framing == Framing::Single {
                part.append(&mut length);
            }
            let Some(len) = usize::try_from(len).ok().filter(|len| *len <= PART_LEN_MAX) else {
                return Err(Why::TooLong { len_max: PART_LEN_MAX });
            };
            let read = (&mut *source).take(len as u64).read_to_end(&mut part)?;
            if read < len {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            if self.give(decode::protobuf_request(&part)?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn byte(source: &mut dyn BufRead) -> io::Result<u8> {
    let mut byte = [0];
    source.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// A length, and its bytes; what is longer than a length can be is too long.
fn varint(source: &mut dyn BufRead, bytes: &mut Vec<u8>) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = byte(source)?;
        bytes.push(byte);
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Ok(u64::MAX)
}
