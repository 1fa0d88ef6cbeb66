//! What operators and proxies say about the policy.

use super::{ConnectionId, Engine, Output, Refusal};
use crate::policy::lint;
use crate::policy::{Heard, Wanted};
use fusebox_proto::Invalid;
use fusebox_proto::Now;
use fusebox_proto::policy::{
    self, Document, Finding, Profile, PushAck, RollbackRequest, ShiftRefusal, ShiftRequest,
};
use fusebox_proto::text::visible;
use fusebox_proto::view::{LintResult, PolicyOutcome, PolicyResult};

/// Documents that an operator applies, read.
#[derive(Clone, Debug)]
pub struct Apply {
    /// Chosen by the console: asking twice with the same id acts once.
    pub request_id: String,
    /// What the files hold.
    pub documents: Vec<Document>,
    /// What reading them had to say; no errors.
    pub findings: Vec<Finding>,
    /// How the whole set is understood from now on; `None`: as it was.
    pub profile: Option<Profile>,
    /// Change nothing; say what would change.
    pub dry_run: bool,
    /// Warnings refuse, too.
    pub strict: bool,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

/// Documents that are looked at over the newest version, read.
#[derive(Clone, Debug, Default)]
pub struct Lint {
    /// What the files hold; may be nothing.
    pub documents: Vec<Document>,
    /// What reading them had to say; no errors.
    pub findings: Vec<Finding>,
    /// How the set is understood; `None`: as it is.
    pub profile: Option<Profile>,
}

impl Engine {
    pub(super) fn apply(&mut self, now: Now, apply: Apply) {
        if self.policies.is_repeated(&apply.request_id) {
            return;
        }
        let Apply { request_id, documents, findings, profile, dry_run, strict, by, reason } = apply;
        let profile = profile.unwrap_or_else(|| self.policies.profile());
        match policy::merge(self.policies.documents(), &documents) {
            Ok(documents) => self.want(
                now,
                Wanted {
                    request_id: &request_id,
                    documents,
                    findings,
                    profile,
                    what: "apply".to_owned(),
                    strict,
                    dry_run,
                    by: &by,
                    reason: &reason,
                },
            ),
            Err(more) => {
                let said = LintResult::new(findings.into_iter().chain(more).collect());
                let number = self.policies.number();
                let diff = policy::Diff::default();
                let result = PolicyResult::new(PolicyOutcome::Refused, number, diff, said);
                self.answer_policy(request_id, result);
            }
        }
    }

    pub(super) fn rollback(&mut self, now: Now, request: &RollbackRequest) {
        if self.policies.is_repeated(&request.request_id) {
            return;
        }
        match self.policies.earlier(request.to) {
            Ok((to, documents, profile)) => self.want(
                now,
                Wanted {
                    request_id: &request.request_id,
                    documents,
                    findings: Vec::new(),
                    profile,
                    what: format!("rollback to {to}"),
                    strict: false,
                    dry_run: false,
                    by: &request.by,
                    reason: &request.reason,
                },
            ),
            Err(invalid) => self.refuse(&request.request_id, invalid.into()),
        }
    }

    pub(super) fn shift(&mut self, now: Now, request: &ShiftRequest) {
        if self.policies.is_repeated(&request.request_id) {
            return;
        }
        let host = visible(&request.host);
        match policy::shift(self.policies.documents(), &request.host, &request.weights) {
            Ok(documents) => {
                let weight =
                    |(subset, weight): &(String, u32)| format!("{}={weight}", visible(subset));
                let weights: Vec<String> = request.weights.iter().map(weight).collect();
                let what = format!("shift {host} {}", weights.join(" "));
                let profile = self.policies.profile();
                self.want(
                    now,
                    Wanted {
                        request_id: &request.request_id,
                        documents,
                        findings: Vec::new(),
                        profile,
                        what,
                        strict: false,
                        dry_run: false,
                        by: &request.by,
                        reason: &request.reason,
                    },
                );
            }
            Err(refusal) => self.refuse(&request.request_id, not_shifted(&host, refusal)),
        }
    }

