//! What happens behind the stage: the life of the collector, and what an operator does by the script.
//!
//! The collector has a runtime of its own. Where the script kills it, that ends under it: nothing is
//! said to anybody, sockets are closed as those of a process that died, and what it knew is gone.

use crate::collector::{Api, AskError, Hand};
use crate::conditions::Turn;
use crate::plan::Plan;
use crate::run::{RunError, until_ready};
use crate::scenario::{CANARY_SUBSET, Change, STABLE_SUBSET};
use crate::stage::Stage;
use fusebox_collector::{Config, Running};
use fusebox_proto::command::ActionKind;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// The collector may take so long to end.
const GRACE: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Move the traffic of a host between its two versions.
    Shift { host: String, canary_percent: u32 },
    /// Take a lease.
    Lease { source: String, destination: String, action: ActionKind, ttl_s: u64 },
    /// Kill the collector.
    Kill,
    /// Start another in its place.
    Start,
}

impl Order {
    /// What a turn of the script asks for behind the stage, if anything.
    pub(crate) fn of(plan: &Plan, turn: Turn) -> Option<Self> {
        match (&plan.scenario.faults[turn.fault].change, turn.begins) {
            (Change::Rollout { service, percent }, begins) => Some(Self::Shift {
                host: plan.name(service).to_owned(),
                canary_percent: if begins { *percent } else { 0 },
            }),
            (Change::Lease { service, callee, action, ttl_s }, true) => Some(Self::Lease {
                source: plan.name(service).to_owned(),
                destination: plan.name(callee).to_owned(),
                action: *action,
                ttl_s: *ttl_s,
            }),
            (Change::CollectorDies {}, true) => Some(Self::Kill),
            (Change::CollectorDies {}, false) => Some(Self::Start),
            _ => None,
        }
    }
}

/// A collector and its runtime.
#[derive(Debug)]
pub(crate) struct Collector {
    running: Running,
    runtime: Option<Runtime>,
}

impl Collector {
    /// Starts one.
    pub(crate) async fn start(config: Config) -> Result<Self, RunError> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("collector").build()?;
        let started = runtime.spawn(fusebox_collector::start(config)).await;
        match started.map_err(io::Error::other) {
            Ok(Ok(running)) => Ok(Self { running, runtime: Some(runtime) }),
            Ok(Err(error)) => {
                runtime.shutdown_background();
                Err(error.into())
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error.into())
            }
        }
    }

    /// Where it listens.
    pub(crate) const fn running(&self) -> &Running {
        &self.running
    }

    /// Ends it well.
    async fn shutdown(mut self) {
        let runtime = self.runtime.take();
        self.running.shutdown(GRACE).await;
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    /// As by SIGKILL.
    fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// A configuration of one that listens where this one does.
    fn again(&self, config: Config) -> Config {
        Config {
            otlp_grpc: self.running.otlp_grpc(),
            otlp_http: self.running.otlp_http(),
            control: self.running.control(),
            http: self.running.http(),
            ..config
        }
    }
}

/// Whoever carries out orders.
pub(crate) struct Backstage {
    stage: Arc<Stage>,
    config: Config,
    collector: Option<Collector>,
    hand: Hand,
    proxies: usize,
}

impl Backstage {
    /// With a collector that runs, so many proxies that are connected to it, and an operator.
    pub(crate) fn new(
        stage: Arc<Stage>,
        config: Config,
        collector: Collector,
        hand: Hand,
        proxies: usize,
    ) -> Self {
        let config = collector.again(config);
        Self { stage, config, collector: Some(collector), hand, proxies }
    }

    /// Carries out orders; returns only where that fails, or the collector does.
    pub(crate) async fn run(&mut self, orders: &mut mpsc::Receiver<Order>) -> RunError {
        loop {
            let failed = async {
                match &mut self.collector {
                    Some(collector) => collector.running.failed().await,
                    None => std::future::pending().await,
                }
            };
            let order = tokio::select! {
                task = failed => return RunError::Ended(task),
                Some(order) = orders.recv() => order,
                else => std::future::pending().await,
            };
            if let Err(error) = self.carry_out(order).await {
                return error;
            }
        }
    }

    async fn carry_out(&mut self, order: Order) -> Result<(), RunError> {
        match order {
            Order::Shift { host, canary_percent } => {
                let stable = 100_u32.saturating_sub(canary_percent);
                let weights = [(STABLE_SUBSET, stable), (CANARY_SUBSET, canary_percent)];
                let weights = weights.map(|(subset, weight)| (subset.to_owned(), weight)).into();
                self.hand.shift(host, weights, "demo".to_owned()).await?;
            }
            Order::Lease { source, destination, action, ttl_s } => {
                let edge = (source, destination);
                self.hand.trip(edge, action, ttl_s, "demo".to_owned()).await?;
            }
            Order::Kill => {
                if let Some(collector) = self.collector.take() {
                    collector.kill();
                }
            }
            Order::Start => {
                let collector = Collector::start(self.config.clone()).await?;
                let http = collector.running.http();
                self.collector = Some(collector);
                until_ready(&Api::new(http), self.proxies).await?;
                self.stage.truth().reconnected(self.stage.clock.elapsed());
            }
        }
        Ok(())
    }

    /// Ends the collector.
    pub(crate) async fn shutdown(self) {
        if let Some(collector) = self.collector {
            collector.shutdown().await;
        }
    }
}

/// Puts the policy in force under which the shop opens, on all of its proxies.
pub(crate) async fn open(hand: &mut Hand, plan: &Plan, proxies: usize) -> Result<(), AskError> {
    let Some(text) = crate::mesh::policy(plan) else { return Ok(()) };
    let done = hand.apply(text).await?;
    if done.applied < proxies as u64 {
        let reason = format!("is in force on {} of {proxies}: {}", done.applied, done.note);
        return Err(fusebox_proto::Invalid::new("policy", reason).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::conditions::script;

    /// Scenario: the scripts of the scenarios that happen behind the stage, too.
    /// Guarantees: each turn asks for what it says, in the names of the run; what is played on the
    /// stage asks for nothing.
    #[test]
    fn turns_ask_for_what_they_say() {
        let orders = |name: &str| {
            let plan = Plan::new(catalogue::find(name).expect("built in"), 1);
            script(&plan).into_iter().map(|turn| Order::of(&plan, turn)).collect::<Vec<_>>()
        };
        let host = "inventory".to_owned();
        assert_eq!(orders("canary"), [Some(Order::Shift { host, canary_percent: 20 })]);
        let lease = Order::Lease {
            source: "frontend".to_owned(),
            destination: "recommendation".to_owned(),
            action: ActionKind::Open,
            ttl_s: 6,
        };
        let script = [Some(lease), Some(Order::Kill), Some(Order::Start), None, None, None];
        assert_eq!(orders("dead-collector"), script);
        assert_eq!(orders("retry-storm"), [None, None, None]);
    }
}
