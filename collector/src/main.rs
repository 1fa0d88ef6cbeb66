//! `fusebox-collector`: the collector as a process of its own.

use anyhow::Context as _;
use clap::Parser as _;
use fusebox_collector::{Options, StartError};
use rustix::process::Signal;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long calls in flight may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Exit code for wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    let wanted = std::env::var(fusebox_proto::log::VARIABLE).ok();
    if let Err(reason) = fusebox_proto::log::start(wanted.as_deref()) {
        eprintln!("fusebox-collector: {reason}");
        return ExitCode::from(USAGE);
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fusebox-collector: {error:#}");
            let is_usage = error.downcast_ref().is_some_and(StartError::is_usage);
            ExitCode::from(if is_usage { USAGE } else { 1 })
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let config = options.resolve().map_err(StartError::from)?;
    let history = match &config.data_dir {
        Some(path) => path.display().to_string(),
        None => "none: what is known lasts as long as this process".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let (mut term, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // A file that outgrows its limit (`ulimit -f`) is an error of that write, not the end of
        // the process, as it would be where nobody listens for the signal.
        let _outgrown = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let mut running = fusebox_collector::start(config).await?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            otlp_grpc = %running.otlp_grpc(),
            otlp_http = %running.otlp_http(),
            control = %running.control(),
            http = %running.http(),
            history,
            "listening"
        );
        tokio::select! {
            _ = term.recv() => (),
            _ = interrupt.recv() => (),
            name = running.failed() => anyhow::bail!("the task {name} ended unexpectedly"),
        }
        tracing::info!("shutting down");
        let ended = running.shutdown(GRACE).await;
        ended.then_some(()).with_context(|| format!("calls in flight after {GRACE:?}: cut off"))
    });
    // All had its time to end: a disk that hangs does not keep the process.
    runtime.shutdown_background();
    result
}
