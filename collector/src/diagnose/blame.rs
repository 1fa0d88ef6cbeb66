//! Findings → suspects, best first.
//!
//! Time weighs as milliseconds × log2 of the slowdown: an excess that many small shifts explain is
//! traffic, not a fault. What an edge lost is divided between its ends by the square of the share
//! of their edges that are bad: who is slow towards everybody is guilty, who is slow towards one
//! is a witness. Failures and new sets of calls count only where time does not explain most.

use super::findings::{self, Comparison, Finding};
use super::series::{Measure, Node, Series, Subject};
use std::collections::BTreeMap;

/// Added to the number of a node's edges: one bad edge of one is less than five of five.
const EDGES_PRIOR: f64 = 0.5;
/// A new set of calls says that a service does other things, not why: who was called last may
/// have answered otherwise. It alone never convinces.
const SHAPE_CONFIDENCE_MAX: f64 = 0.45;
/// Of a new set of calls, so much is blamed on the service itself, and the rest on the last callee.
const SHAPE_OWN: f64 = 2.0 / 3.0;
/// More traffic than this, times the baseline's, may itself be the cause.
const LOAD_MAX: f64 = 2.0;
/// As much confidence is left then.
const LOAD_DISCOUNT: f64 = 0.5;
/// What time explains to more than this share, is a matter of time.
const TIME_SHARE: f64 = 0.5;

/// A suspect.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blame {
    pub(super) node: Node,
    /// Its share of all blame.
    pub(super) score: f64,
    pub(super) confidence: f64,
    /// What speaks against it, and its share of each, largest first.
    pub(super) parts: Vec<(usize, f64)>,
    /// Its traffic after ÷ before, where that is too much.
    pub(super) load: Option<f64>,
}

/// Ranks the nodes of `comparison`, which was made at one of `tried` onsets.
pub(super) fn rank(
    all: &[Series],
    comparison: &Comparison,
    onset_ns: u64,
    tried: u64,
) -> Vec<Blame> {
    let edges = edges(all, comparison);
    let findings = relevant(all, &comparison.findings);
    let mass: f64 = findings.iter().map(|(_, finding)| mass(all, finding)).sum();
    let mut by_node: BTreeMap<Node, Vec<(usize, f64)>> = BTreeMap::new();
    for (at, finding) in &findings {
        for (node, part) in parts(&all[finding.series], &edges) {
            let share = part * self::mass(all, finding) / mass;
            if 0.0 < share {
                by_node.entry(node).or_default().push((*at, share));
            }
        }
    }
    // The onset was chosen among many.
    let search = (tried.max(1) as f64).ln();
    let blame = |(node, mut parts): (Node, Vec<(usize, f64)>)| {
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let score = parts.iter().map(|(_, share)| share).sum::<f64>().min(1.0);
        let of = |(at, share): &(usize, f64)| {
            let finding = &comparison.findings[*at];
            let own = share / (self::mass(all, finding) / mass);
            let series = &all[finding.series];
            let nats = findings::firm_nats(series, onset_ns, comparison.chance) * own - search;
            conviction(series.measure, finding, nats)
        };
        let load = load(all, node, onset_ns).filter(|ratio| LOAD_MAX < *ratio);
        let strongest = parts.iter().map(of).fold(0.0, f64::max);
        let discount = if load.is_some() { LOAD_DISCOUNT } else { 1.0 };
        Blame { node, score, confidence: score * strongest * discount, parts, load }
    };
    let mut ranking: Vec<Blame> = by_node.into_iter().map(blame).collect();
    ranking.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
    ranking
}

/// The findings that count, with their places.
fn relevant<'f>(all: &[Series], findings: &'f [Finding]) -> Vec<(usize, &'f Finding)> {
    let measure = |finding: &Finding| all[finding.series].measure;
    let weight = |is: &dyn Fn(Measure) -> bool| {
        let of = findings.iter().filter(|finding| is(measure(finding)));
        of.map(|finding| finding.weight(measure(finding))).sum::<f64>()
    };
    let time = weight(&|measure| measure == Measure::Time);
    let is_time = weight(&|_| true) * TIME_SHARE < time;
    let kept = findings.iter().enumerate();
    kept.filter(|(_, finding)| (measure(finding) == Measure::Time) == is_time).collect()
}

