//! A service as a model: replicas that need time to start, share the load, and have a queue.
//!
//! A replica that is ready does [`RATE`] requests a second with its whole core. What arrives and what waits is done as far
//! as the ready ones can; what waits longer than [`PATIENCE`] seconds is given up. CPU is what was done, and is measured as
//! Kubernetes's metrics server does: an average over [`WINDOW`] seconds, every [`EVERY`] seconds.

use skerry_model::{Labels, UnixMillis};
use skerry_scaling::hpa::Reading;
use skerry_scaling::target::{Observed, Phase, Pod, PodContainer, PodMetric, Ready};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Requests a second of one replica at 100 % of its core.
pub(super) const RATE: f64 = 100.0;
/// Part of the core that policies aim at.
pub(super) const TARGET: f64 = 0.8;
/// Seconds until a replica is ready.
pub(super) const START: u64 = 40;
const WINDOW: u64 = 30;
const EVERY: u64 = 15;
const PATIENCE: f64 = 5.0;
/// Age of the first replicas.
const BEFORE: u64 = 900;

/// The service at a second.
#[derive(Debug)]
pub(super) struct Service {
    begin: UnixMillis,
    second: u64,
    replicas: Vec<Replica>,
    next: u64,
    waiting: f64,
    /// Cores in use by a ready replica, by second, for the window.
    busy: VecDeque<f64>,
    measured: BTreeMap<(String, String), PodMetric>,
    /// Requests so far, and those that waited for a second or more, or were given up.
    pub(super) requests: f64,
    /// As above.
    pub(super) late: f64,
}

#[derive(Debug)]
struct Replica {
    name: String,
    born: u64,
}

impl Service {
    /// With so many replicas that have run for long.
    #[must_use]
    pub(super) fn new(now: UnixMillis, replicas: u32) -> Self {
        let mut service = Self {
            begin: UnixMillis(now.0 - 1000 * BEFORE as i64),
            second: 0,
            replicas: Vec::new(),
            next: 0,
            waiting: 0.0,
            busy: VecDeque::new(),
            measured: BTreeMap::new(),
            requests: 0.0,
            late: 0.0,
        };
        service.scale(replicas);
        service.second = BEFORE;
        service
    }

    /// Makes it so many: the newest go first.
    pub(super) fn scale(&mut self, replicas: u32) {
        self.replicas.truncate(replicas as usize);
        while self.replicas.len() < replicas as usize {
            self.next += 1;
            self.replicas.push(Replica { name: format!("web-{}", self.next), born: self.second });
        }
    }

    /// All replicas, and those that are ready.
    #[must_use]
    pub(super) fn count(&self) -> (usize, usize) {
        (self.replicas.len(), self.replicas.iter().filter(|replica| self.is_ready(replica)).count())
    }

    fn is_ready(&self, replica: &Replica) -> bool {
        self.second >= replica.born + START
    }

    /// A second with so many requests.
    pub(super) fn run(&mut self, load: f64) {
        let ready = self.count().1 as f64;
        let open = self.waiting + load;
        let done = open.min(ready * RATE);
        self.waiting = (open - done).min(PATIENCE * (ready * RATE).max(1.0));
        self.requests += load;
        // What is not done in its second is late.
        self.late += (open - done).min(load);
        self.busy.push_back(if ready > 0.0 { done / (ready * RATE) } else { 0.0 });
        if self.busy.len() > WINDOW as usize {
            self.busy.pop_front();
        }
        self.second += 1;
        if self.second.is_multiple_of(EVERY) {
            self.measure();
        }
    }

    fn measure(&mut self) {
        self.measured.clear();
        for replica in &self.replicas {
            // One that starts uses nothing; what it did since is averaged over the whole window.
            let ready_for = (self.second.saturating_sub(replica.born + START)).min(WINDOW) as usize;
            let used: f64 = self.busy.iter().rev().take(ready_for).sum();
            if self.second < replica.born + EVERY {
                continue;
            }
            let metric = PodMetric {
                milli: (used / WINDOW as f64 * 1000.0).round() as i64,
                at: self.now(),
                window: Duration::from_secs(WINDOW),
            };
            self.measured.insert((replica.name.clone(), "web".to_owned()), metric);
        }
    }

    /// The wall clock.
    #[must_use]
    pub(super) fn now(&self) -> UnixMillis {
        UnixMillis(self.begin.0 + self.second as i64 * 1000)
    }

    /// As a runtime tells of it.
    #[must_use]
    pub(super) fn observed(&self) -> Observed {
        let count = self.replicas.len() as u32;
        let time = |second: u64| UnixMillis(self.begin.0 + second as i64 * 1000);
        let pod = |replica: &Replica| {
            let is_ready = self.is_ready(replica);
            let since = if is_ready { replica.born + START } else { replica.born };
            Pod {
                name: replica.name.clone(),
                phase: Phase::Running,
                is_deleting: false,
                started_at: Some(time(replica.born)),
                ready: Some(Ready { is_ready, since: time(since) }),
                containers: vec![PodContainer {
                    name: "web".into(),
                    cpu_request_milli: Some(1000),
                    ..PodContainer::default()
                }],
                labels: Labels::default(),
            }
        };
        Observed { spec_replicas: count, status_replicas: count, pods: self.replicas.iter().map(pod).collect() }
    }

    /// What was measured last.
    #[must_use]
    pub(super) fn reading(&self) -> Reading {
        Reading::Pods { per: self.measured.clone() }
    }

    /// Replicas that a load needs at the target.
    #[must_use]
    pub(super) fn needed(load: f64) -> u32 {
        (load / (RATE * TARGET)).ceil() as u32
    }
}
