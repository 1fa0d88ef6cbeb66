//! Writes what a collector records to a file, packed as its name says: `.gz`, `.zst`, else plain.
//!
//! The file appears whole: until its end it is written beside, under its name with `.part`.

use crate::address::Client;
use flate2::Compression;
use flate2::write::GzEncoder;
use fusebox_proto::view::Stamp;
use fusebox_proto::wire::v1::record_request::Period;
use fusebox_proto::wire::v1::{RecordChunk, RecordRequest};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use tonic::Status;

/// Plain bytes of one zstd frame.
const FRAME_LEN: usize = 1024 * 1024;

/// What was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Requests of spans.
    pub requests: u64,
    /// Messages of proxies.
    pub proxy_messages: u64,
    /// What had left the collector's memory before it could be given.
    pub lost: u64,
    /// When the first of it came in.
    pub from: Option<Stamp>,
    /// When the last of it came in.
    pub to: Option<Stamp>,
}

/// Why there is no recording, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The collector does not do it.
    #[error("{}", .0.message())]
    Refused(Status),
    /// The collector went away.
    #[error("the collector went away: {}; what came before is in {}", status.message(), path.display())]
    Cut {
        /// What it or the connection says.
        status: Status,
        /// Where that is.
        path: PathBuf,
    },
    /// The file cannot be made.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be written to its end.
    #[error("{}: {source}; what fitted is in {}", path.display(), part.display())]
    Full {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// What was written before.
        part: PathBuf,
    },
}

/// Records until the period is over, or `stop`; then what there is is a whole file, too.
///
/// # Errors
/// If the collector refuses or goes away, or the file cannot be written.
pub async fn record(
    client: &mut Client,
    period: Period,
    path: &Path,
    stop: impl Future<Output = ()>,
) -> Result<Recorded, RecordError> {
    let request = RecordRequest { period: Some(period) };
    let chunks = client.record(request).await.map_err(RecordError::Refused)?;
    let mut chunks = chunks.into_inner();
    let file = Packed::create(path);
    let mut file = file.map_err(|source| RecordError::File { path: path.to_owned(), source })?;
    let part = file.part.clone();
    let failed = |source| RecordError::Full { path: path.to_owned(), source, part: part.clone() };
    let mut recorded = Recorded::default();
    let mut stop = std::pin::pin!(stop);
    let cut = loop {
        let chunk = tokio::select! {
            chunk = chunks.message() => chunk,
            () = &mut stop => break None,
        };
        match chunk {
            Ok(Some(chunk)) => {
                file.write(&chunk.data).map_err(failed)?;
                recorded = told(&chunk);
            }
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    file.finish().map_err(failed)?;
    let path = path.to_owned();
    cut.map_or(Ok(recorded), |status| Err(RecordError::Cut { status, path }))
}

fn told(chunk: &RecordChunk) -> Recorded {
    let stamp = |unix_ms: u64| (unix_ms != 0).then_some(Stamp(unix_ms));
    Recorded {
        requests: chunk.requests,
        proxy_messages: chunk.proxy_messages,
        lost: chunk.lost,
        from: stamp(chunk.from_unix_ms),
        to: stamp(chunk.to_unix_ms),
    }
}

/// A file that is packed as its name says.
#[derive(Debug)]
struct Packed {
    path: PathBuf,
    part: PathBuf,
    writer: Packer,
}

#[derive(Debug)]
enum Packer {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<File>),
    /// Frames of some length each: a reader takes them for one.
    Zstd {
        file: File,
        plain: Vec<u8>,
    },
}

impl Packed {
    fn create(path: &Path) -> io::Result<Self> {
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let writer = match extension {
            Some("gz") => Packer::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => Packer::Zstd { file, plain: Vec::new() },
            _ => Packer::Plain(BufWriter::new(file)),
        };
        Ok(Self { path: path.to_owned(), part, writer })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.writer {
            Packer::Plain(file) => file.write_all(bytes),
            Packer::Gzip(file) => file.write_all(bytes),
            Packer::Zstd { file, plain } => {
                plain.extend_from_slice(bytes);
                if plain.len() < FRAME_LEN {
                    return Ok(());
                }
                file.write_all(&compress_to_vec(plain.as_slice(), CompressionLevel::Fastest))?;
                plain.clear();
                Ok(())
            }
        }
    }

    /// Ends it, and gives it its name.
    fn finish(self) -> io::Result<()> {
        match self.writer {
            Packer::Plain(mut file) => file.flush()?,
            Packer::Gzip(file) => drop(file.finish()?),
            Packer::Zstd { mut file, plain } => {
                file.write_all(&compress_to_vec(plain.as_slice(), CompressionLevel::Fastest))?;
            }
        }
        std::fs::rename(self.part, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// Scenario: the same bytes, in pieces, under three names.
    /// Guarantees: each unpacks to them; before the end there is no file of that name, and after it
    /// nothing beside.
    #[test]
    fn the_name_says_how_it_is_packed() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..3 * FRAME_LEN + 5).map(|at| (at / 7) as u8).collect();
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            let path = folder.path().join(name);
            let mut file = Packed::create(&path).unwrap();
            bytes.chunks(100_003).for_each(|piece| file.write(piece).unwrap());
            assert!(!path.exists());
            file.finish().unwrap();
            let packed = std::fs::read(&path).unwrap();
            let mut plain = Vec::new();
            match path.extension().unwrap().to_str().unwrap() {
                "gz" => drop(flate2::read::GzDecoder::new(&*packed).read_to_end(&mut plain)),
                "zst" => plain = unpack(&packed),
                _ => plain = packed,
            }
            assert!(plain == bytes, "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    /// All frames, one after the other.
    fn unpack(mut packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !packed.is_empty() {
            let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut packed).unwrap();
            frame.read_to_end(&mut plain).unwrap();
        }
        plain
    }
}
