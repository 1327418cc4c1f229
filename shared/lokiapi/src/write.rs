//! JSON as Loki writes it: times of entries as texts of nanoseconds, values as texts, bytes that are no UTF-8 replaced.

use crate::asked::Found;
use crate::params::nanos;
use skerry_logql::{Entry, Pairs, Statistics, Stream, all_labels};
use skerry_model::{Labels, UnixMillis};
use skerry_promapi::{labels_json, seconds_json, series_json, text_json};
use skerry_promql::{Answer, Point, Series, Value, number_text};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Whether each entry tells its own labels apart from those of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// They stand together with the stream's: Loki's form unless the client asks for the other.
    Flat,
    /// They stand with the entry: `X-Loki-Response-Encoding-Flags: categorize-labels`.
    Categorized,
}

impl Encoding {
    /// Of the value of `X-Loki-Response-Encoding-Flags`, if any.
    #[must_use]
    pub fn of_header(value: Option<&str>) -> Self {
        let flags = value.unwrap_or_default().split(',').map(str::trim);
        if flags.into_iter().any(|flag| flag == "categorize-labels") { Self::Categorized } else { Self::Flat }
    }
}

pub(crate) fn success(data: &str) -> String {
    format!("{{\"status\":\"success\",\"data\":{data}}}")
}

/// A list of texts.
pub(crate) fn texts<'a>(items: impl Iterator<Item = &'a str>) -> String {
    success(&format!("[{}]", items.map(text_json).collect::<Vec<_>>().join(",")))
}

/// A list of label sets.
pub(crate) fn sets<'a>(sets: impl Iterator<Item = &'a Labels>) -> String {
    success(&format!("[{}]", sets.map(labels_json).collect::<Vec<_>>().join(",")))
}

/// How a result is written.
pub(crate) struct Form {
    pub(crate) encoding: Encoding,
    /// Entries of a stream that follow one within this time are left out.
    pub(crate) interval: Duration,
    /// Whether the answer is of many moments.
    pub(crate) is_range: bool,
}

/// The data of a query's answer.
pub(crate) fn result(found: Found, form: &Form, statistics: &Statistics, took: Duration) -> String {
    let data = match found {
        Found::Logs(streams) => log_result(thin(streams, form.interval), form.encoding),
        Found::Metric(answer) => metric_result(answer, form.is_range),
        Found::Streams(sets) => return self::sets(sets.iter()),
    };
    success(&format!("{{{data},\"stats\":{}}}", stats(statistics, took)))
}

fn thin(mut streams: Vec<Stream>, interval: Duration) -> Vec<Stream> {
    if interval.is_zero() {
        return streams;
    }
    for stream in &mut streams {
        let mut last: Option<UnixMillis> = None;
        stream.entries.retain(|entry| {
            let keeps = last.is_none_or(|last| u128::from(last.0.abs_diff(entry.at.0)) >= interval.as_millis());
            if keeps {
                last = Some(entry.at);
            }
            keeps
        });
    }
    streams
}

fn log_result(streams: Vec<Stream>, encoding: Encoding) -> String {
    let flags = if encoding == Encoding::Categorized { "\"encodingFlags\":[\"categorize-labels\"]," } else { "" };
    format!("\"resultType\":\"streams\",{flags}\"result\":{}", stream_list(&streams, encoding))
}

/// Streams with their entries.
pub(crate) fn stream_list(streams: &[Stream], encoding: Encoding) -> String {
    let list: Vec<String> = match encoding {
        Encoding::Categorized => {
            let one = |stream: &Stream| {
                let values: Vec<String> = stream.entries.iter().map(categorized).collect();
                format!("{{\"stream\":{},\"values\":[{}]}}", labels_json(&stream.labels), values.join(","))
            };
            streams.iter().map(one).collect()
        }
        Encoding::Flat => {
            let mut flat: BTreeMap<Pairs, Vec<String>> = BTreeMap::new();
            for stream in streams {
                for entry in &stream.entries {
                    let labels = all_labels(&stream.labels, &entry.metadata, &entry.parsed);
                    flat.entry(labels).or_default().push(format!("[{}]", pair(entry)));
                }
            }
            flat.iter()
                .map(|(labels, values)| format!("{{\"stream\":{},\"values\":[{}]}}", pairs(labels), values.join(",")))
                .collect()
        }
    };
    format!("[{}]", list.join(","))
}

