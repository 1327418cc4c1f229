//! The little of protobuf's wire format that these messages need.

use crate::DecodeError;

/// Value of a field as the wire format tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A number of varying length.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// Four bytes, which are passed over.
    Fixed32,
}

impl<'a> Value<'a> {
    /// Bytes; `what` names the field in the error.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] if it is something else. So with the others.
    pub fn bytes(self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(DecodeError::Invalid(what)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`].
    pub fn text(self, what: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| DecodeError::Invalid(what))
    }

    /// A `double`.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`].
    pub fn double(self, what: &'static str) -> Result<f64, DecodeError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(DecodeError::Invalid(what)),
        }
    }

    /// An `int64`: two's complement in a varint.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`].
    pub fn int64(self, what: &'static str) -> Result<i64, DecodeError> {
        match self {
            Self::Varint(number) => Ok(number.cast_signed()),
            _ => Err(DecodeError::Invalid(what)),
        }
    }
}

/// Reads the fields of a message one by one.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Those of this message.
    #[must_use]
    pub fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Number and value of the next field; `None` at the end.
    ///
    /// # Errors
    /// [`DecodeError`] where the message is none.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would invite to skip errors")]
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.array::<8>()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| DecodeError::Truncated("a field"))?;
                Value::Bytes(self.0.split_off(..length).ok_or(DecodeError::Truncated("a field"))?)
            }
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            // Groups were given up before these messages were made.
            _ => return Err(DecodeError::Invalid("a field's type")),
        };
        match key >> 3 {
            0 => Err(DecodeError::Invalid("a field's number")),
            number => Ok(Some((number, value))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated("a field"))?;
        self.0 = rest;
        Ok(array)
    }
}

/// Takes a varint of at most 64 bits off the front.
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let Some((first, rest)) = bytes.split_first() else { return Err(DecodeError::Truncated("a number")) };
        *bytes = rest;
        // Of the tenth byte only the lowest bit has a place; protobuf drops the others.
        number |= u64::from(first & 0x7f).unbounded_shl(shift);
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DecodeError::Invalid("a number"))
}

/// Writes a number.
pub fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Writes a text, bytes, or a message.
pub fn put_bytes(bytes: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_varint(bytes, field << 3 | 2);
    put_varint(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

/// Writes a `double`; zero is absence, as protobuf 3 has it. Negative zero is not zero.
pub(crate) fn put_double(bytes: &mut Vec<u8>, field: u64, value: f64) {
    if value.to_bits() != 0 {
        put_varint(bytes, field << 3 | 1);
        bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

/// Writes an `int64`; zero is absence.
pub fn put_int64(bytes: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        put_varint(bytes, field << 3);
        put_varint(bytes, value.cast_unsigned());
    }
}

/// Writes a `fixed64`; zero is absence.
pub fn put_fixed64(bytes: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_varint(bytes, field << 3 | 1);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}
