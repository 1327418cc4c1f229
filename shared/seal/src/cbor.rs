//! Writing documents in strict form, and reading them field by field.
//!
//! A document is a map with small integer keys. A reader takes each field by its key and then calls
//! [`Fields::finish`], which refuses what is left: a field this version does not know may change what the others
//! mean, so it must not be passed over.

use ciborium::Value;
use skerry_model::UnixMillis;
use skerry_preflight::{Fault, Limits};
use std::collections::BTreeMap;

/// What a payload may be. 256 KiB hold some two thousand sealed secrets of nine items each.
pub(crate) const DOCUMENT: Limits<'_> = Limits { bytes_max: 256 * 1024, depth_max: 16, items_max: 32_768, tags: &[] };

/// Largest epoch, version and time: what SQLite holds as an integer.
pub(crate) const NUMBER_MAX: u64 = i64::MAX as u64;

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocError {
    /// Not CBOR in strict form.
    #[error("{document}: {fault}")]
    Cbor {
        /// Which kind of document.
        document: &'static str,
        /// Where and why.
        fault: Fault,
    },
    /// Not a map with integer keys.
    #[error("{document} is not a map with integer keys")]
    NotAMap {
        /// Which kind of document.
        document: &'static str,
    },
    /// A field is absent.
    #[error("{document} has no field '{field}'")]
    Missing {
        /// Which kind of document.
        document: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field that this version does not know.
    #[error("{document} has field {key}, which this version does not know; upgrade, or sign it with an older tool")]
    Unknown {
        /// Which kind of document.
        document: &'static str,
        /// The field's key.
        key: u64,
    },
    /// A field's value has another shape or exceeds a bound.
    #[error("{document}: field '{field}' is not {expected}")]
    Shape {
        /// Which kind of document.
        document: &'static str,
        /// The field's name.
        field: &'static str,
        /// What was expected.
        expected: &'static str,
    },
}

/// `value` in strict form: maps sorted by the bytes of their encoded keys.
pub(crate) fn encode(value: Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&sorted(value), &mut bytes).expect("a vector takes every byte");
    bytes
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Map(pairs) => {
            let mut pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (sorted(key), sorted(value))).collect();
            pairs.sort_by_cached_key(|(key, _)| encode(key.clone()));
            Value::Map(pairs)
        }
        other => other,
    }
}

/// A map with integer keys; absent values are left out.
pub(crate) fn map(fields: impl IntoIterator<Item = (u64, Option<Value>)>) -> Value {
    let pairs = fields.into_iter().filter_map(|(key, value)| Some((Value::from(key), value?)));
    Value::Map(pairs.collect())
}

/// A time as the integer that stands for it.
pub(crate) fn millis(time: UnixMillis) -> Value {
    Value::from(time.0)
}

/// Decodes a document after the strict check.
pub(crate) fn decode(document: &'static str, bytes: &[u8], limits: &Limits<'_>) -> Result<Value, DocError> {
    skerry_preflight::check(bytes, limits).map_err(|fault| DocError::Cbor { document, fault })?;
    // The check leaves nothing that this decoder refuses, but an error is not worth a panic.
    ciborium::from_reader(bytes).map_err(|_| DocError::NotAMap { document })
}

/// The fields of one map that have not been taken yet.
pub(crate) struct Fields {
    document: &'static str,
    left: BTreeMap<u64, Value>,
}

impl Fields {
    /// Reads the map of a whole document.
    pub(crate) fn decode(document: &'static str, bytes: &[u8], limits: &Limits<'_>) -> Result<Self, DocError> {
        Self::of(document, decode(document, bytes, limits)?)
    }

    /// The fields of a map inside a document.
    pub(crate) fn of(document: &'static str, value: Value) -> Result<Self, DocError> {
        let Value::Map(pairs) = value else { return Err(DocError::NotAMap { document }) };
        let mut left = BTreeMap::new();
        for (key, value) in pairs {
            let key = key.as_integer().and_then(|key| u64::try_from(key).ok());
            left.insert(key.ok_or(DocError::NotAMap { document })?, value);
        }
        Ok(Self { document, left })
    }

