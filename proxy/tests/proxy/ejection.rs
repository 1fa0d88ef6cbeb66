//! Ejections of a policy, each field by its name, over real sockets.

use crate::collector::Collector;
use crate::shop::{CIRCUIT_BREAKER, metric, moody, page, settings, under, witness};
use crate::world::{Caller, Proxy, Server, dead_address, outbound};
use fusebox_proto::Now;
use fusebox_proto::command::BreakerState;
use fusebox_proto::report::Cause;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Scenario: the circuit breaker of the founding guide, and an endpoint that answers 500.
/// Guarantees: after five errors in a row it is out, for three minutes, and gets nothing more; the
/// report and the admin port say which, why and for how long.
#[tokio::test]
async fn consecutive_5xx_errors() {
    let (bad, _) = moody(500).await;
    let collector = Collector::start().await;
    let mut config = outbound(&[bad.address]);
    config.outbound[0].host = "payment".into();
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(under(config, CIRCUIT_BREAKER));
    let mut session = collector.attached().await;
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..5 {
        assert_eq!(caller.get("/").await.status, 500);
    }
    for _ in 0..20 {
        let refused = caller.get("/").await;
        assert_eq!(refused.header("x-fusebox-refused"), "open; edge=payment>payment");
    }
    assert_eq!(bad.requests(), 5);
    let report = loop {
        let report = session.report().await;
        if !report.transitions.is_empty() {
            break report;
        }
    };
    let transition = &report.transitions[0];
    assert_eq!(transition.endpoint, bad.address.to_string());
    assert_eq!((transition.to, transition.cause), (BreakerState::Open, Cause::ConsecutiveFailures));
    let status = &report.breakers[0];
    assert_eq!((status.endpoint.clone(), status.shadow), (bad.address.to_string(), false));
    let remaining = status.remaining_ms.unwrap();
    assert!((170_000..=180_000).contains(&remaining), "{remaining}");
    let shown = page(&proxy, "/breakers").await;
    let endpoints = shown["breakers"][0]["endpoints"].as_array().unwrap();
    let out = endpoints.iter().find(|one| one["address"] == bad.address.to_string()).unwrap();
    assert_eq!(out["ejected"]["reason"], "consecutive_5xx: 5 of 5");
    let line = "fusebox_proxy_ejections_active{destination=\"payment\"}";
    assert_eq!(metric(&proxy, line).await, 1);
}

/// Scenario: two endpoints in turn, of which one answers 502.
/// Guarantees: after so many in a row it is out, and the other one serves all.
#[tokio::test]
async fn consecutive_gateway_errors() {
    let ((bad, _), good) = (moody(502).await, witness("good").await);
    let policy = "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: \
                   {consecutiveGatewayErrors: 3, consecutive5xxErrors: 0, interval: 10s, \
                    maxEjectionPercent: 50}}";
    let config = outbound(&[bad.address, good.address]);
    let proxy = Proxy::start(under(config, &settings(policy)));
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..6 {
        caller.get("/").await;
    }
    for _ in 0..50 {
        assert_eq!(caller.get("/").await.status, 200);
    }
    assert_eq!(bad.requests(), 3);
}

/// Scenario: an outlier detection in shadow, and one whose panic threshold is above what is left.
/// Guarantees: in shadow nothing is refused and the report says what would have been; in panic
/// ejections are ignored.
#[tokio::test]
async fn shadow_and_panic() {
    let annotated = |annotation| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  \
             name: inventory\n  annotations: {{{annotation}}}\n\
             spec: {{host: inventory, trafficPolicy: {{outlierDetection: \
             {{consecutive5xxErrors: 2, interval: 100ms, maxEjectionPercent: 100}}}}}}\n"
        )
    };
    for (annotation, is_shadow) in [
        ("fusebox.io/outlier-shadow: 'true'", true),
        ("fusebox.io/outlier-panic-percent: '50'", false),
    ] {
        let (server, _) = moody(500).await;
        let collector = Collector::start().await;
        let mut config = outbound(&[server.address]);
        config.collector = Some(collector.url.clone());
        let proxy = Proxy::start(under(config, &annotated(annotation)));
        let mut session = collector.attached().await;
        let mut caller = Caller::connect(proxy.address()).await;
        for _ in 0..6 {
            assert_eq!(caller.get("/").await.status, 500, "{annotation}");
        }
        let transition = loop {
            if let Some(transition) = session.report().await.transitions.pop() {
                break transition;
            }
        };
        assert_eq!(transition.shadow, is_shadow, "{annotation}");
        assert_eq!(transition.endpoint, server.address.to_string());
    }
}

