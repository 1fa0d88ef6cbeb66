//! The shared secret that proxies and consoles show, where one is asked for.

use fusebox_proto::Invalid;
use std::path::Path;
use subtle::ConstantTimeEq as _;
use tonic::{Request, Status};

/// A shorter token could be guessed.
const TOKEN_LEN_MIN: usize = 16;
/// A longer file is no token.
const TOKEN_LEN_MAX: usize = 1_024;

/// A bearer token. Never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// Reads it from a file: printable ASCII without blanks, a final line break apart.
    pub(crate) fn read(path: &Path) -> Result<Self, Invalid> {
        let invalid =
            |reason: String| Invalid::new("--token-file", format!("{} {reason}", path.display()));
        let text =
            std::fs::read_to_string(path).map_err(|e| invalid(format!("cannot be read: {e}")))?;
        let token = text.trim_end_matches(['\r', '\n']);
        if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) {
            let reason = format!(
                "holds {} characters; a token has {TOKEN_LEN_MIN} to {TOKEN_LEN_MAX}",
                token.len()
            );
            return Err(invalid(reason));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("holds more than one word of printable ASCII".into()));
        }
        Ok(Self(token.to_owned()))
    }

    /// Whether `header`, the value of `authorization`, is `Bearer <this token>`. Takes as long for
    /// a wrong token as for a right one.
    fn admits(&self, header: &str) -> bool {
        let shown =
            header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        shown.is_some_and(|(_, shown)| shown.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

/// Refuses calls that do not show the token; the door of every service on the control address.
pub(crate) fn door(
    token: Option<Token>,
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        let Some(token) = &token else { return Ok(request) };
        match request.metadata().get("authorization").map(|value| value.to_str()) {
            Some(Ok(shown)) if token.admits(shown) => Ok(request),
            Some(_) => Err(Status::unauthenticated("this is not the collector's token")),
            None => Err(Status::unauthenticated(
                "the collector asks for a token: give --token-file to proxy and console",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Token, Invalid> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, text).unwrap();
        Token::read(&file)
    }

    /// Scenario: token files that hold a token, and such that do not.
    /// Guarantees: an empty, short or broken file never becomes a token that is easy to guess.
    #[test]
    fn a_token_file_holds_one_token() {
        let check = |text: &str, reason: Option<&str>| match (read(text), reason) {
            (Ok(_), None) => (),
            (Err(invalid), Some(word)) => assert!(invalid.reason.contains(word), "{invalid}"),
            (result, _) => panic!("{text:?}: {:?}", result.map(|_| ())),
        };
        check("0123456789abcdef", None);
        check("0123456789abcdef\n", None);
        check("0123456789abcdef\r\n", None);
        check("", Some("0 characters"));
        check("\n\n", Some("0 characters"));
        check("short", Some("5 characters"));
        check("0123456789abcdef 0123456789", Some("one word"));
        check("0123456789abcdef\n0123456789", Some("one word"));
        check(&"a".repeat(2_000), Some("2000 characters"));
        let missing = Token::read(Path::new("no/such/file")).map(|_| ()).unwrap_err();
        assert!(missing.reason.contains("no/such/file cannot be read"), "{missing}");
    }

    /// Scenario: calls with the right token, with another, with none.
    /// Guarantees: only the right one passes; where no token is set, everyone does.
    #[test]
    fn the_door_opens_for_the_token() {
        let token = read("0123456789abcdef").unwrap();
        let check = |token: Option<&Token>, shown: Option<&str>, passes: bool| {
            let mut request = Request::new(());
            if let Some(shown) = shown {
                request.metadata_mut().insert("authorization", shown.parse().unwrap());
            }
            let result = door(token.cloned())(request);
            assert_eq!(result.is_ok(), passes, "{shown:?}");
            if let Err(status) = result {
                assert_eq!(status.code(), tonic::Code::Unauthenticated);
            }
        };
        check(None, None, true);
        check(None, Some("Bearer whatever"), true);
        check(Some(&token), Some("Bearer 0123456789abcdef"), true);
        check(Some(&token), Some("bearer 0123456789abcdef"), true);
        check(Some(&token), Some("Bearer 0123456789abcdeX"), false);
        check(Some(&token), Some("Bearer 0123456789abcde"), false);
        check(Some(&token), Some("Bearer "), false);
        check(Some(&token), Some("Basic 0123456789abcdef"), false);
        check(Some(&token), Some("0123456789abcdef"), false);
        check(Some(&token), None, false);
    }
}
