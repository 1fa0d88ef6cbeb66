use crate::balance::EndpointId;
use crate::config::{Endpoint, Limits};
use crate::outlier::Observed;
use crate::pool::{Picked, Pool};
use crate::retry::Tried;
use fusebox_proto::Now;
use fusebox_proto::policy::{Consecutive, OutlierDetection, Settings};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn endpoints(names: &[u8]) -> Vec<Endpoint> {
    let endpoint = |name: &u8| Endpoint::from(SocketAddr::from(([127, 0, 0, *name], 80)));
    names.iter().map(endpoint).collect()
}

fn follow(pool: &Pool, now: Instant, endpoints: &[Endpoint], settings: &Settings) {
    pool.apply(now, endpoints, Limits::default(), settings);
}

/// Two errors in a row take an endpoint out for a minute.
fn strict() -> Settings {
    let outlier = OutlierDetection {
        interval: Duration::from_secs(1),
        ejection_time_base: Duration::from_mins(1),
        ejection_time_max: Duration::from_mins(1),
        ejection_time_jitter_max: Duration::ZERO,
        ejection_percent_max: 100,
        always_eject_one: false,
        panic_percent: 0,
        split_local_origin: false,
        error_statuses: Vec::new(),
        consecutive_errors: Some(Consecutive { threshold: 2, enforcing_percent: 100 }),
        consecutive_gateway_errors: None,
        consecutive_local_origin_failures: None,
        success_rate: None,
        failure_percentage: None,
    };
    Settings { outlier: Some(outlier), ..Settings::default() }
}

fn ejected(pool: &Pool, now: Instant) -> BTreeSet<EndpointId> {
    let hosts = pool.status(now).hosts.into_iter();
    hosts.filter(|host| host.ejected.is_some()).map(|host| host.host).collect()
}

/// One step of the life of a pool.
#[derive(Clone, Debug)]
enum Step {
    Follow(Vec<u8>),
    Pick,
    End { at: usize, status: u16 },
    TakeEvents,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => vec(0_u8..6, 0..6).prop_map(Step::Follow),
        6 => Just(Step::Pick),
        6 => (any::<usize>(), prop_oneof![Just(200), Just(500)])
            .prop_map(|(at, status)| Step::End { at, status }),
        1 => Just(Step::TakeEvents),
    ]
}

proptest! {
    /// Scenario: endpoints come, go and come back, some of them twice in a list, while attempts are
    /// under way on them and some fail.
    /// Guarantees: the pool has exactly the wanted ones; one that stays is the same one with its
    /// ejection, and no number means two; attempts on those that left end as others do, with
    /// nothing left behind; every event has the address of its endpoint.
    #[test]
    fn endpoints_that_stay_are_the_same(steps in vec(step(), 1..80)) {
        let (now, settings) = (Now::read().instant, strict());
        let pool = Pool::new(now, &[], Limits::default(), &settings);
        pool.set_watched(true);
        let mut under_way: Vec<Picked> = Vec::new();
        let mut addresses: BTreeMap<EndpointId, String> = BTreeMap::new();
        for step in steps {
            let (before, out) = (pool.endpoints(), ejected(&pool, now));
            match step {
                Step::Follow(names) => {
                    let wanted = endpoints(&names);
                    follow(&pool, now, &wanted, &settings);
                    let after = pool.endpoints();
                    check_same(&before, &after, &wanted);
                    let stayed: BTreeSet<_> = after.iter().map(|one| one.id()).collect();
                    let kept: BTreeSet<_> = out.intersection(&stayed).copied().collect();
                    prop_assert_eq!(ejected(&pool, now), kept);
                    for one in &after {
                        let known = addresses.entry(one.id()).or_insert(one.address().into());
                        prop_assert_eq!(&**known, one.address());
                    }
                }
                Step::Pick => {
                    if let Ok(picked) = pool.pick(now, &Tried::default()) {
                        prop_assert!(before.iter().any(|one| one.id() == picked.id()));
                        prop_assert!(!out.contains(&picked.id()));
                        under_way.push(picked);
                    } else {
                        prop_assert_eq!(out.len(), before.len());
                    }
                }
                Step::End { at, status } if !under_way.is_empty() => {
                    let mut picked = under_way.swap_remove(at % under_way.len());
                    picked.observed(now, Observed::Answered(status));
                    picked.ended(now);
                }
                Step::End { .. } => (),
                Step::TakeEvents => {
                    for (event, address) in pool.take_events() {
                        prop_assert_eq!(&address, &addresses[&event.host]);
                    }
                }
            }
            prop_assert_eq!(pool.status(now).in_flight, under_way.len() as u64);
        }
        under_way.clear();
        let status = pool.status(now);
        prop_assert_eq!(status.in_flight, 0);
        prop_assert!(status.members.iter().all(|member| member.in_flight == 0));
        prop_assert!(pool.endpoints().iter().all(|one| one.load() == 0));
    }
}

