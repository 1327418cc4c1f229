//! Reads blocks, counts what is looked at, and knows when to give up.

use crate::answer::{Budget, Statistics};
use crate::error::QueryError;
use crate::source::{Block, Selection, Source};
use skerry_model::{Labels, RecordRef};
use skerry_promql::{Matcher, matches_all};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Records between two questions whether to go on.
const RECORDS_PER_CHECK: u64 = 256;

/// Why reading ends early.
#[derive(Debug)]
pub(super) enum Halt {
    Limit(String),
    Pipeline(String),
    Stopped,
}

impl Halt {
    pub(super) fn into_error<E>(self) -> QueryError<E> {
        match self {
            Self::Limit(text) => QueryError::Limit(text),
            Self::Pipeline(text) => QueryError::Pipeline(text),
            Self::Stopped => QueryError::Stopped,
        }
    }
}

/// Takes a record that meets the selection, with the number and the labels of its stream.
pub(super) type Each<'a> = &'a mut dyn FnMut(&mut Statistics, usize, &Labels, &RecordRef<'_>) -> Result<(), Halt>;

/// What one query has read so far.
pub(super) struct Scan<'a> {
    pub(super) budget: Budget<'a>,
    pub(super) statistics: Statistics,
}

impl<'a> Scan<'a> {
    pub(super) fn new(budget: Budget<'a>) -> Self {
        Self { budget, statistics: Statistics::default() }
    }

    fn note(&mut self, line: &[u8]) -> Result<(), Halt> {
        let statistics = &mut self.statistics;
        statistics.lines += 1;
        statistics.bytes += line.len() as u64;
        let most = self.budget.limits.examined_bytes_max;
        if statistics.bytes > most {
            return Err(Halt::Limit(format!(
                "the query would read too much: more than {most} bytes of lines. Consider a shorter time range, more \
                 selective stream selectors or line filters"
            )));
        }
        if statistics.lines.is_multiple_of(RECORDS_PER_CHECK) && (self.budget.should_stop)() {
            return Err(Halt::Stopped);
        }
        Ok(())
    }

    /// Calls `each` with the records of a block that meet the selection, and the number of their stream.
    pub(super) fn read<S: Source + ?Sized>(
        &mut self,
        source: &S,
        block: Block,
        selection: &Selection,
        streams: &mut Streams,
        each: Each<'_>,
    ) -> Result<(), QueryError<S::Error>> {
        if (self.budget.should_stop)() {
            return Err(QueryError::Stopped);
        }
        self.statistics.blocks_read += 1;
        let mut halt = None;
        let mut take = |labels: &Labels, record: RecordRef<'_>| -> Result<(), Halt> {
            self.note(record.line)?;
            let is_in_range = selection.range.from <= record.at && record.at <= selection.range.to;
            match streams.number(labels, &selection.matchers).filter(|_| is_in_range) {
                Some(stream) => each(&mut self.statistics, stream, labels, &record),
                None => Ok(()),
            }
        };
        let read = source.read(block, selection, &mut |labels, record| match take(labels, record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(reason) => {
                halt = Some(reason);
                ControlFlow::Break(())
            }
        });
        match halt {
            Some(halt) => Err(halt.into_error()),
            None => read.map_err(QueryError::Source),
        }
    }
}

/// Streams whose labels are told apart by their memory: a block's records come from a few.
const RECENT_MAX: usize = 16;

/// Streams that have been met, by their labels: whether they meet the matchers is asked once of each.
#[derive(Debug, Default)]
pub(super) struct Streams {
    numbers: HashMap<Labels, Option<usize>>,
    next: usize,
    /// The last ones, so that most records need no look at their labels' texts.
    recent: Vec<(Labels, Option<usize>)>,
    /// Which of the recent ones makes room next.
    turn: usize,
}

impl Streams {
    /// The number of a stream, from 0; `None` where it does not meet the matchers.
    pub(super) fn number(&mut self, labels: &Labels, matchers: &[Matcher]) -> Option<usize> {
        if let Some((_, number)) = self.recent.iter().find(|(recent, _)| recent.is_same(labels)) {
            return *number;
        }
        let number = match self.numbers.get(labels) {
            Some(number) => *number,
            None => {
                let number = matches_all(matchers, labels).then_some(self.next);
                self.next += usize::from(number.is_some());
                self.numbers.insert(labels.clone(), number);
                number
            }
        };
        let recent = (labels.clone(), number);
        if self.recent.len() < RECENT_MAX {
            self.recent.push(recent);
        } else {
            self.recent[self.turn] = recent;
            self.turn = (self.turn + 1) % RECENT_MAX;
        }
        number
    }
}
