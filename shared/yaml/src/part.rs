//! Parts of a YAML text as texts of their own, at the lines and columns where they stand.
//!
//! Whole files of other programs (rule files, alertmanager.yml) stand below a key of ours, or in further documents behind
//! one of ours. They are handed to their own readers as text, because a reader of text says in which line a fault is, and
//! because numbers and texts then stay what their writer made them.
//!
//! Invariants:
//! - What stands before a part becomes blank lines and spaces, so that a line of the part is the same line of the file.
//! - A part is never larger than its file.

use crate::lines;
use serde_saphyr::granit_parser::{Event, Parser, Span};

/// The documents of a text, which `---` at the begin of a line parts; those without content are left out. Each begins
/// with as many blank lines as stand before it.
#[must_use]
pub fn documents(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut document = String::new();
    let mut end = |document: &mut String, at: usize| {
        let has_content = lines(document).any(|line| !matches!(line.trim_start().bytes().next(), None | Some(b'#')));
        let found = std::mem::replace(document, "\n".repeat(at));
        documents.extend(Some(found).filter(|_| has_content));
    };
    for (at, line) in lines(text).enumerate() {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker).is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_whitespace()))
        };
        if is_marker("---") {
            end(&mut document, at);
            // A value may begin beside the marker.
            document.push_str(&line.replacen("---", "   ", 1));
        } else if is_marker("...") {
            end(&mut document, at + 1);
        } else {
            document.push_str(line);
        }
    }
    end(&mut document, 0);
    documents
}

/// The value of a key, such as `spec.rules`, as a text of its own; with `and_key` as a mapping that holds that key alone.
/// Nothing where the text has no such key or cannot be read up to its end, or where aliases in the value speak of
/// anchors outside of it.
#[must_use]
pub fn part(text: &str, key: &str, and_key: bool) -> Option<String> {
    let mut finder = Finder { wanted: key.split('.').collect(), open: Vec::new(), began: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        if let Some(found) = finder.event(&event, span) {
            let from = if and_key { found.key.0 } else { behind_colon(text, found.key.1)? };
            return Some(cut(text, from, found.end));
        }
    }
    None
}

/// Where the value begins whose key ends there: not where its first event stands, which is behind the hyphen of a list
/// that is not indented, and behind anchors.
fn behind_colon(text: &str, key_end: usize) -> Option<usize> {
    let colon = text.chars().skip(key_end).position(|c| c == ':')?;
    Some(key_end + colon + 1)
}

/// The text with blanks for what stands before `from`, and nothing behind `to`.
fn cut(text: &str, from: usize, to: usize) -> String {
    let mut cut = String::new();
    for c in text.chars().take(from) {
        if matches!(c, '\n' | '\r') {
            // Spaces of blank lines mean nothing.
            cut.truncate(cut.trim_end_matches(' ').len());
            cut.push(c);
        } else {
            cut.push(' ');
        }
    }
    cut.extend(text.chars().skip(from).take(to.saturating_sub(from)));
    cut.push('\n');
    cut
}

/// Where a key stands and where its value ends, in chars.
struct Found {
    key: (usize, usize),
    end: usize,
}

/// Follows the events of a parser down the wanted keys.
struct Finder<'a> {
    wanted: Vec<&'a str>,
    /// The open collections above the value.
    open: Vec<Level>,
    /// The value, once it has begun.
    began: Option<Began>,
}

struct Level {
    /// The mapping that the first so many wanted keys lead to; `None` for what is beside the way.
    reached: Option<usize>,
    /// Where the key stands whose value comes next, and whether it is the wanted one; `None` where a key comes next.
    key: Option<((usize, usize), bool)>,
}

struct Began {
    key: (usize, usize),
    /// Collections of the value that are open.
    depth: usize,
}

