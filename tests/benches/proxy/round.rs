//! CPU per request, round by round.

use super::load;
use super::machine;
use super::peers::{self, Kind, Peer, Sink};
use std::collections::BTreeMap;
use std::time::Duration;

/// Seconds of load before anything is measured: connections are open, code and caches warm.
const WARM_SECONDS: u32 = 1;

/// A ratio that must be reached.
struct Bar {
    kind: Kind,
    ours: Peer,
    theirs: Peer,
    /// Their CPU per request by ours, at least.
    ratio: f64,
}

/// Those of the design.
const BARS: [Bar; 3] = [
    Bar { kind: Kind::Http1, ours: Peer::Fusebox, theirs: Peer::Envoy, ratio: 2.0 },
    Bar { kind: Kind::Http1, ours: Peer::Fusebox, theirs: Peer::EnvoyTracing, ratio: 3.5 },
    Bar { kind: Kind::Http2, ours: Peer::Fusebox, theirs: Peer::Envoy, ratio: 1.1 },
];

/// CPU seconds for 100,000 requests, by the place of the peer in [`Peer::ALL`].
type Round = BTreeMap<usize, f64>;

/// Measures all peers `rounds` times in turn, prints what they took, and returns the bars that were
/// missed in a round.
pub(crate) fn run(kind: Kind, rounds: usize, seconds: u32) -> Vec<String> {
    println!("\n{kind:?}: CPU seconds per 100,000 requests, by round");
    if kind == Kind::Http2 && !peers::has("h2load") {
        println!("not measured: h2load is absent");
        return vec!["HTTP/2: not measured".into()];
    }
    let sink = Sink::start();
    let origin = peers::origin(kind);
    let mut all: Vec<Round> = Vec::new();
    for _ in 0..rounds {
        let there = (0..Peer::ALL.len()).filter(|&at| Peer::ALL[at].is_there());
        let measured = there.filter_map(|at| {
            let proxy = Peer::ALL[at].start(kind, origin.at, &sink);
            Some((at, measure(kind, &proxy, Peer::ALL[at].name(), seconds)?))
        });
        all.push(measured.collect());
    }
    for (at, peer) in Peer::ALL.iter().enumerate() {
        let figures: Vec<String> =
            all.iter().filter_map(|round| Some(format!("{:6.2}", round.get(&at)?))).collect();
        println!("  {:22} {}", peer.name(), figures.join(" "));
    }
    BARS.iter().filter(|bar| bar.kind == kind).filter_map(|bar| judge(bar, &all)).collect()
}

fn measure(kind: Kind, proxy: &peers::Running, name: &str, seconds: u32) -> Option<f64> {
    load::run(kind, proxy.at, WARM_SECONDS);
    let before_ns = machine::cpu_ns(proxy.pid());
    let sent = load::run(kind, proxy.at, seconds);
    let spent_ns = machine::cpu_ns(proxy.pid()) - before_ns;
    if sent.requests == 0 || sent.requests / 1_000 < sent.failed {
        println!("  {name}: {} of {} requests failed", sent.failed, sent.requests);
        return None;
    }
    Some(Duration::from_nanos(spent_ns).as_secs_f64() * 100_000.0 / sent.requests as f64)
}

/// Prints the ratio of each round; what was missed, if it was.
fn judge(bar: &Bar, all: &[Round]) -> Option<String> {
    let place = |peer: Peer| Peer::ALL.iter().position(|it| *it == peer);
    let [ours, theirs] = [place(bar.ours)?, place(bar.theirs)?];
    let ratios: Vec<f64> =
        all.iter().filter_map(|round| Some(round.get(&theirs)? / round.get(&ours)?)).collect();
    let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let what = format!("{} by {}", bar.theirs.name(), bar.ours.name());
    println!("  {what}: {} (must {:.1})", shown.join(" "), bar.ratio);
    let is_met = ratios.len() == all.len() && ratios.iter().all(|ratio| bar.ratio <= *ratio);
    (!is_met).then(|| format!("{:?}, {what}: {} < {:.1}", bar.kind, shown.join(" "), bar.ratio))
}
