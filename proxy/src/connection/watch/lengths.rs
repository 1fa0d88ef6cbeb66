//! Whether a head of HTTP/1 names a `Content-Length`.
//!
//! Beside a `Transfer-Encoding` hyper drops it, before anybody is asked: it reads such a request in the
//! one way of RFC 9112, 6.3, and closes. We refuse it, because whoever sends both wants two servers to
//! read it in two ways. So the lines of a head are looked at as they come: of each the first byte, and
//! where that may begin the name, the name.

/// With its colon, before which nothing may stand.
const NAME: &[u8] = b"content-length:";

/// Reads along. It stops behind the first head, and begins anew with the next one that it is told of:
/// what is pipelined behind a request is not looked at, and read in the one way.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Bytes of the name that the line began with.
    matched: usize,
    /// Bytes of the line, without its end.
    line: usize,
    /// A line that was not empty came: an empty one ends the head.
    has_begun: bool,
    is_over: bool,
}

impl HeadScan {
    /// Takes what was read next, of a new head if the one before is over. Says whether the name ended in
    /// it.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        if self.is_over {
            *self = Self::default();
        }
        let mut rest = bytes;
        let mut is_named = false;
        while !self.is_over && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (line, behind) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            is_named |= self.part_of_line(line);
            if end.is_some() {
                self.end_line();
            }
            rest = behind;
        }
        is_named
    }

    fn part_of_line(&mut self, part: &[u8]) -> bool {
        let before = self.matched;
        // Only a line that is the name so far goes on to be it; few begin with its first letter.
        let may_be =
            before != 0 || part.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&NAME[0]));
        if self.line == before && may_be {
            let wanted = &NAME[before..];
            let same = part.iter().zip(wanted).take_while(|(a, b)| a.eq_ignore_ascii_case(b));
            self.matched += same.count();
        }
        let text = part.strip_suffix(b"\n").unwrap_or(part);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.line += text.len();
        before < NAME.len() && self.matched == NAME.len()
    }

    fn end_line(&mut self) {
        self.is_over = self.has_begun && self.line == 0;
        self.has_begun |= self.line != 0;
        (self.line, self.matched) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: heads with and without the name, in other letters, as another field's end or value, in
    /// the body behind, and with empty lines before; each in one piece, in two at every place, and byte
    /// by byte; then another head.
    /// Guarantees: the name is found where it is a field of the head, however it comes, and nowhere
    /// else.
    #[test]
    fn a_length_is_a_field_of_the_head() {
        for (text, expected) in [
            ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na", true),
            ("POST / HTTP/1.1\r\nCONTENT-Length:1\r\nhost: x\r\n\r\na", true),
            ("POST / HTTP/1.1\ncontent-length: 1\n\na", true),
            ("\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 1\r\n\r\na", true),
            ("POST / HTTP/1.1\r\nhost: x\r\n\r\ncontent-length: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nx-content-length: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\ncontent-lengths: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nx: content-length: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nccontent-length: 1\r\n\r\n", false),
            ("POST /content-length:1 HTTP/1.1\r\n\r\n", false),
            ("\r\n\n\r\n", false),
        ] {
            let bytes = text.as_bytes();
            let check = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                let mut scan = HeadScan::default();
                let mut is_named = false;
                while !scan.is_over
                    && let Some(piece) = pieces.next()
                {
                    is_named |= scan.read(piece);
                }
                assert_eq!(is_named, expected, "{text:?}");
            };
            check(&mut [bytes].into_iter());
            check(&mut bytes.chunks(1));
            (0..bytes.len()).for_each(|at| {
                let (first, second) = bytes.split_at(at);
                check(&mut [first, second].into_iter());
            });
        }
        let mut scan = HeadScan::default();
        assert!(!scan.read(b"GET / HTTP/1.1\r\n\r\n") && scan.is_over);
        assert!(scan.read(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n"), "the next one");
    }
}
