//! A proxy with a policy, between servers that say what they saw.

use crate::collector::Session;
use crate::world::{Answer, Body, Caller, Proxy, Server, full, outbound};
use fusebox_proto::command::ToProxy;
use fusebox_proto::policy::{self, Profile, Push, PushAck};
use fusebox_proto::report::FromProxy;
use fusebox_proxy::Config;
use fusebox_proxy::config::{Endpoint, Outbound};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

/// The files of the founding guide.
pub(crate) const CANARY: &str = include_str!("../policy/inventory-canary.yaml");
pub(crate) const CIRCUIT_BREAKER: &str = include_str!("../policy/payment-circuit-breaker.yaml");
pub(crate) const CONTROL_PLANE: &str = include_str!("../policy/control-plane.yaml");
pub(crate) const STRICT_MTLS: &str = include_str!("../policy/strict-mtls.yaml");

/// A server that answers with its name and what it saw of the request.
pub(crate) async fn witness(name: &'static str) -> Server {
    Server::start(move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        // Who answers without having read closes the connection under whoever still writes. A body
        // that breaks off is the test's business.
        let _ = body.collect().await;
        let request = Request::from_parts(head, ());
        let headers = joined(request.headers());
        let authority = request.uri().authority().map(ToString::to_string);
        let host = authority.or_else(|| headers.get("host")?.as_str().map(str::to_owned));
        let target = request.uri().path_and_query().map(ToString::to_string);
        let version = format!("{:?}", request.version());
        let saw = json!({
            "name": name, "method": request.method().as_str(), "target": target,
            "host": host, "version": version, "headers": headers,
        });
        let response = Response::builder().header("x-own", "server").header("x-name", name);
        response.body(full(saw.to_string())).unwrap()
    })
    .await
}

/// A server that answers with a status that can be changed.
pub(crate) async fn moody(status: u16) -> (Server, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let mood = Arc::clone(&status);
    let server = Server::start(move |_| {
        let status = mood.load(SeqCst);
        async move { Response::builder().status(status).body(full("")).unwrap() }
    })
    .await;
    (server, status)
}

fn joined(headers: &HeaderMap) -> serde_json::Map<String, Value> {
    let mut all = serde_json::Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
        all.insert(name.to_string(), values.join(",").into());
    }
    all
}

/// What a [`witness`] saw.
pub(crate) fn saw(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// The endpoint at `address` with this version.
pub(crate) fn version(address: SocketAddr, version: &str) -> Endpoint {
    let labels = [("version".to_owned(), version.to_owned())].into();
    Endpoint { labels, ..address.into() }
}

/// `config` under the policy of this text.
pub(crate) fn under(mut config: Config, yaml: &str) -> Config {
    config.policy = policy::read("policy.yaml", yaml).expect("it parses").0;
    config
}

/// A `VirtualService` of `inventory` with these rules (YAML of the list `http`, in flow style).
pub(crate) fn rules(http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: inventory-route}}\nspec: {{hosts: [inventory], http: {http}}}\n"
    )
}

/// A `DestinationRule` of `inventory` with this `trafficPolicy` (in flow style).
pub(crate) fn settings(traffic_policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: inventory-settings}}\n\
         spec: {{host: inventory, trafficPolicy: {traffic_policy}}}\n"
    )
}

/// `inventory` in two versions, and `stock` beside it.
pub(crate) struct Shop {
    pub(crate) v1: Server,
    pub(crate) v2: Server,
    pub(crate) stock: Server,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let (v1, v2) = (witness("v1").await, witness("v2").await);
        Self { v1, v2, stock: witness("stock").await }
    }

    /// The proxy of `payment` in front of it.
    pub(crate) fn config(&self) -> Config {
        let mut config = outbound(&[]);
        config.outbound[0].endpoints =
            vec![version(self.v1.address, "v1"), version(self.v2.address, "v2")];
        config.outbound.push(Outbound {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host: "stock".into(),
            endpoints: vec![self.stock.address.into()],
        });
        config
    }

    /// A caller of `inventory` behind a proxy whose policy has the subsets of the guide and these
    /// rules.
    pub(crate) async fn with(&self, http: &str) -> (Proxy, Caller) {
        let subsets = CANARY.split("---").next().unwrap();
        let proxy = Proxy::start(under(self.config(), &format!("{subsets}---\n{}", rules(http))));
        let caller = Caller::connect(proxy.address()).await;
        (proxy, caller)
    }
}

/// A GET with headers.
pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = headers
        .iter()
        .fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    request.body(full("")).unwrap()
}

/// Pushes a policy of one document file and waits for the answer.
pub(crate) async fn push(session: &mut Session, version: u64, yaml: &str) -> PushAck {
    let documents = vec![yaml.to_owned()];
    let push = Push { version, profile: Profile::Fusebox, documents };
    session.to.send(Ok(ToProxy::Policy(push).into())).await.unwrap();
    loop {
        if let FromProxy::PolicyAck(ack) = session.next().await {
            return ack;
        }
    }
}

/// A page of the admin port.
pub(crate) async fn page(proxy: &Proxy, path: &str) -> Value {
    let answer = crate::world::get(proxy.admin(), path).await;
    serde_json::from_slice(&answer.body).unwrap()
}

/// A counter of `/metrics`; 0 where it is not there.
pub(crate) async fn metric(proxy: &Proxy, line: &str) -> u64 {
    let answer = crate::world::get(proxy.admin(), "/metrics").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let found = text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}
