//! Incidents: one for each cause, not for each symptom.
//!
//! Detectors judge edges; here their storms are joined where failures lead from the one to the
//! other, told in one sentence with evidence and one action, and kept until they are over: healthy
//! for ten seconds. What got slow is joined by whose time it is ([`regression`]); a storm explains
//! how slow those within its reach are, and the two are one incident. Where no proxy counts, the
//! diagnosis of spans finds who is at fault ([`found`]); where they do, who fails ([`failing`]). A storm that comes back on the same edge within a minute is the same incident.
//! What an earlier process left open goes on if its storm shows again, and else ends with a note.

mod action;
mod before;
mod blame;
mod canary;
mod capacity;
mod evidence;
mod failing;
mod found;
mod heard;
mod kept;
mod life;
mod regression;
mod sentence;
mod shift;
mod slow;
mod spacing;
mod suggested;

pub(crate) use action::{CAP_HEADROOM, RECOGNISED_MIN, SURE};
pub use blame::Blame;
pub(crate) use blame::reach;
pub(crate) use capacity::Capacity;
#[cfg(test)]
pub(crate) use found::ACCUSING;

use crate::desired::Desired;
use crate::detect::{Detectors, Phase, Subject, Watch};
use crate::engine::{Instances, Proxies};
use crate::graph::Graph;
use crate::names::Names;
use crate::policy::Policies;
use crate::record::IncidentRecord;
use crate::store::{Latent, Served, Store, Tally, Track};
use before::Before;
use canary::Canary;
use failing::Failing;
use found::{Found, Looks};
use fusebox_proto::command::{ActionKind, Verb};
use fusebox_proto::view::{self, EdgeName, IncidentState, Layer, Stamp};
use fusebox_proto::{Edge, Now, ServiceId};
use kept::{Left, Told};
use regression::{Regression, Suspicion};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// More resolved incidents than this are not shown.
pub(crate) const PAST_MAX: usize = 64;
/// More open incidents than this are not told apart; a storm beyond joins none, and is counted.
const OPEN_MAX: usize = 64;
/// A storm on the same edge so soon after is the same incident.
const REOPEN_MS: u64 = 60_000;

/// Everything that a verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// The moment.
    pub(crate) now: Now,
    /// Who calls whom.
    pub(crate) graph: &'a Graph,
    /// The last minute.
    pub(crate) store: &'a Store,
    /// The detectors of the edges.
    pub(crate) detectors: &'a Detectors,
    /// Of each source with connected proxies: the last second that all have reported.
    pub(crate) fronts: &'a HashMap<ServiceId, u64>,
    /// Printed names.
    pub(crate) names: &'a Names,
    /// Leases.
    pub(crate) desired: &'a Desired,
    /// Proxies.
    pub(crate) proxies: &'a Proxies,
    /// What services can serve.
    pub(crate) capacity: &'a Capacity,
    /// Instances of services.
    pub(crate) instances: &'a Instances,
    /// The policy.
    pub(crate) policies: &'a Policies,
    /// Whether it is said what would help.
    pub(crate) is_suggesting: bool,
}

impl Scene<'_> {
    fn now_second(&self) -> u64 {
        self.now.unix_ms / 1_000
    }

    /// An edge, and its newest complete second.
    fn track(&self, edge: &Edge) -> Option<(&Track<Tally>, u64)> {
        let track = self.store.edge(edge)?;
        let front = self.fronts.get(&edge.source).copied();
        Some((track, track.front(self.now_second(), front)))
    }

    /// What a service answered, and its newest complete second.
    fn served(&self, service: &ServiceId) -> Option<(&Track<Served>, u64)> {
        let track = self.store.service(service)?;
        let front = self.fronts.get(service).copied();
        Some((track, track.front(self.now_second(), front)))
    }

    /// The latencies of a subject, and its newest complete second.
    fn latencies(&self, subject: &Subject) -> Option<(&dyn Latent, u64)> {
        Some(match subject {
            Subject::Service(service) => {
                let (track, front) = self.served(service)?;
                (track, front)
            }
            Subject::Edge(edge) => {
                let (track, front) = self.track(edge)?;
                (track, front)
            }
            Subject::Part(part) => {
                let track = self.store.subsets().part(part)?;
                let source_front = self.fronts.get(&part.edge.source).copied();
                (track, track.front(self.now_second(), source_front))
            }
        })
    }

    /// Attempts per request, now.
    fn factor(&self, edge: &Edge) -> Option<f64> {
        let (track, front) = self.track(edge)?;
        crate::detect::factor(track, front, self.detectors.get(edge)?.onset())
    }

    /// The lease in force on an edge.
    fn lease(&self, edge: &Edge) -> Option<ActionKind> {
        let wish = self.desired.get(edge)?;
        match wish.command.verb {
            Verb::Trip { action, .. } if wish.is_lease(self.now) && 0 < wish.applied() => {
                Some(action.kind())
            }
            _ => None,
        }
    }

    /// Share of the excess attempts that a proxy recognises as retries.
    fn recognised(&self, edge: &Edge) -> Option<f64> {
        let (track, front) = self.track(edge)?;
        let caller = self.store.service(&edge.source);
        self.detectors.get(edge)?.recognised(track, caller, front)
    }
}

