//! The incident of a service that the diagnosis of spans finds at fault.
//!
//! A diagnosis looks again and again at the same minutes, so what it finds once may be chance: it
//! must find the same service since the same moment twice in a row, with new data between, and by
//! then with more confidence than the verdict on a capture needs. What is
//! known goes on until the newest minute is no worse than what was before it, some looks in a row.
//! Where proxies count, they are asked instead; what a storm or an open incident explains is told
//! there.

use super::blame::walk;
use super::life::Beginning;
use super::regression::{self, fitting, ms};
use super::sentence::time_of_day;
use super::{Cause, Happened, Incident, Incidents, Scene, slow};
use crate::diagnose::{Answer, Course, Diagnosis, Exhibit, Followed, VERDICT};
use fusebox_proto::ServiceId;
use fusebox_proto::text::cut;
use fusebox_proto::view::{self, DataQuality, Stamp};

/// Of the incident of a service that fails.
pub(super) const KIND_FAILING: &str = "error_surge";
/// The verdict of a capture, found again, has this confidence where somebody is accused. A capture is
/// looked at once; what hovers about 0.5 for minutes is twice in a row above it some time.
pub(crate) const ACCUSING: f64 = 0.6;
/// Two onsets that are no further from each other are one, ns.
const SAME_ONSET_NS: u64 = 60_000_000_000;
/// It is over once nothing is worse in so many looks in a row.
const WELL_LOOKS: u32 = 3;
/// Or once so many looks heard nothing of it.
const SILENT_LOOKS: u32 = 30;
/// What is wrong for so long is usual.
const USUAL_MS: u64 = 6 * 3_600_000;
/// Others whose part is smaller are not worth a word against the verdict.
const OTHER_SCORE_MIN: f64 = 0.2;
/// An operation in a sentence has at most so many bytes.
const OPERATION_MAX: usize = 32;

/// A diagnosis' own part of an incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    onset_ns: u64,
    diagnosis: Diagnosis,
    shed: u64,
    well_looks: u32,
    silent_looks: u32,
}

/// What the looks say, until the incidents are brought up to it.
#[derive(Debug, Default)]
pub(super) struct Looks {
    answer: Option<Answer>,
    /// The verdict of the last look.
    last: Option<(ServiceId, u64)>,
}

impl Incidents {
    /// Takes what a look saw; the next update acts on it.
    pub(crate) fn saw(&mut self, answer: Answer) {
        self.looks.answer = Some(answer);
    }

    /// The faults that are to be followed.
    pub(crate) fn followed(&self) -> Vec<Followed> {
        let open = self.open.iter().filter_map(|incident| match &incident.cause {
            Cause::Found(found) if incident.left.is_none() => Some(Followed {
                guilty: incident.blame.edge.destination.clone(),
                onset_ns: found.onset_ns,
            }),
            _ => None,
        });
        open.collect()
    }

    /// Acts on a look, if there was one.
    pub(super) fn place_found(&mut self, scene: &Scene<'_>, happened: &mut Vec<Happened>) {
        let Some(answer) = self.looks.answer.take() else { return };
        for (followed, course) in &answer.courses {
            let of = self.open.iter_mut().filter(|open| open.is_of(&followed.guilty));
            for incident in of {
                if let Cause::Found(found) = &mut incident.cause {
                    found.take(*course);
                }
            }
        }
        let (last, shed) = (self.looks.last.take(), answer.shed);
        let Some((guilty, onset_ns, diagnosis)) = answer.diagnosis.and_then(verdict) else {
            return;
        };
        self.looks.last = Some((guilty.clone(), onset_ns));
        let is_again = last.is_some_and(|(service, at_ns)| {
            service == guilty && at_ns.abs_diff(onset_ns) <= SAME_ONSET_NS
        });
        let is_firm = diagnosis.suspects.first().is_some_and(|one| ACCUSING <= one.confidence);
        if is_again && is_firm && !is_covered(scene, &guilty) {
            let found = Found { onset_ns, diagnosis, shed, ..Found::default() };
            self.accuse(scene, &guilty, found, happened);
        }
    }

