//! Writers of numbered lines, each with its style of rotation.

use super::{Dice, Shared, lock};
use anyhow::Context;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// Generations that are kept at least.
const KEPT: usize = 3;
/// Records that a writer has to have written to tell something.
const ENOUGH: u64 = 100;
/// Rotated files past which a writer waits for the agent, well below what one log may have open.
const SHELF_MAX: usize = 12;
/// Docker's json-file driver cuts lines into entries of so many bytes of text.
const DOCKER_BYTES: usize = 16 << 10;

/// A style of rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is told by its writer below")]
pub enum Style {
    Rename,
    Delayed,
    CopyTruncate,
    Compress,
    InodeReuse,
    Docker,
    Multiline,
    Symlink,
    Vanish,
}

impl Style {
    /// Every style.
    pub const ALL: [Self; 9] = [
        Self::Rename,
        Self::Delayed,
        Self::CopyTruncate,
        Self::Compress,
        Self::InodeReuse,
        Self::Docker,
        Self::Multiline,
        Self::Symlink,
        Self::Vanish,
    ];

    /// Its name, which is its input's and its folder's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Delayed => "rename-delayed",
            Self::CopyTruncate => "copytruncate",
            Self::Compress => "compress",
            Self::InodeReuse => "inode-reuse",
            Self::Docker => "docker-json",
            Self::Multiline => "multiline",
            Self::Symlink => "symlink",
            Self::Vanish => "vanish",
        }
    }

    /// The input's glob, below its folder.
    pub(super) const fn glob(self) -> &'static str {
        match self {
            Self::Symlink => "links/*.log",
            _ => "*.log",
        }
    }

    /// The rest of the input's settings.
    pub(super) const fn settings(self) -> &'static str {
        match self {
            Self::Docker => "      format: docker-json\n",
            // A time-out that no pause within a record of the writer comes near to.
            Self::Multiline => "      multiline:\n        start: '^!'\n        timeout: 5s\n",
            _ => "",
        }
    }

    /// A record with its number: plain text, that of a long container line, or of several lines.
    fn record(self, number: u64, dice: &mut Dice) -> String {
        let name = self.name();
        let fill = "abcdefghij".repeat(usize::try_from(dice.below(12)).unwrap_or(0));
        match self {
            Self::Docker if dice.one_in(60) => {
                let long = "0123456789abcdef".repeat(1 + usize::try_from(dice.below(4000)).unwrap_or(0));
                format!("{name} {number} {long} end")
            }
            Self::Multiline => format!("! {name} {number} {fill}\n  at one\n\n  at two {number} end"),
            _ => format!("{name} {number} {fill} end"),
        }
    }

    /// The number of a whole record.
    pub(super) fn number_of(self, record: &str) -> Option<u64> {
        let record = record.strip_suffix(" end")?;
        let (record, again) = match self {
            Self::Multiline => {
                let (record, again) = record.strip_prefix("! ")?.split_once("\n  at one\n\n  at two ")?;
                (record, Some(again))
            }
            _ => (record, None),
        };
        let (number, fill) = record.strip_prefix(self.name())?.strip_prefix(' ')?.split_once(' ')?;
        let is_whole =
            !fill.contains(|c: char| !c.is_ascii_alphanumeric()) && again.is_none_or(|again| again == number);
        is_whole.then(|| number.parse().ok()).flatten()
    }
}

/// One writer with its folder.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) style: Style,
    pub(super) written: u64,
    pub(super) rotations: u64,
    pub(super) inodes_reused: u64,
    folder: PathBuf,
    dice: Dice,
    shared: Arc<Shared>,
    file: File,
    path: PathBuf,
    /// Rotated files, newest first, and how many records were written when each was rotated.
    shelf: Vec<(PathBuf, u64)>,
    entries: u64,
}

