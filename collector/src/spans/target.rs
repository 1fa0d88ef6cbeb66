//! What a request asks for.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A segment of a path that is longer than this names one thing, not a kind of them.
const SEGMENT_LEN_MAX: usize = 24;

/// What a request asks for, to tell repetitions by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Whether equal digests mean equal requests (an HTTP path with its query), so that two at
    /// once are a hedge. Of an RPC or a statement the arguments are not seen: two at once are two.
    pub is_whole: bool,
    /// Digest of method and full path with query, of RPC service and method, or of database
    /// statement.
    pub digest: u64,
    /// Digest of method and first path segment, of RPC service, or of database statement: those that
    /// one address may route alike.
    pub family: u64,
    /// Digest of the same without what names one thing of a kind: of method and path without the
    /// segments that are numbers or keys, of RPC service and method, or of statement without its
    /// literals.
    pub kind: u64,
}

impl Target {
    /// Of an HTTP request.
    pub fn http(method: &str, path: &str, query: &str) -> Self {
        let segments = || path.trim_start_matches('/').split('/');
        let head = segments().next().unwrap_or_default();
        Self {
            is_whole: true,
            digest: digest(&("http", method, path, query)),
            family: digest(&("http", method, head)),
            kind: digest_all("http", std::iter::once(method).chain(segments().map(unnamed))),
        }
    }

    /// Of an RPC.
    pub fn rpc(service: &str, method: &str) -> Self {
        let whole = digest(&("rpc", service, method));
        Self { is_whole: false, digest: whole, family: digest(&("rpc", service)), kind: whole }
    }

    /// Of a database statement.
    pub fn statement(statement: &str) -> Self {
        let whole = digest(&("db", statement));
        Self {
            is_whole: false,
            digest: whole,
            family: whole,
            kind: digest_all("db", words(statement)),
        }
    }
}

/// A segment of a path, or nothing where it has the look of a number or a key.
fn unnamed(segment: &str) -> &str {
    let is_name = segment.len() <= SEGMENT_LEN_MAX && !segment.bytes().any(is_of_a_key);
    if is_name { segment } else { "" }
}

fn is_of_a_key(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'%' | b'=' | b'@' | b':')
}

/// What stands between the literals of a statement: numbers, and what is quoted.
fn words(statement: &str) -> impl Iterator<Item = &str> {
    let outside = statement.split('\'').step_by(2);
    let words = outside.flat_map(|text| text.split(|c: char| c.is_ascii_digit()));
    words.filter(|word| !word.is_empty())
}

fn digest(parts: &impl Hash) -> u64 {
    // Without a seed, so that equal targets are equal in all batches. Who makes two targets
    // collide confuses the figures of a trace that he could have made up anyway.
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

fn digest_all<'a>(what: &str, parts: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    parts.for_each(|part| part.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: pairs of requests for things of one kind, and of two.
    /// Guarantees: only what names one thing is left out of the kind: a number, a key, an id; never a
    /// word, a method or another depth.
    #[test]
    fn kinds_leave_out_what_names_one_thing() {
        let http = |text: &str| {
            let (method, path) = text.split_once(' ').unwrap();
            Target::http(method, path, "")
        };
        let alike = |a: &str, b: &str| assert_eq!(http(a).kind, http(b).kind, "{a}, {b}");
        let apart = |a: &str, b: &str| assert_ne!(http(a).kind, http(b).kind, "{a}, {b}");
        alike("GET /stock/1", "GET /stock/22");
        alike("GET /product/OLJCESPC7Z", "GET /product/66VCHSJNUP");
        alike("GET /u/7b2f9c1e-0a4d-4e5f-9b1c-2d3e4f5a6b7c/cart", "GET /u/a@b/cart");
        alike("GET /x/abcdefabcdefabcdefabcdefabcdef", "GET /x/fedcbafedcbafedcbafedcbafedcba");
        apart("GET /api/cart", "GET /api/price");
        apart("GET /stock/1", "PUT /stock/1");
        apart("GET /stock/1", "GET /stock/1/price");
        apart("GET /stock", "GET /stock/1");
        assert_eq!(Target::http("GET", "/a", "id=1").kind, Target::http("GET", "/a", "id=2").kind);
        assert_ne!(Target::rpc("Cart", "Get").kind, Target::rpc("Cart", "Put").kind);
        let kind = |text: &str| Target::statement(text).kind;
        assert_eq!(kind("SELECT * FROM t WHERE id = 7"), kind("SELECT * FROM t WHERE id = 12"));
        assert_eq!(kind("SELECT 1 FROM t WHERE n = 'x'"), kind("SELECT 2 FROM t WHERE n = 'y z'"));
        assert_ne!(kind("SELECT * FROM t WHERE id = 7"), kind("SELECT * FROM u WHERE id = 7"));
    }
}
