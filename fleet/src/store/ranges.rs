//! Ranges of numbers as bytes: for each range the distance from the end of the one before, then its length, both as
//! LEB128. A stream without holes takes two to ten bytes.

use skerry_wire::SeqSet;

/// Writes a set.
pub(super) fn encode(set: &SeqSet) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    for (from, to) in set.ranges() {
        put(&mut bytes, from - at);
        put(&mut bytes, to - from);
        at = *to;
    }
    bytes
}

/// Reads a set; `None` where the bytes are none.
pub(super) fn decode(mut bytes: &[u8]) -> Option<SeqSet> {
    let (mut ranges, mut at) = (Vec::new(), 0u64);
    while !bytes.is_empty() {
        let from = at.checked_add(get(&mut bytes)?)?;
        let to = from.checked_add(get(&mut bytes)?)?;
        ranges.push((from, to));
        at = to;
    }
    Some(ranges.into())
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn get(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        if part > u64::MAX >> shift {
            return None;
        }
        number |= part << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_read_back(ranges in proptest::collection::vec((0u64..u64::MAX / 2, 0u64..1 << 40), 0..30)) {
            let set: SeqSet = ranges.iter().map(|(from, more)| (*from, from + more)).collect::<Vec<_>>().into();
            prop_assert_eq!(decode(&encode(&set)), Some(set));
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_stream_without_holes_is_small() {
        assert_eq!(encode(&vec![(1, 100_000)].into()).len(), 4);
        assert_eq!(decode(&[0x80]), None);
        assert_eq!(decode(&[0xff; 11]), None);
    }
}
