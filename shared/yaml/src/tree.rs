//! A YAML text as a tree of texts, lists and mappings, each with its place: for files that are read key by key, so that
//! every fault is said and not the first one alone.
//!
//! Scalars stay as they are written: what a `1` or a `yes` means is for whoever reads the key. Aliases share the node they
//! stand for, and merge keys (`<<`) are merged, as in YAML 1.1.

use crate::{Fault, TEXT_BYTES_MAX};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;
use std::rc::Rc;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;
/// Most nodes of a tree, with those that merge keys add.
const NODES_MAX: usize = 200_000;

/// Most keys of one mapping: each is compared with those before it.
const KEYS_MAX: usize = 4096;

/// The first document of a text.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its root; `None` where there is nothing but comments.
    pub root: Option<Rc<Node>>,
    /// Line of the second document, which nobody read.
    pub second: Option<u64>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// The value.
    pub content: Content,
    /// A scalar without quotes, which may be a number or a word of YAML.
    pub is_plain: bool,
    /// First byte of a scalar in the text.
    start: usize,
}

/// A key and its value.
pub type Entry = (Rc<Node>, Rc<Node>);

/// A value.
#[derive(Debug, Clone)]
pub enum Content {
    /// A scalar's text.
    Text(String),
    /// A scalar without a text: `~`, `null`, or nothing at all, without quotes.
    Null,
    /// A list.
    List(Vec<Rc<Node>>),
    /// A mapping, in the order of the text, those of merge keys last; each key once.
    Map(Vec<Entry>),
}

impl Node {
    /// An empty mapping, which a text of comments alone is.
    pub(crate) fn empty() -> Rc<Self> {
        Rc::new(Self { line: 1, column: 1, content: Content::Map(Vec::new()), is_plain: false, start: 0 })
    }

    /// A scalar's text, `""` of none; `None` for a list or a mapping.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Null => Some(""),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Text(_) => "a text",
            Content::Null => "nothing",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// Line and column in `text` (the tree's own) of a byte of this scalar's text; where the scalar is folded or escaped,
    /// those of the scalar.
    #[must_use]
    pub fn place_of(&self, text: &str, at: usize) -> (u64, u64) {
        self.found(text, at).unwrap_or((self.line, self.column))
    }

    fn found(&self, text: &str, at: usize) -> Option<(u64, u64)> {
        let content = self.text()?;
        let before = content.get(..at)?;
        let row = before.matches('\n').count();
        let row_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = content.lines().nth(row).unwrap_or_default();
        let source = text.get(self.start..)?;
        // The row of the text that holds the row of the scalar, and where it begins there: of the first one the start is
        // known, the others of a block are indented.
        let held = source.lines().nth(row)?;
        let indent = match row {
            0 => usize::from(source.starts_with(['"', '\''])),
            _ => held.len().checked_sub(line.len())?,
        };
        if !held.get(indent..)?.starts_with(line) {
            return None;
        }
        let column = held[..indent].chars().count() + before[row_start..].chars().count();
        let offset = if row == 0 { self.column } else { 1 };
        Some((self.line + row as u64, column as u64 + offset))
    }
}

/// A collection that is open.
struct Open {
    line: u64,
    column: u64,
    anchor: usize,
    kind: Inside,
}

enum Inside {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, merged: Vec<Rc<Node>>, key: Option<Rc<Node>> },
}

/// Reads the first document of a text.
///
/// # Errors
/// The first fault: no YAML, a key twice, too long, too deep, too much.
pub fn tree(text: &str) -> Result<Tree, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("{} bytes are too long, at most 1 MiB is read", text.len());
        return Err(Fault { line: None, key: String::new(), problem });
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let said = error.to_string();
            // The place is said apart.
            let end = [" at byte ", " at char ", " at line "].iter().filter_map(|word| said.find(word)).min();
            let said = &said[..end.unwrap_or(said.len())];
            at((mark.line() as u64, mark.col() as u64 + 1), said)
        })?;
        if let Event::DocumentStart(..) = event
            && builder.is_done
        {
            builder.second = Some(span.start.line() as u64);
            break;
        }
        builder.take(event, span)?;
    }
    Ok(Tree { root: builder.root, second: builder.second })
}

