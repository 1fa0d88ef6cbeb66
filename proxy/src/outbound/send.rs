//! One attempt, and where a policy asks for it, further ones.
//!
//! An attempt is admitted by its edge, gets an endpoint, and is sent, in this order; each of the
//! three may refuse it. Without retries that is all. With retries the request is kept as long as
//! it can be sent again, and an attempt that failed is kept until the next one is on its way: if
//! that is refused, the caller gets what the failed one got.

use super::attempt::{Attempt, Crossing, Permit};
use super::{Answered, Call, Outbound, Terms, What, broken_body};
use crate::access_log::Trail;
use crate::arrived::Arrived;
use crate::body::{End, ResponseBody, hold};
use crate::edge::{BodyDigest, Decision, Outcome, Overflow};
use crate::exchange::{Answer, Verdict};
use crate::forward::{self, Copy, Exchange, Outgoing, SendError};
use crate::gate;
use crate::policy::plan::Target;
use crate::pool::Picked;
use crate::refuse;
use crate::retry::{self, Progress, Tried, try_timeout};
use crate::translate;
use crate::upgrade::{self, Handover};
use fusebox_proto::Now;
use fusebox_proto::policy::Retries;
use http::header::{EXPECT, UPGRADE};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::{Duration, Instant};

/// The answer of an attempt that is made again is read to its end for at most this long, so that
/// its connection can be kept.
const DISCARD_PATIENCE: Duration = Duration::from_secs(1);

/// What a request has behind it.
#[derive(Default)]
struct Round {
    /// Whether the policy asks for further attempts: only then it matters who was tried.
    may_retry: bool,
    retries: u32,
    tried: Tried,
    permit: Option<Permit>,
    /// What the caller gets if no further attempt can be sent.
    last: Option<Box<Ended>>,
    /// For the attempt that comes.
    timeout: Option<Duration>,
}

/// An attempt that was sent, and got this far.
enum Ended {
    Answered {
        response: Response<Incoming>,
        exchange: Exchange,
        attempt: Box<Attempt>,
        answer: Answer,
    },
    Failed {
        error: SendError,
        attempt: Box<Attempt>,
        unsent: Outgoing,
    },
}

impl Outbound {
    /// Sends a request to `target`, if it may cross.
    pub(super) async fn forward(
        &self,
        target: &Target,
        mut call: Call,
        terms: Terms<'_>,
    ) -> Answered {
        let Ok(digest) = self.digest(&mut call).await else {
            return broken_body(call.request.head.version);
        };
        if let Some(retries) = terms.retries {
            return Box::pin(self.persist(target, call, digest, terms, retries)).await;
        }
        let (now, is_grpc) = (Now::read(), call.is_grpc());
        let mut round = Round { timeout: terms.timeout, ..Round::default() };
        match self.attempt(target, now, call, digest, &mut round).await {
            Ok(ended) => self.conclude(target, ended, is_grpc, terms, now.instant),
            Err(refused) => refused,
        }
    }

    /// Sends a request, and again as the policy asks.
    async fn persist(
        &self,
        target: &Target,
        mut call: Call,
        digest: BodyDigest,
        terms: Terms<'_>,
        retries: &Retries,
    ) -> Answered {
        let (trace, protocol, is_grpc) = (call.trace, call.protocol, call.is_grpc());
        let is_waiting = call.request.head.headers.contains_key(EXPECT);
        if !call.request.body.is_empty()
            && !is_waiting
            && hold(&mut call.request.body).await.is_err()
        {
            return broken_body(call.request.head.version);
        }
        let started = Now::read().instant;
        let left = |now: Instant| {
            terms.timeout.map(|timeout| (started + timeout).saturating_duration_since(now))
        };
        let mut round = Round { may_retry: true, ..Round::default() };
        loop {
            let now = Now::read();
            round.timeout = try_timeout(Some(retries), left(now.instant));
            let copy = Copy::of_parts(&call.request.head, &call.request.body);
            let mut ended = match self.attempt(target, now, call, digest, &mut round).await {
                Ok(ended) => ended,
                Err(refused) => {
                    let last = round.last.take();
                    return last.map_or(refused, |last| {
                        self.conclude(target, *last, is_grpc, terms, started)
                    });
                }
            };
            let now = Now::read();
            let again = copy.map(Copy::into_request).or_else(|| ended.unsent());
            let progress = Progress {
                retries: round.retries,
                is_replayable: again.is_some(),
                left: left(now.instant),
            };
            let budget = || target.pool.take_retry(now.instant);
            let how = ended.for_retry();
            match (retry::decide(retries, progress, how, rand::random(), budget), again) {
                (retry::Decision::Retry { after, permit }, Some(again)) => {
                    self.common.tally.count(What::Retried);
                    round.permit = Some(Permit::new(&target.pool, permit));
                    ended.settle(now, is_grpc);
                    round.retries += 1;
                    round.last = Some(Box::new(ended));
                    tokio::time::sleep(after).await;
                    let (head, body) = again.into_parts();
                    let request = Box::new(Arrived { head, body });
                    call = Call { request, trace, protocol };
                }
                (decision, _) => {
                    if let retry::Decision::Stop(retry::Stop::Budget(_)) = decision {
                        self.common.tally.count(What::RetryBudget);
                    }
                    return self.conclude(target, ended, is_grpc, terms, started);
                }
            }
        }
    }

