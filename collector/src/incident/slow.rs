//! Whose time it is that requests take longer.
//!
//! Proxies see calls from both ends, so the excess over what is usual can be followed down: what a
//! service takes longer is its own, unless what it spends on its calls grew as much; what a call
//! takes longer is the callee's, unless the callee says that it is not slower: then it is lost on
//! the way. Means are compared, not quantiles: they add up over a path. Durations only, each by
//! one clock.

use super::Scene;
use super::blame::walk;
use crate::detect::{Subject, UsualLatency};
use crate::store::{LatencyTotal, MINUTE};
use fusebox_proto::{Edge, ServiceId};
use std::collections::BTreeSet;

/// A share of the excess from which something explains it.
const EXPLAINED_MIN: f64 = 0.5;
/// An excess of fewer standard errors may be chance.
const ERRORS_MIN: f64 = 3.0;
/// A service elsewhere is slower if its requests take so many times as long.
const ELSEWHERE_MIN: f64 = 1.2;
/// If it is this share of them, it is everywhere.
const EVERYWHERE_MIN: f64 = 0.3;
/// What is now is read from so many seconds at least.
const SECONDS_MIN: u64 = 10;
/// A cause reaches no further than over so many edges.
const HOPS_MAX: usize = 8;
/// More suspects are not named.
const SUSPECTS_MAX: usize = 3;

/// How much longer requests take than usual.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    /// Per request, ms.
    pub(super) usual_ms: f64,
    /// Per request, ms.
    pub(super) now_ms: f64,
    error_ms: f64,
    /// Requests per second.
    pub(super) usual_per_s: f64,
    /// Requests per second.
    pub(super) now_per_s: f64,
}

impl Shift {
    fn new(usual: &UsualLatency, now: (f64, f64, f64), seconds: u64) -> Option<Self> {
        let (_, usual_ms, usual_variance) = usual.moments_ms()?;
        let (count, now_ms, variance) = now;
        // What is usual wanders, too, but it is known from much more.
        let error_ms = (variance.max(usual_variance) / count).sqrt();
        let now_per_s = count / seconds as f64;
        Some(Self { usual_ms, now_ms, error_ms, usual_per_s: usual.rate()?, now_per_s })
    }

    /// Per request, ms.
    pub(super) fn excess_ms(&self) -> f64 {
        self.now_ms - self.usual_ms
    }

    /// Of all requests of a second, ms.
    fn excess(&self) -> f64 {
        self.excess_ms() * self.now_per_s
    }

    fn is_slower(&self) -> bool {
        ERRORS_MIN * self.error_ms <= self.excess_ms()
    }
}

/// So many seconds up to `front` are looked at of what began in the second `onset`.
fn seconds(front: u64, onset: u64) -> u64 {
    (front + 1).saturating_sub(onset).clamp(SECONDS_MIN, MINUTE)
}

/// How much longer `subject` takes than usual, since the second `onset`; `None` where too little
/// is known.
pub(super) fn shift(scene: &Scene<'_>, subject: &Subject, onset: u64) -> Option<Shift> {
    let usual = scene.detectors.latencies().usual(subject)?;
    let (now, seconds) = match subject {
        Subject::Edge(edge) => {
            let (track, front) = scene.track(edge)?;
            let seconds = seconds(front, onset);
            (track.moments_ms(front, seconds)?, seconds)
        }
        Subject::Service(service) => {
            let (track, front) = scene.served(service)?;
            let seconds = seconds(front, onset);
            (track.moments_ms(front, seconds)?, seconds)
        }
    };
    Shift::new(usual, now, seconds)
}

/// Its latencies since the second `onset`, of the last minute at most.
pub(super) fn latency(scene: &Scene<'_>, subject: &Subject, onset: u64) -> Option<LatencyTotal> {
    Some(match subject {
        Subject::Edge(edge) => {
            let (track, front) = scene.track(edge)?;
            track.latency_of(front, seconds(front, onset))
        }
        Subject::Service(service) => {
            let (track, front) = scene.served(service)?;
            track.latency_of(front, seconds(front, onset))
        }
    })
}

