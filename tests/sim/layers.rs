//! Layers of retries: who began, and by how much each multiplies, against what the callers counted.

use crate::shop::Shop;
use crate::{Plant, seeds_of};
use std::time::Duration;

/// A figure may be wrong by this share of the truth.
const WITHIN: f64 = 0.1;
/// And the product of three of them by this, on a machine that stands still: there what callers count
/// in ten seconds is itself beside what they do, by 6 % in one run of 500.
const WITHIN_LOADED: f64 = 0.15;

/// A whole run: the storm, its end with the fault, and health.
fn live(seed: u64, plant: Plant) -> Result<(), String> {
    let mut chain = Shop::of("layered-retries", seed, plant);
    chain.run_until(Duration::from_secs(36));
    check(&chain, chain.elapsed(), WITHIN, "open")?;
    chain.run_until(Duration::from_mins(1));
    check(&chain, chain.elapsed(), WITHIN, "resolved")
}

/// The one incident, held against the expected one and what the callers counted until `end`; the
/// product of all layers within `within`.
fn check(chain: &Shop, end: Duration, within: f64, state: &str) -> Result<(), String> {
    let expect = chain.plan().expect().expect("an incident");
    let incidents = chain.snapshot().incidents;
    let [incident] = &incidents[..] else { return Err(format!("not one: {incidents:#?}")) };
    let names = [&incident.kind, &incident.originator.clone().unwrap_or_default()];
    if names != [&expect.kind, &expect.originator]
        || incident.victim.as_ref() != Some(&expect.victim)
    {
        return Err(format!("expected {expect:?}: {incident:#?}"));
    }
    let is_resolved = incident.resolved_at.is_some();
    if is_resolved != (state == "resolved") {
        return Err(format!("not {state}: {incident:#?}"));
    }
    let factors = chain.truth().factors(end);
    let is_near = |said: f64, truth: f64, within: f64| (said - truth).abs() <= within * truth;
    let is_layer =
        |((layer, (source, destination)), factor): ((&_, (&str, &str)), &Option<f64>)| {
            let layer: &fusebox_proto::view::Layer = layer;
            layer.source == source
                && layer.destination == destination
                && factor.is_some_and(|factor| is_near(layer.factor, factor, WITHIN))
        };
    let layers = incident.layers.iter().zip(expect.layers()).zip(&factors);
    let product = chain.truth().amplification(end);
    let is_right = incident.layers.len() == factors.len()
        && layers.into_iter().all(is_layer)
        && (incident.amplification.zip(product))
            .is_some_and(|(said, truth)| is_near(said, truth, within));
    let said = (incident.amplification, &incident.layers);
    if is_right { Ok(()) } else { Err(format!("{factors:?} {state}, not {said:?}")) }
}

/// Scenario: the demo's three layers of three in virtual time, by many seeds: other rates, instance
/// counts, names and delays.
/// Guarantees: one incident; the upper edge is the originator; each factor is within a tenth of what
/// the callers counted, and so is the product, while it storms and when it is over.
#[test]
fn three_layers_of_three_are_told_apart() {
    for seed in seeds_of(8, 512) {
        let life = live(seed, Plant::Nothing);
        assert!(life.is_ok(), "FUSEBOX_SEED={seed}: {}", life.unwrap_err());
    }
}

/// Scenario: the same on a machine that stands still now and then, for up to four seconds.
/// Guarantees: the same while it storms.
#[test]
fn layers_are_told_apart_on_a_loaded_machine() {
    for seed in seeds_of(4, 512) {
        let mut chain = Shop::of("layered-retries", seed, Plant::Nothing).on_a_loaded_machine();
        chain.run_until(Duration::from_secs(36));
        let told = check(&chain, chain.elapsed(), WITHIN_LOADED, "open");
        assert!(told.is_ok(), "FUSEBOX_SEED={seed}: {}", told.unwrap_err());
    }
}

/// Scenario: in the middle of it, nobody comes any more.
/// Guarantees: the factors stay what they were, though the last repetitions are of requests that
/// came before: 6 s later, and when all has been quiet and the incident is over.
#[test]
fn the_end_of_all_demand_changes_no_factor() {
    for seed in seeds_of(8, 512) {
        let closing = Duration::from_secs(34);
        let mut chain = Shop::of("layered-retries", seed, Plant::Nothing).closing_at(closing);
        for (seconds, state) in [(40, "open"), (60, "resolved")] {
            chain.run_until(Duration::from_secs(seconds));
            let told = check(&chain, closing, WITHIN, state);
            assert!(told.is_ok(), "FUSEBOX_SEED={seed}: {}", told.unwrap_err());
        }
    }
}

/// Scenario: proxies that take every repetition for one of their own application.
/// Guarantees: the simulation finds it: it can fail.
#[test]
fn repetitions_from_above_are_not_own() {
    assert!((1..=4).any(|seed| live(seed, Plant::AllRepetitionsAreOwn).is_err()));
}
