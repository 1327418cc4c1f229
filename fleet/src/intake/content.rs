//! Decodes and cuts the bodies of batches. What cannot be read is a [`Fault`]; nothing here panics on peer input.

use super::core::{LogRows, MetricRows};
use skerry_chunk::{DecodeError, Limits, LogBlock, MetricBlock};
use skerry_model::{Labels, Seq, SeriesId, TimeRange};
use skerry_wire::{Batch, Body, EVENTS_MAX, Event, MESSAGE_BYTES_MAX, codec};

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Short stable word.
    pub code: &'static str,
    /// For people.
    pub reason: String,
}

/// A metrics batch, read and cut to the numbers that are new.
pub(super) struct Metrics {
    /// The dictionary it carries, by rising id.
    pub dict: Vec<(SeriesId, Labels)>,
    /// Series that the new rows refer to, by rising id.
    pub series: Vec<SeriesId>,
    /// One block per hole.
    pub blocks: Vec<MetricRows>,
}

/// Reads a batch of samples and cuts it to `holes`, which lie within the batch.
pub(super) fn metrics(batch: &Batch, holes: &[(Seq, Seq)]) -> Result<Metrics, Fault> {
    let Body::Block(bytes) = &batch.body else {
        return Err(Fault { code: "no_block", reason: "a block of samples is expected".into() });
    };
    let dict = dictionary(&batch.dict)?;
    let block = MetricBlock::decode(bytes, &Limits::default()).map_err(|e| unreadable("block of samples", &e))?;
    let numbers = batch.to.0 - batch.from.0 + 1;
    if block.timestamps.len() as u64 != numbers {
        let reason = format!("{} rows for {numbers} numbers", block.timestamps.len());
        return Err(Fault { code: "row_count", reason });
    }
    if let [(from, to)] = holes
        && (*from, *to) == (batch.from, batch.to)
    {
        let series = block.columns.iter().map(|column| column.series).collect();
        let rows = rows(&block, *from, *to, bytes.clone());
        return Ok(Metrics { dict, series, blocks: vec![rows] });
    }
    let (mut series, mut blocks) = (Vec::new(), Vec::with_capacity(holes.len()));
    for (from, to) in holes {
        // Both differences are below the row count, which fits memory.
        let first = usize::try_from(from.0 - batch.from.0).unwrap_or(usize::MAX);
        let past = usize::try_from(to.0 - batch.from.0 + 1).unwrap_or(usize::MAX);
        let part = block.slice(first, past);
        let data =
            part.encode().map_err(|e| Fault { code: "block", reason: format!("cutting a block of samples: {e}") })?;
        series.extend(part.columns.iter().map(|column| column.series));
        blocks.push(rows(&part, *from, *to, data));
    }
    series.sort_unstable();
    series.dedup();
    Ok(Metrics { dict, series, blocks })
}

fn rows(block: &MetricBlock, from: Seq, to: Seq, data: Vec<u8>) -> MetricRows {
    // Timestamps go backwards where a clock was set back, so the ends are searched for.
    let first = block.timestamps.iter().min().copied().unwrap_or_default();
    let last = block.timestamps.iter().max().copied().unwrap_or_default();
    MetricRows { from, to, range: TimeRange { from: first, to: last }, samples: block.sample_count() as u64, data }
}

fn dictionary(bytes: &[u8]) -> Result<Vec<(SeriesId, Labels)>, Fault> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut dict = skerry_chunk::dict::decode(bytes, &Limits::default()).map_err(|e| unreadable("dictionary", &e))?;
    dict.sort_unstable();
    dict.dedup();
    match dict.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Fault { code: "dict_conflict", reason: format!("series {} stands twice", pair[0].0.0) }),
        None => Ok(dict),
    }
}

/// Reads a batch of log records: one number, one block.
pub(super) fn logs(batch: &Batch, bytes: &[u8]) -> Result<LogRows, Fault> {
    one_number(batch)?;
    let block = LogBlock::decode(bytes, &Limits::default()).map_err(|e| unreadable("block of log records", &e))?;
    let times = || block.records.iter().map(|record| record.at);
    Ok(LogRows {
        seq: batch.from,
        range: TimeRange { from: times().min().unwrap_or_default(), to: times().max().unwrap_or_default() },
        records: block.records.len() as u64,
        raw_bytes: block.records.iter().map(|record| record.line.len() as u64).sum(),
        data: bytes.to_vec(),
    })
}

/// Reads a batch of events: one number, at most [`EVENTS_MAX`] events.
pub(super) fn events(batch: &Batch, bytes: &[u8]) -> Result<Vec<Event>, Fault> {
    one_number(batch)?;
    let events: Vec<Event> = codec::decode(bytes, MESSAGE_BYTES_MAX)
        .map_err(|e| Fault { code: e.code(), reason: format!("events: {e}") })?;
    if events.len() > EVENTS_MAX {
        let reason = format!("{} events in one batch, at most {EVENTS_MAX} are taken", events.len());
        return Err(Fault { code: "too_many_events", reason });
    }
    Ok(events)
}

fn one_number(batch: &Batch) -> Result<(), Fault> {
    if batch.from == batch.to {
        return Ok(());
    }
    let reason = format!("numbers {}..={} for one block, which is one number", batch.from.0, batch.to.0);
    Err(Fault { code: "row_count", reason })
}

fn unreadable(what: &str, error: &DecodeError) -> Fault {
    Fault { code: "block", reason: format!("{what}: {error}") }
}
