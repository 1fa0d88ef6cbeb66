//! Instances and versions of services.

use fusebox_proto::{Now, ServiceId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// An instance counts for so long after it was last seen.
const SEEN_FOR_MS: u64 = 60_000;
/// More instances of one service are not told apart.
const INSTANCES_MAX: usize = 256;
/// More versions of one service are not remembered.
const VERSIONS_MAX: usize = 16;
/// A service is new for so long: its first instances are no news.
const NEW_FOR_MS: u64 = 10_000;

/// Of all services on the graph.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    known: HashMap<ServiceId, Known>,
    dropped: u64,
}

#[derive(Debug)]
struct Known {
    since_unix_ms: u64,
    seen: Seen,
    versions: Seen,
}

/// When each was last seen, ms since the Unix epoch.
type Seen = BTreeMap<Arc<str>, u64>;

/// What came of a sighting.
enum Noted {
    New,
    Known,
    /// There is no room.
    Dropped,
}

/// Something that was not there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An instance.
    Instance(Arc<str>),
    /// A version.
    Version(Arc<str>),
}

impl Instances {
    /// An instance was seen; gives what is new about a service that is not new itself.
    pub(crate) fn saw(
        &mut self,
        now: Now,
        service: &ServiceId,
        instance: Option<&Arc<str>>,
        version: Option<&Arc<str>>,
    ) -> Vec<News> {
        let since_unix_ms = now.unix_ms;
        let known = self.known.entry(service.clone()).or_insert_with(|| Known {
            since_unix_ms,
            seen: BTreeMap::new(),
            versions: BTreeMap::new(),
        });
        let is_new = now.unix_ms < known.since_unix_ms + NEW_FOR_MS;
        let mut news = Vec::new();
        let mut note = |seen: &mut Seen,
                        key: Option<&Arc<str>>,
                        len_max,
                        what: fn(Arc<str>) -> News| {
            match key.map(|key| (key, note(seen, key, now, len_max))) {
                Some((key, Noted::New)) => news.push(what(key.clone())),
                Some((_, Noted::Dropped)) => self.dropped += 1,
                Some((_, Noted::Known)) | None => (),
            }
        };
        note(&mut known.seen, instance, INSTANCES_MAX, News::Instance);
        note(&mut known.versions, version, VERSIONS_MAX, News::Version);
        if is_new { Vec::new() } else { news }
    }

    /// Instances of a service seen lately.
    pub(crate) fn of(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<str>> {
        self.known.get(service).into_iter().flat_map(|known| known.seen.keys())
    }

    /// Versions of a service that were seen.
    pub(crate) fn versions(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<str>> {
        self.known.get(service).into_iter().flat_map(|known| known.versions.keys())
    }

    /// A second passed.
    pub(crate) fn age(&mut self, now: Now) {
        for known in self.known.values_mut() {
            known.seen.retain(|_, at| now.unix_ms < *at + SEEN_FOR_MS);
        }
    }

    /// How many services are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Sightings of instances and versions that were not told apart since the start.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets a service that left the graph.
    pub(crate) fn forget(&mut self, service: &ServiceId) {
        self.known.remove(service);
    }
}

/// Notes that `key` was seen.
fn note(seen: &mut Seen, key: &Arc<str>, now: Now, len_max: usize) -> Noted {
    if let Some(at) = seen.get_mut(key) {
        *at = now.unix_ms;
        return Noted::Known;
    }
    if len_max <= seen.len() {
        return Noted::Dropped;
    }
    seen.insert(key.clone(), now.unix_ms);
    Noted::New
}
