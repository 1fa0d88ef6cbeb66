//! Where the calls of a proxy go.

use crate::ServiceId;

/// More endpoints than this in one message are refused; a proxy leaves out what is beyond.
pub const ENDPOINTS_MAX: usize = 4_096;
/// More labels than this on one endpoint are refused; a proxy leaves the endpoint out.
pub const ENDPOINT_LABELS_MAX: usize = 64;

/// Where the calls of a proxy go, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Higher after each change, from 1 within a boot; 0: nothing is known.
    pub revision: u64,
    /// Services on whose edge this proxy enforces commands, with or without endpoints: those of its
    /// listeners and of its policy.
    pub destinations: Vec<ServiceId>,
    /// In order, each once.
    pub all: Vec<Endpoint>,
    /// So many more were left out.
    pub left_out: u64,
}

/// One instance of a called service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The called service.
    pub destination: ServiceId,
    /// `host:port`.
    pub address: String,
    /// What subsets select it by, in order of their keys.
    pub labels: Vec<(String, String)>,
}

impl Endpoints {
    /// Of a proxy that leads to `destinations`, at addresses that it does not tell.
    pub fn leading_to(destinations: Vec<ServiceId>) -> Self {
        Self { revision: 1, destinations, ..Self::default() }
    }

    /// The same services at `all` these endpoints, as far as they have a place, each once.
    #[must_use]
    pub fn at(&self, mut all: Vec<Endpoint>) -> Self {
        all.sort();
        all.dedup();
        let before = all.len();
        all.retain(|endpoint| endpoint.labels.len() <= ENDPOINT_LABELS_MAX);
        all.truncate(ENDPOINTS_MAX);
        let left_out = (before - all.len()) as u64;
        self.followed_by(self.destinations.clone(), all, left_out)
    }

    /// `destinations`, at the same endpoints.
    #[must_use]
    pub fn to(&self, destinations: Vec<ServiceId>) -> Self {
        self.followed_by(destinations, self.all.clone(), self.left_out)
    }

    /// A revision later, unless it says the same.
    fn followed_by(&self, destinations: Vec<ServiceId>, all: Vec<Endpoint>, left_out: u64) -> Self {
        let revision = self.revision;
        let next = Self { revision, destinations, all, left_out };
        if 0 < revision && next == *self { next } else { Self { revision: revision + 1, ..next } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: more endpoints than have a place, some of them twice, one with too many labels.
    /// Guarantees: each is there once; what has no place is counted.
    #[test]
    fn what_has_no_place_is_counted() {
        let endpoint = |port: usize, labels: usize| Endpoint {
            destination: ServiceId::named("inventory").unwrap(),
            address: format!("127.0.0.1:{port}"),
            labels: (0..labels).map(|at| (at.to_string(), String::new())).collect(),
        };
        let all = [endpoint(1, 0), endpoint(2, 65), endpoint(1, 0), endpoint(3, 64)];
        let few = Endpoints::default().at(all.into());
        assert_eq!((few.all.len(), few.left_out), (2, 1));
        let many = Endpoints::default().at((0..5_000).map(|port| endpoint(port, 1)).collect());
        assert_eq!((many.all.len(), many.left_out), (4_096, 904));
    }
}
