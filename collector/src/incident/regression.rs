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
use super::found::is_measured;
use super::life::Beginning;
use super::sentence::{SENTENCE_MAX, rate, time_of_day};
use super::slow::{self, Guilt, Shift};
use super::{Cause, Happened, Incident, Incidents, Scene};
use crate::detect::Subject;
use crate::store::LatencyTotal;
use fusebox_proto::text::cut;
use fusebox_proto::view::{DataQuality, Evidence, Suspect};
use fusebox_proto::{Edge, ServiceId};
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
/// Growth of the demand that is worth mentioning.
const DEMAND_GROWTH: f64 = 1.3;
/// What is usual is known badly before so many minutes.
const MINUTES_FEW: u64 = 10;
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
        let heard = heard(scene, &service, &self.blame.edge, self.onset);
        let waiting = waiting(scene, &regression.subjects, &service);
        let view = &mut self.view;
        view.phase = "slow".into();
        view.originator = Some(scene.names.print(&service));
        // Whom nobody calls makes only visitors wait.
        view.victim = is_called.then(|| scene.names.print(&self.blame.victim));
        view.edge = is_called.then(|| scene.names.print_edge(&self.blame.edge));
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
    let callers = subjects.iter().map(|subject| match subject {
        Subject::Service(other) => other,
        Subject::Edge(edge) => &edge.source,
    });
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

/// What is measured of the guilty: by itself where it reports, else by who waits for it.
struct Heard {
    subject: Subject,
    shift: Shift,
    now: LatencyTotal,
    usual: [Option<f64>; 2],
    minutes: u64,
    series: Vec<f64>,
}

fn heard(scene: &Scene<'_>, service: &ServiceId, edge: &Edge, onset: u64) -> Option<Heard> {
    let both = [Subject::Service(service.clone()), Subject::Edge(edge.clone())];
    both.into_iter().find_map(|subject| {
        let shift = slow::shift(scene, &subject, onset)?;
        let now = slow::latency(scene, &subject, onset)?;
        let usual = scene.detectors.latencies().usual(&subject)?;
        let series = series(scene, &subject);
        let quantiles = [0.99, 0.5].map(|q| usual.quantile_ms(q));
        Some(Heard { subject, shift, now, usual: quantiles, minutes: usual.minutes(), series })
    })
}

/// A quantile of each of the last seconds, in ms: one that a second has requests enough for.
fn series(scene: &Scene<'_>, subject: &Subject) -> Vec<f64> {
    const Q: f64 = 0.9;
    match subject {
        Subject::Edge(edge) => {
            scene.track(edge).map(|(track, front)| track.latency_series(front, Q))
        }
        Subject::Service(service) => {
            scene.served(service).map(|(track, front)| track.latency_series(front, Q))
        }
    }
    .unwrap_or_default()
}

impl Heard {
    /// What a verdict from so much is worth, 0 … 1.
    fn is_known_well(&self) -> f64 {
        let minutes = self.minutes.min(MINUTES_FEW) as f64 / MINUTES_FEW as f64;
        0.8 + 0.2 * minutes
    }

    /// In half a sentence.
    fn figures(&self) -> String {
        let Self { usual: [p99, p50], .. } = self;
        let of = |name: &str, was: Option<f64>, is: Option<f64>| {
            let (was, is) = was.zip(is)?;
            Some(format!("{name} {} → {}", ms(was), ms(is)))
        };
        let p99 = of("p99", *p99, self.now.quantile_ms(0.99, 299));
        let p50 = || of("median", *p50, self.now.quantile_ms(0.5, 5));
        p99.or_else(p50).unwrap_or_else(|| format!("{} more", ms(self.shift.excess_ms())))
    }

    fn evidence(&self, scene: &Scene<'_>, edge: &Edge, onset: u64) -> Vec<Evidence> {
        let signal = |name: &str, unit: &str, was, is, series| Evidence {
            signal: name.into(),
            baseline: was,
            current: is,
            unit: unit.into(),
            series,
        };
        let mean = (Some(self.shift.usual_ms), Some(self.shift.now_ms));
        let mut all = vec![
            signal(
                "p99",
                "ms",
                self.usual[0],
                self.now.quantile_ms(0.99, 299),
                self.series.clone(),
            ),
            signal("median", "ms", self.usual[1], self.now.quantile_ms(0.5, 5), Vec::new()),
            signal("mean", "ms", mean.0, mean.1, Vec::new()),
        ];
        if let Some(hour) = scene.detectors.latencies().usual_now(&self.subject) {
            let usual_ms = f64::from(hour.p99_us) / 1_000.0;
            let now_ms = self.now.quantile_ms(0.99, 299);
            all.push(signal("p99 at this hour", "ms", Some(usual_ms), now_ms, Vec::new()));
        }
        let subject = Subject::Edge(edge.clone());
        if self.subject != subject
            && let Some(call) = slow::latency(scene, &subject, onset)
            && let Some(usual) = scene.detectors.latencies().usual(&subject)
        {
            let caller = cut(&scene.names.print(&edge.source), 12).into_owned();
            let (was, is) = (usual.quantile_ms(0.99), call.quantile_ms(0.99, 299));
            all.push(signal(&format!("p99 for {caller}"), "ms", was, is, series(scene, &subject)));
        }
        let (was, is) = (self.shift.usual_per_s, self.shift.now_per_s);
        all.push(signal("requests", "/s", Some(was), Some(is), Vec::new()));
        all
    }

    /// What speaks against the verdict.
    fn counter(&self, guilt: &Guilt) -> Vec<String> {
        let mut counter = Vec::new();
        let (was, is) = (self.shift.usual_per_s, self.shift.now_per_s);
        if DEMAND_GROWTH * was < is {
            let (was, is) = (rate(was), rate(is));
            counter.push(format!("requests grew too, {was} → {is}/s: load may be a cause"));
        }
        if self.minutes < MINUTES_FEW {
            counter.push(format!("what is usual is known from {} min only", self.minutes));
        }
        if guilt.way.is_some() {
            counter.push("neither end is slower by itself".into());
        }
        counter
    }
}

/// A time for people.
pub(super) fn ms(ms: f64) -> String {
    match ms.abs() {
        small if small < 9.95 => format!("{ms:.1} ms"),
        medium if medium < 9_950.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}
