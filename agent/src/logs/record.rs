//! Makes records of lines: decodes, joins what Docker cut and what makes one record, guesses the level, keeps to the
//! longest length.
//!
//! Invariants:
//! - Every line ends up in exactly one record; what is cut off a record is in the batch's losses.
//! - Unfinished joined records take a bounded part of memory, and a bounded stretch of file is read again for them
//!   after a restart: past either bound they are passed on as they are.

use skerry_logs::multiline::{Assembler, Rules, Whole};
use skerry_logs::pipeline::Now;
use skerry_model::{Labels, LogRecord, LossReason, OutputStream, TimeRange, UnixMillis};
use std::sync::Arc;

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
    /// How its lines are joined; `None`: each is a record.
    pub(super) multiline: Option<Arc<Rules>>,
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

/// Where a record began, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) generation: u64,
    /// Offset of its first line or entry.
    pub(super) start: u64,
    pub(super) at: UnixMillis,
}

/// An entry whose end has not been read.
#[derive(Debug)]
struct Partial {
    begun: Begun,
    text: Vec<u8>,
    cut: bool,
}

impl Partial {
    fn add(&mut self, text: &[u8], line_bytes_max: usize) -> usize {
        let room = line_bytes_max.saturating_sub(self.text.len()).min(text.len());
        self.text.extend_from_slice(&text[..room]);
        self.cut |= room < text.len();
        room
    }
}

/// Joins the entries that Docker cut, and then the lines that make one record.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    partials: [Option<Partial>; OUTPUTS],
    lines: [Assembler<Begun>; OUTPUTS],
}

const STREAMS: [OutputStream; OUTPUTS] = [OutputStream::None, OutputStream::Stdout, OutputStream::Stderr];

impl Joiner {
    /// Takes one line of a plain file that stands at `start` in a generation.
    pub(super) fn plain(&mut self, line: &[u8], cut: bool, generation: u64, start: u64, sink: &mut Sink<'_>) {
        if sink.origin.multiline.is_none() && self.is_empty() {
            return sink.plain(line, cut);
        }
        let begun = Begun { generation, start, at: sink.now.wall };
        let kept = line[..line.len().min(sink.line_bytes_max)].to_vec();
        let cut = cut || kept.len() < line.len();
        self.line(kept, cut, 0, begun, sink);
        self.keep_to_bounds(generation, start, sink);
    }

    /// Takes one entry that stands at `start` in a generation.
    pub(super) fn entry(&mut self, line: &[u8], cut: bool, generation: u64, start: u64, sink: &mut Sink<'_>) {
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
        let begun = Begun { generation, start, at: entry.at };
        if whole && self.partials[slot].is_none() {
            self.line(text, false, slot, begun, sink);
        } else if !text.is_empty() || whole {
            self.piece(&text, slot, begun, sink);
            if whole {
                self.end_piece(slot, sink);
            }
        }
        self.keep_to_bounds(generation, start, sink);
    }

    fn piece(&mut self, text: &[u8], slot: usize, begun: Begun, sink: &mut Sink<'_>) {
        let partial = self.partials[slot].get_or_insert_with(|| Partial { begun, text: Vec::new(), cut: false });
        *sink.partial_bytes += partial.add(text, sink.line_bytes_max);
    }

    fn end_piece(&mut self, slot: usize, sink: &mut Sink<'_>) {
        if let Some(partial) = self.partials[slot].take() {
            *sink.partial_bytes = sink.partial_bytes.saturating_sub(partial.text.len());
            self.line(partial.text, partial.cut, slot, partial.begun, sink);
        }
    }

    /// A whole line: a record, or part of one.
    fn line(&mut self, text: Vec<u8>, cut: bool, slot: usize, begun: Begun, sink: &mut Sink<'_>) {
        let Some(rules) = &sink.origin.multiline else {
            return sink.text(text, cut, STREAMS[slot], begun.at);
        };
        if cut {
            self.end_lines(slot, sink);
            return sink.text(text, cut, STREAMS[slot], begun.at);
        }
        let before = self.lines[slot].bytes();
        let ended = self.lines[slot].take(text, begun, sink.now.mono, rules, sink.line_bytes_max);
        *sink.partial_bytes = (*sink.partial_bytes + self.lines[slot].bytes()).saturating_sub(before);
        for whole in ended.into_iter().flatten() {
            sink.stats.multiline_splits.add(u64::from(whole.split));
            sink.text(whole.text, false, STREAMS[slot], whole.begun.at);
        }
    }