    /// Opens an incident for a verdict that stands, or joins it to the one that it belongs to.
    fn accuse(
        &mut self,
        scene: &Scene<'_>,
        guilty: &ServiceId,
        found: Found,
        happened: &mut Vec<Happened>,
    ) {
        if scene.detectors.latencies().is_explained(guilty) {
            return;
        }
        if let Some(known) = self.open.iter_mut().find(|open| open.is_of(guilty)) {
            known.found_again(found);
            return;
        }
        let is_same = |open: &Incident| {
            // What begins later may have a reason of its own.
            let is_later = matches!(&open.cause, Cause::Found(known)
                if known.onset_ns + SAME_ONSET_NS < found.onset_ns);
            !is_later && open.is_beside(scene, guilty)
        };
        if self.open.iter().any(is_same) {
            return;
        }
        if !self.has_room() {
            return;
        }
        // The time of a replay that goes faster is ahead of ours.
        let onset = (found.onset_ns / 1_000_000_000).min(scene.now_second());
        let edge = slow::edge_to(scene, guilty, onset);
        let kind = found.diagnosis.incidents.first().map_or_else(String::new, |it| it.kind.clone());
        let beginning = Beginning { kind, edge, onset, cause: Cause::Found(Box::new(found)) };
        self.begin(scene, beginning, |past| past.is_of(guilty), |_| (), happened);
    }
}

/// Whose fault it is since when, if that is more than a guess.
fn verdict(diagnosis: Diagnosis) -> Option<(ServiceId, u64, Diagnosis)> {
    diagnosis.suspects.first().filter(|first| VERDICT <= first.confidence)?;
    let onset_ns = diagnosis.window.onset?.0.saturating_mul(1_000_000);
    Some((diagnosis.guilty.clone()?, onset_ns, diagnosis))
}

/// Whether proxies count what goes to a service: its own, or those of all who call it.
fn is_covered(scene: &Scene<'_>, service: &ServiceId) -> bool {
    let mut callers = scene.graph.callers(service).peekable();
    scene.proxies.has(service)
        || (callers.peek().is_some() && callers.all(|caller| scene.proxies.has(caller)))
}

impl Found {
    fn take(&mut self, course: Course) {
        let (well, silent) = match course {
            Course::Worse => (0, 0),
            Course::Well => (self.well_looks + 1, 0),
            Course::Silent => (self.well_looks, self.silent_looks + 1),
        };
        (self.well_looks, self.silent_looks) = (well, silent);
    }

    /// How it ended, if it has.
    fn end(&self, scene: &Scene<'_>, service: &ServiceId, opened: Stamp) -> Option<&'static str> {
        let is_old = opened.0 + USUAL_MS < scene.now.unix_ms;
        if scene.detectors.latencies().is_explained(service) {
            Some("a retry storm explains it.")
        } else if WELL_LOOKS <= self.well_looks {
            Some("it is over.")
        } else if SILENT_LOOKS <= self.silent_looks {
            Some("nothing is heard of it any more.")
        } else {
            is_old.then_some("it has become usual.")
        }
    }
}

impl Incident {
    /// Whether it is about what a service does itself.
    pub(super) fn is_of(&self, service: &ServiceId) -> bool {
        !self.is_storm() && self.blame.edge.destination == *service
    }

    /// Whether a service waits for those of the incident, or they for it.
    fn is_beside(&self, scene: &Scene<'_>, service: &ServiceId) -> bool {
        let guilty = &self.blame.edge.destination;
        let callers = |service: &ServiceId| scene.graph.callers(service).cloned().collect();
        let callees = |service: &ServiceId| scene.graph.callees(service).cloned().collect();
        walk(guilty, callers).contains(service) || walk(guilty, callees).contains(service)
    }

    /// A verdict on what is open already: what a restart left is known again.
    fn found_again(&mut self, found: Found) {
        match &mut self.cause {
            Cause::Found(known) if self.left.is_none() => known.diagnosis = found.diagnosis,
            Cause::Found(_) | Cause::Slow(_) if self.left.is_some() => {
                self.cause = Cause::Found(Box::new(found));
                self.left = None;
            }
            _ => (),
        }
    }

