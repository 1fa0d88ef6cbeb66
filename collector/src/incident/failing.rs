//! The incident of a service that fails, where proxies count.
//!
//! What fails more than usual ([`crate::detect::Failures`]) is followed down to the deepest service
//! whose failures its own calls do not explain. Whoever fails because of it belongs to the same
//! incident; so does how slow it is, where that is told already. Nothing is suggested: whom to
//! spare of a service that fails is nobody's guess.

use super::blame::{descend, explaining};
use super::evidence::signal;
use super::found::KIND_FAILING as KIND;
use super::life::Beginning;
use super::regression::{self, few_names, fitting};
use super::sentence::{rate, time_of_day};
use super::{Cause, Happened, Incident, Incidents, Scene};
use crate::detect::{Subject, Surge};
use crate::store::{Part, Served, Tally};
use fusebox_proto::text::cut;
use fusebox_proto::view::{Evidence, Suspect};
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeMap, BTreeSet};

/// What it was, once it is over.
pub(super) const WAS: &str = "failed";
/// What is now, from so many seconds.
const NOW_SECONDS: u64 = 10;
/// Most of the failures are timeouts from this share on.
const GIVEN_UP: f64 = 0.5;
/// A callee that sees less than this share of what its callers see answers well by itself.
const UNSEEN: f64 = 0.25;

/// Failures' own part of an incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Failing {
    /// What fails because of it.
    subjects: BTreeSet<Subject>,
}

/// What one service is guilty of.
#[derive(Debug, Default)]
struct Charge {
    onset: Option<u64>,
    subjects: BTreeSet<Subject>,
}

impl Incidents {
    /// Opens incidents for who fails, and joins to open ones what they explain.
    pub(super) fn place_failing(&mut self, scene: &Scene<'_>, happened: &mut Vec<Happened>) {
        let mut known: BTreeMap<Subject, ServiceId> = BTreeMap::new();
        for incident in &self.open {
            if let Cause::Failing(failing) = &incident.cause {
                let guilty = &incident.blame.edge.destination;
                known.extend(failing.subjects.iter().map(|one| (one.clone(), guilty.clone())));
            }
        }
        let mut charges: BTreeMap<ServiceId, Charge> = BTreeMap::new();
        for (subject, surge) in scene.detectors.failures().surges() {
            // What an open incident explains stays with it until it is over.
            let guilty = known.get(subject).cloned().unwrap_or_else(|| guilty(scene, subject));
            let charge = charges.entry(guilty).or_default();
            charge.subjects.insert(subject.clone());
            charge.onset = Some(charge.onset.map_or(surge.onset, |at| at.min(surge.onset)));
        }
        for (guilty, charge) in charges {
            self.charge(scene, &guilty, charge, happened);
        }
    }

    fn charge(
        &mut self,
        scene: &Scene<'_>,
        guilty: &ServiceId,
        charge: Charge,
        happened: &mut Vec<Happened>,
    ) {
        let Charge { onset, subjects } = charge;
        let known = self.open.iter_mut().find(|open| open.is_of(guilty));
        match known.map(|known| (known.left, &mut known.cause, &mut known.left)) {
            Some((_, Cause::Failing(failing), left)) => {
                failing.subjects.extend(subjects);
                *left = None;
                return;
            }
            // As an earlier process left it.
            Some((Some(_), cause @ Cause::Found(_), left)) => {
                *cause = Cause::Failing(Box::new(Failing { subjects }));
                *left = None;
                return;
            }
            // It is told already that this service, or a subset of it, is at fault.
            Some(_) => return,
            None => (),
        }
        if self.open.iter().any(|open| open.is_canary_of(guilty)) || !self.has_room() {
            return;
        }
        let Some(onset) = onset else { return };
        let edge = edge_to(scene, guilty);
        let cause = Cause::Failing(Box::new(Failing { subjects }));
        let beginning = Beginning { kind: KIND.into(), edge, onset, cause };
        self.begin(scene, beginning, |past| past.is_of(guilty), |_| (), happened);
    }
}

