//! Guard mode: whether the collector does by itself what it suggests.
//!
//! It decides, nothing else: what it allows goes the way of an operator's trip, with
//! [`PRINCIPAL`] as who asked and the incident as why. Nobody watches when it acts, so everything
//! that could make it do harm has a limit of its own, and the first that is reached is the answer:
//! what the evidence is of and how fresh and sure it is; what would be lost; who else has a say; how
//! often it may act. A person always wins: it never touches a person's lease, and what a person
//! reset it leaves alone for a quarter of an hour. What comes back again and again is for a person,
//! too.

#[cfg(test)]
mod tests;

use crate::incident::{RECOGNISED_MIN, SURE};
use fusebox_proto::command::ActionKind;
use fusebox_proto::view::{Guard as View, GuardMode};
use fusebox_proto::{Edge, Now};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The name under which guard mode acts, in leases, audit and journal. No operator has it.
pub const PRINCIPAL: &str = "guard";
/// At most so many actions a minute can be allowed.
pub const PER_MINUTE_MAX: u32 = 60;
/// At most so many leases at once can be allowed.
pub const AT_ONCE_MAX: u32 = 1_000;
/// It acts so often on one incident: a storm that is back after the third lease has a cause that
/// leases do not end.
const PER_INCIDENT_MAX: u64 = 3;
/// And so often an hour on one edge, whatever the incidents are called.
const PER_EDGE_MAX: usize = 6;
/// An edge that a person reset is left alone for so long.
const HANDS_OFF: Duration = Duration::from_mins(15);
/// A path on which a smaller share of the first attempts succeeds is not a healthy one.
const HEALTHY_MIN: f64 = 0.05;
/// Where a smaller share of a service's good answers does without a path, it is the last.
const WITHOUT_MIN: f64 = 0.05;
/// The same refusal is told, and counted, once in so long.
const TOLD_FOR: Duration = Duration::from_mins(1);
/// More edges that a person reset are not remembered; the oldest goes.
const RESETS_MAX: usize = 4_096;
/// More refusals are not told apart.
const TOLD_MAX: usize = 1_024;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// What it may do, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it may do at all.
    pub mode: GuardMode,
    /// Actions a minute: 1 … [`PER_MINUTE_MAX`].
    pub per_minute_max: u32,
    /// Leases in force at once: 1 … [`AT_ONCE_MAX`].
    pub at_once_max: u32,
    /// Share of the mesh's edges that it may hold at once, percent: 1 … 100. One edge always may be.
    pub share_percent_max: u8,
}

impl Default for Settings {
    /// A storm has one cause, and it is rare that there are two storms: more at once is more likely
    /// to be a mistake of ours.
    fn default() -> Self {
        Self { mode: GuardMode::Suggest, per_minute_max: 2, at_once_max: 3, share_percent_max: 10 }
    }
}

/// What the decision about one suggestion rests on.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// How often it acted on it.
    pub(crate) acted: u64,
    /// Where.
    pub(crate) edge: Edge,
    /// What; `None` where no lease does it.
    pub(crate) action: Option<ActionKind>,
    /// How sure the incident is, 0 … 1.
    pub(crate) confidence: f64,
    /// What a person would be asked before it: 0 nothing.
    pub(crate) tier: u8,
    /// Whether all that the evidence is of was counted by proxies.
    pub(crate) is_counted: bool,
    /// Proxies of the edge that are silent.
    pub(crate) stale: u64,
    /// Share of the excess that proxies recognise as retries; `None` where no complete second shows
    /// an excess: what is suggested then may be something else a moment later.
    pub(crate) recognised: Option<f64>,
    /// What succeeds now.
    pub(crate) path: Path,
    /// Whose lease is in force on the edge.
    pub(crate) held_by: Option<String>,
    /// Edges that guard mode holds.
    pub(crate) leases: usize,
    /// Edges of the mesh.
    pub(crate) edges: usize,
}

/// What succeeds now around an edge, counts of the same seconds.
///
/// The callers of the edge's source are served well `good` times; `over` calls on the edge succeed.
/// Each of them is taken to be what a good answer needed, as long as nothing shows the contrary: so
/// `good - over` answers do without the edge, and those that needed an edge that guard mode holds
/// open will not be there either.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// Good answers of the source to its callers; `None` where its proxies do not count them.
    pub(crate) good: Option<f64>,
    /// First attempts on the edge.
    pub(crate) first: f64,
    /// Attempts on the edge that succeed.
    pub(crate) over: f64,
    /// Successes on other edges of the source whose circuits are held open.
    pub(crate) held: f64,
}

