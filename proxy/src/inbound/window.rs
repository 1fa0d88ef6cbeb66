//! The counters of inbound traffic.

use crate::edge::Outcome;
use fusebox_proto::Latency;
use fusebox_proto::report::InboundWindow;

/// What the application was asked and how it answered, in the open window. Pure.
#[derive(Debug, Default)]
pub(crate) struct InboundCore {
    requests: u64,
    failures: u64,
    cancelled: u64,
    in_flight: u64,
    latency: Latency,
}

impl InboundCore {
    /// A request goes to the application.
    pub(crate) fn began(&mut self) {
        self.requests += 1;
        self.in_flight += 1;
    }

    /// It is over.
    pub(crate) fn ended(&mut self, outcome: Outcome, latency_us: u64) {
        self.switched(outcome, latency_us);
        self.closed();
    }

    /// It was answered with a tunnel, and stays in flight until that is [`closed`](Self::closed).
    pub(crate) fn switched(&mut self, outcome: Outcome, latency_us: u64) {
        match outcome {
            Outcome::Failure | Outcome::TimedOut => self.failures += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Success | Outcome::Ours => (),
        }
        self.latency.record_us(latency_us);
    }

    /// A tunnel is over.
    pub(crate) fn closed(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Ends the open window and begins the next; `None` where nothing happened in it.
    pub(crate) fn close_window(&mut self) -> Option<InboundWindow> {
        let was_quiet = self.requests == 0 && self.in_flight == 0 && self.latency.is_empty();
        let window = InboundWindow {
            route: String::new(),
            requests: std::mem::take(&mut self.requests),
            failures: std::mem::take(&mut self.failures),
            cancelled: std::mem::take(&mut self.cancelled),
            in_flight: self.in_flight,
            latency: std::mem::take(&mut self.latency),
        };
        (!was_quiet).then_some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: requests that end well, badly, and by their caller's patience, over two windows.
    /// Guarantees: starts count where they start, ends where they end; a quiet window is none.
    #[test]
    fn windows_count_starts_and_ends() {
        let mut core = InboundCore::default();
        assert_eq!(core.close_window(), None);
        for _ in 0..4 {
            core.began();
        }
        core.ended(Outcome::Success, 10);
        core.ended(Outcome::Failure, 20);
        core.ended(Outcome::Cancelled, 30);
        let window = core.close_window().unwrap();
        assert_eq!((window.requests, window.failures, window.cancelled), (4, 1, 1));
        assert_eq!((window.in_flight, window.latency.count()), (1, 3));
        core.ended(Outcome::Ours, 40);
        let window = core.close_window().unwrap();
        assert_eq!((window.requests, window.failures, window.latency.count()), (0, 0, 1));
        assert_eq!(core.close_window(), None);
    }
}
