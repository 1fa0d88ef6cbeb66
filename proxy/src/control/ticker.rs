//! Windows and timers: closes the window of every edge at each full second, and lets leases end
//! and ramps step when their time has come.

use super::endpoints;
use crate::proxy::Proxy;
use crate::report_log::Window;
use crate::totals::Totals;
use fusebox_proto::Now;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The length of a window.
const WINDOW: Duration = Duration::from_secs(1);
/// A window shorter than this is made part of the next: the wall clock, by which windows are
/// aligned, may be set at any time.
const WINDOW_MIN: Duration = Duration::from_millis(500);

/// Closes windows until `closing`, and then the last one.
pub(super) async fn run(proxy: Arc<Proxy>, totals: Arc<Mutex<Totals>>, closing: CancellationToken) {
    let mut window_end = next_second(Now::read());
    // A hello may tell of them, or was said before they changed.
    let mut endpoints_told = 0;
    loop {
        let wake = proxy.next_timeout().map_or(window_end, |timeout| timeout.min(window_end));
        let is_last = tokio::select! {
            () = tokio::time::sleep_until(wake.into()) => false,
            () = proxy.timers.notified() => false,
            () = closing.cancelled() => true,
        };
        let now = Now::read();
        proxy.handle_timeouts(now);
        if is_last || window_end <= now.instant {
            let window = gather(&proxy, now, &mut endpoints_told);
            report(&proxy, &totals, now, window);
            proxy.pools().iter().for_each(|pool| pool.sweep(now.instant));
            window_end = next_second(now);
        }
        if is_last {
            return;
        }
    }
}

fn report(proxy: &Proxy, totals: &Mutex<Totals>, now: Now, window: Window) {
    let mut reports = proxy.reports.lock();
    let report = reports.close_window(now, window);
    totals.lock().add(report);
    let (boot, number) = (report.boot, report.number);
    if proxy.config.collector.is_some() {
        proxy.has_report.notify_one();
    } else {
        // Nobody will ever take it, so nothing is lost.
        reports.acknowledged(boot, number);
    }
}

/// The next full second of the wall clock, so that the windows of all proxies lie together.
fn next_second(now: Now) -> Instant {
    let rest = WINDOW.saturating_sub(Duration::from_millis(now.unix_ms % 1_000));
    now.instant + if rest < WINDOW_MIN { rest + WINDOW } else { rest }
}

fn gather(proxy: &Proxy, now: Now, endpoints_told: &mut u64) -> Window {
    let draining = proxy.drain.is_draining();
    let troubles = proxy.troubles();
    let mut window = Window { dropped: proxy.dropped(), draining, troubles, ..Window::default() };
    let endpoints = proxy.leads_to();
    if std::mem::replace(endpoints_told, endpoints.revision) != endpoints.revision {
        window.endpoints = Some(endpoints.clone());
    }
    drop(endpoints);
    let over = proxy.edges_over(now);
    for edge in &proxy.edges() {
        let pending = proxy.pending(edge);
        let mut closed = edge.core.lock().close_window(now, pending);
        window.edges.append(&mut closed.edges);
        window.breakers.append(&mut closed.breakers);
        window.transitions.append(&mut closed.transitions);
    }
    endpoints::gather(proxy, now, &mut window);
    proxy.forget_edges(&over);
    window.inbound.extend(proxy.inbound_core.lock().close_window());
    window
}
