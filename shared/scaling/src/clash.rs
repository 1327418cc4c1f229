//! Documents of one node that stand against each other, found before they run there.
//!
//! ```text
//! manifests on the node < groups by name < the node's own stream     (of one name the upper counts)
//!                                  │
//!            what is left: two policies on one target? ─> neither would scale it
//! ```
//!
//! Invariants:
//! - What is told here is what a node does: the rules of names and targets are those of its layers and of its engine.
//! - Documents with faults are left out: who reads them tells of that.

use crate::policy::ScalingPolicy;
use crate::target::TargetRef;
use skerry_yaml::manifests::{Further, Kind};
use skerry_yaml::{Fault, Places};
use std::fmt;

/// What a layer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file on the node that `scaling.files` names.
    Manifest,
    /// A signed NodeConfig of a group or of a node.
    Stream,
}

/// The documents of one file or stream.
#[derive(Debug, Clone)]
pub struct Layer {
    name: String,
    origin: Origin,
    documents: Vec<Placed>,
}

/// A document that counts, and where it stands.
#[derive(Debug, Clone)]
struct Placed {
    kind: Kind,
    name: String,
    line: Option<u64>,
    policy: Option<Aim>,
}

/// What a policy sets.
#[derive(Debug, Clone)]
struct Aim {
    target: TargetRef,
    line: Option<u64>,
    sets_replicas: bool,
    sets_sizes: bool,
}

/// Two documents that stand against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The layer of the upper one.
    pub layer: String,
    /// The layer of the lower one; may be the same.
    pub other: String,
    /// Where the upper one stands, what is wrong, and what to do.
    pub fault: Fault,
    /// One stream replaces a document of another one, which is how a node gets something of its own.
    pub is_usual: bool,
}

/// As a fault of the upper one's file.
impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.in_file(&self.layer))
    }
}

impl Layer {
    /// Of the documents in a file or stream of this name.
    #[must_use]
    pub fn new(name: &str, origin: Origin, documents: &[Further]) -> Self {
        Self { name: name.to_owned(), origin, documents: documents.iter().filter_map(Placed::new).collect() }
    }
}

impl Placed {
    fn new(document: &Further) -> Option<Self> {
        let Further { kind, name, line, spec } = document;
        let policy = match kind {
            Kind::Workload => None,
            Kind::ScalingPolicy => {
                let policy = ScalingPolicy::parse(name, spec).ok()?;
                let line = Places::read(spec).line("scaleTargetRef");
                let (sets_replicas, sets_sizes) = (policy.scales_replicas(), policy.vertical.is_some());
                Some(Aim { target: policy.target, line, sets_replicas, sets_sizes })
            }
            Kind::RuleGroup | Kind::AlertRouting | Kind::Silence => return None,
        };
        Some(Self { kind: *kind, name: name.clone(), line: *line, policy })
    }
}

/// Everything in the layers of one node that stands against something else there; the lowest layer comes first.
#[must_use]
pub fn clashes(layers: &[Layer]) -> Vec<Clash> {
    let mut found = Vec::new();
    let mut counts: Vec<(&Layer, &Placed)> = Vec::new();
    for layer in layers {
        for document in &layer.documents {
            let is_same = |(_, other): &(&Layer, &Placed)| other.kind == document.kind && other.name == document.name;
            if let Some(at) = counts.iter().position(is_same) {
                let (other, replaced) = counts.remove(at);
                found.push(replacement((layer, document), (other, replaced)));
            }
            counts.push((layer, document));
        }
    }
    for (at, (layer, document)) in counts.iter().enumerate() {
        let Some(aim) = &document.policy else { continue };
        let against = |(other, rival): &(&Layer, &Placed)| {
            rivalry((layer, document, aim), (other, rival, rival.policy.as_ref()?))
        };
        found.extend(counts.iter().take(at).find_map(against));
    }
    found
}

/// A document of a name that a lower layer has too.
fn replacement((layer, document): (&Layer, &Placed), (other, replaced): (&Layer, &Placed)) -> Clash {
    let (kind, place) = (document.kind.as_str(), place(&other.name, replaced.line));
    let problem = format!(
        "{kind} {} stands at {place} too: where a node has both, this one counts and the other does nothing; give one another name if both are meant",
        document.name
    );
    Clash {
        layer: layer.name.clone(),
        other: other.name.clone(),
        fault: Fault { line: document.line, key: "metadata.name".into(), problem },
        is_usual: layer.origin == Origin::Stream && other.origin == Origin::Stream,
    }
}

/// Two policies of one target.
fn rivalry(upper: (&Layer, &Placed, &Aim), lower: (&Layer, &Placed, &Aim)) -> Option<Clash> {
    let ((layer, document, aim), (other, rival, rivals)) = (upper, lower);
    if aim.target != rivals.target {
        return None;
    }
    let outcome = match (aim.sets_replicas && rivals.sets_replicas, aim.sets_sizes && rivals.sets_sizes) {
        (true, _) => "where a node has both, neither scales it (AmbiguousSelector)",
        (false, true) => "where a node has both, `vertical` of one of the two counts",
        (false, false) => return None,
    };
    let problem = format!(
        "{} is the target of {} and of {}, at {}: {outcome}; take one of the two away, or give it another target",
        aim.target,
        document.name,
        rival.name,
        place(&other.name, rivals.line)
    );
    let fault = Fault { line: aim.line, key: "spec.scaleTargetRef".into(), problem };
    Some(Clash { layer: layer.name.clone(), other: other.name.clone(), fault, is_usual: false })
}

