//! serde's types out of a tree.
//!
//! A tree first and a small deserializer over it: one that reads types from the parser's events is a third of a megabyte
//! in the agent, which has two dozen sections.
//!
//! Scalars are what YAML 1.2 says of them, and a text where a text is asked for: `version: 1.10` keeps its zero. What is
//! quoted is a text, but where a number or a boolean is asked for.

use crate::tree::{Content, Entry, Node};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// Most values of a file, with what its aliases stand for.
const VALUES_MAX: usize = 200_000;

/// Why a tree is no value of a type.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) problem: String,
    /// Line and column, from 1, of what is wrong.
    pub(super) place: Option<(u64, u64)>,
}

impl Error {
    /// Of this node, where nothing inside of it is to blame.
    fn at(mut self, node: &Node) -> Self {
        self.place.get_or_insert((node.line, node.column));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self { problem: problem.to_string(), place: None }
    }
}

/// Reads a value out of a tree.
pub(super) fn value<T: de::DeserializeOwned>(node: &Node) -> Result<T, Error> {
    let left = Cell::new(VALUES_MAX);
    T::deserialize(Reader { node, left: &left }).map_err(|error| error.at(node))
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    left: &'a Cell<usize>,
}

impl<'a> Reader<'a> {
    fn inner(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    /// Aliases let a small file stand for a huge one.
    fn count(self) -> Result<(), Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| {
            let problem = format!("more than {VALUES_MAX} values, with what aliases stand for; divide the file");
            Error { problem, place: Some((self.node.line, self.node.column)) }
        })?;
        self.left.set(left);
        Ok(())
    }
}

/// What a plain scalar is.
enum Scalar {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

fn scalar(text: &str) -> Scalar {
    match text {
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(number) = text.parse().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)) {
        return Scalar::Unsigned(number);
    }
    if let Ok(number) = text.parse() {
        return Scalar::Signed(number);
    }
    // Rust reads `inf` and `nan` too, which are texts in YAML.
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse() {
        Ok(number) if is_number => Scalar::Float(number),
        _ => Scalar::Text,
    }
}

impl Reader<'_> {
    /// Shows a visitor what this is; scalars as what they look like, or as texts.
    fn visit<'de, V: Visitor<'de>>(self, is_plain: bool, visitor: V) -> Result<V::Value, Error> {
        self.count()?;
        match &self.node.content {
            Content::Null => visitor.visit_unit(),
            Content::List(items) => visitor.visit_seq(Items { reader: self, items: items.iter() }),
            Content::Map(entries) => visitor.visit_map(Entries { reader: self, entries: entries.iter(), value: None }),
            Content::Text(text) if !is_plain => visitor.visit_str(text),
            Content::Text(text) => match scalar(text) {
                Scalar::Bool(flag) => visitor.visit_bool(flag),
                Scalar::Unsigned(number) => visitor.visit_u64(number),
                Scalar::Signed(number) => visitor.visit_i64(number),
                Scalar::Float(number) => visitor.visit_f64(number),
                Scalar::Text => visitor.visit_str(text),
            },
        }
    }
}

/// Where a number or a boolean is asked for, it may be quoted: templates often write it so.
macro_rules! from_scalars {
    ($($name:ident)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                self.visit(true, visitor)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(self.node.is_plain, visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Text(text) => {
                self.count()?;
                visitor.visit_str(text)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.count()?;
        match &self.node.content {
            Content::Text(text) => visitor.visit_enum(StrDeserializer::new(text)),
            Content::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Tagged { reader: self, entry }),
                _ => Err(de::Error::custom(format!("{} keys stand where one is expected", entries.len()))),
            },
            Content::Null | Content::List(_) => {
                Err(de::Error::custom(format!("{} stands where a word or one key is expected", self.node.kind())))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.content {
            // A key without a value, as in `paths:`.
            Content::Null => visitor.visit_seq(Items { reader: self, items: [].iter() }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.content {
            Content::Null => visitor.visit_map(Entries { reader: self, entries: [].iter(), value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    from_scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct struct
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    items: std::slice::Iter<'a, Rc<Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.reader.inner(node)).map(Some).map_err(|error| error.at(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, Error> = key.text().unwrap_or_default().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.at(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let node = self.value.take().ok_or_else(|| <Error as de::Error>::custom("a value without a key"))?;
        seed.deserialize(self.reader.inner(node)).map_err(|error| error.at(node))
    }
}

/// A variant with what belongs to it: a mapping of one key.
struct Tagged<'a> {
    reader: Reader<'a>,
    entry: &'a Entry,
}

impl<'de, 'a> EnumAccess<'de> for Tagged<'a> {
    type Error = Error;
    type Variant = Reader<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Reader<'a>), Error> {
        let (key, value) = self.entry;
        let name: StrDeserializer<'_, Error> = key.text().unwrap_or_default().into_deserializer();
        let variant = seed.deserialize(name).map_err(|error| error.at(key))?;
        Ok((variant, self.reader.inner(value)))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.node.content {
            Content::Null => Ok(()),
            _ => Err(<Error as de::Error>::custom("nothing is expected below this word").at(self.node)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self).map_err(|error| error.at(self.node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self, visitor).map_err(|error| error.at(self.node))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self, visitor).map_err(|error| error.at(self.node))
    }
}
