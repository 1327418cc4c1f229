//! One target's loop.

use super::discovery::Wanted;
use super::state::Status;
use crate::board::Board;
use crate::clock::Clock;
use crate::http::{Cause, Head, HttpError, Trace};
use crate::store::{Closed, Pace, Store};
use skerry_model::{LossEntry, LossReason, StreamKind, TimeRange, UnixMillis};
use skerry_scrape::exposition::{Entry, Format, Parser};
use skerry_scrape::rounds::{Failure, Outcome, Round, Rounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// What all loops share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) board: Board,
    /// Series of all targets, and how many there may be.
    pub(super) series: Arc<AtomicUsize>,
    pub(super) series_max: usize,
}

/// One target.
pub(super) struct TargetLoop {
    pub(super) wanted: Wanted,
    pub(super) status: Arc<Status>,
    pub(super) shared: Shared,
    /// Set when the target is no more.
    pub(super) gone: CancellationToken,
    /// Set when the agent stops.
    pub(super) stop: CancellationToken,
}

/// Since when a target fails, and with which words.
struct Failing {
    since: UnixMillis,
    words: String,
    reached: bool,
}

impl TargetLoop {
    /// Scrapes until the target is gone or the agent stops. A target that is gone ends with stale markers; where the
    /// agent stops the series go on with its next run.
    pub(super) async fn run(self) -> Result<(), Closed> {
        let Self { wanted, status, shared, gone, stop } = &self;
        let mut rounds = Rounds::new(wanted.target.labels.clone(), wanted.pool.settings.clone());
        let mut failing: Option<Failing> = None;
        let mut metadata_version = 0;
        let begin = tokio::time::Instant::now() + first_in(&wanted.target, shared.clock.wall());
        let mut every = tokio::time::interval_at(begin, wanted.target.interval);
        every.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = gone.cancelled() => break,
                _ = every.tick() => {}
            }
            let (at, begun, before) = (shared.clock.wall(), shared.clock.instant(), rounds.series());
            let room = shared.series_max.saturating_sub(shared.series.load(Ordering::Relaxed)) + before;
            let mut round = rounds.begin(at, room);
            let result = match status.refused() {
                Some(why) => Err(Failure::Limit(why)),
                None => tokio::select! {
                    () = stop.cancelled() => break,
                    () = gone.cancelled() => break,
                    result = fetch(wanted, &mut round) => result,
                },
            };
            let took = begun.elapsed();
            let outcome = round.finish(took, result);
            shared.series.fetch_add(outcome.series, Ordering::Relaxed);
            shared.series.fetch_sub(before, Ordering::Relaxed);
            let error = outcome.failure.as_ref().map(ToString::to_string);
            status.scraped(at, took, error);
            if metadata_version != rounds.metadata_version() {
                metadata_version = rounds.metadata_version();
                status.told(rounds.metadata().collect());
            }
            self.book(&outcome, at, &mut failing).await?;
            for scrape in outcome.scrapes {
                shared.store.append_scrape(scrape, Pace::Between).await?;
            }
        }
        let at = shared.clock.wall();
        if let Some(failing) = failing {
            self.book_unreached(&failing, at).await?;
            shared.board.solved(&self.source());
        }
        shared.series.fetch_sub(rounds.series(), Ordering::Relaxed);
        match rounds.end(at).filter(|_| gone.is_cancelled()) {
            Some(scrape) => shared.store.append_scrape(scrape, Pace::Between).await,
            None => Ok(()),
        }
    }

    /// Its name on the board and in the ledger.
    fn source(&self) -> String {
        let mut source = format!("scrape {} {}", self.wanted.pool.job.name, self.wanted.target.url);
        source.truncate(source.floor_char_boundary(256));
        source
    }

    async fn lose(&self, reason: LossReason, count: Option<u64>, range: TimeRange) -> Result<(), Closed> {
        let entry = LossEntry { stream: StreamKind::Metrics, reason, count, range, source: self.source() };
        self.shared.store.record_loss(entry).await
    }

    /// Tells log, board and ledger of what went wrong, or that nothing does any more.
    async fn book(&self, outcome: &Outcome, at: UnixMillis, failing: &mut Option<Failing>) -> Result<(), Closed> {
        let (job, url) = (&self.wanted.pool.job.name, &self.wanted.target.url);
        for (reason, count) in &outcome.refused {
            self.lose(*reason, Some(*count), TimeRange::at(at)).await?;
        }
        let Some(failure) = &outcome.failure else {
            if let Some(over) = failing.take() {
                tracing::info!(job, url, "target is scraped again");
                self.shared.board.solved(&self.source());
                self.book_unreached(&over, at).await?;
            }
            return Ok(());
        };
        let (reached, words) = (!matches!(failure, Failure::Fetch(_)), failure.to_string());
        if reached {
            // What came was thrown away. How much more would have come nobody knows.
            let count = Some(outcome.scraped).filter(|count| *count > 0);
            self.lose(failure.reason(), count, TimeRange::at(at)).await?;
        }
        match failing {
            Some(last) if last.words == words => {}
            last => {
                tracing::warn!(job, url, problem = words, "target cannot be scraped; its series end until it can");
                self.shared.board.problem(&self.source(), &words);
                let since = last.as_ref().filter(|last| last.reached == reached).map_or(at, |last| last.since);
                if !reached && since == at {
                    self.lose(LossReason::CollectorFailed, None, TimeRange::at(at)).await?;
                }
                *last = Some(Failing { since, words, reached });
            }
        }
        Ok(())
    }

    /// The whole time in which nothing came, once it is over; its begin was told when it began.
    async fn book_unreached(&self, failing: &Failing, until: UnixMillis) -> Result<(), Closed> {
        if failing.reached {
            return Ok(());
        }
        let range = TimeRange { from: failing.since, to: until };
        self.lose(LossReason::CollectorFailed, None, range).await
    }
}

