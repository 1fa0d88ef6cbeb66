//! A request meets the rules of its host.
//!
//! In this order: the first rule that matches; its faults, before anything else; an answer of its
//! own, or a destination by weight; header edits and rewrites; copies to mirrors; and then the way
//! of every request, with the rule's timeout.

use super::mirror;
use super::{Answered, Call, Outbound, Terms, What, broken_body, rewrite};
use crate::access_log::Trail;
use crate::body::hold;
use crate::exchange;
use crate::policy::plan::{Branch, HostRules, NoTarget, RulePlan, Rules, Target};
use crate::refuse;
use crate::spans::Ending;
use fusebox_proto::Now;
use fusebox_proto::policy::{
    self, Abort, Action, DirectResponse, HostMap, HttpRule, Matched, Redirect,
};
use http::header::EXPECT;
use http::{HeaderMap, StatusCode, request};
use std::borrow::Cow;

/// Headers as rules read them.
struct Headers<'a>(&'a HeaderMap);

impl policy::Headers for Headers<'_> {
    fn get(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.0.get_all(name).iter();
        let first = values.next()?.as_bytes();
        let Some(second) = values.next() else {
            return Some(Cow::Borrowed(first));
        };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.push(b',');
            joined.extend_from_slice(value.as_bytes());
        }
        Some(Cow::Owned(joined))
    }
}

impl Outbound {
    /// Answers a request from outside, by the rules of the host that it names. What names none that
    /// is served belongs to `nobody`.
    pub(super) async fn enter(
        &self,
        nobody: &Target,
        hosts: &HostMap<HostRules>,
        call: Call,
    ) -> Answered {
        let Some(host) = hosts.get(&exchange::authority(&call.request.head)) else {
            return self.answer(nobody, What::UnknownHost, call, StatusCode::NOT_FOUND);
        };
        self.route(host.own.as_ref().unwrap_or(nobody), &host.rules, call).await
    }

    /// Answers a request to a host that has rules. What is answered here belongs to the host's
    /// `own` edge.
    pub(super) async fn route(&self, own: &Target, rules: &Rules, call: Call) -> Answered {
        let matched = self.looked_at(&call.request.head, |request| rules.routes.route(request));
        let Some((matched, plan)) = matched.and_then(|it| Some((it, rules.plan(it.rule)?))) else {
            return self.answer(own, What::NoRoute, call, StatusCode::NOT_FOUND);
        };
        let fault = &matched.rule.fault;
        if let Some((delay, percent)) = fault.delay
            && percent.takes(rand::random())
        {
            self.common.tally.count(What::FaultDelay);
            tokio::time::sleep(delay).await;
        }
        if let Some((abort, percent)) = fault.abort
            && percent.takes(rand::random())
        {
            return self.abort(own, abort, call);
        }
        let mut response = match &matched.rule.action {
            Action::Forward(destinations) => {
                let picked = destinations.pick(plan.turns.next());
                let at = destinations.iter().position(|one| std::ptr::eq(one, picked));
                let Some(branch) = at.and_then(|at| plan.branches.get(at)) else {
                    return self.answer(own, What::NoRoute, call, StatusCode::NOT_FOUND);
                };
                return self.send_on(own, matched, (plan, branch), call).await;
            }
            Action::Redirect(redirect) => self.redirect(own, redirect, matched, call),
            Action::Respond(direct) => self.direct(own, direct, call),
        };
        plan.response.apply(response.headers_mut());
        response
    }

