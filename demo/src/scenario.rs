//! A scenario: the shop, its load, what goes wrong and when, and the verdict that is true.
//!
//! A file changes of the shop (`shop.toml`) what it needs: its tables are laid over the shop's, its
//! lists replace them. Services are named by their role here; what they are called in a run is a
//! matter of the seed ([`crate::plan`]).

mod check;
mod defaults;

use fusebox_proto::Invalid;
use fusebox_proto::command::ActionKind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const SHOP: &str = include_str!("../shop.toml");

/// One scenario, checked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, as on the command line.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// How long a headless run takes unless told otherwise.
    #[serde(default = "defaults::duration_s")]
    pub duration_s: f64,
    /// Share of entry requests whose trace is recorded.
    #[serde(default = "defaults::sampled_percent")]
    pub sampled_percent: f64,
    /// The incident that is true; none where everything must stay quiet.
    pub expect: Option<Expect>,
    /// How far other seeds than 1 may stray.
    #[serde(default)]
    pub vary: Vary,
    /// Entry requests.
    #[serde(default)]
    pub load: Vec<Load>,
    /// By role.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// What changes, when.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// The kind of incident that has layers.
const RETRY_STORM: &str = "retry_storm";

/// The truth about a scenario: in roles here, in the names of a run after [`crate::plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Kind of the incident, such as `retry_storm`.
    pub kind: String,
    /// Who causes it.
    pub originator: String,
    /// Who lies between the two, from above: every call on the way is a layer that multiplies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<String>,
    /// Who suffers.
    pub victim: String,
    /// The subset of the originator that is at fault, where it is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
}

impl Expect {
    /// Caller and callee of each layer, uppermost first: of a storm. Who is slow multiplies nothing.
    pub fn layers(&self) -> Vec<(&str, &str)> {
        if self.kind != RETRY_STORM {
            return Vec::new();
        }
        let ends = (std::iter::once(&self.originator), std::iter::once(&self.victim));
        let on_the_way: Vec<&str> =
            ends.0.chain(&self.through).chain(ends.1).map(String::as_str).collect();
        on_the_way.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// Factors between which another seed draws.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vary {
    /// Of all rates together.
    pub rate: (f64, f64),
    /// Of each service's time to work.
    pub work: (f64, f64),
}

/// Requests from outside, made whether or not earlier ones are answered.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// `service/route`
    pub to: String,
    /// Requests per second.
    pub rate: f64,
    /// Evenly spaced or at random.
    #[serde(default)]
    pub spacing: Spacing,
    /// A visitor leaves after this time.
    #[serde(default = "defaults::patience_ms")]
    pub patience_ms: u64,
}

/// When requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// One every 1 ÷ rate.
    #[default]
    Even,
    /// A Poisson process.
    Random,
}

/// One service of the shop.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// What it may be called; the first in seed 1. Empty: its role.
    pub names: Vec<String>,
    /// How many instances it has, each with its own proxy.
    pub instances: usize,
    /// Between how many instances another seed draws.
    pub instances_vary: Option<(usize, usize)>,
    /// Requests that an instance works on at once; 0 for no limit.
    pub workers: usize,
    /// Requests that may wait in an instance.
    pub queue: usize,
    /// What becomes of a further one.
    pub overflow: Overflow,
    /// Mean time of a worker for a request.
    pub work_ms: f64,
    /// Spread of that time: standard deviation of its logarithm.
    pub spread: f64,
    /// Whether it finishes requests whose caller has left.
    pub serves_abandoned: bool,
    /// Share of requests that it answers with 500.
    pub error_percent: f64,
    /// A new version of it beside the instances of the old one; without traffic until it is rolled
    /// out.
    pub canary: Option<Canary>,
    /// What a request makes it call, step by step.
    pub routes: BTreeMap<String, Vec<Call>>,
    /// How it calls others, by role of the callee.
    pub clients: BTreeMap<String, Client>,
}

/// The instances of a new version: the subset `v2`; the others are `v1`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// How many there are.
    pub instances: usize,
    /// Share of requests that they answer with 500, if that is more than the service's.
    pub error_percent: f64,
    /// So many times as long as the old version they work.
    pub factor: f64,
}

/// The subset of the old version.
pub const STABLE_SUBSET: &str = "v1";
/// The subset of the new one.
pub const CANARY_SUBSET: &str = "v2";

/// What a full queue does with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// It answers 503 at once.
    #[default]
    Refuse,
    /// It does not answer: the request lies in a backlog that nobody reads, until its caller's
    /// patience ends.
    Ignore,
}

/// A call within a route.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `service/route`
    pub to: String,
    /// So many calls, one after another.
    #[serde(default = "defaults::once")]
    pub times: u32,
    /// At the same time as the call before it.
    #[serde(default)]
    pub parallel: bool,
    /// Whether the request succeeds without it.
    #[serde(default)]
    pub optional: bool,
}

