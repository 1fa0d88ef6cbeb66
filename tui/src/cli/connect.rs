//! A collector at the other end: asked once, or followed.

use super::exit::Failure;
use anyhow::{Context as _, anyhow};
use fusebox::address::{Address, Client};
use fusebox_proto::view::{Snapshot, Update};
use fusebox_proto::wire::v1;
use std::path::Path;
use std::time::Duration;
use tonic::{Status, Streaming};

/// A collector that has not answered by then does not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Which collector, and what opens its door.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Control address.
    pub(crate) url: String,
    /// Where it asks for one.
    pub(crate) token: Option<String>,
}

/// Reads a token from a file: one word, a final line break apart.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "holds no token, which is one word of printable ASCII";
        return Err(Failure::Usage(format!("--token-file {} {reason}", path.display())));
    }
    Ok(token.to_owned())
}

impl Target {
    /// Connects, and no further: whether a collector answers there shows with the first call.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let token = self.token.as_deref();
        let address =
            Address::new(&self.url, token).map_err(|error| Failure::Usage(format!("{error:#}")))?;
        address.connect().await.map_err(|reason| {
            Failure::Failed(anyhow!("no collector answers at {}: {reason}", self.url))
        })
    }

    /// Whether a collector is there, also one that wants another token.
    pub(crate) async fn answers(&self) -> bool {
        let Ok(mut client) = self.connect().await else { return false };
        let call = tokio::time::timeout(ANSWER_TIMEOUT, client.watch(v1::WatchRequest {}));
        match call.await {
            Ok(Ok(_)) => true,
            Ok(Err(status)) => status.code() == tonic::Code::Unauthenticated,
            Err(_) => false,
        }
    }

    /// The answer to one call, in time.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::refused(&self.url, &status)),
            Err(_) => Err(self.late()),
        }
    }

    /// The snapshot of now, and what comes after it.
    pub(crate) async fn follow(&self) -> Result<Follow, Failure> {
        let mut client = self.connect().await?;
        let updates = self.answer(client.watch(v1::WatchRequest {})).await?;
        let mut follow = Follow { url: self.url.clone(), updates, snapshot: Snapshot::default() };
        tokio::time::timeout(ANSWER_TIMEOUT, follow.next()).await.map_err(|_| self.late())??;
        Ok(follow)
    }

    fn late(&self) -> Failure {
        let s = ANSWER_TIMEOUT.as_secs();
        Failure::Failed(anyhow!("the collector at {} has not answered for {s} s", self.url))
    }
}

/// A collector that is followed.
#[derive(Debug)]
pub(crate) struct Follow {
    url: String,
    updates: Streaming<v1::Update>,
    /// Everything as of the last update.
    pub(crate) snapshot: Snapshot,
}

impl Follow {
    /// Waits for the next update and applies it.
    pub(crate) async fn next(&mut self) -> Result<(), Failure> {
        let update = match self.updates.message().await {
            Ok(Some(update)) => update,
            Ok(None) => return Err(Failure::Failed(anyhow!("the collector at {} left", self.url))),
            Err(status) => return Err(Failure::refused(&self.url, &status)),
        };
        let update = Update::try_from(update)
            .with_context(|| format!("the collector at {} says what does not parse", self.url))?;
        match update {
            Update::Snapshot(snapshot) => self.snapshot = *snapshot,
            Update::Delta(delta) => self.snapshot.apply(*delta),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: token files that hold a token, and such that do not.
    /// Guarantees: a wrong file is the operator's affair (2) and is named.
    #[test]
    fn token_files_hold_one_word() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: Option<&str>, expected: Option<&str>| {
            let path = folder.path().join("token");
            match text {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            match read_token(&path) {
                Ok(token) => assert_eq!(Some(token.as_str()), expected),
                Err(failure) => {
                    assert_eq!((expected, failure.exit().code()), (None, 2));
                    assert!(failure.to_string().contains("--token-file"), "{failure}");
                }
            }
        };
        check(Some("s3cret-s3cret\n"), Some("s3cret-s3cret"));
        check(Some("s3cret-s3cret"), Some("s3cret-s3cret"));
        check(Some(""), None);
        check(Some("two words\n"), None);
        check(Some("bro\x1bken\n"), None);
        check(None, None);
    }
}
