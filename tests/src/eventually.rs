//! Waiting for a condition, not for time.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `probe` answers `Ok`, for at most `limit`.
///
/// # Panics
/// With what was seen last, if the time is over.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    #[expect(clippy::disallowed_methods, reason = "tests watch real processes")]
    let deadline = Instant::now() + limit;
    loop {
        let seen = match probe().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        #[expect(clippy::disallowed_methods, reason = "tests watch real processes")]
        let now = Instant::now();
        assert!(now < deadline, "{what}: not within {limit:?}; last seen: {seen:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
