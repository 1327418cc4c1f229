//! Assignments: which streams a node follows, under which labels, with which keys.

use super::Session;
use super::args::AssignArgs;
use super::output::{confirm, note, print};
use super::sign::{PATH_ASSIGNMENTS, check, send};
use crate::api::view::{ConfigRevisions, NodeDetail, NodeList};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use skerry_model::{NodeId, StreamName};
use skerry_seal::{
    Assignment, PublicKey, Revision, Role, SigningKey, TrustStore, X25519Public, fingerprint_words, read_assignment,
};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Sealed {
    envelope: String,
}

pub(super) fn command(session: &Session, args: &AssignArgs) -> anyhow::Result<()> {
    let keys = session.home.keys(&args.keys, "assign-1")?;
    let trust = session.client.trust(&session.home)?;
    let nodes = match &args.node {
        Some(node) => vec![node.clone()],
        None => unassigned(session)?,
    };
    if nodes.is_empty() {
        return print("every node that has joined is assigned\n");
    }
    for node in nodes {
        assign(session, args, &keys, &trust, &node).with_context(|| format!("assign {node}"))?;
    }
    Ok(())
}

fn unassigned(session: &Session) -> anyhow::Result<Vec<NodeId>> {
    let list: NodeList = session.client.get("/nodes", &[])?;
    let mut nodes = Vec::new();
    for view in list.nodes.iter().filter(|view| view.state == "approved") {
        let node: NodeId = view.node.parse().context("a node's name")?;
        if session.client.find::<Sealed>(&format!("/assignments/{node}"))?.is_none() {
            nodes.push(node);
        }
    }
    Ok(nodes)
}

fn assign(
    session: &Session,
    args: &AssignArgs,
    keys: &[SigningKey],
    trust: &TrustStore,
    node: &NodeId,
) -> anyhow::Result<()> {
    let detail: NodeDetail = session.client.get(&format!("/nodes/{node}"), &[("newest", "0".into())])?;
    if detail.node.state != "approved" {
        bail!("node {node} is {}; only a node that has joined is assigned", detail.node.state);
    }
    let known = newest(session, node, trust)?;
    let mut streams: Vec<StreamName> = match &known {
        Some(known) if args.groups.is_empty() => known.streams.keys().cloned().collect(),
        _ => args.groups.iter().map(|group| format!("group/{group}").parse()).collect::<Result<_, _>>()?,
    };
    streams.push(StreamName::of_node(node));
    let labels = match &known {
        Some(known) if args.labels.is_empty() => known.labels.clone(),
        _ => args.labels.iter().map(|text| label(text)).collect::<anyhow::Result<_>>()?,
    };
    let shown = streams.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    note(&format!("Node {node}, keys: {}\n  follows {shown}", fingerprint(&detail)?));
    if known.as_ref().is_none_or(|known| skerry_seal::hex(&known.tls_pin) != detail.tls_pin) {
        confirm("Do these words stand in the node's log or status, and shall it be assigned", args.yes)?;
    }
    let revision = next(known.as_ref().map(|known| known.revision), trust);
    let mut doc = document(session, &detail, revision)?;
    doc.labels = labels;
    for stream in streams {
        doc.streams.insert(stream.clone(), lowest(session, &stream, trust)?);
    }
    let envelope = doc.seal(&keys.iter().collect::<Vec<_>>())?;
    check(&envelope, Role::Assign, trust)?;
    let reached = send(session, PATH_ASSIGNMENTS, &envelope)?;
    print(&format!("node {node} assigned, revision {}.{}\n", reached.epoch, reached.version))
}

/// Takes a node out of service: a signed word to the node itself, and the server shuts its key out.
pub(super) fn revoke(session: &Session, node: &NodeId, yes: bool) -> anyhow::Result<()> {
    let detail: NodeDetail = session.client.get(&format!("/nodes/{node}"), &[("newest", "0".into())])?;
    confirm(&format!("Shut node {node} out for ever ({})", fingerprint(&detail)?), yes)?;
    if let Err(error) = disown(session, node, &detail) {
        note(&format!("note: the node is not told by a signed assignment, only cut off: {error:#}"));
    }
    session.client.tell(&format!("/nodes/{node}/revoke"), "application/json", b"")?;
    print(&format!("node {node} revoked\n"))
}

