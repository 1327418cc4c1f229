//! The database beside the store's, for samples that ship policies keep on the node.

use super::config::{Config, Policy, Retention};
use super::handle::{self, Closed, CommitError, Opened, Store};
use super::head::Pace;
use super::load::LoadError;
use super::open::OpenError;
use super::read::{ReadError, SeriesQuery};
use super::ship::{Held, Parted, Splitter};
use crate::clock::Clock;
use skerry_model::{Bytes, LossEntry, LossReason, Scrape, Seq, Span, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{Ack, SeqSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often what was committed counts as delivered, so that its age lets go of it. Nobody else acknowledges here.
const SETTLE_EVERY: Duration = Duration::from_secs(300);
/// Most samples that are read back at a start to go on with open windows.
const REPLAY_SAMPLES_MAX: usize = 200_000;

/// The second database and what decides between the two.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) store: Store,
    splitter: Mutex<Splitter>,
}

impl Kept {
    fn part(&self, scrape: Scrape) -> Parted {
        // A thread that panicked while it held this leaves at worst a window without its newest sample.
        self.splitter.lock().unwrap_or_else(PoisonError::into_inner).part(scrape)
    }
}

/// Settings of the second database: nothing but samples and what the writer tells of itself.
fn settings(config: &Config) -> Config {
    let small = Retention { max_bytes: Bytes::kib(256), max_age: Span::secs(86_400), policy: Policy::DropOldest };
    Config {
        max_bytes: Bytes(config.kept.max_bytes.0.saturating_add(4 << 20)),
        metrics: config.kept.clone(),
        logs: small.clone(),
        events: small.clone(),
        log_kept: small,
        ship: Vec::new(),
        log_ship: Vec::new(),
        log_budgets: Vec::new(),
        ..config.clone()
    }
}

impl Store {
    /// Opens the second database at `path` if `config` has ship policies, or if it is there from a time that had.
    /// The store then parts what it is given, and answers from both. Returns the second one's thread, which ends when
    /// the last handle of the store is dropped.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn keep_beside(
        self,
        path: &Path,
        config: &Config,
        clock: Clock,
        random: impl FnMut() -> u64,
    ) -> Result<(Self, Option<Beside>), OpenError> {
        if config.ship.is_empty() && !path.exists() {
            return Ok((self, None));
        }
        let splitter = Splitter::new(&config.ship).map_err(|problem| OpenError::Config(vec![problem]))?;
        let longest_ms = splitter.longest_ms();
        let Opened { store, thread, clean, replaced, .. } = handle::open(path, settings(config), clock, random)?;
        let beside =
            Beside { main: self.clone(), kept: store.clone(), thread, longest_ms, clean, replaced: replaced.is_some() };
        Ok((self.with_kept(Kept { store, splitter: Mutex::new(splitter) }), Some(beside)))
    }

    /// Parts a scrape between the two databases.
    pub(super) async fn append_parted(&self, kept: &Kept, scrape: Scrape, pace: Pace) -> Result<(), Closed> {
        let Parted { shipped, kept: stays, windows } = kept.part(scrape);
        for window in windows {
            self.append_shipped(window, Pace::Between).await?;
        }
        // An empty round still paces the commits of what came between.
        if !stays.values.is_empty() || pace == Pace::Round {
            kept.store.append_shipped(stays, pace).await?;
        }
        self.append_shipped(shipped, pace).await
    }
}

