//! Patterns of the filters `|>` and `!>`: literals with `<_>` between them.

use memchr::memmem;

/// A pattern: what stands between its `<_>`, which may be empty at the ends alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinePattern(Vec<String>);

impl LinePattern {
    /// Of a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let literals: Vec<String> = text.split("<_>").map(str::to_owned).collect();
        if let Some(named) = literals.iter().find_map(|literal| named(literal)) {
            return Err(format!("a pattern that filters takes <_> alone, not <{named}>"));
        }
        if literals.len() > 2 && literals[1..literals.len() - 1].iter().any(String::is_empty) {
            return Err("two <_> stand side by side; text is expected between them".into());
        }
        Ok(Self(literals))
    }

    /// The longest literal, which each line that matches must hold.
    pub(crate) fn needle(&self) -> &str {
        self.0.iter().max_by_key(|literal| literal.len()).map_or("", String::as_str)
    }

    /// Whether a whole line has this form. `<_>` stands for at least one byte.
    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        let Some((first, others)) = self.0.split_first() else { return line.is_empty() };
        let Some(mut rest) = line.strip_prefix(first.as_bytes()) else { return false };
        let Some((last, middle)) = others.split_last() else { return rest.is_empty() };
        for literal in middle {
            let found = rest.get(1..).and_then(|tail| memmem::find(tail, literal.as_bytes()));
            let Some(at) = found else { return false };
            rest = &rest[1 + at + literal.len()..];
        }
        rest.strip_suffix(last.as_bytes()).is_some_and(|held| !held.is_empty())
    }
}

/// The name of a capture in a text.
fn named(text: &str) -> Option<&str> {
    text.match_indices('<').find_map(|(at, _)| {
        let (name, _) = text[at + 1..].split_once('>')?;
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (is_name && name.starts_with(|c: char| !c.is_ascii_digit())).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_whole_lines() {
        for (pattern, line, matches) in [
            ("<_>foo<_>", "a foo b", true),
            ("<_>foo<_>", "foo b", false),
            ("foo<_>", "foo b", true),
            ("foo<_>", "foo", false),
            ("<_> foo", "a foo foo", true),
            ("foo", "foo", true),
            ("foo", "foo b", false),
            ("<_>", "x", true),
            ("<_>", "", false),
            ("", "", true),
            ("a<_>b<_>c", "a1b2c", true),
            ("a<_>b<_>c", "a1b2cd", false),
        ] {
            assert_eq!(LinePattern::parse(pattern).unwrap().matches(line.as_bytes()), matches, "{pattern} {line}");
        }
    }

    #[test]
    fn bad_patterns_are_told() {
        assert!(LinePattern::parse("a <_><_>").is_err());
        assert!(LinePattern::parse("<b> <_>").is_err());
        assert!(LinePattern::parse("<1> < > <>").is_ok());
        assert_eq!(LinePattern::parse("ab <_> abc").unwrap().needle(), " abc");
    }
}
