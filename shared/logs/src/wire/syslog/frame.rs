//! Where messages begin and end in a stream: RFC 6587.

use super::number;

/// Longest message that a frame with a count may announce. Above it the peer speaks something else.
const COUNT_MAX: u64 = 16 << 20;

/// How messages follow each other in a stream: RFC 6587.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// `83 <34>…`: a count of bytes comes first.
    Counted,
    /// A newline or a NUL ends each.
    Ended,
}

/// What a stream has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A message in these bytes of the buffer, and how many bytes of the buffer are used up by then.
    Message {
        /// First byte.
        from: usize,
        /// Behind the last byte.
        to: usize,
        /// Bytes to be taken off the buffer.
        used: usize,
        /// It was longer than the bound: the rest is left out, here or as it comes.
        is_cut: bool,
    },
    /// Bytes to be taken off the buffer, with nothing in them.
    Skip(usize),
    /// Nothing before more has come.
    More,
}

/// The peer does not speak syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is announced, at most {COUNT_MAX} are taken")]
pub struct TooLong(u64);

/// Finds messages in a stream. Which framing it has is told by its first bytes and stays.
#[derive(Debug, Default)]
pub struct Framer {
    framing: Option<Framing>,
    /// Bytes of a counted message that are to be passed over.
    skip: u64,
    /// An unterminated message was cut: pass over bytes up to its end.
    skip_to_end: bool,
}

impl Framer {
    /// What is next in `buffer`, of which `message_bytes_max` is the longest message handed on.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn next(&mut self, buffer: &[u8], message_bytes_max: usize) -> Result<Next, TooLong> {
        if buffer.is_empty() {
            return Ok(Next::More);
        }
        if self.skip > 0 {
            let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(buffer.len());
            self.skip -= here as u64;
            return Ok(Next::Skip(here));
        }
        let framing = match self.framing {
            Some(framing) => framing,
            None => match detect(buffer) {
                None => return Ok(Next::More),
                Some(framing) => *self.framing.insert(framing),
            },
        };
        match framing {
            Framing::Counted => self.counted(buffer, message_bytes_max),
            Framing::Ended => Ok(self.ended(buffer, message_bytes_max)),
        }
    }

    /// The last message of a stream that has ended, where nothing marks its end.
    #[must_use]
    pub fn rest<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        if self.skip_to_end || self.framing == Some(Framing::Counted) { b"" } else { buffer }
    }

    fn counted(&mut self, buffer: &[u8], bytes_max: usize) -> Result<Next, TooLong> {
        // Some senders end counted messages with a newline as well.
        let blank = buffer.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
        if blank > 0 {
            return Ok(Next::Skip(blank));
        }
        let Some((count, rest)) = number(buffer, 10) else {
            if buffer.len() <= 10 && buffer.iter().all(u8::is_ascii_digit) {
                return Ok(Next::More);
            }
            // Out of step, or another framing from here on.
            self.framing = Some(Framing::Ended);
            return Ok(self.ended(buffer, bytes_max));
        };
        let Some(rest) = rest.strip_prefix(b" ") else {
            if rest.is_empty() {
                return Ok(Next::More);
            }
            self.framing = Some(Framing::Ended);
            return Ok(self.ended(buffer, bytes_max));
        };
        let count = count.unsigned_abs();
        if count > COUNT_MAX {
            return Err(TooLong(count));
        }
        let from = buffer.len() - rest.len();
        let length = usize::try_from(count).unwrap_or(usize::MAX);
        let kept = length.min(bytes_max);
        if rest.len() < kept {
            return Ok(Next::More);
        }
        self.skip = (length - kept) as u64;
        Ok(Next::Message { from, to: from + kept, used: from + kept, is_cut: length > kept })
    }

    fn ended(&mut self, buffer: &[u8], bytes_max: usize) -> Next {
        let end = buffer.iter().position(|byte| matches!(byte, b'\n' | 0));
        if self.skip_to_end {
            self.skip_to_end = end.is_none();
            return Next::Skip(end.map_or(buffer.len(), |at| at + 1));
        }
        match end {
            Some(0) => Next::Skip(1),
            Some(end) => Next::Message { from: 0, to: end.min(bytes_max), used: end + 1, is_cut: end > bytes_max },
            None if buffer.len() <= bytes_max => Next::More,
            None => {
                self.skip_to_end = true;
                Next::Message { from: 0, to: bytes_max, used: buffer.len(), is_cut: true }
            }
        }
    }
}

/// The framing that the first bytes tell; `None` before enough of them came. A count is followed by a blank and a
/// priority, which tells it from a text that begins with a number.
fn detect(buffer: &[u8]) -> Option<Framing> {
    let digits = buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ended = Some(Framing::Ended);
    if digits == 0 || digits > 10 || buffer[0] == b'0' {
        return ended;
    }
    match (buffer.get(digits), buffer.get(digits + 1)) {
        (Some(b' '), Some(b'<')) => Some(Framing::Counted),
        (None, _) | (Some(b' '), None) => None,
        _ => ended,
    }
}
