//! Opening the database: a new one, one that was closed in order, one that was not, one that is damaged.
//!
//! A damaged file is never deleted and never written to: it is set aside under another name and a new one is begun.
//! What that costs stands in the ledger.

use super::age::{self, Age};
use super::commit::Due;
use super::config::Config;
use super::draft::{Extra, RUNNING, Running};
use super::held::{self, Held};
use super::series::SeriesMap;
use super::streams::{BlockMeta, Core, Stream};
use super::transact::kind_number;
use super::writer::{WriteError, Writer};
use super::{blocks, lanes, schema};
use rusqlite::{Connection, OptionalExtension, Row};
use skerry_model::Now;
use skerry_model::{Epoch, Labels, LossEntry, LossReason, Seq, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{MESSAGE_BYTES_MAX, codec};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The config has faults.
    #[error("the store's config cannot be used: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The folder or a file in it cannot be made or written.
    #[error("cannot open {} for writing; the folder must exist, belong to the agent's user and have room", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another process; stop the other agent, or give this one its own database", .path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file is a database, but not of this program.
    #[error("{} is a database of another program; name another file or move it away", .path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer agent has written it.
    #[error(
        "{} was written by a newer agent (tables version {found}, this one knows {}); install that version again, or move the file away to begin anew", .path.display(), schema::VERSION
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Version of its tables.
        found: i64,
    },
    /// SQLite failed, though not for damage to the file.
    #[error("cannot open {}; check the file's owner and mode, the file system and its device", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// The writer's thread could not be started.
    #[error("cannot start the store's thread; the system is out of memory, threads or file descriptors")]
    Thread {
        /// The system's word.
        source: std::io::Error,
    },
    /// The start could not be written down.
    #[error("cannot begin to write")]
    Begin(#[source] WriteError),
}

/// What a start finds.
#[derive(Debug)]
pub struct Restored {
    /// Positions of the log inputs, by key.
    pub positions: Vec<(String, Vec<u8>)>,
    /// Whether the run before ended in order. True for a new database.
    pub clean: bool,
    /// Where a damaged database was set aside, if one was found.
    pub replaced: Option<PathBuf>,
}

enum Trouble {
    Corrupt,
    Other(OpenError),
}

struct Found {
    db: Connection,
    streams: Vec<Stream>,
    series: SeriesMap,
    silent: Vec<SeriesId>,
    positions: Vec<(String, Vec<u8>)>,
    running_since: Option<UnixMillis>,
    age: Option<Vec<u8>>,
    held: Option<Vec<u8>>,
}

/// The path with something added to its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Writer {
    /// Opens the database at `path`, making it and its folder where there are none. `random` gives 64 random bits
    /// for each new epoch.
    ///
    /// # Errors
    /// [`OpenError`]. Damage to the file is none: it is set aside and said in [`Restored::replaced`].
    pub fn open(
        path: &Path,
        config: Config,
        now: Now,
        mut random: impl FnMut() -> u64,
    ) -> Result<(Self, Restored), OpenError> {
        let faults = config.validate();
        if !faults.is_empty() {
            return Err(OpenError::Config(faults));
        }
        let lock = lock(path)?;
        let (found, replaced) = match find(path, &config) {
            Ok(found) => (found, None),
            Err(Trouble::Other(error)) => return Err(error),
            Err(Trouble::Corrupt) => {
                let aside = set_aside(path, now.wall)?;
                let found = find(path, &config).map_err(|trouble| match trouble {
                    Trouble::Other(error) => error,
                    Trouble::Corrupt => OpenError::Foreign { path: path.to_owned() },
                })?;
                (found, Some(aside))
            }
        };
        let clean = found.running_since.is_none() && replaced.is_none();
        let Found { db, streams, series, silent, positions, running_since, age, held } = found;
        let mut writer = Self::assemble(db, lock, path.to_owned(), config, streams, series, now);
        writer.retired = silent;
        writer.age = Age::begin(age.as_deref(), now);
        if let Some(since) = running_since {
            writer.after_crash(since, now);
        }
        if replaced.is_some() {
            for stream in StreamKind::ALL {
                let range = TimeRange { from: UnixMillis(0), to: now.wall };
                let (reason, source) = (LossReason::DatabaseReplaced, String::new());
                writer.record_loss(LossEntry { stream, reason, count: None, range, source }, now);
            }
        }
        writer.begin_epochs(&mut random);
        let events = &writer.streams[writer.current(StreamKind::Events)];
        writer.take_up(Held::open(path, events.epoch.0, held.as_deref()), now);
        writer.running = Running::Set(now.wall);
        match writer.commit(Due::ALL, Extra::default(), now) {
            Ok(()) => {}
            // The agent still measures and sends. Numbers given out now are in no database, so they need an epoch
            // that no later start goes on with.
            Err(WriteError::Full { .. }) => {
                let at = writer.current(StreamKind::Metrics);
                writer.streams[at].current = false;
                writer.begin_epochs(&mut random);
            }
            Err(error) => return Err(OpenError::Begin(error)),
        }
        Ok((writer, Restored { positions, clean, replaced }))
    }

    /// The run before ended without order: samples may have been sent that no block holds, so their numbers must
    /// never be given out again.
    fn after_crash(&mut self, since: UnixMillis, now: Now) {
        let metrics = self.streams.iter().filter(|stream| stream.kind == StreamKind::Metrics);
        let newest = metrics.filter_map(|stream| stream.blocks.back()).max_by_key(|block| block.id);
        let from = newest.map_or(since, |block| block.range.to.max(since));
        for stream in self.streams.iter_mut().filter(|s| s.kind == StreamKind::Metrics && s.current) {
            stream.current = false;
            stream.dirty = true;
            let held = stream.blocks.back().map(|block| block.last());
            let gone = stream.core.gone.last().map(|gone| gone.to);
            let acked = stream.core.acked.ranges().last().map(|(_, to)| Seq(*to));
            let last = held.into_iter().chain(gone).chain(acked).max();
            stream.core.next = last.map_or(Seq::FIRST, Seq::next);
        }
        self.record_loss(
            LossEntry {
                stream: StreamKind::Metrics,
                reason: LossReason::Crash,
                count: None,
                range: TimeRange { from, to: now.wall },
                source: String::new(),
            },
            now,
        );
    }

    fn begin_epochs(&mut self, random: &mut impl FnMut() -> u64) {
        for kind in StreamKind::ALL {
            if self.streams.iter().any(|stream| stream.kind == kind && stream.current) {
                continue;
            }
            let mut epoch = Epoch::from_random(random());
            while self.streams.iter().any(|stream| stream.epoch == epoch) {
                epoch = Epoch(epoch.0.wrapping_add(1) & (u64::MAX >> 1));
            }
            self.streams.push(Stream::new(kind, epoch, true, Core::new()));
        }
    }
}

