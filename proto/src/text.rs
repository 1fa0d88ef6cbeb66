//! Untrusted text, made visible once, at ingest: what came over the network never reaches a
//! terminal raw.

use std::borrow::Cow;

/// `text` with control, escape, bidi and other invisible characters written as `\u{1b}`, so that
/// they can be read but do nothing.
pub fn visible(text: &str) -> Cow<'_, str> {
    // Most text is of ASCII alone, of which nothing is dangerous between the space and the tilde.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain || !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_dangerous(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// `text` cut to at most `len_max` bytes at a character boundary, with `…` where something was cut.
pub fn cut(text: &str, len_max: usize) -> Cow<'_, str> {
    if text.len() <= len_max {
        return Cow::Borrowed(text);
    }
    let room = len_max.saturating_sub('…'.len_utf8());
    let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// Characters that move a cursor, start an escape sequence, reorder text or cannot be seen.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: text with escapes, bidi overrides and plain letters of many scripts.
    /// Guarantees: what acts on a terminal becomes visible, what is only text stays.
    #[test]
    fn invisible_characters_become_visible() {
        let check = |input: &str, expected: &str| assert_eq!(visible(input), expected);
        check("payment", "payment");
        check("zahlung-ä-支付", "zahlung-ä-支付");
        check("\x1b[31mred", "\\u{1b}[31mred");
        check("a\u{202e}b", "a\\u{202e}b");
        check("line\nbreak", "line\\u{a}break");
        check("\u{9b}2J", "\\u{9b}2J");
    }

    /// Scenario: long text cut in the middle of a character.
    /// Guarantees: the result is valid, within the limit, and says that it was cut.
    #[test]
    fn cut_keeps_characters_whole() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("aäbäc", 6), "aä…");
        assert_eq!(cut("ääää", 2), "…");
    }
}
