//! `fusebox demo`: the shop in this process, with a dashboard on it or line by line.

use crate::cli::args::{self, Demo, Global, Lines};
use crate::cli::connect::Target;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{many_threads, open, out};
use fusebox::dashboard::Ingest;
use fusebox_demo::catalogue;
use fusebox_demo::event::{Event, Started};
use fusebox_demo::{Act, Options, RunError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Under a dashboard the first fault begins so long after the load: time to look at a healthy shop.
const FAULT_AT: Duration = Duration::from_secs(6);

/// Runs a scenario, or names them all.
pub(crate) fn run(demo: &Demo, global: &Global) -> Result<Exit, Failure> {
    if demo.list {
        return list();
    }
    let scenario = catalogue::find(&demo.scenario)
        .map_err(|error| Failure::Usage(format!("--scenario {error}")))?;
    let act = match demo.act {
        args::Act::Suggested => Act::Suggested,
        args::Act::None => Act::None,
    };
    let own_length = Duration::from_secs_f64(scenario.duration_s);
    let length = demo.length.or(demo.headless.then_some(own_length));
    let fault_at = (!demo.headless).then_some(FAULT_AT);
    let name = scenario.name.clone();
    let options = Options { scenario, seed: demo.seed, duration: length, act, fault_at };
    let runtime = many_threads()?;
    if demo.headless {
        runtime.block_on(headless(options, demo.output))
    } else {
        runtime.block_on(watched(options, &name, global))
    }
}

fn list() -> Result<Exit, Failure> {
    let line = |scenario: fusebox_demo::scenario::Scenario| {
        let verdict = match &scenario.expect {
            Some(expect) => format!("{} {} → {}", expect.kind, expect.originator, expect.victim),
            None => "no incident".to_owned(),
        };
        format!("{:<14} {verdict:<40} {}\n", scenario.name, scenario.summary)
    };
    let lines: String = catalogue::built_in().into_iter().map(line).collect();
    out::print(&lines)?;
    Ok(Exit::Done)
}

/// Tells every line as it happens. Ends early when nobody reads any more, or on Ctrl-C.
async fn headless(options: Options, output: Lines) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let mut told = Ok(());
    let unread = stop.clone();
    let result = fusebox_demo::run(options, stop, |line| {
        if told.is_ok() {
            told = out::print(&out::line(line, output));
            if told.is_err() {
                unread.cancel();
            }
        }
    });
    result.await.map_err(failed)?;
    told.map(|()| Exit::Done)
}

/// The dashboard on the shop, until its operator leaves.
async fn watched(options: Options, name: &str, global: &Global) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let notice = format!("demo {name}, seed {}", options.seed);
    let (started, up) = oneshot::channel();
    let mut started = Some(started);
    let run = fusebox_demo::run(options, stop.clone(), move |line| {
        if let Event::Started(place) = &line.event
            && let Some(started) = started.take()
        {
            // Nobody waits for it if the dashboard was given up.
            drop(started.send(place.clone()));
        }
    });
    let dashboard = async {
        let Ok(started) = up.await else { return Ok(Exit::Done) };
        let exit = open::show(global, &target(&started), ingest(&started), Some(notice)).await;
        stop.cancel();
        exit
    };
    let (run, exit) = tokio::join!(run, dashboard);
    run.map_err(failed)?;
    exit
}

fn target(started: &Started) -> Target {
    Target { url: started.collector.clone(), token: None }
}

fn ingest(started: &Started) -> Ingest {
    let bare = |url: &str| url.trim_start_matches("http://").to_owned();
    Ingest { otlp_grpc: bare(&started.otlp_grpc), otlp_http: bare(&started.otlp_http) }
}

fn failed(error: RunError) -> Failure {
    Failure::Failed(anyhow::Error::new(error).context("the demo does not run"))
}
