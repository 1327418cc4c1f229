//! Files: lines appended, rotated by size and age.
//!
//! The target's place holds how long the file was when its last batch was committed, and which number it will bear once
//! it is rotated. What lies behind that length at a start, or after a write that failed, was not committed and is cut
//! off, so that every line is there once. Rotation is finished by whoever finds it begun: a file that bears the number
//! is no more written to.

use super::core::Fate;
use super::elastic;
use super::record::Entry;
use serde::{Deserialize, Serialize};
use skerry_model::{Level, UnixMillis};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which file, how its lines look, when it is rotated.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; rotated ones bear a number behind this name.
    pub path: PathBuf,
    /// How a record becomes a line.
    pub format: Format,
    /// Size at which it is rotated.
    pub bytes_max: u64,
    /// Age at which it is rotated.
    pub max_age: Option<Duration>,
    /// How many rotated ones are kept.
    pub keep: u64,
    /// Whether rotated ones are packed with zstd.
    pub compress: bool,
}

/// How a record becomes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object, with the keys of the Elastic Common Schema.
    #[default]
    Json,
    /// The record's own line as it is; line breaks in it are told apart by nothing.
    Raw,
    /// `time=… node=… level=…`, labels, fields and `msg=…`.
    Logfmt,
}

impl Format {
    fn line(self, entry: &Entry, out: &mut Vec<u8>) {
        match self {
            Self::Json => out.extend_from_slice(elastic::document(entry).to_string().as_bytes()),
            Self::Raw => out.extend_from_slice(&entry.line),
            Self::Logfmt => logfmt(entry, out),
        }
        out.push(b'\n');
    }
}

