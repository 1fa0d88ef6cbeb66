//! What is known of one endpoint, and what follows from one more answer.

use super::record::{Record, Shadow};
use super::{Counters, Detection, Detector, HostStatus, Outlier, What, is_enforced};
use crate::balance::EndpointId;
use fusebox_proto::policy::{Consecutive, OutlierDetection};
use std::time::Instant;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: EndpointId,
    pub(super) record: Record,
    pub(super) shadow: Shadow,
    errors: u32,
    gateway_errors: u32,
    local_failures: u32,
    /// By [`Origin`].
    tallies: [Tally; 2],
    /// Whether an overflow was told since the last sweep.
    has_overflowed: bool,
}

/// Where answers came from. Without `split_local_origin` all come from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    External,
    Local,
}

impl Origin {
    pub(super) const ALL: [Self; 2] = [Self::External, Self::Local];
}

/// Answers of the open interval and of the last whole one.
#[derive(Debug, Default)]
struct Tally {
    open: Counts,
    last: Counts,
}

/// Answers of one interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) total: u64,
    succeeded: u64,
}

impl Counts {
    const fn add(&mut self, has_succeeded: bool) {
        self.total += 1;
        self.succeeded += has_succeeded as u64;
    }

    /// Percent; `None`: no answers.
    pub(super) fn success_rate(self) -> Option<f64> {
        (self.total != 0).then(|| self.succeeded as f64 * 100.0 / self.total as f64)
    }
}

/// Whether a status that counts is an error: only 5xx is.
pub(super) const fn is_error(status: u16) -> bool {
    matches!(status, 500..=599)
}

impl Host {
    pub(super) fn new(id: EndpointId) -> Self {
        Self {
            id,
            record: Record::default(),
            shadow: Shadow::default(),
            errors: 0,
            gateway_errors: 0,
            local_failures: 0,
            tallies: Default::default(),
            has_overflowed: false,
        }
    }

    pub(super) const fn local_origin_succeeded(&mut self) {
        self.tallies[Origin::Local as usize].open.add(true);
        self.local_failures = 0;
    }

    /// Ends the open interval.
    pub(super) fn turn(&mut self) {
        for tally in &mut self.tallies {
            tally.last = std::mem::take(&mut tally.open);
        }
        self.has_overflowed = false;
    }

    /// Answers of the last whole interval.
    pub(super) const fn last(&self, origin: Origin) -> Counts {
        self.tallies[origin as usize].last
    }

    /// Once it is back, a few errors shall not eject it again because others were counted before.
    pub(super) const fn reset(&mut self) {
        (self.errors, self.gateway_errors, self.local_failures) = (0, 0, 0);
    }

    pub(super) fn status(&self, settings: &OutlierDetection) -> HostStatus {
        HostStatus {
            host: self.id,
            ejected: self.record.status(settings),
            shadowed: self.shadow.record.status(settings),
            shadow_cost: self.shadow.cost(),
            ejections: self.record.count,
            in_a_row: [self.errors, self.gateway_errors, self.local_failures],
            success_rates: Origin::ALL.map(|origin| self.last(origin).success_rate()),
        }
    }

    const fn in_a_row(&mut self, by: Detector) -> &mut u32 {
        match by {
            Detector::ConsecutiveGatewayErrors => &mut self.gateway_errors,
            Detector::ConsecutiveLocalOriginFailures => &mut self.local_failures,
            _ => &mut self.errors,
        }
    }
}

impl Outlier {
    /// Counts a status. Gateway errors are looked at first, as in Envoy.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        at: usize,
        status: u16,
        dice: &mut dyn FnMut() -> f64,
    ) {
        let host = &mut self.hosts[at];
        host.tallies[Origin::External as usize].open.add(!is_error(status));
        if !is_error(status) {
            (host.errors, host.gateway_errors) = (0, 0);
            return;
        }
        if matches!(status, 502..=504) {
            let rule = self.settings.consecutive_gateway_errors;
            self.one_more(now, at, Detector::ConsecutiveGatewayErrors, rule, dice);
        } else {
            host.gateway_errors = 0;
        }
        let rule = self.settings.consecutive_errors;
        self.one_more(now, at, Detector::ConsecutiveErrors, rule, dice);
    }

    pub(super) fn local_origin_failed(
        &mut self,
        now: Instant,
        at: usize,
        dice: &mut dyn FnMut() -> f64,
    ) {
        self.hosts[at].tallies[Origin::Local as usize].open.add(false);
        let rule = self.settings.consecutive_local_origin_failures;
        self.one_more(now, at, Detector::ConsecutiveLocalOriginFailures, rule, dice);
    }

    /// Counts one more in a row. At the threshold the count begins anew, also where nothing came
    /// of it; while the endpoint is out it only grows.
    fn one_more(
        &mut self,
        now: Instant,
        at: usize,
        by: Detector,
        rule: Option<Consecutive>,
        dice: &mut dyn FnMut() -> f64,
    ) {
        let host = &mut self.hosts[at];
        let count = host.in_a_row(by);
        *count = count.saturating_add(1);
        let measured = f64::from(*count);
        if let Some(Consecutive { threshold, enforcing_percent }) = rule
            && f64::from(threshold) <= measured
            && !host.record.is_running()
        {
            *host.in_a_row(by) = 0;
            let threshold = f64::from(threshold);
            let detection = Detection { by, measured, threshold };
            self.detected(now, at, detection, enforcing_percent, dice);
        }
    }

    /// Ejects, if enough endpoints are left and the dice say so.
    pub(super) fn detected(
        &mut self,
        now: Instant,
        at: usize,
        detection: Detection,
        enforcing_percent: u8,
        dice: &mut dyn FnMut() -> f64,
    ) {
        self.counters.detected[detection.by as usize] += 1;
        let Host { id, .. } = self.hosts[at];
        if self.hosts[at].record.is_running() {
            return; // Found a second time by the same sweep.
        }
        if !self.may_eject(self.counters.ejections_active) {
            return self.overflowed(now, at, detection);
        }
        let settings = &self.settings;
        if is_enforced(enforcing_percent, dice) {
            let host = &mut self.hosts[at];
            host.shadow.record.abort();
            self.counters.shadow_cost.add(host.shadow.take_cost());
            let until = host.record.begin(now, detection, settings, dice);
            self.counters.enforced[detection.by as usize] += 1;
            self.count_active();
            return self.tell(now, id, What::Ejected { detection, until });
        }
        let Counters { ejections_active, shadows_active, .. } = self.counters;
        if self.hosts[at].shadow.record.is_running() {
            return; // Imagined as out already.
        }
        if !self.may_eject(ejections_active + shadows_active) {
            return self.overflowed(now, at, detection);
        }
        let until = self.hosts[at].shadow.record.begin(now, detection, settings, dice);
        self.count_active();
        self.tell(now, id, What::Shadowed { detection, until });
    }

    /// Whether one more may be out when `active` are.
    fn may_eject(&self, active: u64) -> bool {
        let max = f64::from(self.settings.ejection_percent_max.min(100));
        let share = 100.0 * (active + 1) as f64 / self.hosts.len() as f64;
        share <= max || (self.settings.always_eject_one && active == 0)
    }

    fn overflowed(&mut self, now: Instant, at: usize, detection: Detection) {
        self.counters.ejections_overflow += 1;
        let host = &mut self.hosts[at];
        let id = host.id;
        if !std::mem::replace(&mut host.has_overflowed, true) {
            self.tell(now, id, What::Overflowed { detection });
        }
    }
}
