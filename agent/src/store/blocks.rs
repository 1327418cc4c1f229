//! Bodies of blocks: which encoding each stream uses, and with which bounds.

use skerry_chunk::{EncodeError, Limits, LogBuilder, MetricBlock, MetricReader, Unpacker, dict};
use skerry_model::{Labels, Sample, SeriesId, TimeRange, UnixMillis};
use skerry_wire::{EVENTS_MAX, Event, codec};
use std::collections::BTreeMap;

/// Most rows in a block of samples, whatever the config says.
pub(super) const ROWS_MAX: usize = 1024;
/// Most cells (rows times series) in a block of samples of more than one row. Bounds the memory for encoding and
/// decoding it to 4 MiB.
pub(super) const CELLS_MAX: usize = 256 << 10;
/// What is read back: a little more than is ever written.
pub(super) const LIMITS: Limits = Limits {
    raw_bytes_max: 8 << 20,
    rows_max: ROWS_MAX,
    series_max: 100_000,
    cells_max: 1 << 20,
    records_max: 100_000,
};
/// Raw bytes after which a new log block is begun. Compressed or not, a block then fits one message.
pub(super) const LOG_BLOCK_BYTES_MAX: usize = 512 << 10;
/// Longest line that is kept; what is longer is cut and the rest stands in the ledger.
pub(super) const LINE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one block of events, encoded.
const EVENT_BLOCK_BYTES_MAX: usize = 256 << 10;
/// The block cannot be read, although its checksum holds or could not be checked.
#[derive(Debug, thiserror::Error)]
#[error("stored block cannot be read: {0}")]
pub(super) struct Unreadable(String);

impl Unreadable {
    pub(super) fn because(cause: impl ToString) -> Self {
        Self(cause.to_string())
    }
}

/// A block as it goes into the database.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) records: u32,
    pub(super) range: TimeRange,
    pub(super) high: Option<SeriesId>,
}

fn count(records: usize) -> u32 {
    u32::try_from(records).unwrap_or(u32::MAX)
}

/// Encodes samples. The block comes from [`super::head::block`], so it is within the encoding's bounds.
pub(super) fn metrics(block: &MetricBlock) -> Result<Body, Unreadable> {
    Ok(Body {
        bytes: block.encode().map_err(Unreadable::because)?,
        records: count(block.sample_count()),
        range: block.range().unwrap_or(TimeRange::at(UnixMillis(0))),
        high: block.columns.last().map(|column| column.series),
    })
}

/// Decodes samples.
pub(super) fn read_metrics(bytes: &[u8]) -> Result<MetricBlock, Unreadable> {
    MetricBlock::decode(bytes, &LIMITS).map_err(Unreadable::because)
}

/// Hands on the samples of some series in a block, with what `wanted` says of the series.
pub(super) fn read_samples<T: Copy>(
    unpacker: &mut Unpacker,
    bytes: &[u8],
    wanted: &BTreeMap<SeriesId, T>,
    mut each: impl FnMut(T, Sample),
) -> Result<(), Unreadable> {
    let reader = MetricReader::open_with(unpacker, bytes, &LIMITS).map_err(Unreadable::because)?;
    let mut hand_on = |told, at, value| each(told, Sample { at, value });
    // Finding one column is quicker than walking over all of them, up to a few.
    if wanted.len() <= 4 {
        for (id, told) in wanted {
            reader.samples(*id, |at, value| hand_on(*told, at, value)).map_err(Unreadable::because)?;
        }
        return Ok(());
    }
    reader.samples_of(|id| wanted.get(&id).copied(), hand_on).map_err(Unreadable::because)
}

/// Encodes log records at a zstd level.
pub(super) fn logs(block: &LogBuilder, level: i32) -> Result<Body, Unreadable> {
    Ok(Body {
        bytes: block.encode(level).map_err(Unreadable::because)?,
        records: count(block.len()),
        range: block.range().unwrap_or(TimeRange::at(UnixMillis(0))),
        high: None,
    })
}

/// Encodes events in as few blocks as fit the bounds. An event that alone exceeds a block is left out and counted.
pub(super) fn events(events: &[Event]) -> (Vec<Body>, usize) {
    let (mut bodies, mut oversize, mut rest) = (Vec::new(), 0, events);
    while !rest.is_empty() {
        let mut take = rest.len().min(EVENTS_MAX);
        let mut bytes = codec::encode(&&rest[..take]);
        while bytes.len() > EVENT_BLOCK_BYTES_MAX && take > 1 {
            take /= 2;
            bytes = codec::encode(&&rest[..take]);
        }
        let (now, later) = rest.split_at(take);
        rest = later;
        if bytes.len() > EVENT_BLOCK_BYTES_MAX {
            oversize += 1;
            continue;
        }
        let range = now.iter().map(|event| TimeRange::at(event.at)).reduce(TimeRange::cover);
        bodies.push(Body {
            bytes,
            records: count(now.len()),
            range: range.unwrap_or(TimeRange::at(UnixMillis(0))),
            high: None,
        });
    }
    (bodies, oversize)
}

/// Encodes dictionary entries, which come by rising id; nothing for none.
pub(super) fn dictionary(entries: &[(SeriesId, Labels)]) -> Result<Vec<u8>, EncodeError> {
    if entries.is_empty() { Ok(Vec::new()) } else { dict::encode(entries) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_wire::{EventKind, MESSAGE_BYTES_MAX};

    #[test]
    fn events_are_split_by_count_and_bytes_and_none_is_lost_unseen() {
        let event = |bytes: usize| Event {
            at: UnixMillis(1),
            kind: EventKind::CollectorFailed { collector: "c".into(), error: "x".repeat(bytes) },
        };
        let mut list: Vec<Event> = (0..EVENTS_MAX + 1).map(|_| event(10)).collect();
        list.push(event(EVENT_BLOCK_BYTES_MAX));
        list.extend((0..5).map(|_| event(100_000)));
        let (bodies, oversize) = events(&list);
        assert_eq!(oversize, 1);
        assert!(bodies.iter().all(|body| body.bytes.len() <= EVENT_BLOCK_BYTES_MAX));
        let read: Vec<Event> = bodies
            .iter()
            .flat_map(|body| codec::decode::<Vec<Event>>(&body.bytes, MESSAGE_BYTES_MAX).unwrap())
            .collect();
        list.remove(EVENTS_MAX + 1);
        assert_eq!(read, list);
        assert_eq!(bodies.iter().map(|body| body.records as usize).sum::<usize>(), list.len());
    }
}
