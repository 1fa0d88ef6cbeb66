//! The console of the simulation: the real core of the dashboard in a shell that has a network of
//! virtual time, and beside it the shadow that holds what it says against what is true.

use crate::Plant;
use crate::book::Book;
use crate::truth::{Behind, Truth};
use fusebox::dashboard::Ingest;
use fusebox::model::commands::Request;
use fusebox::model::standing::Standing;
use fusebox::model::{Effect, Link, Message, Model, Screen, Session, update};
use fusebox::theme::{Depth, NAMES, Theme};
use fusebox::view;
use fusebox_proto::Now;
use fusebox_proto::view::TripResult;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::collections::BTreeMap;
use std::time::Instant;

/// Between two frames that are painted: painting all would take most of the time.
const STEPS_A_FRAME: u64 = 127;

/// The console.
pub(crate) struct Console {
    pub(crate) model: Model,
    /// The stream of updates that it follows.
    pub(crate) stream: Option<u64>,
    /// Failed attempts to follow one, since the last update.
    pub(crate) attempts: u32,
    /// Requests without an answer, and how often each was sent.
    pub(crate) calls: BTreeMap<String, Call>,
    book: Book,
    theme: Theme,
    plant: Plant,
    steps: u64,
    wakes_at: Option<Instant>,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) attempts: u32,
}

impl Console {
    /// A console that knows nothing yet; `life` makes its ids unique.
    pub(crate) fn new(now: Now, life: u64, plant: Plant) -> Self {
        let session = Session {
            collector: "http://127.0.0.1:4319".into(),
            ingest: Ingest {
                otlp_grpc: "127.0.0.1:4317".into(),
                otlp_http: "127.0.0.1:4318".into(),
            },
            by: "ana".into(),
            read_only: false,
            notice: None,
            seed: life,
        };
        Self {
            model: Model::new(session, now),
            stream: None,
            attempts: 0,
            calls: BTreeMap::new(),
            book: Book::default(),
            theme: Theme::new(NAMES[0], Depth::True, false).expect("a listed name"),
            plant,
            steps: 0,
            wakes_at: None,
        }
    }

    /// When the model wants to be told the time.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.wakes_at
    }

    /// Lets the model take a message, judges what it says then, and gives the requests that leave;
    /// `None` when the operator leaves.
    pub(crate) fn tell(
        &mut self,
        now: Now,
        message: Message,
        truth: &Truth,
    ) -> Result<Option<Vec<Request>>, String> {
        if let Message::Key(chord) = message {
            self.book.pressed(now, &self.model, chord);
        }
        let mut requests = Vec::new();
        for effect in update(&mut self.model, now, message) {
            match effect {
                Effect::Send(request) => {
                    self.book.sends(now, &self.model, &request)?;
                    let call = Call { request: request.clone(), attempts: 1 };
                    self.calls.insert(request.id().to_owned(), call);
                    requests.push(request);
                }
                Effect::Quit => return Ok(None),
                Effect::Redraw
                | Effect::Suspend
                | Effect::Play(_)
                | Effect::Save(_)
                | Effect::Copy(_) => {}
            }
        }
        self.wakes_at = self.model.poll_timeout();
        self.book.check(now, &self.model, truth)?;
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_A_FRAME) {
            self.paint();
        }
        Ok(Some(requests))
    }

    /// An update came, made at `made`, with what stood behind it.
    pub(crate) fn sees(&mut self, now: Now, made: Instant, behind: Behind) {
        self.attempts = 0;
        self.book.sees(now, made, behind);
    }

    /// The stream ended, or could not be had.
    pub(crate) fn lost(&mut self, reason: &str) -> Message {
        self.attempts += 1;
        self.stream = None;
        Message::Link(Link::Lost { reason: reason.into(), attempts: self.attempts })
    }

    /// A request ended: what the model is told, unless it was told before.
    pub(crate) fn answered(
        &mut self,
        now: Now,
        made: Instant,
        id: &str,
        result: Result<TripResult, String>,
    ) -> Option<Message> {
        self.calls.remove(id)?;
        self.book.hears(now, made, id, &result);
        let mut id = id.to_owned();
        if let (Plant::AnswersAreMixedUp, Some(other)) = (self.plant, self.calls.keys().next()) {
            id.clone_from(other);
        }
        Some(Message::Answer { id, result })
    }

    /// Paints the screen as it is.
    pub(crate) fn paint(&self) {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        view::draw(&mut buffer, &self.model, &self.theme);
    }

    /// Everything has come to rest: nothing is waited for, nothing is held, and every view can be
    /// painted.
    pub(crate) fn check_rest(&mut self) -> Result<(), String> {
        let model = &self.model;
        if model.is_stale() {
            return Err(format!("the console is blind: {:?}, {:?}", model.link, model.data_age()));
        }
        if model.commands.is_waiting() || !self.calls.is_empty() {
            return Err(format!("the console still waits: {:?}", self.calls));
        }
        if let Some(command) = model.undoable() {
            return Err(format!("the console would still undo {command:?}"));
        }
        for edge in self.book.edges(model) {
            let standing = model.standing(&edge);
            if standing != Standing::Nothing {
                return Err(format!("the console still shows {edge:?} as {standing:?}"));
            }
        }
        for screen in Screen::ALL {
            self.model.screen = screen;
            self.paint();
        }
        Ok(())
    }
}