    /// One attempt, up to the head of its answer or its failure.
    ///
    /// # Errors
    /// The answer to the caller, if the attempt is refused here.
    async fn attempt(
        &self,
        target: &Target,
        now: Now,
        call: Call,
        digest: BodyDigest,
        round: &mut Round,
    ) -> Result<Ended, Answered> {
        let is_grpc = call.is_grpc();
        let ticket = match target.admit(now, &call, digest, round.retries) {
            Decision::Forward(ticket) => ticket,
            Decision::Refuse(refusal) => return Err(self.refuse(now, target, call, refusal)),
        };
        let Call { mut request, trace, protocol } = call;
        let head = &mut request.head;
        let mut span = self.span(now, target, head, (trace, protocol));
        if let Some(span) = &mut span {
            span.resend_count(ticket.resend_count());
        }
        // From here on, an early return or a drop is an end that is counted.
        let mut attempt = Attempt::new(target.edge.clone(), ticket, span);
        attempt.within(round.permit.take());
        let picked = match target.pool.pick(now.instant, &round.tried) {
            Ok(picked) => attempt.sent_to(picked),
            Err(overflow) => return Err(self.overflowed(target, attempt, overflow, is_grpc)),
        };
        if let Some(last) = round.last.take() {
            last.discard();
        }
        if round.may_retry {
            round.tried.add(picked.id());
        }
        // A tunnel needs a connection of its own.
        let is_upgrade = head.headers.contains_key(UPGRADE);
        if target.pool.is_upgrading() && head.version != Version::HTTP_2 && !is_upgrade {
            translate::to_http2(head);
        }
        let Arrived { head, body } = *request;
        let mut outgoing = Some(Request::from_parts(head, body));
        let sent = send_within(picked, now.instant, round.timeout, &mut outgoing).await;
        Ok(Ended::new(sent, attempt, outgoing, is_grpc))
    }

    /// What the caller gets of an attempt.
    fn conclude(
        &self,
        target: &Target,
        ended: Ended,
        is_grpc: bool,
        terms: Terms<'_>,
        started: Instant,
    ) -> Answered {
        match ended {
            Ended::Answered { response, exchange, attempt, answer } => {
                self.speaks.http();
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return switch(response, attempt, answer, terms);
                }
                let (mut head, incoming) = response.into_parts();
                gate::strip_response(&mut head.headers);
                let edits = terms.response.into_iter().flatten();
                edits.for_each(|edits| edits.apply(&mut head.headers));
                let deadline = terms.timeout.map(|timeout| started + timeout);
                let trail = self.trail(target, &attempt);
                let crossing = Crossing { attempt, exchange, answer };
                let body = ResponseBody::forwarded(incoming, crossing, deadline);
                with(trail, Response::from_parts(head, body))
            }
            Ended::Failed { error, attempt, .. } => {
                if let SendError::Overflow(overflow) = error {
                    return self.overflowed(target, attempt, overflow, is_grpc);
                }
                if let SendError::TimedOut(_) = error {
                    self.common.tally.count(What::Timeout);
                }
                let trail = self.trail(target, &attempt);
                attempt.end(verdict(&error, is_grpc), Now::read());
                let who = format!("edge={}", target.edge.name);
                with(trail, refuse::failed(&error, &who, is_grpc))
            }
        }
    }

    /// What the caller of an attempt gets that the pool had no place for.
    fn overflowed(
        &self,
        target: &Target,
        attempt: Box<Attempt>,
        overflow: Overflow,
        is_grpc: bool,
    ) -> Answered {
        let trail = self.trail(target, &attempt);
        let refusal = attempt.overflowed(overflow);
        with(trail, refuse::refused(refusal, &target.edge.name, is_grpc, target.muted))
    }

    fn trail(&self, target: &Target, attempt: &Attempt) -> Option<Trail> {
        self.common.log.is_some().then(|| attempt.trail(target))
    }
}

