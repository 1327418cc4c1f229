//! Strict check of untrusted CBOR before any decoder sees it.
//!
//! Decoders differ in what they forgive: repeated keys, long forms of short numbers, lengths that end "somewhere".
//! Two readers that forgive differently can be shown two different documents under one signature. So bytes from a peer
//! must first be in the deterministic form of RFC 8949 section 4.2.1; whatever reads them afterwards has one way to.
//!
//! Invariants:
//! - The check is iterative and allocates at most [`Limits::depth_max`] stack entries, whatever the bytes say.
//! - What passes is one data item, whole: heads in shortest form, definite lengths, map keys unique and in bytewise
//!   order, text in UTF-8, no trailing bytes, no tag but those listed, of the simple values false, true and null alone.
//! - Floating-point numbers are taken in any of the three widths: the writers in use differ, and no number here names
//!   or authorises anything.

use std::ops::Range;

/// What is taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Most bytes in all.
    pub bytes_max: usize,
    /// Most arrays, maps and tags inside each other.
    pub depth_max: usize,
    /// Most data items (heads) in all.
    pub items_max: usize,
    /// Tags that may stand in the document.
    pub tags: &'a [u64],
}

/// Why bytes are not acceptable. Offsets count bytes from the start of the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than allowed: nothing was read.
    #[error("{bytes} bytes, at most {bytes_max} are taken")]
    TooLong {
        /// Length found.
        bytes: usize,
        /// Length allowed.
        bytes_max: usize,
    },
    /// The document ends inside an item.
    #[error("the document ends inside an item that begins at offset {0}")]
    Truncated(usize),
    /// Bytes follow the document.
    #[error("bytes follow the document from offset {0} on")]
    Trailing(usize),
    /// Nested too deeply.
    #[error("nested too deeply at offset {0}")]
    TooDeep(usize),
    /// Too many items.
    #[error("too many items at offset {0}")]
    TooManyItems(usize),
    /// A head uses a reserved value or the break code.
    #[error("reserved or misplaced head at offset {0}")]
    Reserved(usize),
    /// A length or number is not in its shortest form.
    #[error("number not in shortest form at offset {0}")]
    NotShortest(usize),
    /// An item of indefinite length.
    #[error("indefinite length at offset {0}")]
    Indefinite(usize),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8 at offset {0}")]
    Text(usize),
    /// A tag that is not listed.
    #[error("tag {tag} is not expected at offset {at}")]
    Tag {
        /// Its number.
        tag: u64,
        /// Where it stands.
        at: usize,
    },
    /// A simple value other than false, true and null.
    #[error("simple value {value} is not expected at offset {at}")]
    Simple {
        /// Its number.
        value: u64,
        /// Where it stands.
        at: usize,
    },
    /// A map key stands twice.
    #[error("map key at offset {0} stands twice")]
    DuplicateKey(usize),
    /// Map keys are not in bytewise order.
    #[error("map key at offset {0} is out of order")]
    UnsortedKey(usize),
}

/// An open array, map or tag.
struct Frame {
    /// Items still to come; for a map keys and values count one each.
    left: u64,
    /// For a map: where the current and the previous key's bytes lie.
    map: Option<Keys>,
}

#[derive(Default)]
struct Keys {
    begun: usize,
    previous: Option<Range<usize>>,
}

/// Checks one document.
///
/// # Errors
/// [`Fault`], the first one met.
pub fn check(bytes: &[u8], limits: &Limits<'_>) -> Result<(), Fault> {
    if bytes.len() > limits.bytes_max {
        return Err(Fault::TooLong { bytes: bytes.len(), bytes_max: limits.bytes_max });
    }
    let mut open: Vec<Frame> = Vec::new();
    let (mut at, mut items) = (0, 0);
    loop {
        let start = at;
        items += 1;
        if items > limits.items_max {
            return Err(Fault::TooManyItems(start));
        }
        let head = Head::read(bytes, start)?;
        at = head.end;
        let children = match head.major {
            2 | 3 => {
                let body = usize::try_from(head.value).ok().and_then(|len| bytes.get(at..)?.get(..len));
                let body = body.ok_or(Fault::Truncated(start))?;
                if head.major == 3 && std::str::from_utf8(body).is_err() {
                    return Err(Fault::Text(start));
                }
                at += body.len();
                None
            }
            4 => Some((head.value, false)),
            5 => Some((head.value.checked_mul(2).ok_or(Fault::Truncated(start))?, true)),
            6 if !limits.tags.contains(&head.value) => return Err(Fault::Tag { tag: head.value, at: start }),
            6 => Some((1, false)),
            7 if !head.is_float && !(20..=22).contains(&head.value) => {
                return Err(Fault::Simple { value: head.value, at: start });
            }
            _ => None,
        };
        match children {
            Some((left, is_map)) if left > 0 => {
                if open.len() >= limits.depth_max {
                    return Err(Fault::TooDeep(start));
                }
                let map = is_map.then_some(Keys { begun: at, previous: None });
                open.push(Frame { left, map });
                continue;
            }
            _ => {}
        }
        // An item has ended: it may be a key, and may end what it stands in.
        loop {
            let Some(frame) = open.last_mut() else {
                return if at == bytes.len() { Ok(()) } else { Err(Fault::Trailing(at)) };
            };
            if let Some(keys) = &mut frame.map {
                if frame.left % 2 == 0 {
                    keys.end_key(bytes, at)?;
                } else {
                    keys.begun = at;
                }
            }
            frame.left -= 1;
            if frame.left > 0 {
                break;
            }
            open.pop();
        }
    }
}

