//! A request on its way through the shop: a station, then calls step by step, each through a client
//! library and the proxy beside it.

use super::{Attempt, Happening, Instance, Shop};
use crate::sidecar::Sent;
use fusebox_demo::client::Outcome;
use fusebox_demo::conditions::Turn;
use fusebox_demo::scenario::{self, Change, Client, Overflow};
use fusebox_demo::station::{Event, Output, Ticket};
use fusebox_demo::truth::Seen;
use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use fusebox_proxy::edge;
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

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
enum Maker {
    Request(usize),
    /// The job of this fault.
    Job(usize),
}

/// A call through a client library.
#[derive(Debug)]
pub(super) struct Call {
    maker: Maker,
    instance: usize,
    made: scenario::Call,
    path: String,
    /// The span of whoever calls, and the one under which the library does.
    context: TraceContext,
    span: TraceContext,
    /// So many more after this one.
    left: u32,
    attempts: u32,
    /// All attempts so far, hedges too.
    sent: usize,
    /// Those that are waited for.
    out: Vec<Out>,
}

/// An attempt that is waited for.
#[derive(Debug)]
struct Out {
    attempt: usize,
    /// Which of its request it is, from 1.
    number: u32,
    ticket: Attempt,
    request: usize,
}

/// A job that calls on its own account.
#[derive(Debug)]
pub(super) struct Job {
    calls: u32,
    whole: Option<TraceContext>,
    next_at: Duration,
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

