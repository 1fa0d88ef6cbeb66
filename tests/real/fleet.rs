//! A shop of real services: frontend (Node) calls payment (Python) calls inventory (Python), each
//! under auto-instrumentation with the SDKs' own settings: batches of five seconds.

use crate::setup::{Service, node_service_at, otel, python_service_at};
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::{Mesh, Sidecar};
use fusebox_tests::process::free_ports;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// A visitor comes every so often.
const PACE: Duration = Duration::from_millis(150);
/// Visitors that wait at once; those beyond do not come.
const VISITORS_MAX: usize = 64;
/// After so many visitors, in six seconds, SDKs have sent what they held.
const BATCHES: usize = 40;
const NAMES: [&str; 3] = ["frontend", "payment", "inventory"];

/// The shop, its collector, and its visitors.
pub(crate) struct Fleet {
    pub(crate) mesh: Mesh,
    services: [Service; 3],
    proxies: Vec<Sidecar>,
    visitors: JoinHandle<()>,
    /// Visitors that were answered.
    visits: Arc<AtomicUsize>,
}

impl Fleet {
    /// Starts all of it, with a proxy beside each service or without any.
    pub(crate) async fn start(has_proxies: bool) -> Self {
        let mesh = Mesh::start(&[]).await;
        let [front, payment, inventory] =
            free_ports().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut proxies = Vec::new();
        let (mut entry, mut ways) = (front, [payment, inventory]);
        if has_proxies {
            let of_inventory = mesh.proxy("inventory", Some(inventory), &[]).await;
            let to_inventory = [of_inventory.inbound.expect("it has one")];
            let of_payment =
                mesh.proxy("payment", Some(payment), &[("inventory", &to_inventory)]).await;
            let to_payment = [of_payment.inbound.expect("it has one")];
            let of_front = mesh.proxy("frontend", Some(front), &[("payment", &to_payment)]).await;
            entry = of_front.inbound.expect("it has one");
            ways = [of_front.outbound[0], of_payment.outbound[0]];
            proxies.extend([of_front, of_payment, of_inventory]);
        }
        let variables = |name: &str, calls: Option<String>| {
            let mut variables = otel(name, &mesh.otlp_http(), "http/protobuf");
            variables.retain(|(name, _)| name != "OTEL_BSP_SCHEDULE_DELAY");
            variables.extend(calls.map(|url| ("CALLS".into(), url)));
            variables
        };
        let [to_payment, to_inventory] = ways;
        let (of_front, of_payment, of_inventory) = tokio::join!(
            node_service_at(
                front.port(),
                variables("frontend", Some(format!("http://{to_payment}/order")))
            ),
            python_service_at(
                payment.port(),
                "payment",
                variables("payment", Some(format!("http://{to_inventory}/stock")))
            ),
            python_service_at(inventory.port(), "inventory", variables("inventory", None)),
        );
        let visits = Arc::default();
        let visitors = tokio::spawn(visit(entry, Arc::clone(&visits)));
        Self { mesh, services: [of_front, of_payment, of_inventory], proxies, visitors, visits }
    }

    /// Waits until so many more visitors were answered.
    pub(crate) async fn visited_by(&self, count: usize) {
        let until = self.visits.load(Relaxed) + count;
        eventually("visitors are answered", Duration::from_mins(1), || async {
            let visits = self.visits.load(Relaxed);
            if until <= visits { Ok(()) } else { Err(format!("{visits} of {until}")) }
        })
        .await;
    }

    /// `/set` of a service; without knobs all is as it was.
    pub(crate) async fn set(&self, service: &str, knobs: &str) {
        let at = NAMES.iter().position(|name| *name == service).expect("one of ours");
        let answer = client::get(self.services[at].address, &format!("/set?{knobs}"), &[]).await;
        assert_eq!(answer.expect("an answer").status(), 200, "{service}: {knobs}");
    }

    /// A collector that knows nothing, on the same ports, once the proxies are back and the SDKs have sent
    /// what they held.
    pub(crate) async fn forget(&mut self) {
        self.visited_by(BATCHES).await;
        self.mesh.kill_collector();
        self.mesh.start_collector().await;
        let proxies = self.proxies.len();
        eventually("the proxies are back", Duration::from_secs(20), || async {
            let status = self.mesh.api("status").await.map_err(|e| e.to_string())?;
            if status["proxies"] == proxies { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.visitors.abort();
    }
}

/// Visitors, whatever becomes of those before.
async fn visit(entry: SocketAddr, visits: Arc<AtomicUsize>) {
    let mut pace = tokio::time::interval(PACE);
    let mut visitors = JoinSet::new();
    loop {
        pace.tick().await;
        while visitors.try_join_next().is_some() {}
        if visitors.len() < VISITORS_MAX {
            let visits = Arc::clone(&visits);
            visitors.spawn(async move {
                let answer = client::get(entry, "/order", &[]).await;
                visits.fetch_add(usize::from(answer.is_ok()), Relaxed);
            });
        }
    }
}
