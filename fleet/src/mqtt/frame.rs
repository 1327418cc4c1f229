//! Cuts a byte stream into MQTT packets.
//!
//! Invariants:
//! - No more is kept than one unfinished packet and what one read brought; an idle stream keeps no buffer.
//! - A packet's size is known and judged before its body is kept.

use bytes::{Bytes, BytesMut};

/// Longest fixed header: the type byte and four of length (MQTT 5, 1.5.5).
const HEAD_BYTES_MAX: usize = 5;

/// The beginning of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Packet type and flags.
    pub(super) first: u8,
    head_bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// Size of the whole packet.
    pub(super) fn total_bytes(self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

/// The length field has more than four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadLength;

/// Bytes that came and were not consumed yet.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    bytes: BytesMut,
}

impl Assembler {
    /// Where the next read goes.
    pub(super) fn input(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Whether a packet has begun but is not complete, given that all complete ones were taken.
    pub(super) fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next packet's head, once it is there.
    pub(super) fn head(&self) -> Result<Option<Head>, BadLength> {
        let Some((&first, rest)) = self.bytes.split_first() else { return Ok(None) };
        let mut body_bytes = 0;
        for (i, byte) in rest.iter().take(HEAD_BYTES_MAX - 1).enumerate() {
            body_bytes |= usize::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(Some(Head { first, head_bytes: i + 2, body_bytes }));
            }
        }
        if rest.len() >= HEAD_BYTES_MAX - 1 { Err(BadLength) } else { Ok(None) }
    }

    /// The body of the packet that begins with `head`, once it is complete. Room for it is made now.
    pub(super) fn take(&mut self, head: Head) -> Option<Bytes> {
        if self.bytes.len() < head.total_bytes() {
            self.bytes.reserve(head.total_bytes() - self.bytes.len());
            return None;
        }
        let body = self.bytes.split_to(head.total_bytes()).freeze().slice(head.head_bytes..);
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_whole_however_they_arrive() {
        let mut stream = vec![0xc0, 0];
        stream.extend([0x30, 0x80 | 0x48, 0x01]);
        stream.extend([7; 200]);
        stream.extend([0xe0, 0]);
        for step in [1, 2, 3, 7, stream.len()] {
            let mut assembler = Assembler::default();
            let mut taken = vec![];
            for chunk in stream.chunks(step) {
                assembler.input().extend_from_slice(chunk);
                while let Some(head) = assembler.head().unwrap() {
                    let Some(body) = assembler.take(head) else { break };
                    taken.push((head.first, body.len()));
                }
            }
            assert_eq!(taken, [(0xc0, 0), (0x30, 200), (0xe0, 0)], "in steps of {step}");
            assert_eq!(assembler.bytes.capacity(), 0, "an idle stream keeps no buffer");
        }
    }

    #[test]
    fn a_length_of_five_bytes_is_refused() {
        let mut assembler = Assembler::default();
        assembler.input().extend_from_slice(&[0x30, 0xff, 0xff, 0xff]);
        assert_eq!(assembler.head(), Ok(None));
        assembler.input().extend_from_slice(&[0xff]);
        assert_eq!(assembler.head(), Err(BadLength));
    }
}
