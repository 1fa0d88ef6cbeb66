//! Real parts, installed once a test run into the target folder.

use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::process::free_port;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Whether to run; else says why not.
pub(crate) fn is_real(test: &str) -> bool {
    let real = fusebox_tests::is_asked_for("FUSEBOX_REAL");
    if !real {
        println!("skipped {test}: needs parts from PyPI, npm and Debian; FUSEBOX_REAL=1 runs it");
    }
    real
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real")
}

fn parts() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("parts")
}

fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// The folder of programs of a virtual environment with `python/requirements.txt`.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let venv = parts().join("python");
        must(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        must(pip.arg(here().join("python/requirements.txt")));
        venv.join("bin")
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

/// A real program; killed when dropped.
pub(crate) struct Part(Child);

impl Part {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
        ("OTEL_PYTHON_EXCLUDED_URLS", "healthz"),
    ];
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// `python/service.py` under auto-instrumentation.
pub(crate) async fn python_service<V: AsRef<OsStr>>(
    name: &str,
    variables: impl IntoIterator<Item = (V, V)>,
) -> Service {
    let port = free_port();
    let mut command = Command::new(python().join("opentelemetry-instrument"));
    command.arg(python().join("python")).arg(here().join("python/service.py"));
    command.args([name, &port.to_string()]).envs(variables);
    service(&mut command, port).await
}

/// `node/service.js` under auto-instrumentation.
pub(crate) async fn node_service<V: AsRef<OsStr>>(
    variables: impl IntoIterator<Item = (V, V)>,
) -> Service {
    let port = free_port();
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