/// How long until the target's first scrape: its own place in its interval, which is the same after a restart.
fn first_in(target: &skerry_scrape::target::Target, now: UnixMillis) -> Duration {
    let interval_ms = i64::try_from(target.interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let offset_ms = i64::try_from(target.offset().as_millis()).unwrap_or(0);
    let wait_ms = offset_ms.saturating_sub(now.0).rem_euclid(interval_ms);
    Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
}

/// Fetches and reads one exposition.
async fn fetch(wanted: &Wanted, round: &mut Round<'_>) -> Result<(), Failure> {
    let request = wanted.pool.request(&wanted.target.url, wanted.target.timeout);
    let request = request.map_err(|error| Failure::Fetch(error.to_string()))?;
    let mut reading = Reading { round, parser: None, failure: None };
    let mut sink = |head: &Head, chunk: &[u8]| reading.take(head, chunk);
    let outcome = wanted.pool.client().stream_headed(&request, &mut Trace::default(), &mut sink).await;
    let Reading { round, parser, failure } = reading;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let head = match outcome {
        Ok(head) => head,
        Err(HttpError { cause: Cause::Oversize, .. }) => {
            let max = wanted.pool.body_bytes_max();
            return Err(Failure::Oversize(format!("body_size_limit: the body is longer than {max} bytes")));
        }
        Err(error) => return Err(Failure::Fetch(error.to_string())),
    };
    check_status(&head)?;
    // An empty body is an exposition of the format that its head says.
    let parser = parser.unwrap_or_else(|| Parser::new(format(&head)));
    Ok(parser.finish(&mut |entry: Entry<'_>| round.take(&entry))?)
}

fn check_status(head: &Head) -> Result<(), Failure> {
    if head.status.as_u16() == 200 {
        return Ok(());
    }
    Err(Failure::Fetch(format!("server returned HTTP status {}", head.status)))
}

fn format(head: &Head) -> Format {
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok());
    Format::of_content_type(content_type.unwrap_or_default())
}

/// A body that is being read.
struct Reading<'a, 'r> {
    round: &'a mut Round<'r>,
    parser: Option<Parser>,
    failure: Option<Failure>,
}

impl Reading<'_, '_> {
    /// Reads a chunk; an error ends the exchange, and its cause stays in `failure`.
    fn take(&mut self, head: &Head, chunk: &[u8]) -> Result<(), String> {
        let fed = check_status(head).and_then(|()| {
            let parser = self.parser.get_or_insert_with(|| Parser::new(format(head)));
            parser.feed(chunk, &mut |entry: Entry<'_>| self.round.take(&entry)).map_err(Failure::from)
        });
        if let Err(failure) = fed {
            self.failure = Some(failure);
        }
        // What the round itself refuses it tells when it ends.
        if self.failure.is_some() || self.round.has_failed() { Err("the scrape has failed".into()) } else { Ok(()) }
    }
}
