//! The signed documents: what they say, and their CBOR form.
//!
//! Each is a map with integer keys; fields keep their numbers for ever. `encode` writes the strict form and
//! `decode` reads it, bounds everything and refuses fields it does not know. `seal` does both before it signs, so
//! that no document leaves its signer that a reader would refuse.

mod assignment;
mod config;
mod root;

pub use assignment::Assignment;
pub use config::ConfigDoc;
pub use root::{InvalidRoleKeys, RoleKeys, RootDoc};

use crate::cbor::as_number;
use ciborium::Value;
use std::fmt;
use std::str::FromStr;

/// Position in a series of documents. A later one has a higher epoch, or the same epoch and a higher version.
///
/// Administrators count versions from 1 and raise the epoch when a key was stolen: whatever version the thief
/// signed, the next epoch is above it. Text form: `epoch.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision {
    /// From 0 to 2^63 - 1; at most the root document's epoch.
    pub epoch: u64,
    /// From 1 to 2^63 - 1; 0 stands before the first document, in lowest versions.
    pub version: u64,
}

impl Revision {
    /// The revision of that epoch and version.
    #[must_use]
    pub const fn new(epoch: u64, version: u64) -> Self {
        Self { epoch, version }
    }

    pub(crate) fn to_cbor(self) -> Value {
        Value::Array(vec![self.epoch.into(), self.version.into()])
    }

    pub(crate) fn from_cbor(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [epoch, version] => Some(Self { epoch: as_number(epoch)?, version: as_number(version)? }),
            _ => None,
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.version)
    }
}

/// Version of the agent: three numbers. What follows a `-` or `+` in its text form is read over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// Why a text is no [`AgentVersion`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: three numbers such as 1.4.0 are expected")]
pub struct InvalidAgentVersion(pub String);

impl AgentVersion {
    /// The lowest version: what a config names that runs on every agent.
    pub const ANY: Self = Self { major: 0, minor: 0, patch: 0 };

    fn to_cbor(self) -> Value {
        Value::Array(vec![self.major.into(), self.minor.into(), self.patch.into()])
    }

    fn from_cbor(value: &Value) -> Option<Self> {
        let number = |value: &Value| u32::try_from(as_number(value)?).ok();
        match value.as_array()?.as_slice() {
            [major, minor, patch] => Some(Self { major: number(major)?, minor: number(minor)?, patch: number(patch)? }),
            _ => None,
        }
    }
}

impl FromStr for AgentVersion {
    type Err = InvalidAgentVersion;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || InvalidAgentVersion(text.chars().take(40).collect());
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().map_err(|_| fail()),
            false => Err(fail()),
        };
        let release = text.split(['-', '+']).next().unwrap_or_default();
        match release.split('.').collect::<Vec<_>>().as_slice() {
            [major, minor, patch] => Ok(Self { major: number(major)?, minor: number(minor)?, patch: number(patch)? }),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for AgentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests;
