//! `Diagnose`: the last minutes looked at once more, because somebody asks.

use super::Service;
use crate::app::driver::Message;
use crate::diagnose::Refusal;
use fusebox_proto::view::Stamp;
use fusebox_proto::wire::v1;
use tokio::task;
use tonic::{Response, Status};

/// A diagnosis takes a core for part of a second: no more than this are made at once.
pub(super) const AT_ONCE_MAX: usize = 1;

impl Service {
    /// Takes what there is from the engine, and looks at it beside everything else.
    pub(super) async fn diagnosis(
        &self,
        request: v1::DiagnoseRequest,
    ) -> Result<Response<v1::DiagnoseReply>, Status> {
        let since = request.since_unix_ms.map(Stamp);
        let _place = self.diagnosing.try_acquire().map_err(|_| {
            Status::resource_exhausted("somebody else asks for a diagnosis just now: ask again")
        })?;
        let look = self.question(|reply| Message::Glance { reply }).await?;
        let diagnosis = task::spawn_blocking(move || look.diagnose(since)).await;
        let diagnosis = diagnosis.map_err(|_| Status::internal("the diagnosis failed"))?;
        let diagnosis = diagnosis.map_err(|refusal| match refusal {
            Refusal::Empty => Status::not_found("no spans came in within the last minutes"),
            Refusal::Outside { since, from, to } => Status::invalid_argument(format!(
                "since {since}: what is held is from {from} to {to}"
            )),
        })?;
        Ok(Response::new(v1::DiagnoseReply { json: diagnosis.to_whole_json() }))
    }
}
