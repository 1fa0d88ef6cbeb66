//! Attempts of proxies' windows, spread evenly within each.
//!
//! A window counts what was sent in it and what ended in it. The sent ones are taken to end in the
//! order in which they were sent, so that each has its end, in a later window where it has none in
//! its own.

use super::{Attempt, Crossings, End, Kind, Source};
use crate::capture::Said;
use crate::engine::offset_ms;
use crate::replay::recording::{Recording, What};
use fusebox_proto::report::{EdgeCounts, FromProxy, Report};
use fusebox_proto::{Edge, ProxyId, ServiceId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// Attempts that are spread at once, 56 bytes each: a few words of a proxy can count any number.
const ATTEMPTS_MAX: u64 = 4_000_000;

/// One window of one proxy, on all routes of an edge.
struct Window {
    start_unix_us: u64,
    length_us: u64,
    counts: EdgeCounts,
}

/// What proxies told of some edges.
#[derive(Default)]
struct Told {
    windows: BTreeMap<Edge, BTreeMap<ProxyId, Vec<Window>>>,
    /// How late the least late report of each came, by its own clock, ms.
    lags: HashMap<ProxyId, i64>,
}

/// What proxies counted on these edges.
pub(super) fn read(recording: &Recording, edges: &BTreeSet<Edge>) -> BTreeMap<Edge, Crossings> {
    let mut room = ATTEMPTS_MAX;
    let Told { windows, lags } = told(recording, edges);
    let all = windows.into_iter().map(|(edge, of_proxies)| {
        let mut crossings = Crossings {
            attempts: Vec::new(),
            source: Source::Proxies,
            proxies: of_proxies.len(),
            refused: 0,
            left_out: 0,
        };
        for (number, (proxy, mut windows)) in of_proxies.into_iter().enumerate() {
            // All of it is known: whoever was late throughout has a wrong clock.
            let offset_us = offset_ms(lags[&proxy], true).saturating_mul(1_000);
            for window in &mut windows {
                window.start_unix_us = window.start_unix_us.saturating_add_signed(offset_us);
            }
            // Those that a proxy kept while nobody listened come late.
            windows.sort_by_key(|window| window.start_unix_us);
            let refused =
                |window: &Window| window.counts.refused.total() + window.counts.retries_refused;
            crossings.refused += windows.iter().map(refused).sum::<u64>();
            let is_left_out = |window: &mut Window| {
                let left = room.checked_sub(window.counts.attempts());
                room = left.unwrap_or(room);
                left.is_none()
            };
            let left_out = windows.extract_if(.., is_left_out);
            crossings.left_out += left_out.map(|window| window.counts.attempts()).sum::<u64>();
            crossings.attempts.extend(spread(number, &windows));
        }
        (edge, crossings)
    });
    all.filter(|(_, crossings)| !crossings.attempts.is_empty()).collect()
}

fn told(recording: &Recording, edges: &BTreeSet<Edge>) -> Told {
    let mut introduced: HashMap<u64, (ServiceId, ProxyId)> = HashMap::new();
    let mut taken: HashSet<(ProxyId, u64, u64)> = HashSet::new();
    let mut told = Told::default();
    for item in recording.items() {
        let What::Proxy { stream, said: Said::Message(message) } = &item.what else { continue };
        match &**message {
            FromProxy::Hello(hello) => {
                introduced.insert(*stream, (hello.service.clone(), hello.proxy.clone()));
            }
            FromProxy::Report(report) => {
                let Some((source, proxy)) = introduced.get(stream) else { continue };
                let ends_ms = report.start_unix_ms.saturating_add(report.duration_ms.into());
                let heard_ms = (item.at_unix_ns / 1_000_000).cast_signed();
                let lag_ms = heard_ms.saturating_sub(ends_ms.cast_signed());
                let least = told.lags.entry(proxy.clone()).or_insert(lag_ms);
                *least = lag_ms.min(*least);
                if taken.insert((proxy.clone(), report.boot, report.number)) {
                    add(&mut told, (source, proxy), report, edges);
                }
            }
            FromProxy::Ack(_) | FromProxy::PolicyAck(_) => (),
        }
    }
    told
}

fn add(
    told: &mut Told,
    (source, proxy): (&ServiceId, &ProxyId),
    report: &Report,
    edges: &BTreeSet<Edge>,
) {
    let mut of_edges: BTreeMap<Edge, EdgeCounts> = BTreeMap::new();
    for window in &report.edges {
        let edge = Edge::new(source.clone(), window.destination.clone());
        if edges.contains(&edge) {
            of_edges.entry(edge).or_default().add(&window.counts);
        }
    }
    for (edge, counts) in of_edges {
        let of_proxy = told.windows.entry(edge).or_default().entry(proxy.clone()).or_default();
        of_proxy.push(Window {
            start_unix_us: report.start_unix_ms.saturating_mul(1_000),
            length_us: u64::from(report.duration_ms) * 1_000,
            counts,
        });
    }
}

/// The attempts of one proxy.
fn spread(proxy: usize, windows: &[Window]) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut out: VecDeque<usize> = VecDeque::new();
    for window in windows {
        let EdgeCounts { successes, failures, timeouts, hedge_losers, .. } = window.counts;
        let firsts = window.counts.first_attempts;
        let sent = [firsts, window.counts.retries(), window.counts.hedges];
        let sent = mixed(sent, [Kind::First, Kind::Retry, Kind::Hedge]);
        for (sent_unix_us, kind) in placed(window, &sent) {
            out.push_back(attempts.len());
            attempts.push(Attempt { sent_unix_us, end: None, kind, proxy, weight: 1.0 });
        }
        let ended = [successes, failures, timeouts + hedge_losers];
        let ended = mixed(ended, [End::Success, End::Failure, End::GivenUp]);
        for (at_unix_us, end) in placed(window, &ended) {
            // What was sent before the recording began is not in it.
            let Some(of) = out.pop_front() else { break };
            let attempt = &mut attempts[of];
            attempt.end = Some((at_unix_us.max(attempt.sent_unix_us), end));
        }
    }
    attempts
}

/// So many of each, mixed as evenly as whole numbers can be: of any n in a row each has its share.
fn mixed<T: Copy>(counts: [u64; 3], of: [T; 3]) -> Vec<T> {
    let total: u64 = counts.iter().sum();
    let mut given = [0_u64; 3];
    let mix = (1..=total).map(|place| {
        // Who is the furthest behind its share.
        let behind = |at: usize| {
            i128::from(counts[at]) * i128::from(place) - i128::from(given[at]) * i128::from(total)
        };
        let next = (0..3).max_by_key(|&at| (behind(at), 3 - at)).expect("there are three");
        given[next] += 1;
        of[next]
    });
    mix.collect()
}

/// When each happened, µs since the Unix epoch.
fn placed<'a, T: Copy>(window: &'a Window, all: &'a [T]) -> impl Iterator<Item = (u64, T)> + 'a {
    let count = all.len() as u64;
    all.iter().zip(0..).map(move |(it, at): (&T, u64)| {
        let after_us = window.length_us * (2 * at + 1) / (2 * count);
        (window.start_unix_us.saturating_add(after_us), *it)
    })
}
