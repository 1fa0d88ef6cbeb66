use super::*;

fn head(version: Version, target: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = http::Request::builder().version(version).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn gate(version: Version, target: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
    let mut head = head(version, target, headers);
    let host = HeaderValue::from_static("fallback");
    admit(&mut head, &host).map_err(|rejected| rejected.status.as_u16())?;
    let mut left: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    left.sort();
    Ok(format!("{} | {}", head.uri, left.join(" | ")))
}

/// Scenario: HTTP/1 requests whose target is clear, doubtful, or missing.
/// Guarantees: what passes has one `Host` and origin form; the rest is refused.
#[test]
fn http1_targets() {
    let check = |version, target: &str, headers: &[(&str, &str)], expected: Result<&str, u16>| {
        assert_eq!(gate(version, target, headers), expected.map(str::to_owned), "{target}");
    };
    let one = Version::HTTP_11;
    check(one, "/a?b", &[("host", "x")], Ok("/a?b | host: x"));
    check(one, "/", &[("host", "x:8080")], Ok("/ | host: x:8080"));
    check(one, "/", &[("host", "[::1]:80")], Ok("/ | host: [::1]:80"));
    check(one, "http://y/a", &[("host", "x")], Ok("/a | host: y"));
    check(one, "http://y", &[("host", "x")], Ok("/ | host: y"));
    check(one, "/", &[], Err(400));
    check(Version::HTTP_10, "/", &[], Ok("/ | host: fallback"));
    check(one, "/", &[("host", "x"), ("host", "x")], Err(400));
    check(one, "/", &[("host", "")], Err(400));
    check(one, "/", &[("host", "a b")], Err(400));
    check(one, "/", &[("host", "a/b")], Err(400));
    check(one, "/", &[("host", "a@b")], Err(400));
    check(one, "/", &[("host", "a:99999")], Err(400));
    check(one, "/", &[("host", "a:65536")], Err(400));
    check(one, "/", &[("host", "a:8080x")], Err(400));
    check(one, "/", &[("host", "a:b:1")], Err(400));
    check(one, "/", &[("host", ":80")], Err(400));
    check(one, "/", &[("host", "[::1")], Err(400));
    check(one, "/", &[("host", "[x]:1")], Err(400));
    check(one, "/", &[("host", "::1")], Err(400));
    check(one, "http://u@y/", &[("host", "x")], Err(400));
    check(one, "*", &[("host", "x")], Err(400));
    check(one, "http://y?a", &[("host", "x")], Ok("/?a | host: y"));
    check(one, "y:80", &[("host", "x")], Err(400));
    check(one, "y", &[("host", "x")], Err(400));
    check(one, "ftp://y/", &[("host", "x")], Err(400));
    check(one, "/\u{e9}", &[("host", "x")], Err(400));
    check(one, "/", &[("host", "[1.2.3.4]")], Err(400));
}

/// Scenario: HTTP/2 requests that name their target in either way, both ways, or not.
/// Guarantees: what passes has `:authority` and no `Host`.
#[test]
fn http2_targets() {
    let check = |target: &str, headers: &[(&str, &str)], expected: Result<&str, u16>| {
        let got = gate(Version::HTTP_2, target, headers);
        assert_eq!(got, expected.map(str::to_owned), "{target} {headers:?}");
    };
    check("http://x/a", &[], Ok("http://x/a | "));
    check("http://x/a", &[("host", "x")], Ok("http://x/a | "));
    check("http://x/a", &[("host", "y")], Err(400));
    check("/a", &[("host", "x")], Ok("http://x/a | "));
    check("/a", &[("host", "x"), ("host", "x")], Err(400));
    check("/a", &[], Err(400));
    check("http://x/a", &[("b", " c\t")], Ok("http://x/a | b: c"));
    check("ftp://x/a", &[], Err(400));
    check("http://x?/a", &[], Err(400));
}

/// Scenario: lengths in all forms that hyper and h2 let through.
/// Guarantees: one length passes, in its shortest form.
#[test]
fn one_plain_length() {
    let check = |lengths: &[&str], expected: Result<&str, u16>| {
        let mut all = vec![("host", "x")];
        all.extend(lengths.iter().map(|length| ("content-length", *length)));
        let expected = expected.map(|length| format!("/ | content-length: {length} | host: x"));
        assert_eq!(gate(Version::HTTP_11, "/", &all), expected, "{lengths:?}");
    };
    check(&["0"], Ok("0"));
    check(&["10"], Ok("10"));
    check(&["010"], Ok("10"));
    check(&["000"], Ok("0"));
    check(&["5", "5"], Ok("5"));
    check(&["5", "05"], Ok("5"));
    check(&["5", "6"], Err(400));
    check(&["9223372036854775807"], Ok("9223372036854775807"));
    check(&["9223372036854775808"], Err(400));
    check(&["+5"], Err(400));
    check(&[""], Err(400));
}

/// Scenario: framing and upgrades that two servers might read differently.
/// Guarantees: only one plain `chunked` passes; nothing becomes a tunnel.
#[test]
fn framing_and_upgrades() {
    let check = |headers: &[(&str, &str)], expected: u16| {
        let mut all = vec![("host", "x")];
        all.extend_from_slice(headers);
        let got = gate(Version::HTTP_11, "/", &all).err().unwrap_or(200);
        assert_eq!(got, expected, "{headers:?}");
    };
    check(&[("transfer-encoding", "chunked")], 200);
    check(&[("transfer-encoding", "Chunked")], 200);
    check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 501);
    check(&[("transfer-encoding", "chunked, chunked")], 501);
    check(&[("transfer-encoding", ",chunked")], 501);
    check(&[("transfer-encoding", "identity, chunked")], 501);
    check(&[("transfer-encoding", "cow")], 501);
    check(&[("transfer-encoding", "chunked"), ("content-length", "3")], 400);
    check(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")], 200);
    check(&[("connection", "upgrade"), ("upgrade", "websocket")], 501);
    check(&[("upgrade", "h2c, websocket")], 501);
    let old = [("host", "x"), ("transfer-encoding", "chunked")];
    assert_eq!(gate(Version::HTTP_10, "/", &old), Err(400));
}

/// Scenario: headers that speak to one hop only, and senders that name others as such.
/// Guarantees: the former go, lengths and hosts stay, `te` keeps `trailers` alone.
#[test]
fn hop_by_hop_headers() {
    let check = |headers: &[(&str, &str)], expected: &str| {
        let mut all = vec![("host", "x")];
        all.extend_from_slice(headers);
        assert_eq!(gate(Version::HTTP_11, "/", &all).unwrap(), format!("/ | {expected}"));
    };
    check(&[("connection", "close, x-a"), ("x-a", "1"), ("x-b", "2")], "host: x | x-b: 2");
    check(&[("connection", "x-a"), ("connection", "x-b"), ("x-b", "2")], "host: x");
    check(
        &[("connection", "content-length, host"), ("content-length", "3")],
        "content-length: 3 | host: x",
    );
    check(&[("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive")], "host: x");
    check(&[("te", "gzip, trailers"), ("connection", "te")], "host: x | te: trailers");
    check(&[("te", "gzip")], "host: x");
    check(&[("upgrade", "h2c"), ("http2-settings", "AAM")], "host: x");
}
