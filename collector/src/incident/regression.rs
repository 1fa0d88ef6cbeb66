//! The incident of a service that got slow: one for whoever takes the time, with all that waits
//! for it.
//!
//! Every edge and service that is slow is followed down to whose time it is ([`super::slow`]). A
//! verdict counts once it stands for some seconds. What several services began to do at once, or what
//! slows others, too, that do not wait for it, has a reason that no trace shows, such as the machine
//! under them: nobody is accused then. Nothing is
//! suggested: refusing slow answers harms whoever would have got them.

use super::blame::Blame;
use super::evidence;
use super::heard::heard;
use super::life::Beginning;
use super::sentence::{SENTENCE_MAX, time_of_day};
use super::shift::is_measured;
use super::slow::{self, Guilt};
use super::{Cause, Happened, Incident, Incidents, Scene};
use crate::detect::Subject;
use fusebox_proto::ServiceId;
use fusebox_proto::text::cut;
use fusebox_proto::view::{DataQuality, Suspect};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// In the words of the contract.
pub(super) const KIND: &str = "latency_regression";
/// What it was, once it is over.
pub(super) const WAS: &str = "was slow";
/// A verdict must stand for so many seconds.
const STANDING_SECONDS: u64 = 3;
/// Of a verdict that was not heard for so long nothing is left.
const GAP_SECONDS: u64 = 3;
/// More services than this do not get slow at once for reasons of their own.
const AT_ONCE_MAX: usize = 2;
/// More services beside the guilty are only counted.
const NAMED_MAX: usize = 2;
/// Their names have at most so many bytes.
const NAMED_LEN_MAX: usize = 16;
/// A name in a sentence has at most so many bytes.
const NAME_MAX: [usize; 5] = [32, 24, 16, 12, 8];

/// A verdict that has not stood long enough.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    since: u64,
    last: u64,
}

/// A regression's own part of an incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Regression {
    /// What is slow because of it.
    subjects: BTreeSet<Subject>,
    /// The last verdict.
    guilt: Option<Guilt>,
}

/// What one service is guilty of.
struct Charge {
    guilt: Guilt,
    onset: u64,
    subjects: BTreeSet<Subject>,
}

impl Incidents {
    /// Opens incidents for what got slow, and joins to open ones what they explain.
    pub(super) fn place_slow(&mut self, scene: &Scene<'_>, happened: &mut Vec<Happened>) {
        let now_second = scene.now_second();
        let mut charges = self.charges(scene);
        // One subset of it is slow, or it fails: that is told already.
        charges.retain(|service, _| {
            let is_told =
                |open: &Incident| open.is_canary_of(service) || open.is_failing_of(service);
            !self.open.iter().any(is_told)
        });
        for incident in &mut self.open {
            if let Cause::Slow(regression) = &mut incident.cause
                && let Some(charge) = charges.remove(&incident.blame.edge.destination)
            {
                regression.subjects.extend(charge.subjects);
                regression.guilt = Some(charge.guilt);
                incident.left = None;
            }
        }
        self.suspicions.retain(|service, suspicion| {
            charges.contains_key(service) || now_second < suspicion.last + GAP_SECONDS
        });
        let open = self.open.iter().filter(|incident| matches!(incident.cause, Cause::Slow(_)));
        if AT_ONCE_MAX < open.count() + charges.len() {
            return;
        }
        for (service, charge) in charges {
            let suspicion = self.suspicions.entry(service.clone());
            let suspicion = suspicion.or_insert(Suspicion { since: now_second, last: now_second });
            suspicion.last = now_second;
            let is_standing = suspicion.since + STANDING_SECONDS <= now_second;
            if is_standing && !slow::is_everywhere(scene, &service, charge.onset) {
                self.suspicions.remove(&service);
                self.open_slow(scene, charge, happened);
            }
        }
    }

