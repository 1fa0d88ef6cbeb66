//! Who causes it, who suffers, and by how much each layer multiplies.
//!
//! The *victim* is the deepest node whose failures its own callees do not explain. From there the
//! heaviest path leads upstream over edges that multiply or pass failures on. The *originator* is
//! the caller of the edge with the largest share of the logarithm of the amplification; of equal
//! ones the uppermost, because whoever retries above repeats all retries below.

use super::Scene;
use super::spacing::Spacing;
use crate::detect::Watch;
use crate::graph::Graph;
use fusebox_proto::view::Suspect;
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeSet, HashSet};

/// Attempts per request from which an edge is a layer of the amplification.
const LAYER_MIN: f64 = 1.2;
/// Share of failed attempts from which an edge passes failures on.
const FAILING_MIN: f64 = 0.1;
/// A callee's own failing calls explain its failures if they are at least this share of them.
const EXPLAINED_MIN: f64 = 0.25;
/// Logarithms of factors that differ by less than this share are equal.
const EQUAL: f64 = 0.1;
/// Seconds that are looked at.
const RECENT_SECONDS: u64 = 5;
/// A cause reaches no further than over so many edges.
const HOPS_MAX: usize = 8;

/// The verdict on one cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Blame {
    /// The edge to act on: the originator's.
    pub edge: Edge,
    /// Who suffers.
    pub victim: ServiceId,
    /// The edges that multiply, uppermost first, and their factors.
    pub layers: Vec<(Edge, f64)>,
    /// The product of all factors.
    pub amplification: f64,
}

/// Attempts and failures of an edge over the last seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    attempts: f64,
    failed: f64,
}

impl Recent {
    fn is_failing(self) -> bool {
        0.0 < self.attempts && FAILING_MIN * self.attempts <= self.failed
    }
}

fn recent(scene: &Scene<'_>, edge: &Edge) -> Recent {
    scene.track(edge).map_or_else(Recent::default, |(track, front)| {
        let sum = track.sum(front + 1, RECENT_SECONDS + 1);
        Recent { attempts: sum.attempts(), failed: sum.failed() }
    })
}

/// Judges the storm on `edges`, which are not empty.
pub(super) fn blame(scene: &Scene<'_>, edges: &BTreeSet<Edge>) -> Option<Blame> {
    let sources: HashSet<&ServiceId> = edges.iter().map(|edge| &edge.source).collect();
    let is_lowest = |edge: &&Edge| !sources.contains(&edge.destination);
    let by_failed = |edge: &&Edge| recent(scene, edge).failed;
    let lowest =
        edges.iter().filter(is_lowest).max_by(|a, b| by_failed(a).total_cmp(&by_failed(b)));
    let last = descend(scene, lowest.or_else(|| edges.first())?.clone());
    let victim = last.destination.clone();
    let factor = |edge: &Edge| {
        let factor = scene.detectors.get(edge).map_or(1.0, Watch::factor);
        if edges.contains(edge) || LAYER_MIN <= factor { factor.max(1.0) } else { 1.0 }
    };
    let path = scene.graph.heaviest_path(&last, |edge| {
        let factor = factor(edge);
        let is_on = LAYER_MIN <= factor || recent(scene, edge).is_failing();
        is_on.then(|| factor.ln())
    });
    let is_layer = |edge: &Edge| LAYER_MIN <= factor(edge) || edges.contains(edge);
    let layers: Vec<(Edge, f64)> =
        path.into_iter().filter(is_layer).map(|edge| (edge.clone(), factor(&edge))).collect();
    Some(Blame::of(&last, victim, layers))
}

impl Blame {
    /// Of layers, uppermost first; of `last` where there are none.
    fn of(last: &Edge, victim: ServiceId, layers: Vec<(Edge, f64)>) -> Self {
        let heaviest = layers.iter().map(|layer| layer.1.ln()).fold(0.0, f64::max);
        let first = layers.iter().find(|layer| (1.0 - EQUAL) * heaviest <= layer.1.ln());
        let edge = first.map_or_else(|| last.clone(), |layer| layer.0.clone());
        let amplification = layers.iter().map(|layer| layer.1).product();
        Self { edge, victim, layers, amplification }
    }

    /// The same layers by other factors, where there are any.
    pub(super) fn with_factors(&self, factor: impl Fn(&Edge) -> Option<f64>) -> Self {
        let layer = |(edge, known): &(Edge, f64)| (edge.clone(), factor(edge).unwrap_or(*known));
        Self::of(&self.edge, self.victim.clone(), self.layers.iter().map(layer).collect())
    }

