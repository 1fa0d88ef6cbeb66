//! Proxies, collector and console in one virtual world, by seeds.
//!
//! `FUSEBOX_SEED=17 cargo test --test sim` replays one life. 96 seeds run in plain `cargo test`, 4,096
//! under `FUSEBOX_LONG=1`.

mod accuracy;
mod book;
mod console;
mod layers;
mod net;
mod operator;
mod shop;
mod sidecar;
mod truth;
mod twin;
mod world;

use world::World;

/// A bug that is planted to see that the simulation would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The code as it is.
    Nothing,
    /// Safety: a proxy takes an older command over a newer one.
    OldCommandsWin,
    /// Liveness: a lease does not end.
    LeasesNeverEnd,
    /// The console takes an answer for that to another request.
    AnswersAreMixedUp,
    /// A proxy takes what is asked of its application again for a repetition of its application.
    AllRepetitionsAreOwn,
}

/// Seeds in plain `cargo test`: enough to find each planted bug.
const SHORT: u64 = 96;

fn seeds() -> std::ops::RangeInclusive<u64> {
    seeds_of(SHORT, 4_096)
}

/// So many seeds in plain `cargo test`, and under `FUSEBOX_LONG=1`.
fn seeds_of(short: u64, long: u64) -> std::ops::RangeInclusive<u64> {
    if let Some(seed) = std::env::var("FUSEBOX_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed..=seed;
    }
    let is_long = fusebox_tests::is_asked_for("FUSEBOX_LONG");
    1..=if is_long { long } else { short }
}

/// Scenario: half a minute of traffic, keys, trips, resets, cut streams and crashes, by many seeds;
/// then the network heals and callers leave; someone ends all leases at the console, or they run out
/// with nobody there, not even a collector; and traffic flows again.
/// Guarantees: nothing passes an open circuit and nothing is refused without a lease. Nobody is told
/// of more proxies than did it, neither in an answer nor on the screen; what is asked is shown as
/// asked, what is held is not shown as closed, and no key acts on another edge than the one named.
/// In the end all circuits are closed, also on the screen, all streams open, all questions answered,
/// and every attempt is in the books once.
#[test]
fn a_mesh_survives_its_network() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for seed in seeds().skip(first).step_by(threads) {
                    let life = World::new(seed, Plant::Nothing).live();
                    assert!(life.is_ok(), "FUSEBOX_SEED={seed}: {}", life.unwrap_err());
                }
            });
        }
    });
}

/// Scenario: one seed, twice.
/// Guarantees: the same life to the letter: one number reproduces a failure.
#[test]
fn a_seed_replays_to_the_letter() {
    for seed in [1, 2, 3] {
        let life = || World::new(seed, Plant::Nothing).live();
        assert_eq!(life(), life(), "FUSEBOX_SEED={seed}");
    }
}

#[track_caller]
fn check_is_found(plant: Plant) {
    let lives = (1..=SHORT).map(|seed| World::new(seed, plant).live());
    assert!(
        lives.into_iter().any(|life| life.is_err()),
        "{plant:?} was not found in {SHORT} lives"
    );
}

/// Scenario: a proxy that takes old commands over new ones.
/// Guarantees: the simulation finds it: it can fail.
#[test]
fn a_planted_safety_bug_is_found() {
    check_is_found(Plant::OldCommandsWin);
}

/// Scenario: leases that do not end.
/// Guarantees: the liveness phase finds it: it can fail.
#[test]
fn a_planted_liveness_bug_is_found() {
    check_is_found(Plant::LeasesNeverEnd);
}

/// Scenario: a console that takes an answer for that to another request.
/// Guarantees: what the screen says is held against what proxies did: it can fail.
#[test]
fn a_planted_bug_of_the_console_is_found() {
    check_is_found(Plant::AnswersAreMixedUp);
}
