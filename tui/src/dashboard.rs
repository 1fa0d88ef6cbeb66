//! The way in: options, and `run`.

/// What the dashboard needs to know before its first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Control address of the collector, such as `http://127.0.0.1:4319`.
    pub collector: String,
    /// Bearer token, where the collector wants one.
    pub token: Option<String>,
    /// Who acts, for the audit: `ana@laptop`.
    pub by: String,
    /// No key changes anything.
    pub read_only: bool,
    /// One line per change of state instead of a screen: for screen readers and pipes.
    pub plain: bool,
    /// Nothing but ASCII on the screen.
    pub ascii: bool,
    /// `dark`, `light`, `high-contrast`, `deuteranopia`; [`None`]: dark.
    pub theme: Option<String>,
    /// Where telemetry is to be sent: shown while nobody sends any.
    pub ingest: Ingest,
    /// One line about this session for the empty screen and the header, such as why a collector
    /// was embedded, or the name of the demo's scenario.
    pub notice: Option<String>,
}

/// Addresses that take telemetry, for the instructions on an empty screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// OTLP over gRPC, `127.0.0.1:4317`.
    pub otlp_grpc: String,
    /// OTLP over HTTP, `127.0.0.1:4318`.
    pub otlp_http: String,
}

/// Connects to the collector and runs the dashboard until the operator leaves. It never gives up
/// on a collector that does not answer: it says so on the screen and tries again.
///
/// It lives on a thread and runtime of its own, so that a slow terminal delays nothing else in
/// the process (an embedded collector, a demo). May be awaited from any runtime.
pub async fn run(options: Options) -> anyhow::Result<()> {
    anyhow::bail!("the dashboard for {} is being built", options.collector)
}
