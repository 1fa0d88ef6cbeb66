//! What a scenario's values must be, beyond their types.

use super::{
    CANARY_SUBSET, Call, Change, Client, Expect, Fault, Load, STABLE_SUBSET, Scenario, Service,
};
use fusebox_proto::Invalid;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// More services than this are refused: all of them run in one process.
const SERVICES_MAX: usize = 32;
/// More instances of one service than this are refused: each has a proxy with a thread.
const INSTANCES_MAX: usize = 8;
/// More faults, or loads, than this are refused.
const ENTRIES_MAX: usize = 32;
/// More attempts of a client library than this are refused.
const ATTEMPTS_MAX: u32 = 100;

type Checked = Result<(), Invalid>;

impl Scenario {
    /// # Errors
    /// The first field with a value that is not allowed.
    pub(super) fn check(&self) -> Checked {
        within("duration_s", self.duration_s, 1.0..=3_600.0)?;
        within("sampled_percent", self.sampled_percent, 0.0..=100.0)?;
        range("vary.rate", self.vary.rate, 0.1..=10.0)?;
        range("vary.work", self.vary.work, 0.1..=10.0)?;
        within("services", self.services.len(), 1..=SERVICES_MAX)?;
        within("load", self.load.len(), 1..=ENTRIES_MAX)?;
        within("faults", self.faults.len(), 0..=ENTRIES_MAX)?;
        for (role, service) in &self.services {
            self.check_service(role, service).map_err(|e| e.within(format!("services.{role}")))?;
        }
        self.check_names()?;
        for (i, load) in self.load.iter().enumerate() {
            self.check_load(load).map_err(|e| e.within(format!("load[{i}]")))?;
        }
        for (i, fault) in self.faults.iter().enumerate() {
            self.check_fault(fault).map_err(|e| e.within(format!("faults[{i}]")))?;
        }
        if let Some(expect) = &self.expect {
            self.check_expect(expect).map_err(|e| e.within("expect"))?;
        }
        self.check_circles()
    }

    fn check_expect(&self, expect: &Expect) -> Checked {
        self.known("originator", &expect.originator)?;
        expect.through.iter().try_for_each(|role| self.known("through", role))?;
        self.known("victim", &expect.victim)?;
        if let Some(subset) = &expect.subset {
            let role = &expect.originator;
            let has_two = self.services[role].canary.is_some();
            if !has_two || ![STABLE_SUBSET, CANARY_SUBSET].contains(&&**subset) {
                return Err(Invalid::new("subset", format!("{role} has no subset {subset}")));
            }
        }
        let is_none =
            |(source, destination): &&(&str, &str)| !self.callees(source).contains(destination);
        match expect.layers().iter().find(is_none) {
            Some((source, destination)) => {
                Err(Invalid::new("through", format!("{source} calls no {destination}")))
            }
            None => Ok(()),
        }
    }

    fn check_service(&self, role: &str, service: &Service) -> Checked {
        within("instances", service.instances, 1..=INSTANCES_MAX)?;
        if let Some((least, most)) = service.instances_vary {
            within("instances_vary", least, 1..=most)?;
            within("instances_vary", most, least..=INSTANCES_MAX)?;
        }
        within("workers", service.workers, 0..=10_000)?;
        within("queue", service.queue, 0..=100_000)?;
        within("work_ms", service.work_ms, 0.0..=60_000.0)?;
        within("spread", service.spread, 0.0..=3.0)?;
        within("error_percent", service.error_percent, 0.0..=100.0)?;
        if let Some(canary) = &service.canary {
            within("canary.instances", canary.instances, 1..=INSTANCES_MAX)?;
            within("canary.error_percent", canary.error_percent, 0.0..=100.0)?;
            within("canary.factor", canary.factor, 0.01..=10_000.0)?;
        }
        for (route, calls) in &service.routes {
            for (i, call) in calls.iter().enumerate() {
                let place = format!("routes.{route}[{i}]");
                self.check_call(call, i == 0).map_err(|e| e.within(place))?;
            }
        }
        for (callee, client) in &service.clients {
            let place = format!("clients.{callee}");
            if !self.callees(role).contains(callee.as_str()) {
                return Err(Invalid::new(place, format!("{role} calls no {callee}")));
            }
            check_client(client).map_err(|e| e.within(place))?;
        }
        Ok(())
    }

    fn check_call(&self, call: &Call, is_first: bool) -> Checked {
        self.known_route(&call.to)?;
        within("times", call.times, 1..=1_000)?;
        if call.parallel && is_first {
            return Err(Invalid::new("parallel", "the first call has none before it"));
        }
        Ok(())
    }

    fn check_load(&self, load: &Load) -> Checked {
        self.known_route(&load.to)?;
        within("rate", load.rate, 0.01..=1_000.0)?;
        within("patience_ms", load.patience_ms, 1..=60_000)
    }

    fn check_fault(&self, fault: &Fault) -> Checked {
        within("at_s", fault.at_s, 0.0..=3_600.0)?;
        if let Some(for_s) = fault.for_s {
            within("for_s", for_s, 0.001..=3_600.0)?;
        }
        self.check_change(&fault.change).map_err(|e| e.within("change"))
    }

