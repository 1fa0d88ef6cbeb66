//! Start and end of a proxy.

use crate::collector::Collector;
use crate::world::{Caller, Proxy, Server, get, inbound, outbound};
use fusebox_proxy::config::Token;
use fusebox_proxy::{StartError, start};
use std::time::Duration;

/// Scenario: configurations that cannot be started: a taken port, with one worker and with
/// several; a listener for the world; nothing to do.
/// Guarantees: the error names the flag and the address.
#[tokio::test]
async fn what_cannot_start_says_why() {
    let server = Server::echo().await;
    for workers in [1, 2] {
        let mut config = inbound(server.address);
        config.workers = workers;
        config.inbound[0].listen = server.address;
        let error = start(config).unwrap_err();
        assert!(matches!(error, StartError::Bind { .. }));
        let text = error.to_string();
        assert!(text.contains("--inbound") && text.contains(&server.address.to_string()), "{text}");
    }
    let mut exposed = outbound(&[server.address]);
    exposed.outbound[0].listen = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(start(exposed).unwrap_err(), StartError::Invalid(_)));
    let mut idle = outbound(&[server.address]);
    idle.outbound.clear();
    assert!(matches!(start(idle).unwrap_err(), StartError::Invalid(_)));
}

/// Scenario: a proxy is told to stop while a request is in the server and a connection is idle.
/// Guarantees: the request is answered, the idle connection closed, new ones refused.
#[tokio::test]
async fn what_is_in_flight_is_finished() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let address = proxy.address();
    let mut idle = Caller::connect(address).await;
    let mut busy = Caller::connect(address).await;
    let request = tokio::spawn(async move { busy.get("/").await });
    arrivals.recv().await.unwrap();
    let ends = tokio::spawn(proxy.shutdown(Duration::from_secs(10)));
    // Its connection is closed when the end has begun.
    idle.closed().await;
    gate.add_permits(1);
    let answer = request.await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"done"[..]));
    ends.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// Scenario: a proxy with the token that its collector asks for.
/// Guarantees: it shows it at the door, and nowhere else.
#[tokio::test]
async fn the_token_is_shown_at_the_door_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "open-sesame-and-more\n").unwrap();
    let server = Server::echo().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    config.token = Some(Token::read(&file).unwrap());
    assert!(!format!("{config:?}").contains("sesame"));
    let proxy = Proxy::start(config);
    assert_eq!(collector.attached().await.authorization, "Bearer open-sesame-and-more");
    let page = get(proxy.admin(), "/config").await.body;
    assert!(!String::from_utf8_lossy(&page).contains("sesame"));
    std::fs::write(&file, "two words").unwrap();
    assert!(Token::read(&file).is_err());
}
