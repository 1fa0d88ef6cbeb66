//! A request on its way through the shop: a station, then calls step by step, each through a client
//! library.

use super::{Happening, Instance, Shop, next, us};
use fusebox_demo::client::Outcome;
use fusebox_demo::scenario::{self, Overflow};
use fusebox_demo::station::{Event, Output};
use fusebox_demo::truth::Seen;
use std::time::Duration;

/// A request in an instance. Its number is its ticket there.
#[derive(Debug)]
pub(super) struct Request {
    instance: usize,
    route: String,
    began: Duration,
    /// Calls that it has not made yet.
    calls_from: usize,
    /// Calls under way.
    pending: usize,
    failed: Option<u16>,
    /// Call and attempt that wait for it.
    parent: Option<(usize, usize)>,
}

/// A call of a request.
#[derive(Debug)]
pub(super) struct Call {
    parent: usize,
    made: scenario::Call,
    /// So many more after this one.
    left: u32,
    attempts: u32,
    /// The attempt that is waited for, and its request; any other has been given up.
    attempt: usize,
    request: usize,
    began: Duration,
    is_waiting: bool,
}

impl Shop {
    /// A request comes to `service/route`.
    pub(super) fn arrive(&mut self, to: &str, parent: Option<(usize, usize)>) {
        let (role, route) = to.split_once('/').expect("a checked scenario");
        let of_role = |instance: &Instance| instance.role == role;
        let first = self.instances.iter().position(of_role).expect("a checked scenario");
        let count = self.instances.iter().filter(|instance| of_role(instance)).count();
        let at = first + next(&mut self.turns, role, count) as usize;
        self.instances[at].inbound.requests += 1;
        self.requests.push(Request {
            instance: at,
            route: route.to_owned(),
            began: self.now,
            calls_from: 0,
            pending: 0,
            failed: None,
            parent,
        });
        let ticket = self.requests.len() as u64 - 1;
        self.instances[at].station.handle(self.now, Event::Arrive(ticket));
        self.drain(at);
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
        use rand::RngExt as _;
        let role = &self.instances[self.requests[request].instance].role;
        let error_percent = self.conditions.error_percent(role);
        if self.rng.random_range(0.0..100.0) < error_percent {
            self.answer(request, 500);
        } else {
            self.proceed(request);
        }
    }

    /// The next step of a request's route.
    fn proceed(&mut self, request: usize) {
        let Request { instance, route, calls_from, failed, .. } = &self.requests[request];
        let role = self.instances[*instance].role.clone();
        let calls = &self.plan.service(&role).routes[route];
        let step = calls[*calls_from..].chunk_by(|_, next| next.parallel).next();
        let (Some(step), None) = (step.map(<[_]>::to_vec), *failed) else {
            return self.answer(request, failed.unwrap_or(200));
        };
        self.requests[request].calls_from += step.len();
        self.requests[request].pending += step.len();
        for call in step {
            let times = self.conditions.times(&role, &call.to, call.times);
            self.calls.push(Call {
                parent: request,
                made: call,
                left: times - 1,
                attempts: 0,
                attempt: 0,
                request: 0,
                began: self.now,
                is_waiting: false,
            });
            self.attempt(self.calls.len() - 1);
        }
    }

    /// An attempt of a call leaves its caller.
    pub(super) fn attempt(&mut self, at: usize) {
        let call = &mut self.calls[at];
        call.attempts += 1;
        call.attempt += 1;
        call.began = self.now;
        call.is_waiting = true;
        call.request = self.requests.len();
        let (attempt, attempts, parent) = (call.attempt, call.attempts, call.parent);
        let to = call.made.to.clone();
        let callee = to.split_once('/').expect("a checked scenario").0;
        let caller = self.requests[parent].instance;
        let counts = &mut self.instances[caller].outbound.entry(callee.to_owned()).or_default().0;
        if attempts == 1 {
            counts.first_attempts += 1;
        } else {
            counts.retries_certain += 1;
        }
        let role = &self.instances[caller].role;
        let patience = self.conditions.client(role, callee).timeout();
        self.put(self.now + patience, Happening::Patience { call: at, attempt });
        self.arrive(&to, Some((at, attempt)));
    }

    /// A request is answered with `status`.
    fn answer(&mut self, request: usize, status: u16) {
        let Request { instance, began, parent, .. } = self.requests[request];
        let is_waited_for = parent.is_none_or(|(call, attempt)| {
            self.calls[call].is_waiting && self.calls[call].attempt == attempt
        });
        let inbound = &mut self.instances[instance].inbound;
        if is_waited_for {
            inbound.failures += u64::from(500 <= status);
            inbound.latency.record_us(us(self.now.saturating_sub(began)));
        }
        match parent {
            None if status == 200 => self.truth.entry_succeeded(began),
            Some((call, _)) if is_waited_for => self.ended(call, Outcome::Answered(status)),
            _ => (),
        }
    }

    /// A caller's patience ends, if it still waits.
    pub(super) fn patience_ends(&mut self, call: usize, attempt: usize) {
        if !self.calls[call].is_waiting || self.calls[call].attempt != attempt {
            return;
        }
        // The proxy of the callee sees the caller leave.
        let request = self.calls[call].request;
        let Request { instance, began, .. } = self.requests[request];
        let Instance { role, inbound, station, .. } = &mut self.instances[instance];
        inbound.cancelled += 1;
        inbound.latency.record_us(us(self.now.saturating_sub(began)));
        if !self.plan.service(role).serves_abandoned {
            station.handle(self.now, Event::Abandon(request as u64));
            self.drain(instance);
        }
        self.ended(call, Outcome::TimedOut);
    }

    /// An attempt ended, as its caller sees it.
    fn ended(&mut self, at: usize, outcome: Outcome) {
        use rand::RngExt as _;
        self.calls[at].is_waiting = false;
        let Call { parent, ref made, attempts, began, .. } = self.calls[at];
        let (callee, optional) =
            (made.to.split_once('/').expect("checked").0.to_owned(), made.optional);
        let caller = self.requests[parent].instance;
        let role = self.instances[caller].role.clone();
        let window = self.instances[caller].outbound.entry(callee.clone()).or_default();
        window.1.record_us(us(self.now.saturating_sub(began)));
        match outcome {
            Outcome::TimedOut => window.0.timeouts += 1,
            outcome if outcome.is_success() => window.0.successes += 1,
            _ => window.0.failures += 1,
        }
        let seen = Seen {
            source: Some(&role),
            destination: &callee,
            attempt: attempts,
            outcome,
            refusal: None,
        };
        self.truth.call_ended(self.now, seen);
        let library = self.conditions.client(&role, &callee);
        if let Some(wait) = library.again_after(attempts, outcome, self.rng.random()) {
            return self.put(self.now + wait, Happening::Again(at));
        }
        if outcome.is_success() && 0 < self.calls[at].left {
            self.calls[at].left -= 1;
            self.calls[at].attempts = 0;
            return self.attempt(at);
        }
        let request = &mut self.requests[parent];
        if !outcome.is_success() && !optional {
            request.failed = Some(if outcome == Outcome::TimedOut { 504 } else { 502 });
        }
        request.pending -= 1;
        if request.pending == 0 {
            self.proceed(parent);
        }
    }
}
