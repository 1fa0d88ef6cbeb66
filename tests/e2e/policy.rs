//! The policy on the command line, with real proxies.

use crate::trip::{parse, signal};
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Mesh;
use fusebox_tests::process::{self, Finished, free_port};
use fusebox_tests::upstream::{Answer, Upstream};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// A file of the founding guide.
pub(crate) fn founding(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/policy/valid");
    folder.join(format!("founding-{name}.yaml")).to_str().expect("UTF-8").to_owned()
}

pub(crate) const FOUNDING: [&str; 4] =
    ["inventory-canary", "payment-circuit-breaker", "strict-mtls", "control-plane"];

#[track_caller]
pub(crate) fn json(finished: &Finished, code: i32) -> Value {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    parse(&finished.stdout)
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a temporary folder");
    path
}

/// Scenario: the four files of the founding guide, tried and applied without a proxy, moved, rolled
/// back; the collector is killed and started again on the same data directory.
/// Guarantees: each step is one command; documents come back byte for byte, also over the crash;
/// numbers go on.
#[tokio::test]
async fn the_founding_files_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut mesh = Mesh::start(&["--data-dir", data.to_str().expect("UTF-8")]).await;
    for (name, number) in FOUNDING.into_iter().zip(1..) {
        let file = founding(name);
        let tried =
            mesh.fusebox(&["apply", "-f", &file, "--dry-run", "--strict", "--output", "json"]);
        assert_eq!(json(&tried, 0)["outcome"], "dry_run");
        let applied =
            json(&mesh.fusebox(&["apply", "-f", &file, "--strict", "--output", "json"]), 0);
        assert_eq!((&applied["outcome"], &applied["version"]), (&"applied".into(), &number.into()));
    }
    let documents = async || mesh.api("policy").await.unwrap()["documents"].clone();
    let before = documents().await;
    let shifted = mesh.fusebox(&["shift", "inventory", "v1=75", "v2=25"]);
    assert_eq!(shifted.code, Some(0), "{shifted:?}");
    let change = "VirtualService/inventory-route: spec.http[0].route[1].weight: 10 → 25";
    assert!(shifted.stdout.contains(change), "{shifted:?}");
    assert_ne!(documents().await, before);
    let back = mesh.fusebox(&["rollback", "--reason", "bad canary"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(documents().await, before);

    mesh.kill_collector();
    mesh.start_collector().await;
    let policy = json(&mesh.fusebox(&["policy", "--output", "json"]), 0);
    assert_eq!((&policy["version"], &policy["documents"]), (&6.into(), &before));
    assert_eq!(policy["versions"][0]["reason"], "bad canary");
    let table = mesh.fusebox(&["policy"]).stdout;
    assert!(table.contains("version 6, 5 documents") && table.contains("rollback to 4"), "{table}");
    let again =
        json(&mesh.fusebox(&["apply", "-f", &founding(FOUNDING[0]), "--output", "json"]), 0);
    assert_eq!((&again["outcome"], &again["version"]), (&"unchanged".into(), &6.into()));
}

/// Scenario: files and words that are wrong, one each.
/// Guarantees: exit 2; file, line, field or what is allowed are named; nothing is applied.
#[tokio::test]
async fn wrong_files_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(&[]).await;
    let canary = std::fs::read_to_string(founding(FOUNDING[0])).unwrap();
    let path = |name: &str, text: &str| {
        write(folder.path(), name, text).to_str().expect("UTF-8").to_owned()
    };
    let check = |args: &[&str], says: &[&str]| {
        let finished = mesh.fusebox(args);
        assert_eq!(finished.code, Some(2), "{args:?}: {finished:?}");
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(says.iter().all(|word| said.contains(word)), "{says:?} is not in {said}");
    };
    let weight = path("weight.yaml", &canary.replace("weight: 90", "weight: lots"));
    check(&["apply", "-f", &weight], &["weight.yaml:27", "route[0].weight", "refused"]);
    check(&["lint", "-f", &weight], &["weight.yaml:27", "1 error"]);
    let warns = path("warns.yaml", &canary.replace("weight: 90", "weight: 90\n          wait: 1"));
    check(&["apply", "-f", &warns, "--strict"], &["warns.yaml:28", "wait"]);
    check(&["lint", "-f", &warns, "--strict"], &["warns.yaml:28", "wait"]);
    check(&["apply", "-f", "no-such.yaml"], &["no-such.yaml"]);
    check(&["apply"], &["--file"]);
    check(&["rollback"], &["nothing was applied"]);
    check(&["shift", "inventory", "v2=1"], &["inventory"]);
    check(&["--read-only", "rollback"], &["--read-only"]);
    assert_eq!(mesh.api("policy").await.unwrap()["version"], Value::Null);
    let applied = mesh.fusebox(&["apply", "-f", &warns]);
    assert_eq!(applied.code, Some(0), "warnings alone do not refuse: {applied:?}");
    check(&["shift", "inventory", "v2=1"], &["also sends to v1"]);
    check(&["rollback", "--to", "9"], &["kept are 1 to 1"]);
}