fn pair(entry: &Entry) -> String {
    format!("\"{}\",{}", nanos(entry.at), text_json(&String::from_utf8_lossy(&entry.line)))
}

fn categorized(entry: &Entry) -> String {
    let mut own = Vec::new();
    for (name, held) in [("structuredMetadata", &entry.metadata), ("parsed", &entry.parsed)] {
        if !held.is_empty() {
            own.push(format!("\"{name}\":{}", pairs(held)));
        }
    }
    format!("[{},{{{}}}]", pair(entry), own.join(","))
}

fn pairs(pairs: &Pairs) -> String {
    let all: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}:{}", text_json(name), text_json(value))).collect();
    format!("{{{}}}", all.join(","))
}

fn metric_result(Answer { value, .. }: Answer, is_range: bool) -> String {
    let scalar = |point: &Point| format!("[{},\"{}\"]", seconds_json(point.at), number_text(point.value));
    let list = |all: &[Series], is_single| {
        let (object, _) = series_json(all, is_single, None);
        // An object, whose members are put into the one around it.
        object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().to_owned()
    };
    match value {
        Value::Scalar(points) if is_range => list(&[Series { labels: Labels::default(), points }], false),
        Value::Scalar(points) => {
            let point = points.first().map(scalar).unwrap_or_default();
            format!("\"resultType\":\"scalar\",\"result\":{point}")
        }
        Value::Vector(all) => list(&all, true),
        Value::Matrix(all) => list(&all, false),
        Value::String(text) => format!("\"resultType\":\"string\",\"result\":{}", text_json(&text)),
    }
}

/// How much was looked at, as far as Loki's clients show it.
fn stats(statistics: &Statistics, took: Duration) -> String {
    let Statistics { blocks_offered, blocks_read, lines, bytes, lines_kept, entries } = statistics;
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rate")]
    let rate = |amount: u64| if seconds > 0.0 { (amount as f64 / seconds) as u64 } else { 0 };
    let mut text = String::new();
    let _ = write!(
        text,
        "{{\"summary\":{{\"bytesProcessedPerSecond\":{},\"linesProcessedPerSecond\":{},\"totalBytesProcessed\":{bytes},\
         \"totalLinesProcessed\":{lines},\"execTime\":{seconds},\"queueTime\":0,\"subqueries\":0,\
         \"totalEntriesReturned\":{entries},\"splits\":0,\"shards\":0,\"totalPostFilterLines\":{lines_kept},\
         \"totalStructuredMetadataBytesProcessed\":0}},\"querier\":{{\"store\":{{\"totalChunksRef\":{blocks_offered},\
         \"totalChunksDownloaded\":{blocks_read},\"chunksDownloadTime\":0,\"chunk\":{{\"headChunkBytes\":0,\
         \"headChunkLines\":0,\"decompressedBytes\":{bytes},\"decompressedLines\":{lines},\"compressedBytes\":0,\
         \"totalDuplicates\":0}}}}}},\"ingester\":{{\"totalReached\":0,\"totalChunksMatched\":0,\"totalBatches\":0,\
         \"totalLinesSent\":0,\"store\":{{\"totalChunksRef\":0,\"totalChunksDownloaded\":0,\"chunksDownloadTime\":0,\
         \"chunk\":{{\"headChunkBytes\":0,\"headChunkLines\":0,\"decompressedBytes\":0,\"decompressedLines\":0,\
         \"compressedBytes\":0,\"totalDuplicates\":0}}}}}}}}",
        rate(*bytes),
        rate(*lines),
    );
    text
}