    /// Judges anew.
    pub(super) fn refresh_found(&mut self, scene: &Scene<'_>) {
        let Cause::Found(found) = &self.cause else { return };
        let service = &self.blame.edge.destination;
        let end = match self.left {
            Some(left) if left.is_over(scene.now) => {
                Some("not seen since the collector restarted.")
            }
            Some(_) => return,
            None => found.end(scene, service, self.view.opened_at),
        };
        match end {
            Some(end) => self.end(scene, self.was_found(), end),
            None => self.tell_found(scene),
        }
    }

    /// What it was, once it is over.
    pub(super) fn was_found(&self) -> &'static str {
        if self.view.kind == KIND_FAILING { "failed" } else { regression::WAS }
    }

    fn tell_found(&mut self, scene: &Scene<'_>) {
        let Cause::Found(found) = &self.cause else { return };
        let diagnosis = &found.diagnosis;
        let Some(told) = diagnosis.incidents.first() else { return };
        let name = scene.names.print(&self.blame.edge.destination);
        let is_called = self.blame.edge.source != self.blame.edge.destination;
        let view = &mut self.view;
        view.phase = if view.kind == KIND_FAILING { "failing" } else { "slow" }.into();
        view.confidence = told.confidence;
        view.originator = Some(name.clone());
        // Whom nobody calls makes only visitors wait.
        view.victim = is_called.then(|| scene.names.print(&self.blame.victim));
        view.edge = is_called.then(|| scene.names.print_edge(&self.blame.edge));
        view.evidence.clone_from(&told.evidence);
        view.suspects.clone_from(&diagnosis.suspects);
        view.counter_evidence = counter(diagnosis);
        view.data_quality = quality(scene, found);
        let since = time_of_day(self.onset * 1_000);
        let exhibit = diagnosis.evidence.iter().find(|exhibit| exhibit.blames == told_name(told));
        let exhibit = exhibit.or(diagnosis.evidence.first());
        view.summary = fitting(&name, |name| sentence(name, &since, exhibit));
    }
}

fn told_name(told: &view::Incident) -> &str {
    told.originator.as_deref().unwrap_or_default()
}

/// What is wrong, for someone who was asleep a minute ago.
fn sentence(name: &str, since: &str, exhibit: Option<&Exhibit>) -> String {
    let Some(exhibit) = exhibit else { return format!("{name} is at fault since {since}.") };
    let operation = cut(&exhibit.operation, OPERATION_MAX);
    let figure = |value: f64| match &*exhibit.unit {
        "ms" => ms(value),
        _ => format!("{:.0} %", 100.0 * value),
    };
    let (before, after) = (figure(exhibit.before), figure(exhibit.after));
    let what = match &*exhibit.signal {
        "own time" => "is slower by itself",
        "time on the way" => "is slower on the way",
        "failures" => "fails more",
        _ => "calls others",
    };
    format!("{name} {what} since {since}: {operation} {before} → {after}.")
}

/// What speaks against the verdict.
fn counter(diagnosis: &Diagnosis) -> Vec<String> {
    let others = diagnosis.suspects.iter().skip(1);
    let others = others.filter(|other| OTHER_SCORE_MIN <= other.score);
    let mut counter: Vec<String> = others
        .map(|other| {
            format!("{:.0} % of it are {}'s: {}", 100.0 * other.score, other.service, other.reason)
        })
        .collect();
    let quality = &diagnosis.data_quality;
    if quality.before_s < quality.after_s {
        counter.push(format!("only {:.0} s are known from before", quality.before_s));
    }
    counter
}

fn quality(scene: &Scene<'_>, found: &Found) -> DataQuality {
    let quality = &found.diagnosis.data_quality;
    let mut notes = vec!["from spans only, which come in batches".to_owned()];
    notes.extend(quality.notes.iter().cloned());
    if 0 < found.shed {
        notes.push(format!("{} spans found no room", found.shed));
    }
    DataQuality {
        source: "spans".into(),
        sampling: Some(quality.sampling),
        late_ratio: scene.store.late_ratio(),
        note: notes.join("; "),
        ..DataQuality::default()
    }
}
