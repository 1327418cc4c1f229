//! Questions about what a node keeps, and the form of their results.
//!
//! A result travels in numbered pieces, each small, packed on its own and whole, so that neither end ever holds more
//! than it has room for. The last word is [`Done`], which says how many pieces there were: a result with a piece missing
//! is none.

use crate::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use skerry_model::{Labels, UnixMillis};

/// Version of the questions that [`Hello::asks`](crate::Hello::asks) names.
pub const ASKS_VERSION: u16 = 3;
/// The first version that knows questions about logs.
pub const ASKS_LOGS_VERSION: u16 = 2;
/// The first version that knows questions about scaling.
pub const ASKS_SCALING_VERSION: u16 = 3;
/// Longest text of documents that a node tries out, in bytes: with what is around it, it fits into a message.
pub const SCALING_TEXT_BYTES_MAX: usize = 40 * 1024;
/// Longest message on `down/ask`, in bytes.
pub const ASK_BYTES_MAX: usize = 64 * 1024;
/// Longest piece of a result before it is packed, in bytes. The longest log line that is kept fits.
pub const PIECE_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a point in a piece.
pub const POINT_BYTES: usize = 16;
/// Level of zstd: pieces are made once and read once, on machines with little time.
const LEVEL: i32 = 1;

/// A question to be answered from the node's own store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAsk {
    /// The question.
    #[serde(rename = "q")]
    pub question: Question,
    /// Labels that the admins signed for the node. Its series bear them, and its name as `node`, while the question is
    /// answered, so that an expression means the same as at the centre.
    #[serde(rename = "l")]
    pub signed: Labels,
    /// The answer is of no use later than this after the question arrived. No moment, because clocks differ.
    #[serde(rename = "t")]
    pub timeout_ms: u32,
    /// Longest result before it is packed, in bytes; the node may have a lower limit.
    #[serde(rename = "b")]
    pub bytes_max: u32,
}

/// What is asked, checked as far as that goes without the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// PromQL at one moment.
    Instant {
        /// The expression.
        expr: String,
        /// When; without it now, by the clock that stamps the samples.
        at: Option<UnixMillis>,
        /// How far back a selector looks, where not as usual.
        lookback_ms: Option<u64>,
    },
    /// PromQL at many moments.
    Range {
        /// The expression.
        expr: String,
        /// First moment.
        start: UnixMillis,
        /// No moment after this one.
        end: UnixMillis,
        /// Distance of the moments.
        step_ms: u64,
        /// How far back a selector looks, where not as usual.
        lookback_ms: Option<u64>,
    },
    /// Label sets of series.
    Series(Scope),
    /// Names of labels.
    Labels(Scope),
    /// Values of a label.
    LabelValues {
        /// The label.
        name: String,
        /// Of which series.
        scope: Scope,
    },
    /// LogQL that finds log records.
    Logs {
        /// The query.
        query: String,
        /// First moment.
        start: UnixMillis,
        /// Last moment; it belongs to the range.
        end: UnixMillis,
        /// Most records.
        limit: u32,
        /// Whether the oldest are taken, and come first; else the newest.
        forward: bool,
    },
    /// LogQL that makes numbers of log records.
    LogMetric {
        /// The query.
        query: String,
        /// First moment.
        start: UnixMillis,
        /// No moment after this one.
        end: UnixMillis,
        /// Distance of the moments; zero: one moment, `start`.
        step_ms: u64,
    },
    /// Label sets of streams of log records.
    LogStreams {
        /// Selectors, of which one has to be met; empty: every stream.
        matches: Vec<String>,
        /// From when on.
        start: UnixMillis,
        /// Until when.
        end: UnixMillis,
    },
    /// How the node scales.
    Scaling(ScalingAsk),
}

impl Question {
    /// The version of questions that knows it.
    #[must_use]
    pub const fn version(&self) -> u16 {
        match self {
            Self::Logs { .. } | Self::LogMetric { .. } | Self::LogStreams { .. } => ASKS_LOGS_VERSION,
            Self::Scaling(_) => ASKS_SCALING_VERSION,
            _ => 1,
        }
    }
}

