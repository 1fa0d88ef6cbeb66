//! The file: tables of an embedded store, one commit a batch.
//!
//! Each value is JSON beside the time by which it is aged. Commits are in two phases, each synced:
//! so the newest one, once acknowledged, is either whole or known to be damaged, and never quietly
//! replaced by the one before. All checksums are verified whenever the file is opened.

use super::ages::Ages;
use super::directory::Directory;
use super::form::{self, Unreadable};
use super::{Numbered, OpenError};
use crate::engine::EVENTS_MAX;
use crate::policy::{VERSIONS_LEN_MAX, VERSIONS_MAX};
use crate::record::{CommandRecord, Record, Restored};
use fusebox_proto::Now;
use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    Table, TableDefinition, WriteTransaction,
};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// By id.
const INCIDENTS: TableDefinition<&str, (u64, &str)> = TableDefinition::new("incidents");
/// In the order in which they were written.
const EVENTS: TableDefinition<u64, (u64, &str)> = TableDefinition::new("events");
/// In the order in which they were written.
const COMMANDS: TableDefinition<u64, (u64, &str)> = TableDefinition::new("commands");
/// By edge; the time is that of their end.
const WISHES: TableDefinition<&str, (u64, &str)> = TableDefinition::new("wishes");
/// By number.
const POLICIES: TableDefinition<u64, (u64, &str)> = TableDefinition::new("policies");
/// By edge, service, or part of an edge.
const BASELINES: TableDefinition<&str, (u64, &str)> = TableDefinition::new("baselines");
/// Single figures.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The layout of the tables.
const META_VERSION: &str = "version";
/// The highest revision that was issued, or heard of.
const META_REVISION: &str = "revision";
/// When the last record was written, Unix time in milliseconds.
const META_LAST: &str = "last_unix_ms";

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Incidents that are kept: a busy year of three a day, some 8 MB.
const INCIDENTS_KEPT_MAX: usize = 1_000;
/// For so long they may be asked about: a yearly review, and a month.
const INCIDENTS_AGE_MS_MAX: u64 = 400 * DAY_MS;
/// Events that are kept, some 3 MB: what led to an incident, not an archive.
const EVENTS_KEPT_MAX: u64 = 10_000;
/// Older events explain nothing any more.
const EVENTS_AGE_MS_MAX: u64 = 30 * DAY_MS;
/// Commands and what came of them, some 10 MB: more than operators do in a year.
const COMMANDS_KEPT_MAX: u64 = 20_000;
/// As for incidents: they belong together.
const COMMANDS_AGE_MS_MAX: u64 = INCIDENTS_AGE_MS_MAX;
/// Edges and services whose usual figures are kept; each has some 10 kB.
const BASELINES_KEPT_MAX: usize = 16_384;
/// So many routes and subsets besides: however many there are, no edge goes for them.
const PARTS_KEPT_MAX: usize = 4_096;
/// Nothing is as it was five weeks ago: four tell of the hours of the week.
const BASELINES_AGE_MS_MAX: u64 = 35 * DAY_MS;
/// What is too old is looked for this often; what is too much, at every commit.
const AGE_INTERVAL_MS: u64 = HOUR_MS;

/// Memory for pages; the file is small.
const CACHE_LEN: usize = 4 * 1024 * 1024;

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    db: Database,
    aged_unix_ms: u64,
    ages: NamedAges,
}

/// The ages of what is kept by name.
#[derive(Debug, Default)]
struct NamedAges {
    incidents: Ages,
    /// Of edges and services.
    baselines: Ages,
    /// What is usual of routes and subsets: in the same table, with a bound of their own.
    parts: Ages,
}

impl NamedAges {
    fn note_baseline(&mut self, key: &str, at_unix_ms: u64) {
        let ages = if form::is_part(key) { &mut self.parts } else { &mut self.baselines };
        ages.note(key, at_unix_ms);
    }
}

