//! Requests about the policy: files are read here, so that the engine gets documents.

use super::{Service, taken};
use crate::app::driver::{Message, Reply};
use crate::engine::{Apply, Event, Lint};
use fusebox_proto::policy::{self, ApplyRequest, Document, Finding, LintRequest, SourceFile};
use fusebox_proto::view::{LintResult, PolicyOutcome, PolicyResult};
use fusebox_proto::wire::v1;
use tonic::{Response, Status};

/// Documents, and what there is to say about them.
type Read = (Vec<Document>, Vec<Finding>);

impl Service {
    pub(super) async fn apply_policy(
        &self,
        request: ApplyRequest,
    ) -> Result<Response<v1::PolicyReply>, Status> {
        let ApplyRequest { request_id, files, dry_run, strict, profile, reason, by } = request;
        tracing::info!(
            files = files.len(),
            dry_run,
            strict,
            by,
            reason,
            "an operator applies documents"
        );
        let (documents, findings) = match read(files).await? {
            Ok(read) => read,
            Err(findings) => {
                let (said, diff) = (LintResult::new(findings), policy::Diff::default());
                let version = self.shared.snapshots.borrow().policy.set.version;
                let result = PolicyResult::new(PolicyOutcome::Refused, version, diff, said);
                return Ok(Response::new(result.into()));
            }
        };
        let id = request_id.clone();
        let apply = Apply { request_id, documents, findings, profile, dry_run, strict, by, reason };
        self.policy(id, Event::Apply(Box::new(apply))).await
    }

    pub(super) async fn lint_policy(
        &self,
        request: LintRequest,
    ) -> Result<Response<v1::LintReply>, Status> {
        let LintRequest { files, profile } = request;
        let (documents, findings) = match read(files).await? {
            Ok(read) => read,
            Err(findings) => return Ok(Response::new(LintResult::new(findings).into())),
        };
        let lint = Box::new(Lint { documents, findings, profile });
        let result = self.question(|reply| Message::Lint { lint, reply }).await?;
        Ok(Response::new(result.into()))
    }

    pub(super) async fn policy(
        &self,
        request_id: String,
        event: Event,
    ) -> Result<Response<v1::PolicyReply>, Status> {
        match self.ask(request_id.clone(), event).await? {
            Reply::Policy(result) => Ok(Response::new((*result).into())),
            Reply::Command(_) => Err(taken(&request_id)),
        }
    }
}

/// Reads files, on a thread that may take its time.
async fn read(files: Vec<SourceFile>) -> Result<Result<Read, Vec<Finding>>, Status> {
    let read = tokio::task::spawn_blocking(move || policy::read_all(&files));
    read.await.map_err(|_| Status::internal("the files cannot be read"))
}
