//! What proxies and spans tell.

use super::backing;
use super::instances::News;
use super::proxies::Taken;
use super::{ConnectionId, Engine, Output};
use crate::detect::{Many, Unasked};
use crate::graph::Witness;
use crate::observe::Observation;
use crate::spans::SpanBatch;
use fusebox_proto::command::Ack;
use fusebox_proto::report::{Hello, Protocol, Report, Transition};
use fusebox_proto::view::ServiceKind;
use fusebox_proto::{Edge, Now, ServiceId};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Engine {
    pub(super) fn take_spans(&mut self, now: Now, sender: Option<Arc<str>>, batch: SpanBatch) {
        self.newest_unix_ms = now.unix_ms;
        self.meter.spans(now, sender, batch.spans.len() as u64);
        self.looking.ring.add(now, &batch);
        let mut observations = Vec::new();
        self.pairing.handle(now, batch, &mut observations);
        self.observe(now, &observations);
    }

    pub(super) fn observe(&mut self, now: Now, observations: &[Observation]) {
        let now_second = now.unix_ms / 1_000;
        let mut touched: BTreeSet<&Edge> = BTreeSet::new();
        for observation in observations {
            match observation {
                Observation::Node { service, kind, instance, version, .. } => {
                    if self.touch_node((now, Witness::Spans), service, *kind) {
                        self.saw_instance(now, service, instance.as_ref(), version.as_ref());
                    }
                }
                Observation::Attempt { edge, protocol, weight, at_unix_ms, .. } => {
                    self.is_renamed |= self.graph.get(&edge.source).is_none()
                        || self.graph.get(&edge.destination).is_none();
                    let witness = (now.instant, Witness::Spans);
                    if !self.graph.touch_edge(witness, edge, *protocol) {
                        continue;
                    }
                    self.n_plus_ones.attempted((at_unix_ms / 1_000, now_second), edge, *weight);
                    touched.insert(edge);
                }
                Observation::Corrected { edge, is, .. } => {
                    if is.is_none() {
                        self.graph.retract_edge(edge);
                    }
                    touched.insert(edge);
                }
                Observation::Sequence { edge, operation, requests, calls, weight, at_unix_ms } => {
                    let (requests, calls, weight) = (*requests, *calls, *weight);
                    if self.store.edge(edge).is_some() {
                        let at = (at_unix_ms / 1_000, now_second);
                        let many = Many { operation, requests, calls, weight };
                        self.n_plus_ones.take(at, edge, many);
                    }
                }
                Observation::Unasked {
                    edge,
                    instance,
                    operation,
                    asked_for,
                    at_unix_ms,
                    took_ms,
                } => {
                    let (asked_for, at_unix_ms, took_ms) = (*asked_for, *at_unix_ms, *took_ms);
                    if self.store.edge(edge).is_some() {
                        let unasked =
                            Unasked { instance, operation, asked_for, at_unix_ms, took_ms };
                        self.polling.take(now.unix_ms, edge, unasked);
                    }
                }
                // What has no place on the graph has none elsewhere: nobody would forget it.
                Observation::Served { service, .. } => {
                    if !self.touch_node((now, Witness::Spans), service, ServiceKind::Service) {
                        continue;
                    }
                }
            }
            self.store.observe(now_second, observation);
        }
        self.judge(now, touched);
    }

    /// Whether it has a place.
    fn touch_node(
        &mut self,
        (now, by): (Now, Witness),
        service: &ServiceId,
        kind: ServiceKind,
    ) -> bool {
        self.is_renamed |= self.graph.get(service).is_none();
        self.graph.touch_node((now.instant, by), service, kind)
    }

    fn saw_instance(
        &mut self,
        now: Now,
        service: &ServiceId,
        instance: Option<&Arc<str>>,
        version: Option<&Arc<str>>,
    ) {
        for news in self.instances.saw(now, service, instance, version) {
            let name = self.names.print(service);
            let text = match news {
                News::Instance(instance) => format!("{name} has a new instance, {instance}"),
                News::Version(version) => format!("{name} has a new version, {version}"),
            };
            self.journal.note(now.unix_ms, "instance", &text);
        }
    }

    pub(super) fn take_hello(&mut self, now: Now, connection: ConnectionId, hello: Hello) {
        if !self.proxies.has_place(&hello.proxy, self.limits.proxies_max) {
            self.meter.dropped("proxies", 1);
            let reason = format!("there are {} proxies already", self.limits.proxies_max);
            self.outputs.push_back(Output::Close { connection, reason });
            return;
        }
        let service = hello.service.clone();
        let instance: Arc<str> = hello.instance.as_str().into();
        let name = hello.proxy.clone();
        if let Some(replaced) = self.proxies.hello(now, connection, hello) {
            let reason = "the proxy connected again".to_owned();
            self.outputs.push_back(Output::Close { connection: replaced, reason });
        }
        let is_placed = self.touch_node((now, Witness::Proxy), &service, ServiceKind::Service);
        self.is_renamed = true;
        self.journal.note_proxy(now.unix_ms, "proxy", "connected", name.as_str());
        if is_placed {
            self.saw_instance(now, &service, Some(&instance), None);
        }
        if let Some(proxy) = self.proxies.on(connection) {
            self.desired.connected(now, &self.proxies, proxy);
        }
        self.policy_hello(now, connection);
    }

    pub(super) fn take_gone(&mut self, now: Now, connection: ConnectionId) {
        let Some(proxy) = self.proxies.gone(connection) else { return };
        let id = proxy.hello.proxy.clone();
        let proxy_is_away = proxy.connection.is_none();
        self.journal.note_proxy(now.unix_ms, "proxy", "gone", id.as_str());
        self.desired.gone(&id);
        if proxy_is_away {
            self.policies.gone(&id);
        }
        self.fronts = self.proxies.fronts(now);
    }

    pub(super) fn take_report(&mut self, now: Now, connection: ConnectionId, report: &Report) {
        let Some(proxy) = self.proxies.on_mut(connection) else {
            self.meter.dropped("reports_of_unknown_streams", 1);
            return;
        };
        let was_draining = proxy.draining;
        let troubles = proxy.troubles.clone();
        let led_to = proxy.hello.endpoints.revision;
        let taken = proxy.take(now, report);
        let begins_drain = !was_draining && proxy.draining;
        let news = change(&troubles, &proxy.troubles);
        if proxy.hello.endpoints.revision != led_to {
            self.desired.leads_on(now, proxy);
            self.is_renamed = true;
        }
        let (boot, number) = proxy.settled();
        let service = proxy.hello.service.clone();
        let instance: Arc<str> = proxy.hello.instance.as_str().into();
        let id = proxy.hello.proxy.clone();
        self.outputs.push_back(Output::Taken { connection, boot, number });
        if begins_drain {
            self.journal.note_proxy(now.unix_ms, "proxy", "draining", id.as_str());
        }
        for what in news {
            self.journal.note_proxy(now.unix_ms, "proxy", &what, id.as_str());
        }
        let Taken::New { second } = taken else { return };
        self.newest_unix_ms = now.unix_ms;
        let is_placed = self.touch_node((now, Witness::Proxy), &service, ServiceKind::Service);
        if is_placed {
            self.saw_instance(now, &service, Some(&instance), None);
        }
        let now_second = now.unix_ms / 1_000;
        let mut edges: BTreeSet<Edge> = BTreeSet::new();
        for window in report.edges.iter().filter(|window| window.destination != service) {
            let edge = Edge::new(service.clone(), window.destination.clone());
            self.is_renamed |= self.graph.get(&edge.destination).is_none();
            let witness = (now.instant, Witness::Proxy);
            if self.graph.touch_edge(witness, &edge, window.protocol) {
                if window.protocol == Protocol::Tcp
                    && let Some(kind) = backing::kind(edge.destination.name())
                {
                    self.graph.touch_node(witness, &edge.destination, kind);
                }
                self.store.note_taken(second, now_second);
                self.store.add_edge_window(&edge, second, window);
                edges.insert(edge);
            }
        }
        for window in report.inbound.iter().filter(|_| is_placed) {
            self.store.add_inbound_window(&service, second, window);
        }
        for transition in &report.transitions {
            self.note_transition(&service, id.as_str(), transition);
        }
        match self.proxies.front(now, &service) {
            Some(front) => self.fronts.insert(service, front),
            None => self.fronts.remove(&service),
        };
        self.judge(now, &edges);
    }

    fn note_transition(&mut self, source: &ServiceId, proxy: &str, transition: &Transition) {
        let edge = Edge::new(source.clone(), transition.destination.clone());
        let edge = self.names.print_edge(&edge);
        let whom = match &*transition.endpoint {
            "" => String::new(),
            endpoint => format!(" endpoint {endpoint}"),
        };
        let shadow = if transition.shadow { ", shadow" } else { "" };
        let text = format!(
            "{}>{}{whom}: {} → {} ({}{shadow})",
            edge.source,
            edge.destination,
            transition.from.as_str(),
            transition.to.as_str(),
            transition.cause.as_str(),
        );
        self.journal.note_proxy(transition.at_unix_ms, "breaker", &text, proxy);
    }

    pub(super) fn take_ack(&mut self, now: Now, connection: ConnectionId, ack: &Ack) {
        let Some(proxy) = self.proxies.on(connection) else { return };
        let verb = self.desired.acked(now, &self.proxies, proxy, ack);
        if let Some(verb) = verb
            && let Some(proxy) = self.proxies.on_mut(connection)
        {
            proxy.take_ack(now, ack, verb);
        }
    }
}

/// What to say of troubles that came and went: a line for each of both, which proxies that share them
/// have together.
fn change(before: &[String], after: &[String]) -> Vec<String> {
    let beyond = |these: &[String], those: &[String]| {
        these.iter().filter(|it| !those.contains(it)).cloned().collect::<Vec<_>>().join("; ")
    };
    let said =
        [("is out of trouble", beyond(before, after)), ("is in trouble", beyond(after, before))];
    let said = said.into_iter().filter(|(_, which)| !which.is_empty());
    said.map(|(what, which)| format!("{what}: {which}")).collect()
}
