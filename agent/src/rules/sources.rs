//! The rule files of a config: packs, files on the node, and what stands in the config itself.

use super::config::Config;
use crate::patterns;
use skerry_alerting::rules::{RuleFile, pack};
use skerry_yaml::{Fault, Faults};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Most files of all patterns together.
const FILES_MAX: usize = 64;
/// Longest rule file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a config's rules are.
#[derive(Debug, Default)]
pub struct Sources {
    /// Files with their names, of which none stands twice.
    pub files: Vec<(String, RuleFile)>,
    /// Faults of files that are left out for them.
    pub faults: Vec<Faults>,
    /// What may not mean what was meant.
    pub remarks: Vec<Faults>,
}

impl Sources {
    /// Reads everything that a config names. Blocks.
    #[must_use]
    pub fn read(config: &Config) -> Self {
        let mut sources = Self::default();
        for name in &config.packs {
            sources.add(format!("pack:{name}"), pack(name).unwrap_or_default());
        }
        for text in &config.texts {
            sources.add(text.name.clone(), &text.text);
        }
        let paths: BTreeSet<PathBuf> =
            config.files.iter().flat_map(|pattern| patterns::matching(Path::new(pattern), FILES_MAX)).collect();
        if paths.len() > FILES_MAX {
            let problem = format!("{} files are too many: at most {FILES_MAX} are read", paths.len());
            sources.faults.push(faults("rules.files", problem));
        }
        for path in paths.into_iter().take(FILES_MAX) {
            let name = path.display().to_string();
            match read(&path) {
                Ok(text) => sources.add(name, &text),
                Err(problem) => sources.faults.push(faults(&name, problem)),
            }
        }
        sources
    }

    fn add(&mut self, name: String, text: &str) {
        match RuleFile::parse(&name, text) {
            Ok((file, remarks)) => {
                if !remarks.is_empty() {
                    self.remarks.push(Faults { file: name.clone(), faults: remarks });
                }
                self.files.push((name, file));
            }
            Err(faults) => self.faults.push(faults),
        }
    }
}

fn faults(file: &str, problem: String) -> Faults {
    Faults { file: file.to_owned(), faults: vec![Fault { line: None, key: String::new(), problem }] }
}

/// A text file of at most 1 MiB.
///
/// # Errors
/// Why it cannot be read.
pub fn read(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err("a file of at most 1 MiB is expected".into());
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}
