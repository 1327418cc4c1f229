//! Reads the settings of stages: a mapping is taken apart key by key, and what is left over is a fault.
//!
//! Stages stand in the config as plain values and are read here rather than by derived code: all faults are found at
//! once, each with its key, and the agent carries one reader instead of one per type and file format.

use serde_json::{Map, Value};
use skerry_model::Span;
use std::fmt::Display;

/// Faults found so far: the key, and what is wrong and was expected.
pub(crate) type Faults = Vec<(String, String)>;

/// Longest name of a field or label in a config.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Most items of one list in a config.
pub(crate) const LIST_MAX: usize = 64;

/// One mapping that is being read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    key: String,
    map: &'a Map<String, Value>,
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// A mapping at `key`; `None` and a fault where it is none.
    pub(crate) fn new(value: &'a Value, key: &str, faults: &mut Faults) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { key: key.to_owned(), map, asked: Vec::new() }),
            other => {
                faults.push((key.to_owned(), format!("a mapping is expected, not {}", kind(other))));
                None
            }
        }
    }

    /// The full key of one of its keys.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.key)
    }

    /// The mapping's own key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Adds a fault of one of its keys.
    pub(crate) fn fault(&self, name: &str, problem: impl Display, faults: &mut Faults) {
        faults.push((self.at(name), problem.to_string()));
    }

    /// The value of a key, `null` being none.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether there is such a key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        faults: &mut Faults,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let found = read(value);
        if found.is_none() {
            self.fault(name, format_args!("{expected} is expected, not {}", kind(value)), faults);
        }
        found
    }

    /// A text; numbers and booleans are texts too, since YAML makes them of `200` and `true`.
    pub(crate) fn text(&mut self, name: &'static str, faults: &mut Faults) -> Option<String> {
        self.typed(name, "a text", faults, scalar)
    }

    /// A text that must be there.
    pub(crate) fn required(&mut self, name: &'static str, faults: &mut Faults) -> Option<String> {
        if !self.has(name) {
            self.asked.push(name);
            self.fault(name, "is missing: a text is expected", faults);
            return None;
        }
        self.text(name, faults)
    }

    /// The name of a field or label.
    pub(crate) fn name(&mut self, name: &'static str, faults: &mut Faults) -> Option<String> {
        let text = self.text(name, faults)?;
        check_name(&text, &self.at(name), faults).then_some(text)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str, faults: &mut Faults) -> Option<bool> {
        self.typed(name, "true or false", faults, Value::as_bool)
    }

    /// A whole number in a range.
    pub(crate) fn whole(&mut self, name: &'static str, least: u64, most: u64, faults: &mut Faults) -> Option<u64> {
        let number = self.typed(name, "a whole number", faults, Value::as_u64)?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        self.fault(name, format_args!("{number} is out of range: {least} to {most} is expected"), faults);
        None
    }

    /// A number above `above` and up to `most`.
    pub(crate) fn number(&mut self, name: &'static str, above: f64, most: f64, faults: &mut Faults) -> Option<f64> {
        let number = self.typed(name, "a number", faults, Value::as_f64)?;
        if number > above && number <= most {
            return Some(number);
        }
        self.fault(name, format_args!("{number} is out of range: more than {above}, up to {most} is expected"), faults);
        None
    }

    /// A time span in milliseconds, in a range.
    pub(crate) fn span(&mut self, name: &'static str, least: Span, most: Span, faults: &mut Faults) -> Option<u64> {
        let text = self.text(name, faults)?;
        match text.parse::<Span>() {
            Ok(span) if span >= least && span <= most => Some(u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX)),
            Ok(span) => {
                self.fault(name, format_args!("{span} is out of range: {least} to {most} is expected"), faults);
                None
            }
            Err(error) => {
                self.fault(name, error, faults);
                None
            }
        }
    }

    /// One word of a few.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)], faults: &mut Faults) -> Option<T> {
        let text = self.text(name, faults)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(name, format_args!("{} is not known: {} is expected", quoted(&text), words.join(", ")), faults);
        }
        found
    }

    /// A list of names of fields or labels; one name alone is a list of one.
    pub(crate) fn names(&mut self, name: &'static str, faults: &mut Faults) -> Vec<String> {
        let texts = self.texts(name, faults);
        let key = self.at(name);
        let mut good = |(at, text): (usize, &String)| check_name(text, &format!("{key}[{at}]"), faults);
        let bad = texts.iter().enumerate().filter(|one| !good(*one)).count();
        if bad == 0 { texts } else { Vec::new() }
    }

    /// A list of texts; one text alone is a list of one.
    pub(crate) fn texts(&mut self, name: &'static str, faults: &mut Faults) -> Vec<String> {
        let Some(value) = self.value(name) else { return Vec::new() };
        if let Some(one) = scalar(value) {
            return vec![one];
        }
        let mut texts = Vec::new();
        for (at, item) in self.items(name, value, faults).iter().enumerate() {
            match scalar(item) {
                Some(text) => texts.push(text),
                None => {
                    faults.push((format!("{}[{at}]", self.at(name)), format!("a text is expected, not {}", kind(item))))
                }
            }
        }
        texts
    }

    /// A list.
    pub(crate) fn list(&mut self, name: &'static str, faults: &mut Faults) -> &'a [Value] {
        match self.value(name) {
            Some(value) => self.items(name, value, faults),
            None => &[],
        }
    }

    fn items(&self, name: &'static str, value: &'a Value, faults: &mut Faults) -> &'a [Value] {
        match value {
            Value::Array(items) if items.len() <= LIST_MAX => items,
            Value::Array(items) => {
                self.fault(name, format_args!("{} items, at most {LIST_MAX} are taken", items.len()), faults);
                &[]
            }
            other => {
                self.fault(name, format_args!("a list is expected, not {}", kind(other)), faults);
                &[]
            }
        }
    }

    /// A mapping of names to texts, by name.
    pub(crate) fn pairs(&mut self, name: &'static str, faults: &mut Faults) -> Vec<(String, String)> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Value::Object(map) = value else {
            self.fault(name, format_args!("a mapping is expected, not {}", kind(value)), faults);
            return Vec::new();
        };
        if map.len() > LIST_MAX {
            self.fault(name, format_args!("{} keys, at most {LIST_MAX} are taken", map.len()), faults);
        }
        let mut pairs = Vec::new();
        for (inner, value) in map.iter().take(LIST_MAX) {
            let key = format!("{}.{inner}", self.at(name));
            if !check_name(inner, &key, faults) {
                continue;
            }
            match scalar(value) {
                Some(text) => pairs.push((inner.clone(), text)),
                None => faults.push((key, format!("a text is expected, not {}", kind(value)))),
            }
        }
        pairs
    }

    /// Ends the mapping: keys that nobody asked for are faults.
    pub(crate) fn finish(self, faults: &mut Faults) {
        for name in self.map.keys().filter(|name| !self.asked.contains(&name.as_str())) {
            let known = self.asked.join(", ");
            faults.push((self.at(&cut(name)), format!("is not known here: {known} is expected")));
        }
    }
}

/// The one key of a mapping that has one, or the text alone, with what stands below it.
pub(crate) fn single<'a>(
    value: &'a Value,
    key: &str,
    expected: &str,
    faults: &mut Faults,
) -> Option<(&'a str, &'a Value)> {
    match value {
        Value::String(name) => return Some((name, &Value::Null)),
        Value::Object(map) => {
            let mut entries = map.iter();
            if let (Some((name, inner)), None) = (entries.next(), entries.next()) {
                return Some((name, inner));
            }
            faults.push((key.to_owned(), format!("{} keys: one is expected, of {expected}", map.len())));
        }
        other => faults
            .push((key.to_owned(), format!("a mapping with one key is expected ({expected}), not {}", kind(other)))),
    }
    None
}

/// Whether a name of a field or label can be used; a fault if not.
pub(crate) fn check_name(name: &str, key: &str, faults: &mut Faults) -> bool {
    let good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    if !good {
        faults.push((key.to_owned(), format!("{} is no name: 1 to {NAME_BYTES_MAX} bytes are expected", quoted(name))));
    }
    good
}

/// A text out of a config as it stands in a fault.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The text of a scalar.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a value is, in words.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
