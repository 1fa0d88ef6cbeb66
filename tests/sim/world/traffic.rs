//! Applications call, attempts end, callers that hear no call again.

use super::{Happening, World};
use crate::sidecar::Sent;
use fusebox_proto::ServiceId;
use fusebox_proto::trace::TraceContext;
use fusebox_proxy::edge::Outcome;
use rand::RngExt as _;
use std::time::Duration;

/// On each edge a request begins so often.
const CALLS_APART: Duration = Duration::from_millis(250);

impl World {
    pub(super) fn arrivals(&mut self) {
        for proxy in 0..self.sidecars.len() {
            for destination in self.sidecars[proxy].destinations().to_vec() {
                self.trace += 1;
                let text = format!("00-{:032x}-{:016x}-00", self.trace, self.trace);
                let trace = TraceContext::parse(&text).expect("a valid context");
                let within = self.millis(0..240);
                self.after(within, Happening::Call { proxy, destination, trace, resends: 0 });
            }
        }
        if self.now.instant < self.traffic_until {
            self.after(CALLS_APART, Happening::Arrivals);
        }
    }

    pub(super) fn call(
        &mut self,
        proxy: usize,
        destination: &ServiceId,
        trace: TraceContext,
        resends: u32,
    ) -> Result<(), String> {
        let sent = self.sidecars[proxy].call(self.now, (destination, "/stock"), trace);
        let Sent::Forwarded(attempt) = sent.map_err(|e| format!("proxy {proxy}: {e}"))? else {
            self.maybe_retry(proxy, destination, Outcome::Ours, (trace, resends));
            return Ok(());
        };
        let outcome = match self.rng.random_range(0..10) {
            _ if !self.is_hostile => Outcome::Success,
            0..5 => Outcome::Success,
            5..8 => Outcome::Failure,
            _ => Outcome::Cancelled,
        };
        let took = self.millis(1..400);
        let call = (trace, resends);
        self.after(took, Happening::Answer { proxy, attempt, outcome, call });
        Ok(())
    }

    pub(super) fn maybe_retry(
        &mut self,
        proxy: usize,
        destination: &ServiceId,
        outcome: Outcome,
        (trace, resends): (TraceContext, u32),
    ) {
        if self.is_hostile && outcome != Outcome::Success && resends < 3 {
            let pause = self.millis(0..50);
            let destination = destination.clone();
            let resends = resends + 1;
            self.after(pause, Happening::Call { proxy, destination, trace, resends });
        }
    }
}
