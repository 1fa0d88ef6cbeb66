//! The command line: reads words, asks the collector, prints, and exits with the codes of the
//! contract.
//!
//! | module | |
//! |---|---|
//! | [`args`], [`parse`] | what can be typed |
//! | [`connect`] | the collector at the other end |
//! | [`query`], [`act`], [`policy`], [`open`] | what is done with it: questions, trips and resets, the policy, the dashboard |
//! | [`render`], [`table`], [`out`] | how it is shown |
//! | [`exit`] | how it ends |

mod act;
pub(crate) mod args;
pub(crate) mod connect;
pub(crate) mod exit;
pub(crate) mod open;
pub(crate) mod out;
mod parse;
mod policy;
mod query;
mod render;
pub(crate) mod table;

use crate::{demo, diagnose, record, replay};
use anyhow::Context as _;
use args::{COLLECTOR_DEFAULT, Cli, Command, Global};
use clap::{CommandFactory as _, Parser as _};
use connect::Target;
use exit::{Exit, Failure};
use out::Out;
use std::process::ExitCode;

/// The whole process.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Trip(trip)) = &cli.command {
        trip.check().unwrap_or_else(|error| error.exit());
    }
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(Failure::BrokenPipe) => Failure::BrokenPipe.exit().into(),
        Err(failure) => {
            eprintln!("fusebox: {failure}");
            failure.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let out = Out::new(global.ascii);
    match command {
        None => open::run(&global, out),
        Some(Command::Demo(demo)) => demo::run(&demo, &global),
        Some(Command::Completions { shell }) => completions(shell),
        // Files need no collector, and no words about one.
        Some(Command::Diagnose(diagnose)) if !diagnose.files.is_empty() => {
            diagnose::of_files(&diagnose, out)
        }
        Some(Command::Replay(replay)) => replay::run(&replay, &global, out),
        Some(command) => {
            let target = target(&global)?;
            one_thread()?.block_on(ask(command, &target, &global, out))
        }
    }
}

async fn ask(
    command: Command,
    target: &Target,
    global: &Global,
    out: Out,
) -> Result<Exit, Failure> {
    if let Some((noun, query)) = command.query() {
        return query::run(target, noun, *query, out).await;
    }
    if let Command::Lint(lint) = command {
        return policy::lint(target, lint).await;
    }
    if let Command::Diagnose(diagnose) = command {
        return diagnose::of_collector(target, &diagnose, out).await;
    }
    let is_trial = match &command {
        Command::Apply(apply) => apply.dry_run,
        command => matches!(command, Command::Record(_)),
    };
    if global.read_only && !is_trial {
        return Err(Failure::Usage("--read-only: this session changes nothing".into()));
    }
    match command {
        Command::Record(record) => record::run(target, record).await,
        Command::Trip(trip) => act::trip(target, trip, operator()).await,
        Command::Reset(reset) => act::reset(target, reset, operator()).await,
        Command::Apply(apply) => policy::apply(target, apply, operator(), out.ascii).await,
        Command::Rollback(rollback) => {
            policy::rollback(target, rollback, operator(), out.ascii).await
        }
        Command::Shift(shift) => policy::shift(target, shift, operator(), out.ascii).await,
        _ => unreachable!("the others ask no collector"),
    }
}

/// The collector that was named, else the one at the default address.
fn target(global: &Global) -> Result<Target, Failure> {
    let url = global.collector.as_deref().unwrap_or(COLLECTOR_DEFAULT).to_owned();
    let token = global.token_file.as_deref().map(connect::read_token).transpose()?;
    Ok(Target { url, token })
}

/// Who acts, for whoever looks at a breaker: `ana@laptop`.
pub(crate) fn operator() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".into());
    format!("{user}@{}", gethostname::gethostname().to_string_lossy())
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fusebox", &mut script);
    out::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// For commands that wait for one answer at a time.
pub(crate) fn one_thread() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("the system gives no runtime")?)
}

/// For a collector or a shop in this process, beside the dashboard.
pub(crate) fn many_threads() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    Ok(runtime.context("the system gives no threads")?)
}

#[cfg(test)]
mod tests;
