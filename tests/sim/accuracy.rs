//! What verdicts are worth: every scenario of the demo by many seeds, against what its callers
//! counted, and real incidents (`incidents`). `FUSEBOX_LONG=1 cargo test --release -p fusebox-tests
//! --test sim accuracy -- --nocapture` prints the tables, over 200 seeds each, and over all incidents.

mod incidents;

use crate::shop::Shop;
use crate::{Plant, seeds_of};
use fusebox_demo::catalogue;
use fusebox_demo::event::Summary;
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::Scenario;
use fusebox_proto::view::Incident;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A figure may be wrong by this share of the truth.
const WITHIN: f64 = 0.1;
/// After the first failed call a storm is named within this time: the caller's timeout, and 3 s.
const STORM_WITHIN_MS: f64 = 4_000.0;
/// Those that need sockets: subsets are chosen by a policy, and a process dies. The former has a
/// simulation of its own in the collector.
const ELSEWHERE: [&str; 2] = ["canary", "dead-collector"];

/// After its fault somebody slow is named within so many s: all of its requests, or two in a hundred.
fn slow_within_s(scenario: &Scenario) -> f64 {
    if scenario.name == "slow-self" { 30.0 } else { 120.0 }
}

/// One run of a scenario.
struct Life {
    seed: u64,
    summary: Summary,
    incidents: Vec<Incident>,
    /// From the first fault to the opening of the expected incident, s.
    opened_after_s: Option<f64>,
}

impl Life {
    fn live(scenario: &Scenario, seed: u64, is_acting: bool) -> Self {
        let plan = Plan::new(scenario.clone(), seed);
        let fault_at = plan.first_fault_at();
        let end = Duration::from_secs_f64(scenario.duration_s);
        let shop = Shop::new(plan, Plant::Nothing);
        let shop = if is_acting { shop.with_someone_on_call() } else { shop };
        let (summary, incidents) = shop.run(end);
        let opened = incidents.iter().find(|it| Some(&it.kind) == summary.incident.as_ref());
        let opened_s = opened.map(|it| (it.opened_at.0 - crate::shop::START_UNIX_MS) as f64 / 1e3);
        let opened_after_s = opened_s.zip(fault_at).map(|(at, fault)| at - fault.as_secs_f64());
        Self { seed, summary, incidents, opened_after_s }
    }

    /// What is wrong with its verdict, if anything.
    fn mistake(&self, scenario: &Scenario, is_acting: bool) -> Option<String> {
        let Self { seed, summary, incidents, opened_after_s } = self;
        let told = |what: &str| Some(format!("{what}: {summary:?} {incidents:#?}"));
        if summary.false_incidents != 0 {
            return told("false incidents");
        }
        let expect = Plan::new(scenario.clone(), *seed).expect()?;
        let said = [&summary.incident, &summary.originator, &summary.victim];
        let truth = [&expect.kind, &expect.originator, &expect.victim].map(Some);
        if said.map(Option::as_ref) != truth {
            return told("another verdict");
        }
        if !is_storm(scenario) {
            let is_late = opened_after_s.is_none_or(|s| s < 0.0 || slow_within_s(scenario) < s);
            let is_harmful = incidents.iter().any(|incident| incident.action.is_some());
            return if is_late { told("late") } else { told("harmful").filter(|_| is_harmful) };
        }
        if summary.detect_ms.is_none_or(|ms| STORM_WITHIN_MS < ms) {
            return told("late");
        }
        if is_acting {
            return told("no recovery").filter(|_| summary.recovered_ms.is_none());
        }
        let is_off = self.factor_errors().is_none_or(|(factor, _)| WITHIN < factor);
        told("a wrong factor").filter(|_| is_off)
    }

    /// By which share of the truth the worst of the factors is wrong, and the product.
    fn factor_errors(&self) -> Option<(f64, f64)> {
        let error = |said: f64, truth: f64| (said - truth).abs() / truth;
        let (said, truth) = (&self.summary.layers, &self.summary.layers_true);
        let errors = said.iter().zip(truth).map(|(a, b)| error(a.factor, b.factor));
        let worst = errors.fold(None, |worst: Option<f64>, e| Some(worst.map_or(e, |w| w.max(e))));
        let product = self.summary.amplification.zip(self.summary.amplification_true);
        Some((worst?, product.map(|(said, truth)| error(said, truth))?))
    }
}