impl Writer {
    pub(super) fn new(style: Style, logs: &Path, dice: Dice, shared: Arc<Shared>) -> anyhow::Result<Self> {
        let folder = logs.join(style.name());
        fs::create_dir_all(&folder)?;
        let mut path = folder.join("app.log");
        if style == Style::Symlink {
            // As the kubelet does: a folder of links to the pods' files, which rotate in their own folder.
            let pods = folder.join("pods/web");
            fs::create_dir_all(&pods)?;
            fs::create_dir_all(folder.join("links"))?;
            path = pods.join("0.log");
            std::os::unix::fs::symlink(&path, folder.join("links/web_default.log"))?;
        }
        let file = open(&path)?;
        Ok(Self {
            style,
            written: 0,
            rotations: 0,
            inodes_reused: 0,
            folder,
            dice,
            shared,
            file,
            path,
            shelf: Vec::new(),
            entries: 0,
        })
    }

    /// Writes and rotates until it is told to stop.
    pub(super) fn run(&mut self) -> anyhow::Result<()> {
        let mut is_enough = false;
        while !self.shared.stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(self.dice.below(40)));
            let burst = if self.dice.one_in(20) { 200 } else { 1 + self.dice.below(15) };
            for _ in 0..burst {
                self.write()?;
            }
            if self.dice.one_in(15) {
                self.rotate().with_context(|| format!("rotate {}", self.style.name()))?;
            }
            if !is_enough && self.written > ENOUGH && self.rotations > 0 {
                is_enough = true;
                self.shared.told_enough.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// One record, in one write or with a pause somewhere within it.
    fn write(&mut self) -> anyhow::Result<()> {
        let record = self.style.record(self.written, &mut self.dice);
        let bytes = if self.style == Style::Docker { self.docker(&record) } else { (record + "\n").into_bytes() };
        if self.dice.one_in(10) {
            let at = usize::try_from(self.dice.below(bytes.len() as u64)).unwrap_or(0);
            self.file.write_all(&bytes[..at])?;
            self.file.flush()?;
            thread::sleep(Duration::from_millis(self.dice.below(30)));
            self.file.write_all(&bytes[at..])?;
        } else {
            self.file.write_all(&bytes)?;
        }
        self.written += 1;
        Ok(())
    }

    /// The entries that Docker's driver makes of a line, now and then with one of the other output between them.
    fn docker(&mut self, record: &str) -> Vec<u8> {
        let line = format!("{record}\n");
        let output = if self.dice.one_in(3) { "stderr" } else { "stdout" };
        let mut bytes = Vec::new();
        for piece in line.as_bytes().chunks(DOCKER_BYTES) {
            self.entries += 1;
            let log = serde_json::Value::from(String::from_utf8_lossy(piece));
            let (second, nano) = (self.entries / 1000 % 60, self.entries % 1000);
            bytes.extend(
                format!(
                    "{{\"log\":{log},\"stream\":\"{output}\",\"time\":\"2026-11-20T22:18:{second:02}.{nano:09}Z\"}}\n"
                )
                .into_bytes(),
            );
        }
        bytes
    }

    fn rotate(&mut self) -> anyhow::Result<()> {
        self.tidy()?;
        if self.shelf.len() >= SHELF_MAX {
            return Ok(());
        }
        match self.style {
            Style::Rename | Style::Docker | Style::Multiline => {
                self.shift(".")?;
                self.file = open(&self.path)?;
            }
            Style::Delayed => {
                self.shift(".")?;
                // The new file is there, and the writer learns of it later.
                let next = open(&self.path)?;
                for _ in 0..self.dice.below(60) {
                    thread::sleep(Duration::from_millis(self.dice.below(20)));
                    self.write()?;
                }
                if let Some((_, until)) = self.shelf.first_mut() {
                    *until = self.written;
                }
                self.file = next;
            }
            Style::CopyTruncate => self.copy_truncate()?,
            Style::Compress => {
                self.shift(".")?;
                self.file = open(&self.path)?;
                // logrotate's `compress` takes the newest, `delaycompress` the one before.
                let which = usize::try_from(self.dice.below(2)).unwrap_or(0);
                if let Some((path, _)) = self.shelf.get_mut(which).filter(|(path, _)| !is_compressed(path)) {
                    let status = Command::new("gzip").arg("-f").arg(&*path).status()?;
                    anyhow::ensure!(status.success(), "gzip ended with {status}");
                    path.as_mut_os_string().push(".gz");
                }
            }
            Style::InodeReuse => {
                for _ in 0..100 {
                    if self.is_stored(self.written) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                if !self.is_stored(self.written) {
                    return Ok(());
                }
                let before = fs::metadata(&self.path)?.ino();
                fs::remove_file(&self.path)?;
                // The inode is free when the last handle to it is closed, the agent's too: then a new file gets it.
                self.file = open(&self.folder.join("other"))?;
                thread::sleep(Duration::from_millis(self.dice.below(2) * self.dice.below(6000)));
                self.file = open(&self.path)?;
                self.inodes_reused += u64::from(fs::metadata(&self.path)?.ino() == before);
                fs::remove_file(self.folder.join("other"))?;
            }
            Style::Symlink => {
                let rotated = self.path.with_extension(format!("log.20261121-{:06}", self.rotations));
                fs::rename(&self.path, &rotated)?;
                self.shelf.insert(0, (rotated, self.written));
                thread::sleep(Duration::from_millis(self.dice.below(30)));
                self.file = open(&self.path)?;
            }
            Style::Vanish => {
                self.shelf.insert(0, (self.path.clone(), self.written));
                self.path = self.folder.join(format!("job-{}.log", self.rotations));
                self.file = open(&self.path)?;
            }
        }
        self.rotations += 1;
        Ok(())
    }

    /// `app.log.1` becomes `app.log.2` and so on, then `app.log` becomes `app.log.1`.
    fn shift(&mut self, separator: &str) -> anyhow::Result<()> {
        for n in (0..self.shelf.len()).rev() {
            let ending = if is_compressed(&self.shelf[n].0) { ".gz" } else { "" };
            let to = self.folder.join(format!("app.log{separator}{}{ending}", n + 2));
            fs::rename(&self.shelf[n].0, &to)?;
            self.shelf[n].0 = to;
        }
        let first = self.folder.join(format!("app.log{separator}1"));
        if self.style != Style::CopyTruncate {
            fs::rename(&self.path, &first)?;
            // Between the two steps of a rotation there is no file.
            thread::sleep(Duration::from_millis(self.dice.below(2) * self.dice.below(30)));
        }
        self.shelf.insert(0, (first, self.written));
        Ok(())
    }

    /// The copy grows under the reader's eyes; the writer waits, or what it wrote meanwhile would be lost by design.
    fn copy_truncate(&mut self) -> anyhow::Result<()> {
        self.shift(".")?;
        let bytes = fs::read(&self.path)?;
        let mut copy = File::create(&self.shelf[0].0)?;
        for piece in bytes.chunks(bytes.len() / 3 + 1) {
            copy.write_all(piece)?;
            thread::sleep(Duration::from_millis(self.dice.below(2) * self.dice.below(80)));
        }
        self.file.set_len(0)?;
        Ok(())
    }

    /// Deletes the oldest files whose records are stored.
    fn tidy(&mut self) -> anyhow::Result<()> {
        while let Some((path, until)) = self.shelf.get(KEPT..).and_then(<[_]>::last) {
            if !self.is_stored(*until) {
                break;
            }
            fs::remove_file(path)?;
            self.shelf.pop();
        }
        Ok(())
    }

    fn is_stored(&self, until: u64) -> bool {
        lock(&self.shared.stored).has_all(self.style, until)
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn open(path: &Path) -> anyhow::Result<File> {
    Ok(OpenOptions::new().append(true).create(true).open(path)?)
}
