//! Standard output: what it is, and what goes there.

use super::args::Lines;
use super::exit::Failure;
use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, queue};
use serde::Serialize;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

/// What standard output can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// Cells of a line; `None` where it is no terminal: then nothing is cut, and nothing escaped.
    pub(crate) width: Option<usize>,
    /// Nothing but ASCII in what we draw.
    pub(crate) ascii: bool,
}

impl Out {
    /// Looks at standard output.
    pub(crate) fn new(ascii: bool) -> Self {
        let size = io::stdout().is_terminal().then(crossterm::terminal::size);
        let width = size.map(|size| size.map_or(80, |(columns, _)| usize::from(columns)));
        Self { width, ascii }
    }

    /// Prints text in the place of what a terminal showed before; elsewhere after a blank line.
    pub(crate) fn replace(self, text: &str) -> Result<(), Failure> {
        write(|stdout| {
            if self.width.is_some() {
                queue!(stdout, cursor::MoveTo(0, 0), Clear(ClearType::FromCursorDown))?;
            } else {
                stdout.write_all(b"\n")?;
            }
            stdout.write_all(text.as_bytes())
        })
    }
}

/// One of the lines of a demo or a replay, with its end.
pub(crate) fn line(line: &(impl Serialize + fmt::Display), lines: Lines) -> String {
    match lines {
        Lines::Text => format!("{line}\n"),
        Lines::Json => serde_json::to_string(line).expect("plain data") + "\n",
    }
}

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(|stdout| stdout.write_all(text.as_bytes()))
}

fn write(say: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match say(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::BrokenPipe),
        Err(error) => Err(anyhow::Error::new(error).context("standard output").into()),
    }
}
