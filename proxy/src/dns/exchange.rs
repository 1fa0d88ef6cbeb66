//! A question to one name server, and its answer: by datagram, and where that does not hold it, by TCP.

use super::message::{Ask, Records, Reply};
use super::{Failure, Tally};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Without extensions a datagram has 512 bytes; some servers send more.
const DATAGRAM_LEN_MAX: usize = 4_096;
/// So many datagrams that are not the answer are passed over before it is given up.
const FOREIGN_MAX: usize = 64;

/// What `server` says, within `patience` for each of the two ways.
pub(super) async fn exchange(
    server: SocketAddr,
    ask: &Ask<'_>,
    patience: Duration,
    is_tcp_only: bool,
    tally: &Tally,
) -> Result<Records, Failure> {
    let message = ask.message()?;
    let mut reply = Reply::Truncated;
    if !is_tcp_only {
        let asked = timeout(patience, datagram(server, ask, &message, tally)).await;
        reply = said(server, asked)?;
    }
    if reply == Reply::Truncated {
        reply = said(server, timeout(patience, stream(server, ask, &message)).await)?;
    }
    match reply {
        Reply::Records(records) => Ok(records),
        Reply::NoSuchName => Err(Failure::NoSuchName),
        Reply::Refused(code) => Err(Failure::Refused(server, code)),
        Reply::Foreign | Reply::Truncated | Reply::Malformed => Err(Failure::Malformed(server)),
    }
}

fn said<T, E>(server: SocketAddr, asked: Result<io::Result<T>, E>) -> Result<T, Failure> {
    let asked = asked.map_err(|_| Failure::Silent(server))?;
    asked.map_err(|error| Failure::Unreachable(server, error.kind()))
}

/// Each question has a socket of its own: a port by chance beside an id by chance is what a forger
/// would have to guess; and what other addresses send, the kernel drops.
async fn datagram(
    server: SocketAddr,
    ask: &Ask<'_>,
    message: &[u8],
    tally: &Tally,
) -> io::Result<Reply> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut bytes = vec![0; DATAGRAM_LEN_MAX];
    for _ in 0..FOREIGN_MAX {
        let len = socket.recv(&mut bytes).await?;
        match ask.read(&bytes[..len]) {
            Reply::Foreign => tally.foreign.fetch_add(1, Relaxed),
            reply => return Ok(reply),
        };
    }
    Ok(Reply::Foreign)
}

async fn stream(server: SocketAddr, ask: &Ask<'_>, message: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], message].concat()).await?;
    let len = stream.read_u16().await?;
    let mut bytes = vec![0; len.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(ask.read(&bytes))
}
