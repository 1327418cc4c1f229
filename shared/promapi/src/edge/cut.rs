//! What was found, cut into pieces.

use crate::{Found, Refusal};
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Point, Series, Value};
use skerry_wire::{AnswerPart, Done, LogEntry, POINT_BYTES, Packed, Piece, Points, ResultKind, SeriesPart, StreamPart};

/// Bytes after which a piece is closed; well below the longest one, so that the next item may still go over it.
const PIECE_BYTES: usize = 128 * 1024;
/// Points of a series in one item.
const POINTS_MAX: usize = 4096;
/// Bytes of a stream's records after which an item is closed.
const STREAM_BYTES: usize = 32 * 1024;
/// Bytes around an item, about.
const ITEM_BYTES: usize = 16;

/// An item of a result.
enum Item {
    Series(SeriesPart),
    Labels(Labels),
    Text(String),
    Logs(StreamPart),
}

fn label_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() + ITEM_BYTES
}

fn series_bytes(series: &Series) -> usize {
    label_bytes(&series.labels) + series.points.len() * POINT_BYTES
}

fn stream_bytes(stream: &StreamPart) -> usize {
    label_bytes(&stream.labels) + stream.entries.iter().map(LogEntry::bytes).sum::<usize>()
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Series(series) => label_bytes(&series.labels) + series.points.0.len() * POINT_BYTES,
            Self::Labels(labels) => label_bytes(labels),
            Self::Text(text) => text.len() + ITEM_BYTES,
            Self::Logs(stream) => stream_bytes(stream),
        }
    }
}

/// The parts of an answer, made one at a time.
pub struct Parts {
    items: Box<dyn Iterator<Item = Item> + Send>,
    number: u32,
    done: Option<Done>,
}

/// Cuts a result into the parts of an answer: its pieces, and the last word.
///
/// # Errors
/// [`Refusal`] where the result is longer than `bytes_max`.
pub fn parts(found: Found, bytes_max: u64) -> Result<Parts, Refusal> {
    let mut done = Done { kind: ResultKind::Texts, pieces: 0, warnings: Vec::new(), infos: Vec::new() };
    let (kind, bytes, items): (_, usize, Box<dyn Iterator<Item = Item> + Send>) = match found {
        Found::Answer { answer, .. } => {
            done.warnings = answer.annotations.warnings().map(str::to_owned).collect();
            done.infos = answer.annotations.infos().map(str::to_owned).collect();
            let (kind, all) = match answer.value {
                Value::Scalar(points) => (ResultKind::Scalar, vec![Series { labels: Labels::default(), points }]),
                Value::Vector(all) => (ResultKind::Vector, all),
                Value::Matrix(all) => (ResultKind::Matrix, all),
                Value::String(text) => {
                    let items = std::iter::once(Item::Text(text));
                    done.kind = ResultKind::String;
                    return Ok(Parts { items: boxed(items), number: 0, done: Some(done) });
                }
            };
            let bytes = all.iter().map(series_bytes).sum();
            (kind, bytes, boxed(all.into_iter().flat_map(cut)))
        }
        Found::Series(sets) => {
            let bytes = sets.iter().map(label_bytes).sum();
            (ResultKind::Series, bytes, boxed(sets.into_iter().map(Item::Labels)))
        }
        Found::Logs(streams) => {
            let bytes = streams.iter().map(stream_bytes).sum();
            (ResultKind::Logs, bytes, boxed(streams.into_iter().flat_map(cut_stream)))
        }
        Found::Texts(texts) => {
            let bytes = texts.iter().map(|text| text.len() + ITEM_BYTES).sum();
            (ResultKind::Texts, bytes, boxed(texts.into_iter().map(Item::Text)))
        }
        Found::Documents(all) => {
            let bytes = all.iter().map(|text| text.len() + ITEM_BYTES).sum();
            (ResultKind::Documents, bytes, boxed(all.into_iter().map(Item::Text)))
        }
    };
    if bytes as u64 > bytes_max {
        let text = format!(
            "the result has {bytes} bytes, at most {bytes_max} are sent; narrow the selectors, aggregate, or use a larger step"
        );
        return Err(Refusal { status: 422, kind: "execution", text });
    }
    done.kind = kind;
    Ok(Parts { items, number: 0, done: Some(done) })
}

fn boxed(items: impl Iterator<Item = Item> + Send + 'static) -> Box<dyn Iterator<Item = Item> + Send> {
    Box::new(items)
}

/// A series in items that are short enough.
fn cut(series: Series) -> Vec<Item> {
    let pair = |point: &Point| -> (UnixMillis, f64) { (point.at, point.value) };
    let item = |points: &[Point]| {
        let points = Points(points.iter().map(pair).collect());
        Item::Series(SeriesPart { labels: series.labels.clone(), points })
    };
    series.points.chunks(POINTS_MAX).map(item).collect()
}

/// A stream in items that are short enough: a piece has room for the longest line beside what fills it.
fn cut_stream(stream: StreamPart) -> Vec<Item> {
    let (mut items, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
    let item = |entries| Item::Logs(StreamPart { labels: stream.labels.clone(), entries });
    for entry in stream.entries {
        bytes += entry.bytes();
        entries.push(entry);
        if bytes >= STREAM_BYTES {
            items.push(item(std::mem::take(&mut entries)));
            bytes = 0;
        }
    }
    if !entries.is_empty() {
        items.push(item(entries));
    }
    items
}

impl Parts {
    /// The items of the next piece.
    fn piece(&mut self) -> Option<Piece> {
        let (mut series, mut sets, mut texts, mut logs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while bytes < PIECE_BYTES
            && let Some(item) = self.items.next()
        {
            bytes += item.bytes();
            match item {
                Item::Series(part) => series.push(part),
                Item::Labels(labels) => sets.push(labels),
                Item::Text(text) => texts.push(text),
                Item::Logs(stream) => logs.push(stream),
            }
        }
        match (bytes, series.is_empty(), sets.is_empty(), logs.is_empty()) {
            (0, ..) => None,
            (_, false, ..) => Some(Piece::Series(series)),
            (_, _, false, _) => Some(Piece::Labels(sets)),
            (_, _, _, false) => Some(Piece::Logs(logs)),
            _ => Some(Piece::Texts(texts)),
        }
    }
}

impl Iterator for Parts {
    type Item = AnswerPart;

    fn next(&mut self) -> Option<AnswerPart> {
        let Some(piece) = self.piece() else {
            return self.done.take().map(|done| AnswerPart::Done(Done { pieces: self.number, ..done }));
        };
        match Packed::pack(&piece) {
            Ok(piece) => {
                let number = self.number;
                self.number += 1;
                Some(AnswerPart::Result { number, piece })
            }
            Err(error) => {
                // No item is so long: labels and expressions have bounds of their own.
                self.done = None;
                self.items = boxed(std::iter::empty());
                Some(AnswerPart::Failed { kind: "internal".into(), reason: error.to_string() })
            }
        }
    }
}
