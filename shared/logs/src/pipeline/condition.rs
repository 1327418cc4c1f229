//! Conditions: what a record must be like.
//!
//! ```yaml
//! {field: status, equals: [500, 502]}
//! {label: container, matches: '^web-'}
//! {field: user, exists: false}
//! {field: took_ms, above: 1000}
//! {line: 'GET /healthz'}
//! {level: '>=warn'}
//! {any: [{level: error}, {not: {field: path, starts_with: /static}}]}
//! ```
//! Several keys in one mapping must all hold.

use super::reader::{Faults, Reader, quoted};
use super::work::{FieldName, Work};
use crate::parse::compile;
use regex::bytes::Regex;
use serde_json::Value;
use skerry_model::Level;
use std::cmp::Ordering;

/// Deepest nesting of conditions.
const DEPTH_MAX: usize = 8;

/// A checked condition.
#[derive(Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Line(Regex),
    Level(Ordering, bool, Level),
    Field(FieldName, Test),
    Label(String, Test),
}

/// What a value must be like.
#[derive(Debug)]
pub(super) enum Test {
    Equals(Vec<String>),
    Contains(Vec<String>),
    StartsWith(Vec<String>),
    Matches(Regex),
    Exists(bool),
    Above(f64),
    Below(f64),
}

impl Condition {
    /// Reads a condition.
    pub(super) fn read(value: &Value, key: &str, faults: &mut Faults) -> Self {
        Self::nested(value, key, 0, faults)
    }

    fn nested(value: &Value, key: &str, depth: usize, faults: &mut Faults) -> Self {
        if depth == DEPTH_MAX {
            faults.push((key.to_owned(), format!("conditions are nested deeper than {DEPTH_MAX}")));
            return Self::All(Vec::new());
        }
        let before = faults.len();
        let Some(mut reader) = Reader::new(value, key, faults) else { return Self::All(Vec::new()) };
        let mut all = Vec::new();
        for (name, wrap) in [("all", Self::All as fn(Vec<Self>) -> Self), ("any", Self::Any)] {
            if reader.has(name) {
                let items = reader.list(name, faults);
                let nested = |(at, item)| Self::nested(item, &format!("{}[{at}]", reader.at(name)), depth + 1, faults);
                all.push(wrap(items.iter().enumerate().map(nested).collect()));
            }
        }
        if let Some(inner) = reader.value("not") {
            all.push(Self::Not(Box::new(Self::nested(inner, &reader.at("not"), depth + 1, faults))));
        }
        all.extend(regex(&mut reader, "line", faults).map(Self::Line));
        if let Some(text) = reader.text("level", faults) {
            match level(&text) {
                Ok(condition) => all.push(condition),
                Err(problem) => reader.fault("level", problem, faults),
            }
        }
        let (field, label) = (reader.name("field", faults), reader.name("label", faults));
        let tests = tests(&mut reader, faults);
        match (field, label) {
            (Some(_), Some(_)) => {
                reader.fault("label", "stands beside `field`: one of the two, or `all`, is expected", faults)
            }
            (None, None) if !tests.is_empty() && before == faults.len() => {
                faults.push((key.to_owned(), "tests nothing: `field` or `label` is expected".to_owned()));
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) if tests.is_empty() && before == faults.len() => {
                let expected =
                    "has no test: equals, contains, starts_with, matches, exists, above or below is expected";
                faults.push((key.to_owned(), expected.to_owned()));
            }
            (Some(name), None) => {
                all.extend(tests.into_iter().map(|test| Self::Field(FieldName::new(name.clone()), test)));
            }
            (None, Some(name)) => all.extend(tests.into_iter().map(|test| Self::Label(name.clone(), test))),
        }
        reader.finish(faults);
        if all.is_empty() && before == faults.len() {
            faults
                .push((key.to_owned(), "is empty: field, label, line, level, any, all or not is expected".to_owned()));
        }
        if all.len() == 1 { all.pop().unwrap_or(Self::All(Vec::new())) } else { Self::All(all) }
    }

