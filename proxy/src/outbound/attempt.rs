//! An admitted attempt, from its ticket to its end.

use super::Edge;
use crate::access_log::Trail;
use crate::body::{End, Guard};
use crate::edge::{EdgeCore, Ended, Overflow, Refusal, Ticket, Tunnel};
use crate::exchange::{Answer, Verdict};
use crate::forward::Exchange;
use crate::outlier::Observed;
use crate::policy::plan::Target;
use crate::pool::{Picked, Pool};
use crate::retry::RetryPermit;
use crate::spans::{Draft, Ending};
use crate::tunnel::Bounds;
use fusebox_proto::Now;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An admitted attempt. It ends exactly once; dropped before, its caller went away.
#[derive(Debug)]
pub(crate) struct Attempt {
    edge: Arc<Edge>,
    /// `None` once it ended.
    ticket: Option<Ticket>,
    span: Option<Draft>,
    /// The endpoint that works on it.
    picked: Option<Picked>,
    /// Given back when it is over.
    permit: Option<Permit>,
}

/// The place of a retry of ours in the budget of its destination.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Pool>,
    permit: Option<RetryPermit>,
}

impl Permit {
    pub(super) fn new(pool: &Arc<Pool>, permit: RetryPermit) -> Self {
        Self { pool: Arc::clone(pool), permit: Some(permit) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.pool.give_back_retry(permit);
        }
    }
}

impl Attempt {
    pub(super) fn new(edge: Arc<Edge>, ticket: Ticket, span: Option<Draft>) -> Box<Self> {
        Box::new(Self { edge, ticket: Some(ticket), span, picked: None, permit: None })
    }

    /// It goes to this endpoint, which is busy with it to its end.
    pub(super) fn sent_to(&mut self, picked: Picked) -> &Picked {
        self.picked.insert(picked)
    }

    /// Those of its endpoint.
    pub(super) fn tunnel_bounds(&self, idle: Duration) -> Bounds {
        self.picked.as_ref().map(|picked| picked.tunnel_bounds(idle)).unwrap_or_default()
    }

    /// It is a retry of ours, with this place in the budget.
    pub(super) fn within(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    /// What came of it, told to the endpoint's watch as soon as it is known, and whether it got as
    /// far as having a connection.
    pub(super) fn observed(&mut self, is_connected: bool, observed: Option<Observed>) {
        let Some(picked) = self.picked.as_mut().filter(|picked| picked.is_watched()) else {
            return;
        };
        if is_connected {
            picked.connected();
        }
        if let Some(observed) = observed {
            picked.observed(Now::read().instant, observed);
        }
    }

    /// What its line in the access log tells of it.
    pub(super) fn trail(&self, target: &Target) -> Trail {
        let ticket = self.ticket.as_ref();
        Trail {
            endpoint: self.picked.as_ref().map(|picked| picked.address().to_owned()),
            attempt: ticket.map(|ticket| ticket.class().as_str()),
            resend_count: ticket.map(Ticket::resend_count),
            ..target.trail()
        }
    }

    /// It was sent, and this is what became of it.
    pub(super) fn end(mut self, verdict: Verdict, now: Now) {
        self.finish(verdict, now);
    }

    /// It was answered with a tunnel: it is over for all counters but those of what is in flight.
    pub(super) fn switched(mut self, verdict: Verdict, now: Now) -> Passage {
        let tunnel = self.settle(verdict, now, EdgeCore::switched);
        Passage { edge: Arc::clone(&self.edge), tunnel, _picked: self.picked.take() }
    }

    /// It was not sent, because the pool was full.
    pub(super) fn overflowed(mut self, overflow: Overflow) -> Refusal {
        let now = Now::read();
        let ticket = self.ticket.take().expect("it has not ended: `self` would be gone");
        let refusal = self.edge.core.lock().overflowed(now, ticket, overflow);
        if let Some(span) = self.span.take() {
            let ending = Ending { refused: Some(refusal.word()), ..Ending::default() };
            self.edge.spans.push(&span, ending, now.instant);
        }
        refusal
    }

    /// As [`Self::end`], of one whose answer may still go to the caller.
    pub(super) fn finish(&mut self, verdict: Verdict, now: Now) {
        if self.settle(verdict, now, EdgeCore::ended).is_some()
            && let Some(picked) = &mut self.picked
        {
            picked.ended(now.instant);
        }
    }

    /// Tells the core and the span, once.
    fn settle<T>(
        &mut self,
        verdict: Verdict,
        now: Now,
        tell: impl FnOnce(&mut EdgeCore, Now, Ticket, Ended) -> T,
    ) -> Option<T> {
        let ticket = self.ticket.take()?;
        let latency_us = latency_us(ticket.started(), now.instant);
        let ended = Ended { outcome: verdict.outcome, status: verdict.status(), latency_us };
        let told = tell(&mut self.edge.core.lock(), now, ticket, ended);
        if let Some(span) = self.span.take() {
            self.edge.spans.push(&span, verdict.ending, now.instant);
        }
        self.permit = None;
        Some(told)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.finish(Verdict::cancelled(), Now::read());
        }
    }
}

/// A tunnel to an endpoint, in flight until it is dropped.
#[derive(Debug)]
pub(super) struct Passage {
    edge: Arc<Edge>,
    tunnel: Option<Tunnel>,
    /// The endpoint is busy with it.
    _picked: Option<Picked>,
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some(tunnel) = self.tunnel.take() {
            self.edge.core.lock().closed(tunnel);
        }
    }
}

/// From `started` to `ended` in whole microseconds.
pub(crate) fn latency_us(started: Instant, ended: Instant) -> u64 {
    let latency = ended.saturating_duration_since(started);
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

/// An attempt whose response is on its way.
#[derive(Debug)]
pub(crate) struct Crossing {
    pub(super) attempt: Box<Attempt>,
    pub(super) exchange: Exchange,
    pub(super) answer: Answer,
}

impl Guard for Crossing {
    fn ended(mut self, end: End<'_>) {
        let now = Now::read();
        let verdict = self.answer.verdict(&end);
        self.attempt.observed(false, self.answer.seen_at_end(&end, &verdict));
        self.attempt.finish(verdict, now);
        // Its endpoint is not busy with it any more when the connection is free.
        drop(self.attempt);
        if let End::Complete(_) = end {
            self.exchange.release(now.instant);
        }
    }
}
