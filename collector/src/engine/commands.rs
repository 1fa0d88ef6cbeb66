//! What operators ask for: names to edges, wishes, answers.

use super::guarding::principal;
use super::{Engine, Output, Refusal};
use crate::desired::{Order, Progress};
use crate::incident::CAP_HEADROOM;
use crate::names::Unresolved;
use crate::store::Tally;
use fusebox_proto::command::{
    Action, ActionKind, BreakerState, REASON_LEN_MAX, ResetRequest, ResetScope,
    SHED_PERCENT_DEFAULT, TTL_MAX, TTL_MIN, TripRequest, Verb,
};
use fusebox_proto::text::{cut, visible};
use fusebox_proto::view::{EdgeName, Remedy, Stamp, SuggestedAction, TripResult};
use fusebox_proto::{Edge, Invalid, Now, ServiceId};
use std::collections::BTreeSet;
use std::time::Duration;

/// A cap is not set below this: it would refuse everything.
const CAP_MIN: f64 = 1.0;

impl Engine {
    pub(super) fn trip_by_operator(&mut self, now: Now, mut request: TripRequest) {
        request.by = principal(&request.by).to_owned();
        self.trip(now, &request);
    }

    /// Trips an edge, whoever asks. Whether that could be asked for; else it is refused.
    pub(super) fn trip(&mut self, now: Now, request: &TripRequest) -> bool {
        let made = self.desired.request(&request.request_id).is_some();
        let order = if made { Ok(None) } else { self.trip_order(now, request).map(Some) };
        match order {
            Ok(order) => {
                if let Some(order) = &order {
                    let edge = self.names.print_edge(&order.edge);
                    let because = because(&request.reason);
                    let text = format!(
                        "{} tripped {}>{}: {} for {} s{because}",
                        visible(&request.by),
                        edge.source,
                        edge.destination,
                        request.action,
                        request.ttl.as_secs()
                    );
                    self.journal.note(now.unix_ms, "trip", &text);
                }
                self.issue(now, &request.request_id, order, &request.by, &request.reason);
                true
            }
            Err(refusal) => {
                self.refuse(&request.request_id, refusal);
                false
            }
        }
    }

    pub(super) fn reset_by_operator(&mut self, now: Now, mut request: ResetRequest) {
        request.by = principal(&request.by).to_owned();
        self.reset(now, &request);
    }

    fn reset(&mut self, now: Now, request: &ResetRequest) {
        let made = self.desired.request(&request.request_id).is_some();
        let edges = match &request.scope {
            _ if made => Ok(Vec::new()),
            ResetScope::Edge { source, destination } => {
                self.edge(source, destination).map(|edge| vec![edge])
            }
            ResetScope::All => Ok(self.not_closed(now)),
        };
        let verb = Verb::Reset { at_once: request.at_once };
        match edges {
            Ok(edges) => {
                for edge in &edges {
                    self.guard.person_reset(now, edge, Duration::ZERO);
                    let edge = self.names.print_edge(edge);
                    let because = because(&request.reason);
                    let by = visible(&request.by);
                    let how = if request.at_once { "at once" } else { "through the ramp" };
                    let (source, destination) = (edge.source, edge.destination);
                    let text = format!("{by} reset {source}>{destination} {how}{because}");
                    self.journal.note(now.unix_ms, "reset", &text);
                }
                let orders =
                    edges.into_iter().map(|edge| Order { edge, verb, caution: String::new() });
                self.issue(now, &request.request_id, orders, &request.by, &request.reason);
            }
            Err(refusal) => self.refuse(&request.request_id, refusal),
        }
    }

    fn issue(
        &mut self,
        now: Now,
        request_id: &str,
        orders: impl IntoIterator<Item = Order>,
        by: &str,
        reason: &str,
    ) {
        let text = |text| cut(&visible(text), REASON_LEN_MAX).into_owned();
        let by_reason = (&*text(by), &*text(reason));
        let orders = orders.into_iter().collect();
        let is_new = self.desired.issue(now, &self.proxies, request_id, orders, by_reason);
        // On its way to the proxies before anything waits for a disk.
        self.push_commands();
        if is_new {
            self.store_request(now, request_id);
        }
    }

