//! What a connection speaks, told by its first bytes.
//!
//! HTTP is what any server could take for HTTP, also a lenient one: what a strict reader would not
//! call a request must be refused by the gate rather than passed on unread. The first line decides,
//! behind the blank lines that servers skip: a method that everybody knows, or the word `http/`
//! anywhere in it. Whatever else comes is carried as it is.

pub(crate) mod client_hello;

/// A first line longer than this, all of it text, is left to the HTTP parser.
const LINE_LEN_MAX: usize = 2_048;

const METHODS: [&str; 13] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
    "PROPFIND", "MKCOL", "REPORT",
];

/// What the bytes so far look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// HTTP, or something that only its parser may refuse.
    Http,
    /// Anything else.
    Opaque,
    /// It takes more bytes to tell.
    Unsure,
}

/// Looks at the first bytes of a connection.
pub(crate) fn guess(bytes: &[u8]) -> Guess {
    let Some(start) = bytes.iter().position(|byte| !b"\r\n \t".contains(byte)) else {
        return if bytes.len() < LINE_LEN_MAX { Guess::Unsure } else { Guess::Http };
    };
    let bytes = &bytes[start..];
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let line = &bytes[..end.unwrap_or(bytes.len())];
    let word = line.iter().take_while(|&&byte| is_token(byte)).count();
    let is_method = METHODS.iter().any(|method| method.as_bytes() == &line[..word])
        && line.get(word).is_some_and(|byte| b" \t".contains(byte));
    if is_method || line.windows(5).any(|word| word.eq_ignore_ascii_case(b"http/")) {
        return Guess::Http;
    }
    // No head has such bytes, and protocols that do may have no lines at all; and no server reads a
    // method that begins with what is no letter of a token.
    let is_binary = line.iter().any(|&byte| byte < b' ' && !b"\r\t".contains(&byte));
    if word == 0 || is_binary || end.is_some() {
        Guess::Opaque
    } else if line.len() < LINE_LEN_MAX {
        Guess::Unsure
    } else {
        Guess::Http
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scenario: first bytes of HTTP in every shape that some server reads, of databases and other
    /// protocols, and too few of them.
    /// Guarantees: what could be HTTP is; what cannot is not; what is open waits.
    #[test]
    fn first_bytes() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(guess(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        };
        check(b"GET ", Guess::Http);
        check(b"GET\t/", Guess::Http);
        check(b"POST / HTTP/1.1\r\n", Guess::Http);
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess::Http);
        check(b"\r\n\r\nGET / HTTP/1.1\r\n", Guess::Http);
        check(b"  get / http/1.1\r\n", Guess::Http);
        check(b"BREW /pot HTCPCP/1.0\r\n", Guess::Opaque);
        check(b"BREW /pot HTTP/1.1\r\n", Guess::Http);
        check(b"G\0ET / HTTP/1.1\r\n", Guess::Http);
        check(b"\"GET / HTTP/1.1\r\n", Guess::Http);
        check(b"\xef\xbb\xbfGET / HTTP/1.1\r\n", Guess::Http);
        check(b"/ HTTP/1.1\r\n", Guess::Http);
        check(b"GET", Guess::Unsure);
        check(b"", Guess::Unsure);
        check(b"\r\n", Guess::Unsure);
        check(b"a".repeat(LINE_LEN_MAX).as_slice(), Guess::Http);
        check(b"*1\r\n$4\r\nPING\r\n", Guess::Opaque);
        check(b"PING\r\n", Guess::Opaque);
        check(b"set key 0 0 3\r\n", Guess::Opaque);
        check(b"SSH-2.0-OpenSSH_9.6\r\n", Guess::Opaque);
        check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Guess::Opaque);
        check(b"\0\0\0\x08\x04\xd2\x16\x2f", Guess::Opaque);
        check(b"A\0\0\0\x01\0\0\0", Guess::Opaque);
        check(b"{\"op\":1}", Guess::Opaque);
    }

    proptest! {
        /// Scenario: any bytes, growing one by one.
        /// Guarantees: once it is told, more bytes of the same line change nothing towards opaque: a
        /// request that arrives in pieces is never passed on unread.
        #[test]
        fn http_in_pieces(method in "[A-Z]{1,8}", target in "/[ -~]{0,40}", version in "HTTP/1\\.[01]") {
            let line = format!("{method} {target} {version}\r\n");
            for len in 0..=line.len() {
                prop_assert_ne!(guess(&line.as_bytes()[..len]), Guess::Opaque, "{} of {:?}", len, line);
            }
            prop_assert_eq!(guess(line.as_bytes()), Guess::Http);
        }

        /// Scenario: any bytes at all.
        /// Guarantees: there is an answer, and never one to wait for beyond the limit.
        #[test]
        fn always_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let guess = guess(&bytes);
            prop_assert!(guess != Guess::Unsure || bytes.len() < 2 * LINE_LEN_MAX);
        }
    }
}
