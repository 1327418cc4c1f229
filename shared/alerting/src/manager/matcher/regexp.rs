//! Regular expressions that match a whole value.
//!
//! Most expressions of config files are lists of words or `.*`: these take no compiled expression, which would cost tens
//! of kilobytes each.

use regex::{Regex, RegexBuilder};

/// Longest expression that is compiled, in bytes.
const EXPRESSION_BYTES_MAX: usize = 4096;
/// Most memory a compiled expression may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Memory of the automaton that is built while matching, in bytes.
const AUTOMATON_BYTES_MAX: usize = 64 << 10;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// `a|b|c`
    Words(Box<[Box<str>]>),
    /// All else.
    Compiled(Box<Regex>),
}

impl Pattern {
    /// Compiles an expression, anchored at both ends.
    pub(super) fn new(expression: &str) -> Result<Self, String> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("error parsing regexp: {} bytes, at most {EXPRESSION_BYTES_MAX}", expression.len()));
        }
        if !expression.contains(|c| r"\.+*?()[]{}^$".contains(c)) {
            return Ok(Self::Words(expression.split('|').map(Into::into).collect()));
        }
        let anchored = format!("^(?:{expression})$");
        let build = |text: &str| {
            RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(AUTOMATON_BYTES_MAX).build()
        };
        // Parsed alone first, so that no stray parenthesis reaches over the anchors.
        let compiled = build(expression).and_then(|_| build(&anchored));
        compiled.map(|regex| Self::Compiled(Box::new(regex))).map_err(|error| go_text(&anchored, &error))
    }

    /// Whether the whole value matches.
    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Words(words) => words.iter().any(|word| **word == *value),
            Self::Compiled(regex) => regex.is_match(value),
        }
    }
}

/// The fault in the words of Go's regexp, which operators know from Alertmanager's log; `whole` with its anchors.
fn go_text(whole: &str, error: &regex::Error) -> String {
    let text = match error {
        regex::Error::Syntax(text) => text.as_str(),
        _ => return format!("error parsing regexp: expression too large: `{whole}`"),
    };
    let cause = text.rsplit("error: ").next().unwrap_or_default().trim();
    let known = |kind: &str| cause.starts_with(kind);
    let (problem, part) = if known("unclosed character class") {
        ("missing closing ]", open_class(whole).unwrap_or(whole))
    } else if known("unclosed group") {
        ("missing closing )", whole)
    } else if known("unopened group") {
        ("unexpected )", whole)
    } else if known("repetition operator missing") {
        ("missing argument to repetition operator", bare_repetition(whole).unwrap_or(whole))
    } else if known("unrecognized escape") || known("incomplete escape") {
        ("invalid escape sequence", whole)
    } else if known("invalid character class range") {
        ("invalid character class range", whole)
    } else if known("look-around") || known("unrecognized flag") {
        ("invalid or unsupported Perl syntax", whole)
    } else {
        (cause, whole)
    };
    format!("error parsing regexp: {problem}: `{part}`")
}

/// The text from the class that is never closed.
fn open_class(whole: &str) -> Option<&str> {
    let (mut open, mut escaped) = (None, false);
    for (at, c) in whole.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if open.is_none() => open = Some(at),
            // Directly behind the bracket it stands for itself.
            ']' if open.is_some_and(|from| at > from + 1 && &whole[from..at] != "[^") => open = None,
            _ => {}
        }
    }
    open.map(|at| &whole[at..])
}

/// A `*`, `+` or `?` with nothing to repeat.
fn bare_repetition(whole: &str) -> Option<&str> {
    let found = whole.match_indices(['*', '+', '?']).find(|(at, sign)| {
        let before = &whole[..*at];
        let is_flag = *sign == "?" && before.ends_with('(');
        (before.ends_with(['(', '|', '^']) || before.ends_with("(?:")) && !is_flag
    });
    found.map(|(_, sign)| sign)
}