/// Scenario: an endpoint in shadow that is well again after it was found, for as long as it would be
/// out and beyond; then a service breaker in shadow.
/// Guarantees: report, admin port and metrics say why it would be out, and what that would have cost
/// so far; so does the report of its end.
#[tokio::test]
async fn a_shadow_says_what_it_would_have_cost() {
    let policy = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  \
        name: inventory\n  annotations:\n    fusebox.io/outlier-shadow: 'true'\n    \
        fusebox.io/breaker: consecutive\n    fusebox.io/breaker-consecutive-failures: '2'\n    \
        fusebox.io/breaker-shadow: 'true'\n\
        spec: {host: inventory, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 2, \
        interval: 100ms, baseEjectionTime: 3s, maxEjectionPercent: 100}}}\n";
    let (server, mood) = moody(500).await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(under(config, policy));
    let mut session = collector.attached().await;
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..2 {
        assert_eq!(caller.get("/").await.status, 500);
    }
    mood.store(200, SeqCst);
    for _ in 0..5 {
        assert_eq!(caller.get("/").await.status, 200);
    }
    let shown = page(&proxy, "/breakers").await;
    let shown = &shown["breakers"][0];
    assert_eq!(
        (&shown["shadow"]["refused"], &shown["shadow"]["succeeded"]),
        (&5.into(), &5.into())
    );
    let endpoint = &shown["endpoints"][0]["shadowed"];
    assert_eq!((&endpoint["attempts"], &endpoint["succeeded"]), (&5.into(), &5.into()));
    for of in ["service", "endpoint"] {
        for what in ["attempts", "succeeded"] {
            let name = format!("fusebox_proxy_shadow_{what}_total");
            let line = format!("{name}{{destination=\"inventory\",of=\"{of}\"}}");
            assert_eq!(metric(&proxy, &line).await, 5, "{line}");
        }
    }
    let address = server.address.to_string();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        for status in session.report().await.breakers {
            let (is_endpoint, is_open) =
                (status.endpoint == address, status.state != BreakerState::Closed);
            if status.refused_total < 5 {
                continue; // A window that ended amid the requests.
            }
            if !seen.contains(&(is_endpoint, is_open)) && (is_endpoint || is_open) {
                assert!(status.shadow);
                assert_eq!((status.refused_total, status.succeeded_total), (5, 5), "{status:?}");
                let detail = if is_endpoint && is_open { "consecutive_5xx: 2 of 2" } else { "" };
                assert_eq!(status.detail, detail);
                seen.push((is_endpoint, is_open));
            }
        }
    }
}

/// Three endpoints that all answer 500, in turn, under this `outlierDetection` (two errors in a row
/// are enough); with the moment before there was a proxy.
struct Three {
    servers: Vec<Server>,
    moods: Vec<Arc<AtomicU16>>,
    proxy: Proxy,
    caller: Caller,
    before: Instant,
}

impl Three {
    async fn under(detection: &str) -> Self {
        let (mut servers, mut moods) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (server, mood) = moody(500).await;
            servers.push(server);
            moods.push(mood);
        }
        let policy = settings(&format!(
            "{{loadBalancer: {{simple: ROUND_ROBIN}}, \
              outlierDetection: {{consecutive5xxErrors: 2, {detection}}}}}"
        ));
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        let before = Now::read().instant;
        let proxy = Proxy::start(under(outbound(&addresses), &policy));
        let caller = Caller::connect(proxy.address()).await;
        Self { servers, moods, proxy, caller, before }
    }

    /// Requests that each endpoint got, least first.
    fn requests(&self) -> Vec<usize> {
        let mut requests: Vec<_> = self.servers.iter().map(Server::requests).collect();
        requests.sort_unstable();
        requests
    }

    /// Asks until all three are out; then they would all answer 200. Returns when that began and
    /// was over.
    async fn eject_all(&mut self) -> (Instant, Instant) {
        let began = Now::read().instant;
        for _ in 0..6 {
            assert_eq!(self.caller.get("/").await.status, 500);
        }
        let over = Now::read().instant;
        self.moods.iter().for_each(|mood| mood.store(200, SeqCst));
        (began, over)
    }

    /// When the first one is back. Until then everything is refused, and nobody asked.
    async fn back(&mut self) -> Instant {
        loop {
            let asked = self.requests();
            let answer = self.caller.get("/").await;
            if answer.status == 200 {
                return Now::read().instant;
            }
            assert_eq!(answer.header("x-fusebox-refused"), "open; edge=payment>inventory");
            assert_eq!(self.requests(), asked);
            tokio::task::yield_now().await;
        }
    }
}

