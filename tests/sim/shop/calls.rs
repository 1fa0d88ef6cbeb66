//! A call of the shop through a client library and the proxy beside it: attempts, hedges, patience; and
//! jobs, which call on their own account.

use super::work::split;
use super::{Attempt, Happening, Shop};
use crate::sidecar::Sent;
use fusebox_demo::client::Outcome;
use fusebox_demo::conditions::Turn;
use fusebox_demo::scenario::{self, Change, Client};
use fusebox_demo::truth::Seen;
use fusebox_proto::trace::TraceContext;
use fusebox_proxy::edge;
use rand::RngExt as _;
use std::time::Duration;

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Maker {
    Request(usize),
    /// The job of this fault.
    Job(usize),
}

/// A call through a client library.
#[derive(Debug)]
pub(super) struct Call {
    maker: Maker,
    instance: usize,
    pub(super) made: scenario::Call,
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
    pub(super) fn make(
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

    /// A caller's patience ends, if it still waits.
    pub(super) fn patience_ends(&mut self, call: usize, attempt: usize) {
        if self.calls[call].out.iter().any(|out| out.attempt == attempt) {
            self.ended(call, attempt, Outcome::TimedOut);
        }
    }

    /// A library gives up what it still waits for.
    pub(super) fn drop_attempts(&mut self, call: usize) {
        for out in std::mem::take(&mut self.calls[call].out) {
            let (now, instance) = (self.wall(), self.calls[call].instance);
            self.instances[instance].sidecar.answer(now, &out.ticket, edge::Outcome::Cancelled);
            self.leave(out.request);
        }
    }

    /// An attempt ended, as its caller sees it.
    pub(super) fn ended(&mut self, at: usize, attempt: usize, outcome: Outcome) {
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
}

fn path(to: &str, number: Option<u32>) -> String {
    let route = split(to).1;
    number.map_or_else(|| format!("/{route}"), |number| format!("/{route}/{number}"))
}