fn disown(session: &Session, node: &NodeId, detail: &NodeDetail) -> anyhow::Result<()> {
    let trust = session.client.trust(&session.home)?;
    let known = newest(session, node, &trust)?.context("it has no assignment")?;
    let keys = session.home.keys(&[], "assign-1")?;
    let doc = Assignment { revoked: true, ..document(session, detail, next(Some(known.revision), &trust))? };
    let envelope = doc.seal(&keys.iter().collect::<Vec<_>>())?;
    check(&envelope, Role::Assign, &trust)?;
    send(session, PATH_ASSIGNMENTS, &envelope).map(drop)
}

/// An assignment without streams and labels, for the keys that the node joined with.
fn document(session: &Session, detail: &NodeDetail, revision: Revision) -> anyhow::Result<Assignment> {
    Ok(Assignment {
        fleet: session.home.fleet.clone(),
        node: detail.node.node.parse().context("the node's name")?,
        tls_pin: bytes(&detail.tls_pin)?,
        x25519: X25519Public(bytes(&detail.x25519)?),
        streams: BTreeMap::new(),
        labels: BTreeMap::new(),
        issued: session.now,
        revision,
        revoked: false,
    })
}

/// The node's newest assignment, if its signatures hold.
fn newest(session: &Session, node: &NodeId, trust: &TrustStore) -> anyhow::Result<Option<Assignment>> {
    let Some(sealed) = session.client.find::<Sealed>(&format!("/assignments/{node}"))? else { return Ok(None) };
    let envelope = BASE64.decode(sealed.envelope).context("the stored assignment is no base64")?;
    let accepted = read_assignment(&envelope, trust).context("the stored assignment")?;
    if accepted.doc.node != *node {
        bail!("the server gave the assignment of {} for {node}", accepted.doc.node);
    }
    Ok(Some(accepted.doc))
}

/// Lowest revision that a node may adopt: the newest there is, so that nobody can hand a newcomer an older one.
fn lowest(session: &Session, stream: &StreamName, trust: &TrustStore) -> anyhow::Result<Revision> {
    let found: Option<ConfigRevisions> = session.client.find(&format!("/configs/{stream}"))?;
    let newest = found.as_ref().and_then(|found| found.revisions.first());
    Ok(newest.map_or(Revision::new(trust.current().revision.epoch, 1), |c| Revision::new(c.epoch, c.version)))
}

/// The revision after `known`, in the root document's epoch.
pub(super) fn next(known: Option<Revision>, trust: &TrustStore) -> Revision {
    let epoch = trust.current().revision.epoch;
    match known {
        Some(known) if known.epoch == epoch => Revision::new(epoch, known.version + 1),
        _ => Revision::new(epoch, 1),
    }
}

/// Six words that stand for the node's keys, made here from the keys themselves.
pub(super) fn fingerprint(detail: &NodeDetail) -> anyhow::Result<String> {
    Ok(fingerprint_words(&bytes(&detail.tls_pin)?, &X25519Public(bytes(&detail.x25519)?)).join(" "))
}

fn bytes(hex: &str) -> anyhow::Result<[u8; 32]> {
    Ok(hex.parse::<PublicKey>().context("a key in the server's answer")?.0)
}

fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').with_context(|| format!("label {text:?}: name=value is expected"))?;
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit();
    if !is_name || name == "node" || name.starts_with("__") {
        bail!("label {name:?}: letters, digits and '_' are expected, and neither `node` nor `__` in front");
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_prometheuss() {
        assert_eq!(label("site=a=b").unwrap(), ("site".to_owned(), "a=b".to_owned()));
        for bad in ["site", "=a", "1a=b", "a-b=c", "node=x", "__name__=x"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
