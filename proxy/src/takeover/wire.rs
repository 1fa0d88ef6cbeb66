//! What goes over the socket between predecessor and successor.

use crate::control;
use crate::proxy::Proxy;
use fusebox_proto::command::HeldLease;
use fusebox_proto::report::FromProxy;
use fusebox_proto::wire::{MESSAGE_LEN_MAX, v1};
use prost::Message as _;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Descriptors in one message; Linux allows 253.
const DESCRIPTORS_MAX: usize = 64;

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Sends `bytes` behind their length.
pub(super) fn send(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| invalid("too long"))?;
    stream.write_all(&len.to_be_bytes())?;
    stream.write_all(bytes)
}

/// Reads what [`send`] sent.
pub(super) fn read(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if MESSAGE_LEN_MAX < len {
        return Err(invalid(format!("a message of {len} bytes; at most {MESSAGE_LEN_MAX}")));
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Waits for this byte.
pub(super) fn read_byte(stream: &mut UnixStream, expected: u8) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte[0] == expected { Ok(()) } else { Err(invalid("an unknown word")) }
}

/// The leases that a proxy holds, as it tells them to a collector.
pub(super) fn leases(proxy: &Proxy) -> Vec<u8> {
    v1::ProxyMessage::from(FromProxy::Hello(control::hello(proxy))).encode_to_vec()
}

/// What [`leases`] told.
pub(super) fn parse_leases(bytes: &[u8]) -> io::Result<Vec<HeldLease>> {
    let message = v1::ProxyMessage::decode(bytes).map_err(|error| invalid(error.to_string()))?;
    match FromProxy::try_from(message).map_err(|error| invalid(error.to_string()))? {
        FromProxy::Hello(hello) => Ok(hello.held),
        _ => Err(invalid("no leases")),
    }
}

/// Sends descriptors, each message of them with one byte.
pub(super) fn send_sockets(stream: &UnixStream, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    for chunk in sockets.chunks(DESCRIPTORS_MAX) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(chunk)) {
            return Err(invalid("too many descriptors in a message"));
        }
        sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives `count` descriptors.
pub(super) fn receive_sockets(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let got = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid("descriptors were lost: is the limit of open files reached?"));
        }
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        if sockets.len() == before {
            return Err(invalid("a message without descriptors"));
        }
    }
    if sockets.len() == count { Ok(sockets) } else { Err(invalid("more descriptors than offered")) }
}
