//! The history over real files: what comes back, what is refused, what damage does.

use super::directory::Directory;
use super::file::{self, Fault};
use super::*;
use crate::record::Subject;
use made::{baseline, edge, event, part, policy, records};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;

mod made;

const START_UNIX_MS: u64 = 1_700_056_800_000;

fn now() -> Now {
    Now { unix_ms: START_UNIX_MS, ..Now::read() }
}

/// What a history should give back, in the order of its tables.
fn expected(records: Vec<Record>) -> Restored {
    let mut restored = Restored { last_unix_ms: START_UNIX_MS, ..Restored::default() };
    for record in records {
        restored.apply(START_UNIX_MS, record);
    }
    restored.incidents.sort_by(|a, b| a.view.id.cmp(&b.view.id));
    restored.wishes.sort_by(|a, b| a.edge.cmp(&b.edge));
    restored
}

/// Writes records through the whole way, in one process's life.
fn live(path: &Path, records: Vec<Record>) -> Restored {
    let (restored, mut outbox, writer) = open(path, now()).expect("a history");
    let writer = std::thread::spawn(move || writer.run());
    let count = records.len() as u64;
    for (record, number) in records.into_iter().zip(1..) {
        let record = Numbered { number, at_unix_ms: START_UNIX_MS, record };
        outbox.send(record).expect("there is room");
    }
    let mut last = 0;
    while last < count {
        let Receipt { numbers, result } = outbox.receipts.blocking_recv().expect("a receipt");
        assert_eq!((*numbers.start(), result), (last + 1, Ok(())), "in order, without a gap");
        last = *numbers.end();
    }
    drop(outbox);
    writer.join().expect("it ends with its queue");
    restored
}

fn reopen(path: &Path) -> Restored {
    let mut restored = live(path, Vec::new());
    restored.wishes.sort_by(|a, b| a.edge.cmp(&b.edge));
    restored
}

/// Scenario: one record of each kind, written by one process and read by the next.
/// Guarantees: all of it comes back as it was; edges whose names run together stay apart.
#[test]
fn what_is_written_comes_back() {
    let folder = TempDir::new().unwrap();
    assert_eq!(live(folder.path(), records()), expected(Vec::new()));
    assert_eq!(reopen(folder.path()), expected(records()));
    assert_eq!(reopen(folder.path()), expected(records()), "reading changes nothing");
}

/// Scenario: wishes whose time is over when the next process starts.
/// Guarantees: they do not come back; the revisions that they had are not issued again.
#[test]
fn what_is_over_does_not_come_back() {
    let folder = TempDir::new().unwrap();
    live(folder.path(), records());
    let later = now().plus(Duration::from_mins(1));
    let (restored, ..) = open(folder.path(), later).unwrap();
    assert_eq!((restored.wishes, restored.revision), (Vec::new(), 99));
}

/// Scenario: a directory that is to be made, with parents.
/// Guarantees: nobody else can look into it.
#[test]
fn a_history_is_private() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state/fusebox");
    live(&path, records());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap().path();
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
}

