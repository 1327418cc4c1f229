//! In which line each key of a YAML text stands.

use serde_saphyr::granit_parser::{Event, Parser};
use std::collections::BTreeMap;

/// Deepest nesting that is followed; deeper keys have the line of the deepest key above them.
const DEPTH_MAX: usize = 32;
/// Most keys that are remembered.
const KEYS_MAX: usize = 20_000;

/// Lines of keys.
#[derive(Debug, Clone, Default)]
pub struct Places {
    keys: BTreeMap<String, Place>,
    /// Line of the value that holds all keys; of a text without any the last one.
    root: Option<u64>,
}

/// Line from 1, and place within the line.
type Place = (u64, u64);

/// An open collection.
enum Level {
    /// A mapping below this path; the key whose value comes next, if one was read.
    Map(String, Option<String>),
    /// A sequence below this path and the index of the next item.
    List(String, usize),
}

impl Places {
    /// Lines of the keys of a text, as far as it can be read.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut places = Self::default();
        let mut levels: Vec<Level> = Vec::new();
        // Collections below `DEPTH_MAX`, of which only the end is waited for.
        let mut ignored = 0usize;
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let place = (span.start.line() as u64, span.start.col() as u64);
            if matches!(event, Event::MappingStart(..) | Event::SequenceStart(..) | Event::Scalar(..)) {
                places.root.get_or_insert(place.0);
            }
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => {
                    if ignored > 0 || levels.len() >= DEPTH_MAX {
                        ignored += 1;
                        continue;
                    }
                    let path = value_path(&mut levels).unwrap_or_default();
                    places.note(&path, place);
                    let is_map = matches!(event, Event::MappingStart(..));
                    levels.push(if is_map { Level::Map(path, None) } else { Level::List(path, 0) });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    if ignored > 0 {
                        ignored -= 1;
                    } else {
                        levels.pop();
                    }
                }
                Event::Scalar(value, ..) if ignored == 0 => {
                    if let Some(Level::Map(path, next @ None)) = levels.last_mut() {
                        let key = join(path, &value);
                        places.note(&key, place);
                        *next = Some(key);
                    } else if let Some(path) = value_path(&mut levels) {
                        places.note(&path, place);
                    }
                }
                Event::Alias(..) if ignored == 0 => drop(value_path(&mut levels)),
                _ => {}
            }
        }
        let last = crate::lines(text).count() as u64;
        places.root = places.root.or_else(|| (last > 0).then_some(last));
        places
    }

    /// Line of a key, or of the nearest key above it that the text has, or of where the keys of the text begin; `None` for an
    /// empty text.
    #[must_use]
    pub fn line(&self, key: &str) -> Option<u64> {
        let mut key = key;
        loop {
            if let Some((line, _)) = self.keys.get(key) {
                return Some(*line);
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => return self.root,
            }
        }
    }

    /// The key that begins last at or before a place: the one whose value stands there. Of keys that begin at the same
    /// place (an item and its first key) the outer one, or the inner one.
    pub(crate) fn key_at(&self, place: Place, inner: bool) -> Option<&str> {
        let before = self.keys.iter().filter(|(_, at)| **at <= place);
        let depth = |key: &str| if inner { key.len() } else { usize::MAX - key.len() };
        before.max_by_key(|(key, at)| (**at, depth(key))).map(|(key, _)| key.as_str())
    }

    /// Remembers the first place of a key: a value below it does not move it.
    fn note(&mut self, key: &str, place: Place) {
        if !key.is_empty() && self.keys.len() < KEYS_MAX && !self.keys.contains_key(key) {
            self.keys.insert(key.to_owned(), place);
        }
    }
}

/// Path of the value that begins now; `None` at the top.
fn value_path(levels: &mut [Level]) -> Option<String> {
    match levels.last_mut()? {
        Level::Map(_, next) => next.take(),
        Level::List(path, index) => {
            let item = format!("{path}[{index}]");
            *index += 1;
            Some(item)
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
