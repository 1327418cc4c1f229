//! Decides, without I/O, clock or randomness: which records make a batch, what becomes of each, where the place moves.

use super::record::Entry;
use crate::store::Place;
use skerry_model::{NodeId, TimeRange, UnixMillis};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Most times that a batch is halved to find what a target does not want. What is then left is given up as a whole.
const HALVINGS_MAX: u32 = 64;

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMax {
    /// Bytes, about. One record is always in it.
    pub bytes: usize,
    /// Records.
    pub records: usize,
    /// How long records wait for others.
    pub wait: Duration,
}

/// Records that are sent together, and the target's place once it has them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) place: Place,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this.
    Send(Batch),
    /// Records may wait this long for others.
    Wait(Duration),
    /// There is nothing to be sent; the place may have moved over what the target does not want.
    Idle(Place),
}

/// Records between the queue and the target.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pending: VecDeque<Entry>,
    bytes: usize,
    /// Number of the last block that was read.
    read: i64,
    first: Place,
}

impl Feed {
    /// Begins at a place.
    pub(super) fn at(place: Place) -> Self {
        Self { read: place.through, first: place, ..Self::default() }
    }

    /// Number of the last block that was read.
    pub(super) fn read(&self) -> i64 {
        self.read
    }

    /// How many records of a block were sent before.
    pub(super) fn skip(&self, block: i64) -> u32 {
        if block == self.first.part { self.first.skip } else { 0 }
    }

    /// Adds what is wanted of the next block.
    pub(super) fn push(&mut self, block: i64, entries: Vec<Entry>) {
        self.read = block;
        self.bytes += entries.iter().map(Entry::bytes).sum::<usize>();
        self.pending.extend(entries);
    }

    /// Whether there is a batch without reading on.
    pub(super) fn is_full(&self, max: &BatchMax) -> bool {
        self.bytes >= max.bytes || self.pending.len() >= max.records
    }

    /// When the oldest record that waits came in.
    pub(super) fn oldest(&self) -> Option<UnixMillis> {
        self.pending.front().map(|entry| entry.received)
    }

    /// What is to be done, where the queue has nothing more at this moment unless the feed is full.
    pub(super) fn next(&mut self, now: UnixMillis, max: &BatchMax) -> Next {
        let Some(oldest) = self.oldest() else {
            return Next::Idle(self.place());
        };
        // A clock that was set back must not hold records up.
        let waited = if now < oldest { max.wait } else { now.since(oldest) };
        if !self.is_full(max) && waited < max.wait {
            return Next::Wait(max.wait - waited);
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = self.pending.front() {
            let more = entry.bytes();
            if !entries.is_empty() && (bytes + more > max.bytes || entries.len() >= max.records) {
                break;
            }
            bytes += more;
            entries.extend(self.pending.pop_front());
        }
        self.bytes -= bytes;
        Next::Send(Batch { entries, place: self.place() })
    }

    /// The place before the first record that waits.
    fn place(&self) -> Place {
        match self.pending.front() {
            Some(entry) => Place { through: entry.queue - 1, part: entry.queue, skip: entry.index },
            None => Place { through: self.read, part: 0, skip: 0 },
        }
    }
}

/// What became of the records of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The target has them all.
    Taken,
    /// The target has all but so many, and does not say which.
    AllBut { refused: u64, why: String },
    /// One for each.
    Each(Vec<Item>),
    /// Nobody knows, or none: try again.
    Retry { after: Option<Duration>, why: String },
    /// The request is too large.
    TooLarge { why: String },
    /// The target does not want something in it, and never will.
    Refused { why: String },
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// The target has it.
    Taken,
    /// The target has it from the time before.
    Repeated,
    /// Try again.
    Again(String),
    /// The target does not want it, and never will.
    Refused(String),
}

/// What is done after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// Send the next part.
    GoOn,
    /// Pause, then send it again.
    Pause { after: Option<Duration>, why: String },
}