impl Path {
    /// Whether it succeeds, and next to none of the good answers of the source do without it. Where
    /// they are not counted nothing shows that any do.
    fn is_last(&self) -> bool {
        let is_healthy = 0.0 < self.over && HEALTHY_MIN * self.first <= self.over;
        let good = self.good.unwrap_or(0.0);
        let without = good - self.over - self.held;
        is_healthy && without <= WITHOUT_MIN * good
    }
}

/// Why it does not act.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reason {
    /// Other weights are a change of the policy, and no lease ends it.
    Policy,
    /// Some of the evidence is of spans.
    Spans,
    /// So many proxies are silent.
    Stale(u64),
    /// The incident is only so sure.
    Unsure(f64),
    /// The excess is in no second that is complete.
    Early,
    /// Only this share of the excess is recognised.
    Unrecognised(f64),
    /// A person would be asked first.
    Costly,
    /// It would take the last way on which callers are served.
    LastPath,
    /// That person's lease is in force.
    Held(String),
    /// A person reset it that long ago.
    Reset(Duration),
    /// It acted on the incident so often.
    Incident(u64),
    /// It acted on the edge so often in the last hour.
    Edge(usize),
    /// It acted so often in the last minute.
    Minute(usize),
    /// It holds so many leases.
    AtOnce(usize),
    /// It holds so many edges of so many.
    Share(usize, usize),
    /// The trip itself was refused.
    Impossible,
}

impl Reason {
    /// As metrics and the status count it.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Policy => "policy_change",
            Self::Spans => "spans",
            Self::Stale(_) => "stale_proxies",
            Self::Unsure(_) => "unsure",
            Self::Early => "too_early",
            Self::Unrecognised(_) => "unrecognised",
            Self::Costly => "costly",
            Self::LastPath => "last_path",
            Self::Held(_) => "persons_lease",
            Self::Reset(_) => "persons_reset",
            Self::Incident(_) => "per_incident",
            Self::Edge(_) => "per_edge",
            Self::Minute(_) => "per_minute",
            Self::AtOnce(_) => "at_once",
            Self::Share(..) => "share",
            Self::Impossible => "impossible",
        }
    }

    /// Half a sentence for a person.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Policy => {
                "other weights have no lease that ends them: that is for a person".into()
            }
            Self::Spans => "the evidence is not of proxies' own counters alone".into(),
            Self::Stale(n) => format!("{n} proxies of the edge are silent"),
            Self::Unsure(is) => format!("confidence is {is:.2}, below {SURE}"),
            Self::Early => "no complete second shows yet what it is made of".into(),
            Self::Unrecognised(share) => format!(
                "{:.0} % of the excess are recognised as retries, below {:.0} %",
                100.0 * share,
                100.0 * RECOGNISED_MIN
            ),
            Self::Costly => "it would refuse what still succeeds: that is for a person".into(),
            Self::LastPath => "it is the last way on which callers are served".into(),
            Self::Held(by) => format!("{by} holds a lease on it"),
            Self::Reset(ago) => format!("a person reset it {} min ago", ago.as_secs() / 60),
            Self::Incident(n) => format!("back after {n} leases: needs a person"),
            Self::Edge(n) => format!("{n} leases within an hour: needs a person"),
            Self::Minute(n) => format!("{n} actions within a minute, which is the limit"),
            Self::AtOnce(n) => format!("{n} of its leases are in force, which is the limit"),
            Self::Share(n, of) => format!("it holds {n} of {of} edges, which is the limit"),
            Self::Impossible => "the trip was refused".into(),
        }
    }
}

/// What is to be done about a suggestion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Take the lease.
    Act,
    /// Nothing: its own lease is in force.
    Wait,
    /// Nothing, for that reason.
    Refuse(Reason),
}

