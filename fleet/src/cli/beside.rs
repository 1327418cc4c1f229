//! What a config stands against: in its own file, and beside the other configs of the nodes that follow its stream.
//!
//! The server says who follows what and what it holds of each stream; it may be wrong or hide something, so this warns and
//! decides nothing. Manifests that lie on nodes are known here by what nodes report of their policies.

use super::Session;
use super::output::note;
use crate::api::view::{ConfigList, ConfigRevision, NodeList, NodeView};
use crate::scaling::view::{Listed, Policy};
use skerry_model::StreamName;
use skerry_scaling::clash::{Clash, Layer, Origin, clashes};
use skerry_scaling::policy::ScalingPolicy;
use skerry_yaml::manifests::{self, Further, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that are named one by one.
const NAMED_MAX: usize = 5;

/// A config that is about to be signed.
pub(super) struct Coming<'a> {
    /// What its file is called.
    pub(super) file: &'a str,
    pub(super) stream: &'a StreamName,
    /// What stands behind it.
    pub(super) further: &'a [Further],
    /// What the stream holds so far.
    pub(super) newest: Option<&'a ConfigRevision>,
}

/// Says what the config stands against.
pub(super) fn warn(session: &Session, coming: &Coming<'_>) -> anyhow::Result<()> {
    let own = Layer::new(coming.file, Origin::Stream, coming.further);
    let is_of_scaling = |document: &Further| matches!(document.kind, Kind::ScalingPolicy | Kind::Workload);
    if !coming.further.iter().any(is_of_scaling) {
        return Ok(());
    }
    let nodes: NodeList = session.client.get("/nodes", &[])?;
    let follows = |node: &&NodeView| node.streams.iter().any(|stream| stream == coming.stream.as_str());
    let nodes: Vec<NodeView> = nodes.nodes.iter().filter(follows).cloned().collect();
    let configs: ConfigList = session.client.get("/configs", &[])?;
    let mut found = among(&own, coming, &nodes, &configs.configs);
    let reported: Listed<Policy> = session.client.get("/scaling", &[("at", "centre".into())])?;
    found.extend(reports(coming, &nodes, &configs.configs, &reported));
    for (problem, on) in found {
        note(&format!("warning: {problem}{}", shown(&on)));
    }
    Ok(())
}

/// Whatever the config stands against in other streams and in itself, with the nodes that would have both.
fn among(
    own: &Layer,
    coming: &Coming<'_>,
    nodes: &[NodeView],
    configs: &[ConfigRevision],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> =
        clashes(std::slice::from_ref(own)).iter().map(|clash| (clash.to_string(), BTreeSet::new())).collect();
    let mut sets: BTreeMap<Vec<&str>, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        let mut streams: Vec<&str> = node.streams.iter().map(String::as_str).collect();
        // As nodes lay them over each other: groups by name, then the node's own.
        streams.sort_by_key(|stream| (stream.starts_with("node/"), *stream));
        sets.entry(streams).or_default().insert(node.node.clone());
    }
    let layer = |stream: &str| {
        if stream == coming.stream.as_str() {
            return Some(own.clone());
        }
        let config = configs.iter().find(|config| config.stream == stream)?;
        let name = format!("{stream} {}.{}", config.epoch, config.version);
        Some(Layer::new(&name, Origin::Stream, &manifests::read(&name, &config.body).ok()?.1))
    };
    for (streams, on) in sets {
        let layers: Vec<Layer> = streams.into_iter().filter_map(layer).collect();
        let is_ours = |clash: &Clash| clash.layer == coming.file || clash.other == coming.file;
        for clash in clashes(&layers).iter().filter(|clash| is_ours(clash)) {
            found.entry(clash.to_string()).or_default().extend(on.iter().cloned());
        }
    }
    found
}

/// Policies that nodes report, that stand in none of their streams, and that have the target of one of the config's.
fn reports(
    coming: &Coming<'_>,
    nodes: &[NodeView],
    configs: &[ConfigRevision],
    reported: &Listed<Policy>,
) -> BTreeMap<String, BTreeSet<String>> {
    let names = |further: &[Further]| -> Vec<String> {
        further.iter().filter(|one| one.kind == Kind::ScalingPolicy).map(|one| one.name.clone()).collect()
    };
    let of_body = |body: &str| manifests::read("", body).map(|(_, further)| names(&further)).unwrap_or_default();
    let signed: BTreeMap<&str, Vec<String>> =
        configs.iter().map(|config| (config.stream.as_str(), of_body(&config.body))).collect();
    let before = coming.newest.map(|newest| of_body(&newest.body)).unwrap_or_default();
    let policies = coming.further.iter().filter(|one| one.kind == Kind::ScalingPolicy);
    let ours: Vec<(&Further, ScalingPolicy)> = policies
        .filter_map(|one| Some((one, ScalingPolicy::parse(&one.name, &one.spec).ok()?)))
        .filter(|(_, policy)| policy.scales_replicas())
        .collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        let is_signed = |name: &String| {
            let mut streams = node.streams.iter().filter_map(|stream| signed.get(stream.as_str()));
            before.contains(name) || names(coming.further).contains(name) || streams.any(|names| names.contains(name))
        };
        for of in reported.items.iter().filter(|of| of.node == node.node && !is_signed(&of.what.policy)) {
            for (document, policy) in ours.iter().filter(|(_, policy)| policy.target.to_string() == of.what.target) {
                let line = document.line.map(|line| format!(":{line}")).unwrap_or_default();
                let problem = format!(
                    "{}{line}: {} is the target of {} and of {:?}, which a node reports and none of its streams has (see its `scaling.files`): where a node has both, neither scales it (AmbiguousSelector); take one of the two away, or give it another target",
                    coming.file, policy.target, policy.name, of.what.policy
                );
                found.entry(problem).or_default().insert(node.node.clone());
            }
        }
    }
    found
}

