//! What happened, newest last, for "recent events".

use fusebox_proto::text::cut;
use fusebox_proto::view::{Event, Stamp};
use std::collections::VecDeque;

/// More than this are not kept here; the oldest goes.
pub(crate) const EVENTS_MAX: usize = 200;
/// A line has at most so many bytes.
const TEXT_MAX: usize = 240;

/// What happens to many at about the same time becomes one line, if it is no further apart.
const TOGETHER_MS: u64 = 10_000;
/// So many are named in that line.
const NAMED_MAX: usize = 3;

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    events: VecDeque<Event>,
    crowd: Option<Crowd>,
    /// How many of the newest were noted since [`take_fresh`](Journal::take_fresh).
    fresh: usize,
}

/// Several proxies to whom the same happened: told by the newest event.
#[derive(Debug)]
struct Crowd {
    kind: &'static str,
    what: String,
    since_unix_ms: u64,
    names: Vec<String>,
    count: usize,
}

impl Crowd {
    fn text(&self) -> String {
        let (what, names) = (&self.what, self.names.join(", "));
        let who = match self.count {
            1 => format!("proxy {names}"),
            few if few <= NAMED_MAX => format!("proxies {names}"),
            many => format!("{many} proxies ({names}, …)"),
        };
        if self.kind == "proxy" { format!("{who} {what}") } else { format!("{what} in {who}") }
    }
}

impl Journal {
    /// Takes note. `kind` as in [`Event::kind`].
    pub(crate) fn note(&mut self, at_unix_ms: u64, kind: &str, text: &str) {
        self.crowd = None;
        self.tell(at_unix_ms, kind, text);
    }

    /// Takes note of what happened to a proxy (kind `proxy`: `connected`, `draining`, `gone`) or in it. A mesh
    /// that starts, or a circuit that opens everywhere, is one line.
    pub(crate) fn note_proxy(&mut self, at: u64, kind: &'static str, what: &str, name: &str) {
        let is_same = |crowd: &Crowd| {
            crowd.kind == kind && crowd.what == what && at < crowd.since_unix_ms + TOGETHER_MS
        };
        let crowd = self.crowd.take().filter(is_same);
        if crowd.is_some() {
            self.events.pop_back();
            self.fresh = self.fresh.saturating_sub(1);
        }
        let mut crowd = crowd.unwrap_or_else(|| Crowd {
            kind,
            what: what.to_owned(),
            since_unix_ms: at,
            names: Vec::new(),
            count: 0,
        });
        crowd.count += 1;
        if crowd.names.len() < NAMED_MAX {
            crowd.names.push(name.to_owned());
        }
        self.tell(at, kind, &crowd.text());
        self.crowd = Some(crowd);
    }

    fn tell(&mut self, at_unix_ms: u64, kind: &str, text: &str) {
        let text = cut(text, TEXT_MAX).into_owned();
        self.push(Event { at: Stamp(at_unix_ms), kind: kind.into(), text });
        self.fresh = (self.fresh + 1).min(EVENTS_MAX);
    }

    /// Begins with what an earlier process noted, oldest first.
    pub(crate) fn restore(&mut self, events: &[Event]) {
        events.iter().cloned().for_each(|event| self.push(event));
    }

    fn push(&mut self, event: Event) {
        if EVENTS_MAX <= self.events.len() {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// What was noted since the last call, oldest first.
    pub(crate) fn take_fresh(&mut self) -> Vec<Event> {
        let fresh = std::mem::take(&mut self.fresh);
        self.events.iter().skip(self.events.len() - fresh).cloned().collect()
    }

    /// Newest first; of the same time, in the order in which they were noted.
    pub(crate) fn newest_first(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.events.iter().rev().cloned().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: proxies come and go, alone, together, apart, and between other events.
    /// Guarantees: what happens to several within ten seconds is one line that counts them and
    /// names the first; another event ends it.
    #[test]
    fn a_crowd_is_one_line() {
        let check = |happens: &[(u64, &str)], expected: &[&str]| {
            let mut journal = Journal::default();
            for (at, what) in happens {
                match what.split_once(' ') {
                    Some((name, "up")) => journal.note_proxy(*at, "proxy", "connected", name),
                    Some((name, "down")) => journal.note_proxy(*at, "proxy", "gone", name),
                    Some((name, what)) => journal.note_proxy(*at, "breaker", what, name),
                    None => journal.note(*at, "trip", what),
                }
            }
            let texts: Vec<String> = journal.newest_first().into_iter().map(|e| e.text).collect();
            assert_eq!(texts, expected, "{happens:?}");
        };
        check(&[(0, "a up")], &["proxy a connected"]);
        check(&[(0, "a up"), (9_999, "b up")], &["proxies a, b connected"]);
        check(&[(0, "a up"), (10_000, "b up")], &["proxy b connected", "proxy a connected"]);
        check(&[(0, "a up"), (1, "b down")], &["proxy b gone", "proxy a connected"]);
        let five = [(0, "a up"), (0, "b up"), (1, "c up"), (2, "d up"), (3, "e up")];
        check(&five, &["5 proxies (a, b, c, …) connected"]);
        check(&[(0, "a open"), (1, "b open")], &["open in proxies a, b"]);
        check(
            &[(0, "a up"), (1, "tripped"), (2, "b up")],
            &["proxy b connected", "tripped", "proxy a connected"],
        );
    }
}
