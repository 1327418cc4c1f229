//! Errors of reading and writing blocks.

/// Why bytes are no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a block of the kind that was expected.
    #[error("not a {0} block: its first bytes are wrong")]
    Magic(&'static str),
    /// Written by a newer version.
    #[error("block version {0} is not known to this version of the program; update it first")]
    Version(u8),
    /// The checksum does not match: the bytes were damaged on their way or on disk.
    #[error("checksum mismatch: the block was damaged")]
    Crc,
    /// The block ends too early.
    #[error("the block ends inside its {0}")]
    Truncated(&'static str),
    /// A limit is exceeded.
    #[error("{what} is {found}, at most {limit} is taken")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Value found.
        found: u64,
        /// Value allowed.
        limit: u64,
    },
    /// The body does not decompress.
    #[error("the body cannot be decompressed: {0}")]
    Compression(String),
    /// The content contradicts itself.
    #[error("invalid {0}")]
    Invalid(&'static str),
}

/// Why a block cannot be written. All of these are mistakes of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A column has another number of values than there are timestamps.
    #[error("column {column} has {values} values for {rows} timestamps")]
    Ragged {
        /// Index of the column.
        column: usize,
        /// Its values.
        values: usize,
        /// The block's timestamps.
        rows: usize,
    },
    /// Series ids are not strictly rising.
    #[error("column {0} is not in rising order of series ids")]
    Unsorted(usize),
    /// The compressor failed.
    #[error("compression failed: {0}")]
    Compression(String),
}