impl Keys {
    fn end_key(&mut self, bytes: &[u8], end: usize) -> Result<(), Fault> {
        let key = self.begun..end;
        if let Some(previous) = &self.previous {
            match bytes[previous.clone()].cmp(&bytes[key.clone()]) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(Fault::DuplicateKey(key.start)),
                std::cmp::Ordering::Greater => return Err(Fault::UnsortedKey(key.start)),
            }
        }
        self.previous = Some(key);
        Ok(())
    }
}

/// First bytes of an item: its type and its number or length.
struct Head {
    major: u8,
    value: u64,
    is_float: bool,
    end: usize,
}

impl Head {
    fn read(bytes: &[u8], at: usize) -> Result<Self, Fault> {
        let first = *bytes.get(at).ok_or(Fault::Truncated(at))?;
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            0..=23 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 if (2..=5).contains(&major) => return Err(Fault::Indefinite(at)),
            _ => return Err(Fault::Reserved(at)),
        };
        let tail = bytes.get(at + 1..).and_then(|rest| rest.get(..width)).ok_or(Fault::Truncated(at))?;
        let value = if width == 0 { u64::from(info) } else { tail.iter().fold(0, |n, b| n << 8 | u64::from(*b)) };
        let is_float = major == 7 && width > 1;
        let least = [0, 24, 1 << 8, 0, 1 << 16, 0, 0, 0, 1 << 32][width];
        if !is_float && value < least {
            return Err(Fault::NotShortest(at));
        }
        Ok(Self { major, value, is_float, end: at + 1 + width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits<'_> = Limits { bytes_max: 4096, depth_max: 4, items_max: 64, tags: &[98] };

    fn verdict(hex: &str) -> Result<(), Fault> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        check(&bytes, &LIMITS)
    }

    #[test]
    fn deterministic_documents_pass() {
        for good in [
            "00",
            "17",
            "1818",
            "19 0100",
            "1a 00010000",
            "1b 0000000100000000",
            "20",
            "40",
            "60",
            "80",
            "a0",
            "f4",
            "f5",
            "f6",
            "f9 3c00",
            "fa 00000000",
            "fb 7ff0000000000002",
            "d8 62 80",
            "43 010203",
            "62 c3a9",
            "83 01 02 03",
            "a2 01 02 03 04",
            "a2 01 a1 01 02 02 81 05",
            "a2 6161 01 6162 02",
            "81 81 81 81 00",
        ] {
            assert_eq!(verdict(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn everything_else_is_named() {
        let cases = [
            ("", Fault::Truncated(0)),
            ("18", Fault::Truncated(0)),
            ("42 01", Fault::Truncated(0)),
            ("82 01", Fault::Truncated(2)),
            ("5b ffffffffffffffff 00", Fault::Truncated(0)),
            ("bb ffffffffffffffff", Fault::Truncated(0)),
            ("00 00", Fault::Trailing(1)),
            ("81 81 81 81 81 00", Fault::TooDeep(4)),
            ("1c", Fault::Reserved(0)),
            ("1f", Fault::Reserved(0)),
            ("ff", Fault::Reserved(0)),
            ("18 17", Fault::NotShortest(0)),
            ("19 00ff", Fault::NotShortest(0)),
            ("1a 0000ffff", Fault::NotShortest(0)),
            ("1b 00000000ffffffff", Fault::NotShortest(0)),
            ("58 01 00", Fault::NotShortest(0)),
            ("5f 40 ff", Fault::Indefinite(0)),
            ("9f ff", Fault::Indefinite(0)),
            ("bf ff", Fault::Indefinite(0)),
            ("61 ff", Fault::Text(0)),
            ("c0 00", Fault::Tag { tag: 0, at: 0 }),
            ("f7", Fault::Simple { value: 23, at: 0 }),
            ("f8 20", Fault::Simple { value: 32, at: 0 }),
            ("a2 01 00 01 00", Fault::DuplicateKey(3)),
            ("a2 02 00 01 00", Fault::UnsortedKey(3)),
            ("a2 6162 00 6161 00", Fault::UnsortedKey(4)),
            ("81 a2 81 01 00 81 01 00", Fault::DuplicateKey(5)),
        ];
        for (bad, fault) in cases {
            assert_eq!(verdict(bad), Err(fault), "{bad}");
        }
        assert!(matches!(check(&[0; 5000], &LIMITS), Err(Fault::TooLong { bytes: 5000, .. })));
        let many = [[0x98, 70].as_slice(), &[0; 70]].concat();
        assert!(matches!(check(&many, &LIMITS), Err(Fault::TooManyItems(_))));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(&bytes, &LIMITS);
        }

        #[test]
        fn every_proper_prefix_is_refused(numbers in proptest::collection::vec(any::<u16>(), 1..20)) {
            let mut bytes = vec![0x80 + u8::try_from(numbers.len()).unwrap()];
            for number in &numbers {
                bytes.push(0x42);
                bytes.extend(number.to_be_bytes());
            }
            prop_assert_eq!(check(&bytes, &LIMITS), Ok(()));
            for cut in 0..bytes.len() {
                prop_assert!(check(&bytes[..cut], &LIMITS).is_err());
            }
        }
    }
}
