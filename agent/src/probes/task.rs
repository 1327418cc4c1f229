//! The async shell of the probes: each target on its own schedule.

use super::PROBES_AT_ONCE;
use super::check::{Asks, Probes, Target};
use super::findings::Findings;
use super::icmp::{FORBIDDEN, Forbidden};
use super::stats::ProbeStats;
use crate::board::Board;
use crate::clock::Clock;
use crate::stale::Present;
use crate::store::{Closed, Pace, Store};
use skerry_model::UnixMillis;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// Source of the problem on the board.
const PROBLEM: &str = "probes with prober icmp";
/// Probers keep the timeout themselves and then tell how far they came; this is for one that does not.
const GRACE: Duration = Duration::from_millis(50);

/// The task's ends.
pub struct ProbesTask {
    /// What is asked.
    pub probes: Probes,
    /// Where results go.
    pub store: Store,
    /// Where it is put up that this user may not ask.
    pub board: Board,
    /// Counters.
    pub stats: Arc<ProbeStats>,
    /// Clocks.
    pub clock: Clock,
}

/// What every target's loop needs.
struct Shared {
    store: Store,
    board: Board,
    stats: Arc<ProbeStats>,
    clock: Clock,
    room: Semaphore,
}

impl ProbesTask {
    /// Probes until `stop`. Probes that run then are cut off.
    ///
    /// # Errors
    /// [`Closed`] where nobody takes the results.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Closed> {
        let Self { probes, store, board, stats, clock } = self;
        stats.has_targets(probes.0.len());
        let room = Semaphore::new(PROBES_AT_ONCE);
        let shared = Arc::new(Shared { store, board, stats, clock, room });
        let mut loops = JoinSet::new();
        for target in probes.0 {
            loops.spawn(shared.clone().follow(target));
        }
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = loops.join_next() => ended.unwrap_or(Err(Closed)),
        }
    }
}

impl Target {
    /// When its first probe begins after the task does: targets are spread over the interval, each at its own place, so
    /// that the same hosts are not asked all at once and a restart changes nothing.
    fn offset(&self) -> Duration {
        let name = format!("{}\n{}", self.job, self.instance);
        let place = u64::from(crc32fast::hash(name.as_bytes()));
        let ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        // A node that has just begun should not wait half an hour for its first result.
        Duration::from_millis(place % ms.min(30_000))
    }

    pub(super) fn findings(&self) -> Findings {
        let labels = self.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        Findings::new(&self.job, &self.instance, labels)
    }

    /// One probe, within the target's timeout. [`Forbidden`] where this user may not.
    pub(super) async fn probe(&self, findings: &mut Findings) -> Result<(), Forbidden> {
        match &self.asks {
            Asks::Http(prober) => prober.run(self.timeout, findings).await,
            Asks::Tcp(prober) => prober.run(self.timeout, findings).await,
            Asks::Dns(prober) => prober.run(self.timeout, findings).await,
            Asks::Icmp(prober) => return prober.run(self.timeout, findings).await,
        }
        Ok(())
    }
}

impl Shared {
    async fn follow(self: Arc<Self>, target: Target) -> Result<(), Closed> {
        let mut every = interval_at(Instant::now() + target.offset(), target.interval);
        every.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut present, mut failing) = (Present::default(), false);
        loop {
            every.tick().await;
            let _place = match self.room.try_acquire() {
                Ok(place) => place,
                Err(_) => {
                    self.stats.was_delayed();
                    self.room.acquire().await.map_err(|_| Closed)?
                }
            };
            let at = self.clock.wall();
            let (findings, took) = self.probe(&target).await;
            self.stats.ended(findings.failure.is_some());
            tell(&target, &findings, &mut failing);
            let mut scrape = findings.scrape(at, took);
            present.follow(&mut scrape);
            self.store.append_scrape(scrape, Pace::Between).await?;
        }
    }

    async fn probe(&self, target: &Target) -> (Findings, Duration) {
        let begin = Instant::now();
        let mut findings = target.findings();
        // Boxed: the largest prober would otherwise lie in every target's loop, also while it waits.
        let probe = Box::pin(tokio::time::timeout(target.timeout + GRACE, target.probe(&mut findings)));
        match probe.await {
            Ok(Ok(())) => {
                if matches!(target.asks, Asks::Icmp(_)) {
                    self.board.solved(PROBLEM);
                }
            }
            Ok(Err(Forbidden)) => self.board.problem(PROBLEM, FORBIDDEN),
            Err(_) => findings.fail("it did not answer in time"),
        }
        (findings, begin.elapsed())
    }
}

/// Says when a target begins to fail and when it is well again, and not each time.
fn tell(target: &Target, findings: &Findings, failing: &mut bool) {
    let (probe, instance) = (&*target.job, &*target.instance);
    match &findings.failure {
        Some(reason) if !*failing => tracing::info!(probe, instance, reason, "probe fails"),
        None if *failing => tracing::info!(probe, instance, "probe succeeds again"),
        _ => {}
    }
    *failing = findings.failure.is_some();
}

impl Probes {
    /// Probes every target once, one after the other; for tests that look at what comes of it.
    #[must_use]
    pub async fn once(&self, at: UnixMillis) -> Vec<skerry_model::Scrape> {
        let mut scrapes = Vec::new();
        for target in &self.0 {
            let begin = Instant::now();
            let mut findings = target.findings();
            let _ = target.probe(&mut findings).await;
            scrapes.push(findings.scrape(at, begin.elapsed()));
        }
        scrapes
    }
}
