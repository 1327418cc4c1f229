//! Loki's patterns: literal text with captures in angle brackets, `<ip> - - <_> "<method> <uri> <_>"`.

use super::{Emit, Value, as_text};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What the line begins with.
    head: String,
    /// Each capture, unnamed where empty, and the text that ends it; only the last text may be empty.
    captures: Vec<(String, String)>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong and what was expected, as a sentence's end: a pattern has a named capture, no two captures side by side
    /// and no name twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let (mut head, mut captures) = (String::new(), Vec::<(String, String)>::new());
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((name, behind)) = capture(rest) {
                if captures.last().is_some_and(|(_, literal)| literal.is_empty()) {
                    return Err(format!(
                        "has two captures side by side before {behind:?}: text between them is expected"
                    ));
                }
                if name != "_" && captures.iter().any(|(other, _)| other == name) {
                    return Err(format!("has the capture <{name}> twice"));
                }
                captures.push((if name == "_" { String::new() } else { name.to_owned() }, String::new()));
                rest = behind;
                continue;
            }
            let next = rest.chars().next().map_or(1, char::len_utf8);
            captures.last_mut().map_or(&mut head, |(_, literal)| literal).push_str(&rest[..next]);
            rest = &rest[next..];
        }
        if captures.iter().all(|(name, _)| name.is_empty()) {
            return Err("has no capture: <name> is expected".to_owned());
        }
        Ok(Self { head, captures })
    }

    /// Tells the captures of a line. False, and none told, where the line does not begin as the pattern does; a text that
    /// is not found lets its capture reach to the line's end and ends the matching, as in Loki.
    pub fn captures(&self, line: &[u8], emit: Emit<'_>) -> bool {
        let text = as_text(line);
        let Some(mut rest) = text.strip_prefix(&self.head) else { return false };
        if text.is_empty() {
            return false;
        }
        for (name, literal) in &self.captures {
            let end = if literal.is_empty() { None } else { memchr::memmem::find(rest.as_bytes(), literal.as_bytes()) };
            if !name.is_empty() {
                emit(name, Value::plain(&rest[..end.unwrap_or(rest.len())]));
            }
            match end {
                Some(end) => rest = &rest[end + literal.len()..],
                None => break,
            }
        }
        true
    }
}

/// The capture that stands at the begin, and what is behind it.
fn capture(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.strip_prefix('<')?.split_once('>')?;
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.as_bytes().first().is_some_and(|b| !b.is_ascii_digit());
    good.then_some((name, behind))
}