/// Why what an `on-alert` rule holds back is not shipped, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Samples could not be read.
    #[error(transparent)]
    Samples(#[from] ReadError),
    /// Log records could not be moved.
    #[error(transparent)]
    Records(#[from] LoadError),
}

impl Store {
    /// Ships what an `on-alert` rule keeps here of a time; says how many samples or log records.
    ///
    /// # Errors
    /// [`ReleaseError`], also where it would be more samples than a node reads at once.
    pub async fn release(&self, held: Held, range: TimeRange) -> Result<u64, ReleaseError> {
        match held {
            Held::Samples(rule) => Ok(self.release_samples(rule, range).await? as u64),
            Held::Records(rule) => Ok(self.release_records(rule, range).await?),
        }
    }

    /// Where they were shipped before, the centre has the same samples at the same times.
    async fn release_samples(&self, rule: usize, range: TimeRange) -> Result<usize, ReadError> {
        let Some(kept) = self.kept() else { return Ok(0) };
        let split = || kept.splitter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(matchers) = split().matchers(rule) else { return Ok(0) };
        let found = kept.store.read_series(SeriesQuery { matchers, range, samples_max: REPLAY_SAMPLES_MAX }).await?;
        let scrapes = split().of_rule(rule, found);
        let samples = scrapes.iter().map(|scrape| scrape.values.len()).sum();
        for scrape in scrapes {
            self.append_shipped(scrape, Pace::Between).await.map_err(|Closed| ReadError::Closed)?;
        }
        Ok(samples)
    }
}

/// The second database's own work.
pub struct Beside {
    main: Store,
    kept: Store,
    /// Its thread.
    pub thread: std::thread::JoinHandle<()>,
    longest_ms: Option<i64>,
    clean: bool,
    replaced: bool,
}

impl Beside {
    /// Goes on with the windows that were open when the run before ended, and tells the loss ledger what an unclean
    /// stop or damage took. To be called before the first scrape.
    ///
    /// # Errors
    /// [`Closed`] where a store has ended. What cannot be read back is only said: its windows begin anew.
    pub async fn resume(&self, store: &Store, now: UnixMillis) -> Result<(), Closed> {
        let newest = self.kept.stats().borrow().metric_range.map(|range| range.to);
        for (is_so, reason) in [(!self.clean, LossReason::Crash), (self.replaced, LossReason::DatabaseReplaced)] {
            if is_so {
                let range = TimeRange { from: newest.unwrap_or(UnixMillis(0)).min(now), to: now };
                let (stream, source) = (StreamKind::Metrics, "kept".to_owned());
                self.main.record_loss(LossEntry { stream, reason, count: None, range, source }).await?;
            }
        }
        let (Some(longest_ms), Some(newest), Some(kept)) = (self.longest_ms, newest, store.kept()) else {
            return Ok(());
        };
        let from = UnixMillis(newest.0.div_euclid(longest_ms).saturating_sub(1).saturating_mul(longest_ms));
        let query = SeriesQuery {
            matchers: Vec::new(),
            range: TimeRange { from, to: newest },
            samples_max: REPLAY_SAMPLES_MAX,
        };
        let windows = match self.kept.read_series(query).await {
            Ok(series) => kept.splitter.lock().unwrap_or_else(PoisonError::into_inner).replay(series),
            Err(ReadError::Closed) => return Err(Closed),
            Err(error) => {
                tracing::warn!(%error, "open windows of downsampled series begin anew");
                return Ok(());
            }
        };
        for window in windows {
            self.main.append_shipped(window, Pace::Between).await?;
        }
        Ok(())
    }

    /// Lets age count for what is committed, until `stop`.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn settle(kept: Store, stop: CancellationToken) -> Result<(), Closed> {
        let mut every = tokio::time::interval(SETTLE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            let tips = kept.tips().borrow().clone();
            match kept.flush().await {
                Ok(()) => {}
                // Not committed, so not settled; the store itself has said so.
                Err(CommitError::Write(_)) => continue,
                Err(CommitError::Closed(closed)) => return Err(closed),
            }
            for tip in tips.iter().filter(|tip| tip.waiting > 0) {
                let mut have = SeqSet::new();
                have.insert(Seq::FIRST, Seq(tip.next.0.saturating_sub(1)));
                kept.acknowledge(Ack { stream: tip.stream, epoch: tip.epoch, have, dict: None }).await?;
            }
        }
    }

    /// Its handle, for [`Self::settle`] and for closing it in order.
    #[must_use]
    pub fn handle(&self) -> Store {
        self.kept.clone()
    }
}
