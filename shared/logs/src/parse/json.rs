//! JSON objects, flattened: a scanner of its own that borrows from the line.
//!
//! It reads what Loki's does: keys and values are looked at, arrays only to their end. It is lenient with what stands in
//! texts (control characters, wrong escapes) and strict with the structure.

use super::name::Prefix;
use super::{Coding, DEPTH_MAX, Emit, ParseError, Value, as_text};
use memchr::{memchr2, memchr3};

/// Tells every text, number and boolean of the object in `line`; nested names are joined with `_`, arrays and `null` left
/// out, as Loki's `| json` does it. What stands behind the object is not looked at.
///
/// # Errors
/// [`ParseError`] if the line is no object, or broken; what stands before the fault has been told.
pub fn json(line: &[u8], emit: Emit<'_>) -> Result<(), ParseError> {
    let text = as_text(line);
    object(&text, emit).map(|_| ())
}

/// As [`json`], but nothing other than blanks may stand behind the object.
///
/// # Errors
/// As [`json`].
pub fn json_strict(line: &[u8], emit: Emit<'_>) -> Result<(), ParseError> {
    let text = as_text(line);
    let mut scan = Scan { text: &text, at: object(&text, emit)? };
    scan.blanks();
    if scan.at == text.len() { Ok(()) } else { scan.fail("the end") }
}

fn object(text: &str, emit: Emit<'_>) -> Result<usize, ParseError> {
    let mut scan = Scan { text, at: 0 };
    scan.blanks();
    if scan.peek() != Some(b'{') {
        return scan.fail("an object");
    }
    scan.object(&mut Prefix::default(), emit, 1)?;
    Ok(scan.at)
}

/// What [`unpack`] found in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The line that was packed.
    pub entry: String,
    /// The texts beside it, in the line's order.
    pub labels: Vec<(String, String)>,
}

/// Takes apart what Promtail's `pack` stage made: an object of texts, of which `_entry` is the line. `None` where the
/// object has no `_entry`.
///
/// # Errors
/// As [`json`].
pub fn unpack(line: &[u8]) -> Result<Option<Packed>, ParseError> {
    let text = as_text(line);
    let mut scan = Scan { text: &text, at: 0 };
    scan.blanks();
    if scan.peek() != Some(b'{') {
        return scan.fail("an object");
    }
    let (mut entry, mut labels) = (None, Vec::new());
    scan.members(|scan, key| {
        if scan.peek() != Some(b'"') {
            return scan.skip();
        }
        let value = scan.string()?.text().into_owned();
        if key.raw == "_entry" {
            entry = Some(value);
        } else {
            labels.push((key.text().into_owned(), value));
        }
        Ok(())
    })?;
    Ok(entry.map(|entry| Packed { entry, labels }))
}

/// A place in a text.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn fail<T>(&self, expected: &'static str) -> Result<T, ParseError> {
        Err(ParseError::Unexpected { at: self.at, expected })
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Reads the object that begins here and calls back at the begin of each value.
    pub(super) fn members(
        &mut self,
        mut value: impl FnMut(&mut Self, Value<'a>) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.fail("a key");
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return self.fail("a colon");
            }
            self.at += 1;
            self.blanks();
            value(self, key)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail("a comma or the object's end"),
            }
        }
    }

    fn object(&mut self, prefix: &mut Prefix, emit: Emit<'_>, depth: usize) -> Result<(), ParseError> {
        self.members(|scan, key| match scan.peek() {
            Some(b'{') if depth == DEPTH_MAX => Err(ParseError::TooDeep),
            Some(b'{') => {
                let before = prefix.enter(&key.text())?;
                scan.object(prefix, emit, depth + 1)?;
                prefix.leave(before);
                Ok(())
            }
            Some(b'[') => scan.skip(),
            _ => match scan.leaf()? {
                Some(value) => prefix.with(&key.text(), |name| emit(name, value)),
                None => Ok(()),
            },
        })
    }

    /// The text, number or boolean that begins here; `None` for `null`.
    pub(super) fn leaf(&mut self) -> Result<Option<Value<'a>>, ParseError> {
        let rest = &self.text[self.at..];
        let word = |word: &str| rest.starts_with(word).then_some(word.len());
        match self.peek() {
            Some(b'"') => return self.string().map(Some),
            Some(b'-' | b'0'..=b'9') => {
                let len =
                    rest.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
                self.at += len;
                return Ok(Some(Value::coded(&rest[..len], Coding::Bare)));
            }
            Some(b'n') if word("null").is_some() => {
                self.at += 4;
                return Ok(None);
            }
            _ => {}
        }
        match word("true").or_else(|| word("false")) {
            Some(len) => {
                self.at += len;
                Ok(Some(Value::coded(&rest[..len], Coding::Bare)))
            }
            None => self.fail("a value"),
        }
    }

    /// The text whose quote stands here.
    pub(super) fn string(&mut self) -> Result<Value<'a>, ParseError> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let (mut at, mut coding) = (start, Coding::Plain);
        loop {
            let Some(found) = memchr2(b'"', b'\\', &bytes[at..]) else {
                return self.fail("a text with an end");
            };
            at += found;
            if bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(Value::coded(&self.text[start..at], coding));
            }
            coding = Coding::Escaped;
            at = (at + 2).min(bytes.len());
        }
    }

    /// Goes behind the value that begins here. Arrays and objects are only counted, not checked.
    pub(super) fn skip(&mut self) -> Result<(), ParseError> {
        if !matches!(self.peek(), Some(b'[' | b'{')) {
            return self.leaf().map(|_| ());
        }
        let (open, close) = if self.peek() == Some(b'[') { (b'[', b']') } else { (b'{', b'}') };
        let mut depth = 0usize;
        loop {
            let Some(found) = memchr3(b'"', open, close, &self.text.as_bytes()[self.at..]) else {
                return self.fail("the end of a list");
            };
            self.at += found;
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b) if b == open => depth += 1,
                _ => depth -= 1,
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}