/// `after` is what is `wanted`, with as much of what was there `before` as can be.
fn check_same(
    before: &[Arc<super::Endpoint>],
    after: &[Arc<super::Endpoint>],
    wanted: &[Endpoint],
) {
    let count = |all: &mut dyn Iterator<Item = String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        all.for_each(|address| *counts.entry(address).or_default() += 1);
        counts
    };
    let of = |all: &[Arc<super::Endpoint>]| count(&mut all.iter().map(|one| one.address().into()));
    let wanted = count(&mut wanted.iter().map(|one| one.address.clone()));
    assert_eq!(of(after), wanted);
    let stay = after.iter().filter(|one| before.iter().any(|old| Arc::ptr_eq(one, old))).count();
    let counts = of(before);
    let could: usize =
        wanted.iter().map(|(address, n)| *n.min(counts.get(address).unwrap_or(&0))).sum();
    assert_eq!(stay, could);
}

/// Reads until the other side closes.
async fn closed(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

async fn one_endpoint() -> (TcpListener, Arc<Pool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = Endpoint::from(listener.local_addr().unwrap());
    let now = Now::read().instant;
    (listener, Pool::new(now, &[endpoint], Limits::default(), &Settings::default()))
}

/// Scenario: an endpoint leaves with an idle connection; another one with a request on its only
/// connection, and one that was chosen but has none yet.
/// Guarantees: the idle connection closes at once; what is under way keeps its connection, which
/// closes with it; the other one gets one, too; nothing new goes there.
#[tokio::test]
async fn connections_of_an_endpoint_that_left() {
    let now = Now::read().instant;
    let (listener, pool) = one_endpoint().await;
    let picked = pool.pick(now, &Tried::default()).unwrap();
    picked.http1(now).await.unwrap().release(now);
    while picked.lock().idle.is_empty() {
        tokio::task::yield_now().await;
    }
    follow(&pool, now, &[], &Settings::default());
    closed(&listener).await;

    let (listener, pool) = one_endpoint().await;
    let under_way = pool.pick(now, &Tried::default()).unwrap();
    let lease = under_way.http1(now).await.unwrap();
    let late = pool.pick(now, &Tried::default()).unwrap();
    follow(&pool, now, &[], &Settings::default());
    assert!(pool.pick(now, &Tried::default()).is_err());
    assert_eq!(under_way.connections(), 1);
    lease.release(now);
    closed(&listener).await;
    late.http1(now).await.unwrap().release(now);
    closed(&listener).await;
}

/// Scenario: an endpoint leaves before two HTTP/2 requests that were sent there have a connection.
/// Guarantees: each gets one, and they close with the requests.
#[tokio::test]
async fn streams_of_an_endpoint_that_left() {
    let now = Now::read().instant;
    let (listener, pool) = one_endpoint().await;
    let picked = [(); 2].map(|()| pool.pick(now, &Tried::default()).unwrap());
    follow(&pool, now, &[], &Settings::default());
    let greet = async {
        let mut streams = Vec::new();
        for _ in &picked {
            let (mut stream, _) = listener.accept().await.unwrap();
            // An empty SETTINGS frame.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            streams.push(stream);
        }
        streams
    };
    let (one, other, _streams) = tokio::join!(picked[0].http2(now), picked[1].http2(now), greet);
    drop((one.unwrap(), other.unwrap()));
    while 0 < picked[0].connections() {
        tokio::task::yield_now().await;
    }
}