/// What is wrong with a file.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not what was written.
    Damaged(String),
    /// It is of a version that only a later program knows.
    Later(String),
    /// The system refuses; the file may be whole.
    Io(io::Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(error) => match error.kind() {
                // So redb names a file that is no database, or ends too early.
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Self::Damaged(error.to_string())
                }
                _ => Self::Io(error),
            },
            redb::Error::Corrupted(reason) => Self::Damaged(reason),
            error @ redb::Error::UpgradeRequired(_) => Self::Later(error.to_string()),
            error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_)) => {
                Self::Later(error.to_string())
            }
            error => Self::Io(io::Error::other(error)),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(reason) | Self::Later(reason) => f.write_str(reason),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// A history that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// To write into.
    pub(super) file: File,
    /// What it held.
    pub(super) restored: Restored,
    /// What became of the file that was there before, if it was damaged.
    pub(super) damage: Option<String>,
}

/// Opens the history of a directory and reads it. A damaged file is moved aside, and a new one
/// begun.
pub(super) fn open_or_begin(directory: &Directory, now: Now) -> Result<Opened, OpenError> {
    let path = directory.file();
    let unusable = |verb| {
        let path = directory.path().to_owned();
        move |source| OpenError::Unusable { path, verb, source }
    };
    let mut damage = None;
    if path.try_exists().map_err(unusable("read"))? {
        match open_and_read(&path, now) {
            Ok((file, restored)) => return Ok(Opened { file, restored, damage }),
            Err(Fault::Io(error)) => return Err(unusable("read")(error)),
            Err(Fault::Later(reason)) => return Err(OpenError::Later { path, reason }),
            Err(Fault::Damaged(reason)) => {
                let aside = directory.put_aside(now).map_err(unusable("written"))?;
                tracing::error!(path = %path.display(), reason, aside, "the history was damaged");
                damage = Some(format!(
                    "the history was damaged and begins anew; it is kept as {aside}: {reason}"
                ));
            }
        }
    }
    let (file, restored) = begin(directory, now).map_err(unusable("written"))?;
    Ok(Opened { file, restored, damage })
}

fn begin(directory: &Directory, now: Now) -> io::Result<(File, Restored)> {
    let failed = |fault: Fault| io::Error::other(fault.to_string());
    let path = directory.new_file()?;
    let mut file = open(&path).map_err(failed)?;
    file.write(now.unix_ms, &[]).map_err(failed)?;
    drop(file);
    directory.adopt()?;
    open_and_read(&directory.file(), now).map_err(failed)
}

fn open_and_read(path: &Path, now: Now) -> Result<(File, Restored), Fault> {
    // The store promises errors for whatever is in the file, not panics; a file that breaks the
    // promise is damaged all the same, and must not keep the collector from starting.
    catch_unwind(AssertUnwindSafe(|| {
        if std::fs::metadata(path).map_err(Fault::Io)?.len() == 0 {
            return Err(Fault::Damaged("it is empty".to_owned()));
        }
        let mut file = open(path)?;
        let restored = file.read(now)?;
        Ok((file, restored))
    }))
    .unwrap_or_else(|_| Err(Fault::Damaged("it cannot be read".to_owned())))
}

fn open(path: &Path) -> Result<File, Fault> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_LEN).set_check_integrity_on_open(true);
    Ok(File { db: builder.create(path)?, aged_unix_ms: 0, ages: NamedAges::default() })
}