/// What it did, and what persons said meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    settings: Settings,
    /// Of the last hour, oldest first: at most 60 × [`PER_MINUTE_MAX`].
    acts: VecDeque<(Edge, Past)>,
    /// Edges that a person reset within [`HANDS_OFF`].
    resets: BTreeMap<Edge, Past>,
    told: BTreeMap<(String, &'static str), Past>,
    actions: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Guard {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What it may do at all.
    pub(crate) const fn mode(&self) -> GuardMode {
        self.settings.mode
    }

    /// What is to be done about a suggestion, in mode `act`.
    pub(crate) fn decide(&self, now: Now, case: &Case) -> Verdict {
        if case.action.is_none() {
            return Verdict::Refuse(Reason::Policy);
        }
        match &case.held_by {
            Some(by) if by == PRINCIPAL => return Verdict::Wait,
            Some(by) => return Verdict::Refuse(Reason::Held(by.clone())),
            None => (),
        }
        let reason = self
            .persons(now, case)
            .or_else(|| evidence(case))
            .or_else(|| harm(case))
            .or_else(|| self.limits(now, case));
        reason.map_or(Verdict::Act, Verdict::Refuse)
    }

    /// What persons said, or should say.
    fn persons(&self, now: Now, case: &Case) -> Option<Reason> {
        let reset = self.resets.get(&case.edge);
        let ago = reset.map(|at| at.ago(now)).filter(|ago| *ago < HANDS_OFF).map(Reason::Reset);
        let is_own = |(edge, at): &&(Edge, Past)| *edge == case.edge && at.ago(now) < HOUR;
        let own = self.acts.iter().filter(is_own).count();
        ago.or_else(|| (PER_INCIDENT_MAX <= case.acted).then_some(Reason::Incident(case.acted)))
            .or_else(|| (PER_EDGE_MAX <= own).then_some(Reason::Edge(own)))
    }

    /// How much it may do.
    fn limits(&self, now: Now, case: &Case) -> Option<Reason> {
        let lately = self.acts.iter().filter(|(_, at)| at.ago(now) < MINUTE).count();
        let at_most = case.edges * usize::from(self.settings.share_percent_max) / 100;
        if self.settings.per_minute_max as usize <= lately {
            Some(Reason::Minute(lately))
        } else if self.settings.at_once_max as usize <= case.leases {
            Some(Reason::AtOnce(case.leases))
        } else if at_most.max(1) <= case.leases {
            Some(Reason::Share(case.leases, case.edges))
        } else {
            None
        }
    }

    /// It acted.
    pub(crate) fn acted(&mut self, now: Now, edge: &Edge) {
        self.actions += 1;
        self.note_act(now, edge, Duration::ZERO);
    }

    /// It acted on an edge that long ago, in this process or in an earlier one.
    pub(crate) fn note_act(&mut self, now: Now, edge: &Edge, ago: Duration) {
        self.acts.retain(|(_, at)| at.ago(now) < HOUR);
        self.acts.push_back((edge.clone(), Past::new(now, ago)));
    }

    /// A person reset an edge that long ago.
    pub(crate) fn person_reset(&mut self, now: Now, edge: &Edge, ago: Duration) {
        self.resets.retain(|_, at| at.ago(now) < HANDS_OFF);
        self.resets.insert(edge.clone(), Past::new(now, ago));
        if RESETS_MAX < self.resets.len()
            && let Some(oldest) =
                self.resets.iter().max_by_key(|(_, at)| at.ago(now)).map(|(e, _)| e)
        {
            let oldest = oldest.clone();
            self.resets.remove(&oldest);
        }
    }

    /// Counts a refusal. Whether it is worth a line: it has not been told of this incident lately.
    pub(crate) fn refused(&mut self, now: Now, incident: &str, reason: &Reason) -> bool {
        let key = (incident.to_owned(), reason.as_str());
        self.told.retain(|_, at| at.ago(now) < TOLD_FOR);
        if self.told.contains_key(&key) || TOLD_MAX <= self.told.len() {
            return false;
        }
        self.told.insert(key, Past::new(now, Duration::ZERO));
        *self.refused.entry(reason.as_str()).or_default() += 1;
        true
    }

    /// As the status shows it, with the leases that are in force.
    pub(crate) fn view(&self, leases: u64) -> View {
        let refused = self.refused.iter().map(|(reason, count)| ((*reason).to_owned(), *count));
        View { mode: self.mode(), actions: self.actions, leases, refused: refused.collect() }
    }
}

/// A moment of the last hour, also of before this process, or this machine, started: kept as the
/// end of the hour after it.
#[derive(Clone, Copy, Debug)]
struct Past(Instant);

impl Past {
    fn new(now: Now, ago: Duration) -> Self {
        Self(now.instant + HOUR.saturating_sub(ago))
    }

    /// How long ago, an hour at most.
    fn ago(self, now: Now) -> Duration {
        HOUR.saturating_sub(self.0.saturating_duration_since(now.instant))
    }
}

/// What the evidence is worth.
fn evidence(case: &Case) -> Option<Reason> {
    let is_mute = case.action == Some(ActionKind::MuteRetries);
    if !case.is_counted {
        Some(Reason::Spans)
    } else if 0 < case.stale {
        Some(Reason::Stale(case.stale))
    } else if case.confidence < SURE || case.confidence.is_nan() {
        Some(Reason::Unsure(case.confidence))
    } else {
        match case.recognised {
            None => Some(Reason::Early),
            Some(share) if is_mute && share < RECOGNISED_MIN => Some(Reason::Unrecognised(share)),
            Some(_) => None,
        }
    }
}

/// What would be lost.
fn harm(case: &Case) -> Option<Reason> {
    if case.action == Some(ActionKind::Open) && case.path.is_last() {
        Some(Reason::LastPath)
    } else if case.tier != 0 {
        Some(Reason::Costly)
    } else {
        None
    }
}