/// Whose failures those of `subject` are: from there down, as far as calls that fail explain it.
fn guilty(scene: &Scene<'_>, subject: &Subject) -> ServiceId {
    let failures = scene.detectors.failures();
    let fails = |edge: &Edge| failures.seems_to_fail(&Subject::Edge(edge.clone()));
    let from = match subject {
        Subject::Edge(edge) | Subject::Part(Part { edge, .. }) => edge.clone(),
        Subject::Service(service) => {
            let failed = served(scene, service).map_or(0.0, |(served, _)| served.failures);
            let of_call = |edge: &Edge| fails(edge).then(|| sum(scene, edge).failed());
            match explaining(scene, service, failed, of_call) {
                Some(worst) => worst,
                None => return service.clone(),
            }
        }
    };
    let deepest = descend(scene, from.clone());
    if fails(&deepest) { deepest.destination } else { from.destination }
}

/// From who fails most because of a service. Whom nobody calls has no edge; the pair of it with
/// itself names it.
fn edge_to(scene: &Scene<'_>, service: &ServiceId) -> Edge {
    let calls = scene.store.edges_into(service).map(|(edge, _)| (sum(scene, edge).failed(), edge));
    let most = calls.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
    most.map_or_else(|| Edge::new(service.clone(), service.clone()), |(_, edge)| edge.clone())
}

fn sum(scene: &Scene<'_>, edge: &Edge) -> Tally {
    let recent = scene.track(edge).map(|(track, front)| track.sum(front, NOW_SECONDS));
    recent.unwrap_or_default()
}

/// What a service answered lately, and the share of it that failed in each second.
fn served(scene: &Scene<'_>, service: &ServiceId) -> Option<(Served, Vec<f64>)> {
    let (track, front) = scene.served(service)?;
    let share =
        |served: &Served| 100.0 * share(served.failures, served.requests).unwrap_or_default();
    Some((track.sum(front, NOW_SECONDS), track.series(front, share)))
}

fn share(failed: f64, all: f64) -> Option<f64> {
    (0.0 < all).then(|| failed / all)
}

impl Incident {
    /// Whether it tells that a service fails.
    pub(super) fn is_failing_of(&self, service: &ServiceId) -> bool {
        matches!(self.cause, Cause::Failing(_)) && self.blame.edge.destination == *service
    }

    /// Judges anew.
    pub(super) fn refresh_failing(&mut self, scene: &Scene<'_>) {
        let Cause::Failing(failing) = &mut self.cause else { return };
        let failures = scene.detectors.failures();
        failing.subjects.retain(|subject| failures.surge(subject).is_some());
        let surges = failing.subjects.iter().filter_map(|subject| failures.surge(subject));
        let surges: Vec<Surge> = surges.collect();
        if scene.detectors.latencies().is_explained(&self.blame.edge.destination) {
            self.end(scene, WAS, "a retry storm explains it.");
        } else if surges.is_empty() {
            if let Some(why) = self.end_unheard(scene) {
                self.end(scene, WAS, why);
            }
        } else {
            self.tell_failing(scene, &surges);
        }
    }

    fn tell_failing(&mut self, scene: &Scene<'_>, surges: &[Surge]) {
        let Cause::Failing(failing) = &self.cause else { return };
        let edge = self.blame.edge.clone();
        let service = &edge.destination;
        let is_called = edge.source != *service;
        let shown = Shown::of(scene, &edge, is_called);
        let others = others(scene, &failing.subjects, service);
        let usual = surges.iter().filter_map(|surge| surge.usual).reduce(f64::max);
        let view = &mut self.view;
        view.phase = "failing".into();
        view.confidence = surges.iter().map(|surge| surge.confidence).fold(0.0, f64::max);
        view.originator = Some(scene.names.print(service));
        view.victim = is_called.then(|| scene.names.print(&edge.source));
        view.edge = is_called.then(|| scene.names.print_edge(&edge));
        view.evidence = shown.evidence(usual);
        view.counter_evidence = shown.counter(&scene.names.print(service), usual);
        view.data_quality = regression::quality(scene, service, &self.blame, is_called);
        let percent = shown.now.map_or(0.0, |now| 100.0 * now);
        view.suspects = vec![Suspect {
            service: scene.names.print(service),
            score: 1.0,
            confidence: view.confidence,
            reason: format!(
                "{percent:.0} % of its answers fail, and none of its calls explains it"
            ),
        }];
        let since = time_of_day(self.onset * 1_000);
        let usually =
            usual.map_or_else(String::new, |usual| format!(" (≤ {:.1} % before)", 100.0 * usual));
        view.summary = fitting(&scene.names.print(service), |name| {
            let what = if shown.is_given_up() { "does not answer" } else { "fails" };
            format!("{name} {what} {percent:.0} % of requests since {since}{usually}{others}.")
        });
    }
}