fn with(trail: Option<Trail>, mut response: Answered) -> Answered {
    Trail::leave_if(trail, &mut response);
    response
}

impl Ended {
    fn new(
        sent: Result<(Response<Incoming>, Exchange), SendError>,
        mut attempt: Box<Attempt>,
        unsent: Outgoing,
        is_grpc: bool,
    ) -> Self {
        match sent {
            Ok((response, exchange)) => {
                let answer = Answer::new(response.status(), response.headers(), is_grpc);
                attempt.observed(true, answer.seen_at_head());
                Self::Answered { response, exchange, attempt, answer }
            }
            Err(error) => {
                let is_connected = matches!(error, SendError::Broken(_) | SendError::Switched);
                attempt.observed(is_connected, error.observed());
                Self::Failed { error, attempt, unsent }
            }
        }
    }

    /// The request, where nothing of it was sent.
    fn unsent(&mut self) -> Outgoing {
        match self {
            Self::Failed { unsent, .. } => unsent.take(),
            Self::Answered { .. } => None,
        }
    }

    fn for_retry(&self) -> retry::Ended {
        match self {
            Self::Answered { response, answer, .. } => {
                retry::Ended::Answered(answer.for_retry(response.headers()))
            }
            Self::Failed { error, .. } => error.for_retry(),
        }
    }

    /// Another attempt follows: this one is over for all counters, while its answer is still here.
    fn settle(&mut self, now: Now, is_grpc: bool) {
        match self {
            Self::Answered { attempt, answer, .. } => {
                attempt.finish(answer.verdict(&End::Complete(None)), now);
            }
            Self::Failed { error, attempt, .. } => attempt.finish(verdict(error, is_grpc), now),
        }
    }

    /// Its answer goes to nobody.
    fn discard(self) {
        let Self::Answered { response, exchange, .. } = self else {
            return;
        };
        tokio::spawn(tokio::time::timeout(DISCARD_PATIENCE, async move {
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return;
                }
            }
            exchange.release(Now::read().instant);
        }));
    }
}

/// What the caller gets of an upgrade that was granted.
fn switch(
    mut response: Response<Incoming>,
    attempt: Box<Attempt>,
    answer: Answer,
    terms: Terms<'_>,
) -> Answered {
    let mut headers = response.headers().clone();
    gate::strip_response(&mut headers);
    terms.response.into_iter().flatten().for_each(|edits| edits.apply(&mut headers));
    let bounds = attempt.tunnel_bounds(upgrade::IDLE_DEFAULT);
    let passage = attempt.switched(answer.verdict(&End::Complete(None)), Now::read());
    Handover::answer(&mut response, headers, (passage, bounds), ResponseBody::Own(None))
}

/// Whose fault it is that there is no answer.
fn verdict(error: &SendError, is_grpc: bool) -> Verdict {
    let outcome = match error {
        SendError::Connect(_) | SendError::Broken(_) | SendError::Switched => Outcome::Failure,
        SendError::Caller | SendError::Late => Outcome::Cancelled,
        SendError::Stale | SendError::Overflow(_) => Outcome::Ours,
        SendError::TimedOut(_) | SendError::Silent => Outcome::TimedOut,
    };
    Verdict::unanswered(outcome, refuse::failure_status(error).as_u16(), is_grpc)
}

/// Sets a timer only where there is a timeout.
async fn send_within(
    picked: &Picked,
    now: Instant,
    timeout: Option<Duration>,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Exchange), SendError> {
    let sending = forward::send(picked, now, outgoing);
    let Some(timeout) = timeout else {
        return sending.await;
    };
    let sent = tokio::time::timeout_at((now + timeout).into(), sending).await;
    sent.unwrap_or(Err(SendError::TimedOut(timeout)))
}