fn logfmt(entry: &Entry, out: &mut Vec<u8>) {
    let line = entry.text();
    let time = jiff::Timestamp::from_millisecond(entry.at.0).unwrap_or_default();
    let mut text = format!("time={time:.3}");
    let told = [("node", entry.node.as_str())].into_iter();
    let level = (entry.level != Level::Unknown).then_some(("level", entry.level.as_str()));
    let labels = entry.labels.iter().filter(|(name, _)| !["node", "level"].contains(name));
    for (name, value) in told.chain(level).chain(labels).chain(entry.fields.iter()).chain([("msg", &*line)]) {
        let fit = |c: char| if c.is_control() || [' ', '=', '"'].contains(&c) { '_' } else { c };
        text.push(' ');
        text.extend(name.chars().map(fit));
        text.push('=');
        if !value.is_empty() && value.chars().all(|c| !c.is_control() && ![' ', '=', '"', '\\'].contains(&c)) {
            text.push_str(value);
        } else {
            // JSON's escapes are logfmt's.
            text.push_str(&serde_json::Value::from(value).to_string());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// What the target's place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Number that the file will bear.
    number: u64,
    /// How long it is.
    length: u64,
    /// When it was begun.
    since: i64,
}

/// Writes batches to one file. Blocks.
#[derive(Debug)]
pub(super) struct FileSender {
    options: Options,
    /// What is committed.
    state: State,
    /// With what was written and is not committed yet.
    written: Option<State>,
    /// Open, and as long as the state says, unless a write has failed.
    file: Option<File>,
}

impl FileSender {
    /// Goes on where the state of the target's place says.
    pub(super) fn new(options: Options, state: Option<&str>, now: UnixMillis) -> Self {
        let state = state.and_then(|text| serde_json::from_str(text).ok());
        let state = state.unwrap_or_else(|| {
            // A new target: behind what is there, and behind what was rotated before.
            let length = std::fs::metadata(&options.path).map_or(0, |data| data.len());
            State { number: rotated(&options.path).last().map_or(1, |(number, _)| number + 1), length, since: now.0 }
        });
        Self { options, state, written: None, file: None }
    }

    /// Writes records and waits until the disk has them.
    pub(super) fn send(&mut self, entries: &[&Entry], now: UnixMillis) -> (Fate, u64) {
        match self.write(entries, now) {
            Ok(bytes) => (Fate::Taken, bytes),
            Err(error) => {
                self.file = None;
                let why = format!("write {}: {error}", self.options.path.display());
                (Fate::Retry { after: None, why }, 0)
            }
        }
    }

    /// What a new target has to commit before anything is written: what the file held before it.
    pub(super) fn first_state(&self) -> Option<String> {
        serde_json::to_string(&self.state).ok()
    }

    /// What is to be committed with the batch.
    pub(super) fn state(&self) -> Option<String> {
        let state = self.written?;
        serde_json::to_string(&state).ok()
    }

    /// The batch is committed.
    pub(super) fn committed(&mut self) {
        self.state = self.written.take().unwrap_or(self.state);
    }

    fn write(&mut self, entries: &[&Entry], now: UnixMillis) -> io::Result<u64> {
        if self.written.take().is_some() {
            // A batch that was written and never committed: it comes again.
            self.file = None;
        }
        self.finish_rotation(now)?;
        let age = now.since(UnixMillis(self.state.since));
        let is_old = self.options.max_age.is_some_and(|max| age >= max);
        if self.state.length > 0 && (self.state.length >= self.options.bytes_max || is_old) {
            // What is not committed must not be rotated.
            self.opened()?;
            self.file = None;
            std::fs::rename(&self.options.path, numbered(&self.options.path, self.state.number))?;
            self.finish_rotation(now)?;
        }
        let mut bytes = Vec::with_capacity(entries.iter().map(|entry| entry.bytes() * 2).sum());
        for entry in entries {
            self.options.format.line(entry, &mut bytes);
        }
        let file = self.opened()?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.written = Some(State { length: self.state.length + bytes.len() as u64, ..self.state });
        Ok(bytes.len() as u64)
    }

    /// The file, exactly as long as what is committed.
    fn opened(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let path = &self.options.path;
            // Logs may hold what is not for every user of the machine.
            let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
            let mut file = options.open(path)?;
            let found = file.metadata()?.len();
            if found < self.state.length {
                tracing::warn!(
                    path = %path.display(), found, expected = self.state.length,
                    "a file that logs are forwarded to was made shorter by something else; it goes on at its end"
                );
                self.state.length = found;
            }
            file.set_len(self.state.length)?;
            file.seek(SeekFrom::Start(self.state.length))?;
            sync_folder(path)?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is not open"))
    }

    /// Where the file was renamed already, goes on with a new one, packs the old and drops those beyond the number.
    fn finish_rotation(&mut self, now: UnixMillis) -> io::Result<()> {
        let old = numbered(&self.options.path, self.state.number);
        if !old.exists() && !packed(&old).exists() {
            return Ok(());
        }
        self.file = None;
        self.state = State { number: self.state.number + 1, length: 0, since: now.0 };
        sync_folder(&self.options.path)?;
        if self.options.compress && old.exists() {
            pack(&old)?;
        }
        let all = rotated(&self.options.path);
        let keep = usize::try_from(self.options.keep).unwrap_or(usize::MAX);
        for (_, path) in &all[..all.len().saturating_sub(keep)] {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".zst");
    name.into()
}

/// Packs a file and removes it. Where that is broken off, the next rotation leaves it unpacked.
fn pack(path: &Path) -> io::Result<()> {
    let (done, mut half) = (packed(path), path.as_os_str().to_owned());
    half.push(".zst.tmp");
    let half = PathBuf::from(half);
    let to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    zstd::stream::copy_encode(File::open(path)?, &to, 3)?;
    to.sync_all()?;
    std::fs::rename(&half, done)?;
    sync_folder(path)?;
    std::fs::remove_file(path)
}

/// Rotated files by rising number; of a number both forms may be there.
fn rotated(path: &Path) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let number = |name: &str| -> Option<u64> {
        let rest = name.strip_prefix(&prefix)?;
        rest.strip_suffix(".zst").unwrap_or(rest).parse().ok()
    };
    let folder = std::fs::read_dir(parent(path)).into_iter().flatten().flatten();
    let mut all: Vec<_> =
        folder.filter_map(|file| Some((number(&file.file_name().to_string_lossy())?, file.path()))).collect();
    all.sort();
    all
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::entry;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn options(folder: &Path) -> Options {
        let path = folder.join("all.log");
        Options { path, format: Format::Raw, bytes_max: 1 << 20, max_age: None, keep: 100, compress: false }
    }

    fn send(sender: &mut FileSender, line: &str) -> Option<String> {
        let record = entry(0, line.as_bytes());
        assert_eq!(sender.send(&[&record], NOW).0, Fate::Taken);
        sender.state()
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn what_was_not_committed_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        std::fs::write(&options.path, "of before\n").unwrap();
        let mut sender = FileSender::new(options.clone(), None, NOW);
        let state = send(&mut sender, "one");
        sender.committed();
        send(&mut sender, "two");
        // The commit fails and the batch comes again; then the process is killed and it comes once more.
        send(&mut sender, "two");
        assert_eq!(text(&options.path), "of before\none\ntwo\n");
        let mut sender = FileSender::new(options.clone(), state.as_deref(), NOW);
        let state = send(&mut sender, "two");
        assert_eq!(text(&options.path), "of before\none\ntwo\n");
        sender.committed();
        // Somebody emptied it.
        std::fs::write(&options.path, "x\n").unwrap();
        let mut sender = FileSender::new(options.clone(), state.as_deref(), NOW);
        send(&mut sender, "three");
        assert_eq!(text(&options.path), "x\nthree\n");
    }

    #[test]
    fn rotation_that_was_broken_off_anywhere_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { bytes_max: 4, keep: 2, ..options(folder.path()) };
        let path = |number: u64| numbered(&options.path, number);
        let mut sender = FileSender::new(options.clone(), None, NOW);
        let first = send(&mut sender, "one");
        sender.committed();
        // Killed after the rename, and after the new file was written to: the place still speaks of the old one.
        for extra in ["", "torn"] {
            let _ = std::fs::rename(&options.path, path(1));
            if !extra.is_empty() {
                std::fs::write(&options.path, extra).unwrap();
            }
            let mut sender = FileSender::new(options.clone(), first.as_deref(), NOW);
            let state = send(&mut sender, "two");
            assert_eq!((text(&path(1)).as_str(), text(&options.path).as_str()), ("one\n", "two\n"));
            assert!(state.unwrap().contains("\"number\":2"));
            sender.committed();
            std::fs::remove_file(&options.path).unwrap();
            std::fs::rename(path(1), &options.path).unwrap();
        }
        let mut sender = FileSender::new(options.clone(), first.as_deref(), NOW);
        for line in ["two", "three", "four", "five"] {
            send(&mut sender, line);
            sender.committed();
        }
        assert_eq!(rotated(&options.path).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4]);
        assert_eq!((text(&path(3)).as_str(), text(&options.path).as_str()), ("three\n", "five\n"));
    }

    #[test]
    fn old_files_are_rotated_and_packed() {
        let folder = tempfile::tempdir().unwrap();
        let max_age = Some(Duration::from_secs(60));
        let options = Options { max_age, compress: true, ..options(folder.path()) };
        let mut sender = FileSender::new(options.clone(), None, NOW);
        send(&mut sender, "one");
        sender.committed();
        let record = entry(0, b"two");
        assert_eq!(sender.send(&[&record], NOW + Duration::from_secs(61)).0, Fate::Taken);
        let old = packed(&numbered(&options.path, 1));
        assert_eq!(zstd::stream::decode_all(File::open(old).unwrap()).unwrap(), b"one\n");
        assert!(!numbered(&options.path, 1).exists());
        assert_eq!(text(&options.path), "two\n");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut sender = FileSender::new(options(&folder.path().join("later")), None, NOW);
        let record = entry(0, b"one");
        let (Fate::Retry { why, .. }, 0) = sender.send(&[&record], NOW) else { panic!("it cannot be written") };
        assert!(why.contains("all.log"), "{why}");
        std::fs::create_dir(folder.path().join("later")).unwrap();
        send(&mut sender, "one");
    }

    #[test]
    fn lines_have_their_formats() {
        let record = entry(0, b"say \"hi\" = \xff");
        let line = |format: Format| {
            let mut out = Vec::new();
            format.line(&record, &mut out);
            out
        };
        assert_eq!(line(Format::Raw), b"say \"hi\" = \xff\n");
        assert_eq!(
            String::from_utf8(line(Format::Logfmt)).unwrap(),
            "time=2027-01-15T08:00:00.123Z node=pi level=warn container=web filename=/v/a.log source=app pid=7 \
             trace_id=0102030405060708090a0b0c0d0e0f10 msg=\"say \\\"hi\\\" = \u{fffd}\"\n"
        );
        let json: serde_json::Value = serde_json::from_slice(&line(Format::Json)).unwrap();
        assert_eq!(json["host"]["name"], "pi");
    }
}
