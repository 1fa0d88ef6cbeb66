//! The way between the console, its twin and the collector: a stream of updates that comes late
//! and breaks, and requests that are lost, arrive twice, or are answered when nobody listens.
//!
//! As the console's own link does it, a request that found no collector is sent again under its
//! id, and one without an answer is given up after a while.

use super::{Happening, SECOND, World};
use crate::console::Console;
use crate::net::Lane;
use crate::operator;
use crate::truth::Behind;
use fusebox::model::Message;
use fusebox::model::commands::Request;
use fusebox_collector::engine::Event;
use fusebox_proto::delta::Delta;
use fusebox_proto::view::{Snapshot, TripResult};
use rand::RngExt as _;
use std::time::{Duration, Instant};

/// A console gives a request up after so long,
const COMMAND_WITHIN: Duration = Duration::from_secs(5);
/// or after so many attempts that found no collector,
const COMMAND_ATTEMPTS: u32 = 3;
/// so far apart.
const COMMAND_PAUSE: Duration = Duration::from_millis(200);
/// Someone who tidies up waits until everybody is back,
pub(super) const TIDY_AFTER: Duration = Duration::from_secs(20);
/// and has done after so long.
const TIDY_FOR: Duration = Duration::from_secs(45);

/// What happens at the console or on its way to the collector.
#[derive(Debug)]
pub(crate) enum Moment {
    /// The operator does something.
    OperatorActs,
    /// The twin asks.
    TwinActs,
    /// The console tries to follow the collector.
    Connects,
    /// The collector makes an update for this stream.
    Publishes(u64),
    /// The update arrives.
    Sees(u64, Box<News>),
    /// The console notices that its stream broke.
    SeesEnd(u64),
    /// A request arrives at the collector.
    Asks(Event),
    /// An answer that was made then arrives.
    Hears(Instant, String, Reply),
    /// A request is sent again.
    AsksAgain(String),
    /// A request has waited too long.
    GivesUp(String),
}

/// An update on its way.
#[derive(Debug)]
pub(crate) struct News {
    message: Message,
    made: Instant,
    behind: Behind,
}

/// What comes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// One for each edge.
    Done(Vec<TripResult>),
    /// The collector refused.
    Refused(String),
    /// There was no collector.
    Unavailable,
}

/// The collector's end of the stream that a console follows.
#[derive(Debug)]
pub(super) struct Watch {
    stream: u64,
    /// What the console will know.
    shown: Option<Snapshot>,
    lane: Lane,
}

impl World {
    pub(super) fn console_happens(&mut self, moment: Moment) -> Result<(), String> {
        match moment {
            Moment::OperatorActs => return self.operator_acts(),
            Moment::TwinActs => self.twin_acts(),
            Moment::Connects => return self.console_connects(),
            Moment::Publishes(stream) => self.publish(stream),
            Moment::Sees(stream, news) if self.console.stream == Some(stream) => {
                self.console.sees(self.now, news.made, news.behind);
                return self.tell_console(news.message);
            }
            Moment::SeesEnd(stream) if self.console.stream == Some(stream) => {
                let lost = self.console.lost("the stream broke");
                self.console_connects_later();
                return self.tell_console(lost);
            }
            Moment::Sees(..) | Moment::SeesEnd(_) => (),
            Moment::Asks(event) => self.request_arrives(event),
            Moment::Hears(made, id, reply) => return self.console_hears(made, &id, reply),
            Moment::AsksAgain(id) => {
                let request = self.console.calls.get(&id).map(|call| call.request.clone());
                if let Some(request) = request {
                    self.ask(&event_of(&request));
                }
            }
            Moment::GivesUp(id) => {
                let result = Err("the collector did not answer in time".to_owned());
                return self.console_learns(self.now.instant, &id, result);
            }
        }
        Ok(())
    }

    /// Tells the model, and does what it asks for.
    pub(super) fn tell_console(&mut self, message: Message) -> Result<(), String> {
        let told = self.console.tell(self.now, message, &self.truth);
        let Some(requests) = told.map_err(|wrong| format!("console: {wrong}"))? else {
            self.console_restarts();
            return Ok(());
        };
        for request in requests {
            let at = self.now.instant.duration_since(self.start);
            self.log.push(format!("{at:?} console {request:?}"));
            self.later(COMMAND_WITHIN, Moment::GivesUp(request.id().to_owned()));
            self.ask(&event_of(&request));
        }
        Ok(())
    }

    fn later(&mut self, delay: Duration, moment: Moment) {
        self.after(delay, Happening::AtConsole(moment));
    }

    // --- Who asks ---

    fn operator_acts(&mut self) -> Result<(), String> {
        let (message, pause) = if self.is_hostile {
            (operator::fidgets(&mut self.rng), self.millis(30..900))
        } else if self.now.instant < self.healed_at + TIDY_AFTER + TIDY_FOR {
            (operator::tidies(&self.console.model), SECOND)
        } else {
            return Ok(());
        };
        self.later(pause, Moment::OperatorActs);
        self.tell_console(message)
    }

    fn twin_acts(&mut self) {
        for event in self.twin.acts(&mut self.rng, self.is_hostile) {
            self.ask(&event);
        }
        let pause = self.millis(200..2_500);
        self.later(pause, Moment::TwinActs);
    }

