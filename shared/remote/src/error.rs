//! Why a body cannot be read.

/// Why a body cannot be read. Nothing of it is to be used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is no snappy block.
    #[error("the body is no snappy block: {0}")]
    Snappy(String),
    /// There is more of something than is taken at once.
    #[error("{found} {what}, at most {limit} are taken in one request; send smaller ones")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// Most that is taken.
        limit: u64,
    },
    /// The bytes end within a field.
    #[error("the message ends within {0}")]
    Truncated(&'static str),
    /// A field is not what the message type says.
    #[error("{0} is not as the message type wants it")]
    Invalid(&'static str),
}

impl DecodeError {
    /// Whether a smaller request might be taken.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}
