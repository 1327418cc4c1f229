//! What tests of rules share.

use std::path::PathBuf;

/// Files of a folder of the shared vectors, by name.
///
/// # Panics
/// If the vectors are not there: they stand beside the repository, or where `SKERRY_RULES_VECTORS` says.
pub(crate) fn vectors(folder: &str) -> Vec<(String, String)> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/rules-vectors");
    let root = std::env::var_os("SKERRY_RULES_VECTORS").map_or(beside, PathBuf::from);
    let folder = root.join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut files: Vec<(String, String)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text"))
        })
        .collect();
    files.sort();
    files
}
