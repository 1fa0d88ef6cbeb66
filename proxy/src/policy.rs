//! The traffic policy of one proxy: what is in force, and what it makes of each listener.
//!
//! A policy comes whole: pushed by a collector, from the disk of the last life (`--state-dir`), or
//! from a file (`--config`). It is compiled here with the same code as everywhere else; one that
//! does not compile is rejected with the findings, and the last good one stays. What it means for
//! a listener is worked out once, as a [`Plan`], and swapped in whole: a request takes the plan of
//! its listener when it arrives, and keeps it to its end.
//!
//! | part | what it does |
//! |---|---|
//! | [`Standing`] | which version is in force, and what to answer to the next |
//! | [`plan`] | where the requests of one listener go, and how |
//! | [`edits`] | header edits, ready to be applied |
//! | [`turns`] | shares of traffic |
//! | [`told`] | what a collector is told of endpoints |
//! | [`disk`] | the last good policy, kept over a restart |

pub(crate) mod disk;
pub(crate) mod edits;
pub(crate) mod entries;
pub(crate) mod plan;
pub(crate) mod told;
pub(crate) mod turns;

use crate::config::Config;
use fusebox_proto::Invalid;
use fusebox_proto::policy::{self, Document, Finding, Policy, Profile, Push, PushAck};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A reason for a rejection is cut to this many bytes; the first findings say enough.
const REASON_LEN_MAX: usize = 2_048;

/// Where a policy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody gave one.
    Nobody,
    /// `--config`.
    File,
    /// `--state-dir`.
    Disk,
    /// A collector, in this life.
    Collector,
}

impl Source {
    /// As on the admin page.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::File => "file",
            Self::Disk => "state-dir",
            Self::Collector => "collector",
        }
    }
}

/// A compiled policy, with all that there is to say about it.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// Of the collector; 0: of no collector.
    pub(crate) version: u64,
    /// Where it came from.
    pub(crate) source: Source,
    /// Compiled.
    pub(crate) policy: Arc<Policy>,
    /// Warnings and notes.
    pub(crate) findings: Vec<Finding>,
    /// As pushed; empty for a policy of no collector.
    documents: Vec<String>,
}

impl Default for InForce {
    fn default() -> Self {
        let policy = Arc::default();
        let (findings, documents) = (Vec::new(), Vec::new());
        Self { version: 0, source: Source::Nobody, policy, findings, documents }
    }
}

impl InForce {
    /// The policy of a push.
    ///
    /// # Errors
    /// Why it is refused whole, in the words of its findings.
    pub(crate) fn compile(push: &Push, source: Source) -> Result<Self, String> {
        let mut documents = Vec::new();
        let mut findings = Vec::new();
        for (at, text) in push.documents.iter().enumerate() {
            let read = policy::read(&format!("document {}", at + 1), text);
            let (mut own, mut said) = read.map_err(|findings| reason(&findings))?;
            documents.append(&mut own);
            findings.append(&mut said);
        }
        let (policy, mut said) = compile(&documents, push.profile)?;
        findings.append(&mut said);
        Ok(Self {
            version: push.version,
            source,
            policy: Arc::new(policy),
            findings,
            documents: push.documents.clone(),
        })
    }

    /// The policy of a file, for a proxy without a collector.
    ///
    /// # Errors
    /// If it does not compile; the error names the file's lines.
    pub(crate) fn of_file(documents: &[Document]) -> Result<Self, Invalid> {
        let compiled = compile(documents, Profile::default());
        let (policy, findings) = compiled.map_err(|reason| Invalid::new("--config", reason))?;
        let policy = Arc::new(policy);
        Ok(Self { source: Source::File, policy, findings, ..Self::default() })
    }
}

/// The policy that a proxy starts with: the last good one of its collector, if it kept one, else
/// that of its file.
///
/// # Errors
/// If the file's policy does not compile. What the disk has is the proxy's own affair: it is said,
/// and ignored.
pub(crate) fn at_start(config: &Config) -> Result<InForce, Invalid> {
    let of_file = match &config.policy[..] {
        [] => InForce::default(),
        documents => InForce::of_file(documents)?,
    };
    let Some(directory) = &config.state_dir else {
        return Ok(of_file);
    };
    let at = directory.display();
    match disk::load(directory) {
        Ok(None) => Ok(of_file),
        Ok(Some(push)) => match InForce::compile(&push, Source::Disk) {
            Ok(kept) => {
                tracing::info!("policy {} from {at}", kept.version);
                Ok(kept)
            }
            Err(reason) => {
                tracing::warn!("the policy in {at} is ignored: {reason}");
                Ok(of_file)
            }
        },
        Err(error) => {
            tracing::warn!("the policy in {at} is ignored: it {error}");
            Ok(of_file)
        }
    }
}