    fn check_change(&self, change: &Change) -> Checked {
        match change {
            Change::Release { service, callee, client } => {
                self.known("service", service)?;
                if !self.callees(service).contains(callee.as_str()) {
                    return Err(Invalid::new("callee", format!("{service} calls no {callee}")));
                }
                check_client(client).map_err(|e| e.within("client"))
            }
            Change::Slow { service, factor, percent } => {
                self.known("service", service)?;
                within("factor", *factor, 0.01..=10_000.0)?;
                within("percent", *percent, 0.0..=100.0)
            }
            Change::Errors { service, percent } => {
                self.known("service", service)?;
                within("percent", *percent, 0.0..=100.0)
            }
            Change::Repeat { service, to, times } => {
                self.known("service", service)?;
                within("times", *times, 1..=1_000)?;
                let mut calls = self.services[service].routes.values().flatten();
                if calls.any(|call| call.to == *to) {
                    return Ok(());
                }
                Err(Invalid::new("to", format!("{service} has no call to {to}")))
            }
            Change::Load { factor } => within("factor", *factor, 0.0..=100.0),
            Change::Job { service, to, every_ms, .. } => {
                self.known("service", service)?;
                self.known_route(to)?;
                within("every_ms", *every_ms, 1..=60_000)
            }
            Change::Rollout { service, percent } => {
                self.known("service", service)?;
                if self.services[service].canary.is_none() {
                    return Err(Invalid::new("service", format!("{service} has no canary")));
                }
                within("percent", *percent, 1..=100)
            }
            Change::Lease { service, callee, ttl_s, .. } => {
                self.known("service", service)?;
                if !self.callees(service).contains(callee.as_str()) {
                    return Err(Invalid::new("callee", format!("{service} calls no {callee}")));
                }
                within("ttl_s", *ttl_s, 1..=3_600)
            }
            Change::CollectorDies {} => Ok(()),
        }
    }

    /// Two services may not be able to get the same name.
    fn check_names(&self) -> Checked {
        let mut owners = std::collections::BTreeMap::new();
        for (role, service) in &self.services {
            let own = [role.clone()];
            let names = if service.names.is_empty() { &own[..] } else { &service.names[..] };
            for name in names {
                let field = format!("services.{role}.names");
                fusebox_proto::ServiceId::named(name).map_err(|e| e.within(&field))?;
                // It travels as a `host`, and stands alone in a label of a domain name.
                if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                {
                    let reason = format!("{name:?} is not of a-z, 0-9 and -");
                    return Err(Invalid::new(field, reason));
                }
                if let Some(other) = owners.insert(name.clone(), role).filter(|o| *o != role) {
                    return Err(Invalid::new(field, format!("{name} also belongs to {other}")));
                }
            }
        }
        Ok(())
    }

    /// Proxies are started callees first, so calls may not go round in a circle.
    fn check_circles(&self) -> Checked {
        let order = self.callees_first();
        match self.services.keys().find(|role| !order.contains(&role.as_str())) {
            Some(role) => {
                let reason = "calls itself through others; calls must not form a circle";
                Err(Invalid::new(format!("services.{role}.routes"), reason))
            }
            None => Ok(()),
        }
    }

    fn known(&self, field: &str, role: &str) -> Checked {
        if self.services.contains_key(role) {
            return Ok(());
        }
        let roles: Vec<&str> = self.services.keys().map(String::as_str).collect();
        Err(Invalid::new(field, format!("{role} is no service; one of {}", roles.join(", "))))
    }

    fn known_route(&self, to: &str) -> Checked {
        let Some((role, route)) = to.split_once('/') else {
            return Err(Invalid::new("to", format!("{to:?} is not service/route")));
        };
        self.known("to", role)?;
        let routes = &self.services[role].routes;
        if routes.contains_key(route) {
            return Ok(());
        }
        let routes: Vec<&str> = routes.keys().map(String::as_str).collect();
        let routes = routes.join(", ");
        Err(Invalid::new("to", format!("{role} has no route {route}; one of {routes}")))
    }
}

fn check_client(client: &Client) -> Checked {
    within("timeout_ms", client.timeout_ms, 1..=600_000)?;
    within("attempts", client.attempts, 1..=ATTEMPTS_MAX)?;
    within("backoff_ms", client.backoff_ms, 0..=60_000)?;
    within("jitter_percent", client.jitter_percent, 0.0..=100.0)?;
    within("hedge_after_ms", client.hedge_after_ms, 0..=60_000)?;
    match client.retry_status.iter().find(|status| !(100..=599).contains(*status)) {
        Some(status) => Err(Invalid::new("retry_status", format!("{status} is no HTTP status"))),
        None => Ok(()),
    }
}

fn within<T: Copy + PartialOrd + Display>(
    field: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Checked {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    Err(Invalid::new(field, format!("{value} is not {least} to {most}")))
}

fn range(field: &str, (least, most): (f64, f64), allowed: RangeInclusive<f64>) -> Checked {
    within(field, least, allowed.clone())?;
    within(field, most, allowed)?;
    if most < least {
        return Err(Invalid::new(field, format!("[{least}, {most}] is not [least, most]")));
    }
    Ok(())
}