    /// Whoever takes the time of what is slow and belongs to no open incident, and of what does.
    fn charges(&self, scene: &Scene<'_>) -> BTreeMap<ServiceId, Charge> {
        let mut known: HashSet<&Subject> = HashSet::new();
        for incident in &self.open {
            if let Cause::Slow(regression) = &incident.cause {
                known.extend(&regression.subjects);
            }
        }
        let mut charges: BTreeMap<ServiceId, Charge> = BTreeMap::new();
        let all_slow = scene.detectors.latencies().all_slow();
        // Of spans alone a quantile wanders too much to accuse anyone: the diagnosis does that.
        let measured = all_slow.into_iter().filter(|(subject, _)| is_measured(scene, subject));
        for (subject, slow) in measured {
            let Some(guilt) = slow::follow(scene, subject, slow.onset) else { continue };
            let is_open = self.open.iter().any(|incident| {
                matches!(incident.cause, Cause::Slow(_))
                    && incident.blame.edge.destination == guilt.service
            });
            // What an open incident explains stays with it until it is over.
            if known.contains(subject) && !is_open {
                continue;
            }
            let charge = charges.entry(guilt.service.clone()).or_insert_with(|| Charge {
                guilt: guilt.clone(),
                onset: slow.onset,
                subjects: BTreeSet::new(),
            });
            charge.subjects.insert(subject.clone());
            charge.onset = charge.onset.min(slow.onset);
            if charge.guilt.share < guilt.share {
                charge.guilt = guilt;
            }
        }
        charges
    }

    fn open_slow(&mut self, scene: &Scene<'_>, charge: Charge, happened: &mut Vec<Happened>) {
        if !self.has_room() {
            return;
        }
        let Charge { guilt, onset, subjects } = charge;
        let service = guilt.service.clone();
        let edge = slow::edge_to(scene, &service, onset);
        let cause = Cause::Slow(Box::new(Regression { subjects, guilt: Some(guilt) }));
        let beginning = Beginning { kind: KIND.into(), edge, onset, cause };
        let is_same = |past: &Incident| {
            matches!(past.cause, Cause::Slow(_)) && past.blame.edge.destination == service
        };
        self.begin(scene, beginning, is_same, |_| (), happened);
    }
}

impl Incident {
    /// Judges anew.
    pub(super) fn refresh_slow(&mut self, scene: &Scene<'_>) {
        let Cause::Slow(regression) = &mut self.cause else { return };
        let latencies = scene.detectors.latencies();
        regression.subjects.retain(|subject| latencies.slow(subject).is_some());
        let is_over = regression.subjects.is_empty();
        let guilt = regression.guilt.clone();
        if latencies.is_explained(&self.blame.edge.destination) {
            self.end(scene, WAS, "a retry storm explains it.");
        } else if is_over {
            if let Some(why) = self.end_unheard(scene) {
                self.end(scene, WAS, why);
            }
        } else if let Some(guilt) = guilt {
            self.tell_slow(scene, &guilt);
        }
    }

    fn tell_slow(&mut self, scene: &Scene<'_>, guilt: &Guilt) {
        let service = self.blame.edge.destination.clone();
        let is_called = self.blame.edge.source != service;
        let Cause::Slow(regression) = &self.cause else { return };
        let heard = heard(scene, (guilt, &self.blame.edge), &regression.subjects, self.onset);
        let waiting = waiting(scene, &regression.subjects, &service);
        let view = &mut self.view;
        view.phase = "slow".into();
        view.originator = Some(scene.names.print(&service));
        // Whom nobody calls makes only visitors wait.
        view.victim = is_called.then(|| scene.names.print(&self.blame.victim));
        let led_to = is_called.then_some(&self.blame.edge);
        view.edge = guilt.way.as_ref().or(led_to).map(|edge| scene.names.print_edge(edge));
        view.suspects = suspects(scene, guilt);
        view.data_quality = quality(scene, &service, &self.blame, is_called);
        let Some(heard) = heard else { return };
        view.confidence = guilt.share * heard.is_known_well();
        view.evidence = heard.evidence(scene, &self.blame.edge, self.onset);
        view.counter_evidence = heard.counter(guilt);
        let since = time_of_day(self.onset * 1_000);
        let figures = heard.figures();
        let name = scene.names.print(&service);
        view.summary = fitting(&name, |name| {
            let whose = if guilt.way.is_some() { "on the way" } else { "by itself" };
            format!("{name} is slower {whose} since {since}: {figures}{waiting}.")
        });
    }
}