/// From who waits most for a service. Whom nobody calls has no edge; the pair of it with itself
/// names it.
pub(super) fn edge_to(scene: &Scene<'_>, service: &ServiceId, onset: u64) -> Edge {
    let caller = waits_most(scene, service, onset);
    caller.unwrap_or_else(|| Edge::new(service.clone(), service.clone()))
}

/// The verdict on one slow subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Guilt {
    /// Who takes the time.
    pub(super) service: ServiceId,
    /// Where it is lost on the way to it: the edge.
    pub(super) way: Option<Edge>,
    /// Per request of the guilty, ms.
    pub(super) own_ms: f64,
    /// Its share of the excess, 0 … 1.
    pub(super) share: f64,
    /// Others that take longer by themselves, and their shares; largest first.
    pub(super) others: Vec<(ServiceId, f64)>,
}

/// Where a walk stands.
enum Place {
    Service(ServiceId),
    Edge(Edge),
}

/// Follows the excess of `subject` down to whose time it is. `None` where that is not clear: too
/// little is known, the excess has no single place, or it is a matter of more calls.
pub(super) fn follow(scene: &Scene<'_>, subject: &Subject, onset: u64) -> Option<Guilt> {
    let whole = shift(scene, subject, onset)?;
    if !whole.is_slower() {
        return None;
    }
    let whole = whole.excess();
    let mut others = Vec::new();
    let mut place = match subject {
        Subject::Service(service) => Place::Service(service.clone()),
        Subject::Edge(edge) => Place::Edge(edge.clone()),
    };
    let mut passed = BTreeSet::new();
    for _ in 0..HOPS_MAX {
        let guilt = match place {
            Place::Edge(edge) => match descend_edge(scene, &edge, onset)? {
                Next::At(next) => {
                    place = next;
                    continue;
                }
                Next::Found(guilt) => guilt,
            },
            Place::Service(service) => {
                if !passed.insert(service.clone()) {
                    return None;
                }
                match descend_service(scene, &service, onset, &mut others)? {
                    Next::At(next) => {
                        place = next;
                        continue;
                    }
                    Next::Found(guilt) => guilt,
                }
            }
        };
        others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        others.truncate(SUSPECTS_MAX - 1);
        let others = others.into_iter().map(|(service, own)| (service, own / whole));
        let others = others.filter(|(_, share)| 0.01 <= *share).collect();
        let share = (guilt.own / whole).min(1.0);
        let Found { service, way, own_ms, .. } = guilt;
        return (EXPLAINED_MIN <= share).then_some(Guilt { service, way, own_ms, share, others });
    }
    None
}

enum Next {
    At(Place),
    Found(Found),
}

struct Found {
    service: ServiceId,
    way: Option<Edge>,
    own_ms: f64,
    /// Of all requests of a second, ms.
    own: f64,
}

/// From a service down: is it its own time, or that of a call?
fn descend_service(
    scene: &Scene<'_>,
    service: &ServiceId,
    onset: u64,
    others: &mut Vec<(ServiceId, f64)>,
) -> Option<Next> {
    let shift = shift(scene, &Subject::Service(service.clone()), onset)?;
    let mut spent = 0.0;
    let mut heaviest: Option<(f64, f64, Edge)> = None;
    for callee in scene.graph.callees(service) {
        let edge = Edge::new(service.clone(), callee.clone());
        let Some(call) = self::shift(scene, &Subject::Edge(edge.clone()), onset) else { continue };
        // As many calls a request as usual, each as long as usual.
        let usual = call.usual_per_s / shift.usual_per_s * call.usual_ms * shift.now_per_s;
        let growth = call.now_per_s * call.now_ms - usual;
        spent += growth.max(0.0);
        let is_heavier = heaviest.as_ref().is_none_or(|(most, _, other)| {
            *most < growth || (growth.total_cmp(most).is_eq() && edge < *other)
        });
        if is_heavier {
            heaviest = Some((growth, call.excess(), edge));
        }
    }
    let own = shift.excess() - spent;
    if let Some((growth, longer, edge)) = heaviest
        && EXPLAINED_MIN * shift.excess() <= spent
    {
        if 0.0 < own {
            others.push((service.clone(), own));
        }
        // More calls, not longer ones: that is another finding.
        return (EXPLAINED_MIN * growth <= longer).then_some(Next::At(Place::Edge(edge)));
    }
    if is_mix(scene, service, onset) {
        return None;
    }
    let own_ms = own / shift.now_per_s;
    Some(Next::Found(Found { service: service.clone(), way: None, own_ms, own }))
}

