//! Why a text is no query, and why a query has no answer.

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse error at line {line}, col {column}: {problem}{}", behind(.near))]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Byte of the line, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
    /// The text from there on, at most 40 characters; empty at the end of the text.
    pub near: String,
}

fn behind(near: &str) -> String {
    if near.is_empty() { String::new() } else { format!(", near {near:?}") }
}

impl ParseError {
    /// An error at a byte of a text.
    #[must_use]
    pub fn at(text: &str, at: usize, problem: impl Into<String>) -> Self {
        let at = text.floor_char_boundary(at);
        let (before, behind) = text.split_at(at);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: at - line_start + 1,
            problem: problem.into(),
            near: behind.lines().next().unwrap_or_default().chars().take(40).collect(),
        }
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError<E> {
    /// It asks for more than it may; says of what, how much that is, and what to do.
    #[error("{0}")]
    Limit(String),
    /// Lines of a metric query have an error that the query does not filter out; in Loki's words.
    #[error("{0}")]
    Pipeline(String),
    /// The caller's `should_stop` said so: out of time, or nobody waits any more.
    #[error("the query was stopped before it was through: narrow the time range, the selector or the line filters")]
    Stopped,
    /// The metric part went wrong.
    #[error(transparent)]
    Metric(skerry_promql::QueryError),
    /// Records cannot be read.
    #[error("read log records")]
    Source(#[source] E),
}

impl<E> QueryError<E> {
    /// Whether the query is at fault (400 in Loki's API), and not the store (500).
    #[must_use]
    pub fn is_of_query(&self) -> bool {
        match self {
            Self::Limit(_) | Self::Pipeline(_) => true,
            Self::Stopped | Self::Source(_) => false,
            Self::Metric(error) => error.error_type() != "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told() {
        let error = ParseError::at("{a=\"b\"}\n  | foo bar", 12, "what");
        assert_eq!(error.to_string(), "parse error at line 2, col 5: what, near \"foo bar\"");
        assert_eq!(ParseError::at("é", 1, "x").to_string(), "parse error at line 1, col 1: x, near \"é\"");
        assert_eq!(ParseError::at("", 9, "empty").to_string(), "parse error at line 1, col 1: empty");
    }
}