impl Finder<'_> {
    fn event(&mut self, event: &Event<'_>, span: Span) -> Option<Found> {
        let (start, end) = (span.start.index(), span.end.index());
        let opens = matches!(event, Event::MappingStart(..) | Event::SequenceStart(..));
        let closes = matches!(event, Event::MappingEnd | Event::SequenceEnd);
        if !(opens || closes || matches!(event, Event::Scalar(..) | Event::Alias(..))) {
            return None;
        }
        if let Some(began) = &mut self.began {
            began.depth = if opens { began.depth + 1 } else { began.depth - usize::from(closes) };
            let found = Found { key: began.key, end };
            return (began.depth == 0).then_some(found);
        }
        if closes {
            self.open.pop();
            self.passed();
            return None;
        }
        let (reached, key) = match self.open.last_mut() {
            None => (Some(0), None),
            Some(Level { reached: Some(reached), key: None }) if !opens => {
                // A key.
                let wanted = self.wanted.get(*reached).copied();
                let is_wanted = matches!(event, Event::Scalar(value, ..) if Some(value.as_ref()) == wanted);
                if let Some(level) = self.open.last_mut() {
                    level.key = Some(((start, end), is_wanted));
                }
                return None;
            }
            Some(Level { reached: Some(reached), key: Some((at, true)) }) => (Some(*reached + 1), Some(*at)),
            Some(_) => (None, None),
        };
        if let (Some(reached), Some(key)) = (reached, key)
            && reached == self.wanted.len()
        {
            if !opens {
                return Some(Found { key, end });
            }
            self.began = Some(Began { key, depth: 1 });
            return None;
        }
        if opens {
            let is_map = matches!(event, Event::MappingStart(..));
            self.open.push(Level { reached: reached.filter(|_| is_map), key: None });
        } else {
            self.passed();
        }
        None
    }

    /// A value has passed: in a mapping a key comes next.
    fn passed(&mut self) {
        if let Some(level) = self.open.last_mut() {
            level.key = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_lines() {
        let text = "# head\na: 1\n---\n# nothing\n---\nb: |\n  ---\n  x\n--- {c: 2}\n...\n";
        let found = documents(text);
        assert_eq!(found, ["# head\na: 1\n", "\n\n\n\n   \nb: |\n  ---\n  x\n", "\n\n\n\n\n\n\n\n    {c: 2}\n"]);
        assert_eq!(documents("a: 1"), ["a: 1"]);
        assert_eq!(documents("---\n# only\n"), [""; 0]);
        // A carriage return alone ends a line, and with it a comment.
        assert_eq!(documents("# a\rb: 1\r---\rc: 2\r"), ["# a\rb: 1\r", "\n\n   \rc: 2\r"]);
    }

    #[test]
    fn a_part_stands_where_it_stood() {
        let text = "x: 1\nrules:\n  files: []\n  groups:\n  - name: a # first\n    rules:\n      - expr: |\n          1 > 0\n\n          2\n  external_labels: {}\ny: 2\n";
        let groups =
            "\n\n\n  groups:\n  - name: a # first\n    rules:\n      - expr: |\n          1 > 0\n\n          2\n";
        let found = part(text, "rules.groups", true).unwrap();
        assert_eq!(found.trim_end(), groups.trim_end());
        let value = part(text, "rules.groups", false).unwrap();
        assert_eq!(value.trim_end(), groups.replace("  groups:", "         ").trim_end());
        assert_eq!(part(text, "rules.files", true).unwrap(), "\n\n  files: []\n");
        assert_eq!(part(text, "y", false).unwrap().trim(), "2");
        for key in ["groups", "rules.groups.name", "rules.nothing", "x.y"] {
            assert_eq!(part(text, key, true), None, "{key}");
        }
    }

    #[test]
    fn rows_and_texts_are_parts_too() {
        let text = "a: {b: [1, {c: 'd, e'}], f: 3}\ng: \"h\"\n";
        assert_eq!(part(text, "a.b", true).unwrap().trim(), "b: [1, {c: 'd, e'}]");
        assert_eq!(part(text, "a.f", false).unwrap().trim(), "3");
        assert_eq!(part(text, "g", false).unwrap().trim(), "\"h\"");
        assert_eq!(part("ä: ö\nb: {c: ü}\n", "b.c", true).unwrap(), "\n    c: ü\n");
        assert_eq!(part("a: [", "a", true), None);
        assert_eq!(part("a: 1\r\nb: 2\rc: 3\rd: 4", "c", true).unwrap(), "\r\n\rc: 3\n");
    }
}
