//! Random lives, judged by what must hold in all of them.

use super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::env;

/// A life with what its events told.
struct World {
    life: Outlier,
    start: Instant,
    now: Instant,
    rng: StdRng,
    ids: Vec<EndpointId>,
    settings: OutlierDetection,
    /// Who is out, and until when at least.
    out: BTreeMap<EndpointId, Instant>,
    /// Who would be out.
    shadowed: BTreeMap<EndpointId, Instant>,
    log: Vec<String>,
}

fn settings(rng: &mut StdRng) -> OutlierDetection {
    let mut percent = || *[0, 30, 100, 100].choose(rng).unwrap();
    let success_rate = SuccessRate {
        endpoints_min: 2,
        requests_min: 5,
        stdev_factor_thousandths: 500,
        enforcing_percent: percent(),
        enforcing_local_origin_percent: percent(),
    };
    let failure_percentage = FailurePercentage {
        threshold_percent: 60,
        endpoints_min: 1,
        requests_min: 5,
        enforcing_percent: percent(),
        enforcing_local_origin_percent: percent(),
    };
    OutlierDetection {
        interval: Duration::from_millis(rng.random_range(1..5_000)),
        ejection_time_base: Duration::from_millis(rng.random_range(0..20_000)),
        ejection_time_max: Duration::from_millis(rng.random_range(0..60_000)),
        ejection_time_jitter_max: Duration::from_millis(rng.random_range(0..2_000)),
        ejection_percent_max: rng.random_range(0..=100),
        always_eject_one: rng.random(),
        split_local_origin: rng.random(),
        consecutive_errors: Some(in_a_row(rng.random_range(1..6), 100)),
        consecutive_gateway_errors: Some(in_a_row(
            rng.random_range(1..6),
            rng.random_range(0..=100),
        )),
        consecutive_local_origin_failures: Some(in_a_row(3, rng.random_range(0..=100))),
        success_rate: rng.random::<bool>().then_some(success_rate),
        failure_percentage: rng.random::<bool>().then_some(failure_percentage),
        ..nothing()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (now, settings) = (Now::read().instant, settings(&mut rng));
        let mut world = Self {
            life: Outlier::new(now, settings.clone()),
            start: now,
            now,
            rng,
            ids: Vec::new(),
            settings,
            out: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            log: Vec::new(),
        };
        world.change_hosts();
        world
    }

    fn change_hosts(&mut self) {
        let (first, count) = (self.rng.random_range(0..8), self.rng.random_range(0..8));
        self.ids = (first..first + count).map(EndpointId).collect();
        self.life.set_hosts(&self.ids);
        self.out.retain(|id, _| self.ids.contains(id));
        self.shadowed.retain(|id, _| self.ids.contains(id));
    }

    fn observe(&mut self) {
        let host = EndpointId(self.rng.random_range(0..16));
        // Endpoints differ: the higher the number, the worse.
        let observed = match self.rng.random_range(0..6 + host.0) {
            0..6 => Observed::Answered(200),
            6 => Observed::TimedOut,
            7 => Observed::Broken,
            8..11 => Observed::Answered(503),
            _ => Observed::Answered(500),
        };
        if self.rng.random() {
            self.life.connected(host);
        }
        let (now, rng) = (self.now, &mut self.rng);
        self.life.observed(now, host, now, observed, || rng.random());
        self.judge();
    }

    /// Looks at what happened: that it was allowed, and that the states say the same.
    fn judge(&mut self) {
        for event in self.life.take_events().collect::<Vec<_>>() {
            let host = event.host;
            let kind = std::mem::discriminant(&event.what);
            self.log.push(format!("{:?} {host:?} {kind:?}", event.at - self.start));
            let max = f64::from(self.settings.ejection_percent_max);
            let is_allowed = |active: usize| {
                100.0 * (active as f64 + 1.0) <= max * self.ids.len() as f64
                    || (self.settings.always_eject_one && active == 0)
            };
            match event.what {
                What::Ejected { until, .. } => {
                    assert!(is_allowed(self.out.len()), "no more than allowed");
                    self.shadowed.remove(&host);
                    assert!(self.out.insert(host, until).is_none(), "{host:?} twice");
                }
                What::Unejected { .. } => {
                    assert!(self.out.remove(&host).is_some_and(|until| until <= self.now));
                }
                What::Shadowed { until, .. } => {
                    assert!(is_allowed(self.out.len() + self.shadowed.len()));
                    assert!(
                        self.shadowed.insert(host, until).is_none()
                            && !self.out.contains_key(&host)
                    );
                }
                What::Unshadowed { .. } => {
                    assert!(self.shadowed.remove(&host).is_some_and(|until| until <= self.now));
                }
                What::Overflowed { .. } => {
                    assert!(!is_allowed(self.out.len() + self.shadowed.len()));
                }
            }
        }
        for status in self.life.status() {
            assert_eq!(status.ejected.is_some(), self.out.contains_key(&status.host));
            assert_eq!(status.shadowed.is_some(), self.shadowed.contains_key(&status.host));
        }
        let Counters { ejections_active, shadows_active, .. } = self.life.counters();
        let counted = (ejections_active as usize, shadows_active as usize);
        assert_eq!(counted, (self.out.len(), self.shadowed.len()));
        assert_eq!(self.life.healthy(), (self.ids.len() - self.out.len(), self.ids.len()));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let (now, rng) = (self.now, &mut self.rng);
        self.life.handle_timeout(now, || rng.random());
        assert!(self.now < self.life.poll_timeout());
        self.judge();
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..90 => self.observe(),
            90..97 => {
                let time = Duration::from_millis(self.rng.random_range(0..4_000));
                self.pass(time);
            }
            97 | 98 => self.change_hosts(),
            _ => {
                // Ejections last as the settings of the end say, so their times stay as they are.
                let OutlierDetection { ejection_time_base, ejection_time_max, .. } = self.settings;
                let new = settings(&mut self.rng);
                self.settings = OutlierDetection { ejection_time_base, ejection_time_max, ..new };
                self.life.set_settings(self.now, self.settings.clone());
            }
        }
    }
}

fn simulate(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..1_500 {
        world.step();
    }
    // Liveness: no more traffic. Whoever is out comes back, and every count is forgiven.
    let sweeps = 200 + world.settings.ejection_time_max.as_millis() as u64 / 1_000;
    for _ in 0..sweeps {
        world.pass(Duration::from_secs(5));
    }
    assert!(world.out.is_empty() && world.shadowed.is_empty(), "all are back: {:?}", world.out);
    world.log
}

/// Scenario: 128 lives of a detection, each of random settings, answers, changes and sweeps from a
/// seed, then silence.
/// Guarantees: never more endpoints are ejected than are allowed at that moment; nobody is ejected
/// twice or comes back too early; states, counts and events say the same; everybody comes back; and
/// a seed replays to the letter.
#[test]
fn a_detection_keeps_its_promises() {
    let seeds = match env::var("FUSEBOX_SEED") {
        Ok(seed) => vec![seed.parse().expect("FUSEBOX_SEED is a number")],
        Err(_) => (1..=128).collect::<Vec<u64>>(),
    };
    let mut events = 0;
    for seed in seeds {
        let life = std::panic::catch_unwind(|| simulate(seed));
        let Ok(life) = life else { panic!("seed {seed}: FUSEBOX_SEED={seed} replays it") };
        assert!(life == simulate(seed), "seed {seed} does not replay");
        events += life.len();
    }
    assert!(0 < events, "something happened");
}
