//! `Expect: 100-continue`, end to end.
//!
//! A caller that asks first sends its body when the *server* says that it wants it, not when we
//! do: the body is held until the server's `100 Continue` comes, and only then asked for, which
//! makes hyper tell the caller. A server that does not know the word hears the body after a second
//! (RFC 9110, 10.1.1 forbids to wait for ever; curl waits as long). One that answers at once never
//! sees it, and both connections close, because where the body would end is in doubt.
//!
//! Other 1xx, such as `103 Early Hints`, go on to the caller ([`Hints`]), as the server gave them: the
//! header edits of a policy are for answers.
//!
//! Over HTTP/2 neither side of hyper can say or hear a 1xx: the body goes at once, the header is
//! removed, and other 1xx end here.

use crate::connection::Hints;
use futures_util::task::AtomicWaker;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// A server that says neither yes nor no gets the body after this long.
const PATIENCE: Duration = Duration::from_secs(1);

const HELD: u8 = 0;
const WANTED: u8 = 1;
const UNWANTED: u8 = 2;

/// Whether the server wants the body of a request; shared by who hears it and who waits for it.
#[derive(Debug, Default)]
struct Decision {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Decision {
    /// Decides, unless that is done. Says whether it was not.
    fn decide(&self, state: u8) -> bool {
        let decided =
            self.state.compare_exchange(HELD, state, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if decided {
            self.waker.wake();
        }
        decided
    }
}

/// Why a body is not sent: the server answered without it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server answered without the body")]
pub(crate) struct Unwanted;

/// What the server says of a held body.
#[derive(Debug)]
pub(crate) struct Wish(Arc<Decision>);

/// Listens to what the server of `request` says before its answer: that it wants a held body, and
/// what is for the caller. A `100 Continue` is for us: the caller gets one from hyper, if it asked.
pub(crate) fn listen<B>(request: &mut Request<B>, wish: Option<Wish>, hints: Option<Hints>) {
    if wish.is_none() && hints.is_none() {
        return;
    }
    hyper::ext::on_informational(request, move |response| match (&wish, &hints) {
        (Some(Wish(wish)), _) if response.status() == StatusCode::CONTINUE => {
            wish.decide(WANTED);
        }
        (_, Some(hints)) if response.status() != StatusCode::CONTINUE => {
            hints.tell(response.status(), response.headers());
        }
        _ => (),
    });
}

/// Holds back a body.
#[derive(Debug)]
pub(crate) struct Hold {
    wish: Arc<Decision>,
    /// From when the body is first asked for, which is when the head is sent.
    patience: Option<Pin<Box<Sleep>>>,
}

/// What the one who answers keeps of a held body.
#[derive(Debug)]
pub(crate) struct Expecting(Arc<Decision>);

/// Holds the body of a request that says `Expect: 100-continue`.
pub(crate) fn hold(headers: &HeaderMap) -> Option<(Hold, Expecting)> {
    let is_asking = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    headers.get(EXPECT).filter(|value| is_asking(value))?;
    let wish = Arc::<Decision>::default();
    Some((Hold { wish: Arc::clone(&wish), patience: None }, Expecting(wish)))
}

impl Hold {
    /// Ready once the body may be sent, or never will be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unwanted>> {
        self.wish.waker.register(cx.waker());
        match self.wish.state.load(Ordering::Acquire) {
            WANTED => return Poll::Ready(Ok(())),
            UNWANTED => return Poll::Ready(Err(Unwanted)),
            _ => (),
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        patience
            .as_mut()
            .poll(cx)
            .map(|()| if self.wish.decide(WANTED) { Ok(()) } else { self.is_wanted() })
    }

    fn is_wanted(&self) -> Result<(), Unwanted> {
        if self.wish.state.load(Ordering::Acquire) == WANTED { Ok(()) } else { Err(Unwanted) }
    }

    /// For whoever hears the server.
    pub(crate) fn wish(&self) -> Wish {
        Wish(Arc::clone(&self.wish))
    }

    /// Lets the body go: nobody would hear the server.
    pub(crate) fn open(&self) {
        self.wish.decide(WANTED);
    }
}

impl Expecting {
    /// The caller has its answer. If nobody has asked for its body, nobody will.
    pub(crate) fn answered<B>(&self, response: &mut Response<B>, version: Version) {
        if self.0.decide(UNWANTED) && version != Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}
