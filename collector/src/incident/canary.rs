//! The incident of a canary that is worse than the stable subset: one for the service, with all
//! callers that suffer from it.
//!
//! What the canary causes is not told beside it: a storm of retries whose attempts the stable does not
//! fail, and a service that is slow because one subset of it is. What helps is to send everything to
//! the stable, where a policy of this collector splits the traffic.

mod figures;

use super::blame;
use super::life::Beginning;
use super::regression::{self, fitting};
use super::sentence::time_of_day;
use super::{Cause, Happened, Incident, Incidents, Scene, evidence, failing};
use crate::detect::{Finding, Worse};
use crate::policy::lint;
use crate::store::Split;
use figures::Figures;
use fusebox_proto::policy;
use fusebox_proto::view::{Remedy, Shift, SuggestedAction, Suspect};
use fusebox_proto::{Edge, ServiceId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// In the words of the contract.
pub(super) const KIND: &str = "canary_regression";
/// The canary explains a storm where the stable fails no more than this share.
const STABLE_WELL: f64 = 0.1;
/// A canary with more of the traffic than this is moved only after a question: the stable would get
/// more than twice its load.
const SHARE_SMALL: f64 = 0.5;
/// What a verdict from spans is worth: versions are compared, not calls.
const SPANS_WORTH: f64 = 0.9;

/// A canary's own part of an incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Canary {
    /// Where it is worse.
    splits: BTreeSet<Split>,
    subset: Arc<str>,
    stable: Arc<str>,
    /// The last verdict on the worst split.
    worse: Option<Worse>,
    /// Whether the stable does well beside it: then what else fails there fails because of the canary.
    is_stable_well: bool,
}

impl Incidents {
    /// Opens incidents for canaries that are worse, and joins to open ones what is of the same
    /// service.
    pub(super) fn place_canaries(&mut self, scene: &Scene<'_>, happened: &mut Vec<Happened>) {
        let findings: Vec<Finding<'_>> = scene.detectors.canaries().findings().collect();
        for finding in findings {
            let destination = &finding.split.destination;
            let known = self.open.iter_mut().find(|open| open.is_canary_of(destination));
            match known {
                Some(open) => open.join(finding),
                None => self.open_canary(scene, finding, happened),
            }
        }
    }

    fn open_canary(
        &mut self,
        scene: &Scene<'_>,
        finding: Finding<'_>,
        happened: &mut Vec<Happened>,
    ) {
        let service = &finding.split.destination;
        // A storm that the stable suffers from as well has another cause.
        let figures = Figures::see(scene, finding.split, (finding.canary, finding.stable), 0);
        let is_stable_well = figures.is_some_and(|figures| figures.stable_fails() <= STABLE_WELL);
        let is_into = |open: &Incident| open.edges.iter().any(|edge| edge.destination == *service);
        if !is_stable_well && self.open.iter().any(|open| open.is_storm() && is_into(open)) {
            return;
        }
        if !self.has_room() {
            return;
        }
        for open in self.open.iter_mut().filter(|open| is_into(open)) {
            open.give_way(scene, finding);
        }
        let edge = edge_of(scene, finding.split);
        let (onset, cause) = (finding.worse.onset, Cause::Canary(Box::default()));
        let beginning = Beginning { kind: KIND.into(), edge, onset, cause };
        let is_same = |past: &Incident| past.is_canary_of(service);
        self.begin(scene, beginning, is_same, |incident| incident.join(finding), happened);
    }
}

/// Who calls, of all that do: the one that a split is about, else the heaviest.
fn edge_of(scene: &Scene<'_>, split: &Split) -> Edge {
    let heaviest = || {
        let edges = scene.store.edges_into(&split.destination);
        let most = edges.max_by(|a, b| {
            a.1.latency().count().cmp(&b.1.latency().count()).then_with(|| b.0.cmp(a.0))
        });
        most.map(|(edge, _)| edge.clone())
    };
    let own = || Edge::new(split.destination.clone(), split.destination.clone());
    split.edge().or_else(heaviest).unwrap_or_else(own)
}

