//! Whom to ask next, and what to make of the answers: without sockets and clocks.

use serde_json::json;
use skerry_model::{Labels, Mono, NodeId};
use skerry_promapi::Refusal;
use skerry_promapi::edge::Merge;
use skerry_promql::QueryError;
use skerry_wire::{AnswerPart, Done, Piece, Question, StreamPart};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Longest text that is taken from a node, in bytes.
const REASON_BYTES_MAX: usize = 512;
/// What an item takes in memory beside its content, about.
const ITEM_BYTES: u64 = 64;
/// Nodes that are named in the text of an error; the rest is counted.
const NAMED_MAX: usize = 10;

/// Bounds of one query.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes that are asked at the same time.
    pub in_flight_max: usize,
    /// Bytes of all results in memory.
    pub bytes_max: u64,
}

/// Why a node did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// There is none of that name.
    Unknown,
    /// It waits for approval, or was revoked.
    NotApproved,
    /// It is not connected.
    Unreachable,
    /// Its agent does not know such questions.
    TooOld,
    /// It did not answer in time.
    Timeout,
    /// It said why not, with this `errorType`.
    Error(&'static str),
}

impl Silence {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotApproved => "not_approved",
            Self::Unreachable => "unreachable",
            Self::TooOld => "too_old",
            Self::Timeout => "timeout",
            Self::Error(_) => "error",
        }
    }

    /// `errorType` of Prometheus's API.
    #[must_use]
    pub const fn error_type(&self) -> &'static str {
        match self {
            Self::Unknown => "not_found",
            Self::NotApproved | Self::Unreachable | Self::TooOld => "unavailable",
            Self::Timeout => "timeout",
            Self::Error(kind) => kind,
        }
    }

    /// How much it says about the query: where no node answered, the most telling one is the error.
    fn weight(&self) -> u8 {
        match self {
            Self::Error("unavailable") => 3,
            Self::Error(_) => 5,
            Self::Timeout => 4,
            Self::NotApproved | Self::Unreachable | Self::TooOld => 2,
            Self::Unknown => 1,
        }
    }
}

/// How it went with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It answered.
    Answered {
        /// Series, label sets or texts of its result.
        items: usize,
        /// How long that took.
        took: Duration,
    },
    /// It did not.
    Silent {
        /// Why.
        why: Silence,
        /// Why, for people.
        reason: String,
    },
}

/// A node that is meant.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// Labels that the admins signed for it.
    pub signed: Labels,
}

struct Asked {
    since: Mono,
    pieces: Vec<Piece>,
}

/// One query over many nodes.
pub struct Fanout {
    waiting: VecDeque<NodeId>,
    asked: BTreeMap<NodeId, Asked>,
    signed: BTreeMap<NodeId, Labels>,
    fates: BTreeMap<NodeId, Fate>,
    merge: Merge,
    until: Mono,
    timeout: Duration,
    in_flight_max: usize,
    bytes_max: u64,
    bytes_left: u64,
}

impl Fanout {
    /// Begins a query. The targets are asked in their order, each once.
    ///
    /// # Errors
    /// [`QueryError`] where the question's expression is none.
    pub fn new(
        question: &Question,
        targets: Vec<Target>,
        now: Mono,
        timeout: Duration,
        limits: Limits,
    ) -> Result<Self, QueryError> {
        let merge = Merge::new(question)?;
        let mut signed = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for target in targets {
            if signed.insert(target.node.clone(), target.signed).is_none() {
                waiting.push_back(target.node);
            }
        }
        Ok(Self {
            waiting,
            asked: BTreeMap::new(),
            signed,
            fates: BTreeMap::new(),
            merge,
            until: now + timeout,
            timeout,
            in_flight_max: limits.in_flight_max.max(1),
            bytes_max: limits.bytes_max,
            bytes_left: limits.bytes_max,
        })
    }