/// Keeps each policy that comes into force, the newest first, until `closing` and the last one; says
/// in `unkept` why it could not.
pub(crate) async fn keep(
    directory: PathBuf,
    mut taken: watch::Receiver<Option<Arc<Push>>>,
    unkept: Arc<Mutex<Option<String>>>,
    closing: CancellationToken,
) {
    loop {
        let is_last = tokio::select! {
            changed = taken.changed() => changed.is_err(),
            () = closing.cancelled() => true,
        };
        let is_new = !is_last || taken.has_changed().unwrap_or(false);
        let push = taken.borrow_and_update().clone().filter(|_| is_new);
        if let Some(push) = push {
            let (place, version) = (directory.clone(), push.version);
            let kept = tokio::task::spawn_blocking(move || disk::keep(&place, &push)).await;
            let why = match kept {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let why = why.map(|error| {
                format!("cannot keep policy {version} in {}: {error}", directory.display())
            });
            if let Some(why) = &why {
                tracing::warn!("{why}");
            }
            *unkept.lock() = why;
        }
        if is_last {
            return;
        }
    }
}

fn compile(documents: &[Document], profile: Profile) -> Result<(Policy, Vec<Finding>), String> {
    // The set as a whole is checked where it is merged: nothing is there twice.
    let merged = policy::merge(&[], documents).map_err(|findings| reason(&findings))?;
    policy::compile(&merged, profile).map_err(|findings| reason(&findings))
}

/// The errors among `findings`, one a line.
pub(crate) fn reason(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == policy::Severity::Error);
    let lines: Vec<String> = errors.map(ToString::to_string).collect();
    fusebox_proto::text::cut(&lines.join("; "), REASON_LEN_MAX).into_owned()
}

/// What to do with a push.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It goes into force.
    New(Box<InForce>),
    /// It changes nothing; this is the answer.
    Nothing(PushAck),
}

/// Decides on `push` when `current` is in force. `is_first` says that the collector has pushed
/// nothing on its stream so far: a collector that lost its history counts from 1 again, and what
/// it pushes first is what it wants. Later on a stream versions only rise, and what is older or
/// the same is answered with what is in force.
pub(crate) fn take(current: &InForce, push: &Push, is_first: bool) -> Taken {
    let is_same = current.version == push.version
        && current.policy.profile() == push.profile
        && current.documents == push.documents;
    if is_same || (!is_first && push.version <= current.version) {
        return Taken::Nothing(PushAck { version: current.version, rejected: None });
    }
    match InForce::compile(push, Source::Collector) {
        Ok(new) => Taken::New(Box::new(new)),
        Err(reason) => Taken::Nothing(PushAck { version: push.version, rejected: Some(reason) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
        metadata: {name: inventory}\nspec: {host: inventory}\n";

    fn push(version: u64, documents: &[&str]) -> Push {
        let documents = documents.iter().map(|&text| text.to_owned()).collect();
        Push { version, profile: Profile::Fusebox, documents }
    }

    /// Scenario: pushes that are newer, older, the same, and wrong, first on their stream and
    /// later.
    /// Guarantees: newer ones apply; older and equal ones are answered with what is in force; the
    /// first of a stream applies whatever its number, unless nothing would change; what does not
    /// compile is rejected with a reason and changes nothing.
    #[test]
    fn what_becomes_of_a_push() {
        let current = InForce::compile(&push(5, &[RULE]), Source::Collector).unwrap();
        let check = |push: Push, is_first, expected: Result<u64, (u64, &str)>| {
            let got = match take(&current, &push, is_first) {
                Taken::New(new) => Ok(new.version),
                Taken::Nothing(ack) => Err((ack.version, ack.rejected.unwrap_or_default())),
            };
            match (&got, expected) {
                (Ok(version), Ok(expected)) => assert_eq!(*version, expected),
                (Err((version, reason)), Err((expected, says))) => {
                    assert_eq!(*version, expected, "{reason}");
                    assert!(reason.contains(says) && reason.is_empty() == says.is_empty());
                }
                _ => panic!("{push:?} first: {is_first}: {got:?}"),
            }
        };
        check(push(6, &[]), false, Ok(6));
        check(push(6, &[]), true, Ok(6));
        check(push(5, &[RULE]), false, Err((5, "")));
        check(push(5, &[RULE]), true, Err((5, "")));
        check(push(5, &[]), false, Err((5, "")));
        check(push(5, &[]), true, Ok(5));
        check(push(4, &[]), false, Err((5, "")));
        check(push(1, &[]), true, Ok(1));
        check(push(6, &["kind: ["]), false, Err((6, "document 1")));
        check(push(6, &[RULE, RULE]), false, Err((6, "twice")));
    }
}