/// From a call down: is it the callee's time, or the way?
fn descend_edge(scene: &Scene<'_>, edge: &Edge, onset: u64) -> Option<Next> {
    let call = shift(scene, &Subject::Edge(edge.clone()), onset)?;
    let callee = &edge.destination;
    let found = |service: &ServiceId, way: Option<Edge>| {
        let (own, own_ms) = (call.excess(), call.excess_ms());
        Next::Found(Found { service: service.clone(), way, own_ms, own })
    };
    if scene.store.service(callee).is_none() {
        return Some(found(callee, None));
    }
    // A callee that is there but not known yet says nothing.
    let inside = shift(scene, &Subject::Service(callee.clone()), onset)?;
    if EXPLAINED_MIN * call.excess() <= inside.excess() {
        return Some(Next::At(Place::Service(callee.clone())));
    }
    let is_lost = |edge: &Edge| {
        shift(scene, &Subject::Edge(edge.clone()), onset).is_some_and(|call| call.is_slower())
    };
    // The end most of whose edges lose time is the one that loses it.
    let share = |edges: Vec<Edge>| {
        let lost = edges.iter().filter(|edge| is_lost(edge)).count();
        (lost as f64 + 0.5) / (edges.len() as f64 + 1.0)
    };
    let outbound = scene.graph.callees(&edge.source);
    let outbound = outbound.map(|to| Edge::new(edge.source.clone(), to.clone())).collect();
    let inbound = scene.graph.callers(callee);
    let inbound = inbound.map(|from| Edge::new(from.clone(), callee.clone())).collect();
    let is_source = share(inbound) < share(outbound);
    let guilty = if is_source { &edge.source } else { callee };
    Some(found(guilty, Some(edge.clone())))
}

/// Whether a service is slower only because other callers call more: none of its calls takes
/// longer.
fn is_mix(scene: &Scene<'_>, service: &ServiceId, onset: u64) -> bool {
    let callers = scene.store.edges_into(service);
    let calls = callers.filter_map(|(edge, _)| {
        shift(scene, &Subject::Edge(edge.clone()), onset).map(|call| call.is_slower())
    });
    let calls: Vec<bool> = calls.collect();
    !calls.is_empty() && !calls.contains(&true)
}

/// Whether others got slower, too, that do not wait for `service`: then what slows them all is
/// beneath them, such as a machine, and no trace shows it.
pub(super) fn is_everywhere(scene: &Scene<'_>, service: &ServiceId, onset: u64) -> bool {
    let waiting = walk(service, |service| scene.graph.callers(service).cloned().collect());
    let others = scene.store.services().filter(|(other, _)| !waiting.contains(*other));
    let others = others.filter_map(|(other, _)| {
        let shift = shift(scene, &Subject::Service(other.clone()), onset)?;
        Some(shift.is_slower() && ELSEWHERE_MIN * shift.usual_ms <= shift.now_ms)
    });
    let (mut slower, mut all) = (0, 0);
    others.for_each(|is_slower| {
        slower += u32::from(is_slower);
        all += 1;
    });
    2 <= slower && EVERYWHERE_MIN * f64::from(all) <= f64::from(slower)
}

/// The caller that waits for `service` most: by how much longer its calls take in all.
pub(super) fn waits_most(scene: &Scene<'_>, service: &ServiceId, onset: u64) -> Option<Edge> {
    let calls = scene.store.edges_into(service).map(|(edge, track)| {
        let call = shift(scene, &Subject::Edge(edge.clone()), onset);
        let excess = call.map_or(0.0, |call| call.excess());
        (excess, track.latency().count(), edge)
    });
    let most = calls
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)).then_with(|| b.2.cmp(a.2)));
    most.map(|(.., edge)| edge.clone())
}