/// All incidents.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    open: Vec<Incident>,
    past: VecDeque<Incident>,
    /// For the history.
    changed: Vec<IncidentRecord>,
    dropped: u64,
    /// Who may have got slow.
    suspicions: BTreeMap<ServiceId, Suspicion>,
    /// What looks at the spans say.
    looks: Looks,
}

/// What an incident is about.
#[derive(Clone, Debug)]
enum Cause {
    Storm,
    Slow(Box<Regression>),
    Canary(Box<Canary>),
    Found(Box<Found>),
    Failing(Box<Failing>),
}

/// One incident.
#[derive(Clone, Debug)]
struct Incident {
    cause: Cause,
    /// Those that storm; of a regression the one whose caller waits most.
    edges: BTreeSet<Edge>,
    onset: u64,
    blame: Blame,
    before: Before,
    view: view::Incident,
    /// An earlier process left it open, and its storm has not shown again.
    left: Option<Left>,
    /// As the history has it.
    told: Option<Told>,
}

/// What happened to an incident, one line for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happened {
    /// When, ms since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// One line.
    pub(crate) text: String,
}

impl Incidents {
    /// Brings the incidents up to what the detectors say, and tells what happened.
    pub(crate) fn update(&mut self, scene: &Scene<'_>) -> Vec<Happened> {
        let mut happened = Vec::new();
        self.place_canaries(scene, &mut happened);
        for edge in scene.detectors.storms() {
            let is_on = |open: &Incident| {
                (open.is_storm() && open.edges.contains(edge)) || open.explains_storm(scene, edge)
            };
            if !self.open.iter().any(is_on) {
                self.place(scene, edge, &mut happened);
            }
        }
        self.place_slow(scene, &mut happened);
        self.place_failing(scene, &mut happened);
        self.place_found(scene, &mut happened);
        for incident in &mut self.open {
            incident.refresh(scene);
            if !scene.is_suggesting {
                (incident.view.action, incident.view.alternatives) = (None, Vec::new());
            }
            self.changed.extend(incident.news(scene.now));
        }
        let (over, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|incident| incident.view.state == IncidentState::Resolved);
        self.open = open;
        for incident in over {
            happened.push(line(scene, "resolved", &incident.view));
            self.past.push_back(incident);
        }
        while PAST_MAX < self.past.len() {
            self.past.pop_front();
        }
        happened
    }

    /// Finds the incident that a storm belongs to, or opens one.
    fn place(&mut self, scene: &Scene<'_>, edge: &Edge, happened: &mut Vec<Happened>) {
        let is_same = |incident: &&mut Incident| {
            incident.is_storm()
                && incident.edges.iter().any(|other| blame::is_one_cause(scene, edge, other))
        };
        if let Some(incident) = self.open.iter_mut().find(is_same) {
            incident.edges.insert(edge.clone());
            return;
        }
        if !self.has_room() {
            return;
        }
        let is_back = |past: &Incident| {
            let until = past.view.resolved_at.map_or(0, |at| at.0);
            past.is_storm() && past.blame.edge == *edge && scene.now.unix_ms < until + REOPEN_MS
        };
        if let Some(at) = self.past.iter().position(is_back)
            && let Some(mut incident) = self.past.remove(at)
        {
            incident.edges.insert(edge.clone());
            incident.view.state = IncidentState::Open;
            incident.view.resolved_at = None;
            incident.left = None;
            incident.refresh(scene);
            happened.push(line(scene, "is back", &incident.view));
            self.open.push(incident);
            return;
        }
        let Some(mut incident) = Incident::open(scene, edge) else { return };
        while self.find(&incident.view.id).is_some() {
            incident.view.id.push('x');
        }
        happened.push(line(scene, "opened", &incident.view));
        self.open.push(incident);
    }

