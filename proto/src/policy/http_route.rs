//! `HTTPRoute` of the Gateway API: between services (a parent of kind `Service`) and at gateways.
//!
//! Rules of several routes of one parent are one list, in which the more specific condition goes
//! first, whatever the order of the documents (`compile` sorts them by [`Precedence`]). For that,
//! a rule with three conditions is three rules here.

use super::Profile;
use super::at::At;
use super::document::Document;
use super::fields::Fields;
use super::header_edits::header_name;
use super::host::HostName;
use super::http_action::Context;
use super::http_match::{Scope, gateway};
use super::ingress::{Bound, BoundRules};
use super::matching::{HttpMatch, Pattern, StringMatch};
use super::route::{HttpRule, Retries, RetryCondition, RetryOn};
use super::scope::host;
use super::sink::{Place, Sink};
use super::{http_filter, retries};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// Retries where `retry` does not say how many.
const RETRIES_DEFAULT: u32 = 1;
/// More are a storm by themselves.
const RETRIES_MAX: u32 = 100;
/// Conditions of all rules of one route, after the Gateway API.
const CONDITIONS_MAX: usize = 128;
/// Parents of one route, after the Gateway API.
const PARENTS_MAX: usize = 32;
const MS: Duration = Duration::from_millis(1);

/// A parsed route.
pub(super) struct HttpRoute {
    /// Services whose callers it routes, and the port if it is for one only.
    pub(super) services: Vec<(HostName, Option<u16>)>,
    /// Gateways, as `namespace/name`, and where it names them.
    pub(super) gateways: Vec<(Arc<str>, Place)>,
    /// Hosts at the gateways; none: every host.
    pub(super) hostnames: Vec<HostName>,
    /// One for each condition.
    pub(super) rules: Vec<(Precedence, Arc<HttpRule>)>,
    /// As in a `VirtualService`; a route has no subsets.
    pub(super) namespace: Arc<str>,
}

/// What goes first: exact paths, then regular expressions, then the longer prefix; then those with
/// a method, with more headers, with more query parameters. The Gateway API leaves the place of
/// regular expressions open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    kind: Reverse<u8>,
    path_len: Reverse<usize>,
    has_method: Reverse<bool>,
    headers: Reverse<usize>,
    query_params: Reverse<usize>,
}

impl Precedence {
    fn of(condition: &HttpMatch) -> Self {
        let (kind, len) = match &condition.uri {
            Some(StringMatch::Exact(path)) => (3, path.len()),
            Some(StringMatch::Regex(pattern)) => (2, pattern.as_str().len()),
            Some(StringMatch::PathPrefix(path) | StringMatch::Prefix(path)) => (1, path.len()),
            Some(StringMatch::Present) | None => (0, 0),
        };
        Self {
            kind: Reverse(kind),
            path_len: Reverse(len),
            has_method: Reverse(condition.method.is_some()),
            headers: Reverse(condition.headers.len()),
            query_params: Reverse(condition.query_params.len()),
        }
    }
}

/// Reads one; `None` if it has no parent.
pub(super) fn read(document: &Document, profile: Profile, sink: &Sink) -> Option<HttpRoute> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let namespace = document.namespace();
    let context = Context::new(namespace, profile);
    let (services, gateways) = parents(&spec, namespace);
    let hostnames: Vec<HostName> =
        spec.get("hostnames").iter().flat_map(At::items).filter_map(|at| host(&at, "")).collect();
    if let Some(at) = spec.get("hostnames").filter(|_| gateways.is_empty() && !services.is_empty())
    {
        at.warn("has no effect on a route whose parents are services");
    }
    let mut rules = Vec::new();
    for (index, at) in spec.get("rules").iter().flat_map(At::items).enumerate() {
        let name = format!("{}[{index}]", document.name());
        rules.extend(rule(at, name, &context).unwrap_or_default());
    }
    if CONDITIONS_MAX < rules.len() {
        spec.at().error(format!("has {} conditions; at most {CONDITIONS_MAX}", rules.len()));
    }
    if rules.is_empty() && !spec.has("rules") {
        spec.at().error("has no rules; at least one is required");
    }
    spec.finish(&["useDefaultGateways"]);
    let has_parent = !services.is_empty() || !gateways.is_empty();
    has_parent.then(|| HttpRoute {
        services,
        gateways,
        hostnames,
        rules,
        namespace: namespace.into(),
    })
}

