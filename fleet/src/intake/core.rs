//! Decides what of a batch is taken, without I/O, clock or randomness.
//!
//! A batch covers the numbers `from..=to` of one epoch. The node may send any number again, in batches that begin and
//! end elsewhere; so a batch is cut down to the numbers that are not held yet, and those are handed to a [`Ledger`]
//! together with the stream's new state. The ledger makes both durable in one transaction; only then may the
//! [`Outcome`]'s acknowledgement leave. The server's ledger is SQLite, the simulation's is
//! [`MemoryLedger`](super::MemoryLedger): both run this very code.
//!
//! Invariants:
//! - Content and the numbers it covers reach the ledger in one call: neither is ever there without the other.
//! - An acknowledgement names only numbers that the ledger holds.
//! - A metrics batch is taken only if every series it refers to has its labels in the ledger or in the batch.
//! - Bytes that cannot be decoded never stop a stream: they go to quarantine and their numbers count as held.

use super::content::{self, Fault};
use skerry_model::{Epoch, Labels, NodeId, Seq, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{ACK_RANGES_MAX, Ack, Batch, Body, Event, Gone, SeqSet, StreamTip};

/// Most epochs of one stream of a node that may be open at once. A node opens one per unclean stop, and closes those
/// that are acknowledged with its next hello; so this is the number of power cuts that one time offline may bring.
pub const EPOCHS_OPEN_MAX: usize = 512;
/// Most ranges that the held numbers of one epoch may fall into.
pub const RANGES_MAX: usize = 1024;
/// Most numbers in one batch that carries data. A batch of gone numbers may be of any length.
pub const BATCH_NUMBERS_MAX: u64 = 100_000;
/// Highest number of an epoch.
pub const SEQ_MAX: Seq = Seq(1 << 62);
/// Most series one epoch of a node may have.
pub const SERIES_MAX: u64 = 1_000_000;

/// Names one epoch of one stream of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// Whose.
    pub node: NodeId,
    /// Which stream.
    pub stream: StreamKind,
    /// Which incarnation of it.
    pub epoch: Epoch,
}

/// What is held of one epoch of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamState {
    /// Numbers that are held, given up by the node, or in quarantine.
    pub have: SeqSet,
    /// Ids of the series whose labels are held (metrics alone).
    pub series: SeqSet,
}

impl StreamState {
    /// The acknowledgement of what is held; the lowest [`ACK_RANGES_MAX`] ranges of it.
    #[must_use]
    pub fn ack(&self, key: &StreamKey) -> Ack {
        let lowest = self.have.ranges().iter().take(ACK_RANGES_MAX).copied().collect::<Vec<_>>();
        Ack { stream: key.stream, epoch: key.epoch, have: lowest.into(), dict: self.dict() }
    }

    /// Highest series id held. The node's ids rise, and it sends every entry above the watermark it was told.
    #[must_use]
    pub fn dict(&self) -> Option<SeriesId> {
        self.series.ranges().last().and_then(|(_, to)| u32::try_from(*to).ok()).map(SeriesId)
    }

    fn has_series(&self, id: SeriesId) -> bool {
        self.series.contains(Seq(u64::from(id.0)))
    }
}

/// Where taken content becomes durable. All calls between two commits of the implementation are one transaction.
pub trait Ledger {
    /// Why the ledger failed. The transaction is then to be rolled back and nothing of it acknowledged.
    type Error;

    /// State of one epoch, with all that this transaction took already; `None` where nothing of it is known.
    ///
    /// # Errors
    /// The implementation's.
    fn load(&mut self, key: &StreamKey) -> Result<Option<StreamState>, Self::Error>;

    /// How many epochs of this stream of the node are open.
    ///
    /// # Errors
    /// The implementation's.
    fn epochs_open(&mut self, node: &NodeId, stream: StreamKind) -> Result<usize, Self::Error>;

    /// Labels of a series of this epoch, where they are held.
    ///
    /// # Errors
    /// The implementation's.
    fn series(&mut self, key: &StreamKey, id: SeriesId) -> Result<Option<Labels>, Self::Error>;