fn place(layer: &str, line: Option<u64>) -> String {
    line.map_or_else(|| layer.to_owned(), |line| format!("{layer}:{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_yaml::manifests;

    fn policy(name: &str, more: &str) -> String {
        format!(
            "---\napiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata:\n  name: {name}\nspec:\n  maxReplicas: 3\n  {more}\n"
        )
    }

    fn workload(name: &str) -> String {
        format!(
            "---\napiVersion: skerry.io/v1\nkind: Workload\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: b}}]}}\n"
        )
    }

    fn layer(name: &str, origin: Origin, documents: &[String]) -> Layer {
        Layer::new(name, origin, &manifests::plain(name, &documents.concat()).unwrap())
    }

    fn told(layers: &[Layer]) -> Vec<(String, bool)> {
        clashes(layers).into_iter().map(|clash| (clash.to_string(), clash.is_usual)).collect()
    }

    const WEB: &str = "scaleTargetRef: {kind: Container, name: web}";

    #[test]
    fn policies_of_one_target_are_told_with_both_places() {
        let one = layer("a.yaml", Origin::Stream, &[policy("one", WEB), policy("api", &WEB.replace("web", "api"))]);
        let two = layer("b.yaml", Origin::Stream, &[policy("two", WEB)]);
        let expected = "b.yaml:8: spec.scaleTargetRef: Container/web is the target of two and of one, at a.yaml:8: where a node has \
                        both, neither scales it (AmbiguousSelector); take one of the two away, or give it another target";
        assert_eq!(told(&[one.clone(), two.clone()]), [(expected.to_owned(), false)]);
        assert_eq!(told(std::slice::from_ref(&one)), []);
        // In one file, and of three each further one is told.
        let file = layer("c.yaml", Origin::Stream, &[policy("x", WEB), policy("y", WEB), policy("z", WEB)]);
        let all = told(&[file]);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[1].0.starts_with("c.yaml:24: ") && all[1].0.contains("at c.yaml:8: "), "{all:?}");
        // The node's own `one` takes the place of the group's, which then stands against nobody.
        let own = layer("node/a", Origin::Stream, &[policy("one", &WEB.replace("web", "other"))]);
        let replaced = told(&[one, own, two]);
        assert_eq!(replaced.len(), 1, "{replaced:?}");
        assert!(
            replaced[0].1 && replaced[0].0.starts_with("node/a:5: metadata.name: ScalingPolicy one stands at a.yaml:5")
        );
    }

    #[test]
    fn one_target_written_in_two_ways_is_one() {
        for (left, right, count) in [
            ("{kind: SystemdUnit, name: worker}", "{kind: SystemdUnit, name: 'worker@.service'}", 1),
            ("{kind: Deployment, name: web}", "{kind: Deployment, name: web, namespace: default}", 1),
            ("{kind: Deployment, name: web}", "{kind: Deployment, name: web, namespace: shop}", 0),
            ("{kind: Container, name: web}", "{kind: Workload, name: web}", 0),
        ] {
            let of = |name: &str, target: &str| policy(name, &format!("scaleTargetRef: {target}"));
            let file = layer("a", Origin::Manifest, &[of("x", left), of("y", right)]);
            assert_eq!(told(&[file]).len(), count, "{left} {right}");
        }
    }

    #[test]
    fn sizes_and_replicas_of_one_target_are_different_things() {
        let sizes =
            |name: &str| policy(name, "vertical: {updateMode: Auto}\n  scaleTargetRef: {kind: Container, name: web}");
        let sizes = |name: &str| sizes(name).replace("  maxReplicas: 3\n", "");
        assert_eq!(told(&[layer("a", Origin::Stream, &[sizes("x"), policy("y", WEB)])]), []);
        let both = told(&[layer("a", Origin::Stream, &[sizes("x"), sizes("y")])]);
        assert!(both.len() == 1 && both[0].0.contains("`vertical` of one of the two counts"), "{both:?}");
    }

    #[test]
    fn workloads_of_one_name_are_told_with_both_places() {
        let group = layer("group/a", Origin::Stream, &[workload("till")]);
        let node = layer("node/a", Origin::Stream, &[workload("web"), workload("till")]);
        let file = layer("/etc/a.yaml", Origin::Manifest, &[workload("till"), policy("till", WEB)]);
        let usual = told(&[group.clone(), node]);
        assert_eq!(usual.len(), 1);
        assert!(
            usual[0].1 && usual[0].0.starts_with("node/a:9: metadata.name: Workload till stands at group/a:4 too: ")
        );
        let odd = told(&[file, group]);
        assert_eq!(odd.len(), 1);
        assert!(!odd[0].1 && odd[0].0.starts_with("group/a:4: "), "{odd:?}");
    }
}
