//! The dossier of an incident: all that is known of it, row by row, for whoever wants to know why
//! before a key is pressed, and for whoever asks in the morning.

use super::act::order;
use super::{Effect, Model, Overlay, Screen};
use crate::format::{self, wrap};
use crate::keys::Action;
use fusebox_proto::view::{DataQuality, EdgeName, Event, Evidence, Incident, SuggestedAction};
use std::time::Duration;

/// Cells of a label, and the gap behind it, on a narrow and on a wide screen.
const LABEL: (u16, u16) = (24, 26);
/// From this width on a screen is wide.
const WIDE: u16 = 90;
/// What happened so long before the incident was told stands beside it.
const BESIDE_MS: u64 = 600_000;
/// More of it is not shown.
const BESIDE_MAX: usize = 12;
/// Terminals take no more than some 75 KiB, in base64 by a third more.
const MARKDOWN_LEN_MAX: usize = 48 * 1024;
/// Frame and margin on both sides.
const FRAME: u16 = 4;
/// Rows around the rows: header, crumb, frame and footer.
const AROUND: u16 = 5;

/// Where in a dossier the reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of which incident.
    pub incident: String,
    /// The first row that is shown.
    pub from: usize,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub enum Row<'a> {
    /// Between parts.
    Blank,
    /// What it is about, in a sentence.
    Sentence(String),
    /// The head of a part.
    Head(&'static str),
    /// A signal before and now.
    Signal(&'a Evidence),
    /// Something with its label, which only the first of several rows has.
    Said {
        /// Who, what or when.
        label: String,
        /// What is said.
        text: String,
        /// What it means.
        tone: Tone,
    },
}

/// What something that is said means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Neither good nor bad.
    Plain,
    /// Whoever is guilty.
    Guilty,
    /// It speaks against the verdict.
    Doubt,
    /// The data is not as good as it could be.
    Poor,
    /// Something that can be done.
    Remedy,
}

/// Cells of the labels on a screen of this width.
pub const fn label_width(width: u16) -> u16 {
    if width < WIDE { LABEL.0 } else { LABEL.1 }
}

impl Model {
    /// The incident that is read about: open or over.
    pub fn read_incident(&self, reading: &Reading) -> Option<&Incident> {
        self.snapshot.incidents.iter().find(|incident| incident.id == reading.incident)
    }

    /// Its rows in so many cells.
    pub fn dossier<'a>(&'a self, incident: &'a Incident, width: u16) -> Vec<Row<'a>> {
        let mut rows = Rows { rows: Vec::new(), room: width.saturating_sub(label_width(width)) };
        rows.rows.extend(wrap(&incident.summary, width, 4).into_iter().map(Row::Sentence));
        rows.say("told", &life(incident), Tone::Plain);
        rows.head("BEFORE → NOW");
        rows.rows.extend(incident.evidence.iter().map(Row::Signal));
        who(&mut rows, incident);
        rows.head("WHAT SPEAKS AGAINST IT");
        let mut label = "but";
        for doubt in &incident.counter_evidence {
            rows.say(std::mem::take(&mut label), doubt, Tone::Doubt);
        }
        if incident.counter_evidence.is_empty() {
            rows.say("", "nothing that is known", Tone::Plain);
        }
        rows.head("WHAT HAPPENED BESIDE IT");
        self.beside(&mut rows, incident);
        rows.head("WHAT WOULD HELP");
        for advice in incident.action.iter().chain(&incident.alternatives) {
            help(&mut rows, advice);
        }
        if incident.action.is_none() && incident.alternatives.is_empty() {
            rows.say("", "nothing that proxies can do", Tone::Plain);
        }
        rows.head("THE DATA");
        data(&mut rows, &incident.data_quality);
        rows.rows
    }

