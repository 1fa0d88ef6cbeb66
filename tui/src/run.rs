//! The loop: keys first, then signals, then data, then time; paint when something changed.

use crate::link::Collector;
use crate::model::{Effect, Message, Model, update};
use crate::terminal::{Terminal, chord};
use crate::theme::Theme;
use crate::view;
use crossterm::event::{Event, EventStream};
use fusebox_proto::Now;
use futures_util::StreamExt as _;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// At most 30 frames a second.
const FRAME: Duration = Duration::from_millis(33);
/// A key is answered at once, unless a frame was painted just now.
const FRAME_FOR_KEY: Duration = Duration::from_millis(8);

/// What woke the loop.
enum Woken {
    Input(Option<std::io::Result<Event>>),
    Signal(SignalKind),
    Written(std::io::Result<()>),
    Message(Option<Message>),
    Time,
}

/// Runs the dashboard in the terminal until the operator leaves.
pub(crate) async fn run(model: Model, theme: Theme, collector: Collector) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    let terminal = Terminal::enter()?;
    let mut desk = Desk {
        model,
        theme,
        collector,
        terminal,
        signals,
        input: EventStream::new(),
        is_dirty: true,
        painted: None,
    };
    let (width, height) = Terminal::size();
    desk.tell(Message::Resize { width, height })?;
    let result = desk.run().await;
    desk.terminal.close().await;
    result
}

/// The dashboard in its terminal.
struct Desk {
    model: Model,
    theme: Theme,
    collector: Collector,
    terminal: Terminal,
    signals: Signals,
    input: EventStream,
    is_dirty: bool,
    painted: Option<Instant>,
}

impl Desk {
    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            self.paint(FRAME)?;
            let goes_on = match self.woken().await {
                Woken::Input(Some(Ok(event))) => {
                    let goes_on = self.input(event)?;
                    self.paint(FRAME_FOR_KEY)?;
                    goes_on
                }
                Woken::Signal(kind)
                    if kind == SignalKind::from_raw(signal_hook::consts::SIGCONT) =>
                {
                    self.terminal.resume()?;
                    self.is_dirty = true;
                    true
                }
                // Without keys nobody can leave.
                Woken::Signal(_) | Woken::Input(Some(Err(_)) | None) => false,
                Woken::Written(result) => result.is_ok(),
                Woken::Message(Some(message)) => self.tell(message)?,
                Woken::Message(None) => anyhow::bail!("the link to the collector ended"),
                Woken::Time => self.tell(Message::Tick)?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        let deadline = self.deadline();
        let is_writing = self.terminal.is_writing();
        tokio::select! {
            biased;
            event = self.input.next() => Woken::Input(event),
            kind = self.signals.recv() => Woken::Signal(kind),
            result = self.terminal.written(), if is_writing => Woken::Written(result),
            message = self.collector.recv() => Woken::Message(message),
            () = sleep_until(deadline) => Woken::Time,
        }
    }

    /// When the screen changes by time alone, or a change may be painted.
    fn deadline(&self) -> Option<Instant> {
        let frame = self.painted.map(|at| at + FRAME);
        let frame = frame.filter(|_| self.is_dirty && !self.terminal.is_writing());
        [self.model.poll_timeout(), frame].into_iter().flatten().min()
    }

    fn input(&mut self, event: Event) -> anyhow::Result<bool> {
        match event {
            Event::Key(key) => match chord(key) {
                Some(chord) => self.tell(Message::Key(chord)),
                None => Ok(true),
            },
            Event::Paste(text) => self.tell(Message::Paste(text)),
            Event::FocusGained => self.tell(Message::Focus),
            Event::Resize(width, height) => self.tell(Message::Resize { width, height }),
            Event::FocusLost | Event::Mouse(_) => Ok(true),
        }
    }

    /// Lets the model take a message and does what it asks for; whether to go on.
    fn tell(&mut self, message: Message) -> anyhow::Result<bool> {
        self.is_dirty = true;
        for effect in update(&mut self.model, Now::read(), message) {
            match effect {
                Effect::Quit => return Ok(false),
                Effect::Redraw => self.terminal.forget(),
                Effect::Suspend => self.terminal.suspend()?,
                Effect::Save(incident) => self.collector.save(incident),
                Effect::Play(control) => self.collector.play(control),
                Effect::Copy(text) => self.terminal.copy(&text)?,
                Effect::Send(request) => {
                    if let Some(refused) = self.collector.send(request) {
                        update(&mut self.model, Now::read(), refused);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Paints if something changed, no frame is on its way, and the last one is old enough.
    fn paint(&mut self, after: Duration) -> anyhow::Result<()> {
        let now = Now::read().instant;
        let is_due = self.painted.is_none_or(|at| after <= now.saturating_duration_since(at));
        if !self.is_dirty || self.terminal.is_writing() || !is_due {
            return Ok(());
        }
        let (width, height) = self.model.size;
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        view::draw(&mut buffer, &self.model, &self.theme);
        self.terminal.show(buffer)?;
        self.is_dirty = false;
        self.painted = Some(now);
        Ok(())
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Signals that end the dashboard, and the one that brings it back.
pub(crate) struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    go_on: Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            go_on: signal(SignalKind::from_raw(signal_hook::consts::SIGCONT))?,
        })
    }

    pub(crate) async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hang_up.recv() => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.go_on.recv() => SignalKind::from_raw(signal_hook::consts::SIGCONT),
        }
    }
}
