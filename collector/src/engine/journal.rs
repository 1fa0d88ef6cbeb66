//! What happened, newest last, for "recent events".

use fusebox_proto::text::cut;
use fusebox_proto::view::{Event, Stamp};
use std::collections::VecDeque;

/// More than this are not kept; the oldest goes.
const EVENTS_MAX: usize = 200;
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
}

/// Several of a kind to whom the same happened: told by the newest event.
#[derive(Debug)]
struct Crowd {
    what: &'static str,
    since_unix_ms: u64,
    names: Vec<String>,
    count: usize,
}

impl Crowd {
    fn text(&self) -> String {
        let names = self.names.join(", ");
        match self.count {
            1 => format!("proxy {names} {}", self.what),
            few if few <= NAMED_MAX => format!("proxies {names} {}", self.what),
            many => format!("{many} proxies {}: {names}, …", self.what),
        }
    }
}

impl Journal {
    /// Takes note. `kind` as in [`Event::kind`].
    pub(crate) fn note(&mut self, at_unix_ms: u64, kind: &str, text: &str) {
        self.crowd = None;
        self.push(at_unix_ms, kind, text);
    }

    /// Takes note of what happened to a proxy: `connected`, `gone`. A mesh that starts, or loses
    /// its collector, is one line.
    pub(crate) fn note_proxy(&mut self, at_unix_ms: u64, what: &'static str, name: &str) {
        let is_same =
            |crowd: &Crowd| crowd.what == what && at_unix_ms < crowd.since_unix_ms + TOGETHER_MS;
        let crowd = self.crowd.take().filter(is_same);
        if crowd.is_some() {
            self.events.pop_back();
        }
        let mut crowd = crowd.unwrap_or_else(|| Crowd {
            what,
            since_unix_ms: at_unix_ms,
            names: Vec::new(),
            count: 0,
        });
        crowd.count += 1;
        if crowd.names.len() < NAMED_MAX {
            crowd.names.push(name.to_owned());
        }
        self.push(at_unix_ms, "proxy", &crowd.text());
        self.crowd = Some(crowd);
    }

    fn push(&mut self, at_unix_ms: u64, kind: &str, text: &str) {
        if EVENTS_MAX <= self.events.len() {
            self.events.pop_front();
        }
        let text = cut(text, TEXT_MAX).into_owned();
        self.events.push_back(Event { at: Stamp(at_unix_ms), kind: kind.into(), text });
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
                    Some((name, "up")) => journal.note_proxy(*at, "connected", name),
                    Some((name, _)) => journal.note_proxy(*at, "gone", name),
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
        check(&five, &["5 proxies connected: a, b, c, …"]);
        check(
            &[(0, "a up"), (1, "tripped"), (2, "b up")],
            &["proxy b connected", "tripped", "proxy a connected"],
        );
    }
}
