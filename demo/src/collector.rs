//! The collector as anyone sees it: its HTTP API and its console service. What it thinks is read
//! here and nowhere else.

use crate::link::{Link, LinkError};
use fusebox_proto::command::TripRequest;
use fusebox_proto::view::{Incident, SuggestedAction, TripResult};
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
        loop {
            ticks.tick().await;
            match self.get::<Incidents>("/api/v1/incidents").await {
                Ok(Incidents { incidents }) => {
                    if said.send(incidents).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "incidents cannot be read"),
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
    pub(crate) async fn act(&mut self, action: &SuggestedAction) -> Result<TripResult, AskError> {
        let request = TripRequest {
            request_id: format!("demo-{:016x}", rand::random::<u64>()),
            source: action.source.clone(),
            destination: action.destination.clone(),
            action: action.action,
            percent: None,
            ttl: Duration::from_secs(action.ttl_s),
            reason: "suggested".to_owned(),
            by: "demo".to_owned(),
        };
        let reply = self.console.trip(tonic::Request::new(request.into())).await?.into_inner();
        let results: Vec<TripResult> =
            reply.results.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let empty = || fusebox_proto::Invalid::new("results", "is empty");
        results.into_iter().next().ok_or_else(|| empty().into())
    }
}
