//! Numbers in bytes: LEB128 varints and a bounds-checked cursor.

use crate::DecodeError;

/// Appends an unsigned varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number as zigzag varint.
pub(crate) fn put_zigzag(out: &mut Vec<u8>, n: i64) {
    put_varint(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// Appends length and bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from a slice; every read names what it was for, so that an error says where the block broke.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], part: &'static str) -> Self {
        Self { rest: bytes, part }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated(self.part))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        // Most numbers of a block take one byte.
        if let Some((byte @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(DecodeError::Invalid("varint"))
    }

    /// Passes over so many varints.
    pub(crate) fn skip_varints(&mut self, count: usize) -> Result<(), DecodeError> {
        let mut left = count;
        let mut bytes = self.rest.iter();
        while left > 0 {
            let byte = bytes.next().ok_or(DecodeError::Truncated(self.part))?;
            left -= usize::from(*byte < 0x80);
        }
        self.rest = bytes.as_slice();
        Ok(())
    }

    #[inline]
    pub(crate) fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let n = self.varint()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A length or count that must not exceed `limit`.
    pub(crate) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let found = self.varint()?;
        let limit_u64 = limit as u64;
        usize::try_from(found).ok().filter(|n| *n <= limit).ok_or(DecodeError::Limit { what, found, limit: limit_u64 })
    }

    /// Length and bytes as [`put_bytes`] wrote them.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.count("byte string", self.rest.len())?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(n in any::<u64>(), i in any::<i64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            put_zigzag(&mut out, i);
            let mut cursor = Cursor::new(&out, "test");
            prop_assert_eq!(cursor.varint(), Ok(n));
            prop_assert_eq!(cursor.zigzag(), Ok(i));
            prop_assert_eq!(cursor.remaining(), 0);
        }
    }

    #[test]
    fn an_endless_varint_is_refused() {
        assert_eq!(Cursor::new(&[0xff; 11], "x").varint(), Err(DecodeError::Invalid("varint")));
        assert_eq!(Cursor::new(&[0x80], "x").varint(), Err(DecodeError::Truncated("x")));
    }
}
