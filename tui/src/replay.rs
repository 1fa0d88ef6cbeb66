//! `fusebox replay`: files of traces happen again, on the dashboard, line by line, or for a collector
//! elsewhere.

mod asked;
mod headless;
mod line;
mod otlp;
mod send;
mod watched;
mod words;

use crate::cli::args::{Global, Replay};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::Out;
use crate::cli::{many_threads, one_thread};
use fusebox_collector::replay::{LoadError, Recording};
use fusebox_proto::text;
use std::path::PathBuf;

/// Reads the files, and lets them happen.
pub(crate) fn run(replay: &Replay, global: &Global, out: Out) -> Result<Exit, Failure> {
    let recording = load(&replay.files)?;
    if let Some(url) = &replay.to {
        return many_threads()?.block_on(send::run(&recording, url, replay));
    }
    // Where nobody sees a screen, lines are what is wanted.
    if replay.headless || replay.what_if || (out.width.is_none() && !global.plain) {
        return one_thread()?.block_on(headless::run(&recording, replay));
    }
    watched::run(recording, replay, global)
}

fn load(files: &[PathBuf]) -> Result<Recording, Failure> {
    let visible = |message: String| Failure::Usage(text::visible(&message).into_owned());
    Recording::load(files.iter().map(PathBuf::as_path)).map_err(|error| match error {
        LoadError::Empty => {
            let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
            visible(format!("{}: {error}", files.join(", ")))
        }
        error => visible(error.to_string()),
    })
}
