//! What `skerry-agent check-config` says of files: of each by itself, and of all of them together, as the layers of one
//! node.

use super::document::{KIND, NodeConfig, read_document};
use super::effective::{Effective, Sections};
use super::local::{Local, read_local};
use crate::rules::Sources;
use crate::{scale, scrape};
use anyhow::Context;
use skerry_model::StreamName;
use skerry_scaling::clash::{Layer, Origin, clashes};
use skerry_yaml::manifests;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is good, and what one may want to look at, one to a line.
    pub said: Vec<String>,
    /// What has to be mended, one to a line.
    pub faults: Vec<String>,
}

/// A file that is good by itself.
enum File {
    Local(Box<Local>),
    Signed(StreamName, Box<NodeConfig>, Layer),
    Manifest(PathBuf, Layer),
}

/// Checks the files of one node: an agent.yaml, NodeConfigs of its streams, manifests; any of them may be absent. Blocks.
#[must_use]
pub fn check_files(paths: &[PathBuf]) -> Checked {
    let mut checked = Checked::default();
    let mut files: Vec<File> = Vec::new();
    for path in paths {
        match read(path, &mut checked.said) {
            Ok(file) => {
                let second = files.iter().find_map(|other| second(&file, other));
                checked.faults.extend(second.map(|problem| format!("{}: {problem}", path.display())));
                files.push(file);
            }
            Err(error) => checked.faults.push(format!("{error:#}")),
        }
    }
    for clash in clashes(&layers(files)) {
        match clash.is_usual {
            true => checked.said.push(format!("remark: {clash}")),
            false => checked.faults.push(clash.to_string()),
        }
    }
    checked
}

/// Why two files cannot be those of one node.
fn second(file: &File, other: &File) -> Option<String> {
    match (file, other) {
        (File::Local(_), File::Local(_)) => {
            Some("is the second agent.yaml: files that are checked together are those of one node".to_owned())
        }
        (File::Signed(one, ..), File::Signed(two, ..)) if one == two => {
            Some(format!("is the second NodeConfig of {one}: a node has one of each stream"))
        }
        _ => None,
    }
}

fn read(path: &Path, said: &mut Vec<String>) -> anyhow::Result<File> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let is_document = text.lines().any(|line| line.starts_with("kind:") || line.starts_with("apiVersion:"));
    if !is_document {
        return local(path, said);
    }
    if is_manifest(&text) {
        let (policies, workloads) = scale::documents(&name, &text)?;
        let (policies, workloads) = (count(policies.len(), "policy", "policies"), workloads.len());
        let workloads = count(workloads, "workload", "workloads");
        said.push(format!(
            "{name}: good manifests, {policies} and {workloads}; they take effect behind a NodeConfig, or where `scaling.files` names this file"
        ));
        let layer = Layer::new(&name, Origin::Manifest, &manifests::plain(&name, &text)?);
        return Ok(File::Manifest(path.to_owned(), layer));
    }
    let document = read_document(&name, &text, None)?;
    let rules = document.spec.rules.as_ref().map(Sources::read).unwrap_or_default();
    let faults: Vec<String> = rules.faults.iter().map(ToString::to_string).collect();
    anyhow::ensure!(faults.is_empty(), "files that it names here: {}", faults.join("\n"));
    said.push(format!("{name}: a good NodeConfig for {}", document.metadata.name));
    let stream = document.metadata.name.parse().context("metadata.name")?;
    let layer = Layer::new(&name, Origin::Stream, &manifests::read(&name, &text)?.1);
    Ok(File::Signed(stream, Box::new(document), layer))
}

fn local(path: &Path, said: &mut Vec<String>) -> anyhow::Result<File> {
    let local = read_local(path)?;
    let Sections { rules, scaling, scrape, .. } = &local.sections;
    if let Some(path) = scrape.as_ref().and_then(|scrape| scrape.config_file.as_ref()) {
        scrape::read_file(path)?;
    }
    let rules = rules.as_ref().map(Sources::read).unwrap_or_default();
    said.extend(rules.remarks.iter().map(|remarks| format!("remark: {remarks}")));
    for (at, file) in scaling.iter().flat_map(|scaling| scaling.files.iter()).enumerate() {
        if crate::patterns::matching(Path::new(file), 1).is_empty() {
            said.push(format!("remark: {}: scaling.files[{at}]: there is no {file} now", path.display()));
        }
    }
    said.push(format!("{}: a good config for node {}", path.display(), local.node));
    Ok(File::Local(Box::new(local)))
}

/// Whether a file is meant as manifests: its first document is none that takes others behind it.
fn is_manifest(text: &str) -> bool {
    let documents = skerry_yaml::documents(text);
    let first = documents.first().and_then(|text| skerry_yaml::values::read(text).ok());
    let kind = first.as_ref().and_then(|first| first.value.get("kind")?.as_str());
    kind != Some(KIND)
        && kind.is_some_and(|kind| ["ScalingPolicy", "HorizontalPodAutoscaler", "Workload"].contains(&kind))
}

