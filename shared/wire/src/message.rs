//! Message types. Field names on the wire are short because every batch repeats them.

use serde::{Deserialize, Serialize};
use skerry_model::{
    Epoch, Labels, LossEntry, LossReason, Seq, SeriesId, StreamKind, StreamName, TimeRange, UnixMillis,
};

use crate::SeqSet;
use crate::decision::{ScalingEvent, WorkloadEvent};
use crate::query::{Done, Packed, QueryAsk};

/// Version of the messages. A peer that says another one is told so and nothing of it is taken.
pub const PROTOCOL_VERSION: u16 = 1;

/// First message after each connect: who this is and where its streams stand. The fleet answers with [`Acks`] for
/// every stream and epoch named, and with configs and trust that are newer than what is named here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    #[serde(rename = "v")]
    pub protocol: u16,
    /// Version of the agent.
    #[serde(rename = "agent")]
    pub agent_version: String,
    /// Kernel's boot id.
    #[serde(rename = "boot")]
    pub boot_id: String,
    /// Random number of this process; the last will carries it too, so that the will of an old connection does not
    /// mark its successor gone.
    #[serde(rename = "sess")]
    pub session: u64,
    /// What the machine is.
    pub host: HostFacts,
    /// Streams and epochs that hold anything unacknowledged, and the current epoch of each stream.
    #[serde(rename = "tips")]
    pub streams: Vec<StreamTip>,
    /// Configs that run.
    #[serde(rename = "conf")]
    pub configs: Vec<ConfigState>,
    /// Epoch and version of the assignment held, if any.
    #[serde(rename = "asgn")]
    pub assignment: Option<(u64, u64)>,
    /// Version of the newest root held; zero before enrolment.
    #[serde(rename = "root")]
    pub root_version: u64,
    /// The node's wall clock.
    #[serde(rename = "now")]
    pub at: UnixMillis,
    /// Whether the node trusts that clock.
    #[serde(rename = "trus")]
    pub time_trusted: bool,
    /// [`crate::ASKS_VERSION`] of the queries that the node answers; zero for an agent that knows none.
    #[serde(rename = "asks", default)]
    pub asks: u16,
}

/// Facts about the machine, for people. Each text at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// Host name.
    #[serde(rename = "name")]
    pub hostname: String,
    /// Distribution and version.
    pub os: String,
    /// Kernel release.
    #[serde(rename = "kern")]
    pub kernel: String,
    /// CPU architecture.
    pub arch: String,
    /// Physical memory.
    #[serde(rename = "mem")]
    pub memory_bytes: u64,
    /// Logical CPUs.
    pub cpus: u32,
}

/// Where one epoch of a stream stands on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamTip {
    /// The stream.
    #[serde(rename = "s")]
    pub stream: StreamKind,
    /// Its epoch.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// The next number the node will give out; the first one is 1.
    #[serde(rename = "n")]
    pub next: Seq,
}

/// A config that a node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState {
    /// Its stream.
    #[serde(rename = "s")]
    pub stream: StreamName,
    /// Its epoch.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// Its version.
    #[serde(rename = "v")]
    pub version: u64,
}

/// Consecutive numbers of one stream: `from..=to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The epoch that the numbers belong to.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// First number.
    #[serde(rename = "f")]
    pub from: Seq,
    /// Last number.
    #[serde(rename = "t")]
    pub to: Seq,
    /// Dictionary entries that the fleet has not acknowledged yet and that this batch may need (metrics alone),
    /// as written by `skerry_chunk::dict`.
    #[serde(rename = "d", with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub dict: Vec<u8>,
    /// The data.
    #[serde(rename = "b")]
    pub body: Body,
}

/// What a batch holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A block as the node has stored it: metrics with one row per number, logs one block per number, events a CBOR
    /// array of [`Event`] per number.
    #[serde(rename = "b")]
    Block(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The node no longer has these numbers. The ledger says why; this closes the hole so that the stream goes on.
    #[serde(rename = "g")]
    Gone(Gone),
}

/// Numbers that a node gave up before they were acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Why.
    #[serde(rename = "r")]
    pub reason: LossReason,
    /// When their records were taken.
    #[serde(rename = "w")]
    pub range: TimeRange,
}