    pub(super) fn refuse(&mut self, request_id: &str, refusal: Refusal) {
        self.outputs.push_back(Output::Refused { request_id: request_id.to_owned(), refusal });
    }

    fn edge(&self, source: &str, destination: &str) -> Result<Edge, Refusal> {
        Ok(Edge::new(self.service(source)?, self.service(destination)?))
    }

    /// What the trip that an incident suggests would send to proxies now; `None` where it suggests
    /// something else, or nothing that could be done.
    pub(crate) fn suggested(&self, now: Now, suggestion: &SuggestedAction) -> Option<(Edge, Verb)> {
        let Remedy::Trip(action) = suggestion.action else { return None };
        let order = self.trip_order(
            now,
            &TripRequest {
                request_id: String::new(),
                source: suggestion.source.clone(),
                destination: suggestion.destination.clone(),
                action,
                percent: None,
                ttl: Duration::from_secs(suggestion.ttl_s),
                reason: String::new(),
                by: String::new(),
            },
        );
        order.ok().map(|order| (order.edge, order.verb))
    }

    /// The edge that prints so.
    pub(crate) fn edge_named(&self, name: &EdgeName) -> Option<Edge> {
        self.edge(&name.source, &name.destination).ok()
    }

    fn service(&self, typed: &str) -> Result<ServiceId, Refusal> {
        let name = visible(typed).into_owned();
        self.names.resolve(typed).cloned().map_err(|unresolved| match unresolved {
            Unresolved::Unknown(candidates) => Refusal::Unknown { name, candidates },
            Unresolved::Ambiguous(candidates) => Refusal::Ambiguous { name, candidates },
        })
    }

    fn trip_order(&self, now: Now, request: &TripRequest) -> Result<Order, Refusal> {
        let edge = self.edge(&request.source, &request.destination)?;
        if request.ttl < TTL_MIN || TTL_MAX < request.ttl {
            let reason = format!("is {} s; 1 s to 1 h", request.ttl.as_secs_f64());
            return Err(Invalid::new("ttl", reason).into());
        }
        if request.percent.is_some_and(|percent| 100 < percent) {
            return Err(Invalid::new("percent", "is above 100").into());
        }
        let is_share = matches!(request.action, ActionKind::MuteRetries | ActionKind::Shed);
        if request.percent.is_some() && !is_share {
            let reason = format!("means nothing with {}", request.action);
            return Err(Invalid::new("percent", reason).into());
        }
        let action = match request.action {
            ActionKind::MuteRetries => {
                Action::MuteRetries { percent: request.percent.unwrap_or(0) }
            }
            ActionKind::Shed => {
                Action::Shed { percent: request.percent.unwrap_or(SHED_PERCENT_DEFAULT) }
            }
            ActionKind::Open => Action::Open,
            ActionKind::Cap => Action::Cap { attempts_per_s: self.cap(now, &edge)? },
        };
        let proxies = self.proxies.enforcing(&edge).count().max(1);
        let proxies = u32::try_from(proxies).unwrap_or(u32::MAX);
        let caution = self.caution(&edge, request);
        Ok(Order { verb: Verb::Trip { action, ttl: request.ttl, proxies }, edge, caution })
    }

    /// Says where a lease ends before what waits for the victim can be worked off: then it begins anew.
    fn caution(&self, edge: &Edge, request: &TripRequest) -> String {
        let wanted = self.incidents.ttl(&self.names.print_edge(edge), request.action);
        match wanted {
            Some((ttl, victim)) if request.ttl < ttl => format!(
                "{victim} may need longer to work off what waits for it: {} s would be enough",
                ttl.as_secs()
            ),
            _ => String::new(),
        }
    }

    /// The rate at which a cap holds an edge: the usual one, before a storm if there is one.
    fn cap(&self, now: Now, edge: &Edge) -> Result<f64, Invalid> {
        let usual = self.detectors.get(edge).and_then(|watch| Some(watch.usual()?.attempts));
        let lately = || {
            let track = self.store.edge(edge)?;
            let front = track.front(now.unix_ms / 1_000, self.fronts.get(&edge.source).copied());
            let seconds = track.series(front, Tally::attempts);
            let sum: f64 = seconds.iter().sum();
            (0.0 < sum).then(|| sum / seconds.len() as f64)
        };
        let unknown =
            "cap needs a usual rate, and nothing was seen on this edge in the last minute";
        let usual = usual.or_else(lately).ok_or_else(|| Invalid::new("action", unknown))?;
        Ok((CAP_HEADROOM * usual).max(CAP_MIN))
    }