/// What a finding weighs against others.
fn mass(all: &[Series], finding: &Finding) -> f64 {
    match all[finding.series].measure {
        Measure::Time => finding.excess_ms * finding.effect.doublings,
        Measure::Failed | Measure::Shape { .. } => {
            finding.nats * (finding.shares.1 - finding.shares.0)
        }
    }
}

/// Edges of each node that could be compared, and those of them that are bad.
fn edges(all: &[Series], comparison: &Comparison) -> BTreeMap<Node, (f64, f64)> {
    let mut edges: BTreeMap<Node, (f64, f64)> = BTreeMap::new();
    let mut is_bad = vec![false; all.len()];
    for finding in &comparison.findings {
        is_bad[finding.series] = true;
    }
    for (at, series) in all.iter().enumerate().filter(|(at, _)| comparison.is_compared[*at]) {
        let Subject::Edge { caller, callee, .. } = series.subject else { continue };
        if series.measure != Measure::Time {
            continue;
        }
        for node in [Node::Service(caller), callee] {
            let (count, bad) = edges.entry(node).or_default();
            *count += 1.0;
            *bad += f64::from(u8::from(is_bad[at]));
        }
    }
    edges
}

/// Between whom a finding is divided; the parts are 1 together.
fn parts(series: &Series, edges: &BTreeMap<Node, (f64, f64)>) -> Vec<(Node, f64)> {
    match (series.subject, series.measure) {
        (Subject::Own { service, .. }, Measure::Shape { last: Some(last), .. }) => {
            vec![(Node::Service(service), SHAPE_OWN), (last, 1.0 - SHAPE_OWN)]
        }
        (Subject::Own { service, .. }, _) => vec![(Node::Service(service), 1.0)],
        (Subject::Edge { callee, .. }, Measure::Failed | Measure::Shape { .. }) => {
            vec![(callee, 1.0)]
        }
        (Subject::Edge { caller, callee, .. }, Measure::Time) => {
            let coverage = |node: Node| {
                let (count, bad) = edges.get(&node).copied().unwrap_or_default();
                (bad / (count + EDGES_PRIOR)).powi(2)
            };
            let (of_caller, of_callee) = (coverage(Node::Service(caller)), coverage(callee));
            let both = of_caller + of_callee;
            vec![(Node::Service(caller), of_caller / both), (callee, of_callee / both)]
        }
    }
}

/// How convincing a finding is against a node to which `nats` of it are left. The part of today's
/// time, or of today's failures, that was there before is no fault.
fn conviction(measure: Measure, finding: &Finding, nats: f64) -> f64 {
    let certainty = 1.0 - (-nats.max(0.0)).exp();
    certainty
        * match measure {
            Measure::Time => 1.0 - (-finding.effect.doublings).exp2(),
            Measure::Failed => 1.0 - finding.shares.0 / finding.shares.1,
            Measure::Shape { .. } => SHAPE_CONFIDENCE_MAX,
        }
}

/// Calls per second into a node, after ÷ before.
fn load(all: &[Series], node: Node, onset_ns: u64) -> Option<f64> {
    let (mut before, mut after) = (0.0, 0.0);
    let (mut first_ns, mut last_ns) = (u64::MAX, 0);
    for series in all.iter().filter(|series| series.measure == Measure::Time) {
        first_ns = first_ns.min(*series.at_ns.first()?);
        last_ns = last_ns.max(*series.at_ns.last()?);
        let Subject::Own { service, .. } = series.subject else { continue };
        if node == Node::Service(service) {
            let (then, now) = series.calls.split_at(series.before(onset_ns));
            before += f64::from(then.iter().sum::<f32>());
            after += f64::from(now.iter().sum::<f32>());
        }
    }
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
    let (then, now) = (seconds(first_ns, onset_ns), seconds(onset_ns, last_ns));
    (0.0 < before && 0.0 < then && 0.0 < now).then(|| (after / now) / (before / then))
}