/// What is asked about scaling. The answer is documents: JSON objects, one text each, whose keys stand beside the
/// question; fields are only ever added. A key without a value is left out or null; times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalingAsk {
    /// Every policy as the last round left it, by name, from memory.
    ///
    /// `policy`, `target` (`KIND/NAME`), `priority`, `paused`, `min`, `max`, `current`, `desired`, `pending` (replicas
    /// without room), `decided_ms`, `scaled_ms`, `reason` (of the newest decision: which limit, window or rate decided),
    /// `error` (why nothing could be decided), `conditions` (list of `kind`, `status`, `reason`, `message`), `metrics`
    /// (list of `metric`, `current`, `target`, `replicas`, `error`, `note`) and `floors` (list of `replicas`, `why`).
    List,
    /// What one policy would do now: it is measured and decided afresh, and nothing is changed. As [`Self::List`], and
    /// with `text`: all of it for people.
    Explain {
        /// Its name.
        policy: String,
    },
    /// As [`Self::Explain`], for policies that the node need not have: every ScalingPolicy of a text.
    Try {
        /// The file, as faults name it.
        file: String,
        /// The documents; at most [`SCALING_TEXT_BYTES_MAX`].
        text: String,
    },
    /// What each container should have.
    ///
    /// `target` (`KIND/NAME` of what it belongs to), `container`, `policy`, `mode`, `cpu` and `memory` (objects of
    /// `target`, `lower`, `upper`, `uncapped`; thousandths of a core, bytes), `samples`, `containers` (how many of them are
    /// measured now).
    Recommend,
    /// Workloads and their containers.
    ///
    /// `workload`, `wanted`, `ready`, `updated`, `revision`, `condition`, `message`, `containers` (list of `name`,
    /// `image`, `state`, `reason`, `ready`, `restarts`, `since_ms`, `message`).
    Workloads,
}

/// Which series are looked through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Selectors, of which one has to be met; empty: every series.
    #[serde(rename = "m")]
    pub matches: Vec<String>,
    /// From when on.
    #[serde(rename = "f")]
    pub from: Option<UnixMillis>,
    /// Until when.
    #[serde(rename = "t")]
    pub to: Option<UnixMillis>,
}

/// Some series, label sets or texts of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Piece {
    /// Series with their points. A long series goes on in the next one with the same labels.
    #[serde(rename = "s")]
    Series(Vec<SeriesPart>),
    /// Label sets.
    #[serde(rename = "l")]
    Labels(Vec<Labels>),
    /// Names, values, or the one text of an expression that is one.
    #[serde(rename = "t")]
    Texts(Vec<String>),
    /// Log records by stream. A stream may stand in several.
    #[serde(rename = "r")]
    Logs(Vec<StreamPart>),
}

/// Records of a stream, in the order of the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPart {
    /// The stream's labels.
    #[serde(rename = "l")]
    pub labels: Labels,
    /// Its records.
    #[serde(rename = "e")]
    pub entries: Vec<LogEntry>,
}

/// A record as a query leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When.
    #[serde(rename = "t")]
    pub at: UnixMillis,
    /// The line.
    #[serde(rename = "m", with = "serde_bytes")]
    pub line: Vec<u8>,
    /// Structured metadata.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
    /// What the query took from the line.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub parsed: Vec<(String, String)>,
}

impl LogEntry {
    /// What it takes, in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pairs = |pairs: &[(String, String)]| pairs.iter().map(|(n, v)| n.len() + v.len() + 8).sum::<usize>();
        self.line.len() + pairs(&self.metadata) + pairs(&self.parsed) + 16
    }
}

/// Points of a series, by rising time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesPart {
    /// Its labels.
    #[serde(rename = "l")]
    pub labels: Labels,
    /// Its points, [`POINT_BYTES`] each.
    #[serde(rename = "p")]
    pub points: Points,
}

/// Points as one byte string: milliseconds and value, both little-endian, so that a value keeps all its bits and a
/// thousand points are one item of CBOR.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "serde_bytes::ByteBuf", into = "serde_bytes::ByteBuf")]
pub struct Points(pub Vec<(UnixMillis, f64)>);

