//! Values of templates.

use crate::time::{Time, duration_text};
use std::fmt;
use std::sync::Arc;

/// A value; copies share what is large.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing: `nil`, and what an absent key gives; an action writes it as `<no value>`.
    Nil,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `float64`
    Float(f64),
    /// `string`
    Text(Arc<str>),
    /// A text that is HTML already (`safeHtml`): not escaped again.
    Html(Arc<str>),
    /// A slice.
    List(Arc<[Value]>),
    /// A map with texts as keys.
    Map(Arc<Map>),
    /// `time.Time`
    Time(Time),
    /// `time.Duration`, in nanoseconds.
    Duration(i64),
    /// What a user of this crate brings along.
    Object(Arc<dyn Object>),
}

/// A value with fields and methods of its own.
pub trait Object: fmt::Debug + Send + Sync {
    /// The name of its type, as `%T` and faults cite it: `template.KV`.
    fn type_name(&self) -> &str;

    /// A field, or a method without arguments; `None` where there is none of that name.
    fn field(&self, name: &str) -> Option<Value>;

    /// A method with arguments; `None` where there is none of that name.
    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let _ = (name, args);
        None
    }

    /// What it is underneath, where it is a list or a map: for `range`, `index`, `len`, and as `print` shows it.
    fn plain(&self) -> Option<Value> {
        None
    }

    /// As `%v` writes it; `None` where it is written as what it is underneath.
    fn text(&self) -> Option<String> {
        None
    }
}

/// A map by rising key.
#[derive(Debug, Clone)]
pub struct Map {
    entries: Vec<(Arc<str>, Value)>,
    missing: Value,
}

impl Map {
    /// Of entries in any order, the later of two with one key wins; `missing` is what an absent key gives: an empty
    /// text in Go's `map[string]string`, nil in a `map[string]any`.
    #[must_use]
    pub fn new(mut entries: Vec<(Arc<str>, Value)>, missing: Value) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        // Of equal keys the last stays: the sort is stable, and the earlier one takes over what the later one holds.
        entries.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Self { entries, missing }
    }

    /// A `map[string]string`.
    #[must_use]
    pub fn of_texts<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(entries.map(|(key, value)| (Arc::from(key), Value::from(value))).collect(), Value::from(""))
    }

    /// What stands at a key, if anything does.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Value> {
        let at = self.entries.binary_search_by(|(held, _)| (**held).cmp(key)).ok()?;
        Some(&self.entries[at].1)
    }

    /// What stands at a key, or what an absent one gives.
    #[must_use]
    pub fn at(&self, key: &str) -> Value {
        self.entry(key).unwrap_or(&self.missing).clone()
    }

    /// Keys and values by rising key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Arc<str>, Value)> {
        self.entries.iter()
    }

    /// The key and value at a place, which is below the count of keys.
    pub(crate) fn nth(&self, at: usize) -> (Value, Value) {
        self.entries.get(at).map_or((Value::Nil, Value::Nil), |(key, value)| (Value::Text(key.clone()), value.clone()))
    }

    /// Count of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether its values are texts by type.
    #[must_use]
    pub fn is_of_texts(&self) -> bool {
        matches!(self.missing, Value::Text(_))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items.into())
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }
}

impl Value {
    /// A text's or an HTML text's characters.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Html(text) => Some(text),
            _ => None,
        }
    }

    /// Whether `if` takes it for true: not where it is nil, zero, empty or false.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(whole) | Self::Duration(whole) => *whole != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) | Self::Html(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Time(_) => true,
            Self::Object(object) => object.plain().is_none_or(|plain| plain.is_true()),
        }
    }

    /// The name of its type as Go has it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Html(_) => "template.HTML",
            Self::List(items) if !items.is_empty() && items.iter().all(|item| matches!(item, Self::Text(_))) => {
                "[]string"
            }
            Self::List(_) => "[]interface {}",
            Self::Map(map) if map.is_of_texts() => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Object(object) => object.type_name(),
        }
    }

    /// As an action writes it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Writes it behind `out`, as an action does.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("<no value>"),
            Self::Text(text) | Self::Html(text) => out.push_str(text),
            other => crate::print::value(other, out, 0),
        }
    }

    /// A list or map, or what an object is underneath; itself else.
    #[must_use]
    pub fn plain(&self) -> Self {
        match self {
            Self::Object(object) => object.plain().unwrap_or_else(|| self.clone()),
            other => other.clone(),
        }
    }

    /// As a time's or duration's text, where it is one.
    pub(crate) fn moment_text(&self) -> Option<String> {
        match self {
            Self::Time(time) => Some(time.to_string()),
            Self::Duration(nanos) => Some(duration_text(*nanos)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_sorted_and_the_last_of_a_key_wins() {
        let entries = [("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")];
        let map = Map::of_texts(entries.into_iter());
        let all: Vec<_> = map.iter().map(|(key, value)| (&**key, value.text())).collect();
        assert_eq!(all, [("a", "2".to_owned()), ("b", "4".to_owned())]);
        assert_eq!((map.at("b").text(), map.at("c").text()), ("4".into(), String::new()));
    }
}
