//! `fusebox-proxy`: see the library.

use clap::Parser;
use fusebox_proxy::cli::Args;
use fusebox_proxy::{Running, StartError, start};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What is in flight at SIGTERM may take this long: below the 30 s that orchestrators give.
const GRACE: Duration = Duration::from_secs(20);

/// Exit code for wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(reason) = fusebox_proto::log::start() {
        eprintln!("fusebox-proxy: {reason}");
        return ExitCode::from(USAGE);
    }
    raise_descriptor_limit();
    let started = args.config().map_err(StartError::Invalid).and_then(start);
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            eprintln!("fusebox-proxy: {error}");
            return if let StartError::Invalid(_) = error {
                USAGE.into()
            } else {
                ExitCode::FAILURE
            };
        }
    };
    tracing::info!(
        "admin {}, inbound {:?}, outbound {:?}",
        running.admin(),
        running.inbound(),
        running.outbound()
    );
    match wait(&running) {
        Ok(true) => {
            running.shutdown(GRACE);
            ExitCode::SUCCESS
        }
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fusebox-proxy: cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A proxied request takes two descriptors, and shells still give a process 1,024. The hard limit
/// is the one that someone meant.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Waits for a signal to end; `false` if a thread ended first.
fn wait(running: &Running) -> std::io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = running.broken() => false,
        })
    })
}
