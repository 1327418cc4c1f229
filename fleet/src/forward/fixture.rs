//! Records for the tests of the encoders.

use super::record::Entry;
use crate::store::FoundBlock;
use skerry_chunk::LogBlock;
use skerry_model::{Epoch, Labels, Level, LogRecord, OutputStream, Seq, TimeRange, UnixMillis};
use std::sync::Arc;

pub(super) fn record(at: i64, level: Level, line: &[u8]) -> LogRecord {
    LogRecord {
        at: UnixMillis(at),
        labels: Labels::new([("source", "app")]).unwrap(),
        output: OutputStream::Stderr,
        level,
        fields: Labels::default(),
        line: line.to_vec(),
    }
}

pub(super) fn block(records: &[LogRecord]) -> FoundBlock {
    let data = LogBlock { records: records.to_vec() }.encode(3).unwrap();
    let range = TimeRange { from: records[0].at, to: records[records.len() - 1].at };
    let count = records.len() as u64;
    FoundBlock { epoch: Epoch(9), seq: Seq(4), received: UnixMillis(100), records: count, range, data }
}

/// Record `index` of a block, at a time with milliseconds, with fields.
pub(super) fn entry(index: u32, line: &[u8]) -> Entry {
    let labels = [("source", "app"), ("container", "web"), ("node", "pi"), ("level", "warn"), ("filename", "/v/a.log")];
    Entry {
        queue: 3,
        index,
        block: (0xabc, 4),
        node: "pi".parse().unwrap(),
        labels: Arc::new(Labels::new(labels).unwrap()),
        at: UnixMillis(1_800_000_000_123),
        received: UnixMillis(1_800_000_001_000),
        level: Level::Warn,
        fields: Labels::new([("pid", "7"), ("trace_id", "0102030405060708090a0b0c0d0e0f10")]).unwrap(),
        line: line.to_vec(),
    }
}