impl HttpRoute {
    /// What it says at gateways, if anything.
    pub(super) fn bound(&self, document: &Document) -> Option<Bound> {
        let any = HostName::parse("*", "").ok().filter(|_| self.hostnames.is_empty());
        let gateways: Vec<_> = self.gateways.iter().map(|(name, _)| Arc::clone(name)).collect();
        (!gateways.is_empty()).then(|| Bound {
            object: document.to_string().into(),
            namespace: Arc::clone(&self.namespace),
            hosts: self.hostnames.iter().cloned().chain(any).collect(),
            scope: Scope::new(gateways, &self.namespace),
            rules: BoundRules::Route(self.rules.clone()),
        })
    }
}

type Parents = (Vec<(HostName, Option<u16>)>, Vec<(Arc<str>, Place)>);

fn parents(spec: &Fields<'_>, namespace: &str) -> Parents {
    let (mut services, mut gateways) = (Vec::new(), Vec::new());
    let Some(at) = spec.required("parentRefs") else { return (services, gateways) };
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let name = fields.required("name").and_then(|at| at.name());
        let own = fields.text("namespace").unwrap_or(namespace);
        let group = fields.text("group").map(ToOwned::to_owned);
        let kinds = [("Gateway", false), ("Service", true)];
        let is_service = fields.choice("kind", &kinds).unwrap_or_default();
        let port = fields.get("port").and_then(|at| at.port());
        let wanted = if is_service { ["", "core"] } else { ["gateway.networking.k8s.io", ""] };
        if group.as_deref().is_some_and(|group| !wanted.contains(&group)) {
            fields
                .at()
                .error(format!("has a group that has no such kind; allowed is {:?}", wanted[0]));
        }
        match name {
            Some(name) if is_service => match HostName::parse(&name, own) {
                Ok(host) => services.push((host, port)),
                Err(error) => {
                    fields.at().error(format!("has the name {name}, which {}", error.reason));
                }
            },
            Some(name) => gateways.push((gateway(&name, own), fields.at().place())),
            None => (),
        }
        fields.finish(&["sectionName"]);
    }
    if at.items().next().is_none() {
        at.error("has no parent; at least one is required");
    } else if PARENTS_MAX < at.items().count() {
        at.error(format!("has more than {PARENTS_MAX} parents"));
    }
    (services, gateways)
}

/// One rule for each of its conditions.
fn rule(
    at: At<'_>,
    name: String,
    context: &Context<'_>,
) -> Option<Vec<(Precedence, Arc<HttpRule>)>> {
    let fields = at.object()?;
    let name: Arc<str> = fields.get("name").and_then(|at| at.name()).unwrap_or_else(|| name.into());
    let matches: Vec<HttpMatch> =
        fields.get("matches").iter().flat_map(At::items).filter_map(condition).collect();
    let filters =
        fields.get("filters").map(|at| http_filter::read(&at, context)).unwrap_or_default();
    let action = http_filter::action(&fields, filters.redirect, context);
    let (timeout, per_try) = timeouts(&fields);
    let retries = retry(&fields, per_try, context.profile);
    // Without retries there is one attempt, which may take no longer than either allows.
    let timeout = match retries {
        None => timeout.into_iter().chain(per_try).min(),
        Some(_) => timeout,
    };
    fields.finish(&["sessionPersistence"]);
    let rule = HttpRule {
        name,
        matches: Vec::new(),
        action: action?,
        timeout,
        retries,
        fault: super::route::Fault::default(),
        mirrors: filters.mirrors,
        rewrite: filters.rewrite,
        request_headers: filters.request_headers,
        response_headers: filters.response_headers,
    };
    if matches.is_empty() {
        return Some(vec![(Precedence::of(&HttpMatch::default()), Arc::new(rule))]);
    }
    let one = |condition: HttpMatch| {
        let precedence = Precedence::of(&condition);
        (precedence, Arc::new(HttpRule { matches: vec![condition], ..rule.clone() }))
    };
    Some(matches.into_iter().map(one).collect())
}

fn condition(at: At<'_>) -> Option<HttpMatch> {
    let fields = at.object()?;
    let condition = HttpMatch {
        uri: fields.object("path").and_then(path),
        method: fields.text("method").map(|method| StringMatch::Exact(method.into())),
        headers: pairs(&fields, "headers", true),
        query_params: pairs(&fields, "queryParams", false),
        ..HttpMatch::default()
    };
    fields.finish(&[]);
    Some(condition)
}