/// How often the lock is asked for, and how long in between: half a second in all.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

fn lock(path: &Path) -> Result<File, OpenError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Unwritable { path, source }
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(unwritable(folder))?;
    }
    let name = beside(path, ".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(unwritable(&name))?;
    for tries in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            // A program that was just begun holds what was open here, until it has become itself: so the agent that was
            // killed in that moment holds the lock a little longer than it lives.
            Err(std::fs::TryLockError::WouldBlock) if tries < LOCK_TRIES => std::thread::sleep(LOCK_PAUSE),
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => return Err(OpenError::Unwritable { path: name, source }),
        }
    }
    Ok(file)
}

/// Renames a damaged database, with its log, to `NAME.corrupt-MILLISECONDS`. Only the newest such file is kept, so
/// that a failing device does not fill up with copies.
fn set_aside(path: &Path, now: UnixMillis) -> Result<PathBuf, OpenError> {
    let fail = |source| OpenError::Unwritable { path: path.to_owned(), source };
    let prefix = beside(Path::new(path.file_name().unwrap_or_default()), ".corrupt-").into_os_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(folder).map_err(fail)?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            std::fs::remove_file(entry.path()).map_err(fail)?;
        }
    }
    let aside = beside(path, &format!(".corrupt-{}", now.0));
    std::fs::rename(path, &aside).map_err(fail)?;
    for (suffix, keep) in [("-wal", true), ("-shm", false)] {
        let old = beside(path, suffix);
        let outcome = if keep { std::fs::rename(&old, beside(&aside, suffix)) } else { std::fs::remove_file(&old) };
        match outcome {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
    }
    Ok(aside)
}

fn find(path: &Path, config: &Config) -> Result<Found, Trouble> {
    let sort = |source: rusqlite::Error| match schema::is_corrupt(&source) {
        true => Trouble::Corrupt,
        false => Trouble::Other(OpenError::Database { path: path.to_owned(), source }),
    };
    let mut db = schema::open(path, config).map_err(sort)?;
    match schema::version(&db).map_err(sort)? {
        0 => {
            let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sort)?;
            if tables > 0 {
                return Err(Trouble::Other(OpenError::Foreign { path: path.to_owned() }));
            }
            schema::create(&mut db).map_err(sort)?;
        }
        schema::VERSION => {}
        found => return Err(Trouble::Other(OpenError::Newer { path: path.to_owned(), found })),
    }
    let own = |key: &str| -> Result<Option<Vec<u8>>, Trouble> {
        db.query_row("SELECT v FROM own WHERE k = ?1", [key], |row| row.get(0)).optional().map_err(sort)
    };
    let (running, age, held) = (own(RUNNING)?, own(age::KEY)?, own(held::KEY)?);
    // Reading all of it takes seconds on slow flash, so it is done only where there is reason for doubt.
    if running.is_some() && !schema::is_sound(&db).map_err(sort)? {
        return Err(Trouble::Corrupt);
    }
    let streams = read_streams(&db).map_err(sort)?;
    let (series, silent) = read_series(&db, config, &streams).map_err(sort)?;
    let positions = {
        let mut statement = db.prepare("SELECT k, v FROM position").map_err(sort)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sort)?;
        rows.collect::<Result<_, _>>().map_err(sort)?
    };
    let running_since = running.map(|bytes| UnixMillis(bytes.try_into().map_or(0, i64::from_le_bytes)));
    Ok(Found { db, streams, series, silent, positions, running_since, age, held })
}

