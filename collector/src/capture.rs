//! Capture files: traces that somebody kept, of any of three formats, as [`SpanBatch`]es.
//!
//! | format | recognised by |
//! |---|---|
//! | OTLP JSON, one `ExportTraceServiceRequest` a line, or one over many lines | `{` |
//! | Jaeger's JSON, `{"data":[…]}` | `{` and its first key |
//! | OTLP protobuf, one request, or many with their lengths before them | its first bytes |
//!
//! Each plain, gzip or zstd. Names of files say nothing: the content decides. What a line, a
//! message or a document may hold is bounded, so that a file of any size is read in the memory of
//! its largest part; a file that ends in the middle is told, not refused.

mod json;
mod protobuf;
mod proxies;
#[cfg(test)]
mod tests;
mod unpack;

pub(crate) use proxies::{ProxySaid, Said, line as proxy_line};

use crate::decode::{self, DecodeError};
use crate::frames::Frames;
use crate::spans::SpanBatch;
use flate2::bufread::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use unpack::Unpacked;

/// Longest line, or message of protobuf: as over the network.
const PART_LEN_MAX: usize = 16 * 1024 * 1024;
/// Longest document over many lines, and longest document of Jaeger's: it is held whole.
const DOCUMENT_LEN_MAX: usize = 256 * 1024 * 1024;
/// Largest window of a zstd frame: `zstd --long=27`.
const ZSTD_WINDOW_LEN_MAX: u64 = 128 * 1024 * 1024;
/// Read at once.
const BUFFER_LEN: usize = 256 * 1024;

/// What is allowed, for refusals.
const ALLOWED: &str =
    "a capture is OTLP JSON lines, OTLP protobuf or Jaeger's JSON, plain, gzip or zstd";

/// What was read of a file, beside its spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Spans that were given.
    pub spans: u64,
    /// Spans that were refused: without ids, or from before time.
    pub rejected: u64,
    /// Lines, messages or documents that hold no spans, such as metrics.
    pub other: u64,
    /// 1 where the file ends in the middle of a line, message or compressed frame.
    pub truncated: u64,
}

/// Why a file is no capture.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {why}", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub struct ReadError {
    /// Which file.
    pub path: PathBuf,
    /// Which of its lines, or messages of protobuf, from 1; `None` where it is the whole.
    pub line: Option<u64>,
    /// What is wrong, and what is allowed.
    pub why: Why,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It cannot be opened or read, or does not decompress.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is none of the formats.
    #[error("unknown format; {ALLOWED}")]
    UnknownFormat,
    /// A line or message is not what it should be.
    #[error("{0}; {ALLOWED}")]
    Malformed(#[from] DecodeError),
    /// A line, message or document is too long.
    #[error("it is longer than the {len_max} bytes that are read at once")]
    TooLong {
        /// As many are allowed.
        len_max: usize,
    },
}

/// Where each batch goes. A break ends the reading: that is no error.
pub type Each<'f> = &'f mut dyn FnMut(SpanBatch) -> ControlFlow<()>;

/// Reads the file at `path`, and gives its spans in the order in which they are in it.
///
/// # Errors
/// If it cannot be read, or is no capture. What came before the fault has been given.
pub fn read(path: &Path, each: Each<'_>) -> Result<Told, ReadError> {
    let (mut spans, mut rejected) = (0, 0);
    let told = parts(path, &mut |part| {
        let Part::Traces(request) = part else { return ControlFlow::Continue(()) };
        let batch = decode::batch(&request);
        spans += batch.spans.len() as u64;
        rejected += batch.rejected.count;
        if batch.spans.is_empty() { ControlFlow::Continue(()) } else { each(batch) }
    })?;
    Ok(Told { spans, rejected, ..told })
}

/// One thing that a capture holds.
#[derive(Debug)]
pub(crate) enum Part {
    /// Some spans, as they were sent; never none.
    Traces(ExportTraceServiceRequest),
    /// What a proxy of ours told its collector.
    Proxy(ProxySaid),
}

/// As [`read`], with all that a replay needs. Spans are not looked at, and so not counted.
pub(crate) fn parts(
    path: &Path,
    each: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Told, ReadError> {
    let mut walk = Walk { each, told: Told::default(), line: None };
    let result = File::open(path).map_err(Why::from).and_then(|file| walk.file(file));
    match result {
        Ok(()) => Ok(walk.told),
        Err(why) => Err(ReadError { path: path.to_owned(), line: walk.line, why }),
    }
}

/// The way through one file.
struct Walk<'f> {
    each: &'f mut dyn FnMut(Part) -> ControlFlow<()>,
    told: Told,
    /// Where it is.
    line: Option<u64>,
}

impl Walk<'_> {
    fn file(&mut self, file: File) -> Result<(), Why> {
        let mut packed = BufReader::with_capacity(BUFFER_LEN, file);
        let mut source: Box<dyn BufRead> = match packed.fill_buf()? {
            [0x1f, 0x8b, ..] => Box::new(Unpacked::new(MultiGzDecoder::new(packed))?),
            // A frame, or one that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Box::new(Unpacked::new(Frames::new(packed, ZSTD_WINDOW_LEN_MAX))?)
            }
            _ => Box::new(packed),
        };
        let result = self.content(source.as_mut());
        match result {
            Err(Why::Unreadable(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                self.told.truncated = 1;
                Ok(())
            }
            result => result,
        }
    }

    fn content(&mut self, source: &mut dyn BufRead) -> Result<(), Why> {
        let head = source.fill_buf()?;
        if json::is_json(head) {
            return self.json(source);
        }
        match protobuf::framing(head) {
            Some(framing) => self.protobuf(source, framing),
            None => Err(Why::UnknownFormat),
        }
    }

    /// Passes a request on, if there are spans in it.
    fn give(&mut self, request: ExportTraceServiceRequest) -> ControlFlow<()> {
        let mut scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        if scopes.all(|scope| scope.spans.is_empty()) {
            self.told.other += 1;
            return ControlFlow::Continue(());
        }
        (self.each)(Part::Traces(request))
    }
}
