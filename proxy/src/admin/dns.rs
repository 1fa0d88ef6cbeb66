//! Names whose addresses are followed, as `/config` and `/metrics` show them.

use super::metrics::{DROPPED, Page, labels};
use crate::dns::Found;
use crate::proxy::Proxy;
use fusebox_proto::Now;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Each with what it stands for.
pub(super) fn page(proxy: &Proxy, now: Now) -> Vec<Value> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
    let found =
        |found: &Found| json!({ "address": found.address.to_string(), "weight": found.weight });
    let statuses: Vec<_> = proxy.names.schedule.lock().statuses(now.instant).collect();
    let name = |status: crate::dns::Status| {
        json!({
            "name": status.name,
            "addresses": proxy.found(&status.name).iter().map(found).collect::<Vec<_>>(),
            "source": status.known.map(|(_, _, source)| source.as_str()),
            "ttl_ms": status.known.and_then(|(_, ttl, _)| ms(ttl)),
            "age_ms": status.known.and_then(|(age, _, _)| ms(age)),
            "next_ms": ms(status.next),
            "error": status.error.map(|error| error.to_string()),
        })
    };
    statuses.into_iter().map(name).collect()
}

/// Counters, and how old each answer is.
pub(super) fn metrics(page: &mut Page, proxy: &Proxy, now: Now) {
    let tally = &proxy.names.tally;
    let name = "fusebox_proxy_dns_lookups_total";
    page.kind(name, "counter", "Look-ups of names of endpoints, by what came of them.");
    for (result, count) in [("answered", &tally.answered), ("failed", &tally.failed)] {
        page.value(name, &labels(&[("result", result)]), count.load(Relaxed));
    }
    let name = "fusebox_proxy_dns_foreign_total";
    page.kind(name, "counter", "Datagrams that were not the answer to what was asked.");
    page.value(name, "", tally.foreign.load(Relaxed));
    let name = "fusebox_proxy_dns_failing";
    page.kind(name, "gauge", "1 for a name whose last look-up failed; its endpoints stay.");
    let statuses: Vec<_> = proxy.names.schedule.lock().statuses(now.instant).collect();
    for status in &statuses {
        page.value(name, &labels(&[("name", &status.name)]), u8::from(status.error.is_some()));
    }
    let name = "fusebox_proxy_dns_age_seconds";
    page.kind(name, "gauge", "Since the last good answer about a name.");
    for status in &statuses {
        if let Some((age, _, _)) = status.known {
            page.value(name, &labels(&[("name", &status.name)]), age.as_secs_f64());
        }
    }
    let name = "fusebox_proxy_names_beyond_limit";
    page.kind(name, "gauge", "Names whose addresses are not followed; each connect looks them up.");
    page.value(name, "", proxy.names.beyond.load(Relaxed));
}

/// What was too much, among the others of its kind.
pub(super) fn dropped(page: &mut Page, proxy: &Proxy) {
    let tally = &proxy.names.tally;
    let counters =
        [("dns_addresses", &tally.addresses_dropped), ("dns_targets", &tally.targets_dropped)];
    for (what, count) in counters {
        page.value(DROPPED, &labels(&[("what", what)]), count.load(Relaxed));
    }
}
