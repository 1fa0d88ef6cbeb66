//! A plain HTTP/1.1 client: a connection a request, everything of the answer.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Sends one request to `address` and reads the whole answer.
///
/// # Errors
/// Whatever ends the connection before the answer is complete.
pub async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect {address}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    drop(sender);
    driver.abort();
    Ok(Response::from_parts(head, body))
}

/// As [`send`], over HTTP/2 with prior knowledge.
///
/// # Errors
/// As [`send`].
pub async fn send_http2(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect {address}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    driver.abort();
    Ok(Response::from_parts(head, body))
}

/// `GET path` with extra headers.
///
/// # Errors
/// As [`send`].
pub async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response<Bytes>> {
    let mut request = Request::get(path).header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(address, request.body(Full::default())?).await
}

/// `GET path`, parsed as JSON.
///
/// # Errors
/// As [`send`], or if the answer is not 200 with JSON.
pub async fn json(address: SocketAddr, path: &str) -> anyhow::Result<serde_json::Value> {
    let answer = get(address, path, &[]).await?;
    anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
    Ok(serde_json::from_slice(answer.body())?)
}