    fn want(&mut self, now: Now, wanted: Wanted<'_>) {
        let (request_id, by) = (wanted.request_id.to_owned(), visible(wanted.by).into_owned());
        let because = super::commands::because(wanted.reason);
        let what = wanted.what.clone();
        if let Some(result) = self.policies.accept(now, wanted) {
            return self.answer_policy(request_id, result);
        }
        let number = self.policies.number().unwrap_or(0);
        let text = format!("{by} made policy version {number}: {what}{because}");
        self.journal.note(now.unix_ms, "policy", &text);
        // On its way to the proxies before anything waits for a disk.
        self.push_policies();
        self.store_policy_request(now, &request_id);
    }

    fn answer_policy(&mut self, request_id: String, result: PolicyResult) {
        self.outputs.push_back(Output::PolicyDone { request_id, result: Box::new(result) });
    }

    pub(super) fn push_policies(&mut self) {
        while let Some((connection, push)) = self.policies.poll_push() {
            self.outputs.push_back(Output::PushPolicy { connection, push });
        }
    }

    /// Answers requests whose proxies and disk have answered.
    pub(super) fn finish_policies(&mut self, now: Now) {
        self.policies.finish(now);
        while let Some(finished) = self.policies.poll_finished() {
            if let Some(result) = self.policies.result(&finished.request_id) {
                self.answer_policy(finished.request_id, result);
            }
        }
    }

    /// A proxy is on a new stream; it says which version it has.
    pub(super) fn policy_hello(&mut self, now: Now, connection: ConnectionId) {
        let Some(proxy) = self.proxies.on(connection) else { return };
        let what = match self.policies.connected(now, proxy) {
            None => return,
            Some(Heard::Kept(held)) => {
                format!("policy version {held}, which this collector does not have, stays in force")
            }
            Some(Heard::Replaced(held)) => {
                format!("policy version {held} of another collector was replaced")
            }
        };
        self.journal.note_proxy(now.unix_ms, "policy", &what, proxy.hello.proxy.as_str());
    }

    pub(super) fn take_policy_ack(&mut self, now: Now, connection: ConnectionId, ack: &PushAck) {
        let Some(proxy) = self.proxies.on_mut(connection) else { return };
        proxy.heard(now);
        let id = proxy.hello.proxy.clone();
        if let Some(reason) = self.policies.acked(now, &id, ack) {
            let what = format!("policy version {} was refused: {reason}", ack.version);
            self.journal.note_proxy(now.unix_ms, "policy", &what, id.as_str());
        }
    }

    /// What is wrong with the policy, and with these documents over it.
    pub fn lint(&self, now: Now, request: Lint) -> LintResult {
        let Lint { documents, mut findings, profile } = request;
        let profile = profile.unwrap_or_else(|| self.policies.profile());
        match policy::merge(self.policies.documents(), &documents) {
            Err(more) => findings.extend(more),
            Ok(documents) => match policy::compile(&documents, profile) {
                Err(more) => findings.extend(more),
                Ok((policy, more)) => {
                    findings.extend(more);
                    let live = crate::snapshot::live(self, now);
                    findings.extend(lint::lint(&documents, &policy, &live));
                }
            },
        }
        LintResult::new(findings)
    }
}

fn not_shifted(host: &str, refusal: ShiftRefusal) -> Refusal {
    match refusal {
        ShiftRefusal::UnknownHost(candidates) => {
            Refusal::UnknownHost { host: host.to_owned(), candidates }
        }
        ShiftRefusal::AmbiguousHost(candidates) => {
            let reason = format!("is ambiguous: {host} may be {}", candidates.join(", "));
            Invalid::new("host", reason).into()
        }
        ShiftRefusal::Invalid(invalid) => invalid.into(),
    }
}
