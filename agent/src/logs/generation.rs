//! One file being read: how far, and what identifies it.

use skerry_logs::pipeline::Now;
use skerry_model::{LossReason, Mono, TimeRange, UnixMillis};
use std::io;

use super::config::Format;
use super::content::{self, Content};
use super::cri;
use super::file::{Meta, Print};
use super::frame::{self, Frame};
use super::intake::Batch;
use super::position::{Ident, Mark, Sibling};
use super::record::{Begun, Joiner, Origin, Sink};
use super::stats::LogStats;
use super::window::Window;

/// Longest line of Docker's json-file driver: 16 KiB of text, each byte escaped to six, and attributes.
const DOCKER_LINE_BYTES_MAX: usize = 256 << 10;
/// Most bytes that one file may read in one turn, so that a file without records to give cannot hold up the rest.
const TURN_BYTES: usize = 4 << 20;

/// Whether a generation may still be what its path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It stands at the path.
    Current,
    /// It was rotated away, copied or removed.
    Rotated,
}

/// How a turn of reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// At the end of the file.
    End,
    /// The batch is full, or the turn was long: there is more.
    More,
    /// The content before the offset is another: the file was rewritten.
    Rewritten,
}

/// What the files share in one round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) batch: Batch,
    pub(super) window: Window,
    pub(super) partial_bytes: usize,
    pub(super) line_bytes_max: usize,
    pub(super) stats: std::sync::Arc<LogStats>,
    pub(super) mono: Mono,
    pub(super) wall: UnixMillis,
}

impl Round {
    /// Where the records of a file go, beside the window they are read from.
    pub(super) fn sink<'a>(&'a mut self, origin: &'a Origin) -> (Sink<'a>, &'a mut Window) {
        let sink = Sink {
            batch: &mut self.batch,
            stats: &self.stats,
            origin,
            partial_bytes: &mut self.partial_bytes,
            line_bytes_max: self.line_bytes_max,
            now: Now { mono: self.mono, wall: self.wall },
        };
        (sink, &mut self.window)
    }

    /// Notes that an unknown number of lines is missing, since `since`.
    pub(super) fn lose_file(&mut self, origin: &Origin, since: UnixMillis) {
        self.stats.lost_files.add(1);
        let range = TimeRange { from: since, to: self.wall };
        self.batch.lose(&origin.source, LossReason::SourceGone, None, range);
    }
}

/// A file being read.
#[derive(Debug)]
pub(super) struct Generation {
    /// Unique in this process; a copy that goes on for a truncated file inherits it.
    pub(super) id: u64,
    pub(super) content: Content,
    pub(super) ident: Ident,
    pub(super) role: Role,
    /// Bytes before this are in records.
    pub(super) offset: u64,
    /// Size when it was looked at last.
    pub(super) size: u64,
    /// Size at which its end was read last: there is nothing new up to here.
    pub(super) scanned: u64,
    /// Its time of change when it was looked at last.
    pub(super) modified_ns: i128,
    /// When the folder was listed and nothing older than this was unread in it.
    pub(super) listed_at: Option<Mono>,
    /// It changed and did not grow: its content is to be compared.
    suspect: bool,
    /// When it grew last, or was rotated.
    pub(super) quiet_since: Mono,
    pub(super) read_at: UnixMillis,
    skipping: bool,
    /// Of the content before the offset; behind it within a turn.
    print: Print,
}

impl Generation {
    /// A file that is read from its begin.
    pub(super) fn begin(id: u64, content: Content, meta: Meta, role: Role, round: &Round) -> Self {
        let packed = content.is_packed();
        Self {
            id,
            content,
            ident: meta.ident,
            role,
            offset: 0,
            // Of compressed content the length is known at its end.
            size: if packed { u64::MAX } else { meta.size },
            scanned: 0,
            modified_ns: meta.modified_ns,
            listed_at: Some(round.mono),
            suspect: false,
            quiet_since: round.mono,
            read_at: round.wall,
            skipping: false,
            print: Print::default(),
        }
    }