    /// Changes before it and since.
    fn beside(&self, rows: &mut Rows<'_>, incident: &Incident) {
        let from = incident.opened_at.0.saturating_sub(BESIDE_MS);
        let to = incident.resolved_at.map_or(u64::MAX, |at| at.0);
        let is_beside =
            |event: &&Event| (from..=to).contains(&event.at.0) && event.kind != "incident";
        let mut is_quiet = true;
        for event in self.snapshot.events.iter().filter(is_beside).take(BESIDE_MAX) {
            let label = format!("{} {}", format::clock(event.at), event.kind);
            rows.say(&label, &event.text, Tone::Plain);
            is_quiet = false;
        }
        if is_quiet {
            rows.say("", "no change in the ten minutes before it", Tone::Plain);
        }
    }

    /// Opens the dossier of the chosen incident.
    pub(super) fn open_dossier(&mut self) {
        let incident = match self.screen {
            Screen::Timeline => self.told_incident(),
            _ => self.incident(),
        };
        let incident = incident.map(|incident| incident.id.clone());
        let reading = incident.map(|incident| Reading { incident, from: 0 });
        self.overlay = reading.map(Overlay::Dossier);
    }

    /// The dossier that is read, or that of the chosen incident, as Markdown for the clipboard.
    pub(super) fn copy(&mut self) -> Option<Effect> {
        let incident = match &self.overlay {
            Some(Overlay::Dossier(reading)) => self.read_incident(reading)?,
            _ => self.incident()?,
        };
        let (id, text) = (incident.id.clone(), self.markdown(incident));
        self.say(format!("incident {id} is copied, if this terminal lets it (OSC 52)"), false);
        Some(Effect::Copy(text))
    }

    /// Its rows as Markdown.
    pub fn markdown(&self, incident: &Incident) -> String {
        let kind = incident.kind.replace('_', " ");
        let mut text = format!("## Incident {}: {}\n\n", plain(&incident.id), plain(&kind));
        let mut is_in_table = false;
        for row in self.dossier(incident, u16::MAX) {
            let line = match row {
                Row::Blank => continue,
                Row::Sentence(sentence) => format!("**{}**\n", plain(&sentence)),
                Row::Head(head) => format!("\n### {}{}\n", &head[..1], head[1..].to_lowercase()),
                Row::Signal(signal) => {
                    let figure = |value| format::evidence(value, &signal.unit);
                    let figures = [signal.baseline, signal.current].map(figure).join(" | ");
                    let head = "| signal | before | now |\n|---|---|---|\n";
                    let head = if std::mem::replace(&mut is_in_table, true) { "" } else { head };
                    format!("{head}| {} | {figures} |", plain(&signal.signal))
                }
                Row::Said { label, text, .. } if label.is_empty() => format!("- {}", plain(&text)),
                Row::Said { label, text, .. } => format!("- {}: {}", plain(&label), plain(&text)),
            };
            if MARKDOWN_LEN_MAX < text.len() + line.len() {
                break;
            }
            text += &line;
            text.push('\n');
        }
        text
    }

    /// Rows that are shown at once.
    fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(AROUND)).max(1)
    }

    /// Moves over the rows.
    pub(super) fn read_on(&mut self, action: Action) {
        let page = self.page();
        let Some(Overlay::Dossier(reading)) = &mut self.overlay else { return };
        reading.from = match action {
            Action::Up => reading.from.saturating_sub(1),
            Action::Down => reading.from + 1,
            Action::PageUp => reading.from.saturating_sub(page - 1),
            Action::PageDown => reading.from + page.saturating_sub(1),
            Action::First => 0,
            Action::Last => usize::MAX / 2,
            _ => return,
        };
    }

    /// Never reads beyond the end, nor of an incident that is forgotten.
    pub(super) fn settle_dossier(&mut self) {
        let Some(Overlay::Dossier(reading)) = &self.overlay else { return };
        let Some(incident) = self.read_incident(reading) else {
            self.overlay = None;
            return;
        };
        let rows = self.dossier(incident, self.size.0.saturating_sub(FRAME)).len();
        let most = rows.saturating_sub(self.page());
        if let Some(Overlay::Dossier(reading)) = &mut self.overlay {
            reading.from = reading.from.min(most);
        }
    }
}

