//! Bodies of untrusted length: counted as they come in, and again as they unfold.

use super::Refusal;
use super::ledger::Charge;
use crate::frames::{Frames, WindowTooLarge};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Longest request, as it comes and decompressed.
pub(crate) const BODY_LEN_MAX: usize = 16 * 1024 * 1024;
/// Largest window of a zstd frame that is accepted: the longest request.
const ZSTD_WINDOW_LEN_MAX: u64 = BODY_LEN_MAX as u64;

/// A body that takes longer than this to arrive is given up: it holds memory.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a whole body of at most `len_max` bytes.
pub(crate) async fn read(
    body: axum::body::Body,
    charge: &Charge,
    len_max: usize,
) -> Result<Bytes, Refusal> {
    let metered = Metered { inner: body, charge, room_len: len_max };
    match tokio::time::timeout(BODY_TIMEOUT, metered.collect()).await {
        Ok(collected) => collected.map(http_body_util::Collected::to_bytes),
        Err(_) => Err(Refusal::Broken(format!("nothing whole within {BODY_TIMEOUT:?}"))),
    }
}

/// A body that charges what it reads, and ends with a [`Refusal`] where that is too much.
struct Metered<'a> {
    inner: axum::body::Body,
    charge: &'a Charge,
    room_len: usize,
}

impl Body for Metered<'_> {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(Refusal::Broken(error.to_string())))),
            Some(Ok(frame)) => frame,
        };
        let len = frame.data_ref().map_or(0, Bytes::len);
        let Some(room_len) = self.room_len.checked_sub(len) else {
            return Poll::Ready(Some(Err(Refusal::TooLarge)));
        };
        if !self.charge.add(len) {
            return Poll::Ready(Some(Err(Refusal::Overloaded)));
        }
        self.room_len = room_len;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A `content-encoding` that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// None.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as HTTP means it.
    Deflate,
    /// RFC 8878.
    Zstd,
}

/// What [`Compression::parse`] takes, for answers.
pub(crate) const COMPRESSIONS: &str = "gzip, zstd, deflate, identity";

impl Compression {
    /// The compression of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Unfolds `body`, never beyond [`BODY_LEN_MAX`], and charges what came out.
    pub(crate) fn unfold(self, body: Bytes, charge: &Charge) -> Result<Bytes, Refusal> {
        let packed = body.as_ref();
        let unfolded = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(packed)),
            Self::Deflate => read_all(flate2::read::ZlibDecoder::new(packed)),
            Self::Zstd => read_all(Frames::new(packed, ZSTD_WINDOW_LEN_MAX)),
        }?;
        if !charge.add(unfolded.len()) {
            return Err(Refusal::Overloaded);
        }
        Ok(unfolded.into())
    }
}

/// Reads what `source` gives, and refuses it where that gets too long.
fn read_all(source: impl Read) -> Result<Vec<u8>, Refusal> {
    let mut unfolded = Vec::new();
    source
        .take(BODY_LEN_MAX as u64 + 1)
        .read_to_end(&mut unfolded)
        .map_err(|error| refusal(&error))?;
    if BODY_LEN_MAX < unfolded.len() {
        return Err(Refusal::TooLarge);
    }
    Ok(unfolded)
}

fn refusal(error: &std::io::Error) -> Refusal {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<WindowTooLarge>());
    if inner.is_some() {
        return Refusal::TooLarge;
    }
    Refusal::Malformed(format!("does not decompress: {error}"))
}
