//! Paths with `*` and `?` in their last part, as configs name files.

use globset::Glob;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn is_plain(pattern: &Path) -> bool {
    !pattern.to_string_lossy().contains(['*', '?'])
}

/// Whether a pattern means this very file. Its last part alone may hold `*` and `?`.
#[must_use]
pub fn means(pattern: &Path, path: &Path) -> bool {
    if is_plain(pattern) {
        return pattern == path;
    }
    let (Some(wanted), Some(name)) = (pattern.file_name(), path.file_name()) else { return false };
    let glob = Glob::new(&wanted.to_string_lossy()).map(|glob| glob.compile_matcher());
    pattern.parent() == path.parent() && glob.is_ok_and(|glob| glob.is_match(name))
}

/// The files that a pattern means now: the first `files_max` by name. Blocks. Whoever wants to tell of more asks for one
/// more.
#[must_use]
pub fn matching(pattern: &Path, files_max: usize) -> Vec<PathBuf> {
    if is_plain(pattern) {
        return pattern.exists().then(|| pattern.to_owned()).into_iter().collect();
    }
    let Some(entries) = pattern.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    // Folders come in any order, and may be larger than what is wanted of them.
    let mut found = BTreeSet::new();
    for path in paths.filter(|path| means(pattern, path)) {
        found.insert(path);
        if found.len() > files_max {
            found.pop_last();
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_by_name_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for n in (0..9).rev() {
            std::fs::write(folder.path().join(format!("{n}.yaml")), "").unwrap();
        }
        std::fs::write(folder.path().join("0.txt"), "").unwrap();
        let found = matching(&folder.path().join("*.yaml"), 3);
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["0.yaml", "1.yaml", "2.yaml"]);
        let found = matching(&folder.path().join("?.txt"), 3);
        assert_eq!(found, [folder.path().join("0.txt")]);
    }
}
