//! `fusebox-proxy`: see the library.

use clap::Parser;
use fusebox_proxy::cli::Args;
use fusebox_proxy::config::operation::DRAIN_TIMEOUT_DEFAULT;
use fusebox_proxy::redirect;
use fusebox_proxy::{Config, Running, StartError, start};
#[cfg(feature = "allocator")]
use mimalloc::MiMalloc;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use std::process::ExitCode;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Exit code for wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "redirect") {
        return redirect();
    }
    let args = Args::parse();
    let wanted = std::env::var(fusebox_proto::log::VARIABLE).ok();
    if let Err(reason) = fusebox_proto::log::start(wanted.as_deref()) {
        eprintln!("fusebox-proxy: {reason}");
        return ExitCode::from(USAGE);
    }
    decline_huge_pages();
    raise_descriptor_limit();
    let started = args.config().map_err(StartError::Invalid).and_then(begin);
    let (runtime, signals, running) = match started {
        Ok(started) => started,
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
    match runtime.block_on(signals.wait(&running)) {
        End::Drained => {
            running.shutdown(DRAIN_TIMEOUT_DEFAULT);
            ExitCode::SUCCESS
        }
        End::Now => ExitCode::SUCCESS,
        End::Broken => ExitCode::FAILURE,
    }
}

/// Listens for signals before it serves: whoever meets the proxy at work may end it politely.
fn begin(config: Config) -> Result<(Runtime, Signals, Running), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _context = runtime.enter();
        let log = config.operation.access_log.as_ref();
        Signals::listen(log.is_some_and(|log| log.path.is_some()))?
    };
    Ok((runtime, signals, start(config)?))
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

/// Small requests in a large arena: what is resident would double where the system gives huge pages
/// unasked.
fn decline_huge_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!("cannot decline huge pages: {error}");
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

/// What the system may say to the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on. A hangup is meant for the program only where it has a log to turn over.
    fn listen(has_log: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: has_log.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Waits for the end: a signal or a word at the admin port begins it, a second signal hastens
    /// it.
    async fn wait(mut self, running: &Running) -> End {
        loop {
            tokio::select! {
                biased;
                () = running.broken() => return End::Broken,
                () = running.drained() => return End::Drained,
                _ = self.terminate.recv() => (),
                _ = self.interrupt.recv() => (),
                () = recv(&mut self.hangup) => {
                    running.reopen_log();
                    continue;
                }
            }
            if running.is_draining() {
                return End::Now;
            }
            running.drain();
        }
    }
}

/// Waits for a signal that is listened for only where it means something.
async fn recv(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}