/// The sentence with the longest name with which it fits on a line.
pub(super) fn fitting(name: &str, tell: impl Fn(&str) -> String) -> String {
    let sentences = NAME_MAX.map(|name_max| tell(&cut(name, name_max)));
    let fits = |sentence: &&String| sentence.chars().count() <= SENTENCE_MAX;
    let [.., shortest] = &sentences;
    sentences.iter().find(fits).unwrap_or(shortest).clone()
}

/// Who is slow because of it, in words.
fn waiting(scene: &Scene<'_>, subjects: &BTreeSet<Subject>, service: &ServiceId) -> String {
    let callers = subjects.iter().map(Subject::sufferer);
    let callers: BTreeSet<&ServiceId> = callers.filter(|caller| *caller != service).collect();
    match few_names(scene, &callers) {
        _ if callers.is_empty() => String::new(),
        Some(names) => format!("; slower for it: {names}"),
        None => format!("; {} services are slower for it", callers.len()),
    }
}

/// Some services in a sentence; `None` where they are too many.
pub(super) fn few_names(scene: &Scene<'_>, services: &BTreeSet<&ServiceId>) -> Option<String> {
    let names = services.iter().map(|service| scene.names.print(service));
    let names: Vec<String> = names.map(|name| cut(&name, NAMED_LEN_MAX).into_owned()).collect();
    (names.len() <= NAMED_MAX).then(|| names.join(", "))
}

fn suspects(scene: &Scene<'_>, guilt: &Guilt) -> Vec<Suspect> {
    let place = match &guilt.way {
        Some(way) => {
            let way = scene.names.print_edge(way);
            format!("on the way {} → {}", way.source, way.destination)
        }
        None => "its own time".into(),
    };
    let mut suspects = vec![Suspect {
        service: scene.names.print(&guilt.service),
        score: guilt.share,
        confidence: guilt.share,
        reason: format!(
            "{:.0} % of the excess is {place}, {} more a request",
            100.0 * guilt.share,
            ms(guilt.own_ms)
        ),
    }];
    let mut room = (guilt.share - 1e-3).min(1.0 - guilt.share);
    for (service, share) in &guilt.others {
        let score = share.min(room);
        room = score - 1e-3;
        if score <= 0.0 {
            break;
        }
        suspects.push(Suspect {
            service: scene.names.print(service),
            score,
            confidence: score,
            reason: format!("{:.0} % of the excess is its own time", 100.0 * share),
        });
    }
    suspects
}

/// What the figures on a service are worth.
pub(super) fn quality(
    scene: &Scene<'_>,
    service: &ServiceId,
    blame: &Blame,
    is_called: bool,
) -> DataQuality {
    if is_called {
        return DataQuality { recognised: None, ..evidence::quality(scene, blame) };
    }
    let second = scene.now_second().saturating_sub(3);
    let is_covered = scene.store.service(service).is_some_and(|track| track.is_covered(second));
    let source = if is_covered { "proxies" } else { "spans" };
    let stale_proxies = scene.proxies.stale(scene.now, service);
    let late_ratio = scene.store.late_ratio();
    DataQuality { source: source.into(), stale_proxies, late_ratio, ..DataQuality::default() }
}

/// A time for people.
pub(super) fn ms(ms: f64) -> String {
    match ms.abs() {
        small if small < 9.95 => format!("{ms:.1} ms"),
        medium if medium < 9_950.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}
