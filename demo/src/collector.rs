//! The collector as anyone sees it: its HTTP API and its console service. What it thinks is read
//! here and nowhere else.

use crate::link::{Link, LinkError};
use fusebox_proto::command::{ActionKind, TripRequest};
use fusebox_proto::policy::{ApplyRequest, ShiftRequest, SourceFile};
use fusebox_proto::view::{
    Incident, PolicyOutcome, PolicyResult, Remedy, SuggestedAction, TripResult,
};
use fusebox_proto::wire::v1::console_client::ConsoleClient;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::{Channel, Endpoint};

/// How often incidents are read: well below what an operator would notice.
const POLL: Duration = Duration::from_millis(25);
/// An answer to a trip comes after a second at the latest.
const TRIP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the collector could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Its HTTP API does not answer.
    #[error("{path} does not answer: {reason}")]
    Http {
        /// Which page.
        path: &'static str,
        /// Why.
        reason: String,
    },
    /// Its console service is not there.
    #[error("no console service: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// It refuses the action.
    #[error("the action is refused: {0}")]
    Refused(#[from] tonic::Status),
    /// Its answer is none.
    #[error(transparent)]
    Answer(#[from] fusebox_proto::Invalid),
}

impl AskError {
    fn http(path: &'static str, error: &LinkError) -> Self {
        Self::Http { path, reason: error.to_string() }
    }
}

#[derive(Deserialize)]
struct Incidents {
    incidents: Vec<Incident>,
}

#[derive(Deserialize)]
struct Proxies {
    proxies: Vec<fusebox_proto::view::Proxy>,
}

/// A reader of the HTTP API.
#[derive(Debug)]
pub(crate) struct Api {
    link: Link,
}

impl Api {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { link: Link::new(address, &address.to_string()) }
    }

    /// How many proxies are connected.
    pub(crate) async fn connected(&self) -> Result<usize, AskError> {
        let said: Proxies = self.get("/api/v1/proxies").await?;
        Ok(said.proxies.iter().filter(|proxy| proxy.connected).count())
    }

    /// Tells all incidents again and again, until nobody listens.
    pub(crate) async fn follow_incidents(self, said: mpsc::Sender<Vec<Incident>>) {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_read = true;
        loop {
            ticks.tick().await;
            match self.get::<Incidents>("/api/v1/incidents").await {
                Ok(Incidents { incidents }) => {
                    was_read = true;
                    if said.send(incidents).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if std::mem::take(&mut was_read) {
                        tracing::warn!(%error, "incidents cannot be read");
                    }
                }
            }
        }
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &'static str) -> Result<T, AskError> {
        let answer = self.link.get(path, None).await.map_err(|e| AskError::http(path, &e))?;
        if !answer.status().is_success() {
            return Err(AskError::Http { path, reason: answer.status().to_string() });
        }
        serde_json::from_slice(answer.body())
            .map_err(|e| AskError::Http { path, reason: e.to_string() })
    }
}

/// Who acts, in the collector's books.
const BY: &str = "demo";

/// What came of an act.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Proxies in which it is in force.
    pub(crate) applied: u64,
    /// Proxies in which it should be.
    pub(crate) proxies: u64,
    /// Why it is not in force everywhere.
    pub(crate) note: String,
}

/// An operator's hand.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    console: ConsoleClient<Channel>,
}

impl Hand {
    /// Connects now, so that acting needs no connection first.
    pub(crate) async fn reach(control: &str) -> Result<Self, AskError> {
        let endpoint = Endpoint::from_shared(control.to_owned())?.timeout(TRIP_TIMEOUT);
        Ok(Self { console: ConsoleClient::new(endpoint.connect().await?) })
    }

    /// Does what the collector suggests; returns when it has answered.
    pub(crate) async fn act(&mut self, action: &SuggestedAction) -> Result<Done, AskError> {
        let reason = "suggested".to_owned();
        match &action.action {
            Remedy::Trip(kind) => {
                let edge = (action.source.clone(), action.destination.clone());
                self.trip(edge, *kind, action.ttl_s, reason).await
            }
            Remedy::Shift(shift) => {
                let weights = shift.weights.clone().into_iter().collect();
                self.shift(shift.host.clone(), weights, reason).await
            }
        }
    }

    /// Takes a lease on an edge.
    pub(crate) async fn trip(
        &mut self,
        (source, destination): (String, String),
        action: ActionKind,
        ttl_s: u64,
        reason: String,
    ) -> Result<Done, AskError> {
        let (request_id, by) = (request_id(), BY.to_owned());
        let ttl = Duration::from_secs(ttl_s);
        let percent = None;
        let request =
            TripRequest { request_id, source, destination, action, percent, ttl, reason, by };
        let reply = self.console.trip(tonic::Request::new(request.into())).await?.into_inner();
        let results: Vec<TripResult> =
            reply.results.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let empty = || fusebox_proto::Invalid::new("results", "is empty");
        let result = results.into_iter().next().ok_or_else(empty)?;
        Ok(Done { applied: result.applied, proxies: result.proxies, note: result.note })
    }

    /// Moves traffic between subsets.
    pub(crate) async fn shift(
        &mut self,
        host: String,
        weights: Vec<(String, u32)>,
        reason: String,
    ) -> Result<Done, AskError> {
        let (request_id, by) = (request_id(), BY.to_owned());
        let request = ShiftRequest { request_id, host, weights, reason, by };
        let reply = self.console.shift(tonic::Request::new(request.into())).await?.into_inner();
        done(reply.try_into()?)
    }

    /// Puts documents in force.
    pub(crate) async fn apply(&mut self, text: String) -> Result<Done, AskError> {
        let request = ApplyRequest {
            request_id: request_id(),
            files: vec![SourceFile { name: "demo.yaml".to_owned(), text }],
            dry_run: false,
            strict: false,
            profile: None,
            reason: "demo".to_owned(),
            by: BY.to_owned(),
        };
        let reply = self.console.apply(tonic::Request::new(request.into())).await?.into_inner();
        done(reply.try_into()?)
    }
}

fn request_id() -> String {
    format!("demo-{:016x}", rand::random::<u64>())
}

fn done(result: PolicyResult) -> Result<Done, AskError> {
    match result.outcome {
        PolicyOutcome::Applied | PolicyOutcome::Unchanged => {
            Ok(Done { applied: result.applied, proxies: result.proxies, note: result.note })
        }
        outcome => {
            let reason = format!("is {outcome:?}: {:?}", result.findings);
            Err(fusebox_proto::Invalid::new("policy", reason).into())
        }
    }
}
