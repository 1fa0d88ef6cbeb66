//! An admitted attempt, from its ticket to its end.

use super::Edge;
use crate::body::{End, Guard};
use crate::edge::{Ended, Overflow, Refusal, Ticket};
use crate::exchange::{Answer, Verdict};
use crate::forward::Exchange;
use crate::pool::Picked;
use crate::spans::{Draft, Ending};
use fusebox_proto::Now;
use std::sync::Arc;
use std::time::Instant;

/// An admitted attempt. It ends exactly once; dropped before, its caller went away.
#[derive(Debug)]
pub(crate) struct Attempt {
    edge: Arc<Edge>,
    /// `None` once it ended.
    ticket: Option<Ticket>,
    span: Option<Box<Draft>>,
    /// The endpoint that works on it.
    picked: Option<Picked>,
}

impl Attempt {
    pub(super) fn new(edge: Arc<Edge>, ticket: Ticket, span: Option<Box<Draft>>) -> Self {
        Self { edge, ticket: Some(ticket), span, picked: None }
    }

    /// It goes to this endpoint, which is busy with it to its end.
    pub(super) fn sent_to(&mut self, picked: Picked) -> &Picked {
        self.picked.insert(picked)
    }

    /// It was sent, and this is what became of it.
    pub(super) fn end(mut self, verdict: Verdict, now: Now) {
        self.finish(verdict, now);
    }

    /// It was not sent, because the pool was full.
    pub(super) fn overflowed(mut self, overflow: Overflow) -> Refusal {
        let now = Now::read();
        let ticket = self.ticket.take().expect("it has not ended: `self` would be gone");
        let refusal = self.edge.core.lock().overflowed(now, ticket, overflow);
        if let Some(span) = self.span.take() {
            let ending = Ending { refused: Some(refusal.word()), ..Ending::default() };
            self.edge.spans.push(span, ending, now.instant);
        }
        refusal
    }

    fn finish(&mut self, verdict: Verdict, now: Now) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let latency_us = latency_us(ticket.started(), now.instant);
        let ended = Ended { outcome: verdict.outcome, status: verdict.status(), latency_us };
        self.edge.core.lock().ended(now, ticket, ended);
        if let Some(span) = self.span.take() {
            self.edge.spans.push(span, verdict.ending, now.instant);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.finish(Verdict::cancelled(), Now::read());
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
    pub(super) attempt: Attempt,
    pub(super) exchange: Exchange,
    pub(super) answer: Answer,
}

impl Guard for Crossing {
    fn ended(self, end: End<'_>) {
        let now = Now::read();
        self.attempt.end(self.answer.verdict(&end), now);
        if let End::Complete(_) = end {
            self.exchange.release(now.instant);
        }
    }
}
