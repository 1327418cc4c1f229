//! Documents that stand behind a NodeConfig in a signed file: rules, routing, silences, scaling policies and workloads, as
//! their own programs write them.
//!
//! ```yaml
//! apiVersion: skerry.io/v1
//! kind: RuleGroup            # or AlertRouting, Silence, ScalingPolicy, Workload
//! metadata: {name: thermal}
//! spec:                      # a rule file; alertmanager.yml; a silence as Alertmanager's API takes it; …
//!   groups: []
//! ```
//!
//! A `HorizontalPodAutoscaler` of Kubernetes (`autoscaling/v2`, and of old `v2beta2` and `v1`, whose fields mean the same)
//! is taken as a ScalingPolicy, as it is written or as `kubectl get -o yaml` shows it: named `NAMESPACE/NAME` where it has
//! a namespace, its status and other metadata left out.
//!
//! Invariants:
//! - `spec` is handed on as the text that it is, at its lines, so that faults in it name the lines of the signed file.
//! - At most [`DOCUMENTS_MAX`] documents stand in a file.

use crate::{Document, Fault, Faults};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Most documents of a file, the NodeConfig among them.
pub const DOCUMENTS_MAX: usize = 64;
/// The `apiVersion` of every document.
const API_VERSION: &str = "skerry.io/v1";
/// A document of Kubernetes that is taken for a ScalingPolicy.
const AUTOSCALER: &str = "HorizontalPodAutoscaler";
/// Its versions. `v2beta1` writes targets in another way.
const AUTOSCALER_VERSIONS: [&str; 3] = ["autoscaling/v2", "autoscaling/v2beta2", AUTOSCALER_V1];
const AUTOSCALER_V1: &str = "autoscaling/v1";
/// Where `autoscaling/v1` has what its spec cannot say, as JSON.
const V1_ANNOTATIONS: [&str; 2] =
    ["autoscaling.alpha.kubernetes.io/metrics", "autoscaling.alpha.kubernetes.io/behavior"];
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
    /// How many replicas of something run: a HorizontalPodAutoscaler and more.
    ScalingPolicy,
    /// Containers that are kept as declared.
    Workload,
}

impl Kind {
    const ALL: [Self; 5] = [Self::RuleGroup, Self::AlertRouting, Self::Silence, Self::ScalingPolicy, Self::Workload];

    /// As it stands in a document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RuleGroup => "RuleGroup",
            Self::AlertRouting => "AlertRouting",
            Self::Silence => "Silence",
            Self::ScalingPolicy => "ScalingPolicy",
            Self::Workload => "Workload",
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
    /// Line of its name in the file, from 1.
    pub line: Option<u64>,
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
    /// An annotation of `autoscaling/v1` that says more than its spec.
    #[serde(skip)]
    beside_spec: Option<&'static str>,
}

/// As Kubernetes has it: whatever else there is belongs to others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForeignFrame {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: ForeignMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ForeignMetadata {
    name: String,
    namespace: String,
    annotations: Option<BTreeMap<String, String>>,
}

impl ForeignFrame {
    /// The frame of an autoscaler; nothing where it is none.
    fn read(text: &str) -> Option<Document<Frame>> {
        let Document { value: frame, places } = crate::read::<Self>(text).ok()?;
        let ForeignMetadata { name, namespace, annotations } = frame.metadata;
        let (api_version, kind) = (frame.api_version, frame.kind);
        let is_one = kind == AUTOSCALER;
        let annotations = annotations.filter(|_| api_version == AUTOSCALER_V1).unwrap_or_default();
        let beside_spec = V1_ANNOTATIONS.into_iter().find(|known| annotations.contains_key(*known));
        let name = if namespace.is_empty() || name.is_empty() { name } else { format!("{namespace}/{name}") };
        let metadata = Metadata { name, _labels: BTreeMap::new(), beside_spec };
        is_one.then_some(Document { value: Frame { api_version, kind, metadata, _spec: IgnoredAny }, places })
    }
}