    /// Edges with a lease, or with a breaker that is not closed.
    fn not_closed(&self, now: Now) -> Vec<Edge> {
        let leases = self.desired.iter().filter(|(_, wish)| wish.is_lease(now));
        let mut edges: BTreeSet<Edge> = leases.map(|(edge, _)| edge.clone()).collect();
        for proxy in self.proxies.iter().filter(|proxy| proxy.connection.is_some()) {
            for (destination, standing) in &proxy.standings {
                if standing.status.state != BreakerState::Closed {
                    edges.insert(Edge::new(proxy.hello.service.clone(), destination.clone()));
                }
            }
        }
        edges.into_iter().collect()
    }

    /// What a request came to, edge by edge.
    pub(super) fn results(&self, now: Now, request_id: &str) -> Vec<(Edge, TripResult)> {
        let edges = self.desired.request(request_id).unwrap_or_default();
        let result = |edge: &Edge| Some((edge.clone(), self.result(now, request_id, edge)?));
        edges.iter().filter_map(result).collect()
    }

    fn result(&self, now: Now, request_id: &str, edge: &Edge) -> Option<TripResult> {
        let wish = self.desired.get(edge)?;
        let enforcing = self.proxies.enforcing(edge).count() as u64;
        let is_newest = wish.command.id == request_id;
        let (action, expires_at) = match wish.command.verb {
            Verb::Trip { action, .. } => (action.kind().as_str(), Some(Stamp(wish.ends.unix_ms))),
            Verb::Reset { .. } => ("reset", None),
        };
        let completed = wish.completed().filter(|_| is_newest);
        let applied_ms = completed.map(|at| {
            at.instant.saturating_duration_since(wish.issued.instant).as_secs_f64() * 1_000.0
        });
        let mut note =
            if is_newest { self.note(now, edge) } else { "a newer command overtook it".to_owned() };
        if let Some(reason) = self.desired.why_not_kept(request_id) {
            let separator = if note.is_empty() { "" } else { "; " };
            note = format!("{note}{separator}it is not on the collector's disk: {reason}");
        }
        Some(TripResult {
            id: request_id.to_owned(),
            edge: self.names.print_edge(edge),
            action: action.to_owned(),
            // What the newer command reached says nothing about this one.
            applied: if is_newest { wish.applied() } else { 0 },
            proxies: enforcing.max(wish.progress.len() as u64),
            coverage: if enforcing == 0 { Some(0.0) } else { self.proxies.coverage(edge) },
            applied_ms,
            expires_at,
            note,
        })
    }

    /// Why a wish is not in force everywhere; empty where it is.
    fn note(&self, now: Now, edge: &Edge) -> String {
        let Some(wish) = self.desired.get(edge) else { return String::new() };
        if wish.progress.is_empty() {
            return self.why_nobody(edge);
        }
        let mut notes = Vec::new();
        for (proxy, progress) in &wish.progress {
            match progress {
                Progress::Pending => notes.push(format!("{proxy} has not answered")),
                Progress::Rejected(reason) => notes.push(format!("{proxy} refused: {reason}")),
                Progress::Applied { .. } => (),
            }
        }
        let stale = self.proxies.stale(now, &edge.source);
        if notes.is_empty() && 0 < stale {
            notes.push(format!("{stale} proxies have not reported for 3 s"));
        }
        if !wish.caution.is_empty() {
            notes.push(wish.caution.clone());
        }
        notes.join("; ")
    }

    fn why_nobody(&self, edge: &Edge) -> String {
        let source = self.names.print(&edge.source);
        let destination = self.names.print(&edge.destination);
        let of_source = self.proxies.iter().filter(|p| p.hello.service == edge.source);
        match of_source.filter(|proxy| proxy.connection.is_some()).count() {
            0 => format!("no proxy of {source} is connected"),
            n => format!(
                "{n} of the connected proxies belong to {source}, but none leads to {destination}"
            ),
        }
    }
}

pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", visible(reason)) }
}
