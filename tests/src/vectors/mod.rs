//! Runs cases of the field's own suites against Skerry's rules, routing, templates and scaling.
//!
//! A file's kind is told by what stands in it, not by its name:
//!
//! | kind | told by | judged by |
//! | --- | --- | --- |
//! | rule file | a key `groups` | whether it is taken |
//! | promtool test | a key `tests` | whether its tests pass |
//! | Alertmanager config | a key `route` or `receivers` | whether it is taken |
//! | JSON | fields of its cases | each case; cases and fields that are not known fail |
//!
//! YAML files say nothing of their own verdict: one whose name says `bad`, `invalid` or `failing` has to be refused or to
//! fail, any other to be taken and to pass. The few that mean something else stand in a table of [`yaml`].

mod alertmanager;
mod hpa;
mod json;
mod oom;
mod pods;
mod policy;
mod rates;
mod rounds;
mod template;
mod vpa;
mod yaml;

use crate::promqltest::Outcome;
use std::path::{Path, PathBuf};

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Outcomes of one file.
#[derive(Debug, Default)]
pub struct Report {
    /// Name and outcome of each case.
    pub cases: Vec<(String, Outcome)>,
}

impl Report {
    /// How many passed, failed and were skipped.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Outcome) -> bool| self.cases.iter().filter(|(_, outcome)| wanted(outcome)).count();
        (
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        )
    }

    fn add(&mut self, name: impl Into<String>, judged: Result<(), String>) {
        self.cases.push((name.into(), judged.map_or_else(Outcome::Failed, |()| Outcome::Passed)));
    }
}

/// All files of cases below the given files and folders, sorted.
///
/// # Errors
/// The system's, where a path cannot be read.
pub fn files(paths: &[PathBuf]) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, true, &mut found)?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn collect(path: &Path, is_named: bool, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        let has_cases = path.extension().is_some_and(|end| end == "json" || end == "yml" || end == "yaml");
        if is_named || has_cases {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        collect(&entry?.path(), false, found)?;
    }
    Ok(())
}

/// Runs the cases of one file. A file that is none of the kinds is a failed case.
#[must_use]
pub fn run_file(path: &Path) -> Report {
    let mut report = Report::default();
    let text = match std::fs::metadata(path) {
        Ok(about) if about.len() > FILE_BYTES_MAX => Err(format!("has more than {FILE_BYTES_MAX} bytes")),
        Ok(_) => std::fs::read_to_string(path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match text {
        Err(error) => report.add("file", Err(error)),
        Ok(text) if text.trim_start().starts_with(['{', '[']) => json::run(path, &text, &mut report),
        Ok(text) => yaml::run(path, &text, &mut report),
    }
    report
}
