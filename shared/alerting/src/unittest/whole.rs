//! A test file from its path to its verdict, through whoever can read files.

use super::run::{Failure, Options};
use super::{TestFile, resolve};
use crate::rules::{Reading, RuleFile};

/// Longest failure list that is told of one file.
const ERRORS_MAX: usize = 10_000;

/// How files are reached.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The text of a file.
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
    /// Names within a folder, of `""` the current one; nothing for what is no folder.
    pub list: &'a dyn Fn(&str) -> Vec<String>,
}

/// What became of a test file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Patterns of rule files that no file is of.
    pub unmatched: Vec<String>,
    /// What went wrong; empty where all is as expected.
    pub errors: Vec<String>,
}

/// Reads a test file and the rule files that it names, and runs its tests. Rule files of which no test is wanted are not
/// read.
#[must_use]
pub fn run_file(path: &str, files: Files<'_>, reading: Reading, options: &Options) -> Verdict {
    let mut verdict = Verdict::default();
    let parsed = (files.read)(path)
        .map_err(|error| format!("{path}: {error}"))
        .and_then(|text| TestFile::parse(path, &text).map_err(|faults| faults.to_string()));
    let tests = match parsed {
        Ok(tests) => tests,
        Err(error) => {
            verdict.errors.push(error);
            return verdict;
        }
    };
    let folder = path.rfind('/').map_or("", |end| &path[..=end]);
    let mut rules: Vec<(String, RuleFile)> = Vec::new();
    for pattern in tests.rule_files.iter().filter(|pattern| !pattern.is_empty()) {
        let pattern = if pattern.starts_with('/') { pattern.clone() } else { format!("{folder}{pattern}") };
        let found = resolve(&pattern, files.list);
        if found.is_empty() {
            verdict.unmatched.push(pattern);
        }
        if tests.selected(options) == 0 {
            continue;
        }
        for name in found {
            if rules.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let text = (files.read)(&name).map_err(|error| format!("{name}: {error}"));
            let parsed =
                text.and_then(|text| RuleFile::read(&name, &text, reading).map_err(|faults| faults.to_string()));
            match parsed {
                Ok((file, _)) => rules.push((name, file)),
                Err(error) => verdict.errors.push(error),
            }
        }
    }
    if verdict.errors.is_empty() {
        let failures = tests.run(&rules, options);
        verdict.errors = failures.iter().take(ERRORS_MAX).map(Failure::to_string).collect();
    }
    verdict
}