    /// Whoever multiplies, the originator first: how much of the amplification is theirs, and how they
    /// space their retries.
    pub(super) fn suspects(&self, scene: &Scene<'_>, confidence: f64, onset: u64) -> Vec<Suspect> {
        let share = |factor: f64| factor.ln() / self.amplification.ln();
        let most = self.layers.iter().map(|layer| share(layer.1)).fold(0.0, f64::max);
        let (mut layers, mut others): (Vec<_>, Vec<_>) =
            self.layers.iter().partition(|(edge, _)| *edge == self.edge);
        others.sort_by(|a, b| b.1.total_cmp(&a.1));
        layers.append(&mut others);
        let mut room = most;
        let suspect = |(edge, factor): &(Edge, f64)| {
            let score = if *edge == self.edge { most } else { share(*factor).min(room) };
            room = score - 1e-3;
            let callee = scene.names.print(&edge.destination);
            let spacing = Spacing::since(scene, edge, onset);
            let spacing = spacing.map_or_else(String::new, |it| format!("; {}", it.words()));
            let reason = format!("multiplies its calls of {callee} by {factor:.1}{spacing}");
            let service = scene.names.print(&edge.source);
            Suspect { service, score, confidence: confidence * score / most, reason }
        };
        layers.into_iter().map(suspect).filter(|suspect| 0.0 < suspect.score).collect()
    }
}

/// From `edge` down, for as long as the callee's own failing calls explain its failures.
pub(super) fn descend(scene: &Scene<'_>, mut edge: Edge) -> Edge {
    let mut passed: HashSet<ServiceId> = [edge.source.clone(), edge.destination.clone()].into();
    for _ in 0..HOPS_MAX {
        let node = edge.destination.clone();
        let callers = scene.graph.callers(&node);
        let inbound: f64 = callers
            .map(|caller| recent(scene, &Edge::new(caller.clone(), node.clone())).failed)
            .sum();
        let failed = |edge: &Edge| Some(recent(scene, edge)).filter(|it| it.is_failing());
        match explaining(scene, &node, inbound, |edge| Some(failed(edge)?.failed)) {
            Some(worst) if passed.insert(worst.destination.clone()) => edge = worst,
            _ => break,
        }
    }
    edge
}

/// The call of `node` that fails most, where its calls explain that so much of what it is asked is
/// `failed`. `failed_of`: how much of a call is; `None` where it does not count.
pub(super) fn explaining(
    scene: &Scene<'_>,
    node: &ServiceId,
    failed: f64,
    failed_of: impl Fn(&Edge) -> Option<f64>,
) -> Option<Edge> {
    let calls = scene.graph.callees(node).map(|callee| Edge::new(node.clone(), callee.clone()));
    let calls: Vec<(f64, Edge)> =
        calls.filter_map(|edge| Some((failed_of(&edge)?, edge))).collect();
    let outbound: f64 = calls.iter().map(|(failed, _)| failed).sum();
    let is_explained = 0.0 < outbound && EXPLAINED_MIN * failed <= outbound;
    let worst = calls.into_iter().max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    worst.filter(|_| is_explained).map(|(_, edge)| edge)
}

/// Whether two storm edges have one cause: they share a callee, or failures lead from the one to
/// the other.
pub(super) fn is_one_cause(scene: &Scene<'_>, a: &Edge, b: &Edge) -> bool {
    a.destination == b.destination
        || failures_lead(scene, &a.destination, &b.source)
        || failures_lead(scene, &b.destination, &a.source)
}

/// Services within reach of storms: whoever may wait for the ends of these edges, and whom they may
/// load. A storm makes all of them slow.
pub(crate) fn reach(graph: &Graph, storms: Vec<&Edge>) -> HashSet<ServiceId> {
    let mut reached: HashSet<ServiceId> = HashSet::new();
    for edge in storms {
        for end in [&edge.source, &edge.destination] {
            reached.extend(walk(end, |service| graph.callers(service).cloned().collect()));
            reached.extend(walk(end, |service| graph.callees(service).cloned().collect()));
        }
    }
    reached
}

/// `from`, and all that `next` leads to from there.
pub(super) fn walk(
    from: &ServiceId,
    next: impl Fn(&ServiceId) -> Vec<ServiceId>,
) -> HashSet<ServiceId> {
    let mut passed: HashSet<ServiceId> = [from.clone()].into();
    let mut at = vec![from.clone()];
    while let Some(service) = at.pop() {
        at.extend(next(&service).into_iter().filter(|service| passed.insert(service.clone())));
    }
    passed
}

/// Whether failures lead from one service to another that it calls, over others or itself.
pub(super) fn failures_lead(scene: &Scene<'_>, from: &ServiceId, to: &ServiceId) -> bool {
    let mut passed: HashSet<ServiceId> = [from.clone()].into();
    let mut reached = vec![from.clone()];
    for _ in 0..=HOPS_MAX {
        if passed.contains(to) {
            return true;
        }
        let mut next = Vec::new();
        for node in &reached {
            for callee in scene.graph.callees(node) {
                let edge = Edge::new(node.clone(), callee.clone());
                if recent(scene, &edge).is_failing() && passed.insert(callee.clone()) {
                    next.push(callee.clone());
                }
            }
        }
        reached = next;
    }
    false
}
