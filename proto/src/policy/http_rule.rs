//! One rule of a `VirtualService`: what it does, when it gives up, what it tries again.

use super::at::At;
use super::fields::Fields;
use super::header_edits;
use super::http_action::{self, Context};
use super::http_match::{self, MESH, Scope};
use super::matching::HttpMatch;
use super::retries;
use super::route::{Abort, Action, Fault, HttpRule, Mirror, Percent};
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A rule with the conditions that say where each of them holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScopedRule {
    /// Its `matches` are empty: they are in [`Self::matches`].
    rule: HttpRule,
    /// `None`: the rule has none.
    matches: Option<Vec<(HttpMatch, Scope)>>,
    scope: Scope,
}

impl ScopedRule {
    /// The rule as it is where `holds`; `None` if it is not there at all.
    pub(super) fn cut(&self, holds: impl Fn(&Scope) -> bool) -> Option<HttpRule> {
        let Some(all) = &self.matches else {
            return holds(&self.scope).then(|| self.rule.clone());
        };
        let matches = all.iter().filter(|(_, scope)| holds(scope));
        let matches: Vec<HttpMatch> = matches.map(|(condition, _)| condition.clone()).collect();
        (!matches.is_empty()).then(|| HttpRule { matches, ..self.rule.clone() })
    }

    /// Whether no request between services gets past it.
    pub(super) fn takes_all(&self) -> bool {
        let is_any = |(condition, scope): &(HttpMatch, Scope)| {
            scope.has(MESH) && *condition == HttpMatch::default()
        };
        self.scope.has(MESH) && self.matches.as_ref().is_none_or(|all| all.iter().any(is_any))
    }
}

/// Reads a rule; `None` where it can do nothing. `name` is for a rule without one.
pub(super) fn read(
    at: At<'_>,
    name: String,
    scope: &Scope,
    context: &Context<'_>,
) -> Option<ScopedRule> {
    let fields = at.object()?;
    let edits = fields.object("headers").map(header_edits::read).unwrap_or_default();
    let name: Arc<str> = fields.get("name").and_then(|at| at.name()).unwrap_or_else(|| name.into());
    let matches = fields
        .get("match")
        .map(|at| at.items().filter_map(|at| http_match::http(at, scope)).collect::<Vec<_>>());
    let matches = matches.filter(|matches| !matches.is_empty());
    let action = action(&fields, context);
    let timeout = fields.duration("timeout", Duration::ZERO).filter(|timeout| !timeout.is_zero());
    let fault = fields.object("fault").map(fault).unwrap_or_default();
    let retries = retries::of_rule(&fields, fields.has("route"), context.profile);
    let has_fault = fault.delay.is_some() || fault.abort.is_some();
    if has_fault && (timeout.is_some() || retries.is_some()) && fields.has("fault") {
        fields.at().note(
            "has a fault beside timeout or retries: faults come first, a delay does not count \
             against the timeout, an abort is not retried",
        );
    }
    let mirrors = mirrors(&fields, context);
    let rewrite = http_action::rewrite(&fields, &edits);
    fields.finish(&["corsPolicy", "delegate"]);
    let rule = HttpRule {
        name,
        matches: Vec::new(),
        action: action?,
        timeout,
        retries,
        fault,
        mirrors,
        rewrite,
        request_headers: edits.request,
        response_headers: edits.response,
    };
    Some(ScopedRule { rule, matches, scope: scope.clone() })
}

/// Exactly one of the things that a rule can do.
fn action(fields: &Fields<'_>, context: &Context<'_>) -> Option<Action> {
    let route = fields.get("route");
    let redirect = fields.object("redirect");
    let response = fields.object("directResponse");
    match (route, redirect, response) {
        (Some(at), None, None) => http_action::destinations(&at, context).map(Action::Forward),
        (None, Some(fields), None) => Some(Action::Redirect(http_action::redirect(fields))),
        (None, None, Some(fields)) => http_action::direct_response(fields).map(Action::Respond),
        (None, None, None) => {
            if fields.has("delegate") {
                fields.at().warn("delegates, which is not supported: the rule is left out");
            } else {
                fields
                    .at()
                    .error("does nothing: allowed is one of route, redirect, directResponse");
            }
            None
        }
        _ => {
            fields
                .at()
                .error("does several things: allowed is one of route, redirect, directResponse");
            None
        }
    }
}