/// Rows in the making.
struct Rows<'a> {
    rows: Vec<Row<'a>>,
    /// Cells beside a label.
    room: u16,
}

impl Rows<'_> {
    fn head(&mut self, head: &'static str) {
        self.rows.extend([Row::Blank, Row::Head(head)]);
    }

    fn say(&mut self, label: &str, text: &str, tone: Tone) {
        let mut label = label.to_owned();
        for text in wrap(text, self.room, usize::MAX - 1) {
            self.rows.push(Row::Said { label: std::mem::take(&mut label), text, tone });
        }
    }
}

/// Untrusted text as text that no Markdown is made of.
fn plain(text: &str) -> String {
    let visible = fusebox_proto::text::visible(text);
    let mut plain = String::with_capacity(visible.len());
    for c in visible.chars() {
        if "\\`*_<>|[]#~&".contains(c) {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

fn life(incident: &Incident) -> String {
    let opened = format::clock(incident.opened_at);
    let over = incident.resolved_at.map(format::clock);
    let over = over.map_or_else(String::new, |at| format!(", over at {at}"));
    let confidence = format::percent_short(incident.confidence);
    format!("at {opened}{over} · {} · confidence {confidence}", incident.phase)
}

/// Whoever is accused, and how much each layer multiplies.
fn who(rows: &mut Rows<'_>, incident: &Incident) {
    rows.head("WHO");
    for suspect in &incident.suspects {
        let label = format!("{} {}", format::percent_short(suspect.confidence), suspect.service);
        let is_guilty = incident.originator.as_ref() == Some(&suspect.service);
        let tone = if is_guilty { Tone::Guilty } else { Tone::Plain };
        rows.say(&label, &suspect.reason, tone);
    }
    let victim = incident.victim.as_ref().filter(|it| incident.originator.as_ref() != Some(it));
    if let Some(victim) = victim {
        rows.say("who suffers", victim, Tone::Plain);
    }
    if let (Some(product), [_, _, ..]) = (incident.amplification, &incident.layers[..]) {
        let factors = incident.layers.iter().map(|layer| format!("×{:.1}", layer.factor));
        let factors = factors.collect::<Vec<_>>().join(" · ");
        rows.say("layers", &format!("{factors} = ×{}", format::figure(product)), Tone::Plain);
    }
    if incident.suspects.is_empty() && incident.victim.is_none() {
        rows.say("", "nobody is accused", Tone::Plain);
    }
}

fn help(rows: &mut Rows<'_>, advice: &SuggestedAction) {
    let SuggestedAction { action, source, destination, ttl_s, predicted, .. } = advice;
    let edge = EdgeName { source: source.clone(), destination: destination.clone() };
    let what = order(action, &edge, Duration::from_secs(*ttl_s));
    rows.say("", &what, Tone::Remedy);
    rows.say("", predicted, Tone::Plain);
}

fn data(rows: &mut Rows<'_>, quality: &DataQuality) {
    let share = |share: Option<f64>, what: &str| {
        share.map(|share| format!("{} {what}", format::percent_short(share)))
    };
    let source = match quality.source.as_str() {
        "" => None,
        source => Some(format!("from {}", source.replace('+', " and "))),
    };
    let late = quality.late_ratio.filter(|late| 0.0 < *late);
    let said = [
        source,
        share(quality.coverage, "of attempts go through proxies"),
        share(quality.sampling, "of spans are sampled"),
        share(quality.recognised, "of retries are recognised"),
        share(late, "came late"),
    ];
    let said = said.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    rows.say("", if said.is_empty() { "not known" } else { &said }, Tone::Plain);
    rows.say("", &quality.note, Tone::Poor);
}
