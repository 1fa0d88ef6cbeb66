//! What verdicts are worth: every scenario of the demo by many seeds, against what its callers
//! counted. `FUSEBOX_LONG=1 cargo test --release -p fusebox-tests --test sim accuracy -- --nocapture`
//! prints the table over 200 seeds each.

use crate::shop::Shop;
use crate::{Plant, seeds_of};
use fusebox_demo::catalogue;
use fusebox_demo::event::Summary;
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::Scenario;
use fusebox_proto::view::Incident;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A figure may be wrong by this share of the truth.
const WITHIN: f64 = 0.1;
/// Those that need sockets: subsets are chosen by a policy, and a process dies. The former has a
/// simulation of its own in the collector.
const ELSEWHERE: [&str; 2] = ["canary", "dead-collector"];

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
    fn mistake(&self, scenario: &Scenario) -> Option<String> {
        let expect = Plan::new(scenario.clone(), self.seed).expect();
        let told = || format!("{:#?}", self.incidents);
        if self.summary.false_incidents != 0 {
            return Some(format!("{} false incidents: {}", self.summary.false_incidents, told()));
        }
        let expect = expect?;
        let said = [&self.summary.incident, &self.summary.originator, &self.summary.victim];
        let truth = [expect.kind, expect.originator, expect.victim];
        if said.iter().zip(&truth).any(|(said, truth)| said.as_ref() != Some(truth)) {
            return Some(format!("{said:?} for {truth:?}: {}", told()));
        }
        None
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
    mistakes: usize,
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
        let (right, all) = (self.lives.len() - self.mistakes, self.lives.len());
        write!(f, "{:<26} {right:>4}/{all:<4}", self.name)?;
        write!(f, "  {}", figures(&|life| life.summary.detect_ms, 1e3))?;
        write!(f, "  {}", figures(&|life| life.opened_after_s, 1.0))?;
        write!(f, "  {}", figures(&off, 0.01))?;
        write!(f, "  {}", figures(&|life| life.summary.first_refusal_ms, 1.0))?;
        write!(f, "  {}", figures(&|life| life.summary.recovered_ms, 1e3))
    }
}

/// All seeds of a scenario, on all cores.
fn lives(scenario: &Scenario, is_acting: bool, (short, long): (u64, u64)) -> Vec<Life> {
    let seeds = seeds_of(short, long);
    let (next, last) = (AtomicU64::new(*seeds.start()), *seeds.end());
    let lives = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if last < seed {
                        return;
                    }
                    let life = Life::live(scenario, seed, is_acting);
                    lives.lock().expect("no life panics").push(life);
                }
            });
        }
    });
    let mut lives = lives.into_inner().expect("no life panics");
    lives.sort_by_key(|life| life.seed);
    lives
}

/// Prints the line of a scenario; what is wrong is told with its seed.
fn judge(scenario: &Scenario, is_acting: bool, lives: &[Life], wrong: &mut Vec<String>) {
    let name = &format!("{}{}", scenario.name, if is_acting { ", acted upon" } else { "" });
    let mistakes: Vec<String> = lives
        .iter()
        .filter_map(|life| Some(format!("{name}, seed {}: {}", life.seed, life.mistake(scenario)?)))
        .collect();
    println!("{}", Line { name, lives, mistakes: mistakes.len(), is_acting });
    wrong.extend(mistakes);
}

/// Scenario: every scenario that needs no socket, by many seeds, as it is written and with somebody
/// who does what is suggested.
/// Guarantees: kind, originator and victim are right and nothing else is told; storms are named within
/// 4 s after the first failed call, each factor is within a tenth of what the callers counted; what is
/// suggested is done, and helps.
#[test]
fn verdicts_are_right() {
    println!("p50, 95 % and most of:");
    println!(
        "{:<26} {:>9}  {:>18}  {:>18}  {:>18}  {:>18}  {:>18}",
        "scenario",
        "right",
        "after failure, s",
        "after fault, s",
        "factor off, %",
        "refusal, ms",
        "recovered, s"
    );
    let mut wrong = Vec::new();
    for scenario in catalogue::built_in() {
        let name = scenario.name.as_str();
        if ELSEWHERE.contains(&name) {
            continue;
        }
        let is_storm = scenario.expect.as_ref().is_some_and(|it| it.kind == "retry_storm");
        let left = lives(&scenario, false, (1, 200));
        judge(&scenario, false, &left, &mut wrong);
        if !is_storm {
            continue;
        }
        for life in &left {
            let late = life.summary.detect_ms.is_none_or(|ms| 4_000.0 < ms);
            let off = life.factor_errors().is_none_or(|(factor, _)| WITHIN < factor);
            if late || off {
                wrong.push(format!("{name}, seed {}: late or off: {:?}", life.seed, life.summary));
            }
        }
        let acted = lives(&scenario, true, (1, 200));
        judge(&scenario, true, &acted, &mut wrong);
        for life in acted.iter().filter(|life| life.summary.recovered_ms.is_none()) {
            wrong.push(format!("{name}, seed {}: no recovery: {:?}", life.seed, life.summary));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
