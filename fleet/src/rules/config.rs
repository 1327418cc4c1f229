//! The section `rules` of `fleet.yaml`: which rule files are evaluated over the whole fleet.

use serde::Deserialize;
use skerry_alerting::rules::RuleFile;
use skerry_model::{Bytes, Labels, Span};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most rule files.
const FILES_MAX: usize = 256;
/// Largest rule file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The section, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Rule files by name, those that are built in as `pack:NAME`.
    pub files: Vec<(String, RuleFile)>,
    /// Time between two evaluations of a group that names none.
    pub evaluation_interval: Duration,
    /// How far behind the time of evaluation groups look that say nothing else.
    pub query_offset: Duration,
    /// Labels that alerts of the fleet's rules get where they have none of that name.
    pub external_labels: Labels,
    /// Memory for the samples that rules read.
    pub memory: Bytes,
}

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    evaluation_interval: Span,
    query_offset: Span,
    packs: Vec<String>,
    files: Vec<String>,
    external_labels: BTreeMap<String, String>,
    memory: Bytes,
}

impl Default for File {
    fn default() -> Self {
        Self {
            evaluation_interval: Span::secs(15),
            query_offset: Span::secs(0),
            packs: vec!["fleet".into()],
            files: Vec::new(),
            external_labels: BTreeMap::new(),
            memory: Bytes::mib(512),
        }
    }
}

/// Key, default and meaning of every setting.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("evaluation_interval", "15s", "time between two evaluations of a rule group that names none; 1s at least"),
    ("query_offset", "0s", "how far behind its time a group looks that says nothing else"),
    ("packs", "[fleet]", "rule files that are built in; `[]` for none"),
    ("files", "none", "Prometheus rule files over the series of all nodes; `*` and `?` in the last part of a path"),
    ("external_labels", "none", "labels of alerts of these rules, where they have none of that name"),
    ("memory", "512MiB", "for the newest samples of the series that rules read; what does not fit is read from disk"),
];

/// Checks the section and reads its files; `fault` is told key and problem of all that is wrong.
pub fn check(file: &File, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Config {
    if file.evaluation_interval < Span::secs(1) {
        fault("rules.evaluation_interval", "1s or more is expected");
    }
    if file.query_offset > Span::secs(86_400) {
        fault("rules.query_offset", "1d or less is expected");
    }
    if file.memory < Bytes::mib(1) {
        fault("rules.memory", "1MiB or more is expected");
    }
    let external_labels = Labels::new(file.external_labels.clone()).unwrap_or_else(|error| {
        fault("rules.external_labels", &error.to_string());
        Labels::default()
    });
    let mut files: Vec<(String, RuleFile)> = Vec::new();
    let mut read = |key: &str, name: String, text: &str, fault: &mut dyn FnMut(&str, &str)| {
        if files.iter().any(|(known, _)| *known == name) {
            return fault(key, &format!("{name} stands twice"));
        }
        match RuleFile::parse(&name, text) {
            Ok((rules, _)) => files.push((name, rules)),
            Err(faults) => faults.faults.iter().for_each(|found| fault(key, &found.in_file(&faults.file))),
        }
    };
    for (at, pack) in file.packs.iter().enumerate() {
        let key = format!("rules.packs[{at}]");
        match skerry_alerting::rules::pack(pack) {
            Some(text) => read(&key, format!("pack:{pack}"), text, fault),
            None => fault(&key, &format!("there is no rule pack {pack:?}; `skerry rules packs` lists them")),
        }
    }
    for (at, pattern) in file.files.iter().enumerate() {
        let key = format!("rules.files[{at}]");
        let paths = match found(&folder.join(pattern)) {
            Ok(paths) => paths,
            Err(problem) => {
                fault(&key, &problem);
                continue;
            }
        };
        for path in paths {
            match text(&path) {
                Ok(text) => read(&key, path.display().to_string(), &text, fault),
                Err(problem) => fault(&key, &format!("{} {problem}", path.display())),
            }
        }
    }
    if files.len() > FILES_MAX {
        fault("rules.files", &format!("{} rule files, at most {FILES_MAX} are read", files.len()));
    }
    Config {
        files,
        evaluation_interval: file.evaluation_interval.0,
        query_offset: file.query_offset.0,
        external_labels,
        memory: file.memory,
    }
}

/// A file's text, within bounds.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has {size} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// The files that a path names, whose last part may have `*` and `?`; sorted.
pub(crate) fn found(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let folder = pattern.parent().unwrap_or(Path::new("."));
    if folder.to_string_lossy().contains(['*', '?']) {
        return Err("`*` and `?` may stand in the last part of a path alone".into());
    }
    if !name.contains(['*', '?']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let list = std::fs::read_dir(folder).map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in list.flatten() {
        if entry.file_name().to_str().is_some_and(|found| matches(name.as_bytes(), found.as_bytes())) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a name meets a pattern: `*` is any text, `?` any byte. Goes back to the last `*` alone, so it takes no longer
/// than the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    (p, n) = (at + 1, from + 1);
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_meet_patterns() {
        for (pattern, name, meets) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a?c*", "abc", true),
            ("a?c*", "ac", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), meets, "{pattern} {name}");
        }
    }

    #[test]
    fn every_fault_of_every_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let bad = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n";
        std::fs::write(folder.path().join("bad.yml"), bad).unwrap();
        std::fs::write(folder.path().join("good.yml"), "groups:\n- name: g\n  rules:\n  - {record: a, expr: up}\n")
            .unwrap();
        let document = skerry_yaml::read::<File>(
            "{evaluation_interval: 0s, packs: [nobody], files: ['*.yml', gone.yml, '*/x.yml', good.yml], memory: 1KiB}",
        );
        let mut told = Vec::new();
        let config = check(&document.unwrap().value, folder.path(), &mut |key: &str, problem: &str| {
            told.push(format!("{key}: {problem}"));
        });
        assert_eq!(config.files.len(), 1);
        let bad = folder.path().join("bad.yml").display().to_string();
        let expected = [
            "rules.evaluation_interval: 1s",
            "rules.memory: 1MiB",
            "rules.packs[0]: there is no rule pack \"nobody\"",
            &format!("rules.files[0]: {bad}:5: "),
            "rules.files[1]: ",
            "rules.files[2]: `*`",
            "rules.files[3]: ",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
