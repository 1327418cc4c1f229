//! The snappy block around a message.

use crate::DecodeError;

/// Most bytes that one byte of a snappy block gives: a copy of 64 bytes takes three. So a block that claims more than
/// this is none, and is refused before memory is taken for it.
const EXPANSION_MAX: u64 = 22;

/// The message within a snappy block, at most `raw_bytes_max` bytes long.
///
/// # Errors
/// [`DecodeError::TooLarge`] where the block claims more, [`DecodeError::Snappy`] where it is none.
pub fn unpack(body: &[u8], raw_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    let claimed = snap::raw::decompress_len(body).map_err(|error| DecodeError::Snappy(error.to_string()))?;
    if claimed > raw_bytes_max {
        let (found, limit) = (claimed as u64, raw_bytes_max as u64);
        return Err(DecodeError::TooLarge { what: "bytes after decompression", found, limit });
    }
    if claimed as u64 > (body.len() as u64).saturating_mul(EXPANSION_MAX) {
        return Err(DecodeError::Snappy(format!("{} bytes cannot hold the {claimed} that it claims", body.len())));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|error| DecodeError::Snappy(error.to_string()))
}

/// A message as a snappy block; it is at most 4 GiB long.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "senders cut their requests far below that")]
pub fn pack(message: &[u8]) -> Vec<u8> {
    // Fails beyond 4 GiB alone; senders cut their requests at thousands of samples.
    snap::raw::Encoder::new().compress_vec(message).expect("a request is far below 4 GiB")
}