/// Scenario: lint with a collector, through the API, and without any.
/// Guarantees: the same findings; without a collector files are looked at alone, which is said, and
/// without files that is a failure.
#[tokio::test]
async fn lint_has_a_twin_and_works_alone() {
    let mesh = Mesh::start(&[]).await;
    let file = founding(FOUNDING[0]);
    assert_eq!(mesh.fusebox(&["apply", "-f", &file]).code, Some(0));
    let printed = json(&mesh.fusebox(&["lint", "--output", "json"]), 0);
    assert_eq!(printed, mesh.api("lint").await.unwrap());
    assert!(printed.to_string().contains("Istio would retry twice here"), "{printed}");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let alone = process::run("fusebox", &["--collector", &nobody, "lint", "-f", &file]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(alone.stdout.contains("Istio would retry twice here"), "{alone:?}");
    assert!(alone.stderr.contains("without live figures"), "{alone:?}");
    assert_eq!(process::run("fusebox", &["--collector", &nobody, "lint"]).code, Some(1));
}

/// A rule that answers all calls of inventory itself.
const TEAPOT: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: teapot}
spec:
  hosts: [inventory]
  http: [{directResponse: {status: 418}}]
";

/// Scenario: a rule is applied to a mesh with two real proxies, and rolled back; then one of them
/// is stopped, and it is applied again.
/// Guarantees: the command returns when the proxies have it: the next request follows, and follows
/// the rollback; a proxy that does not answer is told as pending, with exit 4.
#[tokio::test]
async fn proxies_follow_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "teapot.yaml", TEAPOT);
    let file = file.to_str().expect("UTF-8");
    let mesh = Mesh::start(&[]).await;
    let inventory = Upstream::start(|_, _| Answer::status(200)).await;
    let to: [(&str, &[std::net::SocketAddr]); 1] = [("inventory", &[inventory.address()])];
    let one = mesh.proxy("payment", None, &to).await;
    let other = mesh.proxy("payment", None, &to).await;
    let statuses = async || {
        let mut statuses = Vec::new();
        for proxy in [&one, &other] {
            statuses
                .push(client::get(proxy.outbound[0], "/", &[]).await.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 200]);
    let applied = json(&mesh.fusebox(&["apply", "-f", file, "--output", "json"]), 0);
    assert_eq!((&applied["applied"], &applied["proxies"]), (&2.into(), &2.into()), "{applied}");
    assert_eq!(statuses().await, [418, 418]);
    json(&mesh.fusebox(&["rollback", "--output", "json"]), 0);
    assert_eq!(statuses().await, [200, 200]);

    signal("-STOP", &other);
    let applied = json(&mesh.fusebox(&["apply", "-f", file, "--output", "json"]), 4);
    assert_eq!((&applied["applied"], &applied["proxies"]), (&1.into(), &2.into()), "{applied}");
    let policy = mesh.api("policy").await.unwrap();
    let result = |instance: &str| {
        let mut proxies = policy["proxies"].as_array().into_iter().flatten();
        let is_it = |proxy: &&Value| proxy["id"].as_str().is_some_and(|id| id.ends_with(instance));
        proxies.find(is_it).expect("the proxy is told")["result"].clone()
    };
    assert_eq!(
        (result(&one.instance), result(&other.instance)),
        ("applied".into(), "pending".into())
    );
    signal("-CONT", &other);
    eventually("the proxy that was stopped follows", LIMIT, || async {
        let statuses = statuses().await;
        if statuses == [418, 418] { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
}

/// Scenario: a subset by a label that no endpoint of a real proxy has is held against the mesh; then
/// the proxy drains.
/// Guarantees: the lint says that it is empty, and what labels there are; that the proxy drains is in
/// the table and in the API.
#[tokio::test]
async fn proxies_tell_of_endpoints_and_of_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r}, spec: \
        {host: inventory, subsets: [{name: far, labels: {zone: far}}]}}\n";
    let file = write(folder.path(), "subset.yaml", rule);
    let file = file.to_str().expect("UTF-8").to_owned();
    let mesh = Mesh::start(&[]).await;
    let inventory = Upstream::start(|_, _| Answer::status(200)).await;
    let (listen, address) = (free_port(), inventory.address());
    let outbound = format!("127.0.0.1:{listen}=inventory@{address};zone=near");
    let grace = ["--drain-grace", "10m", "--drain-timeout", "10m", "--outbound", &outbound];
    let proxy = mesh.proxy_with("payment", None, &[], &grace).await;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], listen));
    assert_eq!(client::get(listen, "/", &[]).await.unwrap().status(), 200);
    mesh.edge("payment", "inventory", |_| true).await;
    let found = mesh.fusebox(&["lint", "-f", &file]);
    for part in ["spec.subsets[0].labels", "select no endpoint of inventory", "zone=near"] {
        assert!(found.stdout.contains(part), "{part}: {found:?}");
    }
    let fits = rule.replace("zone: far", "zone: near");
    let fits = write(folder.path(), "fits.yaml", &fits);
    let found = mesh.fusebox(&["lint", "-f", fits.to_str().expect("UTF-8")]);
    assert!(!found.stdout.contains("select no endpoint"), "{found:?}");

    let drain = http::Request::post("/drain").header("host", "a");
    let drain = drain.body(http_body_util::Full::default()).unwrap();
    assert_eq!(client::send(proxy.admin, drain).await.unwrap().status(), 200);
    eventually("the drain is told", LIMIT, || async {
        let proxies = mesh.api("proxies").await.map_err(|error| error.to_string())?;
        let is_told = proxies["proxies"][0]["draining"] == true;
        if is_told { Ok(()) } else { Err(proxies.to_string()) }
    })
    .await;
    assert!(mesh.fusebox(&["proxies"]).stdout.contains("draining"));
}

