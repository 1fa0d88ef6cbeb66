//! The nouns that can be asked for, and the JSON object of each: the same from `fusebox <noun>
//! --output json` and from `GET /api/v1/<noun>`.

use crate::view::{
    Advisory, Breaker, EdgeView, Incident, PolicyView, Proxy, Service, Snapshot, Status,
};
use serde::Serialize;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noun {
    /// Overall health, in a few figures.
    Status,
    /// Services of the graph.
    Services,
    /// Edges of the graph.
    Edges,
    /// Incidents and advisories.
    Incidents,
    /// Breakers that are not closed or changed lately.
    Breakers,
    /// Proxies.
    Proxies,
    /// The traffic policy, and how far proxies are with it.
    Policy,
}

impl Noun {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Status,
        Self::Services,
        Self::Edges,
        Self::Incidents,
        Self::Breakers,
        Self::Proxies,
        Self::Policy,
    ];

    /// As on the command line and in the path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Services => "services",
            Self::Edges => "edges",
            Self::Incidents => "incidents",
            Self::Breakers => "breakers",
            Self::Proxies => "proxies",
            Self::Policy => "policy",
        }
    }

    /// The noun of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|noun| noun.as_str() == text)
    }
}

/// The JSON object of a [`Noun`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Page<'a> {
    /// [`Noun::Status`]
    Status(&'a Status),
    /// [`Noun::Services`]
    Services {
        /// By name.
        services: &'a [Service],
    },
    /// [`Noun::Edges`]
    Edges {
        /// By (source, destination).
        edges: &'a [EdgeView],
    },
    /// [`Noun::Incidents`]
    Incidents {
        /// Open ones first.
        incidents: &'a [Incident],
        /// What is no incident.
        advisories: &'a [Advisory],
    },
    /// [`Noun::Breakers`]
    Breakers {
        /// Those that are not closed or changed lately.
        breakers: &'a [Breaker],
    },
    /// [`Noun::Proxies`]
    Proxies {
        /// By id.
        proxies: &'a [Proxy],
    },
    /// [`Noun::Policy`]
    Policy(&'a PolicyView),
}

impl Snapshot {
    /// The part of it that answers a noun.
    pub fn page(&self, noun: Noun) -> Page<'_> {
        match noun {
            Noun::Status => Page::Status(&self.status),
            Noun::Services => Page::Services { services: &self.services },
            Noun::Edges => Page::Edges { edges: &self.edges },
            Noun::Incidents => {
                Page::Incidents { incidents: &self.incidents, advisories: &self.advisories }
            }
            Noun::Breakers => Page::Breakers { breakers: &self.breakers },
            Noun::Proxies => Page::Proxies { proxies: &self.proxies },
            Noun::Policy => Page::Policy(&self.policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: each noun of an empty world.
    /// Guarantees: the object has the keys of the contract, and the noun reads as it is written.
    #[test]
    fn pages_have_the_keys_of_the_contract() {
        let check = |noun: Noun, keys: &[&str]| {
            let page = serde_json::to_value(Snapshot::default().page(noun)).unwrap();
            let found: Vec<&String> = page.as_object().unwrap().keys().collect();
            assert_eq!(found, keys);
            assert_eq!(Noun::parse(noun.as_str()), Some(noun));
        };
        let status =
            ["collector", "edges", "embedded", "health", "incidents_open", "proxies", "services"];
        check(Noun::Status, &status);
        check(Noun::Services, &["services"]);
        check(Noun::Edges, &["edges"]);
        check(Noun::Incidents, &["advisories", "incidents"]);
        check(Noun::Breakers, &["breakers"]);
        check(Noun::Proxies, &["proxies"]);
        check(Noun::Policy, &["documents", "profile", "proxies", "version", "versions"]);
        assert_eq!(Noun::parse("audit"), None);
    }
}