fn kind_of(number: i64) -> Option<StreamKind> {
    StreamKind::ALL.into_iter().find(|kind| kind_number(*kind) == number)
}

fn read_streams(db: &Connection) -> rusqlite::Result<Vec<Stream>> {
    let mut streams: Vec<Stream> = Vec::new();
    let mut statement = db.prepare("SELECT kind, epoch, current, core FROM stream")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, epoch) = key(row, 0, 1)?;
        let bytes: Vec<u8> = row.get(3)?;
        let core: Core = codec::decode(&bytes, MESSAGE_BYTES_MAX).map_err(|error| invalid(3, error))?;
        let mut stream = Stream::new(kind, epoch, row.get(2)?, core);
        stream.dirty = false;
        streams.push(stream);
    }
    let mut statement =
        db.prepare("SELECT kind, epoch, id, first, rows, records, bytes, t0, t1, high FROM block ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, epoch) = key(row, 0, 1)?;
        let block = BlockMeta {
            id: row.get(2)?,
            first: Seq(natural(row, 3)?),
            rows: row.get::<_, u32>(4)?.max(1),
            records: row.get(5)?,
            bytes: row.get(6)?,
            range: TimeRange { from: UnixMillis(row.get(7)?), to: UnixMillis(row.get(8)?) },
            high: row.get::<_, Option<u32>>(9)?.map(SeriesId),
        };
        let at = streams.iter().position(|stream| stream.kind == kind && stream.epoch == epoch);
        let at = at.unwrap_or_else(|| {
            // History of an epoch that the fleet has completely.
            let mut stream = Stream::new(kind, epoch, false, Core::new());
            (stream.forgotten, stream.dirty) = (true, false);
            streams.push(stream);
            streams.len() - 1
        });
        streams[at].add(block);
    }
    let kept = match streams.iter().position(Stream::is_kept) {
        Some(at) => &mut streams[at],
        None => {
            streams.push(Stream::new(StreamKind::Logs, lanes::KEPT, false, Core::new()));
            streams.last_mut().expect("it was just pushed")
        }
    };
    // Nobody acknowledges it, and nobody knows its numbers.
    (kept.forgotten, kept.dirty) = (true, false);
    kept.core.next = kept.blocks.back().map_or(Seq::FIRST, |block| block.last().next());
    // Oldest epoch first, the current one last, as the outbox wants them.
    streams.sort_by_key(|stream| (stream.current, stream.blocks.front().map(|block| block.id)));
    Ok(streams)
}

fn key(row: &Row<'_>, kind: usize, epoch: usize) -> rusqlite::Result<(StreamKind, Epoch)> {
    let number: i64 = row.get(kind)?;
    let kind = kind_of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(kind, number))?;
    Ok((kind, Epoch(natural(row, epoch)?)))
}

fn natural(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn invalid(column: usize, error: codec::DecodeError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
}

/// Series of the newest block are taken to be active, whatever epoch it is of: a run may end before its first one is written.
/// The others are silent; those not marked so are returned.
fn read_series(db: &Connection, config: &Config, streams: &[Stream]) -> rusqlite::Result<(SeriesMap, Vec<SeriesId>)> {
    let highest: u32 = db.query_row("SELECT ifnull(max(id), 0) FROM series", [], |row| row.get(0))?;
    let metrics = streams.iter().filter(|stream| stream.kind == StreamKind::Metrics);
    let mut active: BTreeSet<SeriesId> = BTreeSet::new();
    if let Some(block) = metrics.filter_map(|stream| stream.blocks.back()).max_by_key(|block| block.id) {
        let body: Vec<u8> = db.query_row("SELECT body FROM block WHERE id = ?1", [block.id], |row| row.get(0))?;
        if let Ok(block) = blocks::read_metrics(&body) {
            active.extend(block.columns.iter().map(|column| column.series));
        }
    }
    let (mut known, mut silent) = (Vec::new(), Vec::new());
    let mut statement = db.prepare("SELECT id, labels FROM series WHERE last IS NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = SeriesId(row.get(0)?);
        let labels: Vec<u8> = row.get(1)?;
        match codec::decode::<Labels>(&labels, MESSAGE_BYTES_MAX) {
            Ok(labels) if active.contains(&id) => known.push((id, labels)),
            _ => silent.push(id),
        }
    }
    Ok((SeriesMap::new(config.max_series as usize, highest, known), silent))
}
