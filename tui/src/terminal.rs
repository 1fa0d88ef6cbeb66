//! The operator's terminal: entered, painted, and given back as it was, whatever happens.
//!
//! It is given back when the program ends, when it panics in any thread, on TERM, HUP and INT, and
//! while it is stopped with Ctrl-Z. Frames are written by a thread of their own, so that a slow
//! connection never holds up a key: while a frame is on its way, newer ones replace each other.

use crate::keys::{Chord, Key};
use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange, KeyCode,
    KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, queue};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::mpsc;

/// Whether the terminal is ours now: what a panic in any thread must know.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// How long leaving waits for a frame that is on its way.
const LAST_FRAME_WITHIN: Duration = Duration::from_millis(500);

/// The terminal, while the dashboard has it.
pub(crate) struct Terminal {
    shown: Buffer,
    frames: blocking::SyncSender<Vec<u8>>,
    written: mpsc::Receiver<io::Result<()>>,
    is_writing: bool,
    must_clear: bool,
    /// Goes out with the next frame.
    beside: Vec<u8>,
}

impl Terminal {
    /// Enters: raw mode, alternate screen, bracketed paste. A panic from here on restores first.
    pub(crate) fn enter() -> io::Result<Self> {
        install_panic_hook();
        enter()?;
        let (frames, inbox) = blocking::sync_channel::<Vec<u8>>(1);
        let (done, written) = mpsc::channel(1);
        std::thread::Builder::new().name("terminal-writer".into()).spawn(move || {
            while let Ok(frame) = inbox.recv() {
                let mut out = io::stdout().lock();
                let result = out.write_all(&frame).and_then(|()| out.flush());
                if done.blocking_send(result).is_err() {
                    return;
                }
            }
        })?;
        let shown = Buffer::empty(Rect::ZERO);
        Ok(Self { shown, frames, written, is_writing: false, must_clear: true, beside: Vec::new() })
    }

    /// Columns and rows.
    pub(crate) fn size() -> (u16, u16) {
        crossterm::terminal::size().unwrap_or((80, 24))
    }

    /// Whether a frame is on its way: the next one waits, and the newest wins.
    pub(crate) fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Resolves when the frame on its way is written; an error means that the terminal is gone.
    pub(crate) async fn written(&mut self) -> io::Result<()> {
        let result = self.written.recv().await;
        self.is_writing = false;
        result.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Shows a screen: sends what differs from the last one. A screen that did not change sends no
    /// byte.
    pub(crate) fn show(&mut self, next: Buffer) -> io::Result<()> {
        if self.must_clear || self.shown.area != next.area {
            self.shown = Buffer::empty(next.area);
            self.must_clear = true;
        }
        let mut frame = encode(&self.shown, &next, self.must_clear)?;
        frame.append(&mut self.beside);
        self.must_clear = false;
        self.shown = next;
        if !frame.is_empty() {
            self.is_writing = self.frames.try_send(frame).is_ok();
        }
        Ok(())
    }

    /// Puts text on the clipboard of whoever sits at the terminal, by OSC 52, with the next frame.
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        queue!(self.beside, CopyToClipboard::to_clipboard_from(text))
    }

    /// Lets the next screen be painted whole.
    pub(crate) fn forget(&mut self) {
        self.must_clear = true;
    }

    /// Gives the terminal to the shell until the operator comes back.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        leave();
        signal_hook::low_level::raise(signal_hook::consts::SIGTSTP)?;
        // Here the operator came back.
        self.resume()
    }

    /// Enters again after a stop.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        leave();
        enter()?;
        self.forget();
        Ok(())
    }

    /// Leaves in an orderly way: after the frame on its way.
    pub(crate) async fn close(mut self) {
        if self.is_writing {
            // A terminal that does not take a frame in time is left as it is.
            drop(tokio::time::timeout(LAST_FRAME_WITHIN, self.written()).await);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

/// What turns `shown` into `next`, in one synchronized update; nothing if nothing differs.
pub(crate) fn encode(shown: &Buffer, next: &Buffer, clear: bool) -> io::Result<Vec<u8>> {
    let changes = shown.diff(next);
    let mut frame = Vec::with_capacity(changes.len() * 8);
    if changes.is_empty() && !clear {
        return Ok(frame);
    }
    queue!(frame, BeginSynchronizedUpdate)?;
    if clear {
        queue!(frame, Clear(ClearType::All))?;
    }
    CrosstermBackend::new(&mut frame).draw(changes.into_iter())?;
    queue!(frame, EndSynchronizedUpdate)?;
    Ok(frame)
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    ENTERED.store(true, Ordering::SeqCst);
    let mut out = io::stdout().lock();
    queue!(out, EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange, cursor::Hide)?;
    out.flush()
}

/// Gives the terminal back. Does nothing if it is not ours; an error means that it is gone, and
/// then there is nothing to restore.
fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout().lock();
        let _gone = queue!(
            out,
            EndSynchronizedUpdate,
            DisableFocusChange,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _gone = out.flush();
        let _gone = disable_raw_mode();
    }
}

/// Restores the terminal before anything prints a panic, once a process.
fn install_panic_hook() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            before(panic);
        }));
    });
}

/// A key of the terminal as a chord of ours; [`None`] for releases and keys that nothing is bound
/// to.
pub(crate) fn chord(event: KeyEvent) -> Option<Chord> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let key = match event.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    };
    // Nothing is bound to alt: taken for the bare key it would fire what nobody asked for.
    let others = KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META | KeyModifiers::HYPER;
    if event.modifiers.intersects(others) {
        return None;
    }
    Some(Chord { key, ctrl: event.modifiers.contains(KeyModifiers::CONTROL) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Color;

    /// Scenario: a screen painted, painted again unchanged, then with one cell changed.
    /// Guarantees: a still screen sends no byte; a change is one synchronized update.
    #[test]
    fn a_still_screen_sends_no_byte() {
        let area = Rect::new(0, 0, 20, 4);
        let mut first = Buffer::empty(area);
        first.set_string(0, 0, "LIVE 14:02:31", Color::Green);
        let whole = encode(&Buffer::empty(area), &first, true).expect("memory takes all");
        assert!(whole.starts_with(b"\x1b[?2026h") && whole.ends_with(b"\x1b[?2026l"));
        assert_eq!(encode(&first, &first, false).expect("memory takes all"), b"");
        let mut second = first.clone();
        second.set_string(12, 0, "2", Color::Green);
        let change = encode(&first, &second, false).expect("memory takes all");
        assert!(!change.is_empty() && change.len() < whole.len());
    }

    /// Scenario: keys as terminals send them.
    /// Guarantees: releases and alt are no keys of ours, control is kept.
    #[test]
    fn keys_are_taken_as_they_are() {
        let check = |code, modifiers, expected: Option<&str>| {
            let got = chord(KeyEvent::new(code, modifiers)).map(|c| c.to_string());
            assert_eq!(got.as_deref(), expected);
        };
        check(KeyCode::Char('t'), KeyModifiers::NONE, Some("t"));
        check(KeyCode::Char('S'), KeyModifiers::SHIFT, Some("S"));
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, Some("ctrl-c"));
        check(KeyCode::Char('t'), KeyModifiers::ALT, None);
        check(KeyCode::F(5), KeyModifiers::NONE, None);
        let mut release = KeyEvent::new(KeyCode::Char('t'), KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(chord(release), None);
    }
}