    fn end_lines(&mut self, slot: usize, sink: &mut Sink<'_>) {
        let ended = self.lines[slot].flush();
        Self::ended(ended, slot, sink);
    }

    fn ended(whole: Option<Whole<Begun>>, slot: usize, sink: &mut Sink<'_>) -> bool {
        let Some(whole) = whole else { return false };
        *sink.partial_bytes = sink.partial_bytes.saturating_sub(whole.text.len());
        sink.text(whole.text, false, STREAMS[slot], whole.begun.at);
        true
    }

    fn keep_to_bounds(&mut self, generation: u64, start: u64, sink: &mut Sink<'_>) {
        for slot in 0..OUTPUTS {
            let Some(begun) = self.begun(slot) else { continue };
            let begin = if begun.generation == generation { begun.start } else { 0 };
            if start - begin > REPLAY_BYTES_MAX || *sink.partial_bytes > PARTIAL_BYTES_MAX {
                self.end_piece(slot, sink);
                self.end_lines(slot, sink);
            }
        }
    }

    /// Takes a line again that is known to stand in the unfinished record of one output, after a restart.
    pub(super) fn replay(&mut self, line: &[u8], is_entry: bool, slot: usize, begun: Begun, sink: &mut Sink<'_>) {
        if !is_entry {
            return self.restore(line.to_vec(), 0, begun, sink);
        }
        let mut text = Vec::new();
        let Some(entry) = dockerjson::decode(line, &mut text) else { return };
        if output_index(entry.output) != slot {
            return;
        }
        let begun = Begun { at: entry.at, ..begun };
        let whole = text.pop_if(|last| *last == b'\n').is_some();
        if !whole || self.partials[slot].is_some() {
            self.piece(&text, slot, begun, sink);
        }
        if whole {
            match self.partials[slot].take() {
                None => self.restore(text, slot, begun, sink),
                Some(partial) => {
                    *sink.partial_bytes = sink.partial_bytes.saturating_sub(partial.text.len());
                    self.restore(partial.text, slot, partial.begun, sink);
                }
            }
        }
    }

    fn restore(&mut self, text: Vec<u8>, slot: usize, begun: Begun, sink: &mut Sink<'_>) {
        let Some(rules) = &sink.origin.multiline else {
            // The config joins lines no more.
            return sink.text(text, false, STREAMS[slot], begun.at);
        };
        let before = self.lines[slot].bytes();
        self.lines[slot].restore(text, begun, sink.now.mono, rules);
        *sink.partial_bytes += self.lines[slot].bytes() - before;
    }

    /// Passes on, as they are, the unfinished records that began in a generation, or all.
    pub(super) fn flush_of(&mut self, generation: Option<u64>, sink: &mut Sink<'_>) -> bool {
        let taken = sink.batch.taken();
        let of = |begun: Option<Begun>| begun.is_some_and(|b| generation.is_none_or(|wanted| wanted == b.generation));
        for slot in 0..OUTPUTS {
            if of(self.partials[slot].as_ref().map(|partial| partial.begun)) {
                self.end_piece(slot, sink);
            }
            if of(self.lines[slot].begun().copied()) {
                self.end_lines(slot, sink);
            }
        }
        sink.batch.taken() > taken
    }

    /// Passes on the records that no line was added to for the time-out.
    pub(super) fn flush_due(&mut self, sink: &mut Sink<'_>) -> bool {
        let Some(rules) = &sink.origin.multiline else { return false };
        let mut flushed = false;
        for (slot, lines) in self.lines.iter_mut().enumerate() {
            // A piece of a line waits behind them: the record may go on with it.
            if self.partials[slot].is_none() {
                flushed |= Self::ended(lines.flush_due(sink.now.mono, rules), slot, sink);
            }
        }
        flushed
    }

    /// Drops what was restored, before another attempt.
    pub(super) fn forget(&mut self, partial_bytes: &mut usize) {
        let partials: usize = self.partials.iter().flatten().map(|partial| partial.text.len()).sum();
        let lines: usize = self.lines.iter().map(Assembler::bytes).sum();
        *partial_bytes = partial_bytes.saturating_sub(partials + lines);
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        (0..OUTPUTS).all(|slot| self.begun(slot).is_none())
    }

    /// Where the unfinished record of an output began: lines that wait, or else pieces of one.
    pub(super) fn begun(&self, slot: usize) -> Option<Begun> {
        let piece = || self.partials[slot].as_ref().map(|partial| partial.begun);
        self.lines[slot].begun().copied().or_else(piece)
    }
}