/// Scenario: directories that cannot be used.
/// Guarantees: the error names the directory, what is wrong with it, and what to do.
#[test]
fn an_unusable_directory_is_named() {
    let folder = TempDir::new().unwrap();
    let check = |path: PathBuf, words: &[&str]| {
        let error = open(&path, now()).map(|_| ()).expect_err("unusable").to_string();
        for word in [&path.display().to_string(), "--data-dir", "--in-memory"] {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
        for word in words {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
    };
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    check(file.clone(), &["cannot be created", "exists"]);
    check(file.join("below"), &["cannot be created", "ot a directory"]);
    let busy = folder.path().join("busy");
    let held = open(&busy, now()).unwrap();
    let pid = format!("(process {})", std::process::id());
    check(busy.clone(), &["another collector", &pid]);
    drop(held);
    open(&busy, now()).expect("free again");

    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // Whoever may write everywhere cannot see this one.
    if fs::write(closed.join("probe"), "").is_err() {
        check(closed, &["cannot be written", "ermission denied"]);
    }
}

/// Scenario: a file that a later version wrote, as a whole or in one record.
/// Guarantees: it is refused, and left as it was.
#[test]
fn a_later_version_is_left_alone() {
    use redb::{Database, TableDefinition};
    let check = |change: fn(&redb::WriteTransaction)| {
        let folder = TempDir::new().unwrap();
        live(folder.path(), records());
        let path = folder.path().join("history.redb");
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
        drop(database);
        let error = open(folder.path(), now()).map(|_| ()).expect_err("refused");
        assert!(matches!(error, OpenError::Later { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("history.redb") && text.contains("version 2"), "{text}");
        assert!(path.exists());
    };
    check(|transaction| {
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
        transaction.open_table(meta).unwrap().insert("version", 2).unwrap();
    });
    check(|transaction| {
        let events: TableDefinition<'_, u64, (u64, &str)> = TableDefinition::new("events");
        let text = r#"{"v":2,"what":"only a later version knows"}"#;
        transaction.open_table(events).unwrap().insert(9, (START_UNIX_MS, text)).unwrap();
    });
}

/// Scenario: more events than are kept, and events that are too old.
/// Guarantees: the oldest go; the newest are what the next process begins with.
#[test]
fn a_history_is_bounded() {
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut file = file::open_or_begin(&directory, now()).unwrap().file;
    let batch = |from: u64, to: u64, at_unix_ms: u64| -> Vec<Numbered> {
        let numbered = |number| Numbered { number, at_unix_ms, record: event(&number.to_string()) };
        (from..to).map(numbered).collect()
    };
    file.write(START_UNIX_MS, &batch(0, 10_050, START_UNIX_MS)).unwrap();
    assert_eq!(file.events(), (10_000, 50, 10_049));
    let days = |n: u64| START_UNIX_MS + n * 86_400_000;
    file.write(days(29), &batch(10_050, 10_060, days(29))).unwrap();
    assert_eq!(file.events(), (10_000, 60, 10_059));
    file.write(days(31), &batch(10_060, 10_061, days(31))).unwrap();
    assert_eq!(file.events(), (11, 10_050, 10_060));
}

/// Scenario: what is usual of an edge, then of more routes than are kept, in several commits; the file
/// is opened anew before the last one.
/// Guarantees: of the routes the oldest go, whatever order they have by name; the edge stays.
#[test]
fn routes_push_no_edge_out() {
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let open = || file::open_or_begin(&directory, now()).unwrap();
    let mut file = open().file;
    let write = |file: &mut file::File, at: u64, records: Vec<Record>| {
        let at_unix_ms = START_UNIX_MS + at;
        let numbered = records.into_iter().map(|record| Numbered { number: 1, at_unix_ms, record });
        file.write(at_unix_ms, &numbered.collect::<Vec<_>>()).unwrap();
    };
    let route = |n: u64| baseline(part(&format!("r{:x}", n.reverse_bits()), ""), n);
    write(&mut file, 0, vec![baseline(edge("payment", "inventory"), 1)]);
    write(&mut file, 1, (0..10).map(route).collect());
    write(&mut file, 2, (10..4_096).map(route).collect());
    // It is known anew: others are older then.
    write(&mut file, 3, vec![route(0)]);
    drop(file);
    let mut file = open().file;
    write(&mut file, 4, (4_096..4_116).map(route).collect());
    drop(file);
    let kept = open().restored.baselines;
    let (edges, routes): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|kept| matches!(kept.subject, Subject::Edge(_)));
    assert_eq!((edges.len(), routes.len()), (1, 4_096));
    let mut numbers: Vec<u64> = routes.iter().map(|kept| kept.latency.usual.minutes).collect();
    numbers.sort_unstable();
    assert_eq!((numbers[0], numbers[4_095]), (0, 4_115));
    assert!(10 <= numbers[1], "what was written first goes first");
}

/// Scenario: more versions of the policy than are kept, by their count and by their size.
/// Guarantees: the oldest go; the newest stays, whatever it has.
#[test]
fn versions_are_bounded_on_disk() {
    let check = |count: u64, text_len: usize, expected: std::ops::RangeInclusive<u64>| {
        let folder = TempDir::new().unwrap();
        live(folder.path(), (1..=count).map(|number| policy(number, text_len)).collect());
        let restored = reopen(folder.path());
        let numbers: Vec<u64> = restored.policies.iter().map(|one| one.number).collect();
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    };
    check(3, 10, 1..=3);
    check(70, 10, 7..=70);
    check(3, 6 << 20, 2..=3);
    check(2, 17 << 20, 2..=2);
}

/// Scenario: more records than the disk takes.
/// Guarantees: nobody waits; the surplus is told at once, by number.
#[test]
fn a_full_queue_is_told_at_once() {
    let folder = TempDir::new().unwrap();
    let (_, outbox, _writer) = open(folder.path(), now()).unwrap();
    let send = |number: u64| {
        outbox.send(Numbered { number, at_unix_ms: START_UNIX_MS, record: event("x") })
    };
    assert!((0..RECORDS_MAX as u64).all(|number| send(number).is_ok()));
    let receipt = send(9_999).expect_err("full");
    assert_eq!(receipt.numbers, 9_999..=9_999);
    assert!(receipt.result.expect_err("not kept").contains("4096 records wait"));
}

fn damaged_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().contains("damaged-")).collect();
    files.sort();
    files
}

/// Damages a copy of a history, opens it, and looks what became of it.
fn check_damaged(damaged: &[u8], what: &str) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.redb");
    fs::write(&path, damaged).unwrap();
    let (mut restored, outbox, writer) = match open(folder.path(), now()) {
        Ok(opened) => opened,
        Err(error) => return Err(TestCaseError::fail(format!("{what}: {error}"))),
    };
    drop((outbox, writer));
    restored.wishes.sort_by(|a, b| a.edge.cmp(&b.edge));
    if restored == expected(records()) {
        return Ok(());
    }
    let [note] = &restored.notes[..] else {
        return Err(TestCaseError::fail(format!("{what}: lost without a word: {restored:#?}")));
    };
    prop_assert!(note.contains("damaged"), "{}", note);
    let [aside] = &damaged_files(folder.path())[..] else {
        return Err(TestCaseError::fail(format!("{what}: not one file aside")));
    };
    let name = aside.file_name().unwrap().to_string_lossy();
    prop_assert!(note.contains(&*name), "{}", note);
    prop_assert_eq!(fs::metadata(aside).unwrap().len(), damaged.len() as u64);
    let nothing = Restored { notes: restored.notes.clone(), ..expected(Vec::new()) };
    prop_assert_eq!(&restored, &nothing, "{}: neither whole nor empty", what);
    prop_assert!(damaged != &WHOLE[..] && damaged != &KILLED[..]);
    Ok(())
}

