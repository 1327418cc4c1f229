//! PromQL's grammar: text in, a checked expression out.
//!
//! A parser by hand, with one word of lookahead: the agent is small, and a generated one with its tables would be an
//! eighth of it. Types are checked as expressions are put together, so that an error names its place.
//!
//! Invariants:
//! - No text makes it panic or recurse without bound; expressions are nested
//!   [`DEPTH_MAX`](crate::DEPTH_MAX) deep at most.
//! - An expression that exists has the right types everywhere, and its matchers are compiled.

pub(crate) mod ast;
mod build;
mod functions;
mod lex;
mod parser;
pub(crate) mod print;
#[cfg(test)]
mod tests;

use crate::error::QueryError;
use ast::Expr;
use std::fmt;

/// Parses and checks a text.
///
/// # Errors
/// [`QueryError::Parse`] with line and column, [`QueryError::TooDeep`].
pub(crate) fn parse(text: &str) -> Result<Expr, QueryError> {
    parser::Parser::new(text).and_then(parser::Parser::whole).map_err(|error| match error.too_deep {
        Some(depth) => QueryError::TooDeep(depth),
        None => QueryError::Parse(format!("{}: parse error: {}", place(text, error.at), error.problem)),
    })
}

/// The text that stands in quotes (`"`, `'` or a backtick, with Go's escapes) at the beginning of `text`, and how many
/// bytes it takes with them.
///
/// # Errors
/// The byte where it goes wrong, and what is wrong.
pub fn unquoted(text: &str) -> Result<(String, usize), (usize, String)> {
    lex::unquoted(text).map_err(|error| (error.at, error.problem))
}

/// A text in double quotes, escaped so that [`unquoted`] gives it back.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    print::quote(text, &mut out);
    out
}

/// Line and column of a byte, from 1, as in `2:14`.
pub(crate) fn place(text: &str, at: usize) -> String {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    format!("{}:{}", before.matches('\n').count() + 1, before.len() - line_start + 1)
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParseError {
    at: usize,
    problem: String,
    /// The bound, where it is nested deeper than that.
    too_deep: Option<usize>,
}

impl ParseError {
    fn new(at: usize, problem: String) -> Self {
        Self { at, problem, too_deep: None }
    }

    fn too_deep(at: usize, depth: usize) -> Self {
        Self { at, problem: String::new(), too_deep: Some(depth) }
    }
}

/// For tests of parts, whose text is one line.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1:{}: parse error: {}", self.at + 1, self.problem)
    }
}