/// How late a machine under load may be.
const LATE_MAX: Duration = Duration::from_secs(3);

/// Scenario: three endpoints fail, with 100 % allowed to be out, and with 34 %.
/// Guarantees: with 100 all three are out after two errors each, and requests are refused; with 34
/// exactly one is, the other two are asked on, and that more were found is counted.
#[tokio::test]
async fn max_ejection_percent() {
    let active = "fusebox_proxy_ejections_active{destination=\"inventory\"}";
    let overflow = "fusebox_proxy_ejections_overflow_total{destination=\"inventory\"}";
    let forever = "interval: 1h, baseEjectionTime: 1h";

    let mut three = Three::under(&format!("{forever}, maxEjectionPercent: 100")).await;
    three.eject_all().await;
    for _ in 0..20 {
        let answer = three.caller.get("/").await;
        assert_eq!(answer.header("x-fusebox-refused"), "open; edge=payment>inventory");
    }
    assert_eq!(three.requests(), [2, 2, 2]);
    assert_eq!((metric(&three.proxy, active).await, metric(&three.proxy, overflow).await), (3, 0));

    let mut three = Three::under(&format!("{forever}, maxEjectionPercent: 34")).await;
    for _ in 0..42 {
        assert_eq!(three.caller.get("/").await.status, 500);
    }
    assert_eq!(three.requests(), [2, 20, 20]);
    assert_eq!(metric(&three.proxy, active).await, 1);
    assert!(0 < metric(&three.proxy, overflow).await);
}

/// Scenario: three endpoints are ejected for 600 ms, with a sweep every 100 ms.
/// Guarantees: none of them is asked before 600 ms are over; they serve again when they are, at the
/// next sweep.
#[tokio::test]
async fn base_ejection_time() {
    let (base, interval) = (Duration::from_millis(600), Duration::from_millis(100));
    let times = "interval: 100ms, baseEjectionTime: 600ms, maxEjectionPercent: 100";
    let mut three = Three::under(times).await;
    let (began, over) = three.eject_all().await;
    let back = three.back().await;
    println!("back {:?} after the last error", back - over);
    assert!(base <= back - began, "{:?}", back - began);
    assert!(back - over < base + interval + LATE_MAX, "{:?}", back - over);
}

/// Scenario: three endpoints are ejected for 1 ms, with a sweep every 2 s.
/// Guarantees: they are back at the first sweep, which is an interval after the policy came and not
/// before, long as they could have been.
#[tokio::test]
async fn interval() {
    let interval = Duration::from_secs(2);
    let times = "interval: 2s, baseEjectionTime: 1ms, maxEjectionPercent: 100";
    let mut three = Three::under(times).await;
    let (_, over) = three.eject_all().await;
    assert!(over - three.before < interval, "too slow to tell anything");
    let back = three.back().await;
    println!("back {:?} after the start", back - three.before);
    assert!(interval <= back - three.before, "{:?}", back - three.before);
    assert!(back - over < interval + LATE_MAX, "{:?}", back - over);
}

/// Scenario: one of two endpoints does not listen, without any policy.
/// Guarantees: it does not attract the traffic because it fails so quickly.
#[tokio::test]
async fn a_dead_endpoint_attracts_no_traffic() {
    let good = witness("good").await;
    let proxy = Proxy::start(outbound(&[dead_address().await, good.address]));
    let mut caller = Caller::connect(proxy.address()).await;
    let mut failed = 0;
    for _ in 0..300 {
        failed += usize::from(caller.get("/").await.status != 200);
    }
    assert!(failed <= 100, "{failed} of 300");
}