    /// The operator left and starts another console, which knows nothing of the first.
    fn console_restarts(&mut self) {
        let life = self.console.model.session.seed + 1;
        self.console = Console::new(self.now, life, self.plant);
        self.cut_console();
        self.later(Duration::from_millis(500), Moment::Connects);
    }

    // --- Requests ---

    /// Sends a request: it may be lost on its way, or arrive twice.
    fn ask(&mut self, event: &Event) {
        let copies = if self.is_hostile { self.rng.random_range(0..3) } else { 1 };
        for _ in 0..copies {
            let delay = self.millis(0..800);
            self.later(delay, Moment::Asks(event.clone()));
        }
    }

    fn request_arrives(&mut self, event: Event) {
        let id = match &event {
            Event::Trip(request) => request.request_id.clone(),
            Event::Reset(request) => request.request_id.clone(),
            _ => return,
        };
        match &self.engine {
            Some(_) => self.tell(event),
            None => self.answer(id, Reply::Unavailable),
        }
    }

    /// The collector answers; the answer may be lost.
    pub(super) fn answer(&mut self, request_id: String, reply: Reply) {
        if !self.is_hostile || self.rng.random_bool(0.8) {
            let delay = self.millis(0..800);
            self.later(delay, Moment::Hears(self.now.instant, request_id, reply));
        }
    }

    fn console_hears(&mut self, made: Instant, id: &str, reply: Reply) -> Result<(), String> {
        let is_answer = !matches!(reply, Reply::Unavailable);
        if is_answer && self.twin.hears(id) {
            return Ok(());
        }
        let result = match reply {
            Reply::Done(results) => results
                .into_iter()
                .next()
                .ok_or_else(|| "the collector knows of no lease there".to_owned()),
            Reply::Refused(reason) => Err(reason),
            Reply::Unavailable => {
                let Some(call) = self.console.calls.get_mut(id) else { return Ok(()) };
                if call.attempts < COMMAND_ATTEMPTS {
                    call.attempts += 1;
                    self.later(COMMAND_PAUSE, Moment::AsksAgain(id.to_owned()));
                    return Ok(());
                }
                Err("the collector is gone".to_owned())
            }
        };
        self.console_learns(made, id, result)
    }

    fn console_learns(
        &mut self,
        made: Instant,
        id: &str,
        result: Result<TripResult, String>,
    ) -> Result<(), String> {
        match self.console.answered(self.now, made, id, result) {
            Some(message) => self.tell_console(message),
            None => Ok(()),
        }
    }

    // --- Updates ---

    fn console_connects(&mut self) -> Result<(), String> {
        if self.console.stream.is_some() {
            return Ok(());
        }
        if self.engine.is_none() || self.is_hostile && self.rng.random_bool(0.2) {
            let lost = self.console.lost("there is no collector");
            self.console_connects_later();
            return self.tell_console(lost);
        }
        self.streams_of_console += 1;
        let stream = self.streams_of_console;
        self.console.stream = Some(stream);
        self.watch = Some(Watch { stream, shown: None, lane: Lane::default() });
        self.later(Duration::ZERO, Moment::Publishes(stream));
        Ok(())
    }

    fn console_connects_later(&mut self) {
        let pause = Duration::from_millis(250 << self.console.attempts.min(4));
        self.later(pause, Moment::Connects);
    }

    fn publish(&mut self, stream: u64) {
        if self.watch.as_ref().is_some_and(|watch| watch.stream == stream) {
            self.publish_now();
            let pause = if self.is_hostile { self.millis(100..1_200) } else { SECOND };
            self.later(pause, Moment::Publishes(stream));
        }
    }

    /// The collector shows the console what it knows, as a difference to what it showed before.
    pub(super) fn publish_now(&mut self) {
        let delay = self.millis(0..300);
        let (Some(engine), Some(watch)) = (&self.engine, &mut self.watch) else { return };
        let snapshot = engine.snapshot(self.now);
        let message = match &watch.shown {
            None => Message::Snapshot(Box::new(snapshot.clone())),
            Some(shown) => Message::Delta(Box::new(Delta::between(shown, &snapshot))),
        };
        watch.shown = Some(snapshot);
        let at = watch.lane.arrival(self.now.instant, delay);
        let made = self.now.instant;
        let news = Box::new(News { message, made, behind: self.truth.behind(self.now) });
        self.agenda.put(at, Happening::AtConsole(Moment::Sees(watch.stream, news)));
    }

    /// The stream of updates is cut: what is in flight is lost.
    pub(super) fn cut_console(&mut self) {
        let Some(Watch { stream, .. }) = self.watch.take() else { return };
        self.agenda.retain(
            |what| !matches!(what, Happening::AtConsole(Moment::Sees(at, _)) if *at == stream),
        );
        let notices = self.millis(0..5_000);
        self.later(notices, Moment::SeesEnd(stream));
    }

    /// The collector died: some of those who wait for an answer notice.
    pub(super) fn console_is_forsaken(&mut self) {
        let ids: Vec<String> = self.console.calls.keys().cloned().collect();
        for id in ids {
            if self.rng.random_bool(0.5) {
                self.answer(id, Reply::Unavailable);
            }
        }
    }
}

fn event_of(request: &Request) -> Event {
    match request {
        Request::Trip(trip) => Event::Trip(trip.clone()),
        Request::Reset(reset) => Event::Reset(reset.clone()),
        Request::Shift(shift) => Event::Shift(shift.clone()),
    }
}
