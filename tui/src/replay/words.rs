//! What would have been, in sentences for people.

use fusebox::format::{clock, figure, whole};
use fusebox_demo::what_if::{Budgeted, Leased, Policy, Refusals, Tripped, WhatIf};
use fusebox_proto::view::Incident;

/// The answers, a line each below that of the edge; what they rest on comes last.
pub(super) fn lines(incident: &Incident, what_if: &WhatIf) -> Vec<String> {
    let edge = &what_if.edge;
    let head = format!("what if there had been, on {} → {}:", edge.source, edge.destination);
    let action = match (&what_if.action, &incident.action) {
        (Some(action), _) => Some(taken(action)),
        (None, Some(suggested)) => {
            Some(format!("{}, as suggested: a recording cannot tell", suggested.action))
        }
        (None, None) => None,
    };
    let proxies = what_if.data_quality.proxies;
    let answers = action.into_iter().chain([tripped(&what_if.breaker, proxies)]);
    let answers = answers.chain(budgeted(&what_if.retry_budget));
    let answers = answers.chain([format!("({})", what_if.data_quality.note)]);
    std::iter::once(head).chain(answers.map(|answer| format!("  {answer}"))).collect()
}

fn taken(action: &Leased) -> String {
    let Leased { from, until, ttl_s, refusals, .. } = action;
    let why = if action.suggested { "as suggested" } else { "by a proxy" };
    let until = match clock(*until) {
        end if action.outlasts_recording => format!("until the recording ends at {end}"),
        end => format!("until {end}"),
    };
    let head = format!("{} at {} for {ttl_s} s, {why}", action.action, clock(*from));
    let retries = match refusals.retries {
        0 => "",
        all if all == refusals.refused => ", all of them retries",
        some => &format!(", {} of them retries", whole(some)),
    };
    format!("{head}: {} {until}{retries}; {}", refused(refusals), succeeded(refusals))
}

fn refused(refusals: &Refusals) -> String {
    format!("{} of {} attempts refused", whole(refusals.refused), whole(refusals.attempts))
}

/// How many of the refused did well when it happened: what it would have cost.
fn succeeded(refusals: &Refusals) -> String {
    match refusals.succeeded {
        0 => "none of them succeeded".to_owned(),
        some => format!("{} of them succeeded", whole(some)),
    }
}

fn tripped(breaker: &Tripped, proxies: u64) -> String {
    let Tripped { policy, refusals, failures, given_up, .. } = breaker;
    let head = format!("a breaker ({})", when(policy));
    let given_up = match given_up {
        0 => String::new(),
        some => format!("; {} were given up by callers, which tells it nothing", whole(*some)),
    };
    let Some(opened_at) = breaker.opened_at else {
        let attempts = whole(refusals.attempts);
        let failures = whole(*failures);
        return format!("{head}: not opened, {failures} of {attempts} attempts failed{given_up}");
    };
    let after = breaker.after_first_failure_s.unwrap_or(0.0);
    let before = breaker.before_incident_s.unwrap_or(0.0);
    let side = if before < 0.0 { "after" } else { "before" };
    let openings = match (breaker.openings, proxies) {
        (1, _) => String::new(),
        (n, 0 | 1) => format!(", {} times in all", whole(n)),
        (n, proxies) => format!(", {} times in {proxies} proxies", whole(n)),
    };
    format!(
        "{head}: open at {}, {} s after the first failure, {} s {side} the incident{openings}; {}; \
         {}{given_up}",
        clock(opened_at),
        figure(after),
        figure(before.abs()),
        refused(refusals),
        succeeded(refusals)
    )
}

/// When a breaker opens.
fn when(policy: &Policy) -> String {
    let in_a_row = policy.consecutive_failures.map(|count| format!("{count} failures in a row"));
    let share = policy.success_percent.zip(policy.window_s).zip(policy.requests_min);
    let share = share.map(|((percent, window_s), requests)| {
        format!("below {percent} % of at least {requests} in {window_s} s")
    });
    in_a_row.into_iter().chain(share).collect::<Vec<_>>().join(", or ")
}

/// Nothing where nobody retried.
fn budgeted(budget: &Budgeted) -> Option<String> {
    let Budgeted { percent, interval_s, retries_per_s_min, refusals, first_at } = budget;
    if refusals.attempts == 0 {
        return None;
    }
    let head = format!(
        "a retry budget ({percent} % of requests in {interval_s} s, at least {retries_per_s_min}/s)"
    );
    let retries = whole(refusals.attempts);
    let Some(first_at) = first_at else {
        return Some(format!("{head}: all {retries} retries within it"));
    };
    Some(format!(
        "{head}: {} of {retries} retries refused, the first at {}; {}",
        whole(refusals.refused),
        clock(*first_at),
        succeeded(refusals)
    ))
}

#[cfg(test)]
mod tests;
