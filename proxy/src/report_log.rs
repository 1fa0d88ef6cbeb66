//! The reports that the collector has not acknowledged yet.
//!
//! A report has a number of its own within a boot, so that a collector recognises one that was sent
//! twice: after each connection everything that is not acknowledged is sent again, and only an
//! acknowledgement makes a proxy forget. While no collector listens, the newest half minute stays.

use fusebox_proto::Now;
use fusebox_proto::report::{
    BreakerStatus, Dropped, EDGES_MAX, EdgeWindow, Endpoints, InboundWindow, Report,
    TRANSITIONS_MAX, TROUBLES_MAX, Transition,
};
use std::collections::VecDeque;

/// Reports kept while no collector listens: half a minute of windows, which bridges a restart of
/// the collector. A busy edge has 27 KiB in a report, three times as much while requests are repeated on
/// it: an hour would not be light.
pub const REPORTS_MAX: usize = 30;

/// What happened in one window, gathered from all edges and listeners.
#[derive(Debug, Default)]
pub struct Window {
    /// Of all edges.
    pub edges: Vec<EdgeWindow>,
    /// Of all listeners.
    pub inbound: Vec<InboundWindow>,
    /// Breakers that are not closed or changed.
    pub breakers: Vec<BreakerStatus>,
    /// Changes of breakers, in order.
    pub transitions: Vec<Transition>,
    /// What was dropped elsewhere since the process began; the log adds its own.
    pub dropped: Dropped,
    /// The proxy is on its way to its end.
    pub draining: bool,
    /// Where calls go, if that has changed.
    pub endpoints: Option<Endpoints>,
    /// What cannot be done that should be, as long as it cannot.
    pub troubles: Vec<String>,
}

/// The unacknowledged reports of one life of a proxy.
#[derive(Debug)]
pub struct ReportLog {
    boot: u64,
    /// Of the next report.
    number: u64,
    /// When the open window began.
    start: Now,
    /// Consecutive numbers, oldest first.
    reports: VecDeque<Report>,
    /// How many of them were sent on the present connection.
    sent: usize,
    reports_dropped: u64,
    transitions_dropped: u64,
}

impl ReportLog {
    /// An empty log; the first window begins `now`. `boot` is higher than that of the process's
    /// last life.
    pub const fn new(now: Now, boot: u64) -> Self {
        Self {
            boot,
            number: 1,
            start: now,
            reports: VecDeque::new(),
            sent: 0,
            reports_dropped: 0,
            transitions_dropped: 0,
        }
    }

