//! Paths with a `*` in their last part, as configs name files.

use globset::Glob;
use std::path::{Path, PathBuf};

fn is_plain(pattern: &Path) -> bool {
    !pattern.to_string_lossy().contains('*')
}

/// Whether a pattern means this very file. Its last part alone may hold a `*`.
#[must_use]
pub fn means(pattern: &Path, path: &Path) -> bool {
    if is_plain(pattern) {
        return pattern == path;
    }
    let (Some(wanted), Some(name)) = (pattern.file_name(), path.file_name()) else { return false };
    let glob = Glob::new(&wanted.to_string_lossy()).map(|glob| glob.compile_matcher());
    pattern.parent() == path.parent() && glob.is_ok_and(|glob| glob.is_match(name))
}

/// The files that a pattern means now, by name; at most `files_max`. Blocks.
#[must_use]
pub fn matching(pattern: &Path, files_max: usize) -> Vec<PathBuf> {
    if is_plain(pattern) {
        return pattern.exists().then(|| pattern.to_owned()).into_iter().collect();
    }
    let Some(entries) = pattern.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(|path| means(pattern, path)).take(files_max).collect();
    found.sort();
    found
}