    /// The node to ask now, with the labels that the centre knows it by, if any.
    pub fn next(&mut self, now: Mono) -> Option<(NodeId, Labels)> {
        if self.asked.len() >= self.in_flight_max || now >= self.until {
            return None;
        }
        let node = self.waiting.pop_front()?;
        let signed = self.signed.get(&node).cloned().unwrap_or_default();
        self.asked.insert(node.clone(), Asked { since: now, pieces: Vec::new() });
        Some((node, signed))
    }

    /// The node could not be asked, or cannot answer any more.
    pub fn lost(&mut self, node: &NodeId, why: Silence, reason: impl Into<String>) {
        if self.asked.remove(node).is_some() {
            self.fates.insert(node.clone(), Fate::Silent { why, reason: reason.into() });
        }
    }

    /// A part of a node's answer; whether its question is over. Of a node that is not being asked nothing is taken.
    pub fn take(&mut self, node: &NodeId, part: AnswerPart, now: Mono) -> bool {
        let Some(asked) = self.asked.get_mut(node) else { return true };
        let failed = |reason: String| Some(Fate::Silent { why: Silence::Error("internal"), reason });
        let fate = match part {
            AnswerPart::Result { number, piece } => {
                let have = u32::try_from(asked.pieces.len()).unwrap_or(u32::MAX);
                match piece.unpack() {
                    // The transport may bring a message twice.
                    _ if number < have => None,
                    _ if number > have => failed("a piece of its result did not arrive; ask again".into()),
                    Err(error) => failed(format!("its result cannot be read: {error}")),
                    Ok(read) => match self.bytes_left.checked_sub(weight(&read)) {
                        Some(left) => {
                            self.bytes_left = left;
                            asked.pieces.push(read);
                            None
                        }
                        None => {
                            let why = Silence::Error("execution");
                            let reason = format!(
                                "the results of all nodes take more than {} bytes together; aggregate, or ask fewer nodes",
                                self.bytes_max
                            );
                            Some(Fate::Silent { why, reason })
                        }
                    },
                }
            }
            AnswerPart::Done(done) => Some(merged(&mut self.merge, node, self.signed.get(node), asked, &done, now)),
            AnswerPart::Failed { kind, mut reason } => {
                reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                Some(Fate::Silent { why: Silence::Error(known(&kind)), reason })
            }
            AnswerPart::Lines { .. } | AnswerPart::End => failed("it ended the answer without a result".into()),
        };
        let Some(fate) = fate else { return false };
        if let Some(asked) = self.asked.remove(node) {
            // What is not merged takes no memory any more.
            if matches!(fate, Fate::Silent { .. }) {
                self.bytes_left += asked.pieces.iter().map(weight).sum::<u64>();
            }
        }
        self.fates.insert(node.clone(), fate);
        true
    }

    /// Gives up on all that have not answered, once the time is over.
    pub fn expire(&mut self, now: Mono) {
        if now < self.until {
            return;
        }
        let timeout = self.timeout.as_secs_f64();
        let silent = |reason: String| Fate::Silent { why: Silence::Timeout, reason };
        while let Some((node, asked)) = self.asked.pop_first() {
            let reason = match asked.pieces.len() {
                0 => format!("did not answer within {timeout} s"),
                _ => format!("its result was not complete within {timeout} s"),
            };
            self.fates.insert(node, silent(reason));
        }
        for node in self.waiting.drain(..) {
            self.fates.insert(node, silent(format!("its turn did not come within {timeout} s; ask fewer nodes")));
        }
    }

    /// Whether every node has its fate.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// When [`Self::expire`] gives up.
    #[must_use]
    pub fn until(&self) -> Mono {
        self.until
    }

    /// The nodes whose answers are waited for.
    pub fn asked(&self) -> impl Iterator<Item = &NodeId> {
        self.asked.keys()
    }

    /// What came of it.
    #[must_use]
    pub fn finish(self) -> (Merge, BTreeMap<NodeId, Fate>) {
        (self.merge, self.fates)
    }
}

