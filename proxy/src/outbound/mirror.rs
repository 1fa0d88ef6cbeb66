//! Copies of requests to other servers, whose answers nobody gets.
//!
//! A copy never touches its request: it goes out in a task of its own, on a pool of its own, and
//! is given up rather than waited for.

use super::{Common, What, rewrite};
use crate::body::RequestBody;
use crate::forward::{self, Copy};
use crate::policy::plan::Target;
use crate::pool::Pool;
use crate::retry::Tried;
use fusebox_proto::Now;
use http::header::UPGRADE;
use http::{Request, request};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Copies under way at once, of the whole proxy; at 64 KiB of body each 16 MiB at most.
const COPIES_MAX: usize = 256;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A copy under way.
struct Place(Arc<Common>);

impl Place {
    fn take(common: &Arc<Common>) -> Option<Self> {
        let more = |count: usize| (count < COPIES_MAX).then_some(count + 1);
        common.copies.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self(Arc::clone(common)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Relaxed);
    }
}

/// Sends a copy of a request whose body is at hand.
pub(super) fn send(
    common: &Arc<Common>,
    target: &Target,
    head: &request::Parts,
    body: &RequestBody,
) {
    // The copy of a tunnel would end with its first byte.
    if head.headers.contains_key(UPGRADE) {
        return common.tally.count(What::MirrorDropped);
    }
    let (Some(place), Some(copy)) = (Place::take(common), Copy::of_parts(head, body)) else {
        return common.tally.count(What::MirrorDropped);
    };
    let pool = Arc::clone(&target.pool);
    tokio::spawn(async move {
        let sent = tokio::time::timeout(PATIENCE, exchange(&pool, copy.silent())).await;
        let is_sent = matches!(sent, Ok(Some(())));
        place.0.tally.count(if is_sent { What::Mirrored } else { What::MirrorDropped });
    });
}

/// Sends a copy, and reads its answer to the end so that the connection can be kept.
async fn exchange(pool: &Arc<Pool>, copy: Copy) -> Option<()> {
    let now = Now::read().instant;
    let picked = pool.pick(now, &Tried::default()).ok()?;
    let (mut head, body) = copy.into_request().into_parts();
    let authority = shadow(&crate::exchange::authority(&head));
    rewrite::authority(&mut head, &authority)?;
    let mut outgoing = Some(Request::from_parts(head, body));
    let (response, exchange) = forward::send(&picked, now, &mut outgoing).await.ok()?;
    let mut answer = response.into_body();
    while let Some(frame) = answer.frame().await {
        frame.ok()?;
    }
    exchange.release(Now::read().instant);
    Some(())
}

/// As Envoy marks copies: `inventory-shadow:80`.
fn shadow(authority: &str) -> String {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{host}-shadow:{port}")
        }
        _ => format!("{authority}-shadow"),
    }
}
