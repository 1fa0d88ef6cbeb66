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

/// Of all services.
#[derive(Debug, Default)]
pub(crate) struct Instances(HashMap<ServiceId, Known>);

#[derive(Debug)]
struct Known {
    since_unix_ms: u64,
    seen: BTreeMap<Arc<str>, u64>,
    versions: BTreeMap<Arc<str>, u64>,
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
        let known = self.0.entry(service.clone()).or_insert_with(|| Known {
            since_unix_ms,
            seen: BTreeMap::new(),
            versions: BTreeMap::new(),
        });
        let is_new = now.unix_ms < known.since_unix_ms + NEW_FOR_MS;
        let mut news = Vec::new();
        if let Some(instance) = instance
            && note(&mut known.seen, instance, now, INSTANCES_MAX)
        {
            news.push(News::Instance(instance.clone()));
        }
        if let Some(version) = version
            && note(&mut known.versions, version, now, VERSIONS_MAX)
        {
            news.push(News::Version(version.clone()));
        }
        if is_new { Vec::new() } else { news }
    }

    /// Instances of a service seen lately.
    pub(crate) fn of(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<str>> {
        self.0.get(service).into_iter().flat_map(|known| known.seen.keys())
    }

    /// Versions of a service that were seen.
    pub(crate) fn versions(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<str>> {
        self.0.get(service).into_iter().flat_map(|known| known.versions.keys())
    }

    /// A second passed.
    pub(crate) fn age(&mut self, now: Now) {
        for known in self.0.values_mut() {
            known.seen.retain(|_, at| now.unix_ms < *at + SEEN_FOR_MS);
        }
    }

    /// Forgets a service that left the graph.
    pub(crate) fn forget(&mut self, service: &ServiceId) {
        self.0.remove(service);
    }
}

/// Notes that `key` was seen; whether for the first time.
fn note(seen: &mut BTreeMap<Arc<str>, u64>, key: &Arc<str>, now: Now, len_max: usize) -> bool {
    if let Some(at) = seen.get_mut(key) {
        *at = now.unix_ms;
        return false;
    }
    if seen.len() < len_max {
        seen.insert(key.clone(), now.unix_ms);
        return true;
    }
    false
}