/// A route of `shop.example.com` at the gateway of the founding guide.
const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: entry}
spec:
  hosts: [shop.example.com]
  gateways: [istio-ingressgateway]
  http: [{route: [{destination: {host: inventory}}]}]
";

/// Scenario: the installation of the founding guide, unchanged, and a route are applied to a real
/// proxy that is its gateway; they are rolled back; somebody takes the port, and they are applied
/// again.
/// Guarantees: the port serves the host when the command returns, and is said to be all there is
/// without a certificate; traffic is an edge of the graph; the rollback closes the port; a port that
/// is taken is a rejection with its reason, on the console and in the API, and to a proxy that starts
/// on that policy a trouble that is told as long as it lasts.
#[tokio::test]
async fn the_founding_gateway_serves() {
    let folder = tempfile::tempdir().unwrap();
    let entry = write(folder.path(), "entry.yaml", ENTRY);
    let (entry, founding) = (entry.to_str().expect("UTF-8").to_owned(), founding("control-plane"));
    let apply = ["apply", "-f", &founding, "-f", &entry];
    let mesh = Mesh::start(&[]).await;
    let inventory = Upstream::start(|_, _| Answer::status(200)).await;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let port = format!("80={listen}");
    let to: [(&str, &[std::net::SocketAddr]); 1] = [("inventory", &[inventory.address()])];
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let state = state.to_str().expect("UTF-8");
    let flags =
        ["--ingress", "istio-ingressgateway", "--ingress-port", &port, "--state-dir", state];
    let gateway = mesh.proxy_with("entry", None, &to, &flags).await;

    let applied = mesh.fusebox(&apply);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(applied.stdout.contains("no certificate"), "{applied:?}");
    for (host, status) in [("shop.example.com", 200), ("inventory", 404)] {
        let request = http::Request::get("/").header("host", host);
        let request = request.body(http_body_util::Full::default()).unwrap();
        assert_eq!(client::send(listen, request).await.unwrap().status(), status, "{host}");
    }
    mesh.edge("entry", "inventory", |edge| edge["rate"].as_f64().is_some_and(|it| 0.0 < it)).await;

    drop(gateway);
    let taken = eventually("the port is free", LIMIT, || async {
        std::net::TcpListener::bind(listen).map_err(|error| error.to_string())
    });
    let taken = taken.await;
    let _gateway = mesh.proxy_with("entry", None, &to, &flags).await;
    let troubles = async |is_there: bool| {
        eventually("the trouble is told", LIMIT, || async {
            let said = mesh.fusebox(&["proxies"]).stdout;
            let is_told = said.contains("ingress port 80 cannot listen");
            if is_told == is_there { Ok(()) } else { Err(said) }
        })
        .await;
    };
    troubles(true).await;
    drop(taken);
    troubles(false).await;

    assert_eq!(mesh.fusebox(&["rollback", "--to", "0"]).code, Some(0));
    let taken = eventually("the port is free", LIMIT, || async {
        std::net::TcpListener::bind(listen).map_err(|error| error.to_string())
    });
    let taken = taken.await;
    let rejected = mesh.fusebox(&apply);
    assert_ne!(rejected.code, Some(0), "{rejected:?}");
    assert!(rejected.stdout.contains("ingress port 80 cannot listen"), "{rejected:?}");
    // The API shows what was so a moment ago.
    let told = eventually("the API tells of the rejection", LIMIT, || async {
        let policy = mesh.api("policy").await.unwrap();
        let is_told = policy["proxies"][0]["result"] == "rejected";
        if is_told { Ok(()) } else { Err(policy.to_string()) }
    });
    told.await;
    drop(taken);
}
