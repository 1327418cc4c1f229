//! The small files of a cgroup. One that is absent belongs to a controller that is not there, or to a container that
//! has just ended.

use super::super::source::{CollectError, Text};
use std::path::PathBuf;

/// Values above this stand for "no limit" in version 1, which has no word for it.
const UNLIMITED: f64 = 9e18;

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

/// How many processes a cgroup has, and the first of them.
pub(super) fn processes(folder: Option<&PathBuf>) -> Result<Option<(usize, Option<String>)>, CollectError> {
    let Some(text) = text(folder, "cgroup.procs")? else { return Ok(None) };
    let first = text.content.lines().next().filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
    Ok(Some((text.content.lines().count(), first.map(str::to_owned))))
}
