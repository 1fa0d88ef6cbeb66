//! HPACK (RFC 7541), independent of h2: a reader for the origin, a plain writer for clients.

use std::collections::VecDeque;

/// Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Appendix B as lengths in bits by symbol, the last for the end of the string: the code is
/// canonical, shorter codes first and then in order of their symbols.
#[rustfmt::skip]
const HUFFMAN_LENS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// A name and a value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// The reader's state on one connection.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    dynamic: VecDeque<Field>,
}

/// Entries that 4,096 octets can hold at most.
const ENTRIES_MAX: usize = 4_096 / 32;

impl Decoder {
    /// The fields of a block; `None` if it is none.
    pub(crate) fn block(&mut self, mut block: &[u8]) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut block, 7)?;
                fields.push(self.entry(index)?);
                continue;
            }
            if first & 0xe0 == 0x20 {
                // The table gets smaller: what falls out is not asked for again.
                integer(&mut block, 5).filter(|&size| size <= 4_096)?;
                self.dynamic.clear();
                continue;
            }
            let is_indexing = first & 0x40 != 0;
            let index = integer(&mut block, if is_indexing { 6 } else { 4 })?;
            let name = if index == 0 { string(&mut block)? } else { self.entry(index)?.0 };
            let field = (name, string(&mut block)?);
            if is_indexing {
                self.dynamic.push_front(field.clone());
                self.dynamic.truncate(ENTRIES_MAX);
            }
            fields.push(field);
        }
        Some(fields)
    }

    fn entry(&self, index: usize) -> Option<Field> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.dynamic.get(index - STATIC.len()).cloned(),
        }
    }
}

fn integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*block.split_off_first()?) & mask;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.split_off_first()?;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn string(block: &mut &[u8]) -> Option<Vec<u8>> {
    let is_huffman = block.first()? & 0x80 != 0;
    let len = integer(block, 7)?;
    let bytes = block.split_off(..len)?;
    if is_huffman { huffman(bytes) } else { Some(bytes.to_vec()) }
}

fn huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut symbols: Vec<(u8, u16)> =
        HUFFMAN_LENS.iter().zip(0..).map(|(&len, symbol)| (len, symbol)).collect();
    symbols.sort_unstable();
    let (mut text, mut code, mut len) = (Vec::new(), 0_u32, 0_u8);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        len += 1;
        if let Some(symbol) = symbol(&symbols, code, len) {
            text.push(u8::try_from(symbol).ok()?);
            (code, len) = (0, 0);
        }
    }
    // Padding is the beginning of the end-of-string code: ones, less than a byte.
    (len < 8 && code == (1 << len) - 1).then_some(text)
}

fn symbol(symbols: &[(u8, u16)], code: u32, len: u8) -> Option<u16> {
    let mut next = 0_u32;
    let mut last_len = symbols[0].0;
    for &(symbol_len, symbol) in symbols {
        next <<= symbol_len - last_len;
        last_len = symbol_len;
        if len < symbol_len {
            return None;
        }
        if symbol_len == len && next == code {
            return Some(symbol);
        }
        next += 1;
    }
    None
}

/// A block of literals that no table remembers.
pub(crate) fn encode<'f>(fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_len(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

fn put_len(block: &mut Vec<u8>, len: usize) {
    if len < 127 {
        block.push(len as u8);
        return;
    }
    block.push(127);
    let mut rest = len - 127;
    while 128 <= rest {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(u8::is_ascii_hexdigit)
            .map(|digit| digit.to_ascii_lowercase())
            .collect();
        let value =
            |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
    }

    /// Scenario: the requests of RFC 7541, C.4: Huffman, literals, both tables; and own blocks.
    /// Guarantees: they read as the RFC says; what we write reads back; junk does not read.
    #[test]
    fn the_rfcs_examples() {
        let mut decoder = Decoder::default();
        let mut check = |block: &str, last: (&str, &str), count: usize| {
            let fields = decoder.block(&hex(block)).unwrap();
            assert_eq!(fields.len(), count);
            let expected = (last.0.as_bytes().to_vec(), last.1.as_bytes().to_vec());
            assert_eq!(fields[count - 1], expected);
        };
        check("828684418cf1e3c2e5f23a6ba0ab90f4ff", (":authority", "www.example.com"), 4);
        check("828684be5886a8eb10649cbf", ("cache-control", "no-cache"), 5);
        check(
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ("custom-key", "custom-value"),
            5,
        );
        let long = "v".repeat(20_000);
        let block = encode([(&b"a"[..], long.as_bytes()), (b":path", b"/")]);
        let read = Decoder::default().block(&block).unwrap();
        assert_eq!(read[0].1.len(), long.len());
        assert_eq!(read[1], (b":path".to_vec(), b"/".to_vec()));
        for junk in ["80", "ff", "be", "0005", "0081", "400180"] {
            assert_eq!(Decoder::default().block(&hex(junk)), None, "{junk}");
        }
    }
}
