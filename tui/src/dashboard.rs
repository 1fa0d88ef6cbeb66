//! The way in: options, and [`run`].

use crate::address::Address;
use crate::link::Collector;
use crate::model::playback::{Control, Playback};
use crate::model::{Model, Session};
use crate::theme::{Depth, NAMES, Theme};
use crate::{plain, run as screen};
use anyhow::Context as _;
use fusebox_proto::Now;
use fusebox_proto::view::Snapshot;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::IsTerminal as _;
use tokio::sync::mpsc;

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
    /// One line about this session for the empty screen, such as why a collector was embedded, or
    /// the name of the demo's scenario.
    pub notice: Option<String>,
}

/// Where a recording is played.
#[derive(Debug)]
pub struct Feed {
    /// What is shown; the newest replaces.
    pub updates: mpsc::Receiver<Played>,
    /// What the operator wants of the player.
    pub controls: mpsc::Sender<Control>,
}

/// A moment of a recording.
#[derive(Debug)]
pub struct Played {
    /// Everything at that moment.
    pub snapshot: Box<Snapshot>,
    /// Which moment it is.
    pub playback: Playback,
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
/// on a collector that does not answer: it says so on the screen and tries again. Without a
/// terminal it writes lines, as with `plain`.
///
/// It lives on a thread and runtime of its own, so that a slow terminal delays nothing else in
/// the process (an embedded collector, a demo). May be awaited from any runtime.
///
/// # Errors
/// If an option makes no sense, or the terminal cannot be had.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let address = Address::new(&options.collector, options.token.as_deref())?;
    start(options, || Collector::follow(address)).await
}

/// As [`run`], for a recording: nothing can be done to it.
///
/// # Errors
/// As [`run`].
pub async fn replay(options: Options, feed: Feed) -> anyhow::Result<()> {
    start(options, || Collector::play_back(feed)).await
}

async fn start(
    options: Options,
    source: impl FnOnce() -> Collector + Send + 'static,
) -> anyhow::Result<()> {
    let theme = theme(&options)?;
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("dashboard".into()).spawn(move || {
        // Nobody waits for the result of a dashboard that was given up.
        drop(done.send(run_here(options, source, theme)));
    })?;
    result.await.context("the dashboard panicked")?
}

fn run_here(
    options: Options,
    source: impl FnOnce() -> Collector,
    theme: Theme,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let is_plain = options.plain || dumb || !std::io::stdout().is_terminal();
    let session = Session {
        collector: options.collector,
        ingest: options.ingest,
        by: options.by,
        read_only: options.read_only,
        notice: options.notice,
        seed: RandomState::new().build_hasher().finish(),
    };
    let model = Model::new(session, Now::read());
    let result = runtime.block_on(async {
        let collector = source();
        if is_plain {
            plain::run(model, collector).await
        } else {
            screen::run(model, theme, collector).await
        }
    });
    // A read of the keyboard that is under way cannot be called back.
    runtime.shutdown_background();
    result
}

fn theme(options: &Options) -> anyhow::Result<Theme> {
    let name = options.theme.as_deref().unwrap_or(NAMES[0]);
    let depth = Depth::detect(|name| std::env::var(name).ok());
    Theme::new(name, depth, options.ascii)
        .with_context(|| format!("--theme {name}: is none of {}", NAMES.join(", ")))
}
