//! Label matchers, as in Prometheus: `=`, `!=`, `=~`, `!~`; an absent label counts as empty, expressions match the
//! whole value and `.` also a line break.

use regex::{Regex, RegexBuilder};
use skerry_model::Labels;

/// Longest expression that is compiled, in bytes.
const EXPRESSION_BYTES_MAX: usize = 4096;
/// Most memory a compiled expression may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// A condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    label: String,
    op: MatchOp,
    value: String,
    /// Of `=~` and `!~`.
    regex: Option<Regex>,
}

/// Why an expression cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("matcher on label {label:?}: {expression:?} is no usable regular expression: {cause}")]
pub struct InvalidMatcher {
    /// The label.
    pub label: String,
    /// The first 80 characters of the expression.
    pub expression: String,
    /// What is wrong with it.
    pub cause: String,
}

impl Matcher {
    /// A condition on `label`; `__name__` is the metric's name and `node` the node's.
    ///
    /// # Errors
    /// [`InvalidMatcher`] if a regular expression is longer than 4 KiB, does not parse, or takes more than 1 MiB.
    pub fn new(label: &str, op: MatchOp, value: &str) -> Result<Self, InvalidMatcher> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(value).map_err(|cause| InvalidMatcher {
                label: label.to_owned(),
                expression: value.chars().take(80).collect(),
                cause,
            })?),
        };
        Ok(Self { label: label.to_owned(), op, value: value.to_owned(), regex })
    }

    /// The condition `label = value`.
    #[must_use]
    pub fn equal(label: &str, value: &str) -> Self {
        Self { label: label.to_owned(), op: MatchOp::Equal, value: value.to_owned(), regex: None }
    }

    /// The label it looks at.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How it compares.
    #[must_use]
    pub const fn op(&self) -> MatchOp {
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
        let found = || self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => found(),
            MatchOp::NotRegex => !found(),
        }
    }

    /// The value that this condition demands of `label`, where it is `label = value` with a value.
    #[must_use]
    pub fn demanded(&self, label: &str) -> Option<&str> {
        (self.op == MatchOp::Equal && self.label == label && !self.value.is_empty()).then_some(self.value.as_str())
    }
}

fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("{} bytes, at most {EXPRESSION_BYTES_MAX} are taken", expression.len()));
    }
    // Parsed alone first, so that no stray parenthesis reaches over the anchors.
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dot_matches_new_line(true).build();
    build(expression).and_then(|_| build(&format!("^(?:{expression})$"))).map_err(|e| e.to_string())
}

/// Whether labels meet every matcher.
#[must_use]
pub fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.value(matcher.label())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_values() {
        let matcher = |op, value: &str| Matcher::new("l", op, value).unwrap();
        assert!(matcher(MatchOp::Regex, "a|b").matches("b"));
        assert!(!matcher(MatchOp::Regex, "a|b").matches("ab"));
        assert!(matcher(MatchOp::Regex, "é.c").matches("é\nc"));
        assert!(matcher(MatchOp::Regex, r"\w+").matches("ü1"));
        assert!(matcher(MatchOp::Regex, "").matches(""));
        assert!(matcher(MatchOp::NotRegex, "a.*").matches("b"));
        assert!(!matcher(MatchOp::NotRegex, ".*").matches(""));
        assert!(matcher(MatchOp::NotEqual, "x").matches(""));
        assert!(matcher(MatchOp::Equal, "").matches(""));
    }

    #[test]
    fn bad_expressions_are_named() {
        for bad in ["(", "a)(b", "(?:a){1000}{1000}", &"x".repeat(5000)] {
            let error = Matcher::new("job", MatchOp::Regex, bad).unwrap_err();
            assert!(error.to_string().contains("\"job\""), "{error}");
            assert!(error.expression.len() <= 80);
        }
    }
}
