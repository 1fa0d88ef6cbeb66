//! What a watch finds, look by look.

use super::*;
use crate::connection::limits::DEADLINES;

fn sweeps_until_found(watch: &Watch, between: impl Fn(&Watch)) -> (u32, Finding) {
    for sweep in 1..=2_000 {
        between(watch);
        match watch.sweep() {
            Finding::Alive => (),
            found => return (sweep, found),
        }
    }
    (2_000, Finding::Alive)
}

/// Scenario: connections after a request: idle; with half a request behind it; with an answer
/// that nobody reads; of HTTP/2.
/// Guarantees: only the first is put to sleep, after a look without movement.
#[test]
fn only_what_is_idle_sleeps() {
    let after = |bytes: &[u8]| {
        let watch = Arc::new(Watch::new(DEADLINES, Arc::default()));
        watch.has_read(bytes);
        drop(Watch::busy(&watch));
        watch
    };
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let (start, end) = request.split_at(request.len() - 3);
    let idle = Arc::new(Watch::new(DEADLINES, Arc::default()));
    idle.has_read(start);
    idle.has_read(end);
    drop(Watch::busy(&idle));
    assert_eq!(idle.sweep(), Finding::Alive);
    assert_eq!(idle.sweep(), Finding::Asleep);
    assert!(idle.take_asleep().is_none() && !idle.is_asleep.load(Relaxed));

    let unused = (DEADLINES.unused_sweeps_max + 1, Finding::Unused);
    let half = after(&[&request[..], b"GET /b"].concat());
    assert_eq!(sweeps_until_found(&half, |_| ()), unused);
    let unread = after(request);
    unread.is_blocked.store(true, Relaxed);
    assert_eq!(sweeps_until_found(&unread, |_| ()), unused);
    let http2 = after(request);
    http2.speaks_http2();
    assert_eq!(sweeps_until_found(&http2, |_| ()), unused);
}

/// Scenario: connections that never say a word, drip a head, sit idle, hang, ping.
/// Guarantees: each is cut in its own time and way, and one that works never is.
#[test]
fn what_only_costs_is_cut() {
    let silent = Watch::new(DEADLINES, Arc::default());
    assert_eq!(sweeps_until_found(&silent, |_| ()), (DEADLINES.head_sweeps_max, Finding::Stuck));

    let drips = |watch: &Watch| watch.has_read(b"X");
    let dripping = Watch::new(DEADLINES, Arc::default());
    assert_eq!(sweeps_until_found(&dripping, drips), (DEADLINES.head_sweeps_max, Finding::Stuck));

    let used = Arc::new(Watch::new(DEADLINES, Arc::default()));
    used.has_read(b"GET / HTTP/1.1");
    let busy = Watch::busy(&used);
    assert_eq!(sweeps_until_found(&used, drips), (2_000, Finding::Alive));
    let late = (DEADLINES.stuck_sweeps_max, Finding::Late);
    assert_eq!(sweeps_until_found(&used, |_| ()), late);
    let over = (DEADLINES.head_sweeps_max, Finding::Stuck);
    assert_eq!(sweeps_until_found(&used, drips), over);
    used.is_late.store(false, Relaxed);
    used.head_sweeps.store(0, Relaxed);
    drop(busy);
    used.has_moved.store(true, Relaxed);
    let (sweeps, found) = sweeps_until_found(&used, |_| ());
    assert_eq!((sweeps, found), (DEADLINES.unused_sweeps_max + 1, Finding::Unused));
    used.has_read(b"GET");
    assert_eq!(sweeps_until_found(&used, drips), (DEADLINES.head_sweeps_max, Finding::Stuck));

    let pinging = Watch::new(DEADLINES, Arc::default());
    pinging.speaks_http2();
    assert_eq!(sweeps_until_found(&pinging, drips), (2_000, Finding::Alive));
    let pinging = Arc::new(pinging);
    let _busy = Watch::busy(&pinging);
    let stuck = (DEADLINES.stuck_sweeps_max, Finding::Stuck);
    assert_eq!(sweeps_until_found(&pinging, |_| ()), stuck);
}
