//! A node's data for tests: what each number holds follows from the number alone.

use skerry_chunk::{Column, LogBlock, MetricBlock};
use skerry_model::{
    Epoch, Labels, LabelsBuilder, Level, LogRecord, LossReason, NodeId, OutputStream, Seq, SeriesId, StreamKind,
    TimeRange, UnixMillis,
};
use skerry_wire::{Batch, Body, Event, Gone, Hello, HostFacts, PROTOCOL_VERSION, StreamTip, codec};

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// When scrape `n` was taken.
pub(crate) fn at(n: u64) -> UnixMillis {
    UnixMillis(1_700_000_000_000 + i64::try_from(n).unwrap() * 15_000)
}

/// Series in scrape `n`: three that are always there, and one that lives for three scrapes.
pub(crate) fn series(n: u64) -> Vec<SeriesId> {
    let short = 4 + u32::try_from(n / 3).unwrap();
    [1, 2, 3, short].map(SeriesId).to_vec()
}

pub(crate) fn labels(id: SeriesId) -> Labels {
    LabelsBuilder::metric(&format!("metric_{}", id.0 % 5)).label("id", id.0.to_string()).build()
}

pub(crate) fn value(n: u64, id: SeriesId) -> f64 {
    n as f64 * 100.0 + f64::from(id.0)
}

pub(crate) fn block(from: u64, to: u64) -> MetricBlock {
    let mut ids: Vec<SeriesId> = (from..=to).flat_map(series).collect();
    ids.sort_unstable();
    ids.dedup();
    let column = |id: SeriesId| Column {
        series: id,
        values: (from..=to).map(|n| series(n).contains(&id).then(|| value(n, id))).collect(),
    };
    MetricBlock { timestamps: (from..=to).map(at).collect(), columns: ids.into_iter().map(column).collect() }
}

/// Scrapes `from..=to`, with the dictionary entries above `known` that they need.
pub(crate) fn metrics(epoch: u64, from: u64, to: u64, known: Option<SeriesId>) -> Batch {
    let block = block(from, to);
    let highest = block.columns.last().unwrap().series;
    let entries: Vec<(SeriesId, Labels)> =
        (1..=highest.0).map(SeriesId).filter(|id| Some(*id) > known).map(|id| (id, labels(id))).collect();
    let dict = if entries.is_empty() { Vec::new() } else { skerry_chunk::dict::encode(&entries).unwrap() };
    Batch { epoch: Epoch(epoch), from: Seq(from), to: Seq(to), dict, body: Body::Block(block.encode().unwrap()) }
}

/// Three lines per number; all lines of a number bear one time.
pub(crate) fn log_records(n: u64) -> Vec<LogRecord> {
    (0..3)
        .map(|i| LogRecord {
            at: at(n),
            labels: Labels::new([("source", if i == 1 { "b" } else { "a" })]).unwrap(),
            output: OutputStream::None,
            level: if i == 2 { Level::Error } else { Level::Info },
            fields: Labels::default(),
            line: format!("line {n} part {i} end").into_bytes(),
        })
        .collect()
}

pub(crate) fn logs(epoch: u64, n: u64) -> Batch {
    one(epoch, n, LogBlock { records: log_records(n) }.encode(3).unwrap())
}

pub(crate) fn events(epoch: u64, n: u64, events: &Vec<Event>) -> Batch {
    one(epoch, n, codec::encode(events))
}

pub(crate) fn one(epoch: u64, n: u64, bytes: Vec<u8>) -> Batch {
    Batch { epoch: Epoch(epoch), from: Seq(n), to: Seq(n), dict: Vec::new(), body: Body::Block(bytes) }
}

pub(crate) fn gone(epoch: u64, from: u64, to: u64) -> Batch {
    let gone = Gone { reason: LossReason::Retention, range: TimeRange { from: at(from), to: at(to) } };
    Batch { epoch: Epoch(epoch), from: Seq(from), to: Seq(to), dict: Vec::new(), body: Body::Gone(gone) }
}

pub(crate) fn hello(streams: &[(StreamKind, u64)]) -> Hello {
    let tip = |(stream, epoch): &(StreamKind, u64)| StreamTip { stream: *stream, epoch: Epoch(*epoch), next: Seq(9) };
    Hello {
        protocol: PROTOCOL_VERSION,
        agent_version: "0.1.0".into(),
        boot_id: "b".into(),
        session: 7,
        host: HostFacts::default(),
        streams: streams.iter().map(tip).collect(),
        configs: Vec::new(),
        assignment: None,
        root_version: 0,
        at: at(0),
        time_trusted: true,
        asks: 0,
    }
}
