//! Which series of a metric query a line belongs to.

use super::scan::Halt;
use crate::ast::{Grouping, RangeExpr};
use crate::run::Work;
use skerry_model::Labels;
use std::collections::HashMap;

/// Stands between texts of a key; no UTF-8 has it.
const END: u8 = 0xff;

/// Series by their labels.
#[derive(Debug)]
pub(super) struct SeriesMap {
    is_by: bool,
    /// Labels that make a series, or with `without` those that do not; each once.
    names: Vec<String>,
    /// Labels of each series.
    pub(super) labels: Vec<Labels>,
    numbers: HashMap<Vec<u8>, usize>,
    /// The series of lines that have no labels beside those of their stream, by the stream's number.
    of_streams: Vec<Option<usize>>,
    key: Vec<u8>,
    most: usize,
}

impl SeriesMap {
    pub(super) fn new(range: &RangeExpr, most: usize) -> Self {
        let (is_by, mut names) = match range.around.as_ref().or(range.grouping.as_ref()) {
            Some(Grouping { is_by, names }) => (*is_by, names.clone()),
            None => (false, Vec::new()),
        };
        if let Some(unwrap) = &range.unwrap {
            // The label that became the number is gone, unless the function's own grouping names it.
            match is_by {
                true if range.around.is_some() => names.retain(|name| *name != unwrap.label),
                true => {}
                false => names.push(unwrap.label.clone()),
            }
        }
        let mut seen: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        Self {
            is_by,
            names: seen,
            labels: Vec::new(),
            numbers: HashMap::new(),
            of_streams: Vec::new(),
            key: Vec::new(),
            most,
        }
    }

    /// The labels of lines that it looks at; `None`: all.
    pub(super) fn wanted(&self) -> Option<Vec<String>> {
        self.is_by.then(|| self.names.clone())
    }

    /// The number of a line's series, from 0.
    ///
    /// # Errors
    /// [`Halt::Limit`] where there are too many series, or one has too many labels.
    pub(super) fn number(&mut self, stream: usize, work: &Work) -> Result<usize, Halt> {
        if !work.is_plain() {
            return self.by_labels(work);
        }
        if let Some(Some(number)) = self.of_streams.get(stream) {
            return Ok(*number);
        }
        let number = self.by_labels(work)?;
        if self.of_streams.len() <= stream {
            self.of_streams.resize(stream + 1, None);
        }
        self.of_streams[stream] = Some(number);
        Ok(number)
    }

    fn by_labels(&mut self, work: &Work) -> Result<usize, Halt> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        if self.is_by {
            for name in &self.names {
                key.extend_from_slice(work.value(name).as_bytes());
                key.push(END);
            }
        } else {
            let mut pairs = self.left(work);
            pairs.sort_unstable();
            for (name, value) in pairs {
                for text in [name, value] {
                    key.extend_from_slice(text.as_bytes());
                    key.push(END);
                }
            }
        }
        let found = match self.numbers.get(&key) {
            Some(number) => Ok(*number),
            None => self.added(&key, work),
        };
        self.key = key;
        found
    }

    fn added(&mut self, key: &[u8], work: &Work) -> Result<usize, Halt> {
        let number = self.labels.len();
        if number >= self.most {
            return Err(Halt::Limit(format!(
                "maximum of series ({}) reached for a single query. Consider reducing query cardinality by adding more \
                 specific stream selectors, reducing the time range, or aggregating results with functions like sum, \
                 count or topk",
                self.most
            )));
        }
        let labels = if self.is_by {
            Labels::new(self.names.iter().map(|name| (name.as_str(), work.value(name))))
        } else {
            Labels::new(self.left(work))
        };
        let labels = labels.map_err(|error| {
            Halt::Limit(format!(
                "lines have too many labels for a series ({error}): name those that count with sum by (…)"
            ))
        })?;
        self.labels.push(labels);
        self.numbers.insert(key.to_vec(), number);
        Ok(number)
    }

    /// A line's labels without those that do not count.
    fn left<'a>(&self, work: &'a Work) -> Vec<(&'a str, &'a str)> {
        let pairs = work.pairs().map(|(name, value, _)| (name, value)).filter(|(_, value)| !value.is_empty());
        let all = work.base_left().chain(pairs);
        all.filter(|(name, _)| !self.names.iter().any(|unwanted| unwanted == name)).collect()
    }
}
