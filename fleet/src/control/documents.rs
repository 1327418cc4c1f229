//! Signed documents: what is taken from an administrator, and what is handed to nodes.

use super::schema::audit;
use super::{Control, ControlError, nodes};
use rusqlite::{Connection, Row};
use skerry_model::{NodeId, StreamName, UnixMillis};
use skerry_seal::{Accepted, Assignment, ConfigDoc, Refusal, Revision, TrustStore, read_assignment, read_config};
use std::collections::HashMap;

/// Revisions of a config stream that are kept; the oldest go.
const REVISIONS_KEPT: i64 = 100;

/// A document as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its place in its series.
    pub revision: Revision,
    /// When it came in.
    pub received: UnixMillis,
    /// SHA-256 of its payload.
    pub hash: [u8; 32],
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded<D> {
    /// It was stored.
    New(D),
    /// It is the newest one already.
    Known(D),
}

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A node would refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such node.
    #[error("no node named '{0}' has joined; `skerry get nodes` lists them")]
    UnknownNode(NodeId),
    /// The document names other keys than the node joined with.
    #[error(
        "the assignment names other keys than node '{0}' joined with; if the node was set up anew, compare its \
         fingerprint and sign the assignment again"
    )]
    OtherKeys(NodeId),
    /// The file failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl DocumentError {
    /// Stable name for API errors and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::UnknownNode(_) => "node_unknown",
            Self::OtherKeys(_) => "other_keys",
            Self::Control(_) => "internal",
        }
    }
}

impl Control {
    /// Takes a config in, if its signatures hold and its revision is above the newest of its stream.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing was stored then.
    pub async fn add_config(
        &self,
        envelope: Vec<u8>,
        trust: &TrustStore,
        now: UnixMillis,
    ) -> Result<Uploaded<ConfigDoc>, DocumentError> {
        let Accepted { doc, hash } = read_config(&envelope, trust)?;
        let epoch = trust.current().revision.epoch;
        if let Some(not_after) = doc.not_after.filter(|end| now > *end) {
            return Err(Refusal::Expired { not_after, now }.into());
        }
        self.transact(move |file| {
            let series = Series { table: "config", key: "stream", value: doc.stream.as_str() };
            if !series.rises(file, doc.revision, hash, epoch)? {
                return Ok(Uploaded::Known(doc));
            }
            series.put(file, doc.revision, hash, &envelope, now)?;
            let subject = format!("{} {}", doc.stream, doc.revision);
            audit(file, now.0, "config_added", &subject).map_err(ControlError::from)?;
            Ok(Uploaded::New(doc))
        })
        .await
    }

    /// Takes an assignment in, if its signatures hold, it names the keys that the node joined with, and its revision
    /// is above the node's newest.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing was stored then.
    pub async fn add_assignment(
        &self,
        envelope: Vec<u8>,
        trust: &TrustStore,
        now: UnixMillis,
    ) -> Result<Uploaded<Assignment>, DocumentError> {
        let Accepted { doc, hash } = read_assignment(&envelope, trust)?;
        let epoch = trust.current().revision.epoch;
        self.transact(move |file| {
            let Some(node) = nodes::find(file, &doc.node)? else { return Err(DocumentError::UnknownNode(doc.node)) };
            if node.tls_pin != doc.tls_pin || node.x25519 != doc.x25519 {
                return Err(DocumentError::OtherKeys(doc.node));
            }
            let series = Series { table: "assignment", key: "node", value: doc.node.as_str() };
            if !series.rises(file, doc.revision, hash, epoch)? {
                return Ok(Uploaded::Known(doc));
            }
            series.put(file, doc.revision, hash, &envelope, now)?;
            let subject = format!("{} {}", doc.node, doc.revision);
            audit(file, now.0, "assignment_added", &subject).map_err(ControlError::from)?;
            Ok(Uploaded::New(doc))
        })
        .await
    }

