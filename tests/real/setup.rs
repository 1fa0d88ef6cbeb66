//! Real parts, installed once a test run into the target folder.

use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::parts::{self, must};
pub(crate) use fusebox_tests::parts::{Part, is_real};
use fusebox_tests::process::free_port;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real")
}

fn parts() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("parts")
}

/// The folder of programs of a virtual environment with `python/requirements.txt`.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        parts::python(&parts().join("python"), &here().join("python/requirements.txt"))
    })
}

/// A folder with `node/package.json` installed.
pub(crate) fn node() -> &'static Path {
    static NODE: OnceLock<PathBuf> = OnceLock::new();
    NODE.get_or_init(|| {
        let folder = parts().join("node");
        std::fs::create_dir_all(&folder).expect("a writable target folder");
        for file in ["package.json", "service.js"] {
            std::fs::copy(here().join("node").join(file), folder.join(file)).expect("a copy");
        }
        let mut npm = Command::new("npm");
        must(npm.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder));
        folder
    })
}

/// A running service of `python/service.py` or `node/service.js`.
pub(crate) struct Service {
    _part: Part,
    pub(crate) address: SocketAddr,
}

/// How a service reports: the variables of the OpenTelemetry SDKs.
pub(crate) fn otel(name: &str, endpoint: &str, protocol: &str) -> Vec<(String, String)> {
    let pairs = [
        ("OTEL_SERVICE_NAME", name),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_BSP_SCHEDULE_DELAY", "500"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "healthz,set"),
    ];
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// `python/service.py` under auto-instrumentation.
pub(crate) async fn python_service<V: AsRef<OsStr>>(
    name: &str,
    variables: impl IntoIterator<Item = (V, V)>,
) -> Service {
    python_service_at(free_port(), name, variables).await
}

/// As [`python_service`], on this port.
pub(crate) async fn python_service_at<V: AsRef<OsStr>>(
    port: u16,
    name: &str,
    variables: impl IntoIterator<Item = (V, V)>,
) -> Service {
    let mut command = Command::new(python().join("opentelemetry-instrument"));
    command.arg(python().join("python")).arg(here().join("python/service.py"));
    command.args([name, &port.to_string()]).envs(variables);
    service(&mut command, port).await
}

/// `node/service.js` under auto-instrumentation.
pub(crate) async fn node_service<V: AsRef<OsStr>>(
    variables: impl IntoIterator<Item = (V, V)>,
) -> Service {
    node_service_at(free_port(), variables).await
}

/// As [`node_service`], on this port.
pub(crate) async fn node_service_at<V: AsRef<OsStr>>(
    port: u16,
    variables: impl IntoIterator<Item = (V, V)>,
) -> Service {
    let mut command = Command::new("node");
    command.args(["--require", "@opentelemetry/auto-instrumentations-node/register"]);
    command.args(["service.js", &port.to_string()]).current_dir(node()).envs(variables);
    service(&mut command, port).await
}

async fn service(command: &mut Command, port: u16) -> Service {
    let part = Part::start(command);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the service answers", Duration::from_mins(1), || async {
        client::get(address, "/healthz", &[]).await.map(|_| ()).map_err(|e| e.to_string())
    })
    .await;
    Service { _part: part, address }
}

/// A real redis without persistence.
pub(crate) fn redis() -> (Part, u16) {
    let port = free_port();
    let mut redis = Command::new("redis-server");
    redis.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
    (Part::start(redis.arg(port.to_string())), port)
}
