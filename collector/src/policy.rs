//! The policy of the mesh: its versions, and how far the proxies are with the newest.
//!
//! ```text
//!  apply, rollback, shift ──▶ accept ──▶ version n+1 ──▶ pushes ──▶ proxies ──▶ acks ──▶ answer
//!                               │            └──▶ history ──▶ the next process
//!                               └─ findings forbid it: nothing changes
//! ```
//!
//! Versions are numbered from 1 and a number is never used twice: a number that a proxy names and
//! this collector did not give (it lost its memory, or runs without one) raises the count. What
//! such a proxy holds is not overwritten unless an operator has spoken to this process: a policy
//! that nobody here wrote would be lost in silence otherwise.

pub(crate) mod lint;
mod standing;
mod version;

pub use version::PolicyRecord;

use crate::desired::{Finished, Requests};
use crate::engine::{ConnectionId, Proxy};
use crate::store::Split;
use fusebox_proto::policy::{
    self, Action, DOCUMENTS_LEN_MAX, DOCUMENTS_MAX, Document, Finding, Policy, Profile, Push,
    PushAck, Severity,
};
use fusebox_proto::view::{LintResult, PolicyDocument, PolicyOutcome, PolicyResult};
use fusebox_proto::{Invalid, Now, ProxyId, text};
use standing::Standings;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;
use version::{Version, texts};

/// Versions that are kept.
pub(crate) const VERSIONS_MAX: usize = 64;
/// Bytes of the documents of all versions that are kept; the newest is, whatever it has. Two of the
/// largest, so that there is always one to go back to.
pub(crate) const VERSIONS_LEN_MAX: usize = 2 * DOCUMENTS_LEN_MAX;
/// The file of documents that are in force already, in findings.
const IN_FORCE: &str = "policy in force";

/// All versions, and the proxies.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// Oldest first; the last one is to be in force.
    versions: VecDeque<Version>,
    /// The documents of the last one, read.
    documents: Vec<Document>,
    /// The last one, compiled; `None` where there is none, or it does not compile any more.
    compiled: Option<Policy>,
    push: Option<Arc<Push>>,
    /// The highest number that was given, or heard of.
    number_last: u64,
    /// Whether the last version was made by this process, not read from a history.
    is_own: bool,
    standings: Standings,
    requests: Requests<u64>,
    pushes: VecDeque<(ConnectionId, Arc<Push>)>,
    /// Numbers of versions that the history does not have.
    changed: Vec<u64>,
}

/// Documents that an operator wants in force.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'r> {
    /// Chosen by the console.
    pub(crate) request_id: &'r str,
    /// The whole set.
    pub(crate) documents: Vec<Document>,
    /// What there is to say about it already.
    pub(crate) findings: Vec<Finding>,
    /// How it is understood.
    pub(crate) profile: Profile,
    /// How it came about: `apply`, `rollback to 3`, `shift inventory v1=75 v2=25`.
    pub(crate) what: String,
    /// Warnings forbid it, too.
    pub(crate) strict: bool,
    /// Nothing is to change.
    pub(crate) dry_run: bool,
    /// Who.
    pub(crate) by: &'r str,
    /// Why.
    pub(crate) reason: &'r str,
}

/// What a proxy says that an operator should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has a version that this collector does not have, and keeps it.
    Kept(u64),
    /// It had this version from somebody else; the newest got a higher number and was sent.
    Replaced(u64),
}

// What operators want.
impl Policies {
    fn newest(&self) -> Option<&PolicyRecord> {
        self.versions.back().map(|version| &version.record)
    }

    /// The number of the newest version.
    pub(crate) fn number(&self) -> Option<u64> {
        self.newest().map(|record| record.number)
    }

    /// Its documents.
    pub(crate) fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The weights by which the newest version splits this traffic, by subset; `None` where it does
    /// not.
    pub(crate) fn weights(&self, split: &Split) -> Option<BTreeMap<String, u32>> {
        let namespace = split.source.as_ref()?.namespace();
        let routes = self.compiled.as_ref()?.routes(namespace, &lint::host(&split.destination))?;
        let rule = routes.http.iter().find(|rule| rule.name == split.route)?;
        let Action::Forward(destinations) = &rule.action else { return None };
        let weight = |one: &policy::Weighted| {
            Some((one.destination.subset.as_ref()?.to_string(), one.weight))
        };
        destinations.iter().map(weight).collect()
    }

    /// How they are understood.
    pub(crate) fn profile(&self) -> Profile {
        self.newest().map(|record| record.profile).unwrap_or_default()
    }

    /// Whether a request was made before; then it is answered once more.
    pub(crate) fn is_repeated(&mut self, request_id: &str) -> bool {
        let is_known = self.requests.subjects(request_id).is_some();
        self.requests.repeat(request_id);
        is_known
    }