/// A batch while it is sent, in one part or many.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What is yet to be sent, the next part last; places in the batch.
    parts: Vec<Vec<usize>>,
    halvings_left: u32,
    pub(super) refused: Vec<usize>,
    /// Parts of which the target does not say what it refused, and how many records that are.
    pub(super) unnamed: Vec<(Vec<usize>, u64)>,
    pub(super) repeated: u64,
    /// Why something was refused, the last time.
    pub(super) why: String,
}

impl Attempt {
    pub(super) fn new(records: usize) -> Self {
        Self {
            parts: vec![(0..records).collect()],
            halvings_left: HALVINGS_MAX,
            refused: Vec::new(),
            unnamed: Vec::new(),
            repeated: 0,
            why: String::new(),
        }
    }

    /// The part to be sent; `None` where every record has its fate.
    pub(super) fn part(&self) -> Option<&[usize]> {
        self.parts.last().map(Vec::as_slice)
    }

    /// Takes what became of that part.
    pub(super) fn answer(&mut self, fate: Fate) -> Then {
        let Some(part) = self.parts.pop() else { return Then::GoOn };
        match fate {
            Fate::Taken => {}
            Fate::AllBut { refused, why } => {
                self.unnamed.push((part, refused));
                self.why = why;
            }
            Fate::Retry { after, why } => {
                self.parts.push(part);
                return Then::Pause { after, why };
            }
            Fate::TooLarge { why } => self.halve(part, why),
            Fate::Refused { why } if part.len() > 1 && self.halvings_left > 0 => {
                self.halvings_left -= 1;
                self.halve(part, why);
            }
            Fate::Refused { why } => self.refuse(part, why),
            Fate::Each(items) => return self.sort(part, items),
        }
        Then::GoOn
    }

    fn halve(&mut self, mut part: Vec<usize>, why: String) {
        if part.len() < 2 {
            return self.refuse(part, why);
        }
        let second = part.split_off(part.len() / 2);
        self.parts.push(second);
        self.parts.push(part);
    }

    fn refuse(&mut self, part: Vec<usize>, why: String) {
        self.refused.extend(part);
        self.why = why;
    }

    fn sort(&mut self, part: Vec<usize>, items: Vec<Item>) -> Then {
        let (mut again, mut why_again) = (Vec::new(), String::new());
        // A record without a fate is tried again.
        let items = items.into_iter().map(Some).chain(std::iter::repeat(None));
        for (record, item) in part.into_iter().zip(items) {
            let item = item.unwrap_or_else(|| Item::Again("the target does not tell of each record".into()));
            match item {
                Item::Taken => {}
                Item::Repeated => self.repeated += 1,
                Item::Refused(why) => self.refuse(vec![record], why),
                Item::Again(why) => {
                    again.push(record);
                    why_again = why;
                }
            }
        }
        if again.is_empty() {
            return Then::GoOn;
        }
        self.parts.push(again);
        Then::Pause { after: None, why: why_again }
    }

    /// What the nodes lose by it: how many records of which times, `None` where nobody can know.
    pub(super) fn losses(&self, entries: &[Entry]) -> BTreeMap<NodeId, (Option<u64>, TimeRange)> {
        let mut losses: BTreeMap<NodeId, (Option<u64>, TimeRange)> = BTreeMap::new();
        let mut add = |entry: &Entry, count: Option<u64>| {
            let range = TimeRange::at(entry.at);
            let loss = losses.entry(entry.node.clone()).or_insert((Some(0), range));
            *loss = (loss.0.zip(count).map(|(sum, count)| sum + count), loss.1.cover(range));
        };
        for entry in self.refused.iter().filter_map(|at| entries.get(*at)) {
            add(entry, Some(1));
        }
        for (part, refused) in &self.unnamed {
            let of: Vec<&Entry> = part.iter().filter_map(|at| entries.get(*at)).collect();
            let is_one_node = of.windows(2).all(|pair| pair[0].node == pair[1].node);
            for (nth, entry) in of.into_iter().enumerate() {
                add(entry, is_one_node.then_some(if nth == 0 { *refused } else { 0 }));
            }
        }
        losses
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
