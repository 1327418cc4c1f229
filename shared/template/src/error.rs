//! What is wrong with a template, in Go's words.

use std::fmt;
use std::sync::Arc;

/// A text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The template's or file's name.
    pub name: Arc<str>,
    /// Where, from 1.
    pub line: u32,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template: {}:{}: {}", self.name, self.line, self.problem)
    }
}

impl std::error::Error for ParseError {}

/// A template could not be run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError {
    /// The whole of it: where, what was looked at, and what is wrong.
    pub text: String,
    /// What is wrong, alone: of a function, in its own words.
    pub problem: String,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for RunError {}
