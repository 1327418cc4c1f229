//! MessagePack, read strictly and within bounds: <https://github.com/msgpack/msgpack/blob/master/spec.md>.
//!
//! A [`Scanner`] finds where a value ends while its bytes still arrive; a [`Reader`] then takes it apart in place.
//!
//! Invariants:
//! - No recursion: nesting is counted, at most [`DEPTH_MAX`].
//! - A declared length is never allocated, only compared with what is there.
//! - A scan looks at each byte of structure once, however often it is called for more bytes.

/// Deepest nesting of arrays and maps.
pub const DEPTH_MAX: usize = 16;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The reserved byte 0xc1 stands where a value begins.
    #[error("byte 0xc1 begins no MessagePack value")]
    Reserved,
    /// Arrays and maps are nested more than [`DEPTH_MAX`] deep.
    #[error("values are nested more than {DEPTH_MAX} deep")]
    Depth,
    /// A value is longer than the bound.
    #[error("a message is longer than {0} bytes")]
    TooLong(usize),
    /// The bytes end within a value.
    #[error("a value is cut off")]
    Cut,
    /// A value is of another type than expected here.
    #[error("a value is not {0}, as expected here")]
    Type(&'static str),
}

/// What a value is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// This many bytes follow the head and make up the value.
    Bytes(usize),
    /// This many values follow.
    Values(u64),
}

/// Length of the head at the begin of `bytes` and what it says; `None` if it is not whole yet.
fn head(bytes: &[u8]) -> Result<Option<(usize, Head)>, Fault> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let length = |width: usize| -> Option<u64> {
        let bytes = bytes.get(1..=width)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let sized = |width: usize, extra: usize| {
        let length = usize::try_from(length(width)?).ok()?;
        Some((1 + width, Head::Bytes(length.saturating_add(extra))))
    };
    let values = |width: usize, each: u64| Some((1 + width, Head::Values(length(width)? * each)));
    Ok(match first {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Some((1, Head::Bytes(0))),
        0x80..=0x8f => Some((1, Head::Values(u64::from(first & 15) * 2))),
        0x90..=0x9f => Some((1, Head::Values(u64::from(first & 15)))),
        0xa0..=0xbf => Some((1, Head::Bytes(usize::from(first & 31)))),
        0xc1 => return Err(Fault::Reserved),
        0xc4 | 0xd9 => sized(1, 0),
        0xc5 | 0xda => sized(2, 0),
        0xc6 | 0xdb => sized(4, 0),
        0xc7 => sized(1, 1),
        0xc8 => sized(2, 1),
        0xc9 => sized(4, 1),
        0xcc | 0xd0 => Some((1, Head::Bytes(1))),
        0xcd | 0xd1 => Some((1, Head::Bytes(2))),
        0xca | 0xce | 0xd2 => Some((1, Head::Bytes(4))),
        0xcb | 0xcf | 0xd3 => Some((1, Head::Bytes(8))),
        0xd4..=0xd8 => Some((1, Head::Bytes(1 + (1 << (first - 0xd4))))),
        0xdc => values(2, 1),
        0xdd => values(4, 1),
        0xde => values(2, 2),
        0xdf => values(4, 2),
    })
}

/// Finds the end of one value in bytes that still arrive.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    /// Bytes that were looked at or are known to belong to the value; may lie beyond what is there.
    at: usize,
    /// Values that are still to come, by level of nesting.
    open: Vec<u64>,
    begun: bool,
}

