//! Notices that are under way or wait.
//!
//! Invariants:
//! - A shell has at most so many notices at once, and for one receiver at most half of them: one that hangs does not keep
//!   the others from being told. The rest waits in order, receiver by receiver.
//! - A notice that waits holds no alerts: what it says is made when it is tried.

use super::alerts::GroupId;
use super::nflog::AlertSet;
use skerry_model::Mono;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// One integration that is being told.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The group; `None` where a reload took it away meanwhile.
    pub(super) group: Option<GroupId>,
    pub(super) receiver: Arc<str>,
    pub(super) index: usize,
    pub(super) kind: &'static str,
    pub(super) log_key: String,
    pub(super) attempt: u32,
    /// A shell has it; else it waits to be tried.
    pub(super) is_out: bool,
    /// When it has to be looked at.
    timer: Mono,
    pub(super) deadline: Mono,
    /// How long the log will remember it.
    pub(super) keep: Duration,
    /// What it tells, where the group is gone.
    pub(super) sets: Option<(AlertSet, AlertSet)>,
}

impl Delivery {
    /// One that was not tried yet.
    pub(super) const fn new(
        group: GroupId,
        receiver: Arc<str>,
        index: usize,
        kind: &'static str,
        log_key: String,
        deadline: Mono,
        keep: Duration,
    ) -> Self {
        let (attempt, is_out, timer, sets) = (0, false, deadline, None);
        Self { group: Some(group), receiver, index, kind, log_key, attempt, is_out, timer, deadline, keep, sets }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Deliveries {
    all: BTreeMap<u64, Delivery>,
    /// Hashes of their keys in the log.
    keys: BTreeSet<u64>,
    timers: BTreeSet<(Mono, u64)>,
    /// Those to be tried as soon as there is room, by receiver.
    ready: BTreeMap<Arc<str>, VecDeque<u64>>,
    /// How many a shell has, by receiver.
    out: BTreeMap<Arc<str>, usize>,
    out_count: usize,
    out_max: usize,
    last: u64,
}

impl Deliveries {
    pub(super) const fn new(out_max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            keys: BTreeSet::new(),
            timers: BTreeSet::new(),
            ready: BTreeMap::new(),
            out: BTreeMap::new(),
            out_count: 0,
            out_max,
            last: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) const fn out_count(&self) -> usize {
        self.out_count
    }

    /// Whether one tells the same integration of the same group.
    pub(super) fn has_key(&self, log_key: &str) -> bool {
        self.keys.contains(&hash(log_key))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Delivery> {
        self.all.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Delivery> {
        self.all.get_mut(&number)
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    /// Adds one that is to be tried at once.
    pub(super) fn add(&mut self, delivery: Delivery) {
        self.last += 1;
        self.keys.insert(hash(&delivery.log_key));
        self.timers.insert((delivery.timer, self.last));
        self.all.insert(self.last, delivery);
        self.line_up(self.last);
    }

    /// Puts one behind those that are to be tried as soon as there is room.
    pub(super) fn line_up(&mut self, number: u64) {
        if let Some(delivery) = self.all.get(&number) {
            self.ready.entry(delivery.receiver.clone()).or_default().push_back(number);
        }
    }

    /// When something is to be done; the first moment of all where something can be tried.
    pub(super) fn next(&self) -> Option<Mono> {
        if self.eligible().is_some() { Some(Mono(0)) } else { self.timers.first().map(|(at, _)| *at) }
    }

    /// A receiver that may be told now.
    fn eligible(&self) -> Option<&Arc<str>> {
        let each_max = self.out_max.div_ceil(2);
        let may = |receiver: &&Arc<str>| self.out.get(*receiver).is_none_or(|count| *count < each_max);
        (self.out_count < self.out_max).then(|| self.ready.keys().find(may)).flatten()
    }

    /// Takes the next one that may be tried.
    pub(super) fn take_ready(&mut self) -> Option<u64> {
        let receiver = self.eligible()?.clone();
        let queue = self.ready.get_mut(&receiver)?;
        let number = queue.pop_front();
        if queue.is_empty() {
            self.ready.remove(&receiver);
        }
        number
    }

    /// Takes the next one whose timer is due.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<u64> {
        self.timers.first().filter(|(at, _)| *at <= now)?;
        self.timers.pop_first().map(|(_, number)| number)
    }

    pub(super) fn arm(&mut self, number: u64, at: Mono) {
        if let Some(delivery) = self.all.get_mut(&number) {
            self.timers.remove(&(delivery.timer, number));
            delivery.timer = at;
            self.timers.insert((at, number));
        }
    }

    /// Takes note that a shell has it, or has it no more.
    pub(super) fn set_out(&mut self, number: u64, is_out: bool) {
        let Some(delivery) = self.all.get_mut(&number).filter(|delivery| delivery.is_out != is_out) else { return };
        delivery.is_out = is_out;
        let count = self.out.entry(delivery.receiver.clone()).or_default();
        if is_out {
            *count += 1;
            self.out_count += 1;
        } else {
            *count = count.saturating_sub(1);
            self.out_count = self.out_count.saturating_sub(1);
            if *count == 0 {
                self.out.remove(&delivery.receiver);
            }
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Delivery> {
        let was_out = self.all.get(&number)?.is_out;
        self.set_out(number, false);
        let delivery = self.all.remove(&number)?;
        self.keys.remove(&hash(&delivery.log_key));
        self.timers.remove(&(delivery.timer, number));
        // What a shell had is in no line.
        if let Some(queue) = self.ready.get_mut(&delivery.receiver).filter(|_| !was_out) {
            queue.retain(|other| *other != number);
            if queue.is_empty() {
                self.ready.remove(&delivery.receiver);
            }
        }
        Some(delivery)
    }
}

fn hash(log_key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    log_key.hash(&mut hasher);
    hasher.finish()
}