#[derive(Clone, Copy)]
enum MatchType {
    Exact,
    Prefix,
    Regex,
}

fn path(fields: Fields<'_>) -> Option<StringMatch> {
    let types = [
        ("PathPrefix", MatchType::Prefix),
        ("Exact", MatchType::Exact),
        ("RegularExpression", MatchType::Regex),
    ];
    let kind = fields.choice("type", &types).unwrap_or(MatchType::Prefix);
    let at = fields.get("value");
    let value = at.as_ref().and_then(At::text).unwrap_or("/");
    if let (Some(at), MatchType::Exact | MatchType::Prefix) = (&at, kind)
        && !value.starts_with('/')
    {
        at.error(format!("is {value}; allowed is a path that begins with /"));
    }
    let read = match (kind, &at) {
        (MatchType::Regex, Some(at)) => at.pattern(Pattern::whole).map(StringMatch::Regex),
        (MatchType::Exact, _) => Some(StringMatch::Exact(value.into())),
        _ => Some(StringMatch::PathPrefix(value.trim_end_matches('/').into())),
    };
    fields.finish(&[]);
    read
}

/// `{type, name, value}` lists.
fn pairs(fields: &Fields<'_>, name: &'static str, is_header: bool) -> Vec<(Box<str>, StringMatch)> {
    let types = [("Exact", MatchType::Exact), ("RegularExpression", MatchType::Regex)];
    let mut read: Vec<(Box<str>, StringMatch)> = Vec::new();
    for at in fields.get(name).iter().flat_map(At::items) {
        let Some(fields) = at.object() else { continue };
        let kind = fields.choice("type", &types).unwrap_or(MatchType::Exact);
        let key = fields.required("name").and_then(|at| {
            let text = at.text()?;
            if is_header { header_name(&at, text) } else { Some(text.into()) }
        });
        let value = fields.required("value").and_then(|at| match kind {
            MatchType::Regex => at.pattern(Pattern::whole).map(StringMatch::Regex),
            MatchType::Exact | MatchType::Prefix => Some(StringMatch::Exact(at.text()?.into())),
        });
        fields.finish(&[]);
        let (Some(key), Some(value)) = (key, value) else { continue };
        if read.iter().any(|(other, _)| *other == key) {
            at.warn(format!("names {key} once more and has no effect: the first counts"));
        } else {
            read.push((key, value));
        }
    }
    read
}

/// Of the whole request, and of one attempt. 0 is no limit.
fn timeouts(rule: &Fields<'_>) -> (Option<Duration>, Option<Duration>) {
    let Some(fields) = rule.object("timeouts") else { return (None, None) };
    let limit = |name| fields.get(name).and_then(|at| at.gateway_duration());
    let (request, attempt) = (limit("request"), limit("backendRequest"));
    let (request, attempt) = (request.filter(|t| !t.is_zero()), attempt.filter(|t| !t.is_zero()));
    if let (Some(request), Some(attempt)) = (request, attempt)
        && request < attempt
    {
        fields.at().error("has a backendRequest above request; allowed is at most as much");
    }
    fields.finish(&[]);
    (request, attempt)
}

fn retry(
    rule: &Fields<'_>,
    per_try_timeout: Option<Duration>,
    profile: Profile,
) -> Option<Retries> {
    let Some(fields) = rule.object("retry") else {
        if rule.has("backendRefs") && !rule.has("retry") {
            retries::say_unasked(rule.at(), profile);
            return retries::unasked(profile);
        }
        return None;
    };
    let codes = fields.get("codes");
    let codes = codes.iter().flat_map(At::items).filter_map(|at| at.uint(400..=599));
    let statuses = codes.map(|code| (code as u16, code as u16)).collect();
    let retries_max = fields.uint("attempts", 1..=RETRIES_MAX).unwrap_or(RETRIES_DEFAULT);
    let backoff = fields.get("backoff").and_then(|at| at.gateway_duration());
    fields.finish(&[]);
    // "Implementations SHOULD retry on connection errors if a retry stanza is configured."
    let conditions =
        vec![RetryCondition::ConnectFailure, RetryCondition::Reset, RetryCondition::RefusedStream];
    Some(Retries {
        retries_max,
        per_try_timeout,
        on: RetryOn { conditions, statuses },
        backoff_base: backoff.map_or(retries::BACKOFF_BASE, |backoff| backoff.max(MS)),
    })
}
