//! Live tail: a log query for one record after the other.

use super::scan::Streams;
use crate::answer::Entry;
use crate::query::LogQuery;
use crate::run::Run;
use skerry_model::{Labels, RecordRef};
use skerry_promql::Matcher;

/// Most streams whose verdict is remembered.
const STREAMS_MAX: u32 = 10_000;

/// A log query that records are given to as they come.
#[derive(Debug)]
pub struct Tail<'q> {
    query: &'q LogQuery,
    run: Run<'q>,
    streams: Streams,
    /// Records since streams were last forgotten.
    seen: u32,
}

/// A record that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tailed {
    /// Labels of its stream, as the query leaves them.
    pub labels: Labels,
    /// The entry.
    pub entry: Entry,
}

impl<'q> Tail<'q> {
    /// Of a query.
    #[must_use]
    pub fn new(query: &'q LogQuery) -> Self {
        Self { query, run: Run::new(&query.log, None), streams: Streams::default(), seen: 0 }
    }

    /// Conditions on the labels of streams, for whoever chooses what is given to it.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.query.log.matchers
    }

    /// What the query makes of a record; `None` where it does not pass. `labels` are those of its stream, as a
    /// [`Source`](crate::Source) tells them.
    pub fn apply(&mut self, labels: &Labels, record: RecordRef<'_>) -> Option<Tailed> {
        self.seen += 1;
        if self.seen > STREAMS_MAX {
            (self.streams, self.seen) = (Streams::default(), 0);
        }
        self.streams.number(labels, &self.query.log.matchers)?;
        if !self.run.passes(labels, &record) {
            return None;
        }
        let split = self.run.work.split();
        let line = self.run.line(&record).to_vec();
        let entry = Entry { at: record.at, line, metadata: split.metadata, parsed: split.parsed };
        Some(Tailed { labels: split.stream, entry })
    }
}
