//! Regular expressions over lines, which are bytes.

use super::{Emit, Value, as_text};
use regex::bytes::{Regex, RegexBuilder};

/// Longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4096;
/// Most memory that a compiled expression may take, and its cache beside it.
const COMPILED_BYTES_MAX: usize = 1 << 20;
const CACHE_BYTES_MAX: usize = 256 << 10;

/// Compiles an expression for lines. Matching takes linear time whatever the expression.
///
/// An expression of ASCII alone works on bytes: `.` is any byte but the line break, `\d`, `\w`, `\s` and `\b` are ASCII's, as
/// in Go's RE2, so that a line which is no UTF-8 matches too. With other characters or `\p{..}` in it, it works on characters.
///
/// # Errors
/// What is wrong, with the place, on one line.
pub fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("is longer than {EXPRESSION_BYTES_MAX} bytes"));
    }
    let characters = !expression.is_ascii() || expression.contains("\\p") || expression.contains("\\P");
    let built = RegexBuilder::new(expression)
        .unicode(characters)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("would take more than {limit} bytes compiled: a smaller repetition is expected")
        }
        error => {
            let text = error.to_string();
            // The parser draws an arrow below the place: its column is the place.
            let column =
                text.lines().find_map(|line| line.find('^').filter(|_| line.trim_matches([' ', '^']).is_empty()));
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            match column {
                Some(column) => format!("is no expression at character {}: {reason}", column.saturating_sub(3)),
                None => format!("is no expression: {reason}"),
            }
        }
    })
}

/// An expression with named groups.
#[derive(Debug, Clone)]
pub struct Regexp {
    regex: Regex,
    /// Number and name of each named group.
    groups: Vec<(usize, String)>,
}

impl Regexp {
    /// Compiles an expression that has a named group, `(?P<name>…)` or `(?<name>…)`.
    ///
    /// # Errors
    /// As [`compile`], and where no group has a name.
    pub fn new(expression: &str) -> Result<Self, String> {
        let regex = compile(expression)?;
        let groups: Vec<(usize, String)> =
            regex.capture_names().enumerate().filter_map(|(at, name)| Some((at, name?.to_owned()))).collect();
        if groups.is_empty() {
            return Err("has no named group: (?P<name>…) is expected".to_owned());
        }
        Ok(Self { regex, groups })
    }

    /// Names of the groups, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(_, name)| name.as_str())
    }

    /// Tells the named groups of the first match; groups that took no part are left out. False where there is no match.
    pub fn captures(&self, line: &[u8], emit: Emit<'_>) -> bool {
        let Some(found) = self.regex.captures(line) else { return false };
        for (at, name) in &self.groups {
            if let Some(group) = found.get(*at) {
                emit(name, Value::plain(&as_text(group.as_bytes())));
            }
        }
        true
    }
}
