//! What happens beside a connection: the next look at it, the drain, the end of its patience.
//!
//! hyper's connection is polled several times a request, and whatever waits in the same task would be
//! polled with it, each time to say that it is not its turn yet. Here it is polled when its own waker
//! was woken, and else costs one look at a flag.

use futures_util::task::AtomicWaker;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::task::{Context, Poll, Wake, Waker};

/// A future in a task that is mostly woken for other reasons.
#[derive(Debug)]
pub(super) struct Aside<F> {
    future: F,
    woken: Arc<Woken>,
    waker: Waker,
}

#[derive(Debug)]
struct Woken {
    is_woken: AtomicBool,
    /// The task.
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Release);
        self.task.wake();
    }
}

impl<F> Aside<F> {
    /// It is polled when the task is next.
    pub(super) fn new(future: F) -> Self {
        let woken = Arc::new(Woken { is_woken: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future, waker: Waker::from(Arc::clone(&woken)), woken }
    }
}

impl<F: Future + Unpin> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look: what is woken behind it wakes the task.
        self.woken.task.register(cx.waker());
        if !self.woken.is_woken.swap(false, AcqRel) {
            return Poll::Pending;
        }
        let this = &mut *self;
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Scenario: a future beside others is polled by its task many times, wakes itself in between, is
    /// woken before the task looks, and is over at its third poll.
    /// Guarantees: it is polled at first and then once for each time that it was woken; each wakes the
    /// task.
    #[test]
    fn it_is_polled_when_it_was_woken() {
        let (polls, own) = (AtomicU32::new(0), AtomicWaker::new());
        let future = poll_fn(|cx: &mut Context<'_>| {
            own.register(cx.waker());
            if polls.fetch_add(1, Relaxed) < 2 { Poll::Pending } else { Poll::Ready(7) }
        });
        let (mut aside, task) = (Aside::new(future), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut poll = || Pin::new(&mut aside).poll(&mut Context::from_waker(&waker));
        assert!((0..5).all(|_| poll().is_pending()));
        assert_eq!((polls.load(Relaxed), task.0.load(Relaxed)), (1, 0));
        own.wake();
        assert_eq!(task.0.load(Relaxed), 1);
        assert!((0..5).all(|_| poll().is_pending()));
        assert_eq!(polls.load(Relaxed), 2);
        own.wake();
        assert_eq!(poll(), Poll::Ready(7));
        assert_eq!(task.0.load(Relaxed), 2);
    }
}
