//! Manifests on the node: policies and workloads that no signed document brings.

use super::config::Config;
use crate::patterns;
use crate::rules::{below, read_text};
use skerry_scaling::clash::{Layer, Origin};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::workload::Workload;
use skerry_yaml::manifests::{self, Kind};
use skerry_yaml::{Fault, Faults};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Most files of all patterns together.
const FILES_MAX: usize = 256;

/// What manifests hold.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Policies.
    pub policies: Vec<ScalingPolicy>,
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// Faults of files that are left out for them.
    pub faults: Vec<Faults>,
}

impl Manifests {
    /// Reads the files that a config names. Blocks.
    #[must_use]
    pub fn read(config: &Config) -> Self {
        let mut manifests = Self::default();
        let paths = paths(config);
        if paths.len() > FILES_MAX {
            let problem = format!("more than {FILES_MAX} files: the first ones by name are read, the others are not");
            manifests.faults.push(faults("scaling.files", problem));
        }
        for path in paths.into_iter().take(FILES_MAX) {
            let name = path.display().to_string();
            let read = read_text(&path).map_err(|problem| faults(&name, problem));
            match read.and_then(|text| documents(&name, &text)) {
                Ok((policies, workloads)) => {
                    manifests.policies.extend(policies);
                    manifests.workloads.extend(workloads);
                }
                Err(faults) => manifests.faults.push(faults),
            }
        }
        manifests
    }

    /// The files that a config names as layers of the node, the lowest first: of one name the first file counts. Those with
    /// faults are left out. Blocks.
    #[must_use]
    pub fn layers(config: &Config) -> Vec<Layer> {
        let layer = |path: PathBuf| {
            let (name, text) = (path.display().to_string(), read_text(&path).ok()?);
            Some(Layer::new(&name, Origin::Manifest, &manifests::plain(&name, &text).ok()?))
        };
        paths(config).into_iter().take(FILES_MAX).rev().filter_map(layer).collect()
    }

    /// The files that a config names, without links. Blocks.
    #[must_use]
    pub fn files(config: &Config) -> BTreeSet<PathBuf> {
        paths(config).into_iter().take(FILES_MAX).filter_map(|path| path.canonicalize().ok()).collect()
    }
}

/// The files that a config names, one more than are read where there are more.
fn paths(config: &Config) -> BTreeSet<PathBuf> {
    config.files.iter().flat_map(|pattern| patterns::matching(Path::new(pattern), FILES_MAX + 1)).collect()
}

/// The policies of a text that is to be tried out: of manifests, or of what stands behind a NodeConfig.
///
/// # Errors
/// Every fault; that there is no policy is one.
pub(super) fn tried(file: &str, text: &str) -> Result<Vec<ScalingPolicy>, Faults> {
    let first = skerry_yaml::documents(text).into_iter().next().unwrap_or_default();
    let is_config = skerry_yaml::values::read(&first).is_ok_and(|first| first.value["kind"] == "NodeConfig");
    let all = if is_config { manifests::read(file, text)?.1 } else { manifests::plain(file, text)? };
    let (mut policies, mut found) = (Vec::new(), Vec::new());
    for document in all.iter().filter(|document| document.kind == Kind::ScalingPolicy) {
        match ScalingPolicy::parse(&document.name, &document.spec) {
            Ok(policy) => policies.push(policy),
            Err(faults) => found.extend(faults),
        }
    }
    if policies.is_empty() && found.is_empty() {
        return Err(faults(file, "holds no ScalingPolicy and no HorizontalPodAutoscaler".into()));
    }
    if found.is_empty() { Ok(policies) } else { Err(Faults { file: file.to_owned(), faults: found }) }
}

/// The policies and workloads of a text.
///
/// # Errors
/// Every fault.
pub fn documents(file: &str, text: &str) -> Result<(Vec<ScalingPolicy>, Vec<Workload>), Faults> {
    let (mut policies, mut workloads, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for document in manifests::plain(file, text)? {
        let outcome = match document.kind {
            Kind::ScalingPolicy => {
                ScalingPolicy::parse(&document.name, &document.spec).map(|policy| policies.push(policy))
            }
            Kind::Workload => Workload::parse(&document.name, &document.spec).map(|workload| workloads.push(workload)),
            other => {
                let problem = format!("{} is not expected here: ScalingPolicy or Workload is", other.as_str());
                let line = skerry_yaml::lines(&document.spec).position(|line| !line.trim().is_empty());
                Err(vec![Fault { line: line.map(|at| at as u64 + 1), key: "kind".into(), problem }])
            }
        };
        found.extend(outcome.err().into_iter().flat_map(|faults| below("", faults)));
    }
    if found.is_empty() { Ok((policies, workloads)) } else { Err(Faults { file: file.to_owned(), faults: found }) }
}

fn faults(file: &str, problem: String) -> Faults {
    Faults { file: file.to_owned(), faults: vec![Fault { line: None, key: String::new(), problem }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_tried_out_wherever_they_stand() {
        let policy = "apiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {name: web}\nspec:\n  maxReplicas: 3\n  \
                      scaleTargetRef: {kind: Container, name: web}\n";
        let config = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {name: group/a}\nspec: {}\n";
        for text in [policy.to_owned(), format!("{config}---\n{policy}")] {
            let names: Vec<String> = tried("a.yaml", &text).unwrap().into_iter().map(|policy| policy.name).collect();
            assert_eq!(names, ["web"]);
        }
        let bad = format!("{config}---\n{}", policy.replace("3", "0"));
        for (text, told) in [
            (bad.as_str(), "a.yaml:10: spec.maxReplicas: "),
            (config, "a.yaml: holds no ScalingPolicy"),
            ("", "a.yaml: holds no ScalingPolicy"),
            ("node: a\n", "a.yaml:1: "),
        ] {
            let error = tried("a.yaml", text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
