//! What is wrong is told within seconds, through real SDKs and retry libraries: eight without proxies, for
//! SDKs send every five, and four with them.

use crate::fleet::Fleet;
use crate::setup::is_real;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Who waits longer than this is not told.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// From this confidence on it is a verdict.
const VERDICT: f64 = 0.5;

/// What must be told of a fault.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// An incident: who repeats, and whom it hits.
    Storm(&'static str, &'static str),
    /// An advisory, and no incident: who calls whom.
    NPlusOne(&'static str, &'static str),
    /// Whoever asks is told whose fault it is.
    Suspect(&'static str),
}

/// A fault, and what must be told of it.
struct Fault {
    name: &'static str,
    /// Visitors before it, to whom all is well.
    calm: usize,
    /// What changes, service by service.
    knobs: &'static [(&'static str, &'static str)],
    told: Told,
    /// Whether it must not be taken for a storm.
    is_like_a_storm: bool,
}

/// What is slow is held against what it was before.
const WITH_BEFORE: [Fault; 2] = [
    Fault {
        name: "a latency fault",
        calm: 60,
        knobs: &[("inventory", "wait_ms=300")],
        told: Told::Suspect("inventory"),
        is_like_a_storm: false,
    },
    Fault {
        name: "timeouts without retries",
        calm: 60,
        knobs: &[("payment", "timeout_ms=200"), ("inventory", "wait_ms=1000")],
        told: Told::Suspect("inventory"),
        is_like_a_storm: true,
    },
];

/// What is wrong by itself.
const BY_ITSELF: [Fault; 4] = [
    Fault {
        name: "N+1",
        calm: 40,
        knobs: &[("payment", "each=5")],
        told: Told::NPlusOne("payment", "inventory"),
        is_like_a_storm: true,
    },
    Fault {
        name: "a storm of urllib3",
        calm: 0,
        knobs: &[("payment", "library=urllib3"), ("inventory", "status=503")],
        told: Told::Storm("payment", "inventory"),
        is_like_a_storm: false,
    },
    Fault {
        name: "a storm of tenacity",
        calm: 0,
        knobs: &[("payment", "library=tenacity"), ("inventory", "status=503")],
        told: Told::Storm("payment", "inventory"),
        is_like_a_storm: false,
    },
    Fault {
        name: "a storm of axios-retry",
        calm: 0,
        knobs: &[("frontend", "library=axios-retry"), ("payment", "status=503")],
        told: Told::Storm("frontend", "payment"),
        is_like_a_storm: false,
    },
];

impl Told {
    /// Whether somebody who looks now is told so; what else; and all that there is to see.
    async fn look(self, fleet: &Fleet) -> (bool, Vec<String>, Value) {
        let mut page = fleet.mesh.api("incidents").await.expect("incidents");
        let list = |name: &str| page[name].as_array().cloned().unwrap_or_default();
        let is = |one: &Value, figures: &[(&str, &str)]| {
            figures.iter().all(|(name, value)| one[*name] == *value)
        };
        let mut others: Vec<String> = Vec::new();
        let mut other = |one: &Value| {
            let names = [&one["kind"], &one["originator"], &one["summary"]];
            others.push(format!("{names:?}"));
        };
        let is_told = match self {
            Self::Storm(originator, victim) => {
                let storm =
                    [("kind", "retry_storm"), ("originator", originator), ("victim", victim)];
                let (right, wrong): (Vec<Value>, _) =
                    list("incidents").into_iter().partition(|one| is(one, &storm));
                wrong.iter().for_each(&mut other);
                !right.is_empty()
            }
            Self::NPlusOne(source, destination) => {
                list("incidents").iter().for_each(&mut other);
                let advisory =
                    [("kind", "n_plus_one"), ("source", source), ("destination", destination)];
                list("advisories").iter().any(|one| is(one, &advisory))
            }
            Self::Suspect(service) => {
                let is_right =
                    |one: &Value| one["originator"] == service && one["kind"] != "retry_storm";
                list("incidents").iter().filter(|one| !is_right(one)).for_each(&mut other);
                let diagnosis = fleet.mesh.api("diagnose").await.expect("a diagnosis");
                page["suspects"] = diagnosis["suspects"].clone();
                let first = &page["suspects"][0];
                let is_sure = first["confidence"].as_f64().is_some_and(|sure| VERDICT <= sure);
                if is_sure && first["service"] != service {
                    others.push(first.to_string());
                }
                first["service"] == service
            }
        };
        (is_told, others, page)
    }
}

/// Makes a fault, looks until it is told, and ends it. How long that took.
async fn took(fleet: &Fleet, fault: &Fault, bar: Duration) -> Duration {
    fleet.visited_by(fault.calm).await;
    #[expect(clippy::disallowed_methods, reason = "measures what a person waits")]
    let began = Instant::now();
    for (service, knobs) in fault.knobs {
        fleet.set(service, knobs).await;
    }
    let (mut told, mut after) = (None, Duration::ZERO);
    // A storm that is none would be told by then.
    let until = if fault.is_like_a_storm { bar } else { Duration::ZERO };
    while told.is_none() || after < until {
        let (is_told, others, seen) = fault.told.look(fleet).await;
        #[expect(clippy::disallowed_methods, reason = "measures what a person waits")]
        let waited = began.elapsed();
        after = waited;
        assert!(others.is_empty(), "{}: after {after:?}: {others:#?}", fault.name);
        told = told.or(is_told.then_some(after));
        assert!(after < LIMIT, "{} is not told: {seen:#}", fault.name);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    for (service, _) in fault.knobs {
        fleet.set(service, "").await;
    }
    told.expect("looked until then")
}

/// Makes these faults, one after the other, each before a collector that knows nothing of the others.
async fn check(mut fleet: Fleet, bar: Duration, faults: &[Fault]) {
    let mut late = Vec::new();
    for (nth, fault) in faults.iter().enumerate() {
        if 0 < nth {
            fleet.forget().await;
        }
        let took = took(&fleet, fault, bar).await;
        println!("{}: told after {took:.1?}, of {bar:?}", fault.name);
        late.extend((bar < took).then_some((fault.name, took)));
    }
    assert!(late.is_empty(), "later than {bar:?}: {late:?}");
}

/// All faults, in two fleets. Both run before the first fault: programs that start are no calm.
async fn both(has_proxies: bool, bar: Duration) {
    let (one, other) = tokio::join!(Fleet::start(has_proxies), Fleet::start(has_proxies));
    tokio::join!(check(one, bar, &WITH_BEFORE), check(other, bar, &BY_ITSELF));
}

/// Scenario: a Node and two Python services under auto-instrumentation, with the SDKs' own batches of five
/// seconds and no proxy. One after the other: the last gets slow; its caller gives up and does not repeat;
/// its caller calls it five times in a row for each request; it fails, and urllib3, tenacity or axios-retry
/// repeats.
/// Guarantees: each is told within eight seconds: whose fault it is, as N+1, as a storm with who makes it
/// and whom it hits; and nothing else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_within_eight_seconds() {
    if is_real("what is wrong, told without proxies") {
        both(false, Duration::from_secs(8)).await;
    }
}

/// Scenario: the same with a proxy beside each service.
/// Guarantees: the same within four seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_within_four_seconds_with_proxies() {
    if is_real("what is wrong, told with proxies") {
        both(true, Duration::from_secs(4)).await;
    }
}
