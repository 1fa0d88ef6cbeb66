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
    /// These, as far as they have a place, each once.
    pub fn new(revision: u64, mut all: Vec<Endpoint>) -> Self {
        all.sort();
        all.dedup();
        let before = all.len();
        all.retain(|endpoint| endpoint.labels.len() <= ENDPOINT_LABELS_MAX);
        all.truncate(ENDPOINTS_MAX);
        let left_out = (before - all.len()) as u64;
        Self { revision, all, left_out }
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
        let few = Endpoints::new(1, all.into());
        assert_eq!((few.all.len(), few.left_out), (2, 1));
        let many = Endpoints::new(1, (0..5_000).map(|port| endpoint(port, 1)).collect());
        assert_eq!((many.all.len(), many.left_out), (4_096, 904));
    }
}
