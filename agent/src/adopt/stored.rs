//! How adopted documents lie in the store's state: a key each, so that one document is replaced without the others.

use crate::store::Change;
use skerry_model::StreamName;
use std::collections::BTreeMap;

/// Before every key of this feature.
pub const PREFIX: &str = "adopt/";
const TRUST: &str = "adopt/trust";
const ASSIGNMENT: &str = "adopt/assignment";
const TRIAL: &str = "adopt/trial/";
const CONFIG: &str = "adopt/config/";
const FAILED: &str = "adopt/failed/";

/// An envelope that was adopted, with the hash of its payload by which storage damage is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) hash: [u8; 32],
    pub(super) envelope: Vec<u8>,
}

impl Sealed {
    fn encode(&self) -> Vec<u8> {
        [self.hash.as_slice(), &self.envelope].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (hash, envelope) = bytes.split_first_chunk::<32>()?;
        Some(Self { hash: *hash, envelope: envelope.to_vec() })
    }
}

/// A config on trial, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredTrial {
    pub(super) sealed: Sealed,
    /// Whether reaching the fleet is among the checks.
    pub(super) needs_link: bool,
    /// How often the agent started with it.
    pub(super) starts: u8,
}

/// What was found in the store's state.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub(super) trust: Option<Vec<u8>>,
    pub(super) assignment: Option<Sealed>,
    pub(super) configs: BTreeMap<StreamName, Sealed>,
    pub(super) trial: BTreeMap<StreamName, StoredTrial>,
    pub(super) failed: BTreeMap<StreamName, [u8; 32]>,
}

impl Stored {
    /// Sorts what stands under [`PREFIX`]. Entries that make no sense are left out: the fleet sends them again.
    #[must_use]
    pub fn read(entries: Vec<(String, Vec<u8>)>) -> Self {
        let mut stored = Self::default();
        for (key, value) in entries {
            if key == TRUST {
                stored.trust = Some(value);
            } else if key == ASSIGNMENT {
                stored.assignment = Sealed::decode(&value);
            } else if let Some(Ok(stream)) = key.strip_prefix(TRIAL).map(str::parse) {
                stored.trial.extend(trial(&value).map(|trial| (stream, trial)));
            } else if let Some(Ok(stream)) = key.strip_prefix(CONFIG).map(str::parse) {
                stored.configs.extend(Sealed::decode(&value).map(|sealed| (stream, sealed)));
            } else if let Some(Ok(stream)) = key.strip_prefix(FAILED).map(str::parse) {
                stored.failed.extend(value.try_into().ok().map(|hash| (stream, hash)));
            }
        }
        stored
    }
}

fn trial(bytes: &[u8]) -> Option<StoredTrial> {
    let ([link, starts], rest) = bytes.split_first_chunk::<2>()?;
    Some(StoredTrial { sealed: Sealed::decode(rest)?, needs_link: *link != 0, starts: *starts })
}

pub(super) fn put_trust(bytes: Vec<u8>) -> Change {
    (TRUST.into(), Some(bytes))
}

pub(super) fn put_assignment(sealed: &Sealed) -> Change {
    (ASSIGNMENT.into(), Some(sealed.encode()))
}

pub(super) fn put_config(stream: &StreamName, sealed: Option<&Sealed>) -> Change {
    (format!("{CONFIG}{stream}"), sealed.map(Sealed::encode))
}

pub(super) fn put_trial(stream: &StreamName, trial: Option<&StoredTrial>) -> Change {
    let encode =
        |trial: &StoredTrial| [[u8::from(trial.needs_link), trial.starts].as_slice(), &trial.sealed.encode()].concat();
    (format!("{TRIAL}{stream}"), trial.map(encode))
}

pub(super) fn put_failed(stream: &StreamName, hash: [u8; 32]) -> Change {
    (format!("{FAILED}{stream}"), Some(hash.to_vec()))
}
