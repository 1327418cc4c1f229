//! DNS messages (RFC 1035, section 4): queries to bytes, bytes to answers.

use super::record::{self, Record};

/// Names of outcomes, by their number (RFC 1035, 2136, 6895).
const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];
/// Classes by name.
const CLASSES: [(&str, u16); 4] = [("IN", 1), ("CH", 3), ("HS", 4), ("ANY", 255)];
/// Longest name, in bytes on the wire.
const NAME_BYTES_MAX: usize = 255;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Question {
    /// Name on the wire: labels with their lengths.
    name: Vec<u8>,
    pub(in super::super) kind: u16,
    class: u16,
    recursion: bool,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    id: u16,
    is_response: bool,
    question: Option<(Vec<u8>, u16, u16)>,
    pub(super) rcode: u8,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
}

/// Number of an outcome.
pub(in super::super) fn rcode(name: &str) -> Option<u8> {
    u8::try_from(RCODES.iter().position(|known| *known == name)?).ok()
}

/// Name of an outcome.
pub(super) fn rcode_name(rcode: u8) -> String {
    RCODES.get(usize::from(rcode)).map_or_else(|| format!("RCODE{rcode}"), |name| (*name).to_owned())
}

/// Number of a class.
pub(in super::super) fn class(name: &str) -> Option<u16> {
    CLASSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, class)| *class)
}

/// Text of a class.
pub(super) fn class_name(class: u16) -> String {
    let known = CLASSES.iter().find(|(_, number)| *number == class);
    known.map_or_else(|| format!("CLASS{class}"), |(name, _)| (*name).to_owned())
}

impl Question {
    /// A question for a name as people write it. `None` where it is no name of DNS.
    pub(in super::super) fn new(name: &str, kind: u16, class: u16, recursion: bool) -> Option<Self> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let mut wire = Vec::new();
        if !bare.is_empty() {
            for label in bare.split('.') {
                let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
                wire.push(length);
                wire.extend(label.as_bytes());
            }
        }
        wire.push(0);
        (!name.is_empty() && wire.len() <= NAME_BYTES_MAX).then_some(Self { name: wire, kind, class, recursion })
    }

    /// The query.
    pub(super) fn encode(&self, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([u8::from(self.recursion), 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend(&self.name);
        message.extend(self.kind.to_be_bytes());
        message.extend(self.class.to_be_bytes());
        message
    }
}

impl Response {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(message: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { message, at: 0 };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let mut question = None;
        for _ in 0..counts[0] {
            let name = reader.name()?;
            question.get_or_insert((name, reader.u16()?, reader.u16()?));
        }
        let mut section = |count: u16| {
            // Each record takes eleven bytes at least, so a count that lies ends at the end of the message.
            (0..count).map(|_| record::decode(&mut reader)).collect::<Result<Vec<Record>, String>>()
        };
        let (answers, authorities, additionals) = (section(counts[1])?, section(counts[2])?, section(counts[3])?);
        let (is_response, rcode) = (flags & 0x8000 != 0, (flags & 0x0f) as u8);
        Ok(Self { id, is_response, question, rcode, answers, authorities, additionals })
    }

    /// Whether it answers this question.
    pub(super) fn answers(&self, id: u16, asked: &Question) -> bool {
        let is_same = |(name, kind, class): &(Vec<u8>, u16, u16)| {
            name.eq_ignore_ascii_case(&asked.name) && (*kind, *class) == (asked.kind, asked.class)
        };
        self.is_response && self.id == id && self.question.as_ref().is_none_or(is_same)
    }
}

/// A place in a message.
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let bytes = self.message.get(self.at..self.at.saturating_add(count)).ok_or("it ends too early")?;
        self.at += count;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A reader of the next bytes that still sees what comes before them, for names that point there.
    pub(super) fn part(&mut self, count: usize) -> Result<Self, String> {
        let at = self.at;
        self.take(count)?;
        Ok(Self { message: &self.message[..self.at], at })
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.message[self.at..];
        self.at = self.message.len();
        rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.message.len()
    }

    /// A name, uncompressed. Pointers lead back only, so that a name ends.
    pub(super) fn name(&mut self) -> Result<Vec<u8>, String> {
        let (mut name, mut at, mut after, mut least) = (Vec::new(), self.at, None, self.at);
        loop {
            let length = *self.message.get(at).ok_or("a name ends too early")?;
            match length {
                0 => {
                    name.push(0);
                    self.at = after.unwrap_or(at + 1);
                    return Ok(name);
                }
                1..=63 => {
                    let label = self.message.get(at..=at + usize::from(length)).ok_or("a name ends too early")?;
                    name.extend(label);
                    if name.len() >= NAME_BYTES_MAX {
                        return Err("a name is too long".into());
                    }
                    at += 1 + usize::from(length);
                }
                0xc0..=0xff => {
                    let low = *self.message.get(at + 1).ok_or("a name ends too early")?;
                    let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if to >= least {
                        return Err("a name leads in circles".into());
                    }
                    after.get_or_insert(at + 2);
                    (at, least) = (to, to);
                }
                _ => return Err("a name has a label of unknown kind".into()),
            }
        }
    }
}

/// A name as text, with its final dot.
pub(super) fn name_text(wire: &[u8]) -> String {
    let (mut text, mut rest) = (String::new(), wire);
    while let Some((&length, after)) = rest.split_first() {
        let Some((label, after)) = after.split_at_checked(usize::from(length)).filter(|_| length > 0) else { break };
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b' ' | b'@' | b'\'' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                0x21..=0x7e => text.push(char::from(byte)),
                byte => text.push_str(&format!("\\{byte:03}")),
            }
        }
        text.push('.');
        rest = after;
    }
    if text.is_empty() { ".".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_those_of_the_standard() {
        let asked = Question::new("a.example", 1, 1, true).unwrap();
        assert_eq!(asked.encode(0x1234), b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01");
        assert_eq!(Question::new(".", 2, 1, false).unwrap().name, [0]);
        for bad in ["", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
            assert_eq!(Question::new(bad, 1, 1, true), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_read_whatever_comes() {
        let mut message = Question::new("a.example", 1, 1, true).unwrap().encode(7);
        message[2] |= 0x80;
        message[7] = 1;
        message.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x00\x3c\0\x04\x0a\0\0\x01");
        let response = Response::decode(&message).unwrap();
        assert_eq!(response.answers[0].text, "a.example.\t60\tIN\tA\t10.0.0.1");
        assert!(response.answers(7, &Question::new("A.Example.", 1, 1, true).unwrap()));
        assert!(!response.answers(8, &Question::new("a.example", 1, 1, true).unwrap()));
        for end in 0..message.len() {
            assert!(Response::decode(&message[..end]).is_err());
            let mut broken = message.clone();
            broken[end] ^= 0xff;
            let _ = Response::decode(&broken);
        }
        let circle = b"\0\x07\x80\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01";
        assert_eq!(Response::decode(circle).unwrap_err(), "a name leads in circles");
    }
}
