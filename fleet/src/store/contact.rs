//! When nodes are heard, as far as it has to outlast a restart: how long each was away the last times, and when the
//! server itself did not run.

use super::error::ReadError;
use super::events::name;
use super::ledger::node_id;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{NodeId, UnixMillis};

/// - `contact`: what was learnt of a node, as text of its owner's making. `alive`: when the server ran last, and the
///   last times it did not.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS contact(node INTEGER PRIMARY KEY, learnt TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS alive(id INTEGER PRIMARY KEY CHECK (id = 0), at INTEGER NOT NULL) STRICT;
";

/// What was learnt of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRow {
    /// The node; with the name of the fleet's own series it is what concerns the server itself.
    pub node: NodeId,
    /// What was learnt.
    pub learnt: String,
}

/// All that was learnt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contacts {
    /// When the server ran last, to within its interval of saying so; `None` in a new file.
    pub alive: Option<UnixMillis>,
    /// By node.
    pub rows: Vec<ContactRow>,
}

pub(super) fn note(connection: &Connection, alive: UnixMillis, rows: &[ContactRow]) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO alive(id, at) VALUES(0, ?)")?.execute([alive.0])?;
    let mut write = connection.prepare_cached("INSERT OR REPLACE INTO contact(node, learnt) VALUES(?, ?)")?;
    for row in rows {
        write.execute(params![node_id(connection, &row.node)?, row.learnt])?;
    }
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Result<Contacts, ReadError> {
    let alive = connection.query_row("SELECT at FROM alive", [], |row| row.get(0).map(UnixMillis)).optional()?;
    let mut query = connection.prepare_cached("SELECT n.name, c.learnt FROM contact c JOIN node n ON n.id = c.node")?;
    let rows =
        query.query_map([], |row| Ok(ContactRow { node: name(&row.get::<_, String>(0)?)?, learnt: row.get(1)? }))?;
    Ok(Contacts { alive, rows: rows.collect::<Result<_, _>>()? })
}
