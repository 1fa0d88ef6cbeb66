//! The sweep: ends of ejections, and what only shows beside other endpoints.

use super::host::{Host, Origin};
use super::{Detection, Detector, Outlier, Rates, What};
use fusebox_proto::policy::{FailurePercentage, SuccessRate};
use std::time::Instant;

/// An endpoint that had enough requests: its place, and its success rate in percent.
type Rated = (usize, f64);

impl Outlier {
    pub(super) fn sweep(&mut self, now: Instant, dice: &mut dyn FnMut() -> f64) {
        for at in 0..self.hosts.len() {
            self.end_ejections(now, at);
            self.hosts[at].turn();
        }
        self.count_active();
        for origin in Origin::ALL {
            self.compare(now, origin, dice);
        }
        for host in &mut self.hosts {
            host.record.decay(now, &self.settings);
            host.shadow.record.decay(now, &self.settings);
        }
    }

    fn end_ejections(&mut self, now: Instant, at: usize) {
        let host = &mut self.hosts[at];
        let id = host.id;
        let shadow = host.shadow.record.end(now, &self.settings);
        let cost = shadow.map(|_| host.shadow.take_cost());
        let lasted = host.record.end(now, &self.settings);
        if lasted.is_some() {
            host.reset();
        }
        if let Some(cost) = cost {
            self.counters.shadow_cost.add(cost);
            self.tell(now, id, What::Unshadowed { cost });
        }
        if let Some(lasted) = lasted {
            self.tell(now, id, What::Unejected { lasted });
        }
    }

    /// Judges the last interval of the endpoints that are in, by their answers of one origin.
    fn compare(&mut self, now: Instant, origin: Origin, dice: &mut dyn FnMut() -> f64) {
        // Both rules look at the endpoints as they are before either ejects one.
        let rules = (self.settings.success_rate, self.settings.failure_percentage);
        let by_rate = rules.0.map(|rule| (rule, self.rated(origin, rule.requests_min)));
        let by_share = rules.1.map(|rule| (rule, self.rated(origin, rule.requests_min)));
        self.rates[origin as usize] = None;
        if let Some((rule, rated)) = by_rate {
            self.judge_success_rates(now, origin, rule, &rated, dice);
        }
        if let Some((rule, rated)) = by_share {
            self.judge_failure_percentages(now, origin, rule, &rated, dice);
        }
    }

    fn rated(&self, origin: Origin, requests_min: u32) -> Vec<Rated> {
        let rated = |(at, host): (usize, &Host)| {
            let counts = host.last(origin);
            let is_enough = u64::from(requests_min) <= counts.total && !host.record.is_running();
            let rate = counts.success_rate()?;
            is_enough.then_some((at, rate))
        };
        self.hosts.iter().enumerate().filter_map(rated).collect()
    }

    fn judge_success_rates(
        &mut self,
        now: Instant,
        origin: Origin,
        rule: SuccessRate,
        rated: &[Rated],
        dice: &mut dyn FnMut() -> f64,
    ) {
        if rated.is_empty() || rated.len() < rule.endpoints_min as usize {
            return;
        }
        let (by, enforcing_percent) = match origin {
            Origin::External => (Detector::SuccessRate, rule.enforcing_percent),
            Origin::Local => {
                (Detector::SuccessRateLocalOrigin, rule.enforcing_local_origin_percent)
            }
        };
        let rates = Rates::of(rated, rule.stdev_factor_thousandths);
        self.rates[origin as usize] = Some(rates);
        for &(at, measured) in rated.iter().filter(|(_, rate)| *rate < rates.threshold) {
            let detection = Detection { by, measured, threshold: rates.threshold };
            self.detected(now, at, detection, enforcing_percent, dice);
        }
    }

    fn judge_failure_percentages(
        &mut self,
        now: Instant,
        origin: Origin,
        rule: FailurePercentage,
        rated: &[Rated],
        dice: &mut dyn FnMut() -> f64,
    ) {
        if rated.is_empty() || rated.len() < rule.endpoints_min as usize {
            return;
        }
        let (by, enforcing_percent) = match origin {
            Origin::External => (Detector::FailurePercentage, rule.enforcing_percent),
            Origin::Local => {
                (Detector::FailurePercentageLocalOrigin, rule.enforcing_local_origin_percent)
            }
        };
        let threshold = f64::from(rule.threshold_percent);
        for (at, measured) in rated.iter().map(|&(at, rate)| (at, 100.0 - rate)) {
            if threshold <= measured {
                let detection = Detection { by, measured, threshold };
                self.detected(now, at, detection, enforcing_percent, dice);
            }
        }
    }
}

impl Rates {
    /// Mean − factor × σ, with σ that of the whole population: of 50, 100, 100, 100, 100 the mean
    /// is 90, σ is 20, and with a factor of 1.9 the threshold is 52.
    fn of(rated: &[Rated], factor_thousandths: u32) -> Self {
        let count = rated.len() as f64;
        let mean = rated.iter().map(|(_, rate)| rate).sum::<f64>() / count;
        let variance = rated.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
        let factor = f64::from(factor_thousandths) / 1_000.0;
        Self { mean, threshold: mean - factor * variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: the example in Envoy's source, and populations without spread or of one.
    /// Guarantees: σ is the population's; where all are alike nobody is below the threshold.
    #[test]
    fn the_threshold_is_envoys() {
        let check = |rates: &[f64], factor, mean, threshold| {
            let rated: Vec<Rated> = rates.iter().copied().enumerate().collect();
            assert_eq!(Rates::of(&rated, factor), Rates { mean, threshold }, "{rates:?}");
        };
        check(&[50.0, 100.0, 100.0, 100.0, 100.0], 1_900, 90.0, 52.0);
        check(&[50.0, 100.0, 100.0, 100.0, 100.0], 1_000, 90.0, 70.0);
        check(&[50.0, 100.0, 100.0, 100.0, 100.0], 0, 90.0, 90.0);
        check(&[75.0; 5], 1_900, 75.0, 75.0);
        check(&[30.0], 1_900, 30.0, 30.0);
        check(&[0.0, 100.0], 1_900, 50.0, -45.0);
    }
}
