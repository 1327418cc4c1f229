//! Expressions that templates used last.

use regex::{Error, Regex, RegexBuilder};
use std::sync::{Arc, Mutex, PoisonError};

/// Expressions, compiled: they may come of labels, but are mostly the same at each run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regexes(Arc<Mutex<Vec<Held>>>);

/// An expression as it is written, and compiled.
type Held = (String, Arc<Regex>);

/// Most expressions that are kept.
const REGEXES_MAX: usize = 8;
/// Most memory that one may take.
const COMPILED_BYTES_MAX: usize = 1 << 18;

impl Regexes {
    /// An expression, compiled.
    pub(crate) fn compiled(&self, text: &str) -> Result<Arc<Regex>, String> {
        // A list that a panic left behind is a list all the same.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, regex)) = held.iter().find(|(known, _)| known == text) {
            return Ok(regex.clone());
        }
        let regex = RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| {
            let shown: String = text.chars().take(80).collect();
            format!("error parsing regexp: {}: `{shown}`", cause(&error))
        })?;
        // Shared whole: a copy would have to make room to search in each time.
        let regex = Arc::new(regex);
        if held.len() >= REGEXES_MAX {
            held.remove(0);
        }
        held.push((text.to_owned(), regex.clone()));
        Ok(regex)
    }
}

/// What is wrong with an expression, in RE2's words where it has some for it.
fn cause(error: &Error) -> String {
    let Error::Syntax(text) = error else { return "expression too large".into() };
    let told = text.lines().filter_map(|line| line.strip_prefix("error: ")).next_back().unwrap_or("invalid syntax");
    match told {
        "unclosed group" => "missing closing )",
        "unopened group" => "unexpected )",
        "unclosed character class" => "missing closing ]",
        "repetition operator missing expression" => "missing argument to repetition operator",
        "unrecognized escape sequence" => "invalid escape sequence",
        other => other,
    }
    .into()
}