impl File {
    /// Writes records in one commit, which is on disk when this returns. After a failure the file is to
    /// be opened anew: the ages are not those on disk.
    pub(super) fn write(&mut self, at_unix_ms: u64, batch: &[Numbered]) -> Result<(), Fault> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_two_phase_commit(true);
        let is_aging = self.aged_unix_ms.saturating_add(AGE_INTERVAL_MS) <= at_unix_ms;
        write_batch(&transaction, at_unix_ms, batch, &mut self.ages)?;
        prune(&transaction, at_unix_ms, is_aging)?;
        prune_named(&transaction, at_unix_ms, &mut self.ages)?;
        transaction.commit()?;
        if is_aging {
            self.aged_unix_ms = at_unix_ms;
        }
        Ok(())
    }

    fn read(&mut self, now: Now) -> Result<Restored, Fault> {
        let transaction = self.db.begin_read()?;
        let meta = transaction.open_table(META)?;
        let figure = |name| Ok::<_, Fault>(meta.get(name)?.map(|value| value.value()));
        match figure(META_VERSION)? {
            Some(version) if version == u64::from(form::VERSION) => (),
            Some(version) => return Err(later(version)),
            None => return Err(Fault::Damaged("it does not say its version".to_owned())),
        }
        let mut restored = Restored {
            revision: figure(META_REVISION)?.unwrap_or(0),
            last_unix_ms: figure(META_LAST)?.unwrap_or(0),
            ..Restored::default()
        };
        let mut broken = 0;
        for entry in transaction.open_table(INCIDENTS)?.iter()? {
            let (id, value) = entry?;
            let (at_unix_ms, text) = value.value();
            self.ages.incidents.note(id.value(), at_unix_ms);
            take(&mut restored.incidents, &mut broken, form::read_incident(text))?;
        }
        for entry in transaction.open_table(EVENTS)?.iter()?.rev().take(EVENTS_MAX) {
            take(&mut restored.events, &mut broken, form::read_event(entry?.1.value().1))?;
        }
        restored.events.reverse();
        for entry in transaction.open_table(WISHES)?.iter()? {
            let (_, value) = entry?;
            let (ends_unix_ms, text) = value.value();
            if now.unix_ms < ends_unix_ms {
                take(&mut restored.wishes, &mut broken, form::read_wish(text))?;
            }
        }
        if let Some(policies) = if_any(transaction.open_table(POLICIES))? {
            for entry in policies.iter()? {
                let policy = form::read_policy(entry?.1.value().1);
                take(&mut restored.policies, &mut broken, policy)?;
            }
        }
        if let Some(baselines) = if_any(transaction.open_table(BASELINES))? {
            for entry in baselines.iter()? {
                let (key, value) = entry?;
                let (at_unix_ms, text) = value.value();
                self.ages.note_baseline(key.value(), at_unix_ms);
                take(&mut restored.baselines, &mut broken, form::read_baseline(text))?;
            }
        }
        if 0 < broken {
            restored.notes.push(format!("{broken} records of the history cannot be read"));
        }
        Ok(restored)
    }
}

