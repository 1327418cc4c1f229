//! Targets in files (`file_sd_configs`).

use super::config::{FileSd, StaticGroup};
use skerry_model::Mono;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most files of all patterns together.
const FILES_MAX: usize = 256;
/// Most bytes of one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was read, by file. A file that cannot be read leaves what it said last; one that is gone takes its targets along.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: BTreeMap<PathBuf, Known>,
    /// That has been told of.
    has_too_many: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// Changes whenever the file does.
    mark: Option<Mark>,
    read_at: Mono,
    groups: Vec<StaticGroup>,
    problem: Option<String>,
}

type Mark = (u64, u64, i64, i64);

impl Files {
    /// Looks at all files that any of `all` means, and reads those that have changed or are due. Blocks.
    pub(super) fn refresh(&mut self, all: &[FileSd], now: Mono) {
        let mut wanted: BTreeMap<PathBuf, std::time::Duration> = BTreeMap::new();
        for sd in all {
            for path in sd.files.iter().flat_map(|pattern| crate::patterns::matching(pattern, FILES_MAX + 1)) {
                let every = wanted.entry(path).or_insert(sd.refresh_interval.0);
                *every = sd.refresh_interval.0.min(*every);
            }
        }
        let has_too_many = wanted.len() > FILES_MAX;
        if has_too_many && !self.has_too_many {
            tracing::warn!("more than {FILES_MAX} files of targets: the first ones by name are read");
        }
        self.has_too_many = has_too_many;
        self.known.retain(|path, _| wanted.contains_key(path));
        for (path, every) in wanted.into_iter().take(FILES_MAX) {
            let mark = mark(&path);
            let known = self.known.entry(path.clone()).or_default();
            if known.mark.is_some() && known.mark == mark && now.since(known.read_at) < every {
                continue;
            }
            (known.mark, known.read_at) = (mark, now);
            match read(&path) {
                Ok(groups) => {
                    known.groups = groups;
                    if known.problem.take().is_some() {
                        tracing::info!(path = %path.display(), "file of targets can be read again");
                    }
                }
                Err(problem) => {
                    if known.problem.as_ref() != Some(&problem) {
                        tracing::warn!(path = %path.display(), problem, "file of targets cannot be used; what it said before counts");
                    }
                    known.problem = Some(problem);
                }
            }
        }
    }

    /// The groups that these files said last, each with its file.
    pub(super) fn groups<'a>(&'a self, sd: &'a FileSd) -> impl Iterator<Item = (&'a Path, &'a StaticGroup)> {
        let meant = |path: &Path| sd.files.iter().any(|pattern| crate::patterns::means(pattern, path));
        let files = self.known.iter().filter(move |(path, _)| meant(path));
        files.flat_map(|(path, known)| known.groups.iter().map(move |group| (path.as_path(), group)))
    }

    /// What is wrong with files now.
    pub(super) fn problem(&self) -> Option<String> {
        let (path, known) = self.known.iter().find(|(_, known)| known.problem.is_some())?;
        Some(format!("{}: {}", path.display(), known.problem.as_deref().unwrap_or_default()))
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn read(path: &Path) -> Result<Vec<StaticGroup>, String> {
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err("a file of at most 1 MiB is expected".into());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.trim().is_empty() {
        return Err("it is empty: a list of targets is expected, [] for none".into());
    }
    // JSON is YAML.
    skerry_yaml::read::<Vec<StaticGroup>>(&text).map(|read| read.value).map_err(|fault| fault.to_string())
}