/// A line of the table.
struct Line<'a> {
    name: &'a str,
    lives: &'a [Life],
    mistaken: usize,
    /// Whether somebody acted: then the factors are of the first seconds, and the truth of others.
    is_acting: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = |figure: &dyn Fn(&Life) -> Option<f64>, scale: f64| {
            let mut all: Vec<f64> = self.lives.iter().filter_map(figure).collect();
            all.sort_by(f64::total_cmp);
            let at = |q: f64| all[((all.len() - 1) as f64 * q).round() as usize] / scale;
            if all.is_empty() {
                format!("{:>18}", "·")
            } else {
                format!("{:5.2} {:5.2} {:6.2}", at(0.5), at(0.95), at(1.0))
            }
        };
        let off = |life: &Life| Some(life.factor_errors().filter(|_| !self.is_acting)?.0);
        let (right, all) = (self.lives.len() - self.mistaken, self.lives.len());
        write!(f, "{:<28} {right:>4}/{all:<4}", self.name)?;
        write!(f, "  {}", figures(&|life| life.summary.detect_ms, 1e3))?;
        write!(f, "  {}", figures(&|life| life.opened_after_s, 1.0))?;
        write!(f, "  {}", figures(&off, 0.01))?;
        write!(f, "  {}", figures(&|life| life.summary.first_refusal_ms, 1.0))?;
        write!(f, "  {}", figures(&|life| life.summary.recovered_ms, 1e3))
    }
}

/// Every scenario, as it is written, and a storm also with somebody who acts.
fn rounds() -> Vec<(Scenario, bool)> {
    let all = catalogue::built_in().into_iter();
    let all = all.filter(|scenario| !ELSEWHERE.contains(&scenario.name.as_str()));
    let rounds = all.flat_map(|scenario| {
        let acted = is_storm(&scenario).then(|| (scenario.clone(), true));
        std::iter::once((scenario, false)).chain(acted)
    });
    rounds.collect()
}

fn is_storm(scenario: &Scenario) -> bool {
    scenario.expect.as_ref().is_some_and(|expect| expect.kind == "retry_storm")
}

/// All rounds by all seeds, on all cores; the lives of each round.
fn live_all(rounds: &[(Scenario, bool)]) -> Vec<Vec<Life>> {
    let seeds: Vec<u64> = seeds_of(1, 200).collect();
    let next = AtomicUsize::new(0);
    let lives: Vec<Mutex<Vec<Life>>> = rounds.iter().map(|_| Mutex::default()).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((scenario, is_acting)) = rounds.get(at / seeds.len()) else { return };
                    let life = Life::live(scenario, seeds[at % seeds.len()], *is_acting);
                    lives[at / seeds.len()].lock().expect("no life panics").push(life);
                }
            });
        }
    });
    lives.into_iter().map(|lives| lives.into_inner().expect("no life panics")).collect()
}

/// Scenario: every scenario that needs no socket, by many seeds, as it is written; the storms also
/// with somebody who does what is suggested.
/// Guarantees: kind, originator and victim are right and nothing else is told. Storms are named within
/// 4 s after the first failed call, each factor is within a tenth of what the callers counted; what is
/// suggested is done, and helps. Who is slow is named within half a minute or two, though callers are
/// just as slow, and nothing is suggested that would harm.
#[test]
fn verdicts_are_right() {
    let rounds = rounds();
    let lives = live_all(&rounds);
    let columns =
        ["after failure, s", "after fault, s", "factor off, %", "refusal, ms", "recovered, s"];
    println!(
        "{:<28} {:>9}  {}",
        "p50, 95 %, most",
        "right",
        columns.map(|c| format!("{c:>18}")).join("  ")
    );
    let mut wrong = Vec::new();
    for ((scenario, is_acting), lives) in rounds.iter().zip(&lives) {
        let name = format!("{}{}", scenario.name, if *is_acting { ", acted upon" } else { "" });
        let mistakes: Vec<String> = (lives.iter())
            .filter_map(|life| Some((life.seed, life.mistake(scenario, *is_acting)?)))
            .map(|(seed, mistake)| format!("{name}, seed {seed}: {mistake}"))
            .collect();
        let (mistaken, is_acting) = (mistakes.len(), *is_acting);
        println!("{}", Line { name: &name, lives, mistaken, is_acting });
        wrong.extend(mistakes);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