/// The files as layers of one node, the lowest first.
fn layers(mut files: Vec<File>) -> Vec<Layer> {
    // Manifests given here stand beside those that a config names; groups come in the order of their names, then the node.
    files.sort_by_key(|file| match file {
        File::Manifest(..) => (0, String::new()),
        File::Local(_) => (1, String::new()),
        File::Signed(stream, ..) => (if stream.as_str().starts_with("node/") { 3 } else { 2 }, stream.to_string()),
    });
    let sections = files.iter().filter_map(|file| match file {
        File::Local(local) => Some(&local.sections),
        File::Signed(_, document, _) => Some(&document.spec),
        File::Manifest(..) => None,
    });
    let scaling = Effective::of(sections).scaling;
    let named = scale::Manifests::files(&scaling);
    let is_named = |path: &Path| path.canonicalize().is_ok_and(|path| named.contains(&path));
    let mut layers = scale::Manifests::layers(&scaling);
    layers.extend(files.into_iter().filter_map(|file| match file {
        // One that a config names is a layer already.
        File::Manifest(path, layer) => (!is_named(&path)).then_some(layer),
        File::Signed(_, _, layer) => Some(layer),
        File::Local(_) => None,
    }));
    layers
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {name: group/edge}\nspec:\n  collect: {}\n";

    fn policy(name: &str, target: &str) -> String {
        format!(
            "---\napiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {{name: {name}}}\nspec:\n  maxReplicas: 3\n  scaleTargetRef: {{kind: Container, name: {target}}}\n"
        )
    }

    const WORKLOAD: &str = "---\napiVersion: skerry.io/v1\nkind: Workload\nmetadata: {name: till}\nspec: {containers: [{name: a, image: b}]}\n";

    /// What is said and what is at fault, with the folder's name left out.
    fn check(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let here = format!("{}/", folder.path().display());
        let mut paths = Vec::new();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, text.replace("HERE/", &here)).unwrap();
            // What agent.yaml names is not given.
            if !name.starts_with("own-") {
                paths.push(path);
            }
        }
        let Checked { said, faults } = check_files(&paths);
        let short = |lines: Vec<String>| lines.into_iter().map(|line| line.replace(&here, "")).collect();
        (short(said), short(faults))
    }

    #[test]
    fn each_file_is_judged_by_what_it_is() {
        let agent = "node: pi-4\n";
        let manifest = [policy("web", "web"), WORKLOAD.to_owned()].concat();
        let (said, faults) = check(&[("agent.yaml", agent), ("edge.yaml", CONFIG), ("web.yaml", &manifest)]);
        assert_eq!(faults, [""; 0]);
        assert_eq!(said[0], "agent.yaml: a good config for node pi-4");
        assert_eq!(said[1], "edge.yaml: a good NodeConfig for group/edge");
        assert!(said[2].starts_with("web.yaml: good manifests, 1 policy and 1 workload; "), "{said:?}");
        let bad = manifest.replace("maxReplicas: 3", "maxReplica: 3");
        let (said, faults) = check(&[("web.yaml", &bad), ("edge.yaml", CONFIG)]);
        assert_eq!(said, ["edge.yaml: a good NodeConfig for group/edge"]);
        assert!(faults[0].contains("web.yaml:6: spec.maxReplica: "), "{faults:?}");
        let (_, faults) =
            check(&[("a.yaml", CONFIG), ("b.yaml", CONFIG), ("c.yaml", "node: a\n"), ("d.yaml", "node: b\n")]);
        assert!(faults[0].starts_with("b.yaml: is the second NodeConfig of group/edge"), "{faults:?}");
        assert!(faults[1].starts_with("d.yaml: is the second agent.yaml"), "{faults:?}");
        let (_, faults) = check(&[("e.yaml", "kind: [\n")]);
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn policies_of_one_target_are_found_in_a_file_and_over_files() {
        let both = format!("{CONFIG}{}{}", policy("one", "web"), policy("two", "web"));
        let (said, faults) = check(&[("edge.yaml", &both)]);
        assert_eq!(said.len(), 1);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].starts_with(
                "edge.yaml:19: spec.scaleTargetRef: Container/web is the target of two and of one, at edge.yaml:12: "
            ),
            "{faults:?}"
        );
        let (one, two) = (format!("{CONFIG}{}", policy("one", "web")), format!("{CONFIG}{}", policy("two", "web")));
        let node = two.replace("group/edge", "node/pi-4");
        // The node's own stream lies above the group's, in whatever order the files are given.
        let (_, faults) = check(&[("node.yaml", &node), ("edge.yaml", &one)]);
        assert!(faults[0].starts_with("node.yaml:12: ") && faults[0].contains(" at edge.yaml:12: "), "{faults:?}");
        let same = one.replace("group/edge", "node/pi-4");
        let (said, faults) = check(&[("node.yaml", &same), ("edge.yaml", &one)]);
        assert_eq!(faults, [""; 0]);
        assert!(
            said[2].starts_with("remark: node.yaml:9: metadata.name: ScalingPolicy one stands at edge.yaml:9 too"),
            "{said:?}"
        );
    }

    #[test]
    fn manifests_that_a_config_names_are_layers_too() {
        let agent = "node: pi-4\nscaling: {files: ['HERE/own-*.yaml', HERE/gone.yaml]}\n";
        let (said, faults) = check(&[("agent.yaml", agent), ("own-a.yaml", WORKLOAD), ("own-b.yaml", WORKLOAD)]);
        assert!(
            faults[0].starts_with("own-a.yaml:4: metadata.name: Workload till stands at own-b.yaml:4 too"),
            "{faults:?}"
        );
        assert!(said[0].starts_with("remark: agent.yaml: scaling.files[1]: there is no "), "{said:?}");
        // One that is given as well is still one file.
        let agent_of_given = agent.replace("own-*", "given");
        let (_, faults) = check(&[("agent.yaml", &agent_of_given), ("given.yaml", WORKLOAD)]);
        assert_eq!(faults, [""; 0]);
        let edge = format!("{CONFIG}{}", policy("two", "web"));
        let (_, faults) = check(&[("agent.yaml", agent), ("own-a.yaml", &policy("one", "web")), ("edge.yaml", &edge)]);
        assert!(faults[0].starts_with("edge.yaml:12: ") && faults[0].contains(" at own-a.yaml:7: "), "{faults:?}");
    }
}
