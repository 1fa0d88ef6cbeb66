//! The one sentence, for someone who was asleep a minute ago.

use super::Scene;
use super::blame::Blame;
use crate::detect::Phase;
use fusebox_proto::command::ActionKind;
use fusebox_proto::text::cut;
use fusebox_proto::view::Stamp;

/// The sentence has at most so many characters: it must fit on one line of a terminal.
pub(super) const SENTENCE_MAX: usize = 110;
/// A name in it has at most so many bytes; the longest with which the sentence fits.
const NAME_MAX: [usize; 5] = [32, 24, 16, 12, 8];

/// A rate as people say it: `0.4`, `22`, `3890`.
pub(super) fn rate(per_s: f64) -> String {
    if per_s < 9.95 { format!("{per_s:.1}") } else { format!("{per_s:.0}") }
}

/// A factor as people say it: `9.8`, `27`.
fn factor(factor: f64) -> String {
    if factor < 99.95 { format!("{factor:.1}") } else { format!("{factor:.0}") }
}

/// The time of day in UTC, `14:01:52`.
pub(super) fn time_of_day(unix_ms: u64) -> String {
    let stamp = Stamp(unix_ms).to_string();
    stamp.get(11..19).unwrap_or_default().to_owned()
}

/// What is going on, as it stands.
pub(super) fn open(scene: &Scene<'_>, blame: &Blame, phase: Phase, onset: u64) -> String {
    let since = time_of_day(onset * 1_000);
    let lease = scene.lease(&blame.edge);
    fitting(scene, blame, |names| {
        let head = names.head(blame, "sends", "multiply");
        format!("{head} since {since}; {}", names.state(lease, phase))
    })
}

/// What it was.
pub(super) fn resolved(scene: &Scene<'_>, blame: &Blame, onset: u64, until_ms: u64) -> String {
    let (from, to) = (time_of_day(onset * 1_000), time_of_day(until_ms));
    let end = match scene.lease(&blame.edge) {
        Some(ActionKind::MuteRetries) => "it is over, retries stay muted for now.",
        Some(_) => "it is over, the lease still holds.",
        None => "it is over.",
    };
    fitting(scene, blame, |names| {
        format!("{} from {from} to {to}; {end}", names.head(blame, "sent", "multiplied"))
    })
}

/// What it was, as far as a collector knows that was restarted meanwhile.
pub(super) fn left(scene: &Scene<'_>, blame: &Blame, onset: u64) -> String {
    let from = time_of_day(onset * 1_000);
    fitting(scene, blame, |names| {
        let head = names.head(blame, "sent", "multiplied");
        format!("{head} from {from}; not seen since the collector restarted.")
    })
}

/// The sentence with the longest names with which it fits on a line.
fn fitting(scene: &Scene<'_>, blame: &Blame, tell: impl Fn(&Names) -> String) -> String {
    let print = |service, name_max| cut(&scene.names.print(service), name_max).into_owned();
    let sentences = NAME_MAX.map(|name_max| {
        tell(&Names {
            source: print(&blame.edge.source, name_max),
            callee: print(&blame.edge.destination, name_max),
            victim: print(&blame.victim, name_max),
        })
    });
    let fits = |sentence: &&String| sentence.chars().count() <= SENTENCE_MAX;
    let [.., shortest] = &sentences;
    sentences.iter().find(fits).unwrap_or(shortest).clone()
}

/// Names as they stand in a sentence.
struct Names {
    source: String,
    callee: String,
    victim: String,
}

impl Names {
    fn head(&self, blame: &Blame, sends: &str, multiply: &str) -> String {
        let Self { source, callee, .. } = self;
        let product = factor(blame.amplification);
        match &blame.layers[..] {
            [] | [_] => format!("{source} {sends} {callee} {product} attempts per request"),
            layers => {
                let count = layers.len();
                format!("{count} layers from {source} on {multiply} requests {product} times")
            }
        }
    }

    fn state(&self, lease: Option<ActionKind>, phase: Phase) -> String {
        let victim = &self.victim;
        match (lease, phase) {
            (Some(ActionKind::MuteRetries), _) => format!("retries are muted, {victim} drains."),
            (Some(ActionKind::Open), _) => format!("the circuit is open, {victim} drains."),
            (Some(ActionKind::Cap), _) => format!("attempts are capped, {victim} drains."),
            (Some(ActionKind::Shed), _) => format!("a share is shed, {victim} drains."),
            (None, Phase::Draining) => format!("{victim} drains."),
            (None, Phase::Sustained) => format!("retries alone keep {victim} down."),
            (None, _) => format!("{victim} is saturated."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: figures and times of many sizes.
    /// Guarantees: they read as people say them.
    #[test]
    fn figures_read_well() {
        assert_eq!(time_of_day(1_700_000_512_999), "22:21:52");
        let check = |per_s: f64, expected: &str| assert_eq!(rate(per_s), expected);
        check(0.04, "0.0");
        check(9.94, "9.9");
        check(9.96, "10");
        check(3_890.4, "3890");
        assert_eq!(factor(9.81), "9.8");
        assert_eq!(factor(27.0), "27.0");
    }
}