/// What the fleet has committed of one epoch of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The stream.
    #[serde(rename = "s")]
    pub stream: StreamKind,
    /// Its epoch.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// The numbers committed; at most [`crate::ACK_RANGES_MAX`] ranges, the lowest ones.
    #[serde(rename = "h")]
    pub have: SeqSet,
    /// Highest series id up to which the fleet holds the dictionary of this epoch (metrics alone).
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub dict: Option<SeriesId>,
}

/// One message on `down/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks {
    /// One entry per stream and epoch.
    #[serde(rename = "a")]
    pub acks: Vec<Ack>,
}

/// `up/status`: every minute and at each change; as last will with [`Status::Gone`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The node is there.
    #[serde(rename = "alive")]
    Alive(StatusReport),
    /// The connection of that session ended: said by the broker as last will, or by the node when it stops.
    #[serde(rename = "gone")]
    Gone {
        /// Session of the hello it belongs to.
        #[serde(rename = "sess")]
        session: u64,
        /// Whether the node said so itself.
        #[serde(rename = "clean")]
        clean: bool,
    },
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The node's wall clock.
    #[serde(rename = "now")]
    pub at: UnixMillis,
    /// What waits for acknowledgement, per stream.
    #[serde(rename = "back")]
    pub backlog: Vec<Backlog>,
    /// Configs that run.
    #[serde(rename = "conf")]
    pub configs: Vec<ConfigState>,
    /// Resident memory of the agent.
    #[serde(rename = "rss")]
    pub rss_bytes: u64,
    /// Size of the node's database with its write-ahead log.
    #[serde(rename = "db")]
    pub db_bytes: u64,
    /// Whether the node trusts its clock.
    #[serde(rename = "trus")]
    pub time_trusted: bool,
    /// What somebody should look at, for people; at most 16 texts of at most 256 bytes.
    #[serde(rename = "prob")]
    pub problems: Vec<String>,
}

/// What waits in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// The stream.
    #[serde(rename = "s")]
    pub stream: StreamKind,
    /// Sequence numbers not acknowledged: scrapes for metrics, blocks for logs and events.
    #[serde(rename = "n")]
    pub waiting: u64,
    /// Time of the oldest of them.
    #[serde(rename = "o")]
    pub oldest: Option<UnixMillis>,
}

/// Something that happened on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    #[serde(rename = "at")]
    pub at: UnixMillis,
    /// What.
    #[serde(rename = "k")]
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The agent started.
    Started {
        /// Its version.
        version: String,
        /// Whether the run before ended in order.
        clean: bool,
    },
    /// The agent stopped in order.
    Stopped,
    /// A signed config runs and has passed its trial.
    ConfigApplied(ConfigState),
    /// A config was refused.
    ConfigRefused {
        /// Which, as far as it could be read before it was refused.
        config: Option<ConfigState>,
        /// Stable word for the reason.
        code: String,
        /// The reason, for people.
        reason: String,
    },
    /// A config failed its trial; the last good one runs again.
    ConfigRolledBack {
        /// Which failed.
        config: ConfigState,
        /// Why, for people.
        reason: String,
    },
    /// The admin's assignment of this node changed.
    AssignmentApplied {
        /// Its epoch.
        epoch: u64,
        /// Its version.
        version: u64,
        /// Whether it takes the node out of service.
        revoked: bool,
    },
    /// Records are missing.
    Loss(LossEntry),
    /// A collector began to fail.
    CollectorFailed {
        /// Its name.
        collector: String,
        /// Why, for people.
        error: String,
    },
    /// A collector works again.
    CollectorRecovered {
        /// Its name.
        collector: String,
    },
    /// The wall clock was set.
    ClockStep {
        /// By how many milliseconds it moved forward; negative when it was set back.
        by_ms: i64,
    },
    /// An alert of the node's own rules began or ended.
    Alert(AlertEvent),
    /// Something was scaled, could not be, or waits for room.
    Scaling(ScalingEvent),
    /// Something happened to a container of a workload.
    Workload(WorkloadEvent),
}

