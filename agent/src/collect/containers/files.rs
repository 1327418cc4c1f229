//! The small files of a cgroup. One that is absent belongs to a controller that is not there, or to a container that
//! has just ended.

use super::super::source::{CollectError, Text, entries};
use std::path::PathBuf;

/// Values above this stand for "no limit" in version 1, which has no word for it.
const UNLIMITED: f64 = 9e18;
/// Most groups below a container that are looked at for processes.
const GROUPS_MAX: usize = 256;

/// Reads a file unless its container or controller is gone.
pub(super) fn text(folder: Option<&PathBuf>, file: &str) -> Result<Option<Text>, CollectError> {
    let Some(folder) = folder else { return Ok(None) };
    match Text::read(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        // ENODEV is what an open file of a removed cgroup says.
        Err(CollectError::Read { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A file of one number; `max`, and what version 1 writes instead, are 0, as cAdvisor has it.
pub(super) fn number(folder: Option<&PathBuf>, file: &str) -> Result<Option<f64>, CollectError> {
    let Some(text) = text(folder, file)? else { return Ok(None) };
    if text.content.trim() == "max" {
        return Ok(Some(0.0));
    }
    text.whole().map(|value| Some(if value > UNLIMITED { 0.0 } else { value }))
}

/// A file of lines `KEY NUMBER`.
pub(super) struct Flat(Vec<(String, f64)>);

impl Flat {
    pub(super) fn read(folder: Option<&PathBuf>, file: &str) -> Result<Self, CollectError> {
        let Some(text) = text(folder, file)? else { return Ok(Self(Vec::new())) };
        let mut pairs = Vec::new();
        for line in text.content.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(key) = words.next() else { continue };
            pairs.push((key.to_owned(), text.number(words.next(), line, "KEY NUMBER")?));
        }
        Ok(Self(pairs))
    }

    pub(super) fn value(&self, key: &str) -> Option<f64> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

/// How many processes a cgroup has, and the first of them. They may all be in groups below it, as with Podman, whose
/// containers have a group of their own there, and with containers that run systemd.
pub(super) fn processes(folder: Option<&PathBuf>) -> Result<Option<(usize, Option<String>)>, CollectError> {
    if text(folder, "cgroup.procs")?.is_none() {
        return Ok(None);
    }
    let (mut count, mut first, mut looked) = (0, None, 0);
    let mut waiting: Vec<PathBuf> = folder.cloned().into_iter().collect();
    while let Some(folder) = waiting.pop() {
        looked += 1;
        if looked > GROUPS_MAX {
            break;
        }
        let Some(text) = text(Some(&folder), "cgroup.procs")? else { continue };
        count += text.content.lines().count();
        let mut pids = text.content.lines().filter(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()));
        first = first.or_else(|| pids.next().map(str::to_owned));
        let below = entries(&folder).unwrap_or_default();
        waiting
            .extend(below.into_iter().rev().filter(|path| path.symlink_metadata().is_ok_and(|about| about.is_dir())));
    }
    Ok(Some((count, first)))
}
