//! Blocks of samples in the order in which they came in, for whoever keeps the newest ones in memory.

use super::error::ReadError;
use super::events::name;
use super::ledger::labels_of;
use rusqlite::{Connection, params};
use skerry_model::{Labels, NodeId, SeriesId};

/// A block that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedBlock {
    /// Whose.
    pub node: NodeId,
    /// Number of its stream, for [`Store::series_labels`](super::Store::series_labels).
    pub stream: i64,
    /// The block as `skerry_chunk` encodes it.
    pub data: Vec<u8>,
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrived {
    /// Blocks in the order in which they came in.
    pub blocks: Vec<ArrivedBlock>,
    /// Number of the last one; as asked where there is none.
    pub through: i64,
}

/// Blocks that are read again where numbers went back.
const AGAIN: i64 = 64;

/// Blocks after a number; with a negative one, none, but the number of the newest block there is.
pub(super) fn after(connection: &Connection, after: i64, bytes_max: usize) -> Result<Arrived, ReadError> {
    let newest: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM metric_block", [], |row| row.get(0))?;
    if after < 0 {
        return Ok(Arrived { blocks: Vec::new(), through: newest });
    }
    // Where the newest blocks were put together their numbers are given out again; to read a block twice does no harm.
    let after = if newest < after { (newest - AGAIN).max(0) } else { after };
    let mut query = connection.prepare_cached(
        "SELECT b.id, n.name, b.stream, b.data FROM metric_block b JOIN stream s ON s.id = b.stream
           JOIN node n ON n.id = s.node WHERE b.id > ? ORDER BY b.id",
    )?;
    let mut rows = query.query(params![after])?;
    let (mut arrived, mut bytes) = (Arrived { blocks: Vec::new(), through: after }, 0);
    while let Some(row) = rows.next()? {
        let block = ArrivedBlock {
            node: name(row.get_ref(1)?.as_str().unwrap_or_default())?,
            stream: row.get(2)?,
            data: row.get(3)?,
        };
        arrived.through = row.get(0)?;
        bytes += block.data.len();
        arrived.blocks.push(block);
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(arrived)
}

/// Series of a stream with ids above `after`, by rising id, with the labels that the node gave them.
pub(super) fn series(
    connection: &Connection,
    stream: i64,
    after: Option<SeriesId>,
) -> Result<Vec<(SeriesId, Labels)>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT r.sid, t.labels FROM series r JOIN labelset l ON l.id = r.labelset JOIN label_text t ON t.id = l.text
         WHERE r.stream = ? AND r.sid > ? ORDER BY r.sid",
    )?;
    let mut rows = query.query(params![stream, after.map_or(-1, |id| i64::from(id.0))])?;
    let mut series = Vec::new();
    while let Some(row) = rows.next()? {
        series.push((SeriesId(row.get(0)?), labels_of(row.get_ref(1)?.as_str().unwrap_or_default())?));
    }
    Ok(series)
}
