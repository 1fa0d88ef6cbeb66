//! The physics of the storms, in virtual time: the demo's own queue, client library, fault script
//! and measure, without sockets. What a scenario claims must be true of the model, whatever
//! Fusebox does about it.

mod world;

use fusebox_demo::catalogue;
use fusebox_demo::plan::Plan;
use std::time::Duration;
use world::{Action, World};

const SEEDS: u64 = 12;

fn plan(name: &str, seed: u64) -> Plan {
    Plan::new(catalogue::find(name).expect("a built-in scenario"), seed)
}

/// Runs `name` for `duration_s`, with `action` from `after_s` after the first failure on.
fn run(name: &str, seed: u64, duration_s: u64, action: Option<(Action, u64)>) -> World {
    let mut world = World::new(plan(name, seed), seed);
    if let Some((action, after_s)) = action {
        world.act(action, Duration::from_secs(after_s));
    }
    world.run(Duration::from_secs(duration_s));
    world
}

/// Goodput at the end as a share of that before the fault.
fn kept(world: &World) -> f64 {
    let truth = world.truth();
    let before = truth.before().expect("a fault");
    truth.after(world.now()).expect("longer than a stretch") / before
}

/// Scenario: the two storms with nobody acting, three minutes long, twelve seeds.
/// Guarantees: the trigger ends and goodput stays at nothing: the storm feeds itself.
#[test]
fn storms_sustain_themselves() {
    let check = |name: &str| {
        for seed in 1..=SEEDS {
            let world = run(name, seed, 180, None);
            assert!(kept(&world) < 0.05, "{name}, seed {seed}: {}", kept(&world));
            assert!(0.99 < world.success_before(), "{name}, seed {seed}: sick before the fault");
        }
    };
    check("retry-storm");
    check("metastable");
}

/// Scenario: the same, with an action some seconds after the first failure, in the length that the
/// contract gives the run.
/// Guarantees: muting lets the queue drain and goodput return while it lasts; opening empties the
/// queue, and what follows the lease is health, not the storm again.
#[test]
fn storms_end_by_an_action() {
    let check = |name: &str, duration_s, action, after_s| {
        for seed in 1..=SEEDS {
            let world = run(name, seed, duration_s, Some((action, after_s)));
            let kept = kept(&world);
            assert!(0.95 <= kept, "{name}, seed {seed}, {action:?} after {after_s} s: {kept}");
        }
    };
    let open = |ttl_s| Action::Open { ttl: Duration::from_secs(ttl_s) };
    check("retry-storm", 60, Action::Mute, 1);
    check("retry-storm", 60, Action::Mute, 10);
    check("retry-storm", 60, open(15), 3);
    check("metastable", 120, Action::Mute, 2);
    check("metastable", 120, Action::Mute, 60);
    check("metastable", 120, open(25), 30);
}

/// Scenario: a metastable storm opened for far less than its queue takes to drain.
/// Guarantees: it comes back: the length of a lease is not a matter of taste.
#[test]
fn a_lease_that_is_too_short_does_not_help() {
    let open = Action::Open { ttl: Duration::from_secs(3) };
    let world = run("metastable", 1, 120, Some((open, 30)));
    assert!(kept(&world) < 0.05, "{}", kept(&world));
}

/// Scenario: the surge, in which nobody repeats anything, twelve seeds.
/// Guarantees: it overloads, makes no repetition, and passes by itself.
#[test]
fn a_surge_passes_by_itself() {
    for seed in 1..=SEEDS {
        let world = run("surge", seed, 60, None);
        assert!(world.truth().failure_at().is_some(), "seed {seed}: nothing failed");
        assert!(0.95 <= kept(&world), "seed {seed}: {}", kept(&world));
        assert!((world.amplification() - 1.0).abs() < 1e-9, "seed {seed}");
    }
}

/// Scenario: the sustained part of the two storms.
/// Guarantees: amplification is what the client library's settings say: the figure that the
/// collector has to find.
#[test]
fn amplification_is_what_the_library_says() {
    let check = |name: &str, attempts: f64| {
        let mut world = World::new(plan(name, 1), 1);
        world.run(Duration::from_mins(1));
        world.forget_attempts();
        world.run(Duration::from_mins(2));
        let found = world.amplification();
        assert!((found - attempts).abs() < 0.1 * attempts, "{name}: {found}");
    };
    check("retry-storm", 10.0);
    check("metastable", 3.0);
}
