//! What a node last said of itself, so that a restarted fleet still knows.

use super::error::ReadError;
use super::events::name;
use rusqlite::{Connection, params};
use skerry_model::{NodeId, UnixMillis};
use skerry_wire::{Hello, MESSAGE_BYTES_MAX, StatusReport, codec};

/// A node's last words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenNode {
    /// Which node.
    pub node: NodeId,
    /// When it was heard first.
    pub first: UnixMillis,
    /// When it was heard last, to within a minute.
    pub last: UnixMillis,
    /// Its last hello.
    pub hello: Option<Hello>,
    /// Its last report.
    pub status: Option<StatusReport>,
}

/// Notes that a node was heard, and what it said where it said something.
pub(super) fn note(
    connection: &Connection,
    node: i64,
    at: UnixMillis,
    hello: Option<&Hello>,
    status: Option<&StatusReport>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO seen(node, first, last, hello, status) VALUES(?1, ?2, ?2, ?3, ?4)
             ON CONFLICT(node) DO UPDATE SET last = ?2, hello = coalesce(?3, hello), status = coalesce(?4, status)",
        )?
        .execute(params![node, at.0, hello.map(codec::encode), status.map(codec::encode)])
        .map(drop)
}

/// Every node that was ever heard. What an earlier version wrote and this one cannot read counts as not said.
pub(super) fn all(connection: &Connection) -> Result<Vec<SeenNode>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT n.name, s.first, s.last, s.hello, s.status FROM seen s JOIN node n ON n.id = s.node ORDER BY n.name",
    )?;
    let rows = query.query_map([], |row| {
        let hello: Option<Vec<u8>> = row.get(3)?;
        let status: Option<Vec<u8>> = row.get(4)?;
        Ok(SeenNode {
            node: name(&row.get::<_, String>(0)?)?,
            first: UnixMillis(row.get(1)?),
            last: UnixMillis(row.get(2)?),
            hello: hello.and_then(|bytes| codec::decode(&bytes, MESSAGE_BYTES_MAX).ok()),
            status: status.and_then(|bytes| codec::decode(&bytes, MESSAGE_BYTES_MAX).ok()),
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}
