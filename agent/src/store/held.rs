//! What the disk does not take: a room that was set aside beforehand.
//!
//! A full disk gives no new pages, but what a file has can be written over. So beside the database lies a file of fixed
//! size. When events and the state that goes with them cannot be committed, all of them that wait are written there too;
//! whatever ends the process then, the next start takes them up as if they had waited in memory all the time.
//!
//! Two halves are written in turn, so that a stop in the middle of one leaves the other. Each holds a snapshot of all
//! that waits, under a serial number that rises. The commit that takes them in stores the number with them: a snapshot
//! with a number that was stored, or of another database, is old and means nothing. So nothing is taken up twice, and the
//! file is not touched while the disk takes what it is given.
//!
//! What does not fit, the oldest, is counted in the snapshot, and booked by the start that finds it. File systems that never write in
//! place (btrfs, UBIFS) may refuse here too: then memory is all there is, and a kill costs what waits.

use super::open::beside;
use super::transact::Change;
use rusqlite::{Connection, OptionalExtension};
use skerry_model::{TimeRange, UnixMillis};
use skerry_wire::{Event, codec};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Key of the number of the newest snapshot that was committed.
pub(super) const KEY: &str = "held";
/// Size of each half.
const HALF: usize = 256 << 10;
/// Before what each half holds: its mark, epoch, number, what is lost and when, lengths.
const HEADER: usize = 64;
/// Says that this is one of ours, and how it is written.
const MARK: &[u8; 8] = b"skerryh1";
/// Values of the state that are left out first where room is short: they remember much and promise nothing.
const LONG_BYTES: usize = 512;

/// The file, and what of it counts.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// None where there is none.
    file: Option<File>,
    /// Where it is to be made, until that was tried.
    missing: Option<PathBuf>,
    /// Which database it belongs to: the epoch of its events.
    epoch: u64,
    /// Number of the newest snapshot.
    serial: u64,
    /// Number of the newest that was committed.
    committed: u64,
    /// Events that found no room in memory, since the newest commit.
    lost: Lost,
}

/// Events of which nothing but their number is left, and their time.
pub(super) type Lost = Option<(u64, TimeRange)>;

/// What waited when it was written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    serial: u64,
    pub(super) events: Vec<Event>,
    pub(super) state: BTreeMap<String, Option<Vec<u8>>>,
    pub(super) lost: Lost,
}

/// One more event that is lost.
fn more(lost: Lost, event: &Event) -> Lost {
    let at = TimeRange::at(event.at);
    Some(lost.map_or((1, at), |(count, range)| (count + 1, range.cover(at))))
}

/// Name of the file.
fn name(database: &Path) -> PathBuf {
    beside(database, "-held")
}

impl Held {
    /// What the run before wrote there and did not commit. `stored`: value of [`KEY`].
    pub(super) fn open(database: &Path, epoch: u64, stored: Option<&[u8]>) -> (Self, Snapshot) {
        let path = name(database);
        let committed = number(stored);
        let file = File::options().read(true).write(true).open(&path).ok();
        let file = file.filter(|file| file.metadata().is_ok_and(|meta| meta.len() == 2 * HALF as u64));
        let found = file.as_ref().and_then(|file| read(file, epoch, committed)).unwrap_or_default();
        let missing = file.is_none().then_some(path);
        let held = Self { file, missing, epoch, serial: committed.max(found.serial), committed, lost: found.lost };
        (held, found)
    }

    /// Sets the room aside where there is none yet. It is tried once a run.
    pub(super) fn set_aside(&mut self) {
        let Some(path) = self.missing.take() else { return };
        match make(&path) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "no room could be set aside for what a full disk does not take");
                // Half of it helps nobody. Where it cannot be removed the next run tries again.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// The number that a commit of all that waits stores; `None` where it is there already.
    pub(super) fn unstored(&self) -> Option<Vec<u8>> {
        (self.serial > self.committed).then(|| self.serial.to_le_bytes().to_vec())
    }

    /// All that waited was committed.
    pub(super) fn committed(&mut self) {
        (self.committed, self.lost) = (self.serial, None);
    }

    /// An event found no room in memory. It is booked with the next commit, or by the start after a kill.
    pub(super) fn lose(&mut self, event: &Event) {
        self.lost = more(self.lost, event);
    }

