//! A request on its way through the shop: a station, then calls step by step, and an answer.

use super::calls::Maker;
use super::{Happening, Instance, Shop};
use fusebox_demo::client::Outcome;
use fusebox_demo::scenario::Overflow;
use fusebox_demo::station::{Event, Output, Ticket};
use fusebox_demo::truth::Seen;
use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::time::Duration;

/// A request in an instance. Its number is its ticket there.
#[derive(Debug)]
pub(super) struct Request {
    instance: usize,
    route: String,
    began: Duration,
    /// The span under which it calls.
    context: TraceContext,
    /// How many of its calls it has made, and those under way.
    calls_from: usize,
    pending: Vec<usize>,
    failed: Option<u16>,
    /// Call and attempt that wait for it; none where a visitor does.
    parent: Option<(usize, usize)>,
    /// Nobody waits for it any more.
    is_left: bool,
    is_answered: bool,
}

impl Shop {
    /// A request comes to `service/route`; its number.
    pub(super) fn arrive(
        &mut self,
        to: &str,
        parent: Option<(usize, usize)>,
        context: TraceContext,
    ) -> usize {
        let (role, route) = split(to);
        let first = self.first_of(role);
        let count = self.instances.iter().filter(|instance| instance.role == role).count();
        let at = first + next(&mut self.turns, role, count);
        let now = self.wall();
        self.instances[at].sidecar.came_in(now, &context);
        let context = self.child_of(context);
        self.requests.push(Request {
            instance: at,
            route: route.to_owned(),
            began: self.now,
            context,
            calls_from: 0,
            pending: Vec::new(),
            failed: None,
            parent,
            is_left: false,
            is_answered: false,
        });
        let request = self.requests.len() - 1;
        self.instances[at].station.handle(self.now, Event::Arrive(request as Ticket));
        self.drain(at);
        request
    }

    pub(super) fn first_of(&self, role: &str) -> usize {
        let of_role = |instance: &Instance| instance.role == role;
        self.instances.iter().position(of_role).expect("a checked scenario")
    }

    /// Takes what a station has done.
    pub(super) fn drain(&mut self, at: usize) {
        while let Some(output) = self.instances[at].station.poll_output() {
            match output {
                Output::Served(ticket) => self.worked(ticket as usize),
                Output::Overflow(ticket) => {
                    let service = self.plan.service(&self.instances[at].role);
                    if service.overflow == Overflow::Refuse {
                        self.answer(ticket as usize, 503);
                    }
                }
            }
        }
        let instance = &mut self.instances[at];
        if let Some(next) = instance.station.poll_timeout()
            && instance.wakes_at.is_none_or(|at| next < at)
        {
            instance.wakes_at = Some(next);
            self.put(next, Happening::Station(at));
        }
    }

    /// The work of a request is done; now it calls.
    fn worked(&mut self, request: usize) {
        let role = &self.instances[self.requests[request].instance].role;
        let error_percent = self.conditions.error_percent(role);
        if self.rng.random_range(0.0..100.0) < error_percent {
            self.answer(request, 500);
        } else {
            self.proceed(request);
        }
    }

    /// Whether a request goes on: one that nobody waits for does only where its service cares not.
    pub(super) fn goes_on(&self, request: usize) -> bool {
        let Request { instance, is_left, .. } = self.requests[request];
        !is_left || self.plan.service(&self.instances[instance].role).serves_abandoned
    }