impl Scanner {
    /// Length of the value at the begin of `bytes`, which must begin as in the calls before; `None` if it is not whole
    /// yet. Once it gave a length it begins anew.
    ///
    /// # Errors
    /// [`Fault`] if the bytes are no value, or one longer than `bytes_max`.
    pub fn scan(&mut self, bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Fault> {
        while !(self.begun && self.open.is_empty()) {
            let Some(rest) = bytes.get(self.at..) else { return Ok(None) };
            let Some((length, head)) = head(rest)? else { return Ok(None) };
            self.at = self.at.saturating_add(length);
            self.begun = true;
            if let Some(left) = self.open.last_mut() {
                *left -= 1;
            }
            match head {
                Head::Bytes(length) => self.at = self.at.saturating_add(length),
                Head::Values(0) => {}
                Head::Values(count) if self.open.len() < DEPTH_MAX => self.open.push(count),
                Head::Values(_) => return Err(Fault::Depth),
            }
            // Each value takes a byte or more, so a long array is known for one before it has come.
            let least = self.open.iter().fold(self.at, |sum, n| sum.saturating_add(usize::try_from(*n).unwrap_or(sum)));
            if least > bytes_max {
                return Err(Fault::TooLong(bytes_max));
            }
            while self.open.last() == Some(&0) {
                self.open.pop();
            }
        }
        if bytes.len() < self.at {
            return Ok(None);
        }
        let length = self.at;
        *self = Self::default();
        Ok(Some(length))
    }
}

/// One value, without what is inside an array or a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// nil.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer; those beyond 64 signed bits are not distinguished from the largest.
    Int(i64),
    /// An unsigned integer above [`i64::MAX`].
    Large(u64),
    /// A float of either width.
    Float(f64),
    /// A text; the format does not promise UTF-8, and senders do not keep to it.
    Text(&'a [u8]),
    /// Bytes.
    Binary(&'a [u8]),
    /// An extension: type and bytes.
    Extension(i8, &'a [u8]),
    /// An array; this many values follow.
    Array(u64),
    /// A map; this many pairs of values follow.
    Map(u64),
}

impl<'a> Value<'a> {
    /// The bytes of a text or of binary.
    #[must_use]
    pub const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Takes values apart that are whole.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next value; of an array or a map its head, the values in it come next.
    ///
    /// # Errors
    /// [`Fault`] if there is none, or its bytes end early.
    pub fn value(&mut self) -> Result<Value<'a>, Fault> {
        let (length, head) = head(self.0)?.ok_or(Fault::Cut)?;
        let (first, widths) = (self.0[0], &self.0[1..length]);
        if let Head::Values(count) = head {
            self.0 = &self.0[length..];
            return Ok(if matches!(first, 0x80..=0x8f | 0xde | 0xdf) {
                Value::Map(count / 2)
            } else {
                Value::Array(count)
            });
        }
        let Head::Bytes(size) = head else { return Err(Fault::Cut) };
        let body = self.0.get(length..length.saturating_add(size)).ok_or(Fault::Cut)?;
        self.0 = &self.0[length + size..];
        let unsigned = || body.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let signed = || {
            let unused = 64 - 8 * u32::try_from(body.len()).unwrap_or(8);
            (unsigned() << unused).cast_signed() >> unused
        };
        Ok(match first {
            0x00..=0x7f => Value::Int(i64::from(first)),
            0xe0..=0xff => Value::Int(i64::from(first.cast_signed())),
            0xc2 | 0xc3 => Value::Bool(first == 0xc3),
            0xc4..=0xc6 => Value::Binary(body),
            0xc7..=0xc9 | 0xd4..=0xd8 => {
                debug_assert!(!widths.is_empty() || first >= 0xd4, "sized extensions have a width");
                let (kind, body) = body.split_first().ok_or(Fault::Cut)?;
                Value::Extension(kind.cast_signed(), body)
            }
            0xca => Value::Float(f64::from(f32::from_bits(u32::try_from(unsigned()).unwrap_or(0)))),
            0xcb => Value::Float(f64::from_bits(unsigned())),
            0xcc..=0xcf => i64::try_from(unsigned()).map_or_else(|_| Value::Large(unsigned()), Value::Int),
            0xd0..=0xd3 => Value::Int(signed()),
            0xa0..=0xbf | 0xd9..=0xdb => Value::Text(body),
            _ => Value::Nil,
        })
    }

    /// Passes over one value with all that is in it, and gives its bytes.
    ///
    /// # Errors
    /// [`Fault`] if it is not whole or nested too deep.
    pub fn skip(&mut self) -> Result<&'a [u8], Fault> {
        let length = Scanner::default().scan(self.0, usize::MAX)?.ok_or(Fault::Cut)?;
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(value)
    }

    /// An array's head.
    ///
    /// # Errors
    /// [`Fault::Type`] if it is something else.
    pub fn array(&mut self) -> Result<u64, Fault> {
        match self.value()? {
            Value::Array(count) => Ok(count),
            _ => Err(Fault::Type("an array")),
        }
    }

    /// A map's head: its pairs.
    ///
    /// # Errors
    /// [`Fault::Type`] if it is something else.
    pub fn map(&mut self) -> Result<u64, Fault> {
        match self.value()? {
            Value::Map(count) => Ok(count),
            _ => Err(Fault::Type("a map")),
        }
    }

    /// The bytes of a text or of binary.
    ///
    /// # Errors
    /// [`Fault::Type`] if it is something else.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        self.value()?.bytes().ok_or(Fault::Type("a text"))
    }
}

/// Writes an array's head of at most 15 values.
pub fn put_array(out: &mut Vec<u8>, count: u8) {
    out.push(0x90 | (count & 15));
}

/// Writes a map's head of at most 15 pairs.
pub fn put_map(out: &mut Vec<u8>, count: u8) {
    out.push(0x80 | (count & 15));
}