    fn find(&self, id: &str) -> Option<&Incident> {
        self.open.iter().chain(&self.past).find(|incident| incident.view.id == id)
    }

    /// How long `action` on `edge` should last for what waits to be worked off, and for whose sake;
    /// `None` where nothing waits, or no incident is open there.
    pub(crate) fn ttl(&self, edge: &EdgeName, action: ActionKind) -> Option<(Duration, String)> {
        let views = self.open.iter().map(|incident| &incident.view);
        let mut known = views.flat_map(|view| {
            let actions = view.action.iter().chain(&view.alternatives);
            actions.map(move |known| (known, view))
        });
        let (known, view) = known.find(|(known, _)| {
            known.action == action
                && known.source == edge.source
                && known.destination == edge.destination
                && action::ttl_s_least(action) < known.ttl_s
        })?;
        Some((Duration::from_secs(known.ttl_s), view.victim.clone()?))
    }

    /// How many are open.
    pub(crate) fn open_count(&self) -> u64 {
        self.open.len() as u64
    }

    /// Storms that found no place since the start.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All of them, in no particular order.
    pub(crate) fn views(&self) -> impl Iterator<Item = &view::Incident> {
        self.open.iter().chain(&self.past).map(|incident| &incident.view)
    }
}

impl Incident {
    fn open(scene: &Scene<'_>, edge: &Edge) -> Option<Self> {
        let onset = scene.detectors.get(edge)?.onset()?;
        let edges: BTreeSet<Edge> = [edge.clone()].into();
        let blame = blame::blame(scene, &edges)?;
        let view = view::Incident {
            id: id("retry_storm", edge, onset),
            kind: "retry_storm".into(),
            opened_at: Stamp(scene.now.unix_ms),
            ..view::Incident::default()
        };
        let before = Before::see(scene, &blame, onset);
        let cause = Cause::Storm;
        let mut incident =
            Self { cause, edges, onset, blame, before, view, left: None, told: None };
        incident.refresh(scene);
        Some(incident)
    }

    const fn is_storm(&self) -> bool {
        matches!(self.cause, Cause::Storm)
    }

    /// Judges anew.
    fn refresh(&mut self, scene: &Scene<'_>) {
        match self.cause {
            Cause::Storm => self.refresh_storm(scene),
            Cause::Slow(_) => self.refresh_slow(scene),
            Cause::Canary(_) => self.refresh_canary(scene),
            Cause::Found(_) => self.refresh_found(scene),
            Cause::Failing(_) => self.refresh_failing(scene),
        }
    }

    /// Judges a storm anew. While it drains, the verdict stays: what caused it no longer shows.
    fn refresh_storm(&mut self, scene: &Scene<'_>) {
        let phase_of = |edge: &Edge| scene.detectors.get(edge).map_or(Phase::Normal, Watch::phase);
        let phases: Vec<Phase> = self.edges.iter().map(phase_of).collect();
        if !phases.iter().any(|phase| phase.is_storm()) {
            if self.left.is_none_or(|left| left.is_over(scene.now)) {
                self.resolve(scene);
            }
            return;
        }
        self.left = None;
        let phase = if phases.contains(&Phase::Sustained) {
            Phase::Sustained
        } else if phases.contains(&Phase::Storm) {
            Phase::Storm
        } else {
            Phase::Draining
        };
        // Under a lease an edge does not rage. Where another still does, the verdict was one of the
        // first seconds: layers above show later.
        let is_raging =
            self.edges.iter().any(|edge| scene.detectors.get(edge).is_some_and(Watch::is_raging));
        if is_raging {
            let is_live = |edge: &&Edge| phase_of(edge).is_storm();
            let live: BTreeSet<Edge> = self.edges.iter().filter(is_live).cloned().collect();
            let onsets = live.iter().filter_map(|edge| scene.detectors.get(edge)?.onset());
            self.onset = onsets.min().unwrap_or(self.onset).min(self.onset);
            if let Some(blame) = blame::blame(scene, &live) {
                self.accuse(scene, blame);
            }
        } else {
            self.hold(scene);
        }
        let is_leased = scene.lease(&self.blame.edge).is_some();
        let phase = if is_leased { Phase::Draining } else { phase };
        self.tell(scene, phase);
    }

