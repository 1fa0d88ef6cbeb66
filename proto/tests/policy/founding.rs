//! The four files of the founding guide, unchanged, to the last setting.

use fusebox_proto::policy::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[track_caller]
fn compiled(text: &str) -> (Policy, Vec<Finding>) {
    let (documents, read) = read("founding.yaml", text).expect("a founding file");
    let (policy, mut findings) = compile(&documents, Profile::Fusebox).expect("a founding file");
    findings.extend(read);
    assert!(!refuses(&findings, true), "a founding file passes --strict: {findings:?}");
    (policy, findings)
}

/// Scenario: the canary of the guide.
/// Guarantees: two subsets by their labels, and 90 to 10 between them.
#[test]
fn inventory_canary() {
    let (policy, _) = compiled(include_str!("valid/founding-inventory-canary.yaml"));
    let inventory = policy.destination("shop", "inventory").unwrap();
    let labels = |name| inventory.subset(name).unwrap().labels.clone();
    assert_eq!(labels("v1"), [("version".into(), "v1".into())]);
    assert_eq!(labels("v2"), [("version".into(), "v2".into())]);
    assert_eq!(inventory.subsets.len(), 2);
    assert_eq!(*inventory.settings(Some("v2"), 80), Settings::default());

    let routes = policy.routes("shop", "inventory.shop.svc.cluster.local:8080").unwrap();
    assert_eq!(&*routes.object, "VirtualService/inventory-route");
    let [rule] = routes.http.as_slice() else { panic!("{routes:?}") };
    assert_eq!(&*rule.name, "inventory-route[0]");
    assert_eq!((rule.retries.as_ref(), rule.timeout), (None, None));
    let Action::Forward(destinations) = &rule.action else { panic!("{rule:?}") };
    let shares: Vec<(String, u32)> =
        destinations.iter().map(|one| (one.destination.to_string(), one.weight)).collect();
    assert_eq!(shares, [("inventory/v1".to_owned(), 90), ("inventory/v2".to_owned(), 10)]);
}

/// Scenario: the circuit breaker of the guide.
/// Guarantees: every number of the file, Envoy's defaults for the rest; all may be ejected, so
/// there is no panic threshold.
#[test]
fn payment_circuit_breaker() {
    let (policy, _) = compiled(include_str!("valid/founding-payment-circuit-breaker.yaml"));
    let payment = policy.destination("", "payment").unwrap();
    let pool = ConnectionPool {
        connections_max: Some(100),
        pending_max: Some(1),
        requests_per_connection_max: Some(10),
        ..ConnectionPool::default()
    };
    let outlier = OutlierDetection {
        interval: Duration::from_secs(1),
        ejection_time_base: Duration::from_mins(3),
        ejection_time_max: Duration::from_mins(5),
        ejection_time_jitter_max: Duration::ZERO,
        ejection_percent_max: 100,
        always_eject_one: true,
        panic_percent: 0,
        split_local_origin: false,
        error_statuses: Vec::new(),
        consecutive_errors: Some(Consecutive { threshold: 5, enforcing_percent: 100 }),
        consecutive_gateway_errors: None,
        consecutive_local_origin_failures: None,
        success_rate: None,
        failure_percentage: None,
    };
    let expected = Settings { pool, outlier: Some(outlier), ..Settings::default() };
    assert_eq!(*payment.settings(None, 8080), expected);
    assert_eq!((payment.critical, payment.muted_answer), (false, MutedAnswer::Refuse));
}

/// Scenario: mTLS as the guide switches it on.
/// Guarantees: STRICT for the whole of its namespace, and for nothing else.
#[test]
fn strict_mtls() {
    let (policy, _) = compiled(include_str!("valid/founding-strict-mtls.yaml"));
    let [strict] = policy.peer_authentications() else { panic!("{policy:?}") };
    assert_eq!((&*strict.namespace, strict.mode), ("strict-secure", Some(PeerMode::Strict)));
    assert_eq!((strict.selector.len(), strict.ports.len()), (0, 0));
}

/// Scenario: the installation of the guide.
/// Guarantees: ingress ports and the proxy's resources are kept, the former for the gateway of that
/// name: that for TLS is not served, which is said; what is about parts that Fusebox does not have
/// is named, each with its path.
#[test]
fn control_plane() {
    let (policy, findings) = compiled(include_str!("valid/founding-control-plane.yaml"));
    let install = policy.install().unwrap();
    let resources = Resources {
        cpu_request: Some("100m".into()),
        memory_request: Some("128Mi".into()),
        cpu_limit: Some("2000m".into()),
        memory_limit: Some("1024Mi".into()),
    };
    assert_eq!(install.proxy_resources, resources);
    let port = |port, target_port, name: &str| IngressPort { port, target_port, name: name.into() };
    let ports = vec![port(80, 8080, "http2"), port(443, 8443, "https")];
    let gateway = IngressGateway { name: "istio-ingressgateway".into(), labels: Vec::new(), ports };
    assert_eq!(install.ingress_gateways, [gateway]);
    let fields: Vec<&str> = findings.iter().map(|finding| &*finding.field).collect();
    let https = "spec.components.ingressGateways[0].k8s.service.ports[1]";
    assert_eq!(fields, ["spec.profile", "spec.components.pilot", https]);
    assert!(findings[2].message.contains("no certificate"), "{findings:?}");

    let listeners = policy.ingress("istio-ingressgateway", &BTreeMap::new());
    let told = listeners.iter().map(|it| (it.port, it.target_port, it.serves.is_ok()));
    assert!(told.eq([(80, 8080, true), (443, 8443, false)]), "{listeners:?}");
    assert_eq!(policy.ingress("another", &BTreeMap::new()), []);
}
