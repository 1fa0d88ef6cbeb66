//! `Console`: a snapshot, then what changes; and what an operator can do.

mod diagnose;
mod policy;
mod record;

use super::{Answers, Shared, engine_gone};
use crate::app::driver::{Answer, Message, Reply};
use crate::engine::{Event, Refusal};
use fusebox_proto::Invalid;
use fusebox_proto::command::{ResetRequest, TripRequest};
use fusebox_proto::delta::Delta;
use fusebox_proto::policy::{
    ApplyRequest, DOCUMENTS_LEN_MAX, LintRequest, RollbackRequest, ShiftRequest,
};
use fusebox_proto::view::{Snapshot, Update};
use fusebox_proto::wire::v1;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

/// A request of a console is a few words, or files of documents with their names.
pub(super) const REQUEST_LEN_MAX: usize = DOCUMENTS_LEN_MAX + 2 * 1024 * 1024;
/// More consoles at once than this are refused.
const CONSOLES_MAX: usize = 64;
/// More requests of operators at once than this are refused.
const REQUESTS_MAX: usize = 64;
/// The engine answers within a second, on a slow disk three; this is for one that is too busy to.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    shared: Shared,
    watching: Arc<Semaphore>,
    asking: Semaphore,
    recording: Arc<Semaphore>,
    diagnosing: Semaphore,
}

impl Service {
    /// A service that nobody watches.
    pub(super) fn new(shared: Shared) -> Self {
        let watching = Arc::new(Semaphore::new(CONSOLES_MAX));
        let asking = Semaphore::new(REQUESTS_MAX);
        let recording = Arc::new(Semaphore::new(record::RECORDINGS_MAX));
        let diagnosing = Semaphore::new(diagnose::AT_ONCE_MAX);
        Self { shared, watching, asking, recording, diagnosing }
    }

    async fn ask(&self, request_id: String, event: Event) -> Result<Reply, Status> {
        let message = |reply| Message::Operator { request_id, event, reply };
        let answer: Answer = self.question(message).await?;
        answer.map_err(|refusal| refused(&refusal))
    }

    /// Asks the engine, if it is not asked too much already.
    async fn question<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Status> {
        let _place = self.asking.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("{REQUESTS_MAX} requests are under way already"))
        })?;
        let (reply, answer) = oneshot::channel();
        self.shared.messages.send(message(reply)).await.map_err(|_| engine_gone())?;
        tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .map_err(|_| Status::deadline_exceeded("the collector is too busy to answer"))?
            .map_err(|_| engine_gone())
    }

    async fn command(&self, request_id: &str, event: Event) -> Result<v1::CommandReply, Status> {
        match self.ask(request_id.to_owned(), event).await? {
            Reply::Command(results) => {
                Ok(v1::CommandReply { results: results.into_iter().map(Into::into).collect() })
            }
            Reply::Policy(_) => Err(taken(request_id)),
        }
    }
}

fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Unknown { .. } | Refusal::UnknownHost { .. } => {
            Status::not_found(refusal.to_string())
        }
        Refusal::Ambiguous { .. } | Refusal::Invalid(_) => {
            Status::invalid_argument(refusal.to_string())
        }
    }
}

/// Two requests of different kinds under one id: the answer to one is none to the other.
fn taken(request_id: &str) -> Status {
    Status::invalid_argument(format!("request_id {request_id} is that of another request"))
}

fn invalid(invalid: &Invalid) -> Status {
    Status::invalid_argument(invalid.to_string())
}

#[async_trait]
impl v1::console_server::Console for Service {
    type WatchStream = Answers<v1::Update>;
    type RecordStream = Answers<v1::RecordChunk>;

    async fn record(
        &self,
        request: Request<v1::RecordRequest>,
    ) -> Result<Response<Self::RecordStream>, Status> {
        self.recording(request.into_inner())
    }

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let place = Arc::clone(&self.watching).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{CONSOLES_MAX} consoles watch already"))
        })?;
        let watch = Watch {
            snapshots: self.shared.snapshots.clone(),
            shown: None,
            stop: self.shared.stop.clone(),
            _place: place,
        };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(watch, Watch::next))))
    }

    async fn trip(
        &self,
        request: Request<v1::TripRequest>,
    ) -> Result<Response<v1::CommandReply>, Status> {
        let request = TripRequest::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        tracing::info!(
            source = request.source, destination = request.destination, action = %request.action,
            by = request.by, reason = request.reason, "an operator trips"
        );
        let request_id = request.request_id.clone();
        let reply = self.command(&request_id, Event::Trip(request)).await?;
        Ok(Response::new(reply))
    }

    async fn reset(
        &self,
        request: Request<v1::ResetRequest>,
    ) -> Result<Response<v1::CommandReply>, Status> {
        let request = ResetRequest::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        tracing::info!(scope = ?request.scope, by = request.by, "an operator resets");
        let request_id = request.request_id.clone();
        let reply = self.command(&request_id, Event::Reset(request)).await?;
        Ok(Response::new(reply))
    }

    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::PolicyReply>, Status> {
        let request = ApplyRequest::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        self.apply_policy(request).await
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::PolicyReply>, Status> {
        let request = RollbackRequest::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        tracing::info!(
            to = request.to,
            by = request.by,
            reason = request.reason,
            "an operator rolls back"
        );
        self.policy(request.request_id.clone(), Event::Rollback(request)).await
    }

    async fn shift(
        &self,
        request: Request<v1::ShiftRequest>,
    ) -> Result<Response<v1::PolicyReply>, Status> {
        let request = ShiftRequest::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        tracing::info!(
            host = request.host, weights = ?request.weights, by = request.by,
            reason = request.reason, "an operator shifts traffic"
        );
        self.policy(request.request_id.clone(), Event::Shift(request)).await
    }

    async fn lint(
        &self,
        request: Request<v1::LintRequest>,
    ) -> Result<Response<v1::LintReply>, Status> {
        let request = LintRequest::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        self.lint_policy(request).await
    }

    async fn diagnose(
        &self,
        request: Request<v1::DiagnoseRequest>,
    ) -> Result<Response<v1::DiagnoseReply>, Status> {
        self.diagnosis(request.into_inner()).await
    }
}

/// One console that watches. Pulled by its connection: a slow one skips what it had no time for.
struct Watch {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What the console knows.
    shown: Option<Arc<Snapshot>>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<v1::Update, Status>, Self)> {
        if self.shown.is_some() {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.snapshots.changed() => changed.ok()?,
            }
        }
        let newest = Arc::clone(&self.snapshots.borrow_and_update());
        let update = match self.shown.replace(Arc::clone(&newest)) {
            None => Update::Snapshot(Box::new(Snapshot::clone(&newest))),
            Some(shown) => Update::Delta(Box::new(Delta::between(&shown, &newest))),
        };
        Some((Ok(update.into()), self))
    }
}
