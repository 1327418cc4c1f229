//! Makes records of lines: decodes, joins what Docker cut, guesses the level, keeps to the longest length.
//!
//! Invariants:
//! - Every line ends up in exactly one record; what is cut off a record is in the batch's losses.
//! - Unfinished joined records take a bounded part of memory, and a bounded stretch of file is read again for them
//!   after a restart: past either bound they are passed on as they are.

use skerry_logs::pipeline::Now;
use skerry_model::{Labels, LogRecord, LossReason, OutputStream, TimeRange, UnixMillis};

use super::intake::{Batch, Intake};
use super::position::{OUTPUTS, output_index};
use super::stats::LogStats;
use super::{dockerjson, level};

/// Longest stretch of file between the begin of a partial record and the position.
const REPLAY_BYTES_MAX: u64 = 16 << 20;
/// Room for the partial records of all files.
const PARTIAL_BYTES_MAX: usize = 4 << 20;

/// What the records of one file have in common.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) labels: Labels,
    /// Names it in the loss ledger.
    pub(super) source: String,
    /// The stages of its input.
    pub(super) intake: Intake,
}

/// Where records go.
pub(super) struct Sink<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) stats: &'a LogStats,
    pub(super) origin: &'a Origin,
    /// Bytes of partial records in memory, of all files.
    pub(super) partial_bytes: &'a mut usize,
    pub(super) line_bytes_max: usize,
    pub(super) now: Now,
}

impl Sink<'_> {
    /// Adds a line of a plain file. `cut` says that it goes on beyond `line`.
    pub(super) fn plain(&mut self, line: &[u8], cut: bool) {
        let level = level::guess(line);
        let kept = line[..line.len().min(self.line_bytes_max)].to_vec();
        let cut = cut || kept.len() < line.len();
        self.push(kept, cut, OutputStream::None, self.now.wall, level);
    }

    fn raw(&mut self, line: &[u8], cut: bool) {
        self.stats.parse_failures.add(1);
        let kept = line[..line.len().min(self.line_bytes_max)].to_vec();
        let cut = cut || kept.len() < line.len();
        self.push(kept, cut, OutputStream::None, self.now.wall, skerry_model::Level::Unknown);
    }

    fn text(&mut self, mut text: Vec<u8>, mut cut: bool, output: OutputStream, at: UnixMillis) {
        if text.len() > self.line_bytes_max {
            text.truncate(self.line_bytes_max);
            cut = true;
        }
        let level = level::guess(&text);
        self.push(text, cut, output, at, level);
    }

    fn push(&mut self, line: Vec<u8>, cut: bool, output: OutputStream, at: UnixMillis, level: skerry_model::Level) {
        if cut {
            self.stats.oversize.add(1);
            self.batch.lose(&self.origin.source, LossReason::Oversize, Some(1), TimeRange::at(at));
        }
        let labels = self.origin.labels.clone();
        let record = LogRecord { at, labels, output, level, fields: Labels::default(), line };
        self.origin.intake.take(record, &self.origin.source, self.now, self.batch);
    }
}

/// A record whose end has not been read.
#[derive(Debug)]
pub(super) struct Partial {
    /// Generation and offset of its first entry.
    pub(super) generation: u64,
    pub(super) start: u64,
    text: Vec<u8>,
    cut: bool,
    at: UnixMillis,
}

impl Partial {
    fn add(&mut self, text: &[u8], line_bytes_max: usize) -> usize {
        let room = line_bytes_max.saturating_sub(self.text.len()).min(text.len());
        self.text.extend_from_slice(&text[..room]);
        self.cut |= room < text.len();
        room
    }
}

/// Joins the entries of a Docker log.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    partials: [Option<Partial>; OUTPUTS],
}

const STREAMS: [OutputStream; OUTPUTS] = [OutputStream::None, OutputStream::Stdout, OutputStream::Stderr];

impl Joiner {
    /// Takes one entry that stands at `start` in a generation.
    pub(super) fn take(&mut self, line: &[u8], cut: bool, generation: u64, start: u64, sink: &mut Sink<'_>) {
        // The frame of an entry takes some 80 bytes: the text is allocated once, at about its size.
        let mut text = Vec::with_capacity(line.len().saturating_sub(72));
        // Of a line that was cut nothing is decoded: it is kept as it is, and counted as cut.
        let decoded = if cut { None } else { dockerjson::decode(line, &mut text) };
        let Some(entry) = decoded else {
            sink.raw(line, cut);
            return;
        };
        let whole = text.pop_if(|last| *last == b'\n').is_some();
        let slot = output_index(entry.output);
        if whole && self.partials[slot].is_none() {
            sink.text(text, false, entry.output, entry.at);
        } else if !text.is_empty() || whole {
            let fresh = || Partial { generation, start, text: Vec::new(), cut: false, at: entry.at };
            let partial = self.partials[slot].get_or_insert_with(fresh);
            *sink.partial_bytes += partial.add(&text, sink.line_bytes_max);
            if whole {
                self.flush(slot, sink);
            }
        }
        for slot in 0..OUTPUTS {
            let Some(partial) = &self.partials[slot] else { continue };
            let begin = if partial.generation == generation { partial.start } else { 0 };
            if start - begin > REPLAY_BYTES_MAX || *sink.partial_bytes > PARTIAL_BYTES_MAX {
                self.flush(slot, sink);
            }
        }
    }

    /// Takes an entry again, after a restart, for the partial record of one output.
    pub(super) fn replay(&mut self, line: &[u8], slot: usize, generation: u64, start: u64, sink: &mut Sink<'_>) {
        let mut text = Vec::new();
        let Some(entry) = dockerjson::decode(line, &mut text) else { return };
        if output_index(entry.output) == slot {
            let fresh = || Partial { generation, start, text: Vec::new(), cut: false, at: entry.at };
            let partial = self.partials[slot].get_or_insert_with(fresh);
            *sink.partial_bytes += partial.add(&text, sink.line_bytes_max);
        }
    }

    /// Passes on, as they are, the partial records that began in a generation, or all.
    pub(super) fn flush_of(&mut self, generation: Option<u64>, sink: &mut Sink<'_>) -> bool {
        let mut flushed = false;
        for slot in 0..OUTPUTS {
            let begun = self.partials[slot].as_ref().map(|partial| partial.generation);
            if begun.is_some() && (generation.is_none() || begun == generation) {
                self.flush(slot, sink);
                flushed = true;
            }
        }
        flushed
    }

    fn flush(&mut self, slot: usize, sink: &mut Sink<'_>) {
        if let Some(partial) = self.partials[slot].take() {
            *sink.partial_bytes = sink.partial_bytes.saturating_sub(partial.text.len());
            sink.text(partial.text, partial.cut, STREAMS[slot], partial.at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partials.iter().all(Option::is_none)
    }

    pub(super) fn partials(&self) -> &[Option<Partial>; OUTPUTS] {
        &self.partials
    }
}