fn fault(fields: Fields<'_>) -> Fault {
    let delay = fields.object("delay").and_then(|fields| {
        let delay = fields.get("fixedDelay").and_then(|at| at.duration(MS));
        if !fields.has("fixedDelay") && !fields.has("exponentialDelay") {
            fields.at().error("has no fixedDelay, which is required");
        }
        let old = fields.get("percent");
        let old_percent = old.as_ref().and_then(|at| at.float(0.0..=100.0)).and_then(Percent::new);
        if let Some(at) = &old {
            at.warn("is deprecated: it counts where percentage is absent");
        }
        let percent = fields.object("percentage").map(percent).or(old_percent);
        let percent = or_none(&fields, percent, "delayed");
        fields.finish(&["exponentialDelay"]);
        Some((delay?, percent))
    });
    let abort = fields.object("abort").and_then(|fields| {
        let http = fields.uint("httpStatus", 200..=599).map(|status| Abort::Http(status as u16));
        let grpc = fields.choice("grpcStatus", &GRPC_STATUSES).map(Abort::Grpc);
        if http.is_some() == grpc.is_some() && !fields.has("http2Error") {
            fields.at().error("has no single status: allowed is one of httpStatus, grpcStatus");
        }
        let percent = fields.object("percentage").map(percent);
        let percent = or_none(&fields, percent, "aborted");
        fields.finish(&["http2Error"]);
        Some((http.or(grpc)?, percent))
    });
    fields.finish(&[]);
    Fault { delay, abort }
}

fn or_none(fields: &Fields<'_>, percent: Option<Percent>, done: &str) -> Percent {
    if percent.is_none() && !fields.has("percentage") {
        fields
            .at()
            .warn(format!("has no percentage, which is 0: no request is {done}, as in Istio"));
    }
    percent.unwrap_or(Percent::ZERO)
}

/// `{value: 12.5}`.
fn percent(fields: Fields<'_>) -> Percent {
    let value = fields.get("value").and_then(|at| at.float(0.0..=100.0)).unwrap_or_default();
    fields.finish(&[]);
    Percent::new(value).unwrap_or(Percent::ZERO)
}

fn mirrors(fields: &Fields<'_>, context: &Context<'_>) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    let old = fields.uint("mirrorPercent", 0..=100).and_then(|old| Percent::new(old.into()));
    let share = fields.object("mirrorPercentage").map(percent).or(old);
    if let Some(at) = fields.get("mirror") {
        let percent = share.unwrap_or(Percent::ALL);
        let destination = http_action::destination(at, context);
        mirrors.extend(destination.map(|destination| Mirror { destination, percent }));
    } else if share.is_some() {
        fields.at().warn("has a percentage for a mirror, and no mirror");
    }
    if let Some(at) = fields.get("mirrors") {
        if fields.has("mirror") {
            at.error("stands beside mirror; allowed is one of them");
        }
        for at in at.items() {
            let Some(fields) = at.object() else { continue };
            let destination = fields.required("destination");
            let destination = destination.and_then(|at| http_action::destination(at, context));
            let percent = fields.object("percentage").map_or(Percent::ALL, percent);
            fields.finish(&[]);
            mirrors.extend(destination.map(|destination| Mirror { destination, percent }));
        }
    }
    mirrors
}

const GRPC_STATUSES: [(&str, u16); 17] = [
    ("OK", 0),
    ("CANCELLED", 1),
    ("UNKNOWN", 2),
    ("INVALID_ARGUMENT", 3),
    ("DEADLINE_EXCEEDED", 4),
    ("NOT_FOUND", 5),
    ("ALREADY_EXISTS", 6),
    ("PERMISSION_DENIED", 7),
    ("RESOURCE_EXHAUSTED", 8),
    ("FAILED_PRECONDITION", 9),
    ("ABORTED", 10),
    ("OUT_OF_RANGE", 11),
    ("UNIMPLEMENTED", 12),
    ("INTERNAL", 13),
    ("UNAVAILABLE", 14),
    ("DATA_LOSS", 15),
    ("UNAUTHENTICATED", 16),
];