    async fn send_on(
        &self,
        own: &Target,
        matched: Matched<'_>,
        (plan, branch): (&RulePlan, &Branch),
        mut call: Call,
    ) -> Answered {
        let target = match &branch.target {
            Ok(target) => target,
            Err(NoTarget::UnknownHost) => {
                return self.answer(own, What::UnknownHost, call, StatusCode::SERVICE_UNAVAILABLE);
            }
            Err(NoTarget::EmptySubset) => {
                return self.answer(own, What::EmptySubset, call, StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        plan.request.apply(&mut call.request.head.headers);
        branch.request.apply(&mut call.request.head.headers);
        if rewritten(&mut call.request.head, matched).is_none() {
            return self.answer(own, What::Unwritable, call, StatusCode::INTERNAL_SERVER_ERROR);
        }
        if self.mirror(plan, &mut call).await.is_err() {
            return broken_body(call.request.head.version);
        }
        let HttpRule { timeout, retries, .. } = matched.rule;
        let response = [Some(&branch.response), Some(&plan.response)];
        let terms = Terms { timeout: *timeout, retries: retries.as_ref(), response };
        self.forward(target, call, terms).await
    }

    /// Sends copies to the mirrors that want one.
    async fn mirror(&self, plan: &RulePlan, call: &mut Call) -> Result<(), hyper::Error> {
        let wanted = plan.mirrors.iter().filter(|one| one.percent.takes(one.turns.next()));
        for one in wanted {
            let tally = &self.common.tally;
            let Ok(target) = &one.target else {
                tally.count(What::MirrorDropped);
                continue;
            };
            // Reading ahead would make a caller send that waits for a `100 Continue`.
            let is_waiting =
                call.request.head.headers.contains_key(EXPECT) && !call.request.body.is_empty();
            if is_waiting || !hold(&mut call.request.body).await? {
                tally.count(What::MirrorTooLong);
                continue;
            }
            mirror::send(&self.common, target, &call.request.head, &call.request.body);
        }
        Ok(())
    }

    fn abort(&self, own: &Target, abort: Abort, call: Call) -> Answered {
        let edge = &own.edge.name;
        let (word, is_grpc) = (What::FaultAbort.as_str(), call.is_grpc());
        let response = match abort {
            Abort::Http(status) => {
                let status = StatusCode::from_u16(status);
                let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                refuse::by_policy(status, word, edge, is_grpc)
            }
            Abort::Grpc(status) => refuse::by_policy_grpc(status, word, edge, is_grpc),
        };
        self.answered(own, What::FaultAbort, call, response)
    }

    fn redirect(
        &self,
        own: &Target,
        redirect: &Redirect,
        matched: Matched<'_>,
        call: Call,
    ) -> Answered {
        let location = self
            .looked_at(&call.request.head, |request| redirect.location(request, matched.condition));
        let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
        self.answered(own, What::Redirect, call, refuse::redirect(status, &location))
    }

    fn direct(&self, own: &Target, direct: &DirectResponse, call: Call) -> Answered {
        let status = StatusCode::from_u16(direct.status).unwrap_or(StatusCode::OK);
        self.answered(own, What::DirectResponse, call, refuse::dictated(status, &direct.body))
    }

    fn answer(&self, own: &Target, what: What, call: Call, status: StatusCode) -> Answered {
        let is_grpc = call.is_grpc();
        let response = refuse::by_policy(status, what.as_str(), &own.edge.name, is_grpc);
        self.answered(own, what, call, response)
    }

    /// Counts an answer of the policy and leaves a span of it.
    fn answered(
        &self,
        own: &Target,
        what: What,
        mut call: Call,
        mut response: Answered,
    ) -> Answered {
        self.common.tally.count(what);
        let trail = || Trail { policy: Some(what.as_str()), ..own.trail() };
        self.leave_trail(&mut response, trail);
        let now = Now::read();
        let speaks = (call.trace, call.protocol);
        if let Some(span) = self.span(now, own, &mut call.request.head, speaks) {
            let http_status = Some(response.status().as_u16());
            let ending = Ending { http_status, refused: Some(what.as_str()), ..Ending::default() };
            own.edge.spans.push(&span, ending, now.instant);
        }
        response
    }

    /// Shows `head` to rules.
    fn looked_at<T>(
        &self,
        head: &request::Parts,
        look: impl FnOnce(&policy::Request<'_>) -> T,
    ) -> T {
        look(&policy::Request {
            method: head.method.as_str(),
            scheme: "http",
            authority: &exchange::authority(head),
            path: head.uri.path(),
            query: head.uri.query(),
            port: self.port,
            headers: &Headers(&head.headers),
            caller: &self.common.caller,
        })
    }
}

/// Changes path and authority as the rule says. `None`: there is no such path.
fn rewritten(head: &mut request::Parts, Matched { rule, condition }: Matched<'_>) -> Option<()> {
    if let Some(path) = &rule.rewrite.path {
        rewrite::path(head, path, condition)?;
    }
    if let Some(authority) = &rule.rewrite.authority {
        rewrite::authority(head, authority)?;
    }
    Some(())
}
