//! Reads YAML files that people write, and says of each fault where it stands.
//!
//! serde gives the type, this crate the place: a file is read twice, once into the type and once into the lines of its
//! keys, so that checks made after parsing (a range, a reference, a unit) can name a line too.
//!
//! Invariants:
//! - Text is bounded by [`TEXT_BYTES_MAX`], nesting and aliases by the parser's own budget.
//! - A fault never repeats a value of the file, which may be a secret, beyond what serde's own messages quote.

mod de;
pub mod manifests;
mod part;
mod places;
pub mod tree;
pub mod values;

pub use part::{documents, part};
pub use places::Places;

use serde::de::DeserializeOwned;
use std::fmt;
use tree::{Node, Tree};

/// Longest text that is read.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Something in a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Line, from 1, where it is known; lines are those of [`lines`].
    pub line: Option<u64>,
    /// The key, dotted, with indices in brackets: `logs.files[0].paths`; empty for the whole file.
    pub key: String,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl Fault {
    /// The fault as one line that begins with the file's name, as compilers say it.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        match self.line {
            Some(line) => format!("{file}:{line}: {}", self.without_line()),
            None => format!("{file}: {}", self.without_line()),
        }
    }

    fn without_line(&self) -> String {
        if self.key.is_empty() { self.problem.clone() } else { format!("{}: {}", self.key, self.problem) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.without_line()),
            None => f.write_str(&self.without_line()),
        }
    }
}

/// Every fault of one file, one to a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// The file's name, or what else the text came from.
    pub file: String,
    /// The faults, at least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(|fault| fault.in_file(&self.file)).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The lines of a text as YAML has them, each with its break. A carriage return alone ends a line too (YAML 1.2.2, section
/// 5.4), which [`str::lines`] does not know.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.find(['\n', '\r']).map_or(rest.len(), |at| at + 1 + usize::from(rest[at..].starts_with("\r\n")));
        let (line, behind) = rest.split_at(end);
        rest = behind;
        Some(line).filter(|line| !line.is_empty())
    })
}

/// A value with the lines of its keys.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// The value.
    pub value: T,
    /// Where its keys stand.
    pub places: Places,
}

/// Reads a value. An empty text, or one of comments alone, is an empty mapping.
///
/// # Errors
/// The first fault, since a parser cannot go on behind it.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<Document<T>, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("{} bytes are too long, at most 1 MiB is read", text.len());
        return Err(Fault { line: None, key: String::new(), problem });
    }
    let Tree { root, second } = tree::tree(text)?;
    let places = Places::read(text);
    if let Some(line) = second {
        let problem = "a second document begins here, and one is expected".to_owned();
        return Err(Fault { line: Some(line), key: String::new(), problem });
    }
    let root = root.unwrap_or_else(Node::empty);
    match de::value(&root) {
        Ok(value) => Ok(Document { value, places }),
        Err(error) => {
            // The key is found by its place: deserializers that note their path would double the code of every config.
            let inner = !error.problem.starts_with("missing field");
            let at = error.place.map(|(line, column)| (line, column.saturating_sub(1)));
            let key = at.and_then(|at| places.key_at(at, inner)).unwrap_or_default().to_owned();
            Err(Fault { line: error.place.map(|(line, _)| line), key, problem: error.problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        name: String,
        count: u32,
        on: bool,
        inner: Vec<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        path: String,
    }

    fn fault(text: &str) -> Fault {
        read::<Outer>(text).unwrap_err()
    }

    #[test]
    fn lines_are_yamls() {
        assert_eq!(lines("a\rb\n\rc\r\n\nd").collect::<Vec<_>>(), ["a\r", "b\n", "\r", "c\r\n", "\n", "d"]);
        assert_eq!(
            (lines("").count(), lines("a").count(), lines("a\r").count(), lines("\r\r\n").count()),
            (0, 1, 1, 2)
        );
        assert_eq!(fault("name: a\ron: b\n").line, Some(2));
    }

    #[test]
    fn values_come_with_the_lines_of_their_keys() {
        let document = read::<Outer>("# head\nname: a\ninner:\n  - path: x\n  - path: y\n").unwrap();
        assert_eq!(document.value.inner.len(), 2);
        let lines =
            ["name", "inner", "inner[1]", "inner[1].path", "inner[1].gone"].map(|key| document.places.line(key));
        assert_eq!(lines, [Some(2), Some(3), Some(5), Some(5), Some(5)]);
        assert_eq!(read::<Outer>("# nothing\n").unwrap().value, Outer::default());
    }

    #[test]
    fn faults_name_line_key_and_what_was_expected() {
        let unknown = fault("name: a\ncuont: 3\n");
        assert_eq!(unknown.line, Some(2), "{unknown}");
        assert!(unknown.problem.contains("cuont") && unknown.problem.contains("count"), "{unknown}");
        let deep = fault("name: a\ninner:\n  - path: x\n  - paht: y\n");
        assert_eq!(deep.line, Some(4), "{deep}");
        assert!(deep.to_string().contains("paht"), "{deep}");
        assert_eq!(deep.key, "inner[1].paht");
        let row = fault("{name: a, count: many, on: true}");
        assert_eq!((row.line, row.key.as_str()), (Some(1), "count"), "{row}");
        let kind = fault("name: a\ncount: many\n");
        assert_eq!((kind.line, kind.key.as_str()), (Some(2), "count"), "{kind}");
        let missing = fault("inner:\n  - {}\n");
        assert!(missing.problem.contains("path"), "{missing}");
        assert_eq!(missing.key, "inner[0]");
        assert!(fault("name: [\n").line.is_some());
        assert!(fault("on: yes\n").line.is_some(), "yes is a text in YAML 1.2");
        assert!(fault("name: a\nname: b\n").problem.contains("name"));
    }

    #[test]
    fn nesting_and_aliases_are_bounded() {
        assert!(read::<Outer>(&"[".repeat(100_000)).is_err());
        let mut bomb = String::from("a0: &a0 [x]\n");
        for n in 1..30 {
            bomb += &format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1);
        }
        assert!(read::<Outer>(&bomb).is_err());
        assert!(read::<Outer>(&"x".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn faults_read_like_a_compilers() {
        let faults = Faults {
            file: "a.yaml".into(),
            faults: vec![
                Fault { line: Some(3), key: "x.y".into(), problem: "wrong".into() },
                Fault { line: None, key: String::new(), problem: "empty".into() },
            ],
        };
        assert_eq!(faults.to_string(), "a.yaml:3: x.y: wrong\na.yaml: empty");
    }
}