/// A table that a file has only once there is something for it.
fn if_any<T>(table: Result<T, redb::TableError>) -> Result<Option<T>, Fault> {
    match table {
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

fn later(version: u64) -> Fault {
    let known = form::VERSION;
    Fault::Later(format!("is of version {version}; this program reads version {known}"))
}

fn take<T>(list: &mut Vec<T>, broken: &mut u64, read: Result<T, Unreadable>) -> Result<(), Fault> {
    match read {
        Ok(record) => list.push(record),
        Err(Unreadable::Later(version)) => return Err(later(version)),
        Err(Unreadable::Broken) => *broken += 1,
    }
    Ok(())
}

fn write_batch(
    transaction: &WriteTransaction,
    at_unix_ms: u64,
    batch: &[Numbered],
    ages: &mut NamedAges,
) -> Result<(), Fault> {
    let mut meta = transaction.open_table(META)?;
    let mut incidents = transaction.open_table(INCIDENTS)?;
    let mut events = transaction.open_table(EVENTS)?;
    let mut commands = transaction.open_table(COMMANDS)?;
    let mut wishes = transaction.open_table(WISHES)?;
    meta.insert(META_VERSION, u64::from(form::VERSION))?;
    meta.insert(META_LAST, at_unix_ms)?;
    for Numbered { at_unix_ms, record, .. } in batch {
        match record {
            Record::Incident(incident) => {
                let text = form::write_incident(incident);
                incidents.insert(&*incident.view.id, (*at_unix_ms, &*text))?;
                ages.incidents.note(&incident.view.id, *at_unix_ms);
            }
            Record::Event(event) => append(&mut events, *at_unix_ms, &form::write_event(event))?,
            Record::Command(command) => {
                append(&mut commands, *at_unix_ms, &form::write_command(command))?;
                if let CommandRecord::Asked { command, .. } = command {
                    raise(&mut meta, META_REVISION, command.revision)?;
                }
            }
            Record::Wish(wish) => {
                let (key, text) = (form::edge_key(&wish.edge), form::write_wish(wish));
                wishes.insert(&*key, (wish.ends_unix_ms, &*text))?;
                raise(&mut meta, META_REVISION, wish.command.revision)?;
            }
            Record::Unwished(edge) => {
                wishes.remove(&*form::edge_key(edge))?;
            }
            Record::Policy(policy) => {
                let mut policies = transaction.open_table(POLICIES)?;
                let text = form::write_policy(policy);
                policies.insert(policy.number, (*at_unix_ms, &*text))?;
                prune_policies(&mut policies)?;
            }
            Record::Baseline(baseline) => {
                let (key, text) =
                    (form::subject_key(&baseline.subject), form::write_baseline(baseline));
                let mut baselines = transaction.open_table(BASELINES)?;
                baselines.insert(&*key, (*at_unix_ms, &*text))?;
                ages.note_baseline(&key, *at_unix_ms);
            }
            Record::Revision(revision) => raise(&mut meta, META_REVISION, *revision)?,
        }
    }
    Ok(())
}

/// Lets go of the oldest versions, as the engine does.
fn prune_policies(policies: &mut Table<'_, u64, (u64, &str)>) -> Result<(), Fault> {
    let mut len = 0;
    for entry in policies.iter()? {
        len += entry?.1.value().1.len();
    }
    while 1 < policies.len()? && ((VERSIONS_MAX as u64) < policies.len()? || VERSIONS_LEN_MAX < len)
    {
        len -= policies.pop_first()?.map_or(0, |(_, value)| value.value().1.len());
    }
    Ok(())
}

fn append(table: &mut Table<'_, u64, (u64, &str)>, at: u64, text: &str) -> Result<(), Fault> {
    let next = table.last()?.map_or(0, |(last, _)| last.value()) + 1;
    table.insert(next, (at, text))?;
    Ok(())
}

fn raise(meta: &mut Table<'_, &str, u64>, name: &str, to: u64) -> Result<(), Fault> {
    let now = meta.get(name)?.map_or(0, |value| value.value());
    if now < to {
        meta.insert(name, to)?;
    }
    Ok(())
}

/// Takes out what is too much, and at times what is too old.
fn prune(transaction: &WriteTransaction, now_ms: u64, is_aging: bool) -> Result<(), Fault> {
    let lists = [
        (EVENTS, EVENTS_KEPT_MAX, EVENTS_AGE_MS_MAX),
        (COMMANDS, COMMANDS_KEPT_MAX, COMMANDS_AGE_MS_MAX),
    ];
    for (definition, count_max, age_ms_max) in lists {
        let mut table = transaction.open_table(definition)?;
        while count_max < table.len()? {
            table.pop_first()?;
        }
        if is_aging {
            table.retain(|_, (at, _)| now_ms.saturating_sub(at) < age_ms_max)?;
        }
    }
    if is_aging {
        transaction.open_table(WISHES)?.retain(|_, (ends, _)| now_ms < ends)?;
    }
    Ok(())
}

/// Takes out what is too much or too old of what is kept by name.
fn prune_named(
    transaction: &WriteTransaction,
    now_ms: u64,
    ages: &mut NamedAges,
) -> Result<(), Fault> {
    let named = [
        (INCIDENTS, &mut ages.incidents, INCIDENTS_KEPT_MAX, INCIDENTS_AGE_MS_MAX),
        (BASELINES, &mut ages.baselines, BASELINES_KEPT_MAX, BASELINES_AGE_MS_MAX),
        (BASELINES, &mut ages.parts, PARTS_KEPT_MAX, BASELINES_AGE_MS_MAX),
    ];
    for (definition, ages, count_max, age_ms_max) in named {
        let from_unix_ms = now_ms.saturating_sub(age_ms_max - 1);
        let mut table = transaction.open_table(definition)?;
        while let Some(name) = ages.pop_surplus(count_max, from_unix_ms) {
            table.remove(&*name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
impl File {
    /// How many events there are, and what the oldest and newest say.
    pub(super) fn events(&self) -> (u64, u64, u64) {
        let transaction = self.db.begin_read().unwrap();
        let table = transaction.open_table(EVENTS).unwrap();
        let number = |text: &str| form::read_event(text).unwrap().text.parse().unwrap();
        let (first, last) = (table.first().unwrap().unwrap(), table.last().unwrap().unwrap());
        (table.len().unwrap(), number(first.1.value().1), number(last.1.value().1))
    }
}
