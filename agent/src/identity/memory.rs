//! What a node must not forget even when it loses its database: the newest roots, what it adopted last, and how late
//! it certainly is. Without it, a deleted database would be a way to make a node take an old config again.

use super::files::{self, IdentityError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use skerry_seal::Floors;
use std::path::Path;

const NAME: &str = "trust.json";

/// A copy of the trust state, beside the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Root envelopes from number 1 on; empty before the node joined.
    pub roots: Vec<Vec<u8>>,
    /// The newest documents adopted.
    pub floors: Floors,
    /// A time that has certainly passed.
    pub time: Option<UnixMillis>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    roots: Vec<String>,
    floors: String,
    time_ms: Option<i64>,
}

impl Memory {
    /// Reads it; empty where there is none.
    ///
    /// # Errors
    /// [`IdentityError`]: a damaged file is never taken for an empty one.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(NAME);
        let Some(bytes) = files::read(&path)? else { return Ok(Self::default()) };
        Self::decode(&bytes).map_err(|problem| IdentityError::Damaged { path, problem })
    }

    /// Stores it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        files::write(&folder.join(NAME), &self.encode())
    }

    /// As JSON with binary fields in base64.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            roots: self.roots.iter().map(|root| STANDARD.encode(root)).collect(),
            floors: STANDARD.encode(self.floors.encode()),
            time_ms: self.time.map(|time| time.0),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads what [`Memory::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let binary = |text: &String| STANDARD.decode(text).map_err(|error| error.to_string());
        Ok(Self {
            roots: stored.roots.iter().map(binary).collect::<Result<_, _>>()?,
            floors: Floors::decode(&binary(&stored.floors)?).map_err(|error| error.to_string())?,
            time: stored.time_ms.map(UnixMillis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_damage_is_no_empty_memory() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Memory::load(folder.path()).unwrap(), Memory::default());
        let memory = Memory { roots: vec![vec![1]], time: Some(UnixMillis(5)), ..Memory::default() };
        memory.save(folder.path()).unwrap();
        assert_eq!(Memory::load(folder.path()).unwrap(), memory);
        std::fs::write(folder.path().join(NAME), "").unwrap();
        assert!(Memory::load(folder.path()).is_err());
    }
}