    /// The next step of a request's route.
    fn proceed(&mut self, request: usize) {
        if !self.goes_on(request) {
            return;
        }
        let Request { instance, route, calls_from, failed, context, .. } = &self.requests[request];
        let (instance, context, failed) = (*instance, *context, *failed);
        let role = self.instances[instance].role.clone();
        let calls = &self.plan.service(&role).routes[route];
        let step = calls[*calls_from..].chunk_by(|_, next| next.parallel).next();
        let (Some(step), None) = (step.map(<[_]>::to_vec), failed) else {
            return self.answer(request, failed.unwrap_or(200));
        };
        self.requests[request].calls_from += step.len();
        let first = self.calls.len();
        self.requests[request].pending = (first..first + step.len()).collect();
        for made in step {
            let times = self.conditions.times(&role, &made.to, made.times);
            let number = (1 < times).then_some(1);
            self.make(Maker::Request(request), instance, (made, number, times - 1), context);
        }
        for call in first..self.calls.len() {
            self.attempt(call);
        }
    }

    /// A request is answered with `status`.
    pub(super) fn answer(&mut self, request: usize, status: u16) {
        let Request { instance, began, parent, is_left, .. } = self.requests[request];
        self.requests[request].is_answered = true;
        if is_left {
            return;
        }
        self.instances[instance].sidecar.answered(status, self.now.saturating_sub(began));
        match parent {
            Some((call, attempt)) => self.ended(call, attempt, Outcome::Answered(status)),
            None => self.visited(request, Outcome::Answered(status)),
        }
    }

    /// What a visitor got.
    fn visited(&mut self, request: usize, outcome: Outcome) {
        let Request { instance, began, .. } = self.requests[request];
        if outcome.is_success() {
            self.truth.entry_succeeded(began);
        } else {
            self.truth.entry_failed(began);
        }
        let destination = &self.instances[instance].role;
        let seen = Seen { source: None, destination, attempt: 1, outcome, refusal: None };
        self.truth.call_ended(self.now, seen);
    }

    /// A visitor's patience ends.
    pub(super) fn visitor_leaves(&mut self, request: usize) {
        if !self.requests[request].is_answered {
            self.leave(request);
            self.visited(request, Outcome::TimedOut);
        }
    }

    /// Whoever waited for a request has left; its proxy sees it, and so does what it waits for.
    pub(super) fn leave(&mut self, request: usize) {
        let Request { instance, began, is_answered, is_left, .. } = self.requests[request];
        if is_answered || is_left {
            return;
        }
        self.requests[request].is_left = true;
        self.instances[instance].sidecar.caller_left(self.now.saturating_sub(began));
        if self.goes_on(request) {
            return;
        }
        self.instances[instance].station.handle(self.now, Event::Abandon(request as Ticket));
        self.drain(instance);
        for call in std::mem::take(&mut self.requests[request].pending) {
            self.drop_attempts(call);
        }
    }

    /// A call of a request is over.
    pub(super) fn called(&mut self, request: usize, at: usize, outcome: Outcome) {
        let is_optional = self.calls[at].made.optional;
        let request_now = &mut self.requests[request];
        if !outcome.is_success() && !is_optional {
            request_now.failed = Some(if outcome == Outcome::TimedOut { 504 } else { 502 });
        }
        request_now.pending.retain(|call| *call != at);
        if request_now.pending.is_empty() {
            self.proceed(request);
        }
    }

    /// The beginning of a trace.
    pub(super) fn root(&mut self) -> TraceContext {
        let trace_id = TraceId::from_bytes(&self.rng.random::<[u8; 16]>()).expect("not zero");
        TraceContext { trace_id, parent_id: self.span(), flags: 0 }
    }

    pub(super) fn child_of(&mut self, parent: TraceContext) -> TraceContext {
        TraceContext { parent_id: self.span(), ..parent }
    }

    fn span(&mut self) -> SpanId {
        self.spans += 1;
        SpanId::from_bytes(&self.spans.to_be_bytes()).expect("not zero")
    }
}

/// Role and route of `service/route`.
pub(super) fn split(to: &str) -> (&str, &str) {
    to.split_once('/').expect("a checked scenario")
}

/// The next of `count`.
fn next(turns: &mut BTreeMap<String, usize>, role: &str, count: usize) -> usize {
    let turn = turns.entry(role.to_owned()).or_default();
    *turn += 1;
    *turn % count
}