    /// Writes down what waits.
    pub(super) fn write(&mut self, events: &[Event], state: &BTreeMap<String, Option<Vec<u8>>>) {
        let Some(file) = &self.file else { return };
        self.serial += 1;
        let bytes = encode(self.epoch, self.serial, events, state, self.lost);
        let at = (self.serial % 2) * HALF as u64;
        if let Err(error) = file.write_all_at(&bytes, at).and_then(|()| file.sync_data()) {
            tracing::warn!(%error, "the disk takes nothing, not even where room was set aside");
        }
    }
}

/// Changes of the state that wait in the file, for whoever reads a database that is not open.
pub(super) fn waiting(database: &Path, db: &Connection) -> rusqlite::Result<Vec<Change>> {
    let Ok(file) = File::open(name(database)) else { return Ok(Vec::new()) };
    let epoch = db.query_row("SELECT epoch FROM stream WHERE kind = 0 AND current", [], |row| row.get::<_, i64>(0));
    let Some(epoch) = epoch.optional()? else { return Ok(Vec::new()) };
    let stored = db.query_row("SELECT v FROM own WHERE k = ?1", [KEY], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let found = read(&file, epoch as u64, number(stored.as_deref()));
    Ok(found.map(|found| found.state.into_iter().collect()).unwrap_or_default())
}

fn number(stored: Option<&[u8]>) -> u64 {
    stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Makes the file, in its full size.
fn make(path: &Path) -> std::io::Result<File> {
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    for zeros in [vec![0; HALF], vec![0; HALF]] {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// The newest sound snapshot of this database that was not committed.
fn read(file: &File, epoch: u64, committed: u64) -> Option<Snapshot> {
    let half = |at: usize| {
        let mut bytes = vec![0; HALF];
        file.read_exact_at(&mut bytes, (at * HALF) as u64).ok()?;
        decode(&bytes, epoch).filter(|found| found.serial > committed)
    };
    half(0).into_iter().chain(half(1)).max_by_key(|found| found.serial)
}

fn encode(epoch: u64, serial: u64, events: &[Event], state: &BTreeMap<String, Option<Vec<u8>>>, lost: Lost) -> Vec<u8> {
    let (mut kept, mut longest) = (events.len(), Some(usize::MAX));
    loop {
        let mut body = Vec::new();
        for (key, value) in state {
            match value {
                _ if longest.is_none() => {}
                None => {
                    put(&mut body, key.as_bytes());
                    body.extend(u32::MAX.to_le_bytes());
                }
                Some(value) if Some(value.len()) <= longest => {
                    put(&mut body, key.as_bytes());
                    put(&mut body, value);
                }
                Some(_) => {}
            }
        }
        let state_bytes = body.len();
        let (oldest, newest) = events.split_at(events.len() - kept);
        body.extend(codec::encode(&newest));
        if HEADER + body.len() + 4 <= HALF {
            let lost = oldest.iter().fold(lost, more);
            let (count, range) = lost.unwrap_or((0, TimeRange::at(UnixMillis(0))));
            let mut bytes = MARK.to_vec();
            for word in [epoch, serial, count, range.from.0 as u64, range.to.0 as u64] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend((state_bytes as u64).to_le_bytes());
            bytes.extend((body.len() as u64).to_le_bytes());
            bytes.append(&mut body);
            bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
            return bytes;
        }
        match longest {
            Some(usize::MAX) => longest = Some(LONG_BYTES),
            _ if kept > 0 => kept /= 2,
            _ => longest = None,
        }
    }
}

fn put(body: &mut Vec<u8>, part: &[u8]) {
    body.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
    body.extend(part);
}

/// Takes the next part off; an outer `None` where there is none.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length);
    *rest = after;
    if length == u32::MAX {
        return Some(None);
    }
    let (part, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    Some(Some(part))
}

fn decode(bytes: &[u8], epoch: u64) -> Option<Snapshot> {
    let header = bytes.get(..HEADER)?;
    let word = |at: usize| header[8 * at..8 * at + 8].try_into().map(u64::from_le_bytes).ok();
    let (state_bytes, body_bytes) = (usize::try_from(word(6)?).ok()?, usize::try_from(word(7)?).ok()?);
    let end = HEADER.checked_add(body_bytes)?;
    let (sound, rest) = bytes.split_at_checked(end)?;
    if !header.starts_with(MARK) || word(1)? != epoch || *rest.first_chunk()? != crc32fast::hash(sound).to_le_bytes() {
        return None;
    }
    let (mut states, events) = sound[HEADER..].split_at_checked(state_bytes)?;
    let mut state = BTreeMap::new();
    while !states.is_empty() {
        let key = std::str::from_utf8(take(&mut states)??).ok()?.to_owned();
        state.insert(key, take(&mut states)?.map(<[u8]>::to_vec));
    }
    let range = TimeRange { from: UnixMillis(word(4)? as i64), to: UnixMillis(word(5)? as i64) };
    let lost = Some((word(3)?, range)).filter(|(count, _)| *count > 0);
    Some(Snapshot { serial: word(2)?, events: codec::decode(events, HALF).ok()?, state, lost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_wire::EventKind;

    fn event(at: i64, bytes: usize) -> Event {
        let kind = EventKind::CollectorFailed { collector: "c".into(), error: "x".repeat(bytes) };
        Event { at: UnixMillis(at), kind }
    }

    fn state(entries: &[(&str, Option<usize>)]) -> BTreeMap<String, Option<Vec<u8>>> {
        entries.iter().map(|(key, bytes)| ((*key).to_owned(), bytes.map(|bytes| vec![7; bytes]))).collect()
    }

    #[test]
    fn what_waits_comes_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (mut held, found) = Held::open(&path, 5, None);
        assert_eq!(found, Snapshot::default());
        assert_eq!(held.unstored(), None);
        held.set_aside();
        let (events, keys) = (vec![event(1, 9), event(2, 0)], state(&[("a", Some(600)), ("b", None), ("", Some(0))]));
        held.write(&events[..1], &keys);
        held.write(&events, &keys);
        let stored = held.unstored().unwrap();
        drop(held);
        let (held, found) = Held::open(&path, 5, None);
        assert_eq!((&found.events, &found.state, found.lost), (&events, &keys, None));
        assert_eq!(held.unstored().as_ref(), Some(&stored), "it is still to be committed");
        let (mut held, found) = Held::open(&path, 5, Some(&stored));
        assert_eq!((found, held.unstored()), (Snapshot::default(), None));
        // A later one follows.
        held.write(&events[..1], &BTreeMap::new());
        assert_eq!(Held::open(&path, 5, Some(&stored)).1.events, events[..1]);
        assert_eq!(Held::open(&path, 6, None).1, Snapshot::default(), "another database");
    }

    #[test]
    fn damage_to_the_newest_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (mut held, _) = Held::open(&path, 5, None);
        held.set_aside();
        held.write(&[event(1, 9)], &BTreeMap::new());
        held.write(&[event(1, 9), event(2, 9)], &BTreeMap::new());
        let whole = std::fs::read(name(&path)).unwrap();
        for (damaged, left) in [(HEADER, 1), (HALF + HEADER, 2), (60, 1), (16, 1)] {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 0xff;
            std::fs::write(name(&path), bytes).unwrap();
            assert_eq!(Held::open(&path, 5, None).1.events.len(), left, "{damaged}");
        }
        std::fs::write(name(&path), vec![0xff; 2 * HALF]).unwrap();
        assert_eq!(Held::open(&path, 5, None).1, Snapshot::default());
        std::fs::write(name(&path), b"short").unwrap();
        assert_eq!(Held::open(&path, 5, None).1, Snapshot::default());
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let events: Vec<Event> = (0..1000).map(|n| event(n, 900)).collect();
        let keys = state(&[("long", Some(HALF)), ("note", Some(100)), ("gone", None)]);
        let found = decode(&encode(1, 1, &events, &keys, more(None, &event(-7, 0))), 1).unwrap();
        let (lost, range) = found.lost.unwrap();
        assert_eq!(found.events.len() + usize::try_from(lost).unwrap(), 1001);
        let oldest = events.len() - found.events.len();
        assert_eq!(found.events, events[oldest..]);
        assert_eq!(range, TimeRange { from: UnixMillis(-7), to: UnixMillis(oldest as i64 - 1) });
        assert_eq!(found.state, state(&[("note", Some(100)), ("gone", None)]));
        // Whatever comes, it ends.
        let many: BTreeMap<String, Option<Vec<u8>>> = (0..4000).map(|n| (format!("{n:0>90}"), None)).collect();
        assert_eq!(decode(&encode(1, 1, &[event(0, HALF)], &many, None), 1).unwrap().lost.unwrap().0, 1);
    }
}
