//! Tokens, and nodes that wait.

use super::Session;
use super::args::{Format, TokenArgs};
use super::output::{confirm, note, print, show};
use super::table::table;
use crate::api::view::NodeDetail;
use crate::clock::utc;
use crate::control::TokenRow;
use anyhow::bail;
use serde::{Deserialize, Serialize};
use skerry_model::{NodeId, UnixMillis};
use skerry_seal::{Token, TokenId};

#[derive(Serialize, Deserialize)]
struct TokenList {
    tokens: Vec<TokenRow>,
}

/// Makes a token. The line itself goes to standard output, alone, so that it can be written to a file.
pub(super) fn token(session: &Session, args: &TokenArgs) -> anyhow::Result<()> {
    let token = Token::generate(session.home.root_hash, &session.home.file.url)?;
    let expires = session.now + args.ttl.0;
    let secret = token.secret.to_hex();
    let body = serde_json::json!({
        "id": token.id.to_string(), "secret": secret.as_str(), "uses": args.uses, "expires_ms": expires.0,
        "approval": args.approve,
    });
    session.client.tell("/tokens", "application/json", body.to_string().as_bytes())?;
    let times = if args.uses == 1 { "once".to_owned() } else { format!("{} times", args.uses) };
    note(&format!("Token {}, to be used {times} until {} UTC:", token.id, utc(expires)));
    print(&format!("{}\n", token.to_text()?.as_str()))
}

pub(super) fn list(session: &Session, format: Format) -> anyhow::Result<()> {
    let list: TokenList = session.client.get("/tokens", &[])?;
    show(format, &list, |_| {
        let row = |token: &TokenRow| {
            vec![
                token.id.clone(),
                format!("{}/{}", token.used, token.uses),
                utc(UnixMillis(token.expires_ms)),
                if token.approval { "yes" } else { "no" }.into(),
                if token.expires_ms < session.now.0 {
                    "expired".into()
                } else if token.used >= token.uses {
                    "used up".into()
                } else {
                    "good".into()
                },
            ]
        };
        let rows: Vec<_> = list.tokens.iter().map(row).collect();
        table(&["TOKEN", "USED", "EXPIRES (UTC)", "APPROVAL", "STATE"], &rows)
    })
}

pub(super) fn revoke_token(session: &Session, id: &TokenId) -> anyhow::Result<()> {
    session.client.delete(&format!("/tokens/{id}"))?;
    print(&format!("token {id} removed\n"))
}

pub(super) fn approve(session: &Session, node: &NodeId, yes: bool) -> anyhow::Result<()> {
    let detail: NodeDetail = session.client.get(&format!("/nodes/{node}"), &[("newest", "0".into())])?;
    if detail.node.state != "pending" {
        bail!("node {node} does not wait: it is {}", detail.node.state);
    }
    note(&format!("Node {node} says of itself: {}", super::assign::fingerprint(&detail)?));
    confirm("Does the node's log or status show the same words", yes)?;
    session.client.tell(&format!("/nodes/{node}/approve?tls_pin={}", detail.tls_pin), "application/json", b"")?;
    print(&format!("node {node} approved; it joins at its next attempt\n"))
}
