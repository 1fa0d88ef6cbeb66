//! Whose time it is that requests take longer.
//!
//! Proxies see calls from both ends, so the excess over what is usual can be followed down: what a
//! service takes longer is its own, unless what it spends on its calls grew as much; what a call
//! takes longer is the callee's, unless the callee says that it is not slower: then it is lost on
//! the way. Means are compared, not quantiles: they add up over a path. Durations only, each by
//! one clock.

use super::Scene;
use super::blame::walk;
use super::shift::{self, Shift, shift};
use crate::detect::Subject;
use crate::store::Part;
use fusebox_proto::{Edge, ServiceId};
use std::collections::BTreeSet;

/// A share of the excess from which something explains it.
const EXPLAINED_MIN: f64 = 0.5;
/// A service elsewhere is slower if its requests take so many times as long.
const ELSEWHERE_MIN: f64 = 1.2;
/// If it is this share of them, it is everywhere.
const EVERYWHERE_MIN: f64 = 0.3;
/// What is first seen less than so long before a fault may have come with it.
const KNOWN_BEFORE_SECONDS: u64 = 180;
/// Routes and subsets tell of an edge if so much of its traffic is on them.
const TOLD_MIN: f64 = 0.9;
/// A cause reaches no further than over so many edges.
const HOPS_MAX: usize = 8;
/// More suspects are not named.
const SUSPECTS_MAX: usize = 3;

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
    /// An edge, or a part of one.
    Call(Subject, Edge),
}

impl From<&Subject> for Place {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::Service(service) => Self::Service(service.clone()),
            Subject::Edge(edge) | Subject::Part(Part { edge, .. }) => {
                Self::Call(subject.clone(), edge.clone())
            }
        }
    }
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
    let mut place = Place::from(subject);
    let mut passed = BTreeSet::new();
    for _ in 0..HOPS_MAX {
        let guilt = match place {
            Place::Call(call, edge) => match descend_call(scene, &call, &edge, onset)? {
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
        let call = Place::Call(edge.clone().into(), edge);
        return (EXPLAINED_MIN * growth <= longer).then_some(Next::At(call));
    }
    if is_mix(scene, service, &shift, onset) {
        return None;
    }
    let own_ms = own / shift.now_per_s;
    Some(Next::Found(Found { service: service.clone(), way: None, own_ms, own }))
}

/// From a call down: is it the callee's time, or the way?
fn descend_call(scene: &Scene<'_>, call: &Subject, edge: &Edge, onset: u64) -> Option<Next> {
    let is_part = matches!(call, Subject::Part(_));
    let call = shift(scene, call, onset)?;
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
    // What a route of few requests takes longer is little beside what all others take by chance, and it
    // is no way of its own.
    if is_part && EXPLAINED_MIN * call.excess() <= inside.chance() {
        return None;
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

/// Whether a service is slower only because more requests are of a slow kind, by who calls and on
/// which route: its calls, each compared with what is usual of it, take hardly longer.
fn is_mix(scene: &Scene<'_>, service: &ServiceId, inside: &Shift, onset: u64) -> bool {
    let calls: Vec<Shift> =
        scene.store.edges_into(service).flat_map(|(edge, _)| alike(scene, edge, onset)).collect();
    let longer: f64 = calls.iter().map(Shift::excess).sum();
    let all_per_s: f64 = calls.iter().map(|call| call.now_per_s).sum();
    // Callers that give up see less of it, but they do see it.
    let is_seen = |call: &Shift| call.is_slower() && call.is_worth_a_word();
    !calls.is_empty()
        && longer < EXPLAINED_MIN * inside.excess_ms() * all_per_s
        && !calls.iter().any(is_seen)
}

/// The calls on `edge`, each alike in itself: its routes and subsets, or all as one, where a part is not
/// known from before the second `onset`, or much comes on none. What came with a fault has never been
/// anything but slow.
fn alike(scene: &Scene<'_>, edge: &Edge, onset: u64) -> Vec<Shift> {
    let whole = shift(scene, &Subject::Edge(edge.clone()), onset);
    let latencies = scene.detectors.latencies();
    let is_known = |part: &Subject| {
        latencies.since(part).is_some_and(|since| since + KNOWN_BEFORE_SECONDS <= onset)
    };
    let has_traffic = |part: &&Subject| {
        shift::latency(scene, part, onset).is_some_and(|latency| 0 < latency.count())
    };
    let parts: Option<Vec<Shift>> = latencies
        .alike(edge)
        .filter(has_traffic)
        .map(|part| shift(scene, part, onset).filter(|_| is_known(part)))
        .collect();
    let Some(whole) = whole else { return parts.unwrap_or_default() };
    let told = parts.filter(|parts| {
        let told_per_s: f64 = parts.iter().map(|part| part.now_per_s).sum();
        TOLD_MIN * whole.now_per_s <= told_per_s
    });
    told.unwrap_or_else(|| vec![whole])
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
