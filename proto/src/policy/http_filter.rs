//! Filters and backends of an `HTTPRoute`.

use super::at::At;
use super::fields::Fields;
use super::header_edits::{is_authority, modifier};
use super::host::HostName;
use super::http_action::{Context, path, redirect_status};
use super::rewrite::{HeaderEdits, PathRewrite, Redirect, RedirectPort, Rewrite};
use super::route::{Action, Destination, Destinations, Mirror, Percent, Weighted};

/// A weight, after the Gateway API.
const WEIGHT_MAX: u32 = 1_000_000;

/// What the filters of a rule or of a backend do.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) request_headers: HeaderEdits,
    pub(super) response_headers: HeaderEdits,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) rewrite: Rewrite,
    pub(super) redirect: Option<Redirect>,
}

#[derive(Clone, Copy, PartialEq)]
enum FilterType {
    RequestHeaders,
    ResponseHeaders,
    Mirror,
    Redirect,
    Rewrite,
    Unsupported,
}

const TYPES: [(&str, FilterType); 8] = [
    ("RequestHeaderModifier", FilterType::RequestHeaders),
    ("ResponseHeaderModifier", FilterType::ResponseHeaders),
    ("RequestMirror", FilterType::Mirror),
    ("RequestRedirect", FilterType::Redirect),
    ("URLRewrite", FilterType::Rewrite),
    ("CORS", FilterType::Unsupported),
    ("ExternalAuth", FilterType::Unsupported),
    ("ExtensionRef", FilterType::Unsupported),
];

/// Reads `filters`. Each kind may be there once, mirrors more often.
pub(super) fn read(at: &At<'_>, context: &Context<'_>) -> Filters {
    let mut filters = Filters::default();
    let mut seen: Vec<FilterType> = Vec::new();
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let Some(kind) = fields.required("type").and_then(|at| at.choice(&TYPES)) else { continue };
        if kind != FilterType::Mirror && kind != FilterType::Unsupported && seen.contains(&kind) {
            at.error("is the second filter of its type; allowed is one");
        }
        seen.push(kind);
        let body = |name| fields.required(name).and_then(At::object);
        match kind {
            FilterType::RequestHeaders => {
                filters.request_headers =
                    body("requestHeaderModifier").map(modifier).unwrap_or_default();
            }
            FilterType::ResponseHeaders => {
                filters.response_headers =
                    body("responseHeaderModifier").map(modifier).unwrap_or_default();
            }
            FilterType::Mirror => {
                filters
                    .mirrors
                    .extend(body("requestMirror").and_then(|body| mirror(body, context)));
            }
            FilterType::Redirect => filters.redirect = body("requestRedirect").map(redirect),
            FilterType::Rewrite => {
                filters.rewrite = body("urlRewrite").map(rewrite).unwrap_or_default();
            }
            FilterType::Unsupported => (),
        }
        if kind == FilterType::Unsupported {
            at.warn("is of a type that is not supported and has no effect");
        }
        fields.finish(&["cors", "externalAuth", "extensionRef"]);
    }
    if seen.contains(&FilterType::Redirect) && seen.contains(&FilterType::Rewrite) {
        at.error("has RequestRedirect and URLRewrite; allowed is one of them");
    }
    filters
}

/// Backends, or a redirect.
pub(super) fn action(
    rule: &Fields<'_>,
    redirect: Option<Redirect>,
    context: &Context<'_>,
) -> Option<Action> {
    let backends = rule.get("backendRefs");
    if let Some(redirect) = redirect {
        if let Some(at) = backends {
            at.error("stands beside a RequestRedirect; allowed is one of them");
        }
        return Some(Action::Redirect(redirect));
    }
    let Some(at) = backends else {
        rule.at().error("has neither backendRefs nor a RequestRedirect: every request would fail");
        return None;
    };
    let mut all = Vec::new();
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let destination = backend(&fields, context);
        let weight = fields.uint("weight", 0..=WEIGHT_MAX).unwrap_or(1);
        let own = fields.get("filters").map(|at| {
            let own = read(&at, context);
            let is_empty = own.mirrors.is_empty() && own.redirect.is_none();
            if !is_empty || own.rewrite != Rewrite::default() {
                at.warn("has filters that are not supported on one backend and have no effect: allowed are header modifiers");
            }
            own
        });
        fields.finish(&[]);
        let own = own.unwrap_or_default();
        all.extend(destination.map(|destination| Weighted {
            destination,
            weight,
            request_headers: own.request_headers,
            response_headers: own.response_headers,
        }));
    }
    let is_complete = all.len() == at.items().count();
    let destinations = Destinations::new(all);
    if destinations.is_none() && is_complete {
        at.error("has no backend with a weight above 0; at least one is required");
    }
    destinations.map(Action::Forward)
}