impl Incident {
    /// Whether it is about a subset of this service.
    pub(super) fn is_canary_of(&self, service: &ServiceId) -> bool {
        matches!(self.cause, Cause::Canary(_)) && self.blame.edge.destination == *service
    }

    /// Whether it explains a storm on this edge: failures lead from there to the canary, and the
    /// stable does well.
    pub(super) fn explains_storm(&self, scene: &Scene<'_>, edge: &Edge) -> bool {
        let Cause::Canary(own) = &self.cause else { return false };
        let service = &self.blame.edge.destination;
        own.is_stable_well && blame::failures_lead(scene, &edge.destination, service)
    }

    /// Takes one more split on which the canary is worse.
    fn join(&mut self, finding: Finding<'_>) {
        let Cause::Canary(own) = &mut self.cause else { return };
        self.left = None;
        if own.splits.is_empty() {
            own.subset = Arc::clone(finding.canary);
            own.stable = Arc::clone(finding.stable);
        } else if own.subset != *finding.canary {
            // Another name of the same release, such as a version that spans tell; or another
            // release, which shows once this one is over.
            return;
        }
        own.splits.insert(finding.split.clone());
        self.edges.extend(finding.split.edge());
        self.onset = self.onset.min(finding.worse.onset);
    }

    /// Ends for a canary that explains it.
    fn give_way(&mut self, scene: &Scene<'_>, finding: Finding<'_>) {
        let end = format!("{} explains it.", finding.canary);
        match self.cause {
            Cause::Slow(_) => self.end(scene, regression::WAS, &end),
            Cause::Found(_) => self.end(scene, self.was_found(), &end),
            Cause::Failing(_) => self.end(scene, failing::WAS, &end),
            Cause::Storm => self.resolve(scene),
            Cause::Canary(_) => (),
        }
    }

    /// Judges anew.
    pub(super) fn refresh_canary(&mut self, scene: &Scene<'_>) {
        let Cause::Canary(own) = &mut self.cause else { return };
        let canaries = scene.detectors.canaries();
        let name = Arc::clone(&own.subset);
        own.splits.retain(|split| canaries.get(split, &name).is_some());
        if own.splits.is_empty() {
            if let Some(why) = self.end_unheard(scene) {
                self.resolve_canary(scene, why);
            }
            return;
        }
        let subsets = (&own.subset, &own.stable);
        let seen = own.splits.iter().filter_map(|split| {
            let worse = canaries.get(split, &own.subset)?;
            let figures = Figures::see(scene, split, subsets, self.onset)?;
            Some((split, worse, figures))
        });
        // The one where most is bad: of those that fail by the failed, else by the requests.
        let worst = seen.max_by(|a, b| {
            let is_edge = |split: &Split| split.source.is_some();
            a.2.bad().total_cmp(&b.2.bad()).then_with(|| is_edge(a.0).cmp(&is_edge(b.0)))
        });
        let Some((split, worse, figures)) = worst else { return };
        let split = split.clone();
        own.worse = Some(worse);
        own.is_stable_well = figures.stable_fails() <= STABLE_WELL;
        if worse.is_silent {
            self.resolve_canary(scene, "nothing goes to it any more.");
        } else {
            self.tell_canary(scene, &split, worse, &figures);
        }
    }

    fn resolve_canary(&mut self, scene: &Scene<'_>, end: &str) {
        let Cause::Canary(own) = &self.cause else { return };
        let was = match own.worse {
            Some(Worse { fails: false, .. }) => "was slower",
            _ => "failed",
        };
        let subset = self.view.subset.clone().unwrap_or_default();
        self.end(scene, &format!("{subset} {was}"), end);
    }