/// Who fails because of it, in words.
fn others(scene: &Scene<'_>, subjects: &BTreeSet<Subject>, guilty: &ServiceId) -> String {
    let failing = subjects.iter().filter_map(|subject| match subject {
        Subject::Service(service) => Some(service),
        Subject::Edge(_) | Subject::Part(_) => None,
    });
    let others: BTreeSet<&ServiceId> = failing.filter(|other| *other != guilty).collect();
    match few_names(scene, &others) {
        _ if others.is_empty() => String::new(),
        Some(names) => format!("; {names} fail for it"),
        None => format!("; {} services fail for it", others.len()),
    }
}

/// What is seen of the guilty by who calls it most, and by itself.
struct Shown {
    /// The share that fails: as the caller sees it, where there is one.
    now: Option<f64>,
    by_caller: Option<(String, Tally, Vec<f64>)>,
    by_itself: Option<(Served, Vec<f64>)>,
}

impl Shown {
    fn of(scene: &Scene<'_>, edge: &Edge, is_called: bool) -> Self {
        let track = if is_called { scene.track(edge) } else { None };
        let by_caller = track.map(|(track, front)| {
            let name = cut(&scene.names.print(&edge.source), 12).into_owned();
            let share = |tally: &Tally| 100.0 * tally.failure_ratio().unwrap_or_default();
            (name, track.sum(front, NOW_SECONDS), track.series(front, share))
        });
        let by_itself = served(scene, &edge.destination);
        let of_caller = by_caller.as_ref().and_then(|(_, tally, _)| tally.failure_ratio());
        let of_itself =
            by_itself.as_ref().and_then(|(served, _)| share(served.failures, served.requests));
        Self { now: of_caller.or(of_itself), by_caller, by_itself }
    }

    /// Whether most failures are callers that did not wait any longer.
    fn is_given_up(&self) -> bool {
        let is = |tally: &Tally| GIVEN_UP * tally.failed() < tally.timeouts;
        self.by_caller.as_ref().is_some_and(|(_, tally, _)| is(tally))
    }

    fn evidence(&self, usual: Option<f64>) -> Vec<Evidence> {
        let usual = usual.map(|share| 100.0 * share);
        let mut all = Vec::new();
        if let Some((name, tally, series)) = &self.by_caller {
            let now = tally.failure_ratio().map(|share| 100.0 * share);
            all.push(signal(&format!("failed for {name}"), "%", (usual, now), series.clone()));
            let given_up = share(tally.timeouts, tally.failed()).map(|share| 100.0 * share);
            all.push(signal("given up, of those", "%", (None, given_up), Vec::new()));
            let per_s = tally.attempts() / NOW_SECONDS as f64;
            all.push(signal("attempts", "/s", (None, Some(per_s)), Vec::new()));
        }
        if let Some((served, series)) = &self.by_itself {
            let now = share(served.failures, served.requests).map(|share| 100.0 * share);
            all.push(signal("failed, by itself", "%", (usual, now), series.clone()));
        }
        all
    }

    /// What speaks against the verdict.
    fn counter(&self, name: &str, usual: Option<f64>) -> Vec<String> {
        let mut counter = Vec::new();
        if let (Some((_, tally, _)), Some((served, _))) = (&self.by_caller, &self.by_itself)
            && let Some(for_caller) = tally.failure_ratio()
            && let Some(by_itself) = share(served.failures, served.requests)
            && by_itself < UNSEEN * for_caller
        {
            let name = cut(name, 24);
            let (is, seen) = (100.0 * for_caller, 100.0 * by_itself);
            counter.push(if self.is_given_up() {
                let per_s = rate(tally.timeouts / NOW_SECONDS as f64);
                format!("callers do not wait for {per_s}/s of them; of what {name} answers {seen:.0} % fail")
            } else {
                format!("{is:.0} % fail for who calls, {seen:.0} % at {name}: it may be the way")
            });
        }
        if usual.is_none() {
            counter.push("what is usual is not known yet".to_owned());
        }
        counter
    }
}
