//! The control thread: windows, timers, the link to the collector, spans, the admin port.
//!
//! The data path never waits for anything here.

mod dns;
mod endpoints;
mod link;
mod ticker;

pub(crate) use link::hello;

use crate::access_log;
use crate::admin::{self, Admin};
use crate::policy;
use crate::proxy::Proxy;
use crate::spans::{encode, export};
use crate::takeover::{self, Estate};
use crate::totals::Totals;
use parking_lot::Mutex;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long telling the collector what is left may take at the end, beside the grace period of
/// requests and never longer than that.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Runs until `closing`, then tells the collector what is left, within `grace`, which is set by
/// then.
pub(crate) async fn run(
    proxy: Arc<Proxy>,
    admin: TcpListener,
    successors: Option<(UnixListener, Estate)>,
    closing: CancellationToken,
    grace: Arc<OnceLock<Duration>>,
) {
    let totals: Arc<Mutex<Totals>> = Arc::default();
    let (gathered, mut ends) = (CancellationToken::new(), JoinSet::new());
    let pages = Admin { proxy: Arc::clone(&proxy), totals: Arc::clone(&totals) };
    ends.spawn(admin::run(admin, pages, closing.clone()));
    let mut ticker = tokio::spawn(ticker::run(Arc::clone(&proxy), totals, closing.clone()));
    if let Some((door, estate)) = successors {
        let waiting = takeover::run(Arc::clone(&proxy), door, estate);
        let closing = closing.clone();
        ends.spawn(async move {
            waiting.await;
            closing.cancelled().await;
        });
    }
    if let Some(directory) = proxy.config.state_dir.clone() {
        ends.spawn(policy::keep(
            directory,
            proxy.to_keep.subscribe(),
            Arc::clone(&proxy.unkept),
            gathered.clone(),
        ));
    }
    ends.spawn(dns::run(Arc::clone(&proxy), closing.clone()));
    if let Some(ingress) = proxy.ingress.clone() {
        let closing = closing.clone();
        ends.spawn(async move { ingress.run(closing).await });
    }
    if let Some(log) = &proxy.common.log {
        ends.spawn(access_log::write::run(Arc::clone(log), gathered.clone()));
    }
    if let Some(url) = proxy.config.collector.clone() {
        let (tell, address) = watch::channel(None);
        let head = encode::Head::new(&proxy.config.service, &proxy.config.instance);
        let ring = Arc::clone(&proxy.spans);
        ends.spawn(export::run(ring, head, address, gathered.clone()));
        ends.spawn(link::run(proxy, url, tell, gathered.clone()));
    }
    // None of them ends before `closing`, unless it panics: then this thread ends, and says so.
    tokio::select! {
        biased;
        () = closing.cancelled() => (),
        _ = &mut ticker => return,
        Some(_) = ends.join_next() => return,
    }
    // The last window is closed before the last report goes out.
    let _ = ticker.await;
    gathered.cancel();
    let flush = async { while ends.join_next().await.is_some() {} };
    let patience = grace.get().map_or(FLUSH_PATIENCE, |grace| FLUSH_PATIENCE.min(*grace));
    let _ = tokio::time::timeout(patience, flush).await;
}
