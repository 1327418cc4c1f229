//! Signed documents as files and uploads.

use super::Session;
use super::home::{Home, read_key};
use super::output::print;
use crate::api::view::Reached;
use anyhow::Context;
use skerry_seal::{Envelope, Role, TrustStore, add_signature};
use std::path::Path;

/// Where configs go.
pub(super) const PATH_CONFIGS: &str = "/configs";
/// Where assignments go.
pub(super) const PATH_ASSIGNMENTS: &str = "/assignments";

/// Whether enough of the role's keys have signed, before anybody else is bothered.
pub(super) fn check(envelope: &[u8], role: Role, trust: &TrustStore) -> anyhow::Result<()> {
    let keys = trust.role(role).with_context(|| format!("the root document names no keys for role {role}"))?;
    let parsed = Envelope::parse(envelope)?;
    parsed.verify(role, trust.fleet(), keys).map(drop).with_context(|| {
        format!(
            "{} of {} keys of role {role} must sign; give --key several times, or use --out and `skerry cosign`",
            keys.threshold(),
            keys.keys().len()
        )
    })
}

/// Sends an envelope.
pub(super) fn send(session: &Session, path: &str, envelope: &[u8]) -> anyhow::Result<Reached> {
    session.client.post(path, "application/cose", envelope)
}

/// Adds a signature to a file.
pub(super) fn cosign(home: &Home, file: &Path, key: &Path) -> anyhow::Result<()> {
    let envelope = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let key = read_key(key)?;
    let role = Envelope::parse(&envelope).with_context(|| format!("{}", file.display()))?.role();
    let signed = add_signature(&envelope, role, &home.fleet, &key).context("add the signature")?;
    std::fs::write(file, signed).with_context(|| format!("write {}", file.display()))?;
    print(&format!("{}: signed as {role} by {}\n", file.display(), key.id()))
}

/// Sends a file to where its role belongs.
pub(super) fn upload(session: &Session, file: &Path) -> anyhow::Result<()> {
    let envelope = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let role = Envelope::parse(&envelope).with_context(|| format!("{}", file.display()))?.role();
    let path = match role {
        Role::Config => PATH_CONFIGS,
        Role::Assign => PATH_ASSIGNMENTS,
        Role::Root => "/roots",
        other => anyhow::bail!("{}: documents of role {other} are not taken yet", file.display()),
    };
    report(&send(session, path, &envelope)?)
}

/// Says what became of an upload.
pub(super) fn report(reached: &Reached) -> anyhow::Result<()> {
    let Reached { subject, epoch, version, is_new, nodes } = reached;
    let word = if *is_new { "taken in" } else { "known already" };
    let whom = match nodes.len() {
        0 => "no node follows it yet; see `skerry assign`".to_owned(),
        n if n > 5 => format!("for {n} nodes"),
        _ => format!("for {}", nodes.join(", ")),
    };
    print(&format!("{subject} {epoch}.{version} {word}, {whom}\n"))
}
