//! Runs scripts of Prometheus's own PromQL test format against Skerry's evaluator.
//!
//! A script loads series into memory and says what expressions give. An eval passes when values (to 1e-6, relatively),
//! labels, order, remarks and failures are as said, and when a range query over the same moment agrees. An eval that
//! touches a native histogram is skipped, with its reason: there are none here.

mod run;
mod script;

pub use run::{Outcome, Report, run_file};

use std::path::{Path, PathBuf};

/// All scripts below the given files and folders, sorted.
///
/// # Errors
/// The system's, where a path cannot be read.
pub fn scripts(paths: &[PathBuf]) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|end| end == "test") {
            collect(&path, found)?;
        }
    }
    Ok(())
}