    /// The number, documents and profile of an earlier version; 0 has none.
    ///
    /// # Errors
    /// If it is not kept; the reason names those that are.
    pub(crate) fn earlier(
        &self,
        to: Option<u64>,
    ) -> Result<(u64, Vec<Document>, Profile), Invalid> {
        let invalid = |reason: String| Err(Invalid::new("to", reason));
        let Some(newest) = self.newest() else {
            return invalid("names no version: nothing was applied here yet".to_owned());
        };
        let mut kept = self.versions.iter().map(|version| &version.record);
        let before = kept.clone().rev().nth(1).map_or(0, |record| record.number);
        let to = to.unwrap_or(before);
        if to == 0 {
            return Ok((0, Vec::new(), newest.profile));
        }
        let first = kept.clone().next().map_or(0, |record| record.number);
        match kept.find(|record| record.number == to).map(|record| (record, record.read())) {
            Some((record, Ok(documents))) => Ok((to, documents, record.profile)),
            Some((_, Err(reason))) => {
                invalid(format!("is {to}, which cannot be read any more: {reason}"))
            }
            None => invalid(format!(
                "is {to}; kept are {first} to {}, and 0 for no documents",
                newest.number
            )),
        }
    }

    /// Makes documents the newest version, unless findings forbid it, nothing changes, or it is
    /// only tried. `None`: it is made, and answered once the proxies have it.
    pub(crate) fn accept(&mut self, now: Now, wanted: Wanted<'_>) -> Option<PolicyResult> {
        let Wanted { documents, mut findings, profile, .. } = wanted;
        let diff = policy::diff(&self.documents, &documents);
        let (Ok((_, more)) | Err(more)) = &policy::compile(&documents, profile);
        findings.extend(more.iter().cloned());
        let texts = texts(&documents);
        findings.extend(too_much(&texts));
        findings.extend(self.standings.foreign().map(ends));
        let is_refused = policy::refuses(&findings, wanted.strict);
        let is_same = diff.is_empty() && self.profile() == profile;
        let is_unchanged = is_same && self.standings.foreign().is_none();
        let outcome = match () {
            () if is_refused => PolicyOutcome::Refused,
            () if is_unchanged => PolicyOutcome::Unchanged,
            () if wanted.dry_run => PolicyOutcome::DryRun,
            () => PolicyOutcome::Applied,
        };
        let said = LintResult::new(findings);
        let mut result = PolicyResult::new(outcome, self.number(), diff, said);
        if outcome != PolicyOutcome::Applied {
            return Some(result);
        }
        let number = self.number_last + 1;
        result.version = Some(number);
        let record = PolicyRecord {
            number,
            at_unix_ms: now.unix_ms,
            by: wanted.by.to_owned(),
            reason: wanted.reason.to_owned(),
            what: wanted.what,
            profile,
            documents: texts,
        };
        self.is_own = true;
        self.adopt(Version { record, asked: Some((now, Box::new(result))) });
        self.requests.add(now, wanted.request_id, vec![number]);
        None
    }

    /// Makes a version the newest, and sends it to everybody.
    fn adopt(&mut self, version: Version) {
        let record = &version.record;
        self.number_last = record.number;
        self.changed.push(record.number);
        // As it reads after a restart.
        self.documents = record.read().unwrap_or_default();
        let compiled = policy::compile(&self.documents, record.profile);
        self.compiled = compiled.ok().map(|(compiled, _)| compiled);
        let push = Arc::new(record.push());
        self.versions.push_back(version);
        self.forget();
        for connection in self.standings.begin() {
            self.pushes.push_back((connection, Arc::clone(&push)));
        }
        self.push = Some(push);
    }

    /// Lets go of the oldest versions, as the bounds want it.
    fn forget(&mut self) {
        let mut len: usize = self.versions.iter().map(|version| version.record.text_len()).sum();
        while 1 < self.versions.len()
            && (VERSIONS_MAX < self.versions.len() || VERSIONS_LEN_MAX < len)
        {
            let oldest = self.versions.pop_front();
            len -= oldest.map_or(0, |version| version.record.text_len());
        }
        let first = self.versions.front().map_or(0, |version| version.record.number);
        self.changed.retain(|number| first <= *number);
    }

