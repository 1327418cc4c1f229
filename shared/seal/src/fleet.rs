//! The name that keeps one fleet's signatures from counting in another.

use crate::keys::{RandomError, hex, random};
use skerry_model::NodeId;
use std::fmt;
use std::str::FromStr;

/// Identifies a fleet: 1 to 63 characters by the same rules as a [`NodeId`].
///
/// Part of everything that is signed. [`FleetId::generate`] makes one that no other fleet has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FleetId(String);

/// Why a text is no [`FleetId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "fleet id {0:?} is not valid: 1 to 63 letters, digits, '.', '_' or '-' are expected, beginning with a letter or digit"
)]
pub struct InvalidFleetId(pub String);

impl FleetId {
    /// A new id of 64 random bits, as 16 hex digits.
    ///
    /// # Errors
    /// [`RandomError`] if the system gives no randomness.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(hex(&random::<8>()?)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FleetId {
    type Err = InvalidFleetId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<NodeId>() {
            Ok(name) => Ok(Self(name.into())),
            Err(refused) => Err(InvalidFleetId(refused.0)),
        }
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_are_valid_and_differ() {
        let (one, other) = (FleetId::generate().unwrap(), FleetId::generate().unwrap());
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
        assert_ne!(one, other);
        assert!("a/b".parse::<FleetId>().is_err());
    }
}