/// On which nodes.
fn shown(on: &BTreeSet<String>) -> String {
    let mut names: Vec<String> = on.iter().take(NAMED_MAX).cloned().collect();
    if on.len() > NAMED_MAX {
        names.push(format!("{} more", on.len() - NAMED_MAX));
    }
    if names.is_empty() { String::new() } else { format!(" (on {})", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::view::Of;

    fn config(stream: &str, documents: &[(&str, &str, &str)]) -> ConfigRevision {
        let mut body =
            format!("apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {{name: {stream}}}\nspec: {{}}\n");
        for (kind, name, spec) in documents {
            body += &format!("---\napiVersion: skerry.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n");
        }
        ConfigRevision {
            stream: stream.into(),
            epoch: 1,
            version: 4,
            issued_ms: 0,
            not_after_ms: None,
            received_ms: 0,
            sha256: String::new(),
            signers: vec![],
            body,
        }
    }

    fn node(name: &str, streams: &[&str]) -> NodeView {
        let value = serde_json::json!({
            "node": name, "state": "approved", "reach": "connected", "fingerprint": "", "labels": {}, "backlog": {},
            "configs": [], "batches": 0, "samples": 0, "log_lines": 0, "losses": 0, "problems": [], "streams": streams,
        });
        serde_json::from_value(value).unwrap()
    }

    const WEB: &str = "{maxReplicas: 3, scaleTargetRef: {kind: Container, name: web}}";
    const TILL: &str = "{containers: [{name: a, image: b}]}";

    /// What is said of `edge.yaml` for `stream`, with these documents.
    fn said(
        stream: &str,
        documents: &[(&str, &str, &str)],
        nodes: &[NodeView],
        configs: &[ConfigRevision],
    ) -> Vec<String> {
        let body = config(stream, documents).body;
        let (_, further) = manifests::read("edge.yaml", &body).unwrap();
        let stream: StreamName = stream.parse().unwrap();
        let newest = configs.iter().find(|config| config.stream == stream.to_string());
        let coming = Coming { file: "edge.yaml", stream: &stream, further: &further, newest };
        let reported = Listed {
            items: ["one", "gone", "local"]
                .map(|name| {
                    let policy = Policy { policy: name.into(), target: "Container/web".into(), ..Policy::default() };
                    Of::known("c", 0, policy)
                })
                .into(),
            nodes: BTreeMap::new(),
        };
        let mut found = among(&Layer::new("edge.yaml", Origin::Stream, &further), &coming, nodes, configs);
        found.extend(reports(&coming, nodes, configs, &reported));
        found.into_iter().map(|(problem, on)| format!("{problem}{}", shown(&on))).collect()
    }

    #[test]
    fn what_nodes_would_have_twice_is_told_with_both_places() {
        let nodes = [
            node("a", &["group/edge", "group/shop"]),
            node("b", &["group/edge", "node/b"]),
            node("d", &["group/edge"]),
        ];
        let configs = [
            config("group/shop", &[("ScalingPolicy", "two", WEB)]),
            config("node/b", &[("ScalingPolicy", "two", WEB), ("Workload", "till", TILL)]),
            config("group/other", &[("ScalingPolicy", "three", WEB)]),
        ];
        let ours = [("ScalingPolicy", "one", WEB), ("Workload", "till", TILL)];
        let all = said("group/edge", &ours, &nodes, &configs);
        assert_eq!(all.len(), 3, "{all:#?}");
        assert!(all[0].starts_with(
            "group/shop 1.4:9: spec.scaleTargetRef: Container/web is the target of two and of one, at edge.yaml:9: "
        ));
        assert!(all[0].ends_with(" (on a)") && all[1].ends_with(" (on b)"), "{all:#?}");
        assert!(
            all[1].starts_with("node/b 1.4:13: metadata.name: Workload till stands at edge.yaml:13 too: "),
            "{all:#?}"
        );
        assert!(all[2].starts_with("node/b 1.4:9: "), "{all:#?}");
        // Nobody else is concerned by a stream that nobody follows beside others.
        assert_eq!(said("group/new", &ours, &nodes, &configs), [""; 0]);
        let twice = said("group/new", &[("ScalingPolicy", "x", WEB), ("ScalingPolicy", "y", WEB)], &[], &[]);
        assert!(twice.len() == 1 && twice[0].starts_with("edge.yaml:14: "), "{twice:#?}");
    }

    #[test]
    fn manifests_of_nodes_are_known_by_what_they_report() {
        let nodes = [node("c", &["group/edge"])];
        // What the stream had before goes with the new version.
        let configs = [config("group/edge", &[("ScalingPolicy", "gone", WEB)])];
        let all = said("group/edge", &[("ScalingPolicy", "one", WEB)], &nodes, &configs);
        assert_eq!(all.len(), 1, "{all:#?}");
        assert!(
            all[0]
                .starts_with("edge.yaml:8: Container/web is the target of one and of \"local\", which a node reports")
        );
        assert!(all[0].ends_with(" (on c)"));
    }

    #[test]
    fn many_nodes_are_counted() {
        let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect();
        assert_eq!(shown(&names(0)), "");
        assert_eq!(shown(&names(2)), " (on n0, n1)");
        assert_eq!(shown(&names(8)), " (on n0, n1, n2, n3, n4, 3 more)");
    }
}
