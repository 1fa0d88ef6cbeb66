//! One version of the policy; what of all versions outlives the process; how they are shown.

use super::{IN_FORCE, Policies};
use crate::record::Record;
use fusebox_proto::Now;
use fusebox_proto::policy::{self, Document, Profile, Push};
use fusebox_proto::view::{
    PolicyDocument, PolicyResult, PolicySet, PolicyVersion, PolicyView, Stamp,
};
use std::sync::Arc;

/// A version as a history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Never 0, and never used twice.
    pub number: u64,
    /// When it came to be, Unix time in milliseconds.
    pub at_unix_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// `apply`, `rollback to 3`, `shift inventory v1=75 v2=25`, `renumber 2`.
    pub what: String,
    /// How its documents are understood.
    pub profile: Profile,
    /// Its documents, in their order.
    pub documents: Arc<[PolicyDocument]>,
}

impl PolicyRecord {
    /// Bytes of its documents.
    pub(crate) fn text_len(&self) -> usize {
        self.documents.iter().map(|document| document.text.len()).sum()
    }

    /// Its documents, read; or why they cannot be.
    pub(super) fn read(&self) -> Result<Vec<Document>, String> {
        let mut documents = Vec::with_capacity(self.documents.len());
        for PolicyDocument { text, .. } in &*self.documents {
            match policy::read(IN_FORCE, text) {
                Ok((read, _)) => documents.extend(read),
                Err(findings) => {
                    return Err(findings.first().map(ToString::to_string).unwrap_or_default());
                }
            }
        }
        Ok(documents)
    }

    /// What proxies get.
    pub(super) fn push(&self) -> Push {
        let documents = self.documents.iter().map(|document| document.text.clone()).collect();
        Push { version: self.number, profile: self.profile, documents }
    }

    fn view(&self) -> PolicyVersion {
        PolicyVersion {
            version: self.number,
            at: Stamp(self.at_unix_ms),
            by: self.by.clone(),
            reason: self.reason.clone(),
            what: self.what.clone(),
            documents: self.documents.len() as u64,
        }
    }
}

/// A version, with what this process knows of how it came about.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) record: PolicyRecord,
    /// When an operator asked for it, and what was to say; `None` for one of an earlier process.
    pub(super) asked: Option<(Now, Box<PolicyResult>)>,
}

/// The canonical texts of documents.
pub(super) fn texts(documents: &[Document]) -> Arc<[PolicyDocument]> {
    let text = |document: &Document| PolicyDocument {
        kind: document.kind().as_str().to_owned(),
        namespace: document.namespace().to_owned(),
        name: document.name().to_owned(),
        text: document.text(),
    };
    documents.iter().map(text).collect()
}

impl Policies {
    /// As consoles show it.
    pub(crate) fn view(&self) -> PolicyView {
        let newest = self.newest();
        let documents = newest.map(|record| Arc::clone(&record.documents)).unwrap_or_default();
        PolicyView {
            set: PolicySet {
                version: self.number(),
                profile: self.profile(),
                documents,
                versions: self.versions.iter().rev().map(|version| version.record.view()).collect(),
                notice: self.standings.notice().unwrap_or_default(),
            },
            proxies: self.standings.views(self.number()),
        }
    }

    /// Begins with the versions of an earlier process, oldest first. What an operator should know
    /// of how that went.
    pub(crate) fn restore(&mut self, records: &[PolicyRecord]) -> Option<String> {
        let newest = records.last()?;
        self.number_last = records.iter().map(|record| record.number).max().unwrap_or(0);
        let version = |record: &PolicyRecord| Version { record: record.clone(), asked: None };
        self.versions = records.iter().map(version).collect();
        self.forget();
        self.push = Some(Arc::new(newest.push()));
        let number = newest.number;
        let read = newest.read().and_then(|documents| {
            let compiled = policy::compile(&documents, newest.profile);
            self.documents = documents;
            compiled.map_err(|all| all.first().map(ToString::to_string).unwrap_or_default())
        });
        match read {
            Ok((compiled, _)) => {
                self.compiled = Some(compiled);
                None
            }
            Err(reason) => Some(format!(
                "policy version {number} was accepted by an earlier program and is not by this one: {reason}"
            )),
        }
    }

    /// All versions are to be written once more.
    pub(crate) fn change_all(&mut self) {
        self.changed = self.versions.iter().map(|version| version.record.number).collect();
    }

    /// What the history does not have.
    pub(crate) fn take_changed(&mut self) -> Vec<Record> {
        let changed = std::mem::take(&mut self.changed);
        let versions = self.versions.iter().map(|version| &version.record);
        let is_new = |record: &&PolicyRecord| changed.contains(&record.number);
        versions.filter(is_new).map(|record| Record::Policy(Box::new(record.clone()))).collect()
    }
}