/// A byte string that holds no whole number of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("points of {0} bytes, a multiple of {POINT_BYTES} is expected")]
pub struct InvalidPoints(usize);

impl From<Points> for serde_bytes::ByteBuf {
    fn from(points: Points) -> Self {
        let mut bytes = Vec::with_capacity(points.0.len() * POINT_BYTES);
        for (at, value) in points.0 {
            bytes.extend_from_slice(&at.0.to_le_bytes());
            bytes.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Self::from(bytes)
    }
}

impl TryFrom<serde_bytes::ByteBuf> for Points {
    type Error = InvalidPoints;

    fn try_from(bytes: serde_bytes::ByteBuf) -> Result<Self, InvalidPoints> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (pairs, odd) = words.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() {
            return Err(InvalidPoints(bytes.len()));
        }
        let point = |[at, value]: &[[u8; 8]; 2]| {
            (UnixMillis(i64::from_le_bytes(*at)), f64::from_bits(u64::from_le_bytes(*value)))
        };
        Ok(Self(pairs.iter().map(point).collect()))
    }
}

/// A [`Piece`], written and compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Its length before compression, in bytes; at most [`PIECE_BYTES_MAX`].
    #[serde(rename = "n")]
    raw_bytes: u32,
    #[serde(rename = "z", with = "serde_bytes")]
    zstd: Vec<u8>,
}

/// A piece that is longer than a piece may be, or that the compressor did not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a piece of {0} bytes cannot be packed")]
pub struct Unpackable(usize);

impl Packed {
    /// Writes and compresses a piece.
    ///
    /// # Errors
    /// [`Unpackable`].
    pub fn pack(piece: &Piece) -> Result<Self, Unpackable> {
        let raw = codec::encode(piece);
        let length = u32::try_from(raw.len()).ok().filter(|_| raw.len() <= PIECE_BYTES_MAX);
        let raw_bytes = length.ok_or(Unpackable(raw.len()))?;
        let zstd = zstd::bulk::compress(&raw, LEVEL).map_err(|_| Unpackable(raw.len()))?;
        Ok(Self { raw_bytes, zstd })
    }

    /// What it takes at most, packed or not, by its own word, which [`Self::unpack`] holds it to.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.raw_bytes).max(self.zstd.len() as u64)
    }

    /// Reads it back. What it becomes is bounded before anything is allocated.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn unpack(&self) -> Result<Piece, DecodeError> {
        let bytes = self.zstd.len();
        let fail = |cause: String| DecodeError::Compression { bytes, cause };
        let length = usize::try_from(self.raw_bytes).ok().filter(|length| *length <= PIECE_BYTES_MAX);
        let length = length.ok_or_else(|| fail(format!("{} bytes unpacked are too many", self.raw_bytes)))?;
        let raw = zstd::bulk::decompress(&self.zstd, length).map_err(|error| fail(error.to_string()))?;
        if raw.len() != length {
            return Err(fail(format!("{} bytes unpacked, {length} are announced", raw.len())));
        }
        codec::decode(&raw, PIECE_BYTES_MAX)
    }
}

/// What kind of result the pieces make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultKind {
    /// One series without labels: a number at each moment.
    Scalar,
    /// One text.
    String,
    /// Series with one point each, in the order of the expression where it sorts.
    Vector,
    /// Series with many points.
    Matrix,
    /// Label sets.
    Series,
    /// Names or values.
    Texts,
    /// Log records.
    Logs,
    /// JSON objects, one text each.
    Documents,
}

