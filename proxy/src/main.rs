//! `fusebox-proxy`: see the library.

use clap::Parser;
use fusebox_proxy::cli::Args;
use fusebox_proxy::config::operation::DRAIN_TIMEOUT_DEFAULT;
use fusebox_proxy::redirect;
use fusebox_proxy::{Running, StartError, start};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code for wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "redirect") {
        return redirect();
    }
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
        Ok(End::Drained) => {
            running.shutdown(DRAIN_TIMEOUT_DEFAULT);
            ExitCode::SUCCESS
        }
        Ok(End::Now) => ExitCode::SUCCESS,
        Ok(End::Broken) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fusebox-proxy: cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `fusebox-proxy redirect`.
fn redirect() -> ExitCode {
    let args = redirect::Args::parse_from(std::env::args_os().skip(1));
    match args.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fusebox-proxy redirect: {error}");
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

/// How it came to an end.
enum End {
    /// Politely.
    Drained,
    /// A second signal: whoever sent it does not want to wait.
    Now,
    /// A thread ended before its time.
    Broken,
}

/// Waits for the end: a signal or a word at the admin port begins it, a second signal hastens it.
fn wait(running: &Running) -> std::io::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup =
            running.has_log_file().then(|| signal(SignalKind::hangup())).transpose()?;
        loop {
            tokio::select! {
                biased;
                () = running.broken() => return Ok(End::Broken),
                () = running.drained() => return Ok(End::Drained),
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
                () = recv(&mut hangup) => {
                    running.reopen_log();
                    continue;
                }
            }
            if running.is_draining() {
                return Ok(End::Now);
            }
            running.drain();
        }
    })
}

/// Waits for a signal that is listened for only where it means something.
async fn recv(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}
