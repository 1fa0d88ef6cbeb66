//! A real Envoy and a real nginx, with what a test wants of them.

use crate::parts::{self, Part};
use crate::world::free_address;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real")
}

/// The programs of `tests/real/requirements.txt`, installed once a run into the target folder.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parts/proxy");
        parts::python(&folder, &here().join("requirements.txt"))
    })
}

/// A running proxy of somebody else's; its files go with it.
#[derive(Debug)]
pub(crate) struct Other {
    _part: Part,
    _folder: TempDir,
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
}

/// Waits until somebody listens at `address`.
async fn listens(address: SocketAddr) {
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), listening).await.expect("it starts to listen");
}

/// An Envoy of `clusters`, its listener routing everything to the first; with its admin interface
/// at `admin`.
pub(crate) async fn envoy(clusters: Value, admin: SocketAddr) -> Other {
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": clusters[0]["name"]}});
    envoy_with(json!([route]), clusters, admin, None).await
}

/// As [`envoy`], with these routes, and a log of ejections.
pub(crate) async fn envoy_with(
    routes: Value,
    clusters: Value,
    admin: SocketAddr,
    ejections: Option<&Path>,
) -> Other {
    let listen = free_address().await;
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let extension = "type.googleapis.com/envoy.extensions.filters";
    let manager = json!({
        "@type": format!("{extension}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "x",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{extension}.http.router.v3.Router")},
        }],
        "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": routes}]},
    });
    let filter =
        json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    let listener =
        json!({"name": "x", "address": address(listen), "filter_chains": [{"filters": [filter]}]});
    let mut config = json!({
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    });
    if let Some(file) = ejections {
        config["cluster_manager"] = json!({"outlier_detection": {"event_log_path": file}});
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(python().join("envoy"));
    command.args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "off"]);
    // Its logs are waited for: by itself it writes them every ten seconds.
    command.args(["--file-flush-interval-msec", "10", "-c"]).arg(&file);
    let part = Part::start(&mut command);
    listens(listen).await;
    Other { _part: part, _folder: folder, http1: listen, http2: listen }
}

/// A cluster of Envoy's.
pub(crate) fn cluster(servers: &[SocketAddr]) -> Value {
    let endpoint = |at: &SocketAddr| {
        let address = json!({"address": at.ip().to_string(), "port_value": at.port()});
        json!({"endpoint": {"address": {"socket_address": address}}})
    };
    let endpoints: Vec<Value> = servers.iter().map(endpoint).collect();
    json!({
        "name": "app",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": endpoints}]},
    })
}

/// An nginx that forwards everything to `server`, with HTTP/2 at a door of its own.
pub(crate) async fn nginx(server: SocketAddr) -> Other {
    let (http1, http2) = (free_address().await, free_address().await);
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {here}/{name};")).concat();
    let server = "location / { proxy_pass http://app; proxy_http_version 1.1; \
                  proxy_set_header Connection \"\"; proxy_set_header Host $host; }"
        .to_owned()
        + &format!("}} upstream app {{ server {server}; keepalive 16; }}");
    let config = format!(
        "daemon off; master_process off; error_log /dev/null; pid {here}/pid; \
         events {{ worker_connections 1024; }} \
         http {{ access_log off; {temporary} \
         server {{ listen {http1}; listen {http2} http2; {server} }}"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let part = Part::start(Command::new("nginx").arg("-p").arg(folder.path()).arg("-c").arg(&file));
    listens(http1).await;
    Other { _part: part, _folder: folder, http1, http2 }
}
