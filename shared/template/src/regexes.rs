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
        let regex = RegexBuilder::new(&as_re2(text)).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| {
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

/// An expression with the classes that RE2 knows: its `\\d`, `\\s`, `\\w` and `\\b` are those of ASCII.
fn as_re2(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_class = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some(bound @ ('b' | 'B')) if !is_class => out.extend(["(?-u:\\", bound.encode_utf8(&mut [0; 4]), ")"]),
                Some('Q') if !is_class => {
                    let (literal, behind) = chars.as_str().split_once("\\E").unwrap_or((chars.as_str(), ""));
                    out.push_str(&regex::escape(literal));
                    chars = behind.chars();
                }
                escaped => out.extend(std::iter::once('\\').chain(escaped)),
            },
            '[' if !is_class => {
                is_class = true;
                out.push('[');
                // A bracket that closes at once is one of the class.
                for first in ['^', ']'] {
                    if chars.as_str().starts_with(first) {
                        chars.next();
                        out.push_str(if first == ']' { "\\]" } else { "^" });
                    }
                }
            }
            // Only a class by name opens another bracket within; alone it is itself.
            '[' if !chars.as_str().starts_with(':') => out.push_str("\\["),
            '[' => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' => {
                is_class = false;
                out.push(']');
            }
            // Rust takes two of these for an operation between classes; the second of two dashes ends a range.
            '-' if is_class && chars.as_str().starts_with('-') => {
                chars.next();
                out.push_str("-\\-");
            }
            '&' | '~' if is_class && chars.as_str().starts_with(c) => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_re2() {
        for (expression, text, is_met) in [
            (r"^\w+$", "a_1", true),
            (r"^\w+$", "é", false),
            (r"^\d$", "٣", false),
            (r"^\s$", "\u{a0}", false),
            (r"^\S\W\D$", "é-x", true),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\s:]+$", "a\u{a0}b", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "b", true),
            (r"^[[a]+$", "[a", true),
            (r"^[[:alpha:]\d]+$", "a1", true),
            (r"^[a&&b]+$", "&", true),
            (r"^[!--]+$", ",-", true),
            (r"^\Qa.b\Ec$", "a.bc", true),
            (r"^\Qa.b", "axb", false),
            (r"\bb\b", "éb", true),
            (r"^\\w$", r"\w", true),
            (r"^\.$", "a", false),
        ] {
            let regexes = Regexes::default();
            let regex = regexes.compiled(expression).unwrap();
            assert_eq!(regex.is_match(text), is_met, "{expression} {text}");
        }
        for (bad, told) in
            [("(", "missing closing ): `(`"), ("a)", "unexpected ): `a)`"), ("\\", "error parsing regexp")]
        {
            assert!(Regexes::default().compiled(bad).is_err_and(|error| error.contains(told)), "{bad}");
        }
    }
}