    /// Adds content and replaces the state of its epoch.
    ///
    /// # Errors
    /// The implementation's.
    fn take(&mut self, taken: Taken) -> Result<(), Self::Error>;
}

/// Content to be made durable together with the state after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Which epoch of which stream.
    pub key: StreamKey,
    /// Its state with this content.
    pub state: StreamState,
    /// The content.
    pub content: Content,
    /// When it came in, by the fleet's clock.
    pub received: UnixMillis,
}

/// What is taken from one batch: only numbers that were not held before.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Rows of samples.
    Metrics {
        /// Labels of series that were not held before.
        dict: Vec<(SeriesId, Labels)>,
        /// One block per hole that the batch fills, lowest numbers first.
        blocks: Vec<MetricRows>,
    },
    /// One block of log records.
    Logs(LogRows),
    /// What one number of the events stream holds, in order.
    Events {
        /// The number.
        seq: Seq,
        /// The events.
        events: Vec<Event>,
    },
    /// Numbers that the node gave up.
    Gone {
        /// Which, lowest first.
        ranges: Vec<(Seq, Seq)>,
        /// Why, and when they were taken.
        gone: Gone,
    },
    /// A batch that nobody can read, kept for those who look into it.
    Quarantined {
        /// The numbers it closes, lowest first.
        ranges: Vec<(Seq, Seq)>,
        /// Short stable word for what is wrong.
        code: &'static str,
        /// What is wrong, for people.
        reason: String,
        /// The batch, as `skerry_wire::codec` writes it.
        bytes: Vec<u8>,
    },
}

/// A block of samples; one number per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricRows {
    /// Number of the first row.
    pub from: Seq,
    /// Number of the last row.
    pub to: Seq,
    /// When the rows were taken.
    pub range: TimeRange,
    /// How many values the block holds.
    pub samples: u64,
    /// The block as `skerry_chunk` encodes it.
    pub data: Vec<u8>,
}

/// A block of log records, which is one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRows {
    /// The number.
    pub seq: Seq,
    /// Lowest and highest time of its records.
    pub range: TimeRange,
    /// How many records.
    pub records: u64,
    /// Bytes of all lines.
    pub raw_bytes: u64,
    /// The block as `skerry_chunk` encodes it.
    pub data: Vec<u8>,
}

/// What became of a batch, and what the node is to be told once the ledger has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What is held now.
    pub ack: Ack,
    /// What became of the batch.
    pub verdict: Verdict,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, as a whole or in part.
    Stored {
        /// Numbers that were new.
        numbers: u64,
        /// Numbers of the batch that were held already.
        repeated: u64,
        /// Samples, log lines or events that were new.
        records: u64,
    },
    /// All of it was held already.
    Duplicate,
    /// Numbers that the node gave up are closed.
    Gone {
        /// How many numbers.
        numbers: u64,
    },
    /// Not taken: the labels of this series are neither held nor carried. The acknowledgement's watermark stands
    /// below it, so that the node sends the batch again with its dictionary.
    NeedsDict {
        /// Lowest series without labels.
        series: SeriesId,
    },
    /// Kept aside, since it cannot be read; its numbers are closed.
    Quarantined {
        /// Short stable word.
        code: &'static str,
        /// For people.
        reason: String,
    },
    /// Not taken, and never will be as it stands.
    Refused(Refusal),
}

/// Why a batch is not taken although nothing is wrong with its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The numbers are no range within an epoch.
    #[error("numbers {from}..={to} are no range: 1 <= from <= to <= 2^62 is expected")]
    Range {
        /// First number.
        from: u64,
        /// Last number.
        to: u64,
    },
    /// The epoch is no random 63-bit number.
    #[error("epoch {epoch} is too large: a number below 2^63 is expected")]
    Epoch {
        /// The epoch.
        epoch: u64,
    },
    /// Too many numbers in a batch with data.
    #[error("a batch of {numbers} numbers, at most {BATCH_NUMBERS_MAX} are taken")]
    TooLong {
        /// How many.
        numbers: u64,
    },
    /// The numbers held would fall into too many ranges. Older holes have to be filled first.
    #[error("numbers held would fall into more than {RANGES_MAX} ranges; send the oldest missing ones first")]
    TooManyRanges,
    /// The node has too many epochs of this stream open.
    #[error("more than {EPOCHS_OPEN_MAX} epochs are open; send the epochs first that are acknowledged in part")]
    TooManyEpochs,
}

