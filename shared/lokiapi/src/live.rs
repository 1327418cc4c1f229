//! Live lines as a query sees them.

use crate::{Member, TailEntry};
use skerry_logql::{LogQuery, Tail, Tailed};
use skerry_model::{Labels, Level, OutputStream, RecordRef, stream_labels};
use skerry_wire::LiveLine;
use std::collections::HashMap;

/// Streams whose labels are remembered; beyond that they are made anew.
const STREAMS_MAX: usize = 256;

/// A query over lines as they are read.
#[derive(Debug)]
pub struct Live {
    query: LogQuery,
    member: Option<Member>,
    streams: HashMap<(Labels, OutputStream, Level), Labels>,
}

impl Live {
    /// Over the lines of a node, as itself shows them or, as a member, the centre.
    #[must_use]
    pub fn new(query: LogQuery, member: Option<Member>) -> Self {
        Self { query, member, streams: HashMap::new() }
    }

    /// What the query makes of lines, each with its place among them; nothing of those that it leaves out.
    pub fn apply(&mut self, lines: &[LiveLine]) -> Vec<(usize, TailEntry)> {
        let mut tail = Tail::new(&self.query);
        let mut found = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            let key = (line.labels.clone(), line.output, line.level);
            if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&key) {
                self.streams.clear();
            }
            let member = self.member.as_ref();
            let labels = self.streams.entry(key).or_insert_with(|| {
                let own = stream_labels(&line.labels, line.output, line.level).unwrap_or_else(|_| line.labels.clone());
                member.map_or_else(|| own.clone(), |member| member.show(&own))
            });
            let record = RecordRef {
                at: line.at,
                labels: &line.labels,
                output: line.output,
                level: line.level,
                fields: &line.fields,
                line: line.line.as_bytes(),
            };
            if let Some(Tailed { labels, entry }) = tail.apply(labels, record) {
                found.push((place, TailEntry { labels, entry }));
            }
        }
        found
    }
}
