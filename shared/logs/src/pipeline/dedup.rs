//! The stage `dedup`: of equal lines of a stream the first passes at once, and the others within a window are folded into
//! one record that says how often, when the window ends.
//!
//! What is remembered of a line is a hash of 128 bits; the text itself is held from its first repetition on. Lines beyond
//! the bounds pass unfolded.

use super::reader::{Faults, Reader};
use super::work::{FieldName, Work, fields};
use crate::siphash::{Hasher, Key};
use serde_json::Value;
use skerry_model::{LogRecord, Mono, Span};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Most different lines within a window.
const LINES_MAX: usize = 2048;
/// Most bytes of lines that are held.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Name of the field that says how many more there were.
const REPEATED: &str = "repeated";
/// Tells lines apart and keeps nothing secret.
const KEY: Key = Key([0x6465_6475_7000_0001, 0x6465_6475_7000_0002]);

#[derive(Debug)]
struct Seen {
    count: u64,
    held: Option<LogRecord>,
}

/// A checked `dedup` with what it remembers.
#[derive(Debug)]
pub(super) struct Dedup {
    window_ms: u64,
    by: Vec<FieldName>,
    seen: HashMap<u128, Seen>,
    /// Ends of windows, in order.
    ends: VecDeque<(Mono, u128)>,
    held_bytes: usize,
}

impl Dedup {
    /// Reads `{window: 30s, by: [msg]}`.
    pub(super) fn read(value: &Value, key: &str, faults: &mut Faults) -> Option<Self> {
        let empty = Value::Object(serde_json::Map::new());
        let mut reader = Reader::new(if value.is_null() { &empty } else { value }, key, faults)?;
        let window_ms = reader.span("window", Span::millis(100), Span::secs(3600), faults).unwrap_or(30_000);
        let by = fields(&mut reader, "by", faults);
        reader.finish(faults);
        Some(Self { window_ms, by, seen: HashMap::new(), ends: VecDeque::new(), held_bytes: 0 })
    }

    fn hash(&self, work: &Work<'_>) -> u128 {
        let mut hasher = Hasher::new(&KEY);
        let mut part = |bytes: &[u8]| {
            hasher.write(bytes);
            hasher.write(&(bytes.len() as u64).to_le_bytes());
        };
        for (name, value) in work.record.labels.iter() {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        if self.by.is_empty() {
            part(&work.record.line);
        }
        for name in &self.by {
            part(work.value(name).unwrap_or_default().as_bytes());
        }
        hasher.finish()
    }

    /// Whether the record goes on; if not it is counted, and perhaps taken.
    pub(super) fn passes(&mut self, work: &mut Work<'_>, now: Mono) -> bool {
        let hash = self.hash(work);
        let Some(seen) = self.seen.get_mut(&hash) else {
            if self.seen.len() < LINES_MAX {
                self.seen.insert(hash, Seen { count: 0, held: None });
                self.ends.push_back((now + Duration::from_millis(self.window_ms), hash));
            }
            return true;
        };
        match &mut seen.held {
            Some(held) => held.at = work.record.at,
            None if self.held_bytes + work.record.line.len() > HELD_BYTES_MAX => return true,
            None => {
                work.finish();
                self.held_bytes += work.record.line.len();
                let line = std::mem::take(&mut work.record.line);
                seen.held = Some(LogRecord { line, ..work.record.clone() });
            }
        }
        seen.count += 1;
        false
    }

    /// When the oldest window ends.
    pub(super) fn next(&self) -> Option<Mono> {
        self.ends.front().map(|(end, _)| *end)
    }

    /// The records that say how often lines came again, of windows that ended by `now`.
    pub(super) fn due(&mut self, now: Mono, out: &mut Vec<LogRecord>) {
        while let Some((_, hash)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            let Some(Seen { count, held: Some(mut record) }) = self.seen.remove(&hash) else { continue };
            self.held_bytes = self.held_bytes.saturating_sub(record.line.len());
            // A record that has as many fields as may be tells nothing of this; the ledger does.
            if let Ok(fields) = record.fields.with(REPEATED, &count.to_string()) {
                record.fields = fields;
            }
            out.push(record);
        }
    }
}