    /// What a request came to.
    pub(crate) fn result(&self, request_id: &str) -> Option<PolicyResult> {
        let number = *self.requests.subjects(request_id)?.first()?;
        let version = self.versions.iter().find(|version| version.record.number == number);
        let asked = version.and_then(|version| version.asked.as_ref());
        let (applied, proxies) = self.standings.counts();
        let mut result = asked.map(|(_, result)| (**result).clone()).unwrap_or_default();
        result.outcome = PolicyOutcome::Applied;
        result.version = Some(number);
        result.proxies = proxies;
        let mut notes = Vec::new();
        if self.number() == Some(number) {
            result.applied = applied;
            result.applied_ms = asked.and_then(|(at, _)| self.standings.completed_ms(*at));
            notes = self.standings.notes();
        } else {
            notes.push("a newer version overtook it".to_owned());
        }
        if let Some(reason) = self.requests.why_not_kept(request_id) {
            notes.push(format!("it is not on the collector's disk: {reason}"));
        }
        result.note = notes.join("; ");
        Some(result)
    }

    /// A request is not answered before these records are on disk.
    pub(crate) fn keep(&mut self, now: Now, request_id: &str, numbers: RangeInclusive<u64>) {
        self.requests.keep(now, request_id, numbers);
    }

    /// Records are on disk, or are not.
    pub(crate) fn stored(&mut self, numbers: &RangeInclusive<u64>, result: &Result<(), Arc<str>>) {
        self.requests.stored(numbers, result);
    }
}

// What proxies say.
impl Policies {
    /// A proxy connected, and says what it has.
    pub(crate) fn connected(&mut self, now: Now, proxy: &Proxy) -> Option<Heard> {
        let connection = proxy.connection?;
        let (id, held) = (&proxy.hello.proxy, proxy.hello.policy_version);
        let newest = self.number();
        // A number that this process gave, but not to this proxy, it has from somebody else.
        let is_twin = self.is_own && newest == Some(held) && !self.standings.was_sent(id);
        let is_foreign = newest.unwrap_or(0) < held || is_twin;
        self.number_last = self.number_last.max(held);
        self.standings.connect(now, id, connection, held, newest, is_foreign);
        match &self.push {
            _ if is_foreign && !self.is_own => Some(Heard::Kept(held)),
            _ if is_foreign => {
                self.renumber(now);
                Some(Heard::Replaced(held))
            }
            Some(push) if push.version != held => {
                self.pushes.push_back((connection, Arc::clone(push)));
                None
            }
            _ => None,
        }
    }

    /// The newest version once more, under a number that no proxy can have from somebody else.
    fn renumber(&mut self, now: Now) {
        let Some(newest) = self.newest().cloned() else { return };
        let what = format!("renumber {}", newest.number);
        let (number, at_unix_ms) = (self.number_last + 1, now.unix_ms);
        self.adopt(Version {
            record: PolicyRecord { number, at_unix_ms, what, ..newest },
            asked: None,
        });
    }

    /// A proxy answered. Why it refused the newest version, if it did.
    pub(crate) fn acked(&mut self, now: Now, id: &ProxyId, ack: &PushAck) -> Option<String> {
        let rejected = ack.rejected.as_deref().map(text::visible);
        let newest = self.number();
        self.standings.acked(now, id, (ack.version, rejected.as_deref()), newest);
        rejected.filter(|_| newest == Some(ack.version)).map(Into::into)
    }

    /// A proxy's stream ended: nobody waits for its answer any more.
    pub(crate) fn gone(&mut self, id: &ProxyId) {
        self.standings.gone(id);
    }

    /// The version in force in a connected proxy.
    pub(crate) fn in_force(&self, id: &ProxyId) -> Option<u64> {
        self.standings.in_force(id)
    }

    /// When a wait ends by itself.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.requests.poll_timeout()
    }

    /// Ends the waits of requests that are over.
    pub(crate) fn finish(&mut self, now: Now) {
        let (newest, standings) = (self.number(), &self.standings);
        self.requests.finish(now, |number| newest == Some(*number) && standings.is_any_pending());
    }

    /// The next version to send.
    pub(crate) fn poll_push(&mut self) -> Option<(ConnectionId, Arc<Push>)> {
        self.pushes.pop_front()
    }

    /// The next request that is to be answered.
    pub(crate) fn poll_finished(&mut self) -> Option<Finished> {
        self.requests.poll_finished()
    }
}

/// A set that no proxy would take.
fn too_much(documents: &[PolicyDocument]) -> Option<Finding> {
    let count = documents.len();
    let len: usize = documents.iter().map(|document| document.text.len()).sum();
    let message = if DOCUMENTS_MAX < count {
        format!("the set has {count} documents; at most {DOCUMENTS_MAX}")
    } else if DOCUMENTS_LEN_MAX < len {
        format!("the set has {len} bytes; at most {DOCUMENTS_LEN_MAX}")
    } else {
        return None;
    };
    Some(Finding::new(Severity::Error, "", "", &message))
}

/// Proxies have a version that this collector does not have.
fn ends(version: u64) -> Finding {
    let message = format!(
        "ends policy version {version}, which proxies run and this collector does not have: what \
         only that one says is lost"
    );
    Finding::new(Severity::Warning, "", "", &message)
}
