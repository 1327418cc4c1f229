//! Documents that stand behind a NodeConfig in a signed file: rules, routing and silences, as their own programs write
//! them.
//!
//! ```yaml
//! apiVersion: skerry.io/v1
//! kind: RuleGroup            # or AlertRouting, or Silence
//! metadata: {name: thermal}
//! spec:                      # a rule file; alertmanager.yml; a silence as Alertmanager's API takes it
//!   groups: []
//! ```
//!
//! Invariants:
//! - `spec` is handed on as the text that it is, at its lines, so that faults in it name the lines of the signed file.
//! - At most [`DOCUMENTS_MAX`] documents stand in a file.

use serde::Deserialize;
use serde::de::IgnoredAny;
use skerry_yaml::{Fault, Faults, Places};
use std::collections::BTreeMap;

/// Most documents of a file, the NodeConfig among them.
pub const DOCUMENTS_MAX: usize = 64;
/// The `apiVersion` of every document.
const API_VERSION: &str = "skerry.io/v1";
/// Longest name.
const NAME_BYTES_MAX: usize = 128;

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rule file of Prometheus.
    RuleGroup,
    /// An alertmanager.yml.
    AlertRouting,
    /// A silence.
    Silence,
}

impl Kind {
    /// As it stands in a document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RuleGroup => "RuleGroup",
            Self::AlertRouting => "AlertRouting",
            Self::Silence => "Silence",
        }
    }
}

/// A document behind a NodeConfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Further {
    /// What it is.
    pub kind: Kind,
    /// Its name, unique among its kind in a file.
    pub name: String,
    /// What stands in `spec`, after as many blank lines as stand before it in the file.
    pub spec: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Frame {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(rename = "spec")]
    _spec: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
}

/// The documents of a signed file: the text of the NodeConfig, which stands first, and what stands behind it. What the
/// NodeConfig says, and what the specs say, is for others to judge.
///
/// # Errors
/// Every fault of the frames.
pub fn read(file: &str, text: &str) -> Result<(String, Vec<Further>), Faults> {
    let mut texts = skerry_yaml::documents(text);
    if texts.is_empty() {
        return Ok((text.to_owned(), Vec::new()));
    }
    let mut faults = Vec::new();
    let mut found: Vec<Further> = Vec::new();
    let rest = texts.split_off(1);
    if rest.len() >= DOCUMENTS_MAX {
        let problem = format!("{} documents are too many: at most {DOCUMENTS_MAX} are taken", rest.len() + 1);
        faults.push(Fault { line: None, key: String::new(), problem });
    }
    for text in rest.iter().take(DOCUMENTS_MAX) {
        match further(text) {
            Ok((document, places)) => {
                let same = |other: &&Further| other.kind == document.kind;
                let is_second = match document.kind {
                    Kind::AlertRouting => found.iter().any(|other| same(&other)),
                    _ => found.iter().filter(same).any(|other| other.name == document.name),
                };
                if is_second {
                    let problem = match document.kind {
                        Kind::AlertRouting => "is the second AlertRouting: one is expected".to_owned(),
                        kind => format!("{:?} stands twice among the {}s", document.name, kind.as_str()),
                    };
                    faults.push(Fault { line: places.line("metadata.name"), key: "metadata.name".into(), problem });
                }
                found.push(document);
            }
            Err(found) => faults.extend(found),
        }
    }
    let first = texts.pop().unwrap_or_default();
    if faults.is_empty() { Ok((first, found)) } else { Err(Faults { file: file.to_owned(), faults }) }
}

fn further(text: &str) -> Result<(Further, Places), Vec<Fault>> {
    let document = skerry_yaml::read::<Frame>(text).map_err(|fault| vec![fault])?;
    let Frame { api_version, kind, metadata: Metadata { name, .. }, .. } = document.value;
    let places = document.places;
    let mut faults = Vec::new();
    let mut fault = |key: &str, problem: String| {
        faults.push(Fault { line: places.line(key), key: key.to_owned(), problem });
    };
    if api_version != API_VERSION {
        fault("apiVersion", format!("{api_version:?} is unknown: {API_VERSION} is expected"));
    }
    let known = [Kind::RuleGroup, Kind::AlertRouting, Kind::Silence].into_iter().find(|known| known.as_str() == kind);
    if known.is_none() {
        fault(
            "kind",
            format!("{kind:?} is unknown: RuleGroup, AlertRouting or Silence is expected behind the NodeConfig"),
        );
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        fault("metadata.name", format!("1 to {NAME_BYTES_MAX} bytes without control characters are expected"));
    }
    let spec = skerry_yaml::part(text, "spec", false);
    if spec.is_none() {
        fault("spec", "cannot be taken by itself: anchors are expected in the part that uses them".into());
    }
    match (known, spec) {
        (Some(kind), Some(spec)) if faults.is_empty() => Ok((Further { kind, name, spec }, places)),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {name: group/a}\nspec: {}\n---\n\
        apiVersion: skerry.io/v1\nkind: RuleGroup\nmetadata:\n  name: thermal\nspec:\n  groups:\n  - name: g\n---\n\
        apiVersion: skerry.io/v1\nkind: Silence\nmetadata: {name: thermal}\nspec: {comment: x}\n";

    #[test]
    fn documents_come_with_their_lines() {
        let (first, further) = read("a.yaml", FILE).unwrap();
        assert!(first.ends_with("spec: {}\n") && !first.contains("RuleGroup"), "{first}");
        assert_eq!(further.len(), 2);
        assert_eq!((further[0].kind, further[0].name.as_str()), (Kind::RuleGroup, "thermal"));
        assert_eq!(further[0].spec.lines().position(|line| line.contains("groups:")), Some(10));
        assert_eq!(further[1].spec.trim(), "{comment: x}");
        assert_eq!(read("a.yaml", "").unwrap(), (String::new(), vec![]));
    }

    #[test]
    fn faults_of_frames_name_their_lines() {
        for (from, to, told) in [
            ("kind: RuleGroup", "kind: RuleGroups", "a.yaml:7: kind: "),
            ("skerry.io/v1\nkind: Rule", "v1\nkind: Rule", "a.yaml:6: apiVersion: "),
            ("name: thermal\nspec", "name: ''\nspec", "a.yaml:9: metadata.name: "),
            ("  groups:\n  - name: g\n", "  groups: *a\n", "a.yaml:"),
            ("kind: Silence", "kind: RuleGroup", "a.yaml:16: metadata.name: "),
            ("spec: {comment", "speck: {comment", "a.yaml:17: "),
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE);
            let error = read("a.yaml", &text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{to}: {error}");
        }
        let two = format!(
            "{FILE}---\n{0}\n---\n{0}",
            "{apiVersion: skerry.io/v1, kind: AlertRouting, metadata: {name: a}, spec: {}}"
        );
        assert!(read("a.yaml", &two).unwrap_err().to_string().contains("second AlertRouting"));
        let many = format!("a: b\n{}", "---\na: b\n".repeat(100));
        assert!(read("a.yaml", &many).unwrap_err().to_string().contains("too many"));
    }
}
