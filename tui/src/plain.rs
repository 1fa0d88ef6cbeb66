//! The dashboard without a screen: a line for each change of state, and keys as lines. For screen
//! readers, pipes and terminals that cannot do more.

use crate::format;
use crate::keys::{self, Action, Chord, Key};
use crate::link::Collector;
use crate::model::act::incident_edge;
use crate::model::playback::Phase;
use crate::model::standing::Standing;
use crate::model::{Effect, Link, Message, Model, Overlay, update};
use crate::run::Signals;
use fusebox_proto::Now;
use fusebox_proto::view::{Event, IncidentState, Remedy};
use std::collections::BTreeMap;
use std::io::Write as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::SignalKind;

/// Writes lines until the operator leaves; a line of input is one key.
pub(crate) async fn run(mut model: Model, mut collector: Collector) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut has_input = true;
    let mut told = Told::default();
    loop {
        for line in told.news(&model) {
            // Whoever read us is gone.
            if writeln!(std::io::stdout(), "{line}").is_err() {
                return Ok(());
            }
        }
        let deadline = model.poll_timeout();
        let message = tokio::select! {
            biased;
            line = input.next_line(), if has_input => {
                let line = line?;
                has_input = line.is_some();
                typed(&model, line.as_deref().unwrap_or_default().trim())?
            }
            kind = signals.recv() => {
                if kind != SignalKind::from_raw(signal_hook::consts::SIGCONT) {
                    return Ok(());
                }
                Message::Tick
            }
            message = collector.recv() => message.unwrap_or(Message::Tick),
            () = sleep_until(deadline) => Message::Tick,
        };
        if !tell(&mut model, &mut collector, message) {
            return Ok(());
        }
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A line of input: the help, or one key.
fn typed(model: &Model, line: &str) -> anyhow::Result<Message> {
    if line == "?" {
        let has_lines = |b: &&keys::Binding| b.acts() || b.action == Action::Dossier;
        for binding in keys::valid(model).filter(has_lines) {
            writeln!(std::io::stdout(), "{}: {}", binding.chords[0], binding.help)?;
        }
        writeln!(std::io::stdout(), "q: leave")?;
        return Ok(Message::Tick);
    }
    let mut characters = line.chars();
    Ok(match (characters.next(), characters.next()) {
        (Some(c), None) => Message::Key(Chord { key: Key::Char(c), ctrl: false }),
        _ => Message::Tick,
    })
}

fn tell(model: &mut Model, collector: &mut Collector, message: Message) -> bool {
    for effect in update(model, Now::read(), message) {
        match effect {
            Effect::Quit => return false,
            Effect::Save(incident) => collector.save(incident),
            Effect::Play(control) => collector.play(control),
            // What would be copied can be read here.
            Effect::Copy(text) => drop(writeln!(std::io::stdout(), "{text}")),
            Effect::Send(request) => {
                if let Some(refused) = collector.send(request) {
                    update(model, Now::read(), refused);
                }
            }
            Effect::Redraw | Effect::Suspend => {}
        }
    }
    if let Some(dossier) = read_out(model) {
        // Whoever read us is gone: the next line of news finds out.
        let _gone = writeln!(std::io::stdout(), "{dossier}");
    }
    true
}

/// A dossier that was opened, whole: there is no screen that it lies over, so it is closed again.
fn read_out(model: &mut Model) -> Option<String> {
    let dossier = match &model.overlay {
        Some(Overlay::Dossier(reading)) => {
            model.read_incident(reading).map(|it| model.markdown(it))
        }
        _ => return None,
    };
    model.overlay = None;
    dossier
}

/// What was told, so that only news is.
#[derive(Debug, Default)]
struct Told {
    link: Option<String>,
    data: Option<String>,
    incidents: BTreeMap<String, String>,
    standing: Option<String>,
    notice: Option<String>,
    question: Option<String>,
    newest: Option<Event>,
}

impl Told {
    /// Lines for what changed since the last time.
    fn news(&mut self, model: &Model) -> Vec<String> {
        let mut lines = Vec::new();
        tell_once(&mut self.link, Some(link(model)), &mut lines);
        tell_once(&mut self.data, data(model), &mut lines);
        self.incidents(model, &mut lines);
        tell_once(&mut self.standing, standing(model), &mut lines);
        tell_once(&mut self.question, question(model), &mut lines);
        let notice = model.notice.as_ref().map(|n| n.text.clone());
        tell_once(&mut self.notice, notice, &mut lines);
        self.events(model, &mut lines);
        lines
    }

    fn incidents(&mut self, model: &Model, lines: &mut Vec<String>) {
        let mut now = BTreeMap::new();
        for incident in &model.snapshot.incidents {
            let state = match incident.state {
                IncidentState::Open => "open",
                IncidentState::Resolved => "resolved",
            };
            let text = format!("incident {} {state}: {}", incident.id, incident.summary);
            let brief = format!("{state} {}", incident.phase);
            if self.incidents.get(&incident.id) != Some(&brief) {
                lines.push(text);
                let action =
                    incident.action.as_ref().filter(|_| incident.state == IncidentState::Open);
                lines.extend(action.map(|a| match &a.action {
                    Remedy::Shift(shift) => format!("suggested: shift {shift}: {}", a.predicted),
                    Remedy::Trip(kind) => format!(
                        "suggested: {kind} {} to {}: {}",
                        a.source, a.destination, a.predicted
                    ),
                }));
            }
            now.insert(incident.id.clone(), brief);
        }
        self.incidents = now;
    }

    fn events(&mut self, model: &Model, lines: &mut Vec<String>) {
        let events = &model.snapshot.events;
        if let Some(newest) = &self.newest {
            let fresh: Vec<_> = events.iter().take_while(|e| *e != newest).collect();
            let told = fresh.into_iter().rev();
            lines.extend(told.map(|e| format!("{} {}: {}", format::clock(e.at), e.kind, e.text)));
        }
        // The first list is history; only what comes after it is news.
        self.newest = events.first().cloned().or(self.newest.take());
    }
}

fn tell_once(told: &mut Option<String>, now: Option<String>, lines: &mut Vec<String>) {
    if *told != now {
        lines.extend(now.clone());
        *told = now;
    }
}

fn link(model: &Model) -> String {
    let address = &model.session.collector;
    match model.playback.map(|playback| playback.phase) {
        Some(Phase::Over) => return format!("{address}: that was all"),
        Some(_) => return address.clone(),
        None => (),
    }
    match &model.link {
        Link::Connecting => format!("connecting to {address}"),
        Link::Live => format!("connected to {address}"),
        Link::Lost { reason, .. } => format!("no connection to {address}: {reason}; trying again"),
    }
}

fn data(model: &Model) -> Option<String> {
    let status = &model.snapshot.status;
    match &model.link {
        Link::Live if model.has_no_data() => {
            let place = if status.embedded { "EMBEDDED" } else { "CONNECTED" };
            let ingest = &model.session.ingest;
            Some(format!(
                "{place}, {} senders: nothing is known. OTLP goes to {} (gRPC) or {} (HTTP)",
                status.collector.senders, ingest.otlp_grpc, ingest.otlp_http
            ))
        }
        Link::Live if model.is_stale() => Some("data is stale".into()),
        Link::Live => {
            Some(format!("data arrives: {} services, {} edges", status.services, status.edges))
        }
        _ => None,
    }
}

fn standing(model: &Model) -> Option<String> {
    let edge = model.incident().and_then(incident_edge).or_else(|| model.leased_edge())?;
    let name = format!("{} to {}", edge.source, edge.destination);
    match model.standing(&edge) {
        Standing::Nothing => Some(format!("{name}: closed, requests pass")),
        Standing::Asked(_) => Some(format!("{name}: asked, waiting for the proxies")),
        Standing::Failed { reason, .. } => Some(format!("{name}: not done: {reason}")),
        Standing::Fact(fact) => {
            let failed = fact.failed.as_ref().map(|reason| format!("; not done: {reason}"));
            Some(format!(
                "{name}: {}, {} of {} proxies{}",
                fact.state.as_str().replace('_', " "),
                fact.applied,
                fact.proxies,
                failed.unwrap_or_default()
            ))
        }
    }
}

fn question(model: &Model) -> Option<String> {
    match &model.overlay {
        Some(Overlay::Ask(ask)) => Some(format!(
            "{}: {}. {}; y consents, q does not",
            match &ask.what {
                Remedy::Trip(kind) => format!("{kind} {}", ask.name()),
                Remedy::Shift(shift) => format!("shift {shift}"),
            },
            ask.predicted.as_deref().unwrap_or("no prediction"),
            ask.why
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Desk, World, hold, session};
    use fusebox_proto::command::BreakerState;

    /// Scenario: a session from the first connection through a storm, its dossier, a question and a
    /// lease.
    /// Guarantees: each change of state is one line, said once; figures that only move say nothing; a
    /// dossier is told whole and keeps no key from what it does.
    #[test]
    fn each_change_is_said_once() {
        let mut told = Told::default();
        let mut desk = Desk::new(session(), 80, 24);
        let news = |told: &mut Told, desk: &Desk| told.news(&desk.model).join("\n");
        assert_eq!(news(&mut told, &desk), "connecting to http://127.0.0.1:4319");
        desk.tell(Message::Snapshot(Box::new(World::Shop.calm(crate::fixture::UNIX_MS))));
        let first = news(&mut told, &desk);
        assert!(first.contains("connected") && first.contains("12 services"), "{first}");
        desk.data(|s| s.edges[0].rate = Some(1.0));
        assert_eq!(news(&mut told, &desk), "");
        desk.data(|s| *s = World::Shop.storm(s.at.0));
        let storm = news(&mut told, &desk);
        assert!(storm.contains("incident 41 open: payment sends inventory 9.8"), "{storm}");
        assert!(storm.contains("suggested: mute-retries payment to inventory"), "{storm}");
        assert_eq!(news(&mut told, &desk), "");
        desk.key('i');
        let dossier = read_out(&mut desk.model).expect("an incident is open");
        assert!(dossier.contains("### What speaks against it"), "{dossier}");
        assert_eq!((read_out(&mut desk.model), news(&mut told, &desk)), (None, String::new()));
        desk.wait(1_000);
        desk.data(|_| {});
        desk.key('t');
        desk.wait(50);
        let question = news(&mut told, &desk);
        assert!(question.contains("open payment>inventory") && question.contains("y consents"));
        desk.data(|s| hold(s, BreakerState::ForcedOpen, 2, "raj"));
        let held = news(&mut told, &desk);
        assert!(held.contains("forced open, 2 of 3 proxies"), "{held}");
    }
}
