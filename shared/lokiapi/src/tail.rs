//! `tail`: entries as they are written, over WebSocket.

use crate::Refusal;
use crate::params::{bad, bounds, duration, limit, millis};
use crate::write::{Encoding, stream_list};
use skerry_logql::{Entry, LogQuery, Pairs, Query, Stream, all_labels};
use skerry_model::{Labels, UnixMillis};
use skerry_promapi::{Params, text_json};
use skerry_wire::LIVE_LINE_BYTES_MAX;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Longest delay that a client may ask for, as Loki.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// How far back a tail begins where nothing is asked.
const TAIL_SPAN: Duration = Duration::from_secs(3600);

/// A request of `tail`.
#[derive(Debug, Clone)]
pub struct TailRequest {
    /// The query's text.
    pub text: String,
    /// The query.
    pub query: LogQuery,
    /// Entries from this moment on are sent first, as far as they are kept.
    pub start: UnixMillis,
    /// Most entries that are sent of the time before the tail began.
    pub limit: usize,
    /// Entries wait so long for others that are older.
    pub delay: Duration,
}

/// Reads a request.
///
/// # Errors
/// [`Refusal`] where a parameter cannot be used.
pub fn tail_request(params: &Params, now: UnixMillis) -> Result<TailRequest, Refusal> {
    let text = params.first("query").unwrap_or_default().to_owned();
    let Query::Log(query) = Query::parse(&text)? else {
        return Err(bad("only log queries can be tailed: the query makes numbers"));
    };
    let delay = duration(params, "delay_for")?.unwrap_or_default();
    if delay > DELAY_MAX {
        return Err(bad("delay_for can't be greater than 5"));
    }
    let (start, _) = bounds(params, now, TAIL_SPAN)?;
    Ok(TailRequest { text, query, start: millis(start), limit: limit(params)?, delay })
}

/// An entry of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailEntry {
    /// Labels of its stream.
    pub labels: Labels,
    /// The entry.
    pub entry: Entry,
}

/// What tells one entry from another: when it is from, what it says, and where it is from.
type Key = (UnixMillis, String, Pairs);

impl TailEntry {
    /// A live view replaces bytes that are no UTF-8 and cuts long lines, so this looks no further than it goes.
    fn key(&self) -> Key {
        let Entry { at, line, metadata, parsed } = &self.entry;
        let text = String::from_utf8_lossy(line);
        let text = text[..text.floor_char_boundary(LIVE_LINE_BYTES_MAX)].to_owned();
        (*at, text, all_labels(&self.labels, metadata, parsed))
    }
}

/// Entries that were shown from the store, so that they are not shown again when they come live. Lines have no number
/// of their own while they are live; equal ones are told apart by how many there are.
#[derive(Debug, Default)]
pub struct Seen(HashMap<Key, u32>);

impl Seen {
    /// Remembers an entry of the store.
    pub fn add(&mut self, entry: &TailEntry) {
        *self.0.entry(entry.key()).or_default() += 1;
    }

    /// Whether a live entry is one of those that were shown, each of which counts once.
    pub fn take(&mut self, entry: &TailEntry) -> bool {
        if self.0.is_empty() {
            return false;
        }
        match self.0.get_mut(&entry.key()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.0 = HashMap::new();
    }
}

/// A message of a tail: entries, oldest first, and how many were left out because they came faster than they were read.
#[must_use]
pub fn tail_message(entries: Vec<TailEntry>, left_out: u64, now: UnixMillis, encoding: Encoding) -> String {
    let mut streams: BTreeMap<Labels, Vec<Entry>> = BTreeMap::new();
    for TailEntry { labels, entry } in entries {
        streams.entry(labels).or_default().push(entry);
    }
    let streams: Vec<Stream> = streams.into_iter().map(|(labels, entries)| Stream { labels, entries }).collect();
    let flags = match encoding {
        Encoding::Categorized => ",\"encodingFlags\":[\"categorize-labels\"]",
        Encoding::Flat => "",
    };
    let dropped = match left_out {
        0 => String::new(),
        // Which ones is not known: they were left out where they were read.
        count => format!(
            ",\"dropped_entries\":[{{\"labels\":{{\"skerry_left_out\":{}}},\"timestamp\":\"{}\"}}]",
            text_json(&count.to_string()),
            crate::params::nanos(now)
        ),
    };
    format!("{{\"streams\":{}{flags}{dropped}}}", stream_list(&streams, encoding))
}
