//! A real terminal: a pty with `fusebox` in it, and the screen that a person would see.

use crate::process::binary;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read as _, Write};
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A person who has not seen something by then gives up.
const PATIENCE: Duration = Duration::from_secs(40);

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a terminal has cells")
}

struct Shared {
    parser: Mutex<(vt100::Parser, Vec<u8>)>,
    changed: Condvar,
}

/// `fusebox` in a terminal.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shared: Arc<Shared>,
    master: Box<dyn MasterPty + Send>,
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    /// Starts `fusebox` with `args` in a terminal of `columns` × `rows`.
    ///
    /// # Panics
    /// If there is no pty to be had.
    pub fn start(args: &[&str], columns: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pty");
        let mut command = CommandBuilder::new(binary("fusebox"));
        command.args(args);
        command.env("TERM", "xterm-256color");
        for name in ["NO_COLOR", "COLORTERM", "SSH_CONNECTION", "FUSEBOX_COLLECTOR"] {
            command.env_remove(name);
        }
        let child = pair.slave.spawn_command(command).expect("fusebox starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let parser = vt100::Parser::new(cells(rows), cells(columns), 0);
        let shared =
            Arc::new(Shared { parser: Mutex::new((parser, Vec::new())), changed: Condvar::new() });
        let screen = Arc::clone(&shared);
        let reading = std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                let mut state = screen.parser.lock().expect("no panic while held");
                state.0.process(&bytes[..n]);
                state.1.extend_from_slice(&bytes[..n]);
                screen.changed.notify_all();
            }
        });
        Self { child, keys, shared, master: pair.master, reading: Some(reading) }
    }

    /// Presses keys.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal lives");
        self.keys.flush().expect("the terminal lives");
    }

    /// The screen as text, a line a row.
    ///
    /// # Panics
    /// Never.
    pub fn screen(&self) -> String {
        self.shared.parser.lock().expect("no panic while held").0.screen().contents()
    }

    /// Every byte that the terminal received so far.
    ///
    /// # Panics
    /// Never.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.parser.lock().expect("no panic while held").1.clone()
    }

    /// Waits until `is_so` holds for the screen; returns the screen.
    ///
    /// # Panics
    /// With the screen, if it never holds.
    #[track_caller]
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let state = self.shared.parser.lock().expect("no panic while held");
        let waiting = |state: &mut (vt100::Parser, Vec<u8>)| !is_so(&state.0.screen().contents());
        let (state, timeout) = (self.shared.changed)
            .wait_timeout_while(state, PATIENCE, waiting)
            .expect("no panic while held");
        let screen = state.0.screen().contents();
        assert!(!timeout.timed_out(), "{what} was never seen; the screen:\n{screen}");
        screen
    }

    /// Waits until the screen contains `text`.
    ///
    /// # Panics
    /// With the screen, if it never does.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Changes the size of the terminal.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.shared
            .parser
            .lock()
            .expect("no panic while held")
            .0
            .screen_mut()
            .set_size(cells(rows), cells(columns));
        self.master.resize(size).expect("the terminal lives");
    }

    /// Waits for the end; returns the exit code.
    ///
    /// # Panics
    /// If it does not end.
    pub fn finish(mut self) -> (u32, Vec<u8>) {
        let code = self.child.wait().expect("a child of ours").exit_code();
        // What it wrote last may still be on its way.
        if let Some(reading) = self.reading.take() {
            reading.join().expect("no panic while reading");
        }
        (code, self.bytes())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
