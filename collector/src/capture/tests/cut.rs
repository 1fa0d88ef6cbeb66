//! Recordings that end anywhere: their writer was killed, or the disk was full.

use super::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Lines of a recording: one of each two is of a proxy.
const LINES: u64 = 240;
/// A writer flushes after so many.
const FLUSHED: u64 = 20;

/// A file, and what its writer knew to be in it.
struct Written {
    name: &'static str,
    bytes: Vec<u8>,
    /// After so many bytes, so many lines were flushed.
    flushed: Vec<(usize, u64)>,
    /// Places at which it could as well have ended.
    ends: Vec<usize>,
}

fn line_of(number: u64) -> String {
    if number % 2 == 1 {
        return format!("{}\n", proxy_line(number, 7, None));
    }
    format!("{}\n", line(0).replace("0000000000000000", &format!("{:016x}", number + 1)))
}

/// Feeds all lines to `write`, which says how long the file is after a flush.
fn flushed(mut write: impl FnMut(&str, bool) -> usize) -> Vec<(usize, u64)> {
    let written = (0..LINES).map(|number| {
        let flushes = (number + 1) % FLUSHED == 0;
        (flushes, write(&line_of(number), flushes), number + 1)
    });
    written.filter(|(flushes, ..)| *flushes).map(|(_, len, lines)| (len, lines)).collect()
}

fn plain_file() -> Written {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    let flushed = flushed(|line, _| {
        bytes.extend_from_slice(line.as_bytes());
        // Without its last byte a line is whole, too.
        ends.extend([bytes.len() - 1, bytes.len()]);
        bytes.len()
    });
    Written { name: "plain", bytes, flushed, ends }
}

fn gzip_file() -> Written {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let flushed = flushed(|line, flushes| {
        packer.write_all(line.as_bytes()).unwrap();
        if flushes {
            packer.flush().unwrap();
        }
        packer.get_ref().len()
    });
    Written { name: "gzip", bytes: packer.finish().unwrap(), flushed, ends: Vec::new() }
}

/// One frame, of which a reader keeps a window back that is longer than all of it.
fn zstd_file(name: &'static str, has_checksum: bool) -> Written {
    let mut packer = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packer.include_checksum(has_checksum).unwrap();
    let flushed = flushed(|line, flushes| {
        packer.write_all(line.as_bytes()).unwrap();
        if flushes {
            packer.flush().unwrap();
        }
        packer.get_ref().len()
    });
    Written { name, bytes: packer.finish().unwrap(), flushed, ends: Vec::new() }
}

/// Frames as `fusebox record` writes them.
fn frames_file() -> Written {
    let (mut bytes, mut text) = (Vec::new(), String::new());
    let mut ends = Vec::new();
    let flushed = flushed(|line, flushes| {
        text.push_str(line);
        if flushes {
            bytes.extend(compress_to_vec(text.as_bytes(), CompressionLevel::Fastest));
            text.clear();
            ends.push(bytes.len());
        }
        bytes.len()
    });
    Written { name: "zstd in frames", bytes, flushed, ends }
}

/// Numbers of the lines that are read.
fn read_cut(bytes: &[u8]) -> (Vec<u64>, Told) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, bytes).unwrap();
    let mut numbers = Vec::new();
    let told = parts(&path, &mut |part| {
        numbers.push(match part {
            Part::Proxy(said) => said.at_unix_ns,
            Part::Traces(request) => {
                let id = &request.resource_spans[0].scope_spans[0].spans[0].span_id;
                u64::from_be_bytes(id.as_slice().try_into().unwrap()) - 1
            }
        });
        ControlFlow::Continue(())
    });
    (numbers, told.unwrap())
}

/// Scenario: recordings of spans and of what proxies said, plain, in gzip, in one zstd frame with and
/// without a checksum, and in many; cut before, at and behind each flush, and at 41 places more.
/// Guarantees: all lines that were flushed before the cut come back, in order, and none that was not
/// written; the cut is told, unless nobody could see it.
#[test]
fn what_was_flushed_before_a_cut_is_read() {
    let single = [zstd_file("zstd", false), zstd_file("zstd with a checksum", true)];
    for file in [plain_file(), gzip_file(), frames_file()].into_iter().chain(single) {
        let len = file.bytes.len();
        let around = file.flushed.iter().flat_map(|(at, _)| [at - 1, *at, at + 1]);
        let anywhere = (0..41).map(|n| 12 + n * (len - 12) / 41);
        for cut in around.chain(anywhere).filter(|cut| *cut < len) {
            let (numbers, told) = read_cut(&file.bytes[..cut]);
            let flushed = file.flushed.iter().rfind(|(at, _)| *at <= cut).map_or(0, |it| it.1);
            let place = format!("{}, {cut} of {len}", file.name);
            assert!(flushed <= numbers.len() as u64, "{place}: {flushed} > {}", numbers.len());
            assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{place}: {numbers:?}");
            let is_seen = !file.ends.contains(&cut);
            assert_eq!(told.truncated, u64::from(is_seen), "{place}");
        }
        let (numbers, told) = read_cut(&file.bytes);
        assert_eq!((numbers.len() as u64, told.truncated), (LINES, 0), "{}", file.name);
    }
}