/// `{group, kind, name, namespace, port}`.
fn backend(fields: &Fields<'_>, context: &Context<'_>) -> Option<Destination> {
    let group = fields.text("group").unwrap_or_default();
    let kind = fields.text("kind").unwrap_or("Service");
    if kind != "Service" || !matches!(group, "" | "core") {
        fields.at().error(format!("is a {kind} of group {group:?}; allowed is a Service"));
    }
    let namespace = fields.text("namespace").unwrap_or(context.namespace);
    if namespace != context.namespace {
        fields
            .at()
            .note("is in another namespace: whether a ReferenceGrant allows it is not checked");
    }
    let port = fields.get("port").and_then(|at| at.port());
    let name = fields.required("name").and_then(|at| at.name())?;
    match HostName::parse(&name, namespace) {
        Ok(host) if !host.is_wildcard() => {
            Some(Destination { host: host.to_string().into(), subset: None, port })
        }
        _ => {
            fields.at().error(format!("has the name {name}; allowed is that of one Service"));
            None
        }
    }
}

fn mirror(fields: Fields<'_>, context: &Context<'_>) -> Option<Mirror> {
    let destination = fields.required("backendRef").and_then(At::object).and_then(|fields| {
        let destination = backend(&fields, context);
        fields.finish(&[]);
        destination
    });
    let percent = fields.uint("percent", 0..=100).map(f64::from);
    let fraction = fields.object("fraction").and_then(|fields| {
        let numerator = fields.required("numerator").and_then(|at| at.uint(0..=i32::MAX as u32));
        let denominator = fields.uint("denominator", 1..=i32::MAX as u32).unwrap_or(100);
        let numerator = numerator.filter(|&numerator| numerator <= denominator);
        if numerator.is_none() {
            fields.at().error("has a numerator above its denominator; allowed is at most 1");
        }
        fields.finish(&[]);
        Some(f64::from(numerator?) / f64::from(denominator) * 100.0)
    });
    if percent.is_some() && fraction.is_some() {
        fields.at().error("has percent and fraction; allowed is one of them");
    }
    fields.finish(&[]);
    let percent = percent.or(fraction).and_then(Percent::new).unwrap_or(Percent::ALL);
    Some(Mirror { destination: destination?, percent })
}

fn rewrite(fields: Fields<'_>) -> Rewrite {
    let rewrite = Rewrite {
        path: fields.object("path").and_then(path_modifier),
        authority: hostname(&fields).map(Into::into),
    };
    fields.finish(&[]);
    rewrite
}

fn hostname(fields: &Fields<'_>) -> Option<String> {
    let at = fields.get("hostname")?;
    at.text().filter(|text| is_authority(&at, text)).map(ToOwned::to_owned)
}

fn path_modifier(fields: Fields<'_>) -> Option<PathRewrite> {
    let kinds = [("ReplaceFullPath", true), ("ReplacePrefixMatch", false)];
    let is_full = fields.required("type").and_then(|at| at.choice(&kinds));
    let read = if is_full? {
        fields.required("replaceFullPath").and_then(|at| path(&at)).map(PathRewrite::Full)
    } else {
        fields.required("replacePrefixMatch").and_then(|at| path(&at)).map(PathRewrite::Prefix)
    };
    fields.finish(&[]);
    read
}

fn redirect(fields: Fields<'_>) -> Redirect {
    let status = fields.get("statusCode").and_then(|at| redirect_status(&at));
    let redirect = Redirect {
        status: status.unwrap_or(302),
        scheme: fields.choice("scheme", &[("http", "http"), ("https", "https")]).map(Into::into),
        authority: hostname(&fields).map(Into::into),
        port: fields
            .get("port")
            .and_then(|at| at.port())
            .map_or(RedirectPort::Kept, RedirectPort::Number),
        path: fields.object("path").and_then(path_modifier),
    };
    fields.finish(&[]);
    redirect
}
