//! A label set as one text.
//!
//! An agent holds thousands of sets for as long as it runs, and makes as many anew in each round of collection. A box
//! for each name and value would cost more than what it holds: 16 bytes of pointer and as much of the allocator's own,
//! ten times a set. So a set is one block: first how many pairs there are, then each pair as the lengths of its name and
//! value, the name, the value. Numbers are written in digits of seven bits, which are characters, so that the whole
//! is a text and its parts are texts without being looked through again.
//!
//! Invariants: pairs are sorted by name, names differ, and no name or value is empty; so equal sets are equal texts.

use super::{InvalidLabels, LABEL_BYTES_MAX, LABELS_MAX};
use std::sync::Arc;

/// Characters before each name: the lengths of name and value, two digits each.
const LENGTHS: usize = 4;

// A length is written in two digits of seven bits, the number of pairs in one.
const _: () = assert!(LABEL_BYTES_MAX <= 1 << 14 && LABELS_MAX < 1 << 7);

/// The pairs of a set that is being made, in the order they came, in two blocks however many they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    text: String,
    spans: Vec<Span>,
}

/// Where a pair stands in the text.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    name: usize,
    value: usize,
}

impl Draft {
    /// Adds a pair.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        if self.spans.is_empty() {
            self.text.reserve(256);
            self.spans.reserve(8);
        }
        self.spans.push(Span { start: self.text.len(), name: name.len(), value: value.len() });
        self.text.push_str(name);
        self.text.push_str(value);
    }

    /// Takes out the pair of this name.
    pub(super) fn remove(&mut self, name: &str) {
        let text = &self.text;
        self.spans.retain(|span| span.pair(text).0 != name);
    }

    /// Bytes of all names and values.
    pub(super) fn bytes(&self) -> usize {
        self.spans.iter().map(|span| span.name + span.value).sum()
    }

    /// Cuts each value to this length or, where that is inside of a character, before it.
    pub(super) fn cut_values(&mut self, bytes_max: usize) {
        for span in &mut self.spans {
            span.value = span.pair(&self.text).1.floor_char_boundary(bytes_max);
        }
    }

    /// Leaves out what no set takes: pairs without a name or a value, and those that came last where there is no room.
    pub(super) fn fit(&mut self) {
        let (mut pairs, mut bytes) = (0, 0);
        self.spans.retain(|span| {
            let takes = span.name + span.value;
            let fits = span.name > 0 && span.value > 0 && pairs < LABELS_MAX && bytes + takes <= LABEL_BYTES_MAX;
            if fits {
                (pairs, bytes) = (pairs + 1, bytes + takes);
            }
            fits
        });
    }

    /// The set. A value that is empty stands for no label.
    ///
    /// # Errors
    /// [`InvalidLabels`] if a name is empty or stands twice, or a bound is exceeded.
    pub(super) fn pack(mut self) -> Result<Arc<str>, InvalidLabels> {
        self.spans.retain(|span| span.value > 0);
        let text = &self.text;
        self.spans.sort_unstable_by(|a, b| a.pair(text).cmp(&b.pair(text)));
        if self.spans.len() > LABELS_MAX {
            return Err(InvalidLabels::TooMany(self.spans.len()));
        }
        let bytes = self.bytes();
        if bytes > LABEL_BYTES_MAX {
            return Err(InvalidLabels::TooLong(bytes));
        }
        if self.spans.first().is_some_and(|span| span.name == 0) {
            return Err(InvalidLabels::EmptyName);
        }
        let names = |span: &Span| span.pair(text).0;
        if let Some(twice) = self.spans.windows(2).find(|both| names(&both[0]) == names(&both[1])) {
            return Err(InvalidLabels::Duplicate(names(&twice[0]).to_owned()));
        }
        Ok(pack(self.spans.iter().map(|span| span.pair(text)), self.spans.len(), bytes))
    }
}

impl Span {
    fn pair(self, text: &str) -> (&str, &str) {
        text[self.start..self.start + self.name + self.value].split_at(self.name)
    }
}

/// The text of these pairs, which keep the invariants, are `count`, and have `bytes` in all.
pub(super) fn pack<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, count: usize, bytes: usize) -> Arc<str> {
    if count == 0 {
        return Arc::default();
    }
    let digit = |number: usize| char::from((number & 0x7f) as u8);
    let mut text = String::with_capacity(1 + count * LENGTHS + bytes);
    text.push(digit(count));
    for (name, value) in pairs {
        text.extend([name.len() >> 7, name.len(), value.len() >> 7, value.len()].map(digit));
        text.push_str(name);
        text.push_str(value);
    }
    text.into()
}

/// How many pairs a text holds.
pub(super) fn count(text: &str) -> usize {
    text.bytes().next().map_or(0, usize::from)
}

/// The pairs of a packed text, sorted by name.
#[derive(Debug, Clone)]
pub(super) struct Pairs<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { rest: text.get(1..).unwrap_or_default(), left: count(text) }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (lengths, rest) = self.rest.split_at_checked(LENGTHS)?;
        let digits = lengths.as_bytes();
        let number = |at: usize| usize::from(digits[at]) << 7 | usize::from(digits[at + 1]);
        let (name, rest) = rest.split_at(number(0));
        let (value, rest) = rest.split_at(number(2));
        (self.rest, self.left) = (rest, self.left - 1);
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}
