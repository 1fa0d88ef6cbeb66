//! Reading ahead of a request body, so that a repetition of the request can be recognised by it.

use super::rest::Rest;
use super::{Ahead, RequestBody};
use crate::edge::{BODY_PREFIX_LEN_MAX, BodyDigest};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use std::time::Duration;

/// A body whose first bytes take longer than this is streaming, or its caller waits for us: it is
/// forwarded as it comes, without a digest. A body that is simply there arrives with its head or a
/// packet later, within microseconds.
const PATIENCE: Duration = Duration::from_millis(10);

/// Length of the prefix of a gRPC message: a flag, then the length in four bytes.
const GRPC_PREFIX_LEN: usize = 5;

/// Bodies up to this length can be sent again, by a retry of ours or to a mirror.
const HELD_LEN_MAX: usize = 64 * 1024;

/// Reads ahead of `body` until all of it is at hand, if it is no longer than [`HELD_LEN_MAX`] and
/// comes at once. Says whether it is.
///
/// # Errors
/// If the caller broke off, or sent what is no body.
pub(crate) async fn hold(body: &mut RequestBody) -> Result<bool, hyper::Error> {
    let mut ahead = body.ahead.take().unwrap_or_default();
    let filling = async {
        let mut len: usize = ahead.parts.iter().map(Bytes::len).sum();
        while len <= HELD_LEN_MAX && !body.rest.is_over() {
            len += fill_one(&mut ahead, &mut body.rest).await?;
        }
        Ok(len <= HELD_LEN_MAX)
    };
    // What streams is not waited for.
    let held = tokio::time::timeout(PATIENCE, filling).await.unwrap_or(Ok(false));
    body.ahead = Some(ahead);
    held
}

/// Reads the first bytes of `body`, which keeps them, and digests them. Of a gRPC call the first
/// message is enough: its caller may send the second only after our answer to the first.
///
/// # Errors
/// If the caller broke off, or sent what is no body.
pub(crate) async fn read_ahead(
    body: &mut RequestBody,
    is_grpc: bool,
    seed: u64,
) -> Result<BodyDigest, hyper::Error> {
    let mut ahead = Box::<Ahead>::default();
    let filling = fill(&mut ahead, &mut body.rest, is_grpc);
    let filled = tokio::time::timeout(PATIENCE, filling).await;
    let digest = match filled {
        Ok(Ok(len)) => Ok(BodyDigest::of(seed, &ahead.first_bytes(len))),
        Ok(Err(error)) => Err(error),
        Err(_streams) => Ok(BodyDigest::Unknown),
    };
    body.ahead = Some(ahead);
    digest
}

/// Reads from `rest` until what decides the digest is there, and says how many bytes that are.
async fn fill(ahead: &mut Ahead, rest: &mut Rest, is_grpc: bool) -> Result<usize, hyper::Error> {
    let mut len = 0;
    let mut wanted = BODY_PREFIX_LEN_MAX;
    while len < wanted && !rest.is_over() {
        len += fill_one(ahead, rest).await?;
        if is_grpc && let Some(message) = first_message_len(ahead) {
            wanted = message.min(BODY_PREFIX_LEN_MAX);
        }
    }
    Ok(wanted)
}

/// Reads what comes next, and says how many bytes that are.
async fn fill_one(ahead: &mut Ahead, rest: &mut Rest) -> Result<usize, hyper::Error> {
    let Some(body) = rest.upload() else { return Ok(0) };
    let frame = body.frame().await.transpose()?;
    if body.is_end_stream() || frame.is_none() {
        rest.over();
    }
    match frame.map(Frame::into_data) {
        Some(Ok(bytes)) if !bytes.is_empty() => {
            let len = bytes.len();
            ahead.parts.push_back(bytes);
            return Ok(len);
        }
        Some(Err(frame)) => ahead.trailers = frame.into_trailers().ok(),
        _ => (),
    }
    Ok(0)
}

/// Length of the first gRPC message with its prefix, once that prefix is there.
fn first_message_len(ahead: &Ahead) -> Option<usize> {
    let first: Bytes = ahead.first_bytes(GRPC_PREFIX_LEN);
    let len: [u8; 4] = first.get(1..GRPC_PREFIX_LEN)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(len)).ok()?.checked_add(GRPC_PREFIX_LEN)
}
