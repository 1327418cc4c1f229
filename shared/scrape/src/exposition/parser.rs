//! Chunks to lines.

use super::line::{Line, parse};
use super::{BadLine, Entry, Format, LINE_BYTES_MAX, Problem};

/// Reads an exposition that comes in chunks. Holds the begin of one line at most.
#[derive(Debug)]
pub struct Parser {
    format: Format,
    /// Lines read so far.
    lines: u64,
    /// Begin of a line whose end has not come yet.
    rest: Vec<u8>,
    /// Whether `# EOF` was read.
    ended: bool,
}

impl Parser {
    /// At the begin of an exposition.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { format, lines: 0, rest: Vec::new(), ended: false }
    }

    /// Reads on, and hands over each entry that is complete.
    ///
    /// # Errors
    /// [`BadLine`]: the exposition is to be thrown away, and nothing more to be fed.
    pub fn feed(&mut self, mut chunk: &[u8], each: &mut impl FnMut(Entry<'_>)) -> Result<(), BadLine> {
        if !self.rest.is_empty() {
            let Some(end) = memchr::memchr(b'\n', chunk) else { return self.keep(chunk) };
            self.keep(&chunk[..end])?;
            chunk = &chunk[end + 1..];
            let mut line = std::mem::take(&mut self.rest);
            self.line(&line, each)?;
            // The next line that comes in two parts uses the same memory.
            line.clear();
            self.rest = line;
        }
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            self.line(&chunk[begin..end], each)?;
            begin = end + 1;
        }
        self.keep(&chunk[begin..])
    }

    /// Reads the last line, which may lack its line break, and makes sure that nothing was cut off, as far as the
    /// format tells.
    ///
    /// # Errors
    /// [`BadLine`].
    pub fn finish(mut self, each: &mut impl FnMut(Entry<'_>)) -> Result<(), BadLine> {
        if !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.line(&line, each)?;
        }
        if self.format == Format::OpenMetrics && !self.ended {
            return Err(BadLine { line: self.lines, problem: Problem::NoEof, excerpt: String::new() });
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), BadLine> {
        if self.rest.len() + part.len() > LINE_BYTES_MAX {
            self.rest.truncate(LINE_BYTES_MAX);
            let begin = if self.rest.is_empty() { part } else { &self.rest };
            return Err(bad(self.lines + 1, Problem::TooLong, begin));
        }
        self.rest.extend_from_slice(part);
        Ok(())
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(Entry<'_>)) -> Result<(), BadLine> {
        self.lines += 1;
        if line.len() > LINE_BYTES_MAX {
            return Err(bad(self.lines, Problem::TooLong, line));
        }
        let Ok(text) = std::str::from_utf8(line) else { return Err(bad(self.lines, Problem::NotUtf8, line)) };
        if self.ended {
            return Err(bad(self.lines, Problem::AfterEof, line));
        }
        match parse(text, self.format) {
            Ok(Line::Entry(entry)) => each(entry),
            Ok(Line::Nothing) => {}
            Ok(Line::Eof) => self.ended = true,
            Err(problem) => return Err(bad(self.lines, problem, line)),
        }
        Ok(())
    }
}

fn bad(line: u64, problem: Problem, text: &[u8]) -> BadLine {
    let begin = String::from_utf8_lossy(&text[..text.len().min(320)]);
    BadLine { line, problem, excerpt: begin.chars().take(80).collect() }
}