/// The documents of a signed file: the text of the NodeConfig, which stands first, and what stands behind it. What the
/// NodeConfig says, and what the specs say, is for others to judge.
///
/// # Errors
/// Every fault of the frames.
pub fn read(file: &str, text: &str) -> Result<(String, Vec<Further>), Faults> {
    let mut texts = crate::documents(text);
    if texts.is_empty() {
        return Ok((text.to_owned(), Vec::new()));
    }
    let rest = texts.split_off(1);
    let found = collect(file, &rest)?;
    Ok((texts.pop().unwrap_or_default(), found))
}

/// The documents of a file that has no NodeConfig. What the specs say is for others to judge.
///
/// # Errors
/// Every fault of the frames.
pub fn plain(file: &str, text: &str) -> Result<Vec<Further>, Faults> {
    collect(file, &crate::documents(text))
}

fn collect(file: &str, texts: &[String]) -> Result<Vec<Further>, Faults> {
    let mut faults = Vec::new();
    let mut found: Vec<Further> = Vec::new();
    if texts.len() >= DOCUMENTS_MAX {
        let problem = format!("{} documents are too many: at most {DOCUMENTS_MAX} are taken", texts.len() + 1);
        faults.push(Fault { line: None, key: String::new(), problem });
    }
    for text in texts.iter().take(DOCUMENTS_MAX) {
        match further(text) {
            Ok(document) => {
                let is_same = |other: &&Further| {
                    other.kind == document.kind && (other.kind == Kind::AlertRouting || other.name == document.name)
                };
                if let Some(first) = found.iter().find(is_same) {
                    let at = first.line.map(|line| format!(", the first in line {line}")).unwrap_or_default();
                    let problem = match document.kind {
                        Kind::AlertRouting => format!("is the second AlertRouting{at}: one is expected"),
                        kind => format!(
                            "{:?} stands twice among the {}s{at}: give one another name, or take it away",
                            document.name,
                            kind.as_str()
                        ),
                    };
                    faults.push(Fault { line: document.line, key: "metadata.name".into(), problem });
                }
                found.push(document);
            }
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(Faults { file: file.to_owned(), faults }) }
}

fn further(text: &str) -> Result<Further, Vec<Fault>> {
    let document = match ForeignFrame::read(text) {
        Some(document) => document,
        None => crate::read::<Frame>(text).map_err(|fault| vec![fault])?,
    };
    let Frame { api_version, kind, metadata: Metadata { name, beside_spec, .. }, .. } = document.value;
    let places = document.places;
    let mut faults = Vec::new();
    let mut fault = |key: &str, problem: String| {
        faults.push(Fault { line: places.line(key), key: key.to_owned(), problem });
    };
    let is_autoscaler = kind == AUTOSCALER;
    let expected: &[&str] = if is_autoscaler { &AUTOSCALER_VERSIONS } else { &[API_VERSION] };
    if !expected.contains(&api_version.as_str()) {
        fault("apiVersion", format!("{api_version:?} is unknown: {} is expected", expected.join(" or ")));
    }
    if let Some(annotation) = beside_spec {
        let problem = "holds a part of what it does: write it in the spec, as autoscaling/v2 has it";
        fault("metadata.annotations", format!("{annotation} {problem}"));
    }
    let known = if is_autoscaler {
        Some(Kind::ScalingPolicy)
    } else {
        Kind::ALL.into_iter().find(|known| known.as_str() == kind)
    };
    if known.is_none() {
        fault("kind", format!("{kind:?} is not expected here: {} is", Kind::ALL.map(Kind::as_str).join(" or ")));
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        fault("metadata.name", format!("1 to {NAME_BYTES_MAX} bytes without control characters are expected"));
    }
    let spec = crate::part(text, "spec", false);
    if spec.is_none() {
        fault("spec", "cannot be taken by itself: anchors are expected in the part that uses them".into());
    }
    match (known, spec) {
        (Some(kind), Some(spec)) if faults.is_empty() => {
            Ok(Further { kind, name, line: places.line("metadata.name"), spec })
        }
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Places;

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
        let (_, rest) = FILE.split_once("---\n").unwrap();
        assert_eq!(plain("a.yaml", rest).unwrap().len(), 2);
        assert!(plain("a.yaml", FILE).unwrap_err().to_string().starts_with("a.yaml:2: kind: "));
        assert_eq!(plain("a.yaml", "# nothing\n").unwrap(), vec![]);
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
        assert!(read("a.yaml", &two).unwrap_err().to_string().contains("second AlertRouting, the first in line"));
        let twice = read("a.yaml", &FILE.replace("Silence", "RuleGroup")).unwrap_err().to_string();
        assert!(twice.contains("\"thermal\" stands twice among the RuleGroups, the first in line 9: "), "{twice}");
        let many = format!("a: b\n{}", "---\na: b\n".repeat(100));
        assert!(read("a.yaml", &many).unwrap_err().to_string().contains("too many"));
    }

    #[test]
    fn what_a_spec_lacks_has_the_line_of_the_spec() {
        let frame = "apiVersion: skerry.io/v1\nkind: Workload\nmetadata: {name: a}\n";
        for (spec, line) in [("spec:\n", 4), ("spec: {}\n", 4), ("spec: ~\n", 4), ("spec:\n\n  a: 1\n", 6)] {
            let found = plain("a.yaml", &format!("---\n{frame}{}", spec)).unwrap();
            assert_eq!(found[0].line, Some(4));
            assert_eq!(Places::read(&found[0].spec).line("containers"), Some(line + 1), "{spec}");
        }
        assert_eq!(Places::read("").line("containers"), None);
    }

    #[test]
    fn an_autoscaler_is_a_policy() {
        let shown = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: web\n  namespace: shop\n  \
            uid: 1-2\n  annotations: {a: b}\n  creationTimestamp: null\nspec:\n  maxReplicas: 3\nstatus:\n  conditions: []\n";
        let (_, further) = read("a.yaml", &format!("{FILE}{shown}")).unwrap();
        let last = further.last().unwrap();
        assert_eq!((last.kind, last.name.as_str()), (Kind::ScalingPolicy, "shop/web"));
        assert_eq!(last.spec.lines().position(|line| line.contains("maxReplicas: 3")), Some(27));
        assert!(!last.spec.contains("conditions"));
        let bare = shown.replace("  namespace: shop\n", "");
        assert_eq!(read("a.yaml", &format!("{FILE}{bare}")).unwrap().1.last().unwrap().name, "web");
        for version in ["autoscaling/v2beta2", "autoscaling/v1"] {
            let (_, further) = read("a.yaml", &format!("{FILE}{}", shown.replace("autoscaling/v2", version))).unwrap();
            assert_eq!(further.last().map(|last| last.kind), Some(Kind::ScalingPolicy), "{version}");
        }
        let of_v1 = "autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata:\n  annotations: {autoscaling.alpha.kubernetes.io/metrics: '[]'}\n  other: 1";
        for (from, to, told) in [
            ("spec:", "speck:", "a.yaml:"),
            ("  name: web\n", "", "a.yaml:"),
            (
                "autoscaling/v2",
                "autoscaling/v2beta1",
                "a.yaml:19: apiVersion: \"autoscaling/v2beta1\" is unknown: autoscaling/v2 or autoscaling/v2beta2 or autoscaling/v1 is",
            ),
            (
                "autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: web\n  namespace: shop\n  uid: 1-2\n  annotations: {a: b}",
                &format!("{of_v1}\n  name: web"),
                "a.yaml:22: metadata.annotations: autoscaling.alpha.kubernetes.io/metrics holds a part of what it does",
            ),
        ] {
            let text = format!("{FILE}{}", shown.replace(from, to));
            let error = read("a.yaml", &text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{to}: {error}");
        }
    }
}
