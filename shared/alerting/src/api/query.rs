//! What stands behind the `?`, and the filters that it holds.

use crate::manager::matcher::{self, Matcher, Op};

/// Most parameters that are read.
const PARAMETERS_MAX: usize = 256;

/// Names and values, decoded, in their order.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), decoded(value))
                })
                .collect(),
        )
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A flag; the last one counts, and it is true where none is there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.all(name).last() {
            None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False" | "") => Ok(false),
            Some(other) => Err(format!("{name} in query must be of type boolean: {other:?}")),
        }
    }

    /// The conditions of every `filter`.
    pub(super) fn filter(&self) -> Result<Filter, String> {
        self.all("filter").map(matcher::parse).collect::<Result<_, _>>().map(Filter)
    }

    /// The condition of `receiver`, an expression for the whole name.
    pub(super) fn receiver(&self) -> Result<Option<Matcher>, String> {
        let text = self.all("receiver").last().filter(|text| !text.is_empty());
        let matcher = text.map(|text| Matcher::new("receiver", Op::Regex, text)).transpose();
        matcher.map_err(|problem| format!("failed to parse receiver param: {problem}"))
    }
}

/// Conditions on labels.
pub(super) struct Filter(Vec<Matcher>);

impl Filter {
    /// Whether all conditions hold; `value` of a label is none where it is absent. Upstream takes a condition with an
    /// empty value as one on whether the label is there.
    pub(super) fn holds<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|matcher| {
            let found = value(matcher.name());
            let is_negative = matches!(matcher.op(), Op::NotEqual | Op::NotRegex);
            (matcher.value().is_empty() && found.is_some() == is_negative) || matcher.matches(found.unwrap_or_default())
        })
    }
}

/// Undoes `%41` and `+`; what is no such thing stays, and bytes that are no text are replaced.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        rest = behind;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &behind[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