/// What happened to an alert on the node. An alert has one event when it begins to fire and one when it ends; one that
/// began and ended while nobody could be told has a single event, which is history and pages nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// Its labels on the node; the centre adds the node's own.
    #[serde(rename = "l")]
    pub labels: Labels,
    /// What people are told.
    #[serde(rename = "n")]
    pub annotations: Labels,
    /// Since when it fires.
    #[serde(rename = "s")]
    pub starts_at: UnixMillis,
    /// When it ended; `None` while it fires.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMillis>,
    /// Value of its expression when this was written, as Prometheus writes numbers.
    #[serde(rename = "v")]
    pub value: String,
    /// Names of the receivers that the node has told of this episode by itself; the centre does not tell those of the
    /// same name again. At most [`crate::TOLD_MAX`].
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// It began and ended before the centre could be told.
    #[serde(rename = "h", default)]
    pub is_history: bool,
}

/// `down/trust`: what a node must believe to verify anything else, all sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Root envelopes after the one that the node named in its hello, in order.
    #[serde(rename = "r")]
    pub roots: Vec<serde_bytes::ByteBuf>,
    /// The node's assignment envelope.
    #[serde(rename = "a")]
    pub assignment: Option<serde_bytes::ByteBuf>,
}

/// `down/ask`: a question to the node, answered from memory or from its own store, never kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Names the question; chosen by the fleet.
    pub id: u64,
    /// The question.
    #[serde(rename = "q")]
    pub kind: AskKind,
}

/// Questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskKind {
    /// Send log lines as they are read, for at most this many seconds; asking again with the same id prolongs it.
    FollowLogs {
        /// Seconds, at most 300.
        for_secs: u32,
        /// LogQL that finds log records: lines that it leaves out are not sent. The others come as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query: Option<String>,
        /// Labels that the admins signed for the node, which the query may ask for.
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        signed: Labels,
    },
    /// Answer from the node's own store: with [`AnswerPart::Result`] and [`AnswerPart::Done`], or with
    /// [`AnswerPart::Failed`].
    Query(QueryAsk),
    /// End what was asked under this id.
    Stop,
}

impl AskKind {
    /// Every log line, for so many seconds.
    #[must_use]
    pub fn follow(for_secs: u32) -> Self {
        Self::FollowLogs { for_secs, query: None, signed: Labels::default() }
    }
}

/// The part of an [`Ask`] that every version understands: an agent that does not know the question can say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskId {
    /// [`Ask::id`].
    pub id: u64,
}

/// `up/answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question's id.
    pub id: u64,
    /// Part of the answer.
    #[serde(rename = "p")]
    pub part: AnswerPart,
}

/// Parts of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerPart {
    /// Log lines, in the order they were read.
    Lines {
        /// The lines.
        lines: Vec<LiveLine>,
        /// How many were left out since the last part because the link was slower than the logs. They are not lost:
        /// the durable path carries them.
        skipped: u64,
    },
    /// A piece of a query's result.
    Result {
        /// Counts the pieces from zero.
        #[serde(rename = "n")]
        number: u32,
        /// The piece.
        #[serde(rename = "p")]
        piece: Packed,
    },
    /// The result of a query is complete.
    Done(Done),
    /// A query has no result.
    Failed {
        /// `errorType` of Prometheus's API.
        kind: String,
        /// Why, for people.
        reason: String,
    },
    /// The answer has ended.
    End,
}

impl AnswerPart {
    /// Whether nothing follows it.
    #[must_use]
    pub const fn ends(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed { .. } | Self::End)
    }
}

/// One line of a live view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLine {
    /// When it was written.
    #[serde(rename = "t")]
    pub at: UnixMillis,
    /// Its labels as pairs.
    #[serde(rename = "l")]
    pub labels: Labels,
    /// Its output.
    #[serde(rename = "o")]
    pub output: skerry_model::OutputStream,
    /// Its severity.
    #[serde(rename = "v")]
    pub level: skerry_model::Level,
    /// Its structured metadata.
    #[serde(rename = "f")]
    pub fields: Labels,
    /// The text; bytes that are not UTF-8 are replaced, and it is cut after [`crate::LIVE_LINE_BYTES_MAX`].
    #[serde(rename = "m")]
    pub line: String,
}

