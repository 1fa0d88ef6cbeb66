use super::*;
use crate::samples::{read as sample, samples};
use crate::spans::Span;
use std::io::Write as _;

mod cut;

/// A line of OTLP JSON with one span of this id.
fn line(id: u8) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"cart"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"00000000000000{id:02x}","name":"GET /cart","kind":2,"startTimeUnixNano":"1800000000000001000","endTimeUnixNano":"1800000000002001000"}}]}}]}}]}}"#
    )
}

/// The same span as Jaeger tells it.
fn jaeger() -> String {
    r#"{"data":[{"traceID":"5b8efff798038103d269b633813fc60c","spans":[{"traceID":"5b8efff798038103d269b633813fc60c","spanID":"1","operationName":"GET /cart","references":[],"startTime":1800000000000001,"duration":2000,"tags":[{"key":"span.kind","type":"string","value":"server"}],"logs":[],"processID":"p1"}],"processes":{"p1":{"serviceName":"cart","tags":[]}}}],"total":0,"limit":0,"offset":0,"errors":null}"#.into()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(plain).unwrap();
    packer.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 1).unwrap()
}

/// Writes a file whose name says nothing, and reads it.
fn read_bytes(bytes: &[u8]) -> Result<(Vec<Span>, Told), ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, bytes).unwrap();
    let mut spans = Vec::new();
    let told = read(&path, &mut |batch| {
        spans.extend(batch.spans);
        ControlFlow::Continue(())
    })?;
    Ok((spans, told))
}

/// A protobuf field 1 that is never closed before its end.
fn delimited(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    prost::encoding::encode_varint(message.len() as u64, &mut framed);
    framed.extend_from_slice(message);
    framed
}

/// Scenario: one span as a line of OTLP, over many lines, with a byte order mark, among blank lines
/// and metrics, and as Jaeger tells it; each plain, gzipped, in two gzip members, and in zstd.
/// Guarantees: the content alone decides; each gives the same span.
#[test]
fn every_format_gives_the_same_span() {
    let wanted = read_bytes(line(1).as_bytes()).unwrap().0;
    assert_eq!((wanted.len(), wanted[0].operation.as_ref()), (1, "GET /cart"));
    let check = |text: &str, other: u64| {
        for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes()), zstd(text.as_bytes())] {
            let (spans, told) = read_bytes(&bytes).unwrap();
            assert_eq!(spans, wanted, "{text}");
            assert_eq!(told, Told { spans: 1, other, ..Told::default() }, "{text}");
        }
    };
    let one = line(1);
    check(&one, 0);
    check(&format!("{one}\n"), 0);
    check(&format!("\u{feff}{one}\r\n"), 0);
    check(&one.replace('{', "{\n"), 0);
    check(&format!("\n\n{one}\n\n{{\"resourceMetrics\":[]}}\n"), 1);
    check(&jaeger(), 0);
    check(&jaeger().replace(',', ",\n"), 0);
    let (first, second) = (format!("{}\n", line(1)), line(2));
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    assert_eq!(read_bytes(&members).unwrap().1.spans, 2);
    let frames = [zstd(first.as_bytes()), zstd(second.as_bytes())].concat();
    assert_eq!(read_bytes(&frames).unwrap().1.spans, 2);
}

/// Scenario: whole traces of real SDKs, in protobuf and in JSON over many lines.
/// Guarantees: the same spans; and twice as many where two requests follow with their lengths.
#[test]
fn protobuf_is_read_alone_and_with_lengths() {
    let Some(folder) = samples() else { return };
    for name in ["calm_checkout", "storm_multilayer_27", "envoy_retries_two_sidecars"] {
        let body = sample(&folder, &format!("traces/{name}.pb"));
        let (spans, _) = read_bytes(&body).unwrap();
        let (of_json, _) = read_bytes(&sample(&folder, &format!("traces/{name}.json"))).unwrap();
        assert_eq!(spans, of_json, "{name}");
        assert!(20 < spans.len(), "{name}");
        let twice = [delimited(&body), delimited(&body)].concat();
        assert_eq!(
            read_bytes(&zstd(&twice)).unwrap().0,
            [&spans[..], &spans[..]].concat(),
            "{name}"
        );
        let cut = &twice[..twice.len() - 9];
        let (spans, told) = read_bytes(cut).unwrap();
        assert_eq!((spans.len(), told.truncated), (of_json.len(), 1), "{name}");
    }
}