impl Refusal {
    /// Short stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Range { .. } => "bad_range",
            Self::Epoch { .. } => "bad_epoch",
            Self::TooLong { .. } => "too_long",
            Self::TooManyRanges => "too_many_ranges",
            Self::TooManyEpochs => "too_many_epochs",
        }
    }

    /// Every code.
    pub const CODES: [&'static str; 5] = ["bad_range", "bad_epoch", "too_long", "too_many_ranges", "too_many_epochs"];
}

/// What the numbers alone decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Numbers of the batch that are not held, lowest first; empty for a duplicate.
    pub holes: Vec<(Seq, Seq)>,
    /// What is held once they are taken.
    pub have: SeqSet,
}

/// Refuses a batch that no state could make acceptable.
fn check(batch: &Batch) -> Result<(), Refusal> {
    let (from, to) = (batch.from, batch.to);
    if from < Seq::FIRST || to < from || to > SEQ_MAX {
        return Err(Refusal::Range { from: from.0, to: to.0 });
    }
    if i64::try_from(batch.epoch.0).is_err() {
        return Err(Refusal::Epoch { epoch: batch.epoch.0 });
    }
    let numbers = to.0 - from.0 + 1;
    if matches!(batch.body, Body::Block(_)) && numbers > BATCH_NUMBERS_MAX {
        return Err(Refusal::TooLong { numbers });
    }
    Ok(())
}

/// Which numbers of `batch` are new to a stream of which `have` is held.
///
/// # Errors
/// [`Refusal`] where the numbers are no range or would break a bound.
pub fn plan(have: &SeqSet, batch: &Batch) -> Result<Plan, Refusal> {
    check(batch)?;
    let holes = have.missing(batch.from, batch.to);
    let mut after = have.clone();
    after.insert(batch.from, batch.to);
    if after.ranges().len() > RANGES_MAX && after.ranges().len() > have.ranges().len() {
        return Err(Refusal::TooManyRanges);
    }
    Ok(Plan { holes, have: after })
}

/// Takes one batch of `node`'s `stream` into the ledger's open transaction. The outcome may leave only once that is
/// committed.
///
/// # Errors
/// The ledger's own; the transaction is then to be rolled back.
pub fn take_in<L: Ledger>(
    ledger: &mut L,
    node: &NodeId,
    stream: StreamKind,
    batch: &Batch,
    received: UnixMillis,
) -> Result<Outcome, L::Error> {
    let key = StreamKey { node: node.clone(), stream, epoch: batch.epoch };
    if let Err(refusal) = check(batch) {
        let ack = StreamState::default().ack(&key);
        return Ok(Outcome { ack, verdict: Verdict::Refused(refusal) });
    }
    let known = ledger.load(&key)?;
    let is_new = known.is_none();
    let state = known.unwrap_or_default();
    let told = |verdict| Ok(Outcome { ack: state.ack(&key), verdict });
    let plan = match plan(&state.have, batch) {
        Ok(plan) => plan,
        Err(refusal) => return told(Verdict::Refused(refusal)),
    };
    if plan.holes.is_empty() {
        return told(Verdict::Duplicate);
    }
    if is_new && ledger.epochs_open(node, stream)? >= EPOCHS_OPEN_MAX {
        return told(Verdict::Refused(Refusal::TooManyEpochs));
    }
    let mut after = StreamState { have: plan.have, series: state.series.clone() };
    let numbers = plan.holes.iter().map(|(from, to)| to.0 - from.0 + 1).sum();
    let repeated = batch.to.0 - batch.from.0 + 1 - numbers;

    let (content, verdict) = match read(ledger, &key, &state, batch, &plan.holes)? {
        Read::Taken { content, records } => {
            if let Content::Metrics { dict, .. } = &content {
                for (id, _) in dict {
                    after.series.insert(Seq(u64::from(id.0)), Seq(u64::from(id.0)));
                }
            }
            let verdict = match &content {
                Content::Gone { .. } => Verdict::Gone { numbers },
                _ => Verdict::Stored { numbers, repeated, records },
            };
            (content, verdict)
        }
        Read::NeedsDict(series) => {
            let mut ack = state.ack(&key);
            ack.dict = ack.dict.min(series.0.checked_sub(1).map(SeriesId));
            return Ok(Outcome { ack, verdict: Verdict::NeedsDict { series } });
        }
        Read::Unreadable(Fault { code, reason }) => {
            let bytes = skerry_wire::codec::encode(batch);
            let content = Content::Quarantined { ranges: plan.holes, code, reason: reason.clone(), bytes };
            (content, Verdict::Quarantined { code, reason })
        }
    };
    let outcome = Outcome { ack: after.ack(&key), verdict };
    ledger.take(Taken { key, state: after, content, received })?;
    Ok(outcome)
}