    /// Number of this life of the process.
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// Ends the open window with what happened in it, and begins the next. Returns the report.
    pub fn close_window(&mut self, now: Now, mut window: Window) -> &Report {
        window.edges.truncate(EDGES_MAX);
        window.breakers.truncate(EDGES_MAX);
        window.troubles.truncate(TROUBLES_MAX);
        let surplus = window.transitions.len().saturating_sub(TRANSITIONS_MAX);
        window.transitions.drain(..surplus);
        self.transitions_dropped += surplus as u64;
        if self.reports.len() == REPORTS_MAX {
            self.reports.pop_front();
            self.reports_dropped += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        let duration = now.instant.saturating_duration_since(self.start.instant);
        self.reports.push_back(Report {
            boot: self.boot,
            number: self.number,
            start_unix_ms: self.start.unix_ms,
            duration_ms: u32::try_from(duration.as_millis()).unwrap_or(u32::MAX),
            edges: window.edges,
            inbound: window.inbound,
            breakers: window.breakers,
            transitions: window.transitions,
            dropped: Dropped {
                reports: window.dropped.reports + self.reports_dropped,
                transitions: window.dropped.transitions + self.transitions_dropped,
                ..window.dropped
            },
            draining: window.draining,
            endpoints: window.endpoints,
            troubles: window.troubles,
        });
        self.number += 1;
        self.start = now;
        self.check_invariants();
        self.reports.back().expect("it was just added")
    }

    /// A connection was made: everything that is not acknowledged is to be sent again.
    pub const fn connected(&mut self) {
        self.sent = 0;
    }

    /// The next report to send on the present connection.
    pub fn next_report(&mut self) -> Option<&Report> {
        let report = self.reports.get(self.sent)?;
        self.sent += 1;
        Some(report)
    }

    /// The collector has taken all reports of `boot` up to `number`. An acknowledgement of another
    /// life says nothing about this one.
    pub fn acknowledged(&mut self, boot: u64, number: u64) {
        if boot != self.boot {
            return;
        }
        while self.reports.front().is_some_and(|report| report.number <= number) {
            self.reports.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        self.check_invariants();
    }

    /// Reports that wait for an acknowledgement.
    pub fn pending(&self) -> usize {
        self.reports.len()
    }

    /// Reports that were dropped because no collector took them.
    pub const fn dropped(&self) -> u64 {
        self.reports_dropped
    }

    fn check_invariants(&self) {
        debug_assert!(self.reports.len() <= REPORTS_MAX);
        debug_assert!(self.sent <= self.reports.len());
        let first = self.number - self.reports.len() as u64;
        debug_assert!((first..).zip(&self.reports).all(|(n, report)| report.number == n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::ServiceId;
    use fusebox_proto::command::BreakerState;
    use fusebox_proto::report::Cause;
    use std::time::Duration;

    const BOOT: u64 = 7;

    /// Runs a script against a fresh log and returns what was sent: `w` a window ends, `s` all that
    /// is due is sent, `d` one report is due and sent, `c` a connection is made, a digit: that
    /// number is acknowledged, `o` all numbers of another boot are.
    fn run(script: &str) -> String {
        let (mut now, mut log) = (Now::read(), ReportLog::new(Now::read(), BOOT));
        let mut sent: Vec<String> = Vec::new();
        for event in script.chars() {
            match event {
                'w' => {
                    now = now.plus(Duration::from_secs(1));
                    log.close_window(now, Window::default());
                }
                's' => {
                    while let Some(report) = log.next_report() {
                        sent.push(report.number.to_string());
                    }
                }
                'd' => sent
                    .push(log.next_report().map_or("-".into(), |report| report.number.to_string())),
                'c' => log.connected(),
                'o' => log.acknowledged(BOOT - 1, u64::MAX),
                number => log.acknowledged(BOOT, number.to_digit(10).unwrap().into()),
            }
        }
        sent.join(" ")
    }

    /// Scenario: reports are sent, acknowledged or not, and connections are lost.
    /// Guarantees: each is sent once a connection and again until acknowledged, in order; an
    /// acknowledgement of another life, of the past or of the future does no harm.
    #[test]
    fn reports_are_sent_until_acknowledged() {
        let check = |script: &str, expected: &str| assert_eq!(run(script), expected, "{script}");
        check("cs", "");
        check("cwsws", "1 2");
        check("cwwwd1d3d", "1 2 -");
        check("cwws1cs", "1 2 2");
        check("cwws2cs", "1 2");
        check("cwws2ws", "1 2 3");
        check("cwwsocs", "1 2 1 2");
        check("wwcd2ws", "1 3");
        check("wwc9cws", "3");
        check("cwws21cws", "1 2 3");
    }

    /// Scenario: no collector for ten minutes.
    /// Guarantees: the newest reports stay, the others are counted in each report after.
    #[test]
    fn the_oldest_are_dropped_and_counted() {
        let mut log = ReportLog::new(Now::read(), BOOT);
        for _ in 0..600 {
            log.close_window(Now::read(), Window::default());
        }
        assert_eq!((log.pending(), log.dropped()), (REPORTS_MAX, 600 - REPORTS_MAX as u64));
        log.connected();
        let mut reports = Vec::new();
        while let Some(report) = log.next_report() {
            reports.push((report.number, report.dropped.reports));
        }
        assert_eq!(reports.first(), Some(&(571, 541)));
        assert_eq!(reports.last(), Some(&(600, 570)));
    }

    /// Scenario: windows of uneven length, on a machine that was busy.
    /// Guarantees: they follow each other without a gap, each with its own length.
    #[test]
    fn windows_have_no_gaps() {
        let start = Now::read();
        let (mut now, mut log) = (start, ReportLog::new(start, BOOT));
        for ms in [1_000, 1_700, 400] {
            now = now.plus(Duration::from_millis(ms));
            log.close_window(now, Window::default());
        }
        let mut windows = Vec::new();
        while let Some(report) = log.next_report() {
            windows.push((report.start_unix_ms - start.unix_ms, report.duration_ms));
        }
        assert_eq!(windows, [(0, 1_000), (1_000, 1_700), (2_700, 400)]);
    }

    /// Scenario: breakers change a thousand times in a second.
    /// Guarantees: the newest changes are told, the others counted.
    #[test]
    fn transitions_are_bounded() {
        let mut log = ReportLog::new(Now::read(), BOOT);
        let transition = |revision| Transition {
            destination: ServiceId::named("inventory").unwrap(),
            from: BreakerState::Closed,
            to: BreakerState::ForcedOpen,
            cause: Cause::Operator,
            revision,
            at_unix_ms: 0,
            endpoint: String::new(),
            shadow: false,
        };
        let transitions = (1..=1_000).map(transition).collect();
        log.close_window(Now::read(), Window { transitions, ..Window::default() });
        let report = log.next_report().unwrap();
        assert_eq!(report.transitions.len(), TRANSITIONS_MAX);
        assert_eq!(report.transitions.last().unwrap().revision, 1_000);
        assert_eq!(report.dropped.transitions, 1_000 - TRANSITIONS_MAX as u64);
    }
}