    /// Refuses what nobody has taken.
    pub(crate) fn finish(self) -> Result<(), DocError> {
        match self.left.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(DocError::Unknown { document: self.document, key }),
        }
    }

    /// The error of a field whose value is not what was expected.
    pub(crate) fn shape(&self, field: &'static str, expected: &'static str) -> DocError {
        DocError::Shape { document: self.document, field, expected }
    }

    pub(crate) fn optional(&mut self, key: u64) -> Option<Value> {
        self.left.remove(&key)
    }

    pub(crate) fn required(&mut self, key: u64, field: &'static str) -> Result<Value, DocError> {
        self.optional(key).ok_or(DocError::Missing { document: self.document, field })
    }

    /// An integer of 0 to 2^63 - 1.
    pub(crate) fn number(&mut self, key: u64, field: &'static str) -> Result<u64, DocError> {
        let value = self.required(key, field)?;
        as_number(&value).ok_or_else(|| self.shape(field, "an integer of 0 to 2^63 - 1"))
    }

    /// Milliseconds since 1970, not negative.
    pub(crate) fn time(&mut self, key: u64, field: &'static str) -> Result<UnixMillis, DocError> {
        let value = self.required(key, field)?;
        as_time(&value).ok_or_else(|| self.shape(field, "a time in milliseconds since 1970"))
    }

    pub(crate) fn text(&mut self, key: u64, field: &'static str, bytes_max: usize) -> Result<String, DocError> {
        match self.required(key, field)? {
            Value::Text(text) if text.len() <= bytes_max => Ok(text),
            _ => Err(self.shape(field, "a text of the length allowed here")),
        }
    }

    /// A text in a form of its own.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &mut self,
        key: u64,
        field: &'static str,
        expected: &'static str,
    ) -> Result<T, DocError> {
        let value = self.required(key, field)?;
        value.as_text().and_then(|text| text.parse().ok()).ok_or_else(|| self.shape(field, expected))
    }

    pub(crate) fn bytes(&mut self, key: u64, field: &'static str, bytes_max: usize) -> Result<Vec<u8>, DocError> {
        match self.required(key, field)? {
            Value::Bytes(bytes) if bytes.len() <= bytes_max => Ok(bytes),
            _ => Err(self.shape(field, "a byte string of the length allowed here")),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, key: u64, field: &'static str) -> Result<[u8; N], DocError> {
        let value = self.required(key, field)?;
        as_array(&value).ok_or_else(|| self.shape(field, "a byte string of the length expected here"))
    }

    pub(crate) fn list(
        &mut self,
        key: u64,
        field: &'static str,
        items_max: usize,
        expected: &'static str,
    ) -> Result<Vec<Value>, DocError> {
        match self.required(key, field)? {
            Value::Array(items) if items.len() <= items_max => Ok(items),
            _ => Err(self.shape(field, expected)),
        }
    }

    pub(crate) fn pairs(
        &mut self,
        key: u64,
        field: &'static str,
        pairs_max: usize,
        expected: &'static str,
    ) -> Result<Vec<(Value, Value)>, DocError> {
        match self.required(key, field)? {
            Value::Map(pairs) if pairs.len() <= pairs_max => Ok(pairs),
            _ => Err(self.shape(field, expected)),
        }
    }
}

pub(crate) fn as_number(value: &Value) -> Option<u64> {
    value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| *n <= NUMBER_MAX)
}

pub(crate) fn as_time(value: &Value) -> Option<UnixMillis> {
    as_number(value).and_then(|n| i64::try_from(n).ok()).map(UnixMillis)
}

pub(crate) fn as_array<const N: usize>(value: &Value) -> Option<[u8; N]> {
    value.as_bytes().and_then(|bytes| bytes.as_slice().try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_passes_the_strict_check() {
        let value = Value::Map(vec![
            (Value::from("bb"), Value::from(1)),
            (Value::from("a"), Value::Map(vec![(Value::from(9), Value::Null), (Value::from(3), Value::from(true))])),
            (Value::from(500), Value::Array(vec![Value::from(-1)])),
        ]);
        let bytes = encode(value);
        assert_eq!(skerry_preflight::check(&bytes, &DOCUMENT), Ok(()));
    }

    #[test]
    fn fields_name_what_is_wrong() {
        let read = |value: Value| Fields::of("the test", value);
        let mut fields = read(map([(1, Some(Value::from("x"))), (7, Some(Value::Null))])).unwrap();
        assert_eq!(fields.number(1, "one").unwrap_err(), fields.shape("one", "an integer of 0 to 2^63 - 1"));
        assert_eq!(fields.number(2, "two"), Err(DocError::Missing { document: "the test", field: "two" }));
        assert_eq!(fields.finish(), Err(DocError::Unknown { document: "the test", key: 7 }));
        assert!(matches!(read(Value::Null), Err(DocError::NotAMap { .. })));
        assert!(matches!(read(Value::Map(vec![(Value::from("k"), Value::Null)])), Err(DocError::NotAMap { .. })));
        let mut fields = read(map([(1, Some(Value::from(u64::MAX)))])).unwrap();
        assert!(fields.number(1, "one").is_err());
    }
}
