//! Cuts bytes into lines. Pure: the caller owns the buffer and the offsets.
//!
//! Invariant: the lines do not depend on how the bytes are cut into reads.

/// The next thing that stands at the begin of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A whole line of `text.len() + 1` bytes; `text` is without its `\n`.
    Line {
        /// The line without its end.
        text: &'a [u8],
    },
    /// A line that goes beyond the limit: its first bytes. The rest is to be skipped.
    Cut {
        /// As many bytes as the limit allows.
        text: &'a [u8],
    },
    /// The rest of a cut line, or a part of it.
    Skipped {
        /// Bytes to pass over, the line end included.
        len: usize,
        /// Whether the line ended within them.
        ended: bool,
    },
    /// No whole line: more bytes are needed.
    Short,
}

/// What stands at the begin of `data`. `skipping` says that it is the rest of a line that was cut before.
pub(super) fn next(data: &[u8], line_bytes_max: usize, skipping: bool) -> Frame<'_> {
    if skipping {
        return match memchr::memchr(b'\n', data) {
            Some(at) => Frame::Skipped { len: at + 1, ended: true },
            None if data.is_empty() => Frame::Short,
            None => Frame::Skipped { len: data.len(), ended: false },
        };
    }
    // One byte more than the limit is looked at: a line of exactly the limit ends there.
    let reach = data.len().min(line_bytes_max + 1);
    match memchr::memchr(b'\n', &data[..reach]) {
        Some(at) => Frame::Line { text: &data[..at] },
        None if reach > line_bytes_max => Frame::Cut { text: &data[..line_bytes_max] },
        None => Frame::Short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames bytes that arrive in chunks, as the reader does.
    fn run(bytes: &[u8], chunk: usize, max: usize) -> (Vec<Vec<u8>>, usize, usize) {
        let (mut lines, mut cuts, mut offset, mut end, mut skipping) = (Vec::new(), 0, 0, 0, false);
        loop {
            match next(&bytes[offset..end], max, skipping) {
                Frame::Line { text } => {
                    lines.push(text.to_vec());
                    offset += text.len() + 1;
                }
                Frame::Cut { text } => {
                    lines.push(text.to_vec());
                    cuts += 1;
                    offset += text.len();
                    skipping = true;
                }
                Frame::Skipped { len, ended } => {
                    offset += len;
                    skipping = !ended;
                }
                Frame::Short if end == bytes.len() => return (lines, cuts, offset),
                Frame::Short => end = (end + chunk).min(bytes.len()),
            }
        }
    }

    #[test]
    fn keeps_every_byte_but_the_line_end() {
        let (lines, cuts, offset) = run(b"a\r\n\n\0\xff b\nrest", 64, 100);
        assert_eq!(lines, [&b"a\r"[..], b"", b"\0\xff b"]);
        assert_eq!((cuts, offset), (0, 9));
    }

    #[test]
    fn cuts_at_the_limit_and_goes_on_behind_the_line() {
        let (lines, cuts, offset) = run(b"12345\n123456789\nx\n", 4, 5);
        assert_eq!(lines, [&b"12345"[..], b"12345", b"x"]);
        assert_eq!((cuts, offset), (1, 18));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_reads(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..400),
            chunk in 1usize..50,
            max in 1usize..20,
        ) {
            let whole = run(&bytes, bytes.len().max(1), max);
            prop_assert_eq!(&run(&bytes, chunk, max), &whole);
            let mut expected: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let rest = expected.pop().unwrap();
            if rest.len() > max {
                expected.push(rest);
            }
            for line in &mut expected {
                line.truncate(max);
            }
            prop_assert_eq!(&whole.0, &expected);
        }
    }
}