/// A history of everything, byte by byte, as a process leaves it that ends well.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    live(folder.path(), records());
    fs::read(folder.path().join("history.redb")).unwrap()
});

/// The same, as a process leaves it that is killed after its last commit.
static KILLED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut file = file::open_or_begin(&directory, now()).unwrap().file;
    for record in records() {
        let record = Numbered { number: 1, at_unix_ms: START_UNIX_MS, record };
        file.write(START_UNIX_MS, &[record]).unwrap();
    }
    fs::read(directory.file()).unwrap()
});

/// Scenario: a damaged file is found at the start; the collector lives, and is started again; six
/// times.
/// Guarantees: what begins anew is a history like any other; of the damaged files the newest four
/// are kept.
#[test]
fn what_begins_anew_is_a_history() {
    let folder = TempDir::new().unwrap();
    for life in 0..6 {
        fs::write(folder.path().join("history.redb"), "no history").unwrap();
        let at = now().plus(Duration::from_secs(life));
        drop(open(folder.path(), at).unwrap());
        live(folder.path(), records());
        assert_eq!(reopen(folder.path()), expected(records()));
    }
    let damaged = damaged_files(folder.path());
    let newest = format!("{:?}", damaged[3]);
    assert!(damaged.len() == 4 && newest.contains("2023-11-15T140005"), "{damaged:?}");
}

/// Scenario: bytes of the file's head flipped; the file cut at its borders; the file of a process
/// that was killed.
/// Guarantees: as for bytes anywhere, below.
#[test]
fn a_damaged_head_is_survived() {
    for at in (0..320).step_by(7) {
        let mut damaged = WHOLE.clone();
        damaged[at] ^= 0x10;
        check_damaged(&damaged, &format!("byte {at} flipped")).unwrap();
    }
    check_damaged(&WHOLE, "whole").unwrap();
    check_damaged(&KILLED, "killed").unwrap();
    for len in [0, 1, 63, 64, 320, 4_095, 4_096, 8_192, WHOLE.len() - 4_096, WHOLE.len() - 1] {
        check_damaged(&WHOLE[..len], &format!("cut at {len}")).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Scenario: a byte flipped, a run of bytes overwritten, or the end cut off, anywhere.
    /// Guarantees: the collector starts; what it knows is all that was written, or nothing, with a
    /// note that names the file that was put aside. Nothing is lost silently, nothing invented.
    #[test]
    fn a_damaged_file_is_told_and_survived(
        is_killed: bool, place in 0.0_f64..1.0, bits in 1_u8..=255, len in 1_usize..600, how in 0_u8..3,
    ) {
        let mut damaged = if is_killed { KILLED.clone() } else { WHOLE.clone() };
        // Much of the file is room that was never used.
        let used = damaged.len() - damaged.iter().rev().take_while(|byte| **byte == 0).count();
        let at = (place * used as f64) as usize;
        match how {
            0 => damaged[at] ^= bits,
            1 => damaged.iter_mut().skip(at).take(len).for_each(|byte| *byte ^= bits),
            _ => damaged.truncate(at),
        }
        check_damaged(&damaged, &format!("{how} at {at} of {used}"))?;
    }
}

/// Scenario: errors of the store.
/// Guarantees: only those that mean damage have a file moved aside.
#[test]
fn a_refusal_of_the_system_is_no_damage() {
    let check = |error: redb::Error, is_damage: bool| {
        let text = error.to_string();
        assert_eq!(matches!(Fault::from(error), Fault::Damaged(_)), is_damage, "{text}");
    };
    check(redb::Error::Corrupted("x".into()), true);
    check(redb::Error::Io(io::ErrorKind::InvalidData.into()), true);
    check(redb::Error::Io(io::ErrorKind::UnexpectedEof.into()), true);
    check(redb::Error::Io(io::ErrorKind::StorageFull.into()), false);
    check(redb::Error::Io(io::ErrorKind::PermissionDenied.into()), false);
    check(redb::Error::PreviousIo, false);
    check(redb::Error::UpgradeRequired(2), false);
}