    fn tell_canary(&mut self, scene: &Scene<'_>, split: &Split, worse: Worse, figures: &Figures) {
        let Cause::Canary(own) = &self.cause else { return };
        let edge = edge_of(scene, split);
        let is_called = edge.source != edge.destination;
        self.blame.victim = edge.source.clone();
        self.blame.edge = edge;
        let blame = &self.blame;
        let service = scene.names.print(&split.destination);
        let advice = advise(scene, split, own, figures);
        let view = &mut self.view;
        let is_taken_back = matches!(advice, Advice::TakenBack);
        view.phase = if is_taken_back { "draining" } else { "worse" }.into();
        view.originator = Some(service.clone());
        view.victim = is_called.then(|| scene.names.print(&blame.victim));
        view.edge = is_called.then(|| scene.names.print_edge(&blame.edge));
        view.subset = Some(own.subset.to_string());
        view.data_quality = evidence::quality(scene, blame);
        view.data_quality.recognised = None;
        let is_exact = split.source.is_some();
        if !is_exact {
            view.data_quality.source = "spans".into();
        }
        let worth = if is_exact { 1.0 } else { SPANS_WORTH };
        view.confidence = worth * (1.0 - 0.1 / worse.ln_ratio.max(1.0));
        view.suspects = vec![Suspect {
            service: service.clone(),
            score: view.confidence,
            confidence: view.confidence,
            reason: figures.reason(worse),
        }];
        view.evidence = figures.evidence();
        view.counter_evidence = figures.counter(is_exact);
        let caller = view.victim.as_deref();
        let since = time_of_day(self.onset * 1_000);
        view.summary =
            fitting(&service, |service| figures.sentence(service, caller, &since, worse));
        view.action = match advice {
            Advice::Shift(shift, is_small) => {
                let is_fresh = is_exact && scene.proxies.stale(scene.now, &blame.edge.source) == 0;
                let names = scene.names.print_edge(&blame.edge);
                Some(SuggestedAction {
                    action: Remedy::Shift(shift),
                    source: names.source,
                    destination: names.destination,
                    ttl_s: 0,
                    tier: u8::from(!(is_fresh && is_small)),
                    predicted: figures.predicted(worse),
                })
            }
            Advice::TakenBack | Advice::Nothing => None,
        };
        if view.action.is_none() && !is_taken_back {
            let nothing =
                "no policy of this collector splits this traffic: whoever does must move it";
            view.counter_evidence.push(nothing.into());
        }
    }
}

/// What can be done about a canary.
enum Advice {
    /// Send everything to the stable; whether little of the traffic moves.
    Shift(Shift, bool),
    /// It was done.
    TakenBack,
    /// No policy here splits the traffic.
    Nothing,
}

fn advise(scene: &Scene<'_>, split: &Split, own: &Canary, figures: &Figures) -> Advice {
    let Some(mut weights) = scene.policies.weights(split) else { return Advice::Nothing };
    let sum: u64 = weights.values().map(|weight| u64::from(*weight)).sum();
    let share = match weights.get(&*own.subset) {
        None => return Advice::Nothing,
        Some(0) => return Advice::TakenBack,
        Some(weight) => f64::from(*weight) / sum.max(1) as f64,
    };
    let Some(moved) = weights.insert(own.subset.to_string(), 0) else { return Advice::Nothing };
    let Some(stable) = weights.get_mut(&*own.stable) else { return Advice::Nothing };
    *stable = stable.saturating_add(moved);
    let service = &split.destination;
    let list: Vec<(String, u32)> = weights.clone().into_iter().collect();
    let hosts = [service.name().to_owned(), lint::host(service)];
    let is_allowed = |host: &String| policy::shift(scene.policies.documents(), host, &list).is_ok();
    match hosts.into_iter().find(is_allowed) {
        Some(host) => {
            let is_small = share.max(figures.share()) <= SHARE_SMALL;
            Advice::Shift(Shift { host, weights }, is_small)
        }
        None => Advice::Nothing,
    }
}