    /// Goes to an offset. `false` if the file is shorter.
    pub(super) fn go_to(&mut self, offset: u64, skipping: bool) -> io::Result<bool> {
        let Some(print) = Print::read(&self.content, offset)? else { return Ok(false) };
        self.suspect = true;
        (self.offset, self.scanned, self.print, self.skipping) = (offset, offset, print, skipping);
        Ok(true)
    }

    /// Goes behind the last whole line.
    pub(super) fn go_to_end(&mut self, line_bytes_max: usize) -> io::Result<()> {
        let reach = (line_bytes_max as u64).min(self.size);
        let mut end = vec![0; usize::try_from(reach).unwrap_or(0)];
        let n = self.content.read_at(&mut end, self.size - reach)?;
        let begun = match memchr::memrchr(b'\n', &end[..n]) {
            Some(at) => n - at - 1,
            None if reach == self.size => n,
            None => 0,
        };
        self.go_to(self.size - reach + (n - begun) as u64, false).map(|_| ())
    }

    /// The stored form.
    pub(super) fn mark(&self) -> Mark {
        let (head, tail) = self.print.digests();
        Mark {
            ident: self.ident,
            offset: self.offset,
            head,
            tail,
            read_at: self.read_at,
            skipping: self.skipping,
            finished: self.role == Role::Rotated && self.offset >= self.size,
        }
    }

    /// Whether older generations may have come beside it since its folder was listed.
    pub(super) fn is_unlisted(&self, mono: Mono) -> bool {
        self.offset == 0 && self.role == Role::Current && self.listed_at != Some(mono)
    }

    /// Whether it has grown, or may have been rewritten, since its end was read.
    pub(super) fn has_more(&self) -> bool {
        self.size > self.scanned || self.suspect
    }

    /// Takes note of what the file is now. `false` if it was truncated: it has shrunk, and not just by the unfinished
    /// line at its end.
    pub(super) fn observe(&mut self, meta: &Meta, mono: Mono) -> io::Result<bool> {
        if self.content.is_packed() {
            // Nobody writes to it.
            return Ok(true);
        }
        if meta.size < self.size && (self.offset == 0 || meta.size < self.offset || !self.is_intact()?) {
            return Ok(false);
        }
        if meta.size != self.size {
            self.size = meta.size;
            self.quiet_since = mono;
            self.scanned = self.scanned.min(self.size);
        } else if meta.modified_ns != self.modified_ns {
            self.suspect = true;
        }
        self.modified_ns = meta.modified_ns;
        Ok(true)
    }

    /// Whether the content before the offset is still what was read.
    pub(super) fn is_intact(&self) -> io::Result<bool> {
        Ok(Print::read(&self.content, self.offset)?.is_some_and(|print| print == self.print))
    }

    /// How it is remembered once it was read to its end; its content tells it when it is compressed later.
    pub(super) fn sibling(&self) -> io::Result<Sibling> {
        let content = content::whole(self.print.digests().0, self.offset);
        Ok(Sibling { content, ..self.content.look()?.sibling() })
    }

    /// Reads lines into the batch until it is full or the file ends.
    pub(super) fn read(
        &mut self,
        format: Format,
        joiner: &mut Joiner,
        origin: &Origin,
        round: &mut Round,
    ) -> io::Result<Turn> {
        let (mut sink, window) = round.sink(origin);
        self.read_at = sink.now.wall;
        if !window.continues(self.id, self.offset) && !window.fill(self.id, &self.content, self.offset, &self.print)? {
            return Ok(Turn::Rewritten);
        }
        self.suspect = false;
        let docker = self.is_docker(format, window.from(self.offset));
        let longest = if docker { sink.line_bytes_max.max(DOCKER_LINE_BYTES_MAX) } else { sink.line_bytes_max };
        let mut turn_bytes = 0;
        loop {
            if sink.batch.is_full() || turn_bytes >= TURN_BYTES {
                self.absorb(window);
                return Ok(Turn::More);
            }
            let (text, cut, len) = match frame::next(window.from(self.offset), longest, self.skipping) {
                Frame::Line { text } => (text, false, text.len() + 1),
                Frame::Cut { text } => (text, true, text.len()),
                Frame::Skipped { len, ended } => {
                    self.offset += len as u64;
                    self.skipping = !ended;
                    continue;
                }
                Frame::Short => {
                    self.absorb(window);
                    let read = window.extend(&self.content, self.offset)?;
                    turn_bytes += read;
                    if read == 0 {
                        // What is left is the begin of a line. It is read again when there is more of it, so that
                        // it takes no memory until then.
                        self.scanned = self.offset + window.from(self.offset).len() as u64;
                        if self.content.is_packed() {
                            self.size = self.scanned;
                        }
                        window.forget();
                        return Ok(Turn::End);
                    }
                    continue;
                }
            };
            if docker || is_entry(format, text) {
                joiner.entry(text, cut, self.id, self.offset, &mut sink);
            } else {
                joiner.plain(text, cut, self.id, self.offset, &mut sink);
            }
            self.offset += len as u64;
            self.skipping = cut;
        }
    }

