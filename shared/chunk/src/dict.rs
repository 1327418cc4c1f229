//! Series dictionary: which labels a series id stands for.
//!
//! ```text
//! header   count varint     entries
//! body     strings varint, then each distinct name or value as length and bytes, in order of first use
//!          entries:  id       varint   distance to the id before (the first: to 0)
//!                    pairs    varint
//!                    pair     two varints: name and value as index into the strings
//! ```

use crate::bytes::{Cursor, put_bytes, put_varint};
use crate::frame::{self, Kind, Unpacker};
use crate::{DecodeError, EncodeError, Limits};
use skerry_model::{LABELS_MAX, Labels, SeriesId};
use std::collections::HashMap;

const KIND: Kind = Kind { magic: *b"SD", name: "dictionary", version: 1 };
const LEVEL: i32 = 3;

/// Writes entries in strictly rising order of ids.
///
/// # Errors
/// [`EncodeError::Unsorted`] where ids do not rise.
pub fn encode(entries: &[(SeriesId, Labels)]) -> Result<Vec<u8>, EncodeError> {
    let (mut strings, mut index, mut rows) = (Vec::new(), HashMap::<&str, u64>::new(), Vec::new());
    let mut previous = None;
    for (at, (id, labels)) in entries.iter().enumerate() {
        if previous.is_some_and(|before| before >= id.0) {
            return Err(EncodeError::Unsorted(at));
        }
        put_varint(&mut rows, u64::from(id.0 - previous.unwrap_or(0)));
        previous = Some(id.0);
        put_varint(&mut rows, labels.len() as u64);
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            let next = index.len() as u64;
            let number = *index.entry(text).or_insert_with(|| {
                put_bytes(&mut strings, text.as_bytes());
                next
            });
            put_varint(&mut rows, number);
        }
    }
    let mut raw = Vec::with_capacity(strings.len() + rows.len() + 4);
    put_varint(&mut raw, index.len() as u64);
    raw.extend_from_slice(&strings);
    raw.extend_from_slice(&rows);
    let mut header = Vec::new();
    put_varint(&mut header, entries.len() as u64);
    frame::seal(KIND, &header, &raw, LEVEL)
}

/// Reads entries, in rising order of ids.
///
/// # Errors
/// [`DecodeError`] where the bytes are no dictionary or exceed `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Vec<(SeriesId, Labels)>, DecodeError> {
    let mut header = frame::open(KIND, bytes)?;
    let count = header.count("number of entries", limits.series_max)?;
    let raw = frame::body(header, limits.raw_bytes_max, &mut Unpacker::new())?;
    let mut cursor = Cursor::new(&raw, "dictionary");
    let strings = cursor.count("number of strings", cursor.remaining())?;
    let strings = (0..strings).map(|_| cursor.text()).collect::<Result<Vec<_>, _>>()?;
    // An entry takes two bytes at least, so a count cannot make this larger than the body.
    let mut entries = Vec::with_capacity(count.min(cursor.remaining()));
    let mut id = 0u32;
    for at in 0..count {
        let step = u32::try_from(cursor.varint()?).map_err(|_| DecodeError::Invalid("series id"))?;
        if step == 0 && at > 0 {
            return Err(DecodeError::Invalid("series id"));
        }
        id = id.checked_add(step).ok_or(DecodeError::Invalid("series id"))?;
        let pairs = cursor.count("number of labels", LABELS_MAX)?;
        let mut text = || -> Result<&str, DecodeError> {
            let number = usize::try_from(cursor.varint()?).map_err(|_| DecodeError::Invalid("string number"))?;
            strings.get(number).copied().ok_or(DecodeError::Invalid("string number"))
        };
        let pairs = (0..pairs).map(|_| Ok((text()?, text()?))).collect::<Result<Vec<_>, DecodeError>>()?;
        let labels = Labels::new(pairs).map_err(|_| DecodeError::Invalid("label set"))?;
        entries.push((SeriesId(id), labels));
    }
    if cursor.remaining() > 0 {
        return Err(DecodeError::Invalid("dictionary length"));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skerry_model::LabelsBuilder;

    fn node_like() -> Vec<(SeriesId, Labels)> {
        let mut entries = Vec::new();
        for cpu in 0..8 {
            for mode in ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"] {
                let labels = LabelsBuilder::metric("node_cpu_seconds_total").label("cpu", cpu.to_string());
                entries.push(labels.label("mode", mode).build());
            }
        }
        for name in 0..400 {
            let metric = ["memory_Active", "disk_reads", "network_receive", "vmstat_pgfault"][name % 4];
            entries.push(LabelsBuilder::metric(&format!("node_{metric}_{}_bytes_total", name / 4)).build());
        }
        entries.into_iter().enumerate().map(|(id, labels)| (SeriesId(id as u32), labels)).collect()
    }

    #[test]
    fn entries_read_back_in_few_bytes() {
        let entries = node_like();
        let bytes = encode(&entries).unwrap();
        assert_eq!(decode(&bytes, &Limits::default()).unwrap(), entries);
        assert!(bytes.len() < entries.len() * 8, "{} bytes for {} series", bytes.len(), entries.len());
    }

    #[test]
    fn ids_must_rise() {
        let labels = LabelsBuilder::metric("up").build();
        let twice = [(SeriesId(3), labels.clone()), (SeriesId(3), labels)];
        assert_eq!(encode(&twice), Err(EncodeError::Unsorted(1)));
    }

    proptest! {
        #[test]
        fn any_labels_read_back(sets in proptest::collection::btree_map(any::<u32>(), proptest::collection::btree_map("[a-z_]{1,8}", ".{0,12}", 0..6), 0..30)) {
            let entries: Vec<_> = sets.into_iter().map(|(id, set)| (SeriesId(id), Labels::new(set).unwrap())).collect();
            prop_assert_eq!(decode(&encode(&entries).unwrap(), &Limits::default()).unwrap(), entries);
        }

        #[test]
        fn random_bodies_never_panic(count in 0u64..40, raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut header = Vec::new();
            put_varint(&mut header, count);
            let bytes = frame::seal(KIND, &header, &raw, LEVEL).unwrap();
            let _ = decode(&bytes, &Limits::default());
        }
    }
}