    fn first_of(&self, role: &str) -> usize {
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
    fn goes_on(&self, request: usize) -> bool {
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

    fn make(
        &mut self,
        maker: Maker,
        instance: usize,
        (made, number, left): (scenario::Call, Option<u32>, u32),
        context: TraceContext,
    ) {
        let path = path(&made.to, number);
        self.calls.push(Call {
            maker,
            instance,
            made,
            path,
            context,
            span: context,
            left,
            attempts: 0,
            sent: 0,
            out: Vec::new(),
        });
    }

    fn client_of(&self, call: &Call) -> Client {
        self.conditions.client(&self.instances[call.instance].role, split(&call.made.to).0)
    }

    /// A library makes its next attempt of a call, if anybody still waits for that.
    pub(super) fn attempt(&mut self, at: usize) {
        if let Maker::Request(request) = self.calls[at].maker
            && !self.goes_on(request)
        {
            return;
        }
        self.calls[at].attempts += 1;
        let number = self.calls[at].attempts;
        self.send(at, number);
        let call = &self.calls[at];
        if let (Some(after), Some(out)) = (self.client_of(call).hedge_after(), call.out.last()) {
            let attempt = out.attempt;
            self.put(self.now + after, Happening::Hedge { call: at, attempt });
        }
    }

    /// The second attempt beside the first, if that still waits.
    pub(super) fn hedge(&mut self, at: usize, attempt: usize) {
        if self.calls[at].out.iter().any(|out| out.attempt == attempt) {
            let number = self.calls[at].attempts + 1;
            self.send(at, number);
        }
    }

    /// An attempt leaves its caller.
    fn send(&mut self, at: usize, number: u32) {
        let client = self.client_of(&self.calls[at]);
        if number == 1 || client.new_span_each_attempt {
            self.calls[at].span = self.child_of(self.calls[at].context);
        }
        let call = &mut self.calls[at];
        call.sent += 1;
        let (attempt, instance, span) = (call.sent, call.instance, call.span);
        let (to, path) = (call.made.to.clone(), call.path.clone());
        let destination = self.service(split(&to).0);
        let now = self.wall();
        let sent = self.instances[instance].sidecar.call(now, (&destination, &path), span);
        match sent.expect("the proxy does what it was told") {
            Sent::Refused(status) => {
                let outcome = Outcome::Answered(status);
                self.saw(at, number, outcome, Some("refused"));
                self.settled(at, outcome);
            }
            Sent::Forwarded(ticket) => {
                self.put(self.now + client.timeout(), Happening::Patience { call: at, attempt });
                let request = self.requests.len();
                self.calls[at].out.push(Out { attempt, number, ticket, request });
                self.arrive(&to, Some((at, attempt)), span);
            }
        }
    }

    /// A request is answered with `status`.
    fn answer(&mut self, request: usize, status: u16) {
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

    /// A caller's patience ends, if it still waits.
    pub(super) fn patience_ends(&mut self, call: usize, attempt: usize) {
        if self.calls[call].out.iter().any(|out| out.attempt == attempt) {
            self.ended(call, attempt, Outcome::TimedOut);
        }
    }

    /// Whoever waited for a request has left; its proxy sees it, and so does what it waits for.
    fn leave(&mut self, request: usize) {
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

    /// A library gives up what it still waits for.
    fn drop_attempts(&mut self, call: usize) {
        for out in std::mem::take(&mut self.calls[call].out) {
            let (now, instance) = (self.wall(), self.calls[call].instance);
            self.instances[instance].sidecar.answer(now, &out.ticket, edge::Outcome::Cancelled);
            self.leave(out.request);
        }
    }

    /// An attempt ended, as its caller sees it.
    fn ended(&mut self, at: usize, attempt: usize, outcome: Outcome) {
        let Some(place) = self.calls[at].out.iter().position(|out| out.attempt == attempt) else {
            return;
        };
        let out = self.calls[at].out.swap_remove(place);
        let end = match outcome {
            Outcome::Answered(500..) | Outcome::Broken => edge::Outcome::Failure,
            Outcome::Answered(_) => edge::Outcome::Success,
            Outcome::TimedOut => edge::Outcome::Cancelled,
        };
        let (now, instance) = (self.wall(), self.calls[at].instance);
        self.instances[instance].sidecar.answer(now, &out.ticket, end);
        if outcome == Outcome::TimedOut {
            self.leave(out.request);
        }
        self.saw(at, out.number, outcome, None);
        if outcome.is_success() {
            self.drop_attempts(at);
        }
        if self.calls[at].out.is_empty() {
            self.settled(at, outcome);
        }
    }

    fn saw(&mut self, at: usize, attempt: u32, outcome: Outcome, refusal: Option<&str>) {
        let call = &self.calls[at];
        let (source, destination) = (&self.instances[call.instance].role, split(&call.made.to).0);
        let seen = Seen { source: Some(source), destination, attempt, outcome, refusal };
        self.truth.call_ended(self.now, seen);
    }

    /// All attempts so far have ended, the last with `outcome`.
    fn settled(&mut self, at: usize, outcome: Outcome) {
        let client = self.client_of(&self.calls[at]);
        let jitter = self.rng.random();
        if let Some(wait) = client.again_after(self.calls[at].attempts, outcome, jitter) {
            return self.put(self.now + wait, Happening::Again(at));
        }
        let call = &mut self.calls[at];
        if outcome.is_success() && 0 < call.left {
            let times = self.conditions.times(
                &self.instances[call.instance].role,
                &call.made.to,
                call.made.times,
            );
            call.left -= 1;
            call.attempts = 0;
            call.path = path(&call.made.to, Some(times.saturating_sub(call.left)));
            return self.attempt(at);
        }
        match call.maker {
            Maker::Request(request) => self.called(request, at, outcome),
            Maker::Job(fault) => self.job_called(fault),
        }
    }

    /// A call of a request is over.
    fn called(&mut self, request: usize, at: usize, outcome: Outcome) {
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

    /// A job begins or ends.
    pub(super) fn turn_job(&mut self, turn: Turn) {
        if !turn.begins {
            self.jobs.remove(&turn.fault);
            return;
        }
        let Change::Job { one_trace, .. } = self.plan.scenario.faults[turn.fault].change else {
            return;
        };
        let whole = one_trace.then(|| self.root());
        self.jobs.insert(turn.fault, Job { calls: 0, whole, next_at: self.now });
        self.job_calls(turn.fault);
    }

    pub(super) fn job_calls(&mut self, fault: usize) {
        let Change::Job { service, to, every_ms, numbered, .. } =
            self.plan.scenario.faults[fault].change.clone()
        else {
            return;
        };
        let root = self.root();
        let Some(job) = self.jobs.get_mut(&fault) else { return };
        job.calls += 1;
        job.next_at = self.now + Duration::from_millis(every_ms);
        let (number, context) = (numbered.then_some(job.calls), job.whole.unwrap_or(root));
        let made = scenario::Call { to, times: 1, parallel: false, optional: true };
        let instance = self.first_of(&service);
        self.make(Maker::Job(fault), instance, (made, number, 0), context);
        self.attempt(self.calls.len() - 1);
    }

    fn job_called(&mut self, fault: usize) {
        if let Some(job) = self.jobs.get(&fault) {
            self.put(job.next_at.max(self.now), Happening::Job(fault));
        }
    }

    /// The beginning of a trace.
    pub(super) fn root(&mut self) -> TraceContext {
        let trace_id = TraceId::from_bytes(&self.rng.random::<[u8; 16]>()).expect("not zero");
        TraceContext { trace_id, parent_id: self.span(), flags: 0 }
    }

    fn child_of(&mut self, parent: TraceContext) -> TraceContext {
        TraceContext { parent_id: self.span(), ..parent }
    }

    fn span(&mut self) -> SpanId {
        self.spans += 1;
        SpanId::from_bytes(&self.spans.to_be_bytes()).expect("not zero")
    }
}

/// Role and route of `service/route`.
fn split(to: &str) -> (&str, &str) {
    to.split_once('/').expect("a checked scenario")
}

fn path(to: &str, number: Option<u32>) -> String {
    let route = split(to).1;
    number.map_or_else(|| format!("/{route}"), |number| format!("/{route}/{number}"))
}

/// The next of `count`.
fn next(turns: &mut BTreeMap<String, usize>, role: &str, count: usize) -> usize {
    let turn = turns.entry(role.to_owned()).or_default();
    *turn += 1;
    *turn % count
}
