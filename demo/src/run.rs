//! One run from start to summary: everything is started, played, and ended.

mod play;

use crate::backstage::{self, Backstage, Collector};
use crate::collector::{Api, AskError, Hand};
use crate::conditions::script;
use crate::event::{Event, Line, Started, Summary};
use crate::mesh::{self, MeshError, Place};
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::shop::Shop;
use crate::stage::Stage;
use play::{Play, Sources};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

/// All proxies must have found the collector after this time.
const READY_MAX: Duration = Duration::from_secs(20);
const READY_POLL: Duration = Duration::from_millis(20);
/// More orders of the script than this never wait: a scenario has no more faults.
const ORDERS_MAX: usize = 64;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which scenario.
    pub scenario: Scenario,
    /// Which run of it.
    pub seed: u64,
    /// How long the load lasts; until `stop` where it is absent.
    pub duration: Option<Duration>,
    /// Who acts.
    pub act: Act,
    /// When the first fault begins, instead of when the scenario says.
    pub fault_at: Option<Duration>,
}

/// Who acts on an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Act {
    /// Nobody; or a person, in front of a dashboard.
    #[default]
    None,
    /// The demo does what the collector suggests, at once, and once.
    Suggested,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The collector did not start.
    #[error("the collector: {0}")]
    Collector(#[from] fusebox_collector::StartError),
    /// The shop did not open.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The system gives no threads.
    #[error("the shop: {0}")]
    Io(#[from] io::Error),
    /// The collector cannot be asked.
    #[error("the collector: {0}")]
    Ask(#[from] AskError),
    /// Part of the collector ended before its time.
    #[error("the collector's task {0} ended")]
    Ended(&'static str),
    /// Some proxies did not connect.
    #[error("{connected} of {proxies} proxies found the collector within {} s", READY_MAX.as_secs())]
    NotReady {
        /// Those that did.
        connected: usize,
        /// All.
        proxies: usize,
    },
}

/// Runs a scenario against a collector of its own, on free ports, in this process. Tells every
/// line as it happens, the summary last. `stop` ends it early, with a summary of what there was.
///
/// # Errors
/// If something does not start.
pub async fn run(
    options: Options,
    stop: CancellationToken,
    tell: impl FnMut(&Line) + Send,
) -> Result<Summary, RunError> {
    let mut plan = Plan::new(options.scenario, options.seed);
    if let Some(at) = options.fault_at {
        plan.begin_faults_at(at);
    }
    let config =
        fusebox_collector::Config { embedded: true, ..fusebox_collector::Config::on_free_ports() };
    let collector = Collector::start(config.clone()).await?;
    let (control, http) = (collector.running().control(), collector.running().http());
    let control = format!("http://{control}");
    let places = mesh::start(&plan, &control)?;
    let proxies = places.len();
    until_ready(&Api::new(http), proxies).await?;
    let mut hand = Hand::reach(&control).await?;
    backstage::open(&mut hand, &plan, proxies).await?;

    let plan = Arc::new(plan);
    let started = started(&plan, collector.running(), &places);
    let (stage, notices) = Stage::new(Arc::clone(&plan));
    let shop = Shop::open(&stage, places)?;
    let (said, incidents) = mpsc::channel(1);
    let following = tokio::spawn(Api::new(http).follow_incidents(said));
    let turns = script(&plan).into();
    let mut behind = Backstage::new(Arc::clone(&stage), config, collector, hand.clone(), proxies);
    let hand = Some(hand).filter(|_| options.act == Act::Suggested);
    let (orders, mut inbox) = mpsc::channel(ORDERS_MAX);
    let mut play = Play::new(stage, shop, (turns, orders), options.duration, tell);
    play.tell(Event::Started(started));
    let result = tokio::select! {
        () = play.run(Sources { stop, notices, incidents, hand }) => Ok(play.summarise()),
        error = behind.run(&mut inbox) => Err(error),
    };
    play.into_shop().shutdown().await;
    following.abort();
    behind.shutdown().await;
    result
}

pub(crate) async fn until_ready(api: &Api, proxies: usize) -> Result<(), RunError> {
    let mut connected = 0;
    let all = async {
        let mut ticks = interval(READY_POLL);
        loop {
            ticks.tick().await;
            connected = api.connected().await?;
            if proxies <= connected {
                return Ok(());
            }
        }
    };
    match timeout(READY_MAX, all).await {
        Ok(result) => result,
        Err(_) => Err(RunError::NotReady { connected, proxies }),
    }
}

fn started(plan: &Plan, collector: &fusebox_collector::Running, places: &[Place]) -> Started {
    Started {
        collector: format!("http://{}", collector.control()),
        http: format!("http://{}", collector.http()),
        otlp_grpc: format!("http://{}", collector.otlp_grpc()),
        otlp_http: format!("http://{}", collector.otlp_http()),
        seed: plan.seed,
        scenario: plan.scenario.name.clone(),
        services: plan.scenario.services.len(),
        proxies: places.len(),
        expect: plan.expect(),
    }
}