/// Settings of a client library.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// Patience for one attempt.
    pub timeout_ms: u64,
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles from attempt to attempt.
    pub backoff_ms: u64,
    /// By how much a wait may be shortened, at random.
    pub jitter_percent: f64,
    /// A second attempt starts beside the first if that has not answered for so long; 0: never.
    pub hedge_after_ms: u64,
    /// Statuses after which the library tries again.
    pub retry_status: Vec<u16>,
    /// Whether the library tries again where its patience ended.
    pub retry_timeouts: bool,
    /// Whether each attempt gets a span of its own (tenacity, axios-retry) or all share one
    /// (urllib3, gRPC).
    pub new_span_each_attempt: bool,
}

/// Something that changes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When, from the start of the load.
    pub at_s: f64,
    /// For how long; for good where it is absent.
    pub for_s: Option<f64>,
    /// What.
    pub change: Change,
}

/// What a fault changes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// A release gives a client library other settings.
    Release {
        /// Who is released.
        service: String,
        /// Whom it calls.
        callee: String,
        /// The new settings, whole.
        client: Client,
    },
    /// A service needs longer.
    Slow {
        /// Which.
        service: String,
        /// So many times as long.
        factor: f64,
        /// For this share of its requests.
        #[serde(default = "defaults::all_percent")]
        percent: f64,
    },
    /// A service fails.
    Errors {
        /// Which.
        service: String,
        /// Share of its answers.
        percent: f64,
    },
    /// A release calls in a loop what it called once.
    Repeat {
        /// Who is released.
        service: String,
        /// `service/route` of the call.
        to: String,
        /// So many calls, one after another.
        times: u32,
    },
    /// The load grows or shrinks.
    Load {
        /// So many times as much.
        factor: f64,
    },
    /// The first instance of a service calls another on its own account, one call after another.
    Job {
        /// Who calls.
        service: String,
        /// `service/route`
        to: String,
        /// A call starts at most so often.
        every_ms: u64,
        /// Whether all calls belong to one trace.
        #[serde(default)]
        one_trace: bool,
        /// Whether each call has a path of its own.
        #[serde(default)]
        numbered: bool,
    },
    /// An operator gives the new version of a service a share of the traffic; after its time it is
    /// taken back.
    Rollout {
        /// Which service.
        service: String,
        /// The share.
        percent: u32,
    },
    /// An operator takes a lease on an edge; it ends by itself.
    Lease {
        /// Who calls.
        service: String,
        /// Whom.
        callee: String,
        /// What.
        action: ActionKind,
        /// For how long.
        ttl_s: u64,
    },
    /// The collector dies, with all that it knows; after its time a new one listens in its place.
    CollectorDies {},
}

/// A scenario that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The text is no scenario; says where and what is allowed.
    #[error("{file}: {message}")]
    Syntax {
        /// Which file.
        file: String,
        /// As the parser says it.
        message: String,
    },
    /// A field has a value that is not allowed.
    #[error("{file}: {invalid}")]
    Value {
        /// Which file.
        file: String,
        /// Which field, and what is allowed.
        invalid: Invalid,
    },
}

impl Scenario {
    /// Parses and checks the `text` of `file`.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file, the field and what is allowed.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let syntax = |error: toml::de::Error| ScenarioError::Syntax {
            file: file.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        };
        // The file alone first: errors then point to a line of it.
        toml::from_str::<Self>(text).map_err(syntax)?;
        let mut table: toml::Table = SHOP.parse().expect("the shop's own file is TOML");
        lay_over(&mut table, text.parse().map_err(syntax)?);
        let scenario: Self = table.try_into().map_err(syntax)?;
        match scenario.check() {
            Ok(()) => Ok(scenario),
            Err(invalid) => Err(ScenarioError::Value { file: file.to_owned(), invalid }),
        }
    }

    /// Roles that `service` calls, by its routes or a job.
    pub fn callees(&self, service: &str) -> BTreeSet<&str> {
        let routes = self.services.get(service).into_iter().flat_map(|s| s.routes.values());
        let calls = routes.flatten().map(|call| call.to.as_str());
        let jobs = self.faults.iter().filter_map(|fault| match &fault.change {
            Change::Job { service: caller, to, .. } if caller == service => Some(to.as_str()),
            _ => None,
        });
        calls.chain(jobs).filter_map(|to| to.split_once('/')).map(|(role, _)| role).collect()
    }

    /// Roles in an order in which each comes after those that it calls. Shorter than `services`
    /// where calls go round in a circle.
    pub fn callees_first(&self) -> Vec<&str> {
        let mut order: Vec<&str> = Vec::new();
        while let Some((role, _)) = self.services.iter().find(|(role, _)| {
            !order.contains(&role.as_str())
                && self.callees(role).iter().all(|callee| order.contains(callee))
        }) {
            order.push(role);
        }
        order
    }
}

/// Tables of `upper` are laid over those of `lower`; anything else replaces it.
fn lay_over(lower: &mut toml::Table, upper: toml::Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

impl Change {
    /// The services that it touches.
    pub fn services(&self) -> Vec<&str> {
        match self {
            Self::Release { callee, .. } => vec![callee],
            Self::Slow { service, .. }
            | Self::Errors { service, .. }
            | Self::Rollout { service, .. } => vec![service],
            Self::Repeat { to, .. } | Self::Job { to, .. } => {
                to.split_once('/').map(|(role, _)| role).into_iter().collect()
            }
            Self::Load { .. } | Self::Lease { .. } | Self::CollectorDies {} => Vec::new(),
        }
    }
}
