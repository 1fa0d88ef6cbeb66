//! The cause chain of an incident: who multiplies, who suffers, who notices.

use super::Model;
use super::severity::{self, Severity};
use crate::format;
use fusebox_proto::view::{EdgeName, Incident, Service};

/// Links shown; a chain is read in one glance or not at all.
const LINKS_MAX: usize = 7;

/// One link of the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainLink {
    /// Who.
    pub service: String,
    /// In figures.
    pub figure: String,
    /// How bad.
    pub severity: Severity,
    /// How it follows from the link before.
    pub relation: Relation,
}

/// How a link follows from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The first.
    Begins,
    /// Calls it.
    Calls,
    /// Waits for it: the failure comes back this way.
    Hurts,
}

impl Model {
    /// Who multiplies and who is hit, along the calls; then who suffers for it, back to the entry.
    pub fn chain(&self, incident: &Incident) -> Vec<ChainLink> {
        let mut links = Vec::new();
        if let (Some(slow), Some(waits)) = (&incident.originator, &incident.victim)
            && incident.edge.as_ref().is_some_and(|edge| edge.destination == *slow)
        {
            // Who is slow is called by who waits for it: all of the chain is a way back.
            links.push(self.link_of(slow, Relation::Begins));
            links.push(self.link_of(waits, Relation::Hurts));
            return self.hurt_by(waits.clone(), links);
        }
        let layers: Vec<(&str, &str, f64)> = if incident.layers.is_empty() {
            match (&incident.originator, &incident.victim) {
                (Some(from), Some(to)) => {
                    vec![(from, to, incident.amplification.unwrap_or(f64::NAN))]
                }
                _ => Vec::new(),
            }
        } else {
            incident.layers.iter().map(|l| (&*l.source, &*l.destination, l.factor)).collect()
        };
        for (source, destination, factor) in layers {
            if links.last().is_none_or(|l: &ChainLink| l.service != source) {
                let relation = if links.is_empty() { Relation::Begins } else { Relation::Calls };
                links.push(self.link_of(source, relation));
            }
            if let Some(last) = links.last_mut().filter(|_| factor.is_finite()) {
                last.figure = format!("×{} attempts", format::figure(factor));
                last.severity = Severity::Critical;
            }
            links.push(self.hit(source, destination));
        }
        match links.first().map(|l| l.service.clone()) {
            Some(first) => self.hurt_by(first, links),
            None => links,
        }
    }

    /// And who waits for `service` and suffers for it, back to the entry.
    fn hurt_by(&self, service: String, mut links: Vec<ChainLink>) -> Vec<ChainLink> {
        let mut at = Some(service);
        while let Some(hurt) = at.and_then(|name| self.worst_caller(&name, &links)) {
            links.push(ChainLink {
                severity: self.service_severity(hurt),
                ..self.link_of(&hurt.name, Relation::Hurts)
            });
            at = Some(hurt.name.clone());
            if LINKS_MAX <= links.len() {
                break;
            }
        }
        links
    }

    /// Services that fail and wait for the victim, other than those that the chain begins with,
    /// the worst first.
    pub fn blast_radius(&self, incident: &Incident) -> Vec<&Service> {
        let mut hurt = Vec::new();
        let mut names: Vec<&str> = incident.victim.iter().map(String::as_str).collect();
        let mut at = 0;
        while let Some(name) = names.get(at).copied() {
            at += 1;
            for edge in self.snapshot.edges.iter().filter(|e| e.destination == name) {
                if !names.contains(&edge.source.as_str()) {
                    names.push(&edge.source);
                }
            }
        }
        let is_part = |s: &Service| {
            let name = Some(&s.name);
            name == incident.victim.as_ref() || name == incident.originator.as_ref()
        };
        for name in names {
            let service = self.snapshot.services.iter().find(|s| s.name == name);
            hurt.extend(service.filter(|s| {
                !is_part(s) && Severity::Warn <= severity::of_error_ratio(s.error_ratio)
            }));
        }
        let ratio = |s: &Service| s.error_ratio.unwrap_or(0.0);
        hurt.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then_with(|| a.name.cmp(&b.name)));
        hurt
    }

    fn link_of(&self, name: &str, relation: Relation) -> ChainLink {
        let service = self.snapshot.services.iter().find(|s| s.name == name);
        let ratio = service.and_then(|s| s.error_ratio);
        ChainLink {
            service: name.to_owned(),
            figure: ratio.map(|r| format!("{} fail", format::percent_short(r))).unwrap_or_default(),
            severity: service.map_or(Severity::Ok, |s| self.service_severity(s)),
            relation,
        }
    }

    /// Who is hit, as its caller sees it: what times out there may look well from inside.
    fn hit(&self, source: &str, destination: &str) -> ChainLink {
        let link = self.link_of(destination, Relation::Calls);
        let name = EdgeName { source: source.into(), destination: destination.into() };
        match self.edge(&name).and_then(|edge| edge.error_ratio) {
            Some(ratio) => {
                ChainLink { figure: format!("{} fail", format::percent_short(ratio)), ..link }
            }
            None => link,
        }
    }

    /// The caller of a service that fails most, unless it is in the chain already.
    fn worst_caller(&self, name: &str, links: &[ChainLink]) -> Option<&Service> {
        let ratio = |s: &&Service| s.error_ratio.unwrap_or(0.0);
        self.snapshot
            .edges
            .iter()
            .filter(|e| e.destination == name && links.iter().all(|l| l.service != e.source))
            .filter_map(|e| self.snapshot.services.iter().find(|s| s.name == e.source))
            .filter(|s| Severity::Warn <= severity::of_error_ratio(s.error_ratio))
            .max_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }
}