    /// Takes a verdict. What was usual is read anew only where it is about others: later there is
    /// less and less of it to read.
    fn accuse(&mut self, scene: &Scene<'_>, blame: Blame) {
        let is_other = blame.edge != self.blame.edge || blame.victim != self.blame.victim;
        if is_other {
            let before = Before::see(scene, &blame, self.onset);
            if before.is_known() || !self.before.is_known() {
                self.before = before;
            }
        }
        self.blame = blame;
    }

    /// Takes the factors as they were: the last that were seen may be of the way out.
    fn hold(&mut self, scene: &Scene<'_>) {
        let known = |edge: &Edge| scene.detectors.get(edge).filter(|it| it.phase().is_storm());
        let blame = self.blame.with_factors(|edge| known(edge).map(Watch::factor));
        self.accuse(scene, blame);
    }

    fn tell(&mut self, scene: &Scene<'_>, phase: Phase) {
        let blame = &self.blame;
        let Some(watch) = scene.detectors.get(&blame.edge) else { return };
        let view = &mut self.view;
        view.phase = phase.as_str().into();
        view.summary = sentence::open(scene, blame, phase, self.onset);
        let watches = self.edges.iter().filter_map(|edge| scene.detectors.get(edge));
        let confidence = watches.map(Watch::confidence).fold(0.0, f64::max);
        if phase != Phase::Draining {
            view.confidence = confidence;
        }
        view.originator = Some(scene.names.print(&blame.edge.source));
        view.victim = Some(scene.names.print(&blame.victim));
        view.edge = Some(scene.names.print_edge(&blame.edge));
        view.amplification = Some(blame.amplification);
        view.layers =
            blame.layers.iter().map(|(edge, factor)| layer(scene, edge, *factor)).collect();
        view.evidence = evidence::evidence(scene, blame, &self.before, self.onset);
        view.suspects = blame.suspects(scene, view.confidence, self.onset);
        view.counter_evidence = evidence::counter(scene, blame, watch, phase, self.onset);
        view.data_quality = evidence::quality(scene, blame);
        // What drains by itself, or under a lease, needs nothing more.
        let advice = if phase == Phase::Draining {
            None
        } else {
            action::advise(scene, blame, phase, view.confidence, (&self.before, self.onset))
        };
        (view.action, view.alternatives) = match advice {
            Some(advice) => (Some(advice.suggested), advice.alternatives),
            None => (None, Vec::new()),
        };
    }

    fn resolve(&mut self, scene: &Scene<'_>) {
        let view = &mut self.view;
        view.state = IncidentState::Resolved;
        view.resolved_at = Some(Stamp(scene.now.unix_ms));
        view.phase = "resolved".into();
        view.action = None;
        view.alternatives = Vec::new();
        view.summary = match self.left {
            Some(_) => sentence::left(scene, &self.blame, self.onset),
            None => sentence::resolved(scene, &self.blame, self.onset, scene.now.unix_ms),
        };
    }
}

fn layer(scene: &Scene<'_>, edge: &Edge, factor: f64) -> Layer {
    let EdgeName { source, destination } = scene.names.print_edge(edge);
    Layer { source, destination, factor }
}

fn line(scene: &Scene<'_>, what: &str, view: &view::Incident) -> Happened {
    let text = format!("#{} {what}: {}", view.id, view.summary);
    Happened { at_unix_ms: scene.now.unix_ms, text }
}

/// The same evidence gives the same id: five letters and digits from a hash (FNV-1a) of kind, edge
/// and onset.
fn id(kind: &str, edge: &Edge, onset: u64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let text = format!("{kind} {edge} {onset}");
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let letter = |n: u32| LETTERS[(hash >> (24 + 5 * n) & 31) as usize] as char;
    (0..5).map(letter).collect()
}
