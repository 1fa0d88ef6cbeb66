//! What reaches an origin: malformed and doubtful requests, judged by a strict reader of the bytes
//! that arrive, and never by our own status codes.

mod case;
mod corpus;
pub(crate) mod frames;
pub(crate) mod hpack;
mod origin;
mod run;
mod strict;
mod strict2;

use crate::parts::is_real;
use crate::real;
use crate::world::{Proxy, free_address, inbound, outbound};
use case::Verdict;
use origin::Origin;
use run::{Doors, Report};
use std::collections::BTreeMap;
use tokio::net::{TcpListener, TcpStream};

/// Scenario: the corpus itself.
/// Guarantees: at least 400 cases, 20 or more of each class, each of its own name, and of each
/// class some that must not arrive as they are.
#[test]
fn the_corpus_is_large() {
    let cases = corpus::all();
    assert!(400 <= cases.len(), "{}", cases.len());
    let mut classes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in &cases {
        classes.entry(case.class).or_default().push(&case.name);
    }
    for (class, mut names) in classes {
        let count = names.len();
        assert!(20 <= count, "{class}: {count}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{class}: a name twice");
        let doubtful = cases.iter().filter(|case| case.class == class);
        assert!(doubtful.clone().any(|case| case.verdict != Verdict::Served), "{class}");
    }
}

/// Scenario: the corpus through our proxy, inbound and outbound, to one origin over shared connections,
/// and behind each case a clean request on a connection of its own.
/// Guarantees: not one message arrives that is ambiguous or invalid, none that its client did not
/// send as one, none with another body; what is correct is served; each clean request gets its own
/// answer.
#[tokio::test]
async fn nothing_doubtful_passes() {
    let origin = Origin::start().await;
    for config in [inbound(origin.address), outbound(&[origin.address])] {
        let proxy = Proxy::start(config);
        let report = Report::of(proxy.address(), &origin).await;
        assert!(report.faults.is_empty(), "{report}");
    }
}

/// Scenario: the same to an origin of HTTP/1.1 only, so that what came as HTTP/2 goes down to it.
/// Guarantees: the same; all of it arrives as HTTP/1.1.
#[tokio::test]
async fn nothing_doubtful_goes_down() {
    let origin = Origin::of_http1().await;
    let proxy = Proxy::start(inbound(origin.address));
    let report = Report::of(proxy.address(), &origin).await;
    assert!(report.faults.is_empty(), "{report}");
}

/// Scenario: the corpus through a relay that passes on every byte.
/// Guarantees: in every class the test finds fault with it: it can fail.
#[tokio::test]
async fn a_relay_of_bytes_is_found_out() {
    let origin = Origin::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (listener.local_addr().unwrap(), origin.address);
    tokio::spawn(async move {
        loop {
            let (mut caller, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(behind).await.unwrap();
                // How a relayed connection ends is the test's business.
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
            });
        }
    });
    let report = Report::of(address, &origin).await;
    let classes = report.by_class();
    for (class, count) in &classes {
        assert!(0 < *count, "nothing found in {class}: {classes:?}");
    }
}

/// Scenario: the same corpus through our proxy, a real nginx and a real Envoy, in one run.
/// Guarantees: nothing doubtful passes ours; what passes theirs is printed beside it, by class.
#[tokio::test]
async fn beside_nginx_and_envoy() {
    if !is_real("the corpus beside nginx and Envoy") {
        return;
    }
    let origin = Origin::start().await;
    let proxy = Proxy::start(inbound(origin.address));
    let ours = Report::of(proxy.address(), &origin).await;
    let nginx = real::nginx(origin.address).await;
    let nginx = Report::of(Doors { http1: nginx.http1, http2: nginx.http2 }, &origin).await;
    let clusters = serde_json::json!([real::cluster(&[origin.address])]);
    let envoy = real::envoy(clusters, free_address().await).await;
    let envoy = Report::of(Doors { http1: envoy.http1, http2: envoy.http2 }, &origin).await;
    println!(
        "{:24} {:>6} {:>8} {:>6} {:>6}",
        "cases with faults", "cases", "fusebox", "nginx", "envoy"
    );
    let (others, envoys) = (nginx.by_class(), envoy.by_class());
    for (class, count) in ours.by_class() {
        let cases = ours.cases().filter(|case| case.class == class).count();
        println!("{class:24} {cases:>6} {count:>8} {:>6} {:>6}", others[class], envoys[class]);
    }
    println!("nginx: {nginx}\nenvoy: {envoy}");
    assert!(ours.faults.is_empty(), "{ours}");
}
