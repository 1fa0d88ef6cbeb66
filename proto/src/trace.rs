//! W3C trace context: <https://www.w3.org/TR/trace-context/>.

use crate::Invalid;
use std::fmt;

/// A trace id, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// A span id, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $len:literal, $field:literal) => {
        impl $name {
            /// The id of these bytes; `None` if they are all zero or not as many as the id has.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let bytes: [u8; $len] = bytes.try_into().ok()?;
                bytes.iter().any(|&b| b != 0).then_some(Self(bytes))
            }

            /// The id of this lower-case hex text; `None` where it is no such text.
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != 2 * $len {
                    return None;
                }
                // Without a branch for each digit: every request brings two of these.
                let mut bytes = [0; $len];
                let mut seen = 0;
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    let (high, low) = (NIBBLES[pair[0] as usize], NIBBLES[pair[1] as usize]);
                    seen |= high | low;
                    *byte = high << 4 | low;
                }
                if seen == NO_NIBBLE { None } else { Self::from_bytes(&bytes) }
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id!(TraceId, 16, "trace_id");
id!(SpanId, 8, "span_id");

/// Stands for what is no lower-case hexadecimal digit. It has bits that no digit has.
const NO_NIBBLE: u8 = 0xff;

/// The value of each lower-case hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        nibbles[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    nibbles
};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn nibble(digit: u8) -> Option<u8> {
    Some(NIBBLES[usize::from(digit)]).filter(|&value| value != NO_NIBBLE)
}

/// What a `traceparent` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub parent_id: SpanId,
    /// All flags; bit 0 is *sampled*.
    pub flags: u8,
}

impl TraceContext {
    /// Whether the caller records its spans.
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Parses a `traceparent` value. Versions above 00 may carry more behind the flags.
    ///
    /// # Errors
    /// Whatever the specification calls invalid: the header must then be treated as absent.
    pub fn parse(value: &str) -> Result<Self, Invalid> {
        let invalid = |reason: &str| Invalid::new("traceparent", reason);
        let bytes = value.as_bytes();
        if !value.is_ascii() || bytes.len() < 55 {
            return Err(invalid("is shorter than 55 characters"));
        }
        if bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
            return Err(invalid("is not version-traceid-parentid-flags"));
        }
        let hex = |at: usize| Some(nibble(bytes[at])? << 4 | nibble(bytes[at + 1])?);
        let version = hex(0).ok_or_else(|| invalid("has no hexadecimal version"))?;
        match (version, bytes.len()) {
            (0xff, _) => return Err(invalid("has the forbidden version ff")),
            (0, 55) => (),
            (0, _) => return Err(invalid("has version 00 and more than 55 characters")),
            (_, 55) => (),
            _ if bytes[55] == b'-' => (),
            _ => return Err(invalid("has no dash behind the flags")),
        }
        Ok(Self {
            trace_id: TraceId::from_hex(&value[3..35]).ok_or_else(|| invalid("bad trace id"))?,
            parent_id: SpanId::from_hex(&value[36..52]).ok_or_else(|| invalid("bad parent id"))?,
            flags: hex(53).ok_or_else(|| invalid("has no hexadecimal flags"))?,
        })
    }
}

impl TraceContext {
    /// The value of a `traceparent` header, version 00: ASCII. Written by hand, because each sampled
    /// request has one made, and formatting its bytes one by one took a seventh of our own time.
    pub fn to_bytes(&self) -> [u8; 55] {
        let mut text = *b"00-................................-................-..";
        put_hex(&mut text[3..35], self.trace_id.as_bytes());
        put_hex(&mut text[36..52], self.parent_id.as_bytes());
        put_hex(&mut text[53..], &[self.flags]);
        text
    }
}

/// The value of a `traceparent` header, version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_bytes()).map_err(|_| fmt::Error)?)
    }
}

/// Writes lower-case hexadecimal digits, two for each byte.
fn put_hex(text: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// Scenario: valid values, one of a later version with more behind the flags.
    /// Guarantees: they parse, and what was parsed prints as version 00.
    #[test]
    fn valid_values_round_trip() {
        let context = TraceContext::parse(VALID).unwrap();
        assert_eq!(context.to_string(), VALID);
        assert!(context.is_sampled());
        let later = format!("cc{}-what-comes-later", &VALID[2..]);
        assert_eq!(TraceContext::parse(&later).unwrap(), context);
    }

    /// Scenario: one value for each thing that the specification forbids.
    /// Guarantees: each is refused.
    #[test]
    fn invalid_values_are_refused() {
        let check = |value: &str| assert!(TraceContext::parse(value).is_err(), "{value}");
        check("");
        check(&VALID[..54]);
        check(&format!("{VALID}-more"));
        check(&format!("ff{}", &VALID[2..]));
        check(&VALID.to_uppercase());
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01");
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01");
        check("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01");
        check("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x");
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é1");
    }
}
