//! CBOR in and out, with limits.
//!
//! Writing goes through a sorted tree, so that equal values give equal bytes and map keys come in the order that the
//! preflight demands of a peer.

use serde::Serialize;
use serde::de::DeserializeOwned;
use skerry_preflight::{Fault, Limits};

/// Deepest nesting a message may have.
const DEPTH_MAX: usize = 16;
/// Most items (heads) a message may have. Data travels in byte strings, so real messages have far fewer.
const ITEMS_MAX: usize = 200_000;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes break the strict rules: nothing was parsed.
    #[error("message of {bytes} bytes is not acceptable CBOR: {fault}")]
    Preflight {
        /// Length of the refused message.
        bytes: usize,
        /// What was wrong, and at which offset.
        fault: Fault,
    },
    /// Sound CBOR, but not the message that was expected here.
    #[error("message of {bytes} bytes is not a {expected}: {cause}")]
    Shape {
        /// Length of the refused message.
        bytes: usize,
        /// Which type was expected.
        expected: &'static str,
        /// The decoder's words.
        cause: String,
    },
    /// Part of a message that is compressed cannot be unpacked within its bounds.
    #[error("packed part of {bytes} bytes cannot be unpacked: {cause}")]
    Compression {
        /// Length of the packed part.
        bytes: usize,
        /// Why.
        cause: String,
    },
}

impl DecodeError {
    /// Short stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Preflight { .. } => "malformed",
            Self::Shape { .. } => "unexpected",
            Self::Compression { .. } => "compression",
        }
    }
}

/// Writes a message.
///
/// # Panics
/// Never for the types of this crate: they hold nothing that CBOR cannot express.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let tree = serde_cbor::value::to_value(message).expect("wire types are expressible in CBOR");
    serde_cbor::to_vec(&tree).expect("a CBOR tree can be written to memory")
}

/// Reads a message of at most `bytes_max` bytes.
///
/// # Errors
/// [`DecodeError::Preflight`] where the bytes are too long, too deep, not in shortest form, hold unsorted or repeated
/// keys or trailing bytes; [`DecodeError::Shape`] where they are sound but of another type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, DecodeError> {
    let limits = Limits { bytes_max, depth_max: DEPTH_MAX, items_max: ITEMS_MAX, tags: &[] };
    skerry_preflight::check(bytes, &limits).map_err(|fault| DecodeError::Preflight { bytes: bytes.len(), fault })?;
    serde_cbor::from_slice(bytes).map_err(|cause| DecodeError::Shape {
        bytes: bytes.len(),
        expected: std::any::type_name::<T>().rsplit("::").next().unwrap_or("message"),
        cause: cause.to_string(),
    })
}
