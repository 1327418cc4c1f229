//! Reads settings out of a YAML tree, by hand: two dozen mappings as serde types would cost the agent more code than all
//! they do.

use crate::{Fault, Places};
use serde_json::{Map, Value};
use skerry_model::Span;

use std::path::PathBuf;
use std::time::Duration;

/// Collects faults with the lines of their keys.
#[derive(Debug)]
pub struct Checks<'a> {
    places: &'a Places,
    faults: Vec<Fault>,
}

impl<'a> Checks<'a> {
    /// Of a file with these places.
    #[must_use]
    pub fn new(places: &'a Places) -> Self {
        Self { places, faults: Vec::new() }
    }

    /// Notes that what stands at `key` (dotted, from the file's root) cannot be used.
    pub fn fault(&mut self, key: &str, problem: impl Into<String>) {
        self.faults.push(Fault { line: self.places.line(key), key: key.to_owned(), problem: problem.into() });
    }

    /// What was noted, in the order it was found.
    #[must_use]
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}

/// A text that stands in the file, or the file that holds it. Files are read for each notice, so that they may be
/// replaced.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In the config.
    Text(String),
    /// In a file; white space around it does not count.
    File(PathBuf),
}

/// Without the text: settings stand in logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Secret"),
            Self::File(path) => write!(f, "Secret({})", path.display()),
        }
    }
}

/// A mapping whose keys are taken one by one; [`Mapping::finish`] names those that nobody took.
#[derive(Debug)]
pub struct Mapping<'a> {
    map: Option<&'a Map<String, Value>>,
    key: String,
    taken: Vec<&'a str>,
}

impl<'a> Mapping<'a> {
    /// The mapping at `key`; nothing at all is an empty one.
    pub fn new(value: Option<&'a Value>, key: &str, checks: &mut Checks<'_>) -> Self {
        let map = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(map),
            Some(_) => {
                checks.fault(key, "a mapping is expected");
                None
            }
        };
        Self { map, key: key.to_owned(), taken: Vec::new() }
    }

    /// Where it stands.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where one of its keys stands.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    /// The value of a key that is there and is not null.
    pub fn take(&mut self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.map?.get_key_value(name)?;
        self.taken.push(name);
        (!value.is_null()).then_some(value)
    }

    /// A text. Numbers and booleans count as what they look like, since keys and ids often are numbers.
    pub fn text(&mut self, name: &str, checks: &mut Checks<'_>) -> Option<String> {
        let value = self.take(name)?;
        let text = scalar(value);
        if text.is_none() {
            checks.fault(&self.at(name), "a text is expected");
        }
        text
    }

    /// A text, or else this one.
    pub fn text_or(&mut self, name: &str, default: &str, checks: &mut Checks<'_>) -> String {
        self.text(name, checks).unwrap_or_else(|| default.to_owned())
    }

    /// A boolean, also as YAML 1.1 wrote it.
    pub fn flag(&mut self, name: &str, checks: &mut Checks<'_>) -> Option<bool> {
        let value = self.take(name)?;
        let flag = match value.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("yes" | "on" | "y") => Some(true),
            Some("no" | "off" | "n") => Some(false),
            _ => value.as_bool(),
        };
        if flag.is_none() {
            checks.fault(&self.at(name), "true or false is expected");
        }
        flag
    }

    /// A whole number in a range.
    pub fn number(&mut self, name: &str, least: i64, most: i64, checks: &mut Checks<'_>) -> Option<i64> {
        let number = self.take(name)?.as_i64().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            checks.fault(&self.at(name), format!("a whole number from {least} to {most} is expected"));
        }
        number
    }

    /// A span of time such as `1m30s`, as Prometheus writes them.
    pub fn span(&mut self, name: &str, checks: &mut Checks<'_>) -> Option<Duration> {
        let text = self.text(name, checks)?;
        let span = text.parse::<Span>().ok().map(|span| span.0);
        if span.is_none() {
            checks.fault(&self.at(name), "a span of time such as 30s or 1h30m is expected");
        }
        span
    }

    /// A secret: key `name`, or the file that key `name_file` names.
    pub fn secret(&mut self, name: &str, checks: &mut Checks<'_>) -> Option<Secret> {
        let file_name = format!("{name}_file");
        let (text, file) = (self.text(name, checks), self.text(&file_name, checks));
        match (text, file.filter(|file| !file.is_empty())) {
            (Some(_), Some(_)) => {
                checks.fault(&self.at(&file_name), format!("{name} is set too: one of the two is expected"));
                None
            }
            (_, Some(file)) => Some(Secret::File(file.into())),
            (Some(text), None) => (!text.is_empty()).then_some(Secret::Text(text)),
            (None, None) => None,
        }
    }

    /// Names and texts, by name.
    pub fn texts(&mut self, name: &str, checks: &mut Checks<'_>) -> Vec<(String, String)> {
        let Some(value) = self.take(name) else { return Vec::new() };
        let at = self.at(name);
        let Value::Object(map) = value else {
            checks.fault(&at, "a mapping of names to texts is expected");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in map {
            match scalar(value) {
                Some(text) => pairs.push((name.clone(), text)),
                None if value.is_null() => pairs.push((name.clone(), String::new())),
                None => checks.fault(&format!("{at}.{name}"), "a text is expected"),
            }
        }
        pairs
    }

    /// The items of a list with their keys.
    pub fn items(&mut self, name: &str, checks: &mut Checks<'_>) -> Vec<(String, &'a Value)> {
        let Some(value) = self.take(name) else { return Vec::new() };
        items(value, &self.at(name), checks)
    }

    /// A list of texts.
    pub fn words(&mut self, name: &str, checks: &mut Checks<'_>) -> Vec<String> {
        let mut words = Vec::new();
        for (key, value) in self.items(name, checks) {
            match scalar(value) {
                Some(word) => words.push(word),
                None => checks.fault(&key, "a text is expected"),
            }
        }
        words
    }

    /// A mapping below this one.
    pub fn child(&mut self, name: &str, checks: &mut Checks<'_>) -> Option<Mapping<'a>> {
        let value = self.take(name)?;
        Some(Mapping::new(Some(value), &self.at(name), checks))
    }

    /// Names the keys that nobody took.
    pub fn finish(self, checks: &mut Checks<'_>) {
        for name in self.map.into_iter().flatten().map(|(name, _)| name) {
            if !self.taken.contains(&name.as_str()) {
                checks.fault(&self.at(name), "this key is not known here");
            }
        }
    }
}

/// The items of a list with their keys.
pub fn items<'a>(value: &'a Value, key: &str, checks: &mut Checks<'_>) -> Vec<(String, &'a Value)> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (format!("{key}[{at}]"), item)).collect(),
        _ => {
            checks.fault(key, "a list is expected");
            Vec::new()
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