    /// Whether the record is so.
    pub(super) fn holds(&self, work: &Work<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|condition| condition.holds(work)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(work)),
            Self::Not(condition) => !condition.holds(work),
            Self::Line(regex) => regex.is_match(&work.record.line),
            Self::Level(order, or_equal, level) => {
                let found = work.record.level;
                // A level that nobody knows is neither above nor below another.
                let comparable = *order == Ordering::Equal || found != Level::Unknown;
                comparable && (found.cmp(level) == *order || *or_equal && found == *level)
            }
            Self::Field(name, test) => test.holds(work.value(name).as_deref()),
            Self::Label(name, test) => test.holds(work.label(name)),
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return matches!(self, Self::Exists(false)) };
        match self {
            Self::Exists(wanted) => *wanted,
            Self::Equals(texts) => texts.iter().any(|text| *text == value),
            Self::Contains(texts) => {
                texts.iter().any(|text| memchr::memmem::find(value.as_bytes(), text.as_bytes()).is_some())
            }
            Self::StartsWith(texts) => texts.iter().any(|text| value.starts_with(text.as_str())),
            Self::Matches(regex) => regex.is_match(value.as_bytes()),
            Self::Above(bound) => value.trim().parse::<f64>().is_ok_and(|number| number > *bound),
            Self::Below(bound) => value.trim().parse::<f64>().is_ok_and(|number| number < *bound),
        }
    }
}

fn tests(reader: &mut Reader<'_>, faults: &mut Faults) -> Vec<Test> {
    let mut tests = Vec::new();
    for name in ["equals", "contains", "starts_with"] {
        if !reader.has(name) {
            continue;
        }
        let texts = reader.texts(name, faults);
        tests.push(match name {
            "equals" => Test::Equals(texts),
            "contains" => Test::Contains(texts),
            _ => Test::StartsWith(texts),
        });
    }
    tests.extend(regex(reader, "matches", faults).map(Test::Matches));
    tests.extend(reader.flag("exists", faults).map(Test::Exists));
    tests.extend(reader.number("above", f64::NEG_INFINITY, f64::MAX, faults).map(Test::Above));
    tests.extend(reader.number("below", f64::NEG_INFINITY, f64::MAX, faults).map(Test::Below));
    tests
}

/// A regular expression of a config.
pub(super) fn regex(reader: &mut Reader<'_>, name: &'static str, faults: &mut Faults) -> Option<Regex> {
    let text = reader.text(name, faults)?;
    match compile(&text) {
        Ok(regex) => Some(regex),
        Err(problem) => {
            reader.fault(name, format_args!("{} {problem}", quoted(&text)), faults);
            None
        }
    }
}

/// `error`, `>=warn`, `<info`.
fn level(text: &str) -> Result<Condition, String> {
    let (order, or_equal, word) = if let Some(rest) = text.strip_prefix(">=") {
        (Ordering::Greater, true, rest)
    } else if let Some(rest) = text.strip_prefix("<=") {
        (Ordering::Less, true, rest)
    } else if let Some(rest) = text.strip_prefix('>') {
        (Ordering::Greater, false, rest)
    } else if let Some(rest) = text.strip_prefix('<') {
        (Ordering::Less, false, rest)
    } else {
        (Ordering::Equal, true, text)
    };
    let word = word.trim();
    let level = if word == "unknown" { Some(Level::Unknown) } else { Level::from_word(word) };
    let level = level.filter(|level| order == Ordering::Equal || *level != Level::Unknown);
    level.map(|level| Condition::Level(order, or_equal, level)).ok_or_else(|| {
        format!(
            "{} is no level: trace, debug, info, warn, error, fatal or unknown is expected, or such as '>=warn'",
            quoted(text)
        )
    })
}