/// Writes a truth value.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// Writes a text; what is beyond 65,535 bytes of it is left out.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(usize::from(u16::MAX))];
    match u8::try_from(text.len()) {
        Ok(short) if short < 32 => out.push(0xa0 | short),
        Ok(length) => out.extend([0xd9, length]),
        Err(_) => {
            out.push(0xda);
            out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Writes at most 255 bytes as binary; further ones are left out.
pub fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.extend([0xc4, length]);
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_values_of_the_specification() {
        let cases: [(&[u8], Value<'_>); 27] = [
            (&[0xc0], Value::Nil),
            (&[0xc2], Value::Bool(false)),
            (&[0xc3], Value::Bool(true)),
            (&[0x7f], Value::Int(127)),
            (&[0xff], Value::Int(-1)),
            (&[0xe0], Value::Int(-32)),
            (&[0xcc, 0xff], Value::Int(255)),
            (&[0xcd, 1, 0], Value::Int(256)),
            (&[0xce, 0xff, 0, 0, 0], Value::Int(0xff00_0000)),
            (&[0xcf, 0, 0, 0, 1, 0, 0, 0, 0], Value::Int(1 << 32)),
            (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Value::Large(u64::MAX)),
            (&[0xd0, 0x80], Value::Int(-128)),
            (&[0xd1, 0x80, 0], Value::Int(-32_768)),
            (&[0xd2, 0xff, 0xff, 0xff, 0xfe], Value::Int(-2)),
            (&[0xd3, 255, 255, 255, 255, 255, 255, 255, 0], Value::Int(-256)),
            (&[0xca, 0x3f, 0x80, 0, 0], Value::Float(1.0)),
            (&[0xcb, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0], Value::Float(-1.5)),
            (&[0xa2, b'h', b'i'], Value::Text(b"hi")),
            (&[0xd9, 1, b'x'], Value::Text(b"x")),
            (&[0xda, 0, 1, b'x'], Value::Text(b"x")),
            (&[0xdb, 0, 0, 0, 1, b'x'], Value::Text(b"x")),
            (&[0xc4, 1, 9], Value::Binary(&[9])),
            (&[0xc5, 0, 1, 9], Value::Binary(&[9])),
            (&[0xd7, 0, 1, 2, 3, 4, 5, 6, 7, 8], Value::Extension(0, &[1, 2, 3, 4, 5, 6, 7, 8])),
            (&[0xc7, 2, 0xff, 8, 9], Value::Extension(-1, &[8, 9])),
            (&[0x82, 0xc0, 0xc0, 0xc0, 0xc0], Value::Map(2)),
            (&[0xdc, 0, 3, 1, 2, 3], Value::Array(3)),
        ];
        for (bytes, value) in cases {
            assert_eq!(Reader::new(bytes).value(), Ok(value), "{bytes:x?}");
            assert_eq!(Scanner::default().scan(bytes, 100), Ok(Some(bytes.len())), "{bytes:x?}");
        }
    }

    #[test]
    fn a_value_is_found_byte_by_byte_and_the_next_one_after_it() {
        let bytes = [0x93, 0xa1, b'a', 0x81, 0x01, 0x92, 0xc0, 0xc3, 0x90, 0x2a];
        let mut scanner = Scanner::default();
        for end in 0..9 {
            assert_eq!(scanner.scan(&bytes[..end], 100), Ok(None), "{end}");
        }
        assert_eq!(scanner.scan(&bytes, 100), Ok(Some(9)));
        assert_eq!(scanner.scan(&bytes[9..], 100), Ok(Some(1)));
    }

    #[test]
    fn what_cannot_end_within_the_bound_is_refused_at_once() {
        let scan = |bytes: &[u8]| Scanner::default().scan(bytes, 1000);
        assert_eq!(scan(&[0xdb, 0xff, 0xff, 0xff, 0xff]), Err(Fault::TooLong(1000)));
        assert_eq!(scan(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err(Fault::TooLong(1000)));
        assert_eq!(scan(&[0xdf, 0x80, 0, 0, 0]), Err(Fault::TooLong(1000)));
        assert_eq!(scan(&[0x91; 17]), Err(Fault::Depth));
        assert_eq!(scan(&[0x91, 0xc1]), Err(Fault::Reserved));
    }

    #[test]
    fn what_is_written_reads_back() {
        let long = vec![b'x'; 300];
        let mut out = Vec::new();
        put_array(&mut out, 5);
        put_text(&mut out, b"ack");
        put_text(&mut out, &long);
        put_text(&mut out, &long[..200]);
        put_bool(&mut out, true);
        put_map(&mut out, 1);
        put_binary(&mut out, &[1, 2]);
        put_text(&mut out, b"");
        let mut reader = Reader::new(&out);
        assert_eq!(reader.array(), Ok(5));
        assert_eq!(reader.bytes(), Ok(&b"ack"[..]));
        assert_eq!(reader.bytes(), Ok(&long[..]));
        assert_eq!(reader.bytes(), Ok(&long[..200]));
        assert_eq!(reader.value(), Ok(Value::Bool(true)));
        assert_eq!(reader.map(), Ok(1));
        assert_eq!(reader.value(), Ok(Value::Binary(&[1, 2])));
        assert_eq!(reader.bytes(), Ok(&b""[..]));
        assert_eq!(reader.value(), Err(Fault::Cut));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe_and_pieces_change_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..200,
        ) {
            let whole = Scanner::default().scan(&bytes, 150);
            if let Ok(Some(length)) = whole {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(Reader::new(&bytes).skip().map(<[u8]>::len), Ok(length));
            }
            let mut scanner = Scanner::default();
            let first = scanner.scan(&bytes[..cut.min(bytes.len())], 150);
            let last = if first == Ok(None) { scanner.scan(&bytes, 150) } else { first };
            prop_assert_eq!(last, whole);
            let mut reader = Reader::new(&bytes);
            while reader.value().is_ok() {}
        }
    }
}