    /// Keeps a root document that the trust store has taken.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn add_root(&self, version: u64, envelope: Vec<u8>, now: UnixMillis) -> Result<(), ControlError> {
        self.transact(move |file| {
            let version = i64::try_from(version).map_err(|_| ControlError::Damaged { what: "root version" })?;
            file.prepare_cached(
                "INSERT INTO root(version, received, envelope) VALUES(?, ?, ?) ON CONFLICT DO NOTHING",
            )?
            .execute((version, now.0, envelope))?;
            audit(file, now.0, "root_added", &version.to_string())?;
            Ok(())
        })
        .await
    }

    /// Root documents after number 1, in order.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn roots(&self) -> Result<Vec<Vec<u8>>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached("SELECT envelope FROM root ORDER BY version")?;
            let rows = query.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Names of all config streams.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn streams(&self) -> Result<Vec<StreamName>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached("SELECT DISTINCT stream FROM config ORDER BY stream")?;
            let rows = query.query_map([], |row| row.get::<_, String>(0))?;
            rows.map(|name| name?.parse().map_err(|_| ControlError::Damaged { what: "stream name" })).collect()
        })
        .await
    }

    /// Revisions of every config stream with the time at which they came in, without their content.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn revisions(&self) -> Result<HashMap<StreamName, Vec<(Revision, UnixMillis)>>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached("SELECT stream, epoch, version, received FROM config")?;
            let mut rows = query.query([])?;
            let mut all: HashMap<StreamName, Vec<(Revision, UnixMillis)>> = HashMap::new();
            while let Some(row) = rows.next()? {
                let stream: String = row.get(0)?;
                let stream = stream.parse().map_err(|_| ControlError::Damaged { what: "stream name" })?;
                let number = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
                let revision = Revision::new(number(1)?, number(2)?);
                all.entry(stream).or_default().push((revision, UnixMillis(row.get(3)?)));
            }
            Ok(all)
        })
        .await
    }

    /// Revisions of a stream, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn configs(&self, stream: &StreamName, limit: u32) -> Result<Vec<StoredDocument>, ControlError> {
        let stream = stream.clone();
        self.transact(move |file| Series { table: "config", key: "stream", value: stream.as_str() }.newest(file, limit))
            .await
    }

    /// A node's newest assignment.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn assignment(&self, node: &NodeId) -> Result<Option<StoredDocument>, ControlError> {
        let node = node.clone();
        self.transact(move |file| {
            let newest = Series { table: "assignment", key: "node", value: node.as_str() }.newest(file, 1)?;
            Ok(newest.into_iter().next())
        })
        .await
    }

    /// Every node's newest assignment.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn assignments(&self) -> Result<Vec<(NodeId, StoredDocument)>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached(
                "SELECT epoch, version, received, hash, envelope, node FROM assignment a
                 WHERE (epoch, version) = (
                   SELECT epoch, version FROM assignment b WHERE b.node = a.node ORDER BY epoch DESC, version DESC LIMIT 1)",
            )?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(5)?, read(row))))?;
            rows.map(|row| {
                let (node, document) = row?;
                let node = node.parse().map_err(|_| ControlError::Damaged { what: "node name" })?;
                Ok((node, document?))
            })
            .collect()
        })
        .await
    }
}

/// Documents of one table with one key, by rising revision.
struct Series<'a> {
    table: &'static str,
    key: &'static str,
    value: &'a str,
}

impl Series<'_> {
    /// Whether a document is above the newest one; an error where it is below, or another of the same revision.
    fn rises(&self, file: &Connection, found: Revision, hash: [u8; 32], epoch: u64) -> Result<bool, DocumentError> {
        if found.epoch > epoch {
            return Err(Refusal::EpochAhead { found, epoch }.into());
        }
        match self.newest(file, 1)?.first() {
            None => Ok(true),
            Some(newest) if found < newest.revision => Err(Refusal::Rollback { found, floor: newest.revision }.into()),
            Some(newest) if found == newest.revision && hash != newest.hash => {
                Err(Refusal::Equivocation { revision: found }.into())
            }
            Some(newest) => Ok(found > newest.revision),
        }
    }

    fn put(
        &self,
        file: &Connection,
        revision: Revision,
        hash: [u8; 32],
        envelope: &[u8],
        now: UnixMillis,
    ) -> Result<(), ControlError> {
        let Self { table, key, value } = self;
        let number = |n| i64::try_from(n).map_err(|_| ControlError::Damaged { what: "revision" });
        let (epoch, version) = (number(revision.epoch)?, number(revision.version)?);
        file.prepare_cached(&format!(
            "INSERT INTO {table}({key}, epoch, version, received, hash, envelope) VALUES(?, ?, ?, ?, ?, ?)"
        ))?
        .execute((value, epoch, version, now.0, &hash[..], envelope))?;
        file.prepare_cached(&format!(
            "DELETE FROM {table} WHERE {key} = ?1 AND (epoch, version) NOT IN (
               SELECT epoch, version FROM {table} WHERE {key} = ?1 ORDER BY epoch DESC, version DESC LIMIT ?2)"
        ))?
        .execute((value, REVISIONS_KEPT))?;
        Ok(())
    }

    fn newest(&self, file: &Connection, limit: u32) -> Result<Vec<StoredDocument>, ControlError> {
        let Self { table, key, value } = self;
        let mut query = file.prepare_cached(&format!(
            "SELECT epoch, version, received, hash, envelope FROM {table} WHERE {key} = ?
             ORDER BY epoch DESC, version DESC LIMIT ?"
        ))?;
        let rows = query.query_map((value, limit), |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }
}

fn read(row: &Row<'_>) -> Result<StoredDocument, ControlError> {
    let damaged = || ControlError::Damaged { what: "document" };
    let number = |at| row.get::<_, i64>(at).map_err(ControlError::from)?.try_into().map_err(|_| damaged());
    Ok(StoredDocument {
        revision: Revision::new(number(0)?, number(1)?),
        received: UnixMillis(row.get(2)?),
        hash: row.get::<_, Vec<u8>>(3)?.try_into().map_err(|_| damaged())?,
        envelope: row.get(4)?,
    })
}