/// What is held of the epochs that a hello names, in its order: the answer to it. Impossible epochs are left out.
///
/// # Errors
/// The ledger's own.
pub fn held<L: Ledger>(ledger: &mut L, node: &NodeId, tips: &[StreamTip]) -> Result<Vec<Ack>, L::Error> {
    tips.iter()
        .filter(|tip| i64::try_from(tip.epoch.0).is_ok())
        .map(|tip| {
            let key = StreamKey { node: node.clone(), stream: tip.stream, epoch: tip.epoch };
            Ok(ledger.load(&key)?.unwrap_or_default().ack(&key))
        })
        .collect()
}

/// What the content of a batch says once it is decoded.
enum Read {
    Taken { content: Content, records: u64 },
    NeedsDict(SeriesId),
    Unreadable(Fault),
}

fn read<L: Ledger>(
    ledger: &mut L,
    key: &StreamKey,
    state: &StreamState,
    batch: &Batch,
    holes: &[(Seq, Seq)],
) -> Result<Read, L::Error> {
    let bytes = match &batch.body {
        Body::Gone(gone) => {
            let content = Content::Gone { ranges: holes.to_vec(), gone: *gone };
            return Ok(Read::Taken { content, records: 0 });
        }
        Body::Block(bytes) => bytes,
    };
    let read = match key.stream {
        StreamKind::Metrics => return read_metrics(ledger, key, state, batch, holes),
        StreamKind::Logs => content::logs(batch, bytes).map(|rows| {
            let records = rows.records;
            (Content::Logs(rows), records)
        }),
        StreamKind::Events => content::events(batch, bytes).map(|events| {
            let records = events.len() as u64;
            (Content::Events { seq: batch.from, events }, records)
        }),
    };
    Ok(match read {
        Ok((content, records)) => Read::Taken { content, records },
        Err(fault) => Read::Unreadable(fault),
    })
}

fn read_metrics<L: Ledger>(
    ledger: &mut L,
    key: &StreamKey,
    state: &StreamState,
    batch: &Batch,
    holes: &[(Seq, Seq)],
) -> Result<Read, L::Error> {
    let read = match content::metrics(batch, holes) {
        Ok(read) => read,
        Err(fault) => return Ok(Read::Unreadable(fault)),
    };
    let carried = |id: SeriesId| read.dict.binary_search_by_key(&id, |(id, _)| *id).is_ok();
    if let Some(id) = read.series.iter().copied().find(|id| !state.has_series(*id) && !carried(*id)) {
        return Ok(Read::NeedsDict(id));
    }
    let mut dict = Vec::with_capacity(read.dict.len());
    for (id, labels) in read.dict {
        if !state.has_series(id) {
            dict.push((id, labels));
        } else if ledger.series(key, id)?.is_some_and(|held| held != labels) {
            return Ok(Read::Unreadable(Fault {
                code: "dict_conflict",
                reason: format!("series {} came with other labels before", id.0),
            }));
        }
    }
    if state.series.len() + dict.len() as u64 > SERIES_MAX {
        let reason = format!("more than {SERIES_MAX} series in one epoch");
        return Ok(Read::Unreadable(Fault { code: "series_limit", reason }));
    }
    let records = read.blocks.iter().map(|rows| rows.samples).sum();
    Ok(Read::Taken { content: Content::Metrics { dict, blocks: read.blocks }, records })
}