impl Hello {
    /// The last will that belongs to this session.
    #[must_use]
    pub fn will(&self) -> Status {
        Status::Gone { session: self.session, clean: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn batch(body: Body) -> Batch {
        Batch { epoch: Epoch(7), from: Seq(1), to: Seq(3), dict: vec![1, 2], body }
    }

    #[test]
    fn messages_read_back_through_the_strict_preflight() {
        let gone = Gone { reason: LossReason::Retention, range: TimeRange::at(UnixMillis(-5)) };
        for message in [batch(Body::Block(vec![0; 300])), batch(Body::Gone(gone))] {
            assert_eq!(codec::decode::<Batch>(&codec::encode(&message), 4096).unwrap(), message);
        }
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            agent_version: "0.1.0".into(),
            boot_id: "b".into(),
            session: u64::MAX,
            host: HostFacts { hostname: "pi".into(), ..HostFacts::default() },
            streams: vec![StreamTip { stream: StreamKind::Logs, epoch: Epoch(9), next: Seq(4) }],
            configs: vec![ConfigState { stream: "group/edge".parse().unwrap(), epoch: 1, version: 2 }],
            assignment: Some((1, 2)),
            root_version: 1,
            at: UnixMillis(1_700_000_000_000),
            time_trusted: false,
            asks: 1,
        };
        assert_eq!(codec::decode::<Hello>(&codec::encode(&hello), 4096).unwrap(), hello);
        let mut have = SeqSet::new();
        have.insert(Seq(1), Seq(5));
        let acks =
            Acks { acks: vec![Ack { stream: StreamKind::Metrics, epoch: Epoch(1), have, dict: Some(SeriesId(3)) }] };
        assert_eq!(codec::decode::<Acks>(&codec::encode(&acks), 4096).unwrap(), acks);
        let kinds = vec![
            EventKind::Stopped,
            EventKind::ClockStep { by_ms: -3 },
            EventKind::Alert(AlertEvent {
                labels: Labels::new([("alertname", "Hot")]).unwrap(),
                annotations: Labels::default(),
                starts_at: UnixMillis(5),
                ends_at: None,
                value: "81.5".into(),
                told: vec!["buzzer".into()],
                is_history: false,
            }),
            EventKind::Scaling(ScalingEvent {
                policy: "web".into(),
                target: "Container/web".into(),
                from: 1,
                to: 4,
                reason: "SuccessfulRescale".into(),
                message: "cpu is at 200 % of its request".into(),
            }),
            EventKind::Workload(WorkloadEvent {
                workload: "till".into(),
                container: Some("till-0".into()),
                reason: "BackOff".into(),
                message: "exit code 1; again in 20 s".into(),
            }),
            EventKind::Loss(LossEntry {
                stream: StreamKind::Logs,
                reason: LossReason::Oversize,
                count: None,
                range: TimeRange::at(UnixMillis(1)),
                source: "app.log".into(),
            }),
        ];
        let events: Vec<Event> = kinds.into_iter().map(|kind| Event { at: UnixMillis(2), kind }).collect();
        assert_eq!(codec::decode::<Vec<Event>>(&codec::encode(&events), 4096).unwrap(), events);
        let status = Status::Gone { session: 3, clean: true };
        assert_eq!(codec::decode::<Status>(&codec::encode(&status), 4096).unwrap(), status);
    }

    #[test]
    fn a_question_of_a_later_version_has_a_number_all_the_same() {
        let later: std::collections::BTreeMap<&str, u64> = [("id", 7), ("q", 1)].into();
        let bytes = codec::encode(&later);
        assert!(codec::decode::<Ask>(&bytes, 4096).is_err());
        assert_eq!(codec::decode::<AskId>(&bytes, 4096).unwrap(), AskId { id: 7 });
    }

    #[test]
    fn a_message_of_another_type_is_named() {
        let bytes = codec::encode(&Ask { id: 1, kind: AskKind::Stop });
        let error = codec::decode::<Batch>(&bytes, 4096).unwrap_err();
        assert_eq!(error.code(), "unexpected");
        assert!(error.to_string().contains("not a Batch"), "{error}");
        let error = codec::decode::<Batch>(&[0xff], 4096).unwrap_err();
        assert_eq!(error.code(), "malformed");
        let error = codec::decode::<Ask>(&bytes, 3).unwrap_err();
        assert_eq!(error.code(), "malformed");
    }
}