/// A fault at a place.
fn at((line, column): (u64, u64), problem: &str) -> Fault {
    Fault { line: Some(line), key: String::new(), problem: format!("column {column}: {problem}") }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
    root: Option<Rc<Node>>,
    is_done: bool,
    second: Option<u64>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let (line, column) = (span.start.line() as u64, span.start.col() as u64 + 1);
        match event {
            Event::SequenceStart(_, anchor, _) => self.begin(line, column, anchor, Inside::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.begin(line, column, anchor, Inside::Map { entries: Vec::new(), merged: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let content = match open.kind {
                    Inside::List(items) => Content::List(items),
                    Inside::Map { entries, merged, .. } => Content::Map(self.merged(entries, &merged)?),
                };
                self.put(Node { line: open.line, column: open.column, content, is_plain: false, start: 0 }, open.anchor)
            }
            Event::Scalar(value, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                let is_null = is_plain && matches!(&*value, "" | "~" | "null" | "Null" | "NULL");
                let content = if is_null { Content::Null } else { Content::Text(value.into_owned()) };
                let start = span.start.byte_offset().unwrap_or(usize::MAX);
                self.put(Node { line, column, content, is_plain, start }, anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, (line, column)),
                None => Err(at((line, column), "an alias stands inside of what it stands for")),
            },
            Event::DocumentEnd => {
                self.is_done = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: u64, column: u64, anchor: usize, kind: Inside) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(at((line, column), &format!("nested more than {DEPTH_MAX} deep")));
        }
        self.open.push(Open { line, column, anchor, kind });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        let place = (node.line, node.column);
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add(node, place)
    }

    /// Adds a node to what is open; `place` is where it is used.
    fn add(&mut self, node: Rc<Node>, place: (u64, u64)) -> Result<(), Fault> {
        self.count(1, place)?;
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map { entries, merged, key }) => match key.take() {
                None => {
                    if entries.len() >= KEYS_MAX {
                        return Err(at(place, &format!("more than {KEYS_MAX} keys in one mapping")));
                    }
                    let Some(name) = node.text() else { return Err(at(place, "a key has to be a text")) };
                    if name != "<<" && entries.iter().any(|(held, _)| held.text() == Some(name)) {
                        let name: String = name.chars().take(80).collect();
                        return Err(at(place, &format!("key {name:?} stands twice in one mapping; keep one of them")));
                    }
                    *key = Some(node);
                }
                Some(name) if name.text() == Some("<<") => match &node.content {
                    Content::List(nodes) => merged.extend(nodes.iter().cloned()),
                    _ => merged.push(node),
                },
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }

    /// The entries with those of merge keys that are not there yet.
    fn merged(&mut self, mut entries: Vec<Entry>, merged: &[Rc<Node>]) -> Result<Vec<Entry>, Fault> {
        for source in merged {
            let Content::Map(more) = &source.content else {
                return Err(at((source.line, source.column), "a merge key (<<) takes mappings alone"));
            };
            self.count(more.len(), (source.line, source.column))?;
            for (key, value) in more {
                if entries.iter().all(|(held, _)| held.text() != key.text()) {
                    entries.push((Rc::clone(key), Rc::clone(value)));
                }
            }
        }
        Ok(entries)
    }

    fn count(&mut self, nodes: usize, place: (u64, u64)) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(at(place, &format!("more than {NODES_MAX} values; divide the file")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Content::Map(entries) = &node.content else { panic!("no mapping") };
        &entries.iter().find(|(held, _)| held.text() == Some(key)).expect("the key is there").1
    }

    #[test]
    fn scalars_stay_as_written_and_have_places() {
        let text = "a: 1\nb: [x, 'y']\nc: |\n  one\n  two here\nd: ~\ne: \"\"\n";
        let root = tree(text).unwrap().root.unwrap();
        assert_eq!(get(&root, "a").text(), Some("1"));
        let Content::List(items) = &get(&root, "b").content else { panic!() };
        assert_eq!((items[1].line, items[1].column, items[1].text()), (2, 8, Some("y")));
        assert!(matches!(get(&root, "d").content, Content::Null));
        assert!(matches!(&get(&root, "e").content, Content::Text(text) if text.is_empty()));
        // Places within scalars: a block, quotes, plain.
        for (key, at, place) in [("a", 0, (1, 4)), ("c", 0, (4, 3)), ("c", 8, (5, 7))] {
            assert_eq!(get(&root, key).place_of(text, at), place, "{key} {at}");
        }
        assert_eq!(items[1].place_of(text, 0), (2, 9));
    }

    #[test]
    fn merge_keys_add_what_is_not_there() {
        let text = "base: &b {x: 1, y: 2}\nother: &o {x: 9, z: 3}\nall:\n  y: 7\n  <<: [*b, *o]\none:\n  <<: *b\n";
        let root = tree(text).unwrap().root.unwrap();
        let all = get(&root, "all");
        assert_eq!(["x", "y", "z"].map(|key| get(all, key).text().unwrap()), ["1", "7", "3"]);
        assert_eq!(get(get(&root, "one"), "y").text(), Some("2"));
    }

    #[test]
    fn faults_have_places_and_bounds_hold() {
        let fault = |text: &str| tree(text).unwrap_err();
        assert_eq!(fault("a: 1\na: 2\n").line, Some(2));
        let open = fault("a:\n  - b: [\n");
        assert_eq!((open.line, open.problem.contains(" at ")), (Some(2), false), "{open}");
        assert!(tree(&"[".repeat(100_000)).is_err());
        let mut bomb = String::from("a0: &a0 {x: 1}\n");
        for n in 1..40 {
            bomb += &format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1);
        }
        assert!(tree(&bomb).is_ok(), "aliases share what they stand for");
        assert!(fault("a: *gone\n").line.is_some());
        assert_eq!(tree("a: 1\n---\nb: 2\n").unwrap().second, Some(2));
        assert!(tree("# nothing\n").unwrap().root.is_none());
        assert!(tree("a: &a [*a]\n").is_err());
        let many = |count: u32| (0..count).map(|n| format!("k{n}: 1\n")).collect::<String>();
        assert!(tree(&many(4096)).is_ok() && tree(&many(4097)).is_err());
    }
}
