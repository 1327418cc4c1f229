//! The rule files of a config: packs, files on the node, and what stands in the config itself.

use super::config::Config;
use crate::patterns;
use skerry_alerting::rules::{RuleFile, pack};
use skerry_yaml::{Fault, Faults};
use std::collections::BTreeSet;
use std::io::Read;
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
            config.files.iter().flat_map(|pattern| patterns::matching(Path::new(pattern), FILES_MAX + 1)).collect();
        if paths.len() > FILES_MAX {
            let problem = format!("more than {FILES_MAX} files: the first ones by name are read, the others are not");
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
    // Files of the kernel say that they are empty.
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => Err("a file of at most 1 MiB is expected".into()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_bounded_length_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("full"), vec![b'a'; FILE_BYTES_MAX as usize]).unwrap();
        std::fs::write(path("over"), vec![b'a'; FILE_BYTES_MAX as usize + 1]).unwrap();
        std::os::unix::fs::symlink("full", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("device")).unwrap();
        // A file by its metadata, of no length, that has more than its reader can hold.
        std::os::unix::fs::symlink("/proc/self/mem", path("memory")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
        std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), 0o600.into()).unwrap();
        for (name, is_read) in [
            ("full", true),
            ("link", true),
            ("over", false),
            ("device", false),
            ("memory", false),
            ("dangling", false),
            ("socket", false),
            ("fifo", false),
        ] {
            assert_eq!(read(&path(name)).is_ok(), is_read, "{name}");
        }
    }
}
