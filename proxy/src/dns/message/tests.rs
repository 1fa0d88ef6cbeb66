//! Messages, right and wrong, byte by byte.

use super::*;
use proptest::prelude::*;

const ASK: Ask<'static> = Ask { id: 0x1234, name: "a.example", kind: Kind::A };

/// A response of these flags and counts, with the question and then `rest`.
fn response(flags: [u8; 2], counts: [u8; 3], rest: &[u8]) -> Vec<u8> {
    let [answers, authorities, additional] = counts;
    let header = [0x12, 0x34, flags[0], flags[1], 0, 1, 0, answers, 0, authorities, 0, additional];
    [&header[..], b"\x01a\x07example\0\0\x01\0\x01", rest].concat()
}

/// A record of the name at offset 12, that of the question.
fn record(kind: u8, class: u8, ttl: [u8; 4], data: &[u8]) -> Vec<u8> {
    [&[0xc0, 12, 0, kind, 0, class], &ttl[..], &[0, data.len() as u8], data].concat()
}

/// Scenario: a question as it is sent.
/// Guarantees: it is what RFC 1035 says, byte by byte: recursion is desired, one question, class IN.
#[test]
fn the_question() {
    let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    assert_eq!(ASK.message().unwrap(), expected);
    let ask = Ask { kind: Kind::Srv, ..ASK };
    assert_eq!(ask.message().unwrap()[23..], [0, 33, 0, 1][..]);
}

/// Scenario: responses of each kind: addresses, of another class, behind an alias, codes, cut off, and
/// such that are not ours or wrong.
/// Guarantees: only what answers the question counts; the TTL is the smallest of what was used, and 0
/// with its highest bit set; what is not the answer is foreign, and what is ours and wrong malformed.
#[test]
fn replies() {
    let ok = [0x81, 0x80];
    let one = record(1, 1, [0, 0, 0, 60], &[10, 0, 0, 1]);
    let two = record(1, 1, [0, 0, 0, 9], &[10, 0, 0, 2]);
    let records = |lasts: &[u8], ttl_s| {
        let addresses = lasts.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect();
        Reply::Records(Records { addresses, services: Vec::new(), ttl_s })
    };
    let check = |bytes: &[u8], expected: Reply| assert_eq!(ASK.read(bytes), expected, "{bytes:?}");
    check(&response(ok, [2, 0, 0], &[one.clone(), two.clone()].concat()), records(&[1, 2], 9));
    check(&response(ok, [0, 0, 0], &[]), records(&[], u32::MAX));
    let chaos = record(1, 3, [0, 0, 0, 1], &[10, 0, 0, 3]);
    check(&response(ok, [2, 0, 0], &[one.clone(), chaos].concat()), records(&[1], 60));
    let alias = record(5, 1, [0, 0, 0, 5], b"\x01b\xc0\x0e");
    let there = [b"\x01b\xc0\x0e\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x04".to_vec(), alias].concat();
    check(&response(ok, [2, 0, 0], &there), records(&[4], 5));
    let forever = record(1, 1, [0x80, 0, 0, 1], &[10, 0, 0, 5]);
    check(&response(ok, [1, 0, 0], &forever), records(&[5], 0));
    check(&response(ok, [0, 1, 0], &one), records(&[], u32::MAX));

    check(&response([0x81, 0x83], [0; 3], &[]), Reply::NoSuchName);
    check(&response([0x81, 0x82], [0; 3], &[]), Reply::Refused("SERVFAIL"));
    check(&response([0x81, 0x85], [0; 3], &[]), Reply::Refused("REFUSED"));
    check(b"\x12\x34\x81\x81\0\0\0\0\0\0\0\0", Reply::Refused("FORMERR"));
    check(&response([0x83, 0x80], [9, 0, 0], b"\x01"), Reply::Truncated);

    check(b"", Reply::Foreign);
    check(&response([0x01, 0x80], [1, 0, 0], &one), Reply::Foreign);
    let mut other = response(ok, [1, 0, 0], &one);
    other[1] += 1;
    check(&other, Reply::Foreign);
    other = response(ok, [1, 0, 0], &one);
    other[13] = b'b';
    check(&other, Reply::Foreign);
    check(b"\x12\x34\x81\x80\0\0\0\0\0\0\0\0", Reply::Foreign);
    check(&response(ok, [1, 0, 0], b""), Reply::Malformed);
    check(&response(ok, [1, 0, 0], &[0xc0; 40]), Reply::Malformed);
    check(b"\x12\x34\x81\x80\xff\xff\xff\xff\xff\xff\xff\xff", Reply::Malformed);
    assert_eq!(
        Ask { name: "A.Example", ..ASK }.read(&response(ok, [1, 0, 0], &one)),
        records(&[1], 60)
    );
}

/// Scenario: aliases in a ring, and a chain longer than servers make.
/// Guarantees: it ends, and there are no addresses.
#[test]
fn aliases_end() {
    let ring = record(5, 1, [0, 0, 0, 5], &[0xc0, 12]);
    let Reply::Records(records) = ASK.read(&response([0x81, 0x80], [1, 0, 0], &ring)) else {
        panic!()
    };
    assert_eq!((records.addresses, records.ttl_s), (Vec::new(), 5));
}

proptest! {
    /// Scenario: any bytes behind the right beginning, and right messages with bytes changed or cut.
    /// Guarantees: no panic, and never more addresses than there are records.
    #[test]
    fn noise(
        counts in any::<[u8; 3]>(),
        rest in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        ASK.read(&response([0x81, 0x80], counts, &rest));
        let one = record(1, 1, [0, 0, 0, 60], &[10, 0, 0, 1]);
        let alias = record(5, 1, [0, 0, 0, 5], b"\x01b\xc0\x0e");
        let mut bytes = response([0x81, 0x80], [1, 1, 1], &[one.clone(), alias, one].concat());
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at.index(len)] = byte;
        }
        bytes.truncate(len.index(bytes.len() + 1));
        if let Reply::Records(records) = ASK.read(&bytes) {
            prop_assert!(records.addresses.len() <= 3);
        }
    }
}
