//! The server name in a TLS `ClientHello` (RFC 8446, 4.1.2; RFC 6066, 3), read and not touched.
//!
//! ```text
//! record:    22, version (2), length (2), fragment        one or more
//! handshake: 1, length (3), version (2), random (32), session id <1>, cipher suites <2>,
//!            compression <1>, extensions <2>: type (2), data <2>
//! ```

/// A `ClientHello` longer than this is passed on without a name; real ones are below 2 KiB, with
/// post-quantum keys.
pub(crate) const LEN_MAX: usize = 16 * 1024;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const NAME_LEN_MAX: usize = 255;

/// What the first bytes of a connection say about its server name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// The client named this, in lower case.
    Named(String),
    /// It is no TLS, or the client named nobody.
    None,
    /// It takes more bytes to tell.
    Unsure,
}

/// Whether a connection that begins like this could be TLS.
pub(crate) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3, ..])
}

/// Reads the name.
pub(crate) fn server_name(bytes: &[u8]) -> ServerName {
    if !is_tls(bytes) {
        return ServerName::None;
    }
    if LEN_MAX <= bytes.len() {
        return ServerName::None;
    }
    let (message, is_whole) = handshake(bytes);
    let Some(&[kind, long, high, low]) = message.first_chunk() else {
        return if is_whole { ServerName::Unsure } else { ServerName::None };
    };
    let len = usize::from(long) << 16 | usize::from(high) << 8 | usize::from(low);
    if kind != CLIENT_HELLO || LEN_MAX <= len {
        return ServerName::None;
    }
    match message.get(4..4 + len) {
        Some(hello) => name_in(hello).map_or(ServerName::None, ServerName::Named),
        None if is_whole => ServerName::Unsure,
        None => ServerName::None,
    }
}

/// The fragments of all handshake records, and whether nothing else follows them.
fn handshake(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut message = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&[kind, _, _, high, low], fragment)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE_RECORD || len == 0 {
            return (message, false);
        }
        let (fragment, next) = fragment.split_at(len.min(fragment.len()));
        message.extend_from_slice(fragment);
        rest = next;
    }
    (message, true)
}

fn name_in(hello: &[u8]) -> Option<String> {
    let mut hello = Reader(hello);
    hello.take(2 + 32)?;
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    let mut extensions = Reader(hello.vector(2)?);
    while let Some(kind) = extensions.number(2) {
        let data = extensions.vector(2)?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        let mut names = Reader(Reader(data).vector(2)?);
        let kind = names.number(1)?;
        let name = names.vector(2)?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        let is_host = kind == usize::from(HOST_NAME)
            && (1..=NAME_LEN_MAX).contains(&name.len())
            && name.iter().all(is_name);
        return is_host.then(|| String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    None
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// A number of `len` bytes.
    fn number(&mut self, len: usize) -> Option<usize> {
        Some(self.take(len)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    }

    /// Bytes behind their length, itself of `len` bytes.
    fn vector(&mut self, len: usize) -> Option<&'a [u8]> {
        let len = self.number(len)?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector(width: usize, bytes: &[u8]) -> Vec<u8> {
        let len = (bytes.len() as u32).to_be_bytes();
        [&len[4 - width..], bytes].concat()
    }

    /// A `ClientHello` as OpenSSL writes it, in records of at most `record_len` bytes.
    fn hello(name: Option<&[u8]>, record_len: usize) -> Vec<u8> {
        let mut extensions = [&[0, 23][..], &vector(2, b"")].concat();
        if let Some(name) = name {
            let names = [&[HOST_NAME][..], &vector(2, name)].concat();
            extensions.extend([&[0, 0][..], &vector(2, &vector(2, &names))].concat());
        }
        extensions.extend([&[0, 43][..], &vector(2, &[2, 3, 4])].concat());
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[9; 32]),
            &vector(2, &[0x13, 0x01, 0x13, 0x02]),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ]
        .concat();
        let message = [&[CLIENT_HELLO][..], &vector(3, &body)].concat();
        let records = message.chunks(record_len);
        records.flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect()
    }

    /// Scenario: hellos with and without a name, in one record and in many, cut anywhere, and what is
    /// no hello.
    /// Guarantees: the name is read once all is there, in lower case; before, more is asked for; what
    /// is malformed has no name.
    #[test]
    fn names() {
        let named = |name: &str| ServerName::Named(name.to_owned());
        for record_len in [1, 7, 100, 4_096] {
            let whole = hello(Some(b"Inventory.shop"), record_len);
            assert_eq!(server_name(&whole), named("inventory.shop"));
            for len in 1..whole.len() {
                assert_eq!(server_name(&whole[..len]), ServerName::Unsure, "{len}");
            }
            assert_eq!(server_name(&[&whole[..], b"more"].concat()), named("inventory.shop"));
            assert_eq!(server_name(&hello(None, record_len)), ServerName::None);
        }
        assert_eq!(server_name(&hello(Some(b"a b"), 100)), ServerName::None);
        assert_eq!(server_name(&hello(Some(b""), 100)), ServerName::None);
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n"), ServerName::None);
        assert_eq!(server_name(b"\x16\x04\x01"), ServerName::None);
        assert_eq!(server_name(&[22, 3, 1, 0, 0]), ServerName::None);
        assert_eq!(server_name(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), ServerName::None);
        assert_eq!(server_name(&[22, 3, 1, 0, 4, 1, 255, 0, 0]), ServerName::None);
    }

    proptest! {
        /// Scenario: a hello with any bytes changed.
        /// Guarantees: nothing panics, and a name is a name.
        #[test]
        fn any_bytes(changes in proptest::collection::vec((0_usize..150, any::<u8>()), 0..8)) {
            let mut bytes = hello(Some(b"inventory"), 60);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let ServerName::Named(name) = server_name(&bytes) {
                prop_assert!((1..=NAME_LEN_MAX).contains(&name.len()));
            }
        }
    }
}
