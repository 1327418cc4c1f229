//! What was adopted last, so that nothing older is adopted again.
//!
//! A plain value: the agent stores its bytes in the transaction that stores the adopted document. A floor stays
//! when the trial of a config fails, and when a stream is no longer assigned.

use crate::cbor::{self, DocError, Fields};
use crate::doc::Revision;
use crate::verify::{Accepted, AcceptedConfig};
use crate::{Assignment, ConfigDoc};
use ciborium::Value;
use skerry_model::StreamName;
use skerry_preflight::Limits;
use std::collections::BTreeMap;

const NAME: &str = "the stored floors";
/// Far more streams than a node is ever assigned.
const STREAMS_MAX: usize = 65_536;
const LIMITS: Limits<'_> = Limits { bytes_max: 16 << 20, depth_max: 4, items_max: 8 * STREAMS_MAX, tags: &[] };

/// The newest document adopted in one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Its revision.
    pub revision: Revision,
    /// SHA-256 of its payload, to tell it from another document of the same revision.
    pub hash: [u8; 32],
}

/// The floors of a node: one per config stream, one for its assignment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Floors {
    streams: BTreeMap<StreamName, Floor>,
    assignment: Option<Floor>,
}

impl Floors {
    /// The newest config adopted in a stream.
    #[must_use]
    pub fn config(&self, stream: &StreamName) -> Option<Floor> {
        self.streams.get(stream).copied()
    }

    /// The newest assignment adopted.
    #[must_use]
    pub fn assignment(&self) -> Option<Floor> {
        self.assignment
    }

    /// Raises the stream's floor to a config that was accepted; a lower one changes nothing.
    pub fn raise_config(&mut self, accepted: &AcceptedConfig) {
        let ConfigDoc { stream, revision, .. } = &accepted.doc;
        let floor = Floor { revision: *revision, hash: accepted.hash };
        let stored = self.streams.entry(stream.clone()).or_insert(floor);
        if stored.revision < floor.revision {
            *stored = floor;
        }
    }

    /// Raises the assignment's floor to one that was accepted; a lower one changes nothing.
    pub fn raise_assignment(&mut self, accepted: &Accepted<Assignment>) {
        let floor = Floor { revision: accepted.doc.revision, hash: accepted.hash };
        if self.assignment.is_none_or(|stored| stored.revision < floor.revision) {
            self.assignment = Some(floor);
        }
    }

    /// Raises every floor to that of `other` where that is higher: for two copies of which one may be older.
    pub fn raise_all(&mut self, other: &Self) {
        for (stream, floor) in &other.streams {
            let stored = self.streams.entry(stream.clone()).or_insert(*floor);
            if stored.revision < floor.revision {
                *stored = *floor;
            }
        }
        if other.assignment.is_some_and(|floor| self.assignment.is_none_or(|stored| stored.revision < floor.revision)) {
            self.assignment = other.assignment;
        }
    }

    /// The floors as CBOR: `{1: {stream: [[epoch, version], hash]}, 2?: [[epoch, version], hash]}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let streams = self.streams.iter().map(|(name, floor)| (name.as_str().into(), floor.to_cbor()));
        cbor::encode(cbor::map([(1, Some(Value::Map(streams.collect()))), (2, self.assignment.map(Floor::to_cbor))]))
    }

    /// Reads what [`Floors::encode`] wrote. On an error the agent must not go on with empty floors: it would take
    /// back every old document.
    ///
    /// # Errors
    /// [`DocError`] if the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocError> {
        let mut fields = Fields::decode(NAME, bytes, &LIMITS)?;
        let pairs = fields.pairs(1, "streams", STREAMS_MAX, "a map of streams")?;
        let streams: Option<_> =
            pairs.iter().map(|(name, floor)| Some((name.as_text()?.parse().ok()?, Floor::from_cbor(floor)?))).collect();
        let streams = streams.ok_or_else(|| fields.shape("streams", "a map of streams and their floors"))?;
        let assignment = match fields.optional(2) {
            None => None,
            Some(value) => {
                Some(Floor::from_cbor(&value).ok_or_else(|| fields.shape("assignment", "a revision and a hash"))?)
            }
        };
        fields.finish()?;
        Ok(Self { streams, assignment })
    }
}

impl Floor {
    fn to_cbor(self) -> Value {
        Value::Array(vec![self.revision.to_cbor(), Value::Bytes(self.hash.to_vec())])
    }

    fn from_cbor(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [revision, hash] => Some(Self { revision: Revision::from_cbor(revision)?, hash: cbor::as_array(hash)? }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_survive_storage_and_damage_is_noticed() {
        let floor = |version| Floor { revision: Revision::new(1, version), hash: [version as u8; 32] };
        let mut floors = Floors::default();
        assert_eq!(Floors::decode(&floors.encode()), Ok(floors.clone()));
        floors.streams.insert("group/edge".parse().unwrap(), floor(4));
        floors.streams.insert("node/a".parse().unwrap(), floor(7));
        floors.assignment = Some(floor(2));
        let bytes = floors.encode();
        assert_eq!(Floors::decode(&bytes), Ok(floors));
        for end in 0..bytes.len() {
            assert!(Floors::decode(&bytes[..end]).is_err());
        }
        let wrong = cbor::encode(cbor::map([(1, Some(Value::Map(vec![("x".into(), 1.into())])))]));
        assert!(matches!(Floors::decode(&wrong), Err(DocError::Shape { field: "streams", .. })));
    }
}
