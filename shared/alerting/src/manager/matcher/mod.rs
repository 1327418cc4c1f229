//! Matchers of labels, as routes, inhibition, silences and filters have them.
//!
//! Two syntaxes are read, as by Alertmanager since 0.27: the one with UTF-8 names ([`utf8`]), and where that one fails
//! or differs, the classic one ([`classic`]), which wins. Expressions match the whole value and, other than in PromQL,
//! `.` is no line break. An absent label counts as empty.

pub mod classic;
mod regexp;
pub mod utf8;

use regexp::Pattern;
use skerry_model::Labels;
use std::fmt;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl Op {
    /// As written.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Of `=`, `!=`, `=~`, `!~`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Equal, Self::NotEqual, Self::Regex, Self::NotRegex].into_iter().find(|op| op.text() == text)
    }

    /// Whether it compares with an expression.
    #[must_use]
    pub const fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::NotRegex)
    }
}

/// A condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: Box<str>,
    op: Op,
    value: Box<str>,
    /// Of `=~` and `!~`.
    pattern: Option<Pattern>,
}

impl Matcher {
    /// A condition on the label `name`, which is not checked.
    ///
    /// # Errors
    /// What is wrong with the expression, in Go's words.
    pub fn new(name: &str, op: Op, value: &str) -> Result<Self, String> {
        let pattern = if op.is_regex() { Some(Pattern::new(value)?) } else { None };
        Ok(Self { name: name.into(), op, value: value.into(), pattern })
    }

    /// The label it looks at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    #[must_use]
    pub const fn op(&self) -> Op {
        self.op
    }

    /// What it compares with.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a value of that label meets the condition; `""` for an absent label.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let found = || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(value));
        match self.op {
            Op::Equal => *self.value == *value,
            Op::NotEqual => *self.value != *value,
            Op::Regex => found(),
            Op::NotRegex => !found(),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

/// `name="value"`, the name quoted where it is not a classic one.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = self.name.chars().any(|c| c.is_whitespace() || c.is_control() || utf8::is_reserved(c));
        if quoted {
            write!(f, "\"{}\"", escaped(&self.name))?
        } else {
            f.write_str(&self.name)?
        }
        write!(f, "{}\"{}\"", self.op.text(), escaped(&self.value))
    }
}

/// A text as it stands between double quotes.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Whether labels meet every matcher.
#[must_use]
pub fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.value(&matcher.name)))
}

/// The matchers in the order in which Alertmanager writes them: by name, value, and operator.
pub fn sort(matchers: &mut [Matcher]) {
    matchers.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
}

/// `{a="b",c=~"d"}`
#[must_use]
pub fn text(matchers: &[Matcher]) -> String {
    let parts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", parts.join(","))
}

/// Any number of matchers, `{a="b", c=~"d.*"}` with or without braces, in either syntax.
///
/// # Errors
/// What the classic syntax finds wrong with a text that neither can read.
pub fn parse_all(input: &str) -> Result<Vec<Matcher>, String> {
    let (new, old) = (utf8::parse_all(input), classic::parse_all(input));
    match (new, old) {
        (Ok(new), Err(_)) => Ok(new),
        (_, old) => old,
    }
}

/// One matcher in either syntax.
///
/// # Errors
/// What is wrong with it, also that it stands in braces.
pub fn parse(input: &str) -> Result<Matcher, String> {
    if input.starts_with('{') || input.ends_with('}') {
        return Err(format!("unexpected open or close brace: {input}"));
    }
    match (utf8::parse_all(input), classic::parse(input)) {
        (Ok(new), Err(old)) => <[Matcher; 1]>::try_from(new).map(|[one]| one).map_err(|_| old),
        (_, old) => old,
    }
}

/// Whether a label may be called so: any text that is not empty.
#[must_use]
pub const fn is_name(name: &str) -> bool {
    !name.is_empty()
}

/// Whether a label may be called so by the classic rules, which hold for `match`, `match_re` and their like.
#[must_use]
pub fn is_classic_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
