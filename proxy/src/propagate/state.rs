//! The limits of `tracestate`: <https://www.w3.org/TR/trace-context-1/#tracestate-header>.

/// Members that a list may have, over all its headers.
const MEMBERS_MAX: usize = 32;
/// Length of a key without a tenant, of a tenant, of a tenant's system, and of a value.
const KEY_LEN_MAX: usize = 256;
const TENANT_LEN_MAX: usize = 241;
const SYSTEM_LEN_MAX: usize = 14;
const VALUE_LEN_MAX: usize = 256;

/// Whether these values, joined, are a list that may go on. Members without anything in them are
/// allowed; the same key twice is for its vendor to judge.
pub(super) fn is_valid<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let members = values.flat_map(|value| value.split(|byte| *byte == b','));
    let mut members = members.map(trim).filter(|member| !member.is_empty());
    let are_valid = members.by_ref().take(MEMBERS_MAX).all(is_member);
    are_valid && members.next().is_none()
}

/// Without spaces and tabs around it.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let is_value = (1..=VALUE_LEN_MAX).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, b' '..=b'~' if !b",=".contains(byte)));
    is_value && is_key(key)
}

fn is_key(key: &[u8]) -> bool {
    let of_chars = |text: &[u8], len_max: usize| {
        let is_char =
            |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        (1..=len_max).contains(&text.len()) && text.iter().all(is_char)
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => key.first().is_some_and(u8::is_ascii_lowercase) && of_chars(key, KEY_LEN_MAX),
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            let starts = tenant.first().is_some_and(u8::is_ascii_alphanumeric)
                && system.first().is_some_and(u8::is_ascii_lowercase);
            starts && of_chars(tenant, TENANT_LEN_MAX) && of_chars(system, SYSTEM_LEN_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: bool) {
        assert_eq!(is_valid(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
    }

    /// Scenario: members of every form that the grammar has, and one for each thing it forbids.
    /// Guarantees: just the former pass, at their greatest length, too.
    #[test]
    fn members_have_a_form() {
        for valid in [
            "a=1",
            "a=b c",
            "foo=1,bar=2",
            "foo=1 \t , \tbar=2",
            "a=1,,b=2,",
            "",
            "a-_*/9=!~",
            "1t@v=x",
            "fw529a3039@dt=FfAAAAABAAA",
            "a=1,a=2",
        ] {
            check(&[valid], true);
        }
        for invalid in [
            "a", "=1", "a=", "A=1", "1a=1", "a.b=1", "a =1", "@a=1", "a@=1", "a@@b=1", "a@b@c=1",
            "T@v=1", "a@1=1", "a=b=c", "a=\u{7f}", "a=\u{e9}", "a=b\tc", "ok=1,bad",
        ] {
            check(&[invalid], false);
        }
        let long = |letter: &str, len: usize| letter.repeat(len);
        for (extra, expected) in [(0, true), (1, false)] {
            check(&[&format!("{}=1", long("k", 256 + extra))], expected);
            check(&[&format!("{}@v=1", long("t", 241 + extra))], expected);
            check(&[&format!("t@{}=1", long("v", 14 + extra))], expected);
            check(&[&format!("k={}", long("v", 256 + extra))], expected);
        }
    }

    /// Scenario: 32 members and 33, in one header and in two, with empty ones between them.
    /// Guarantees: 32 pass; empty ones do not count.
    #[test]
    fn members_are_limited() {
        let members = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>();
        check(&[&members(32).join(",")], true);
        check(&[&members(33).join(",")], false);
        check(&[&members(32).join(", ,")], true);
        check(&[&members(16).join(","), &members(16).join(",")], true);
        check(&[&members(16).join(","), &members(17).join(",")], false);
    }
}