    /// Passes on what stands behind the last line end as a record of its own: nothing will follow it.
    pub(super) fn finish(
        &mut self,
        format: Format,
        joiner: &mut Joiner,
        origin: &Origin,
        round: &mut Round,
    ) -> io::Result<()> {
        let (mut sink, window) = round.sink(origin);
        window.forget();
        let rest = usize::try_from(self.size.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if let Some(print) = Print::read(&self.content, self.size)? {
            self.print = print;
        }
        let mut line = vec![0; rest.min(sink.line_bytes_max.max(DOCKER_LINE_BYTES_MAX))];
        let n = self.content.read_at(&mut line, self.offset)?;
        line.truncate(n);
        if !line.is_empty() && !self.skipping {
            if self.is_docker(format, &line) || is_entry(format, &line) {
                joiner.entry(&line, false, self.id, self.offset, &mut sink);
            } else {
                joiner.plain(&line, false, self.id, self.offset, &mut sink);
            }
        }
        self.offset = self.size;
        joiner.flush_of(Some(self.id), &mut sink);
        Ok(())
    }

    /// Reads the lines between two offsets again for the unfinished record of one output.
    pub(super) fn replay(
        &self,
        format: Format,
        span: std::ops::Range<u64>,
        slot: usize,
        joiner: &mut Joiner,
        origin: &Origin,
        round: &mut Round,
    ) -> io::Result<()> {
        let (mut sink, window) = round.sink(origin);
        let docker = self.is_docker(format, &[]);
        let longest = if docker { sink.line_bytes_max.max(DOCKER_LINE_BYTES_MAX) } else { sink.line_bytes_max };
        window.fill(self.id, &self.content, span.start, &Print::default())?;
        let (mut at, mut skipping) = (span.start, false);
        while at < span.end {
            match frame::next(window.between(at, span.end), longest, skipping) {
                Frame::Line { text } => {
                    let begun = Begun { generation: self.id, start: at, at: sink.now.wall };
                    joiner.replay(text, docker || is_entry(format, text), slot, begun, &mut sink);
                    at += text.len() as u64 + 1;
                }
                Frame::Cut { text } => {
                    at += text.len() as u64;
                    skipping = true;
                }
                Frame::Skipped { len, ended } => {
                    at += len as u64;
                    skipping = !ended;
                }
                Frame::Short => {
                    if window.extend(&self.content, at)? == 0 {
                        break;
                    }
                }
            }
        }
        window.forget();
        Ok(())
    }

    fn is_docker(&self, format: Format, next: &[u8]) -> bool {
        let head = if self.print.begin().is_empty() { next } else { self.print.begin() };
        match format {
            Format::Plain => false,
            Format::DockerJson | Format::Cri => true,
            Format::Auto => head.starts_with(br#"{"log":""#),
        }
    }

    fn absorb(&mut self, window: &Window) {
        self.print.absorb(self.offset, |from, to| window.between(from, to));
    }
}

/// Whether a line of a file whose format nobody named is an entry of the CRI format. Each line is asked: the first bytes of
/// a file, which could tell once, are not remembered for they may be secret.
fn is_entry(format: Format, line: &[u8]) -> bool {
    format == Format::Auto && cri::is_entry(line)
}