/// Scenario: files that end in the middle of a line, of a document, of a compressed stream.
/// Guarantees: what was whole is given, and the cut is told.
#[test]
fn a_cut_file_is_told() {
    let check = |bytes: &[u8], spans: u64| {
        let (_, told) = read_bytes(bytes).unwrap();
        assert_eq!((told.spans, told.truncated), (spans, 1));
    };
    let text = format!("{}\n{}", line(1), line(2));
    let cut = &text.as_bytes()[..text.len() - 20];
    check(cut, 1);
    check(&gzip(cut), 1);
    check(&zstd(cut), 1);
    check(&jaeger().as_bytes()[..jaeger().len() - 90], 0);
    let many = (1..200).map(line).collect::<Vec<_>>().join("\n");
    for packed in [gzip(many.as_bytes()), zstd(many.as_bytes())] {
        let (_, told) = read_bytes(&packed[..packed.len() - 12]).unwrap();
        assert_eq!(told.truncated, 1);
    }
}

/// Scenario: files that are no captures, or are damaged.
/// Guarantees: the file is named, the line where there is one, and what is allowed.
#[test]
fn what_is_no_capture_is_refused() {
    let check = |bytes: &[u8], says: &[&str]| {
        let error = read_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains("/capture"), "{error}");
        for word in says {
            assert!(error.contains(word), "{word} is not in {error}");
        }
    };
    check(b"", &["unknown format", "OTLP JSON lines, OTLP protobuf or Jaeger"]);
    check(b"time,service,duration\n1,2,3\n", &["unknown format", "gzip or zstd"]);
    check(&gzip(b"PK\x03\x04"), &["unknown format"]);
    let text = format!("{}\n{{\"resourceSpans\":7}}\n{}\n", line(1), line(2));
    check(text.as_bytes(), &["capture:2: ", "column 18", "OTLP JSON lines"]);
    check(format!("{}\nnonsense\n", line(1)).as_bytes(), &["capture:2: "]);
    check(b"{\"data\":7}", &["capture: ", "Jaeger"]);
    let mut damaged = zstd(text.repeat(50).as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    damaged[middle + 1] ^= 0xff;
    let error = read_bytes(&damaged).map(|(_, told)| told);
    assert!(error.is_err(), "{error:?}");
    check(&[b"\x0a\xff\xff\xff\x7f\x0a".as_slice(), &[0; 64]].concat(), &["capture:1: ", "longer"]);
    let missing = read(Path::new("no-such/capture"), &mut |_| ControlFlow::Continue(()));
    assert!(missing.unwrap_err().to_string().starts_with("no-such/capture: "));
}

/// Scenario: a line of more than 16 MiB after a short one.
/// Guarantees: it is refused by its number, with the limit.
#[test]
fn a_line_is_bounded() {
    let long = format!("{}\n{{\"a\":\"{}\"}}\n", line(1), "x".repeat(PART_LEN_MAX));
    let error = read_bytes(&zstd(long.as_bytes())).unwrap_err().to_string();
    assert!(error.contains("capture:2: ") && error.contains("16777216"), "{error}");
}

/// Scenario: somebody who wants no more after the first of many.
/// Guarantees: nothing more is read, and that is no error.
#[test]
fn reading_can_be_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, format!("{}\n{}\nnonsense\n", line(1), line(2))).unwrap();
    let told = read(&path, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(told.spans, 1);
}
