//! A collector and proxies as real processes on free ports of loopback.

use crate::client;
use crate::eventually::eventually;
use crate::process::{self, Finished, Process, free_port};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// A process that has not come up by then never will.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running collector.
#[derive(Debug)]
pub struct Mesh {
    /// The process; `None` after [`Mesh::kill_collector`].
    collector: Option<Process>,
    ports: Ports,
    extra: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    control: SocketAddr,
    http: SocketAddr,
    otlp_grpc: SocketAddr,
    otlp_http: SocketAddr,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

impl Mesh {
    /// Starts a collector with extra arguments and waits until it is ready. It keeps nothing on
    /// disk unless they name a data directory.
    pub async fn start(extra: &[&str]) -> Self {
        let ports = Ports {
            control: loopback(),
            http: loopback(),
            otlp_grpc: loopback(),
            otlp_http: loopback(),
        };
        let extra = extra.iter().map(ToString::to_string).collect();
        let mut mesh = Self { collector: None, ports, extra };
        mesh.start_collector().await;
        mesh
    }

    /// Starts the collector (again) on the same ports and waits until it is ready.
    pub async fn start_collector(&mut self) {
        let Ports { control, http, otlp_grpc, otlp_http } = self.ports;
        let (control, http) = (control.to_string(), http.to_string());
        let (otlp_grpc, otlp_http) = (otlp_grpc.to_string(), otlp_http.to_string());
        let mut args = vec!["--control", &control, "--http", &http];
        args.extend(["--otlp-grpc", &otlp_grpc, "--otlp-http", &otlp_http]);
        args.extend(self.extra.iter().map(String::as_str));
        if !args.contains(&"--data-dir") {
            args.push("--in-memory");
        }
        self.collector = Some(Process::start("fusebox-collector", &args));
        eventually("the collector is ready", START_LIMIT, || ready(self.ports.http)).await;
    }

    /// SIGKILL to the collector.
    ///
    /// # Panics
    /// If it is dead already.
    pub fn kill_collector(&mut self) {
        self.collector.take().expect("a collector runs").kill();
    }

    /// The collector's process id.
    ///
    /// # Panics
    /// If it is dead.
    pub fn collector_id(&self) -> u32 {
        self.collector.as_ref().expect("a collector runs").id()
    }

    /// Whether the collector's log says so by now.
    pub fn collector_says(&self, text: &str) -> bool {
        self.collector.as_ref().is_some_and(|collector| collector.stderr().contains(text))
    }

    /// The control URL.
    pub fn control(&self) -> String {
        format!("http://{}", self.ports.control)
    }

    /// OTLP over HTTP, as SDKs want it.
    pub fn otlp_http(&self) -> String {
        format!("http://{}", self.ports.otlp_http)
    }

    /// OTLP over gRPC, as SDKs want it.
    pub fn otlp_grpc(&self) -> String {
        format!("http://{}", self.ports.otlp_grpc)
    }

    /// Runs `fusebox` against this collector.
    pub fn fusebox(&self, args: &[&str]) -> Finished {
        let control = self.control();
        let mut all = vec!["--collector", &control];
        all.extend(args);
        process::run("fusebox", &all)
    }

    /// One of `GET /api/v1/<noun>`.
    ///
    /// # Errors
    /// If the collector does not answer with JSON.
    pub async fn api(&self, noun: &str) -> anyhow::Result<Value> {
        client::json(self.ports.http, &format!("/api/v1/{noun}")).await
    }

    /// The page of `/metrics`.
    ///
    /// # Panics
    /// If the collector does not answer.
    pub async fn metrics(&self) -> String {
        let page = client::get(self.ports.http, "/metrics", &[]).await.expect("an answer");
        String::from_utf8_lossy(page.body()).into_owned()
    }

    /// The edge of these printed names, once `is_so` holds for it.
    pub async fn edge(
        &self,
        source: &str,
        destination: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("edge {source}>{destination}");
        eventually(&what, Duration::from_secs(15), || async {
            let edges = self.api("edges").await.map_err(|e| e.to_string())?;
            let edge = (edges["edges"].as_array().into_iter().flatten())
                .find(|edge| edge["source"] == source && edge["destination"] == destination);
            match edge {
                Some(edge) if is_so(edge) => Ok(edge.clone()),
                _ => Err(edges.to_string()),
            }
        })
        .await
    }

    /// Starts a proxy for `service` and waits until it listens and the collector knows it.
    /// `inbound`: the application behind it; `outbound`: (host, endpoints).
    pub async fn proxy(
        &self,
        service: &str,
        inbound: Option<SocketAddr>,
        outbound: &[(&str, &[SocketAddr])],
    ) -> Sidecar {
        self.proxy_with(service, inbound, outbound, &[]).await
    }

    /// As [`Mesh::proxy`], with further flags.
    pub async fn proxy_with(
        &self,
        service: &str,
        inbound: Option<SocketAddr>,
        outbound: &[(&str, &[SocketAddr])],
        more: &[&str],
    ) -> Sidecar {
        let sidecar = Sidecar::start_with(&self.control(), service, inbound, outbound, more).await;
        eventually("the collector knows the proxy", START_LIMIT, || async {
            let proxies = self.api("proxies").await.map_err(|e| e.to_string())?;
            let known = (proxies["proxies"].as_array().into_iter().flatten()).any(|proxy| {
                proxy["instance"] == sidecar.instance.as_str() && proxy["connected"] == true
            });
            if known { Ok(()) } else { Err(proxies.to_string()) }
        })
        .await;
        sidecar
    }
}

async fn ready(http: SocketAddr) -> Result<(), String> {
    match client::get(http, "/readyz", &[]).await {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(answer.status().to_string()),
        Err(e) => Err(e.to_string()),
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Sidecar {
    /// The process.
    pub process: Process,
    /// `--instance`
    pub instance: String,
    /// Admin address.
    pub admin: SocketAddr,
    /// Where callers of its application connect.
    pub inbound: Option<SocketAddr>,
    /// Where its application connects, in the order given.
    pub outbound: Vec<SocketAddr>,
}

impl Sidecar {
    /// Starts a proxy and waits until it listens, whether or not the collector lives.
    pub async fn start(
        collector: &str,
        service: &str,
        app: Option<SocketAddr>,
        outbound: &[(&str, &[SocketAddr])],
    ) -> Self {
        Self::start_with(collector, service, app, outbound, &[]).await
    }

    /// As [`Sidecar::start`], with further flags.
    pub async fn start_with(
        collector: &str,
        service: &str,
        app: Option<SocketAddr>,
        outbound: &[(&str, &[SocketAddr])],
        more: &[&str],
    ) -> Self {
        let admin = loopback();
        let instance = format!("{service}-{}", admin.port());
        let mut args = vec!["--service".into(), service.into(), "--instance".into()];
        args.extend([instance.clone(), "--collector".into(), collector.into()]);
        args.extend(["--admin".into(), admin.to_string()]);
        let inbound = app.map(|app| {
            let listen = loopback();
            args.extend(["--inbound".into(), format!("{listen}={app}")]);
            listen
        });
        let outbound = outbound.iter().map(|(host, endpoints)| {
            let listen = loopback();
            let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
            let value = format!("{listen}={host}@{}", endpoints.join(","));
            args.extend(["--outbound".into(), value]);
            listen
        });
        let outbound = outbound.collect();
        args.extend(more.iter().map(ToString::to_string));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let process = Process::start("fusebox-proxy", &args);
        eventually("the proxy is ready", START_LIMIT, || ready(admin)).await;
        Self { process, instance, admin, inbound, outbound }
    }
}
