//! Space and inodes of mounted file systems.
//!
//! A server of a network file system that is gone makes the asking hang for ever. Each mount is asked with a limit; one
//! that is stuck is skipped, with its error shown, until it answers.

use super::patience::{Answer, Late, Patient};
use super::sink::gauge;
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use regex::Regex;
use skerry_model::MetricMeta;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long a mount may take to answer.
const MOUNT_WAIT: Duration = Duration::from_secs(2);
/// Most mounts that may be stuck at a time: each keeps a thread. Past it new ones are not asked.
const STUCK_MAX: usize = 16;

static METAS: [MetricMeta; 7] = [
    gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes."),
    gauge("node_filesystem_device_error", "Whether an error occurred while getting statistics for the given device."),
    gauge("node_filesystem_files", "Filesystem total file nodes."),
    gauge("node_filesystem_files_free", "Filesystem total free file nodes."),
    gauge("node_filesystem_free_bytes", "Filesystem free space in bytes."),
    gauge("node_filesystem_readonly", "Filesystem read-only status."),
    gauge("node_filesystem_size_bytes", "Filesystem size in bytes."),
];

/// File systems but those excluded.
pub(super) struct Filesystems {
    mounts: Regex,
    types: Regex,
    thread: Patient<PathBuf, Option<Space>>,
    stuck: BTreeMap<PathBuf, Late<Option<Space>>>,
}

/// What a file system tells of itself: bytes, and files.
struct Space {
    available: f64,
    free: f64,
    size: f64,
    files: f64,
    files_free: f64,
}

impl Filesystems {
    pub(super) const fn new(mounts: Regex, types: Regex) -> Self {
        Self { mounts, types, thread: Patient::new(ask), stuck: BTreeMap::new() }
    }

    /// Asks a mount that is not stuck.
    fn space(&mut self, path: PathBuf) -> Option<Space> {
        if let Some(late) = self.stuck.get(&path) {
            let answer = late.poll()?;
            self.stuck.remove(&path);
            tracing::info!(mount = %path.display(), "file system answers again");
            return answer;
        }
        if self.stuck.len() >= STUCK_MAX {
            return None;
        }
        match self.thread.ask(path.clone(), MOUNT_WAIT) {
            Answer::Done(answer) => answer,
            Answer::Late(late) => {
                tracing::warn!(mount = %path.display(), "file system does not answer; it is skipped until it does");
                self.stuck.insert(path, late);
                None
            }
            Answer::Gone => None,
        }
    }
}

fn ask(path: PathBuf) -> Option<Space> {
    let stat = rustix::fs::statvfs(&path).ok()?;
    let unit = stat.f_frsize as f64;
    Some(Space {
        available: stat.f_bavail as f64 * unit,
        free: stat.f_bfree as f64 * unit,
        size: stat.f_blocks as f64 * unit,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

struct Mount {
    device: String,
    point: String,
    fs_type: String,
    values: [Option<f64>; 7],
}

impl Collect for Filesystems {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        // The first process sees the host's mounts also where the agent has a namespace of its own.
        let text = match Text::read(round.roots.proc.join("1/mounts")) {
            Ok(text) => text,
            Err(_) => Text::read(round.roots.proc.join("self/mounts"))?,
        };
        let mut rows: Vec<Mount> = Vec::new();
        for line in text.content.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(device), Some(point), Some(fs_type)) = (words.next(), words.next(), words.next()) else {
                return Err(text.fault(line, "device, mount point and type"));
            };
            let (device, point) = (unescape(device), unescape(point));
            let is_known = |row: &Mount| row.point == point;
            if self.mounts.is_match(&point) || self.types.is_match(fs_type) || rows.iter().any(is_known) {
                continue;
            }
            let is_readonly = words.next().unwrap_or_default().split(',').any(|option| option == "ro");
            let path: PathBuf = round.roots.rootfs.join(point.trim_start_matches('/'));
            let values = match self.space(path) {
                Some(space) => [
                    Some(space.available),
                    Some(0.0),
                    Some(space.files),
                    Some(space.files_free),
                    Some(space.free),
                    Some(f64::from(u8::from(is_readonly))),
                    Some(space.size),
                ],
                None => [None, Some(1.0), None, None, None, None, None],
            };
            rows.push(Mount { device, point, fs_type: fs_type.to_owned(), values });
        }
        let labels = |row: &Mount| {
            vec![("device", row.device.clone()), ("fstype", row.fs_type.clone()), ("mountpoint", row.point.clone())]
        };
        sink.table(&METAS, &rows, labels, |row, column| row.values[column]);
        Ok(())
    }
}

/// The kernel writes space, tab, newline and backslash as three octal digits behind a backslash.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let octal = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn octal_escapes_are_read_and_others_kept() {
        assert_eq!(unescape("/mnt/my\\040disk"), "/mnt/my disk");
        assert_eq!(unescape("a\\134b\\"), "a\\b\\");
        assert_eq!(unescape("\\9\\999é\\04"), "\\9\\999é\\04");
    }
}