fn merged(
    merge: &mut Merge,
    node: &NodeId,
    signed: Option<&Labels>,
    asked: &mut Asked,
    done: &Done,
    now: Mono,
) -> Fate {
    let silent = |reason: String| Fate::Silent { why: Silence::Error("internal"), reason };
    if usize::try_from(done.pieces) != Ok(asked.pieces.len()) {
        return silent("a piece of its result did not arrive; ask again".into());
    }
    let none = Labels::default();
    match merge.take(node, signed.unwrap_or(&none), done, std::mem::take(&mut asked.pieces)) {
        Ok(items) => Fate::Answered { items, took: now.since(asked.since) },
        Err(error) => silent(error.to_string()),
    }
}

/// What a piece takes in memory, about.
fn weight(piece: &Piece) -> u64 {
    let labels =
        |labels: &Labels| labels.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>() as u64 + ITEM_BYTES;
    match piece {
        Piece::Series(all) => all.iter().map(|one| labels(&one.labels) + one.points.0.len() as u64 * 16).sum(),
        Piece::Labels(all) => all.iter().map(labels).sum(),
        Piece::Texts(all) => all.iter().map(|text| text.len() as u64 + ITEM_BYTES).sum(),
        Piece::Logs(all) => {
            let entries = |part: &StreamPart| part.entries.iter().map(|e| e.bytes() as u64 + ITEM_BYTES).sum::<u64>();
            all.iter().map(|part| labels(&part.labels) + entries(part)).sum()
        }
    }
}

/// The `errorType`s that a node may name.
fn known(kind: &str) -> &'static str {
    const KNOWN: [&str; 6] = ["bad_data", "execution", "internal", "not_found", "timeout", "unavailable"];
    KNOWN.into_iter().find(|known| *known == kind).unwrap_or("internal")
}

/// How it went, as JSON by node.
#[must_use]
pub fn nodes_json(fates: &BTreeMap<NodeId, Fate>) -> serde_json::Value {
    let view = |fate: &Fate| match fate {
        Fate::Answered { items, took } => {
            json!({"status": "answered", "items": items, "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX)})
        }
        Fate::Silent { why, reason } => {
            json!({"status": why.as_str(), "errorType": why.error_type(), "error": reason})
        }
    };
    fates.iter().map(|(node, fate)| (node.to_string(), view(fate))).collect::<serde_json::Map<_, _>>().into()
}

/// A warning for each node that did not answer.
#[must_use]
pub fn warnings(fates: &BTreeMap<NodeId, Fate>) -> Vec<String> {
    let warning = |(node, fate): (&NodeId, &Fate)| match fate {
        Fate::Answered { .. } => None,
        Fate::Silent { reason, .. } => Some(format!("node {node} is missing: {reason}")),
    };
    fates.iter().filter_map(warning).collect()
}

/// The error where not one node answered; `None` where one did.
#[must_use]
pub fn refusal(fates: &BTreeMap<NodeId, Fate>) -> Option<Refusal> {
    let mut silent: Vec<(&NodeId, &Silence, &str)> = Vec::new();
    for (node, fate) in fates {
        match fate {
            Fate::Answered { .. } => return None,
            Fate::Silent { why, reason } => silent.push((node, why, reason)),
        }
    }
    silent.sort_by_key(|(_, why, _)| std::cmp::Reverse(why.weight()));
    let kind = silent.first().map_or("not_found", |(_, why, _)| why.error_type());
    let status = match kind {
        "bad_data" => 400,
        "not_found" => 404,
        "execution" => 422,
        "internal" => 500,
        _ => 503,
    };
    let named: Vec<String> =
        silent.iter().take(NAMED_MAX).map(|(node, _, reason)| format!("node {node}: {reason}")).collect();
    let more = match silent.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        rest => format!("; and {rest} more"),
    };
    Some(Refusal { status, kind, text: format!("no node answered; {}{more}", named.join("; ")) })
}

#[cfg(test)]
mod tests;
