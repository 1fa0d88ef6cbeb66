//! A collector in this process, for whoever has none.

use crate::cli::exit::Failure;
use anyhow::anyhow;
use fusebox::dashboard::Ingest;
use fusebox_collector::{Config, Running, StartError};
use futures_util::FutureExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Telemetry under way gets this long when the dashboard is left.
const GRACE: Duration = Duration::from_secs(1);

/// The collector.
pub(crate) struct Collector(Running);

impl Collector {
    /// Starts it on the default addresses. Telemetry must come where SDKs send it: if 4317 or 4318
    /// is taken, that is an error. The two addresses that only we need move to free ports.
    pub(crate) async fn start(token_file: Option<PathBuf>) -> Result<Self, Failure> {
        let mut config = Config { embedded: true, token_file, ..Config::default() };
        loop {
            match fusebox_collector::start(config.clone()).await {
                Ok(running) => return Ok(Self(running)),
                Err(StartError::Bind { flag: "--control", .. }) if config.control.port() != 0 => {
                    config.control.set_port(0);
                }
                Err(StartError::Bind { flag: "--http", .. }) if config.http.port() != 0 => {
                    config.http.set_port(0);
                }
                Err(error) if error.is_usage() => return Err(Failure::Usage(error.to_string())),
                Err(error) => {
                    return Err(anyhow!("no collector can be embedded: {error}").into());
                }
            }
        }
    }

    /// Its control address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.control())
    }

    /// Where it takes telemetry.
    pub(crate) fn ingest(&self) -> Ingest {
        Ingest {
            otlp_grpc: self.0.otlp_grpc().to_string(),
            otlp_http: self.0.otlp_http().to_string(),
        }
    }

    /// Ends it; an error if something of it had ended before, which the dashboard could only show
    /// as a lost collector.
    pub(crate) async fn shutdown(mut self) -> Result<(), Failure> {
        if let Some(name) = self.0.failed().now_or_never() {
            return Err(anyhow!("the embedded collector failed: {name} ended").into());
        }
        self.0.shutdown(GRACE).await;
        Ok(())
    }
}