/// The last word on a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What the pieces make.
    #[serde(rename = "k")]
    pub kind: ResultKind,
    /// How many there were.
    #[serde(rename = "n")]
    pub pieces: u32,
    /// What the reader should know.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What the reader may want to know.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(points: Vec<(UnixMillis, f64)>) -> Piece {
        let labels = Labels::new([("__name__", "m"), ("a", "b")]).unwrap();
        Piece::Series(vec![SeriesPart { labels, points: Points(points) }])
    }

    #[test]
    fn pieces_read_back_with_every_bit() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let values = [1.5, -0.0, f64::INFINITY, stale];
        let points: Vec<_> = values.into_iter().enumerate().map(|(n, v)| (UnixMillis(n as i64 - 1), v)).collect();
        let packed = Packed::pack(&series(points.clone())).unwrap();
        let Piece::Series(read) = packed.unpack().unwrap() else { panic!("another piece") };
        let bits = |points: &[(UnixMillis, f64)]| points.iter().map(|(at, v)| (at.0, v.to_bits())).collect::<Vec<_>>();
        assert_eq!(bits(&read[0].points.0), bits(&points));
        let entry = LogEntry {
            at: UnixMillis(-5),
            line: vec![0xff, 0],
            metadata: vec![("pid".into(), "1".into())],
            parsed: vec![],
        };
        let logs = Piece::Logs(vec![StreamPart { labels: Labels::default(), entries: vec![entry] }]);
        assert_eq!(Packed::pack(&logs).unwrap().unpack().unwrap(), logs);
        let texts = Piece::Texts(vec!["a".into(), String::new()]);
        assert_eq!(Packed::pack(&texts).unwrap().unpack().unwrap(), texts);
    }

    #[test]
    fn what_a_piece_becomes_is_bounded_before_it_is_made() {
        assert!(Packed::pack(&Piece::Texts(vec!["x".repeat(PIECE_BYTES_MAX)])).is_err());
        let raw = codec::encode(&Piece::Texts(vec!["x".repeat(PIECE_BYTES_MAX)]));
        let zstd = zstd::bulk::compress(&raw, LEVEL).unwrap();
        for raw_bytes in [raw.len() as u32, u32::MAX, 10] {
            // A bomb: small on the wire, and its announced length too long or a lie.
            let error = Packed { raw_bytes, zstd: zstd.clone() }.unpack().unwrap_err();
            assert_eq!(error.code(), "compression", "{error}");
        }
        let odd = codec::encode(&serde_bytes::ByteBuf::from(vec![0; 17]));
        assert!(codec::decode::<Points>(&odd, 100).unwrap_err().to_string().contains("multiple of 16"));
    }

    #[test]
    fn questions_read_back() {
        let scope = Scope { matches: vec!["up".into()], from: Some(UnixMillis(-1)), to: None };
        let questions = [
            Question::Instant { expr: "up".into(), at: None, lookback_ms: Some(1) },
            Question::Range {
                expr: "up".into(),
                start: UnixMillis(1),
                end: UnixMillis(2),
                step_ms: 3,
                lookback_ms: None,
            },
            Question::Series(scope.clone()),
            Question::Labels(Scope::default()),
            Question::LabelValues { name: "job".into(), scope },
            Question::Logs {
                query: "{a=\"b\"}".into(),
                start: UnixMillis(1),
                end: UnixMillis(2),
                limit: 100,
                forward: true,
            },
            Question::LogMetric {
                query: "rate({a=\"b\"}[1m])".into(),
                start: UnixMillis(1),
                end: UnixMillis(1),
                step_ms: 0,
            },
            Question::LogStreams { matches: vec![], start: UnixMillis(1), end: UnixMillis(2) },
            Question::Scaling(ScalingAsk::List),
            Question::Scaling(ScalingAsk::Explain { policy: "web".into() }),
            Question::Scaling(ScalingAsk::Try { file: "web.yaml".into(), text: "kind: ScalingPolicy\n".into() }),
            Question::Scaling(ScalingAsk::Recommend),
            Question::Scaling(ScalingAsk::Workloads),
        ];
        for question in questions {
            let signed = Labels::new([("site", "lab")]).unwrap();
            let ask = QueryAsk { question, signed, timeout_ms: 10_000, bytes_max: 1 << 20 };
            assert_eq!(codec::decode::<QueryAsk>(&codec::encode(&ask), ASK_BYTES_MAX).unwrap(), ask);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(raw_bytes: u32, zstd in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Packed { raw_bytes, zstd }.unpack();
        }
    }
}
