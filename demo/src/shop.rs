//! The open shop: its instances at work, and its visitors.
//!
//! It lives on a thread and runtime of its own, so that neither the collector nor a terminal in
//! the same process delays the clock by which the truth is measured.

use crate::conditions::Turn;
use crate::desk::Desk;
use crate::instance::Instance;
use crate::link::Link;
use crate::load::Visitors;
use crate::mesh::{self, Place};
use crate::scenario::Change;
use crate::stage::Stage;
use crate::station::Profile;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Services and proxies may take so long to finish at the end.
const GRACE: Duration = Duration::from_millis(500);

/// A shop with its visitors.
#[derive(Debug)]
pub(crate) struct Shop {
    stage: Arc<Stage>,
    instances: Vec<Arc<Instance>>,
    proxies: Vec<fusebox_proxy::Running>,
    /// Running jobs, by fault.
    jobs: BTreeMap<usize, CancellationToken>,
    /// Stops new visitors.
    closing: CancellationToken,
    runtime: Handle,
    thread: JoinHandle<()>,
}

impl Shop {
    /// Opens the shop: instances serve in their places, and visitors come.
    pub(crate) fn open(stage: &Arc<Stage>, places: Vec<Place>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = stage.stop.clone();
        let thread = std::thread::Builder::new()
            .name("shop".to_owned())
            .spawn(move || runtime.block_on(stop.cancelled()))?;
        let mut shop = Self {
            stage: Arc::clone(stage),
            instances: Vec::new(),
            proxies: Vec::new(),
            jobs: BTreeMap::new(),
            closing: CancellationToken::new(),
            runtime: handle,
            thread,
        };
        let mut rng = StdRng::seed_from_u64(stage.plan.seed);
        shop.invite(&places, &mut rng);
        for place in places {
            shop.occupy(place, &mut rng)?;
        }
        Ok(shop)
    }

    /// A turn of the fault script.
    pub(crate) fn turn(&mut self, turn: Turn) {
        self.stage.conditions().turn(turn);
        let stage = Arc::clone(&self.stage);
        match &stage.plan.scenario.faults[turn.fault].change {
            Change::Slow { service, .. } => {
                let slowness = stage.conditions().slowness(service);
                self.of(service).for_each(|instance| instance.desk.slow(slowness));
            }
            Change::Job { service, .. } => {
                if let Some(job) = self.jobs.remove(&turn.fault) {
                    job.cancel();
                }
                let instance = self.of(service).next().cloned();
                if let Some(instance) = instance.filter(|_| turn.begins) {
                    let job = CancellationToken::new();
                    self.spawn_job(instance, turn.fault, job.clone());
                    self.jobs.insert(turn.fault, job);
                }
            }
            Change::Release { .. }
            | Change::Errors { .. }
            | Change::Repeat { .. }
            | Change::Load { .. }
            | Change::Rollout { .. }
            | Change::Lease { .. }
            | Change::CollectorDies {} => (),
        }
    }

    /// No more visitors.
    pub(crate) fn close_doors(&self) {
        self.closing.cancel();
    }

    /// Ends services and proxies.
    pub(crate) async fn shutdown(self) {
        self.closing.cancel();
        self.jobs.values().for_each(CancellationToken::cancel);
        self.stage.stop.cancel();
        self.stage.tasks.close();
        let _ = tokio::time::timeout(GRACE, self.stage.tasks.wait()).await;
        let (thread, proxies) = (self.thread, self.proxies);
        let ended = tokio::task::spawn_blocking(move || {
            mesh::shutdown(proxies, GRACE);
            thread.join()
        });
        // A thread that panicked has said so already.
        let _ = ended.await;
    }

    fn of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Arc<Instance>> {
        self.instances.iter().filter(move |instance| instance.role == role)
    }

    fn occupy(&mut self, place: Place, rng: &mut StdRng) -> io::Result<()> {
        let plan = &self.stage.plan;
        let service = plan.service(&place.role);
        let canary = service.canary.as_ref().filter(|_| place.is_canary);
        let profile = Profile {
            workers: service.workers,
            queue_max: service.queue,
            work_ms: service.work_ms * canary.map_or(1.0, |canary| canary.factor),
            spread: service.spread,
        };
        let own_error_percent = canary.map_or(0.0, |canary| canary.error_percent);
        let desk = Desk::new(self.stage.clock, profile, rng.random());
        let links = place.outbound.into_iter().map(|(callee, address)| {
            let link = Link::new(address, plan.name(&callee));
            (callee, link)
        });
        let own = StdRng::seed_from_u64(rng.random());
        let stage = Arc::clone(&self.stage);
        let mut instance = Instance::new(stage, &place.role, desk, links.collect(), own);
        instance.own_error_percent = own_error_percent;
        let instance = Arc::new(instance);
        self.instances.push(Arc::clone(&instance));
        self.proxies.push(place.proxy);

        let _inside = self.runtime.enter();
        let listener = TcpListener::from_std(place.app)?;
        let serving = Arc::clone(&instance).serve(listener);
        self.stage.tasks.spawn_on(serving, &self.runtime);
        let stop = self.stage.stop.clone();
        let working = async move { instance.desk.run(&stop).await };
        self.stage.tasks.spawn_on(working, &self.runtime);
        Ok(())
    }

    /// Visitors for each load, on the way to the instances behind their proxies.
    fn invite(&self, places: &[Place], rng: &mut StdRng) {
        for load in &self.stage.plan.scenario.load {
            let role = load.to.split_once('/').map_or(load.to.as_str(), |(role, _)| role);
            let doors = mesh::inbound_of(places, role);
            let own = StdRng::seed_from_u64(rng.random());
            let visitors =
                Visitors::new(Arc::clone(&self.stage), load, &doors, own, self.closing.clone());
            self.stage.tasks.spawn_on(visitors.come(), &self.runtime);
        }
    }

    fn spawn_job(&self, instance: Arc<Instance>, fault: usize, job: CancellationToken) {
        let stage = Arc::clone(&self.stage);
        let work = async move {
            let stop = stage.stop.clone();
            tokio::select! {
                () = stop.cancelled() => (),
                () = job.cancelled() => (),
                () = run_job(&stage, &instance, fault) => (),
            }
        };
        self.stage.tasks.spawn_on(work, &self.runtime);
    }
}

/// One call after another, for ever. Without a trace of the whole, each call begins one.
async fn run_job(stage: &Stage, instance: &Instance, fault: usize) {
    let Change::Job { to, every_ms, one_trace, numbered, .. } =
        &stage.plan.scenario.faults[fault].change
    else {
        return;
    };
    let is_sampled =
        || instance.rng().random_range(0.0..100.0) < stage.plan.scenario.sampled_percent;
    let whole = one_trace.then(|| instance.root(is_sampled()));
    let mut ticks = interval(Duration::from_millis(*every_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1.. {
        ticks.tick().await;
        let context = whole.unwrap_or_else(|| instance.root(is_sampled()));
        // A job goes on whatever becomes of one call.
        let _ = instance.call(to, numbered.then_some(number), Some(context)).await;
    }
}
