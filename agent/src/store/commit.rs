//! When to commit: pure decisions about flash wear against what an unclean stop may cost.
//!
//! Samples wait until [`Config::scrapes_online`] of them fill a block, but only [`Config::scrapes_offline`] (or a
//! minute) of what the fleet has not acknowledged. Log records wait for a full block or an interval: an unclean stop
//! costs them nothing, their files are read again. When the write budget runs short all waits grow, up to four times.

use super::config::Config;
use skerry_model::Mono;
use std::time::Duration;

/// Longest time that an unacknowledged scrape waits, whatever the interval of collection.
const SCRAPE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest time that a sender waits for its acknowledgement, so that several of them share a commit. Short, because some
/// send nothing else meanwhile: Docker's fluentd driver waits for each line, and a quarter of a second each would stop
/// the program that writes them.
const PROMISE_WAIT: Duration = Duration::from_millis(10);
/// Shortest time between two commits of log records, unless [`BACKLOG_BYTES`] of full blocks wait: while a backlog is
/// drained each commit would cover a few milliseconds of reading, and cost as much as a second's.
const LOG_PACE: Duration = Duration::from_secs(1);
/// Compressed, so that this is some 8 MiB of text.
const BACKLOG_BYTES: usize = 1 << 20;
/// The same as text: so many times the bytes that are committed when they come more slowly.
const BACKLOG_FACTOR: u64 = 32;
/// Most memory that waiting scrapes take before they are committed.
const HEAD_BYTES_MAX: usize = 2 << 20;
/// Longest that waits may grow.
const FACTOR_MAX: f64 = 4.0;
/// Time to the second attempt when the disk takes nothing; it doubles with each further one.
pub(super) const RETRY_AFTER_MIN: Duration = Duration::from_secs(5);
/// Longest time between attempts.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What waits in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    /// Scrapes.
    pub(super) scrapes: usize,
    /// Those that are not acknowledged.
    pub(super) scrapes_unacked: usize,
    /// Memory of the scrapes.
    pub(super) scrape_bytes: usize,
    /// When the oldest unacknowledged one came.
    pub(super) scrape_since: Option<Mono>,
    /// Bytes of log records, before compression.
    pub(super) log_bytes: usize,
    /// Bytes of the blocks of log records that are full.
    pub(super) log_full_bytes: usize,
    /// When the oldest log record or loss came.
    pub(super) log_since: Option<Mono>,
    /// When the oldest records came whose sender waits for the commit.
    pub(super) promised_since: Option<Mono>,
}

/// What has to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Due {
    /// The waiting scrapes.
    pub(super) scrapes: bool,
    /// The waiting log records and losses.
    pub(super) logs: bool,
}

impl Due {
    /// All that waits.
    pub(super) const ALL: Self = Self { scrapes: true, logs: true };

    /// Whether anything is due.
    pub(super) const fn any(self) -> bool {
        self.scrapes || self.logs
    }
}

fn stretched(span: Duration, factor: f64) -> Duration {
    span.mul_f64(factor)
}

fn scaled(count: u32, factor: f64) -> usize {
    (f64::from(count) * factor) as usize
}

/// What is due now.
pub(super) fn due(config: &Config, factor: f64, waiting: &Waiting, now: Mono) -> Due {
    let late = |since: Option<Mono>, span| since.is_some_and(|since| now.since(since) >= stretched(span, factor));
    Due {
        scrapes: waiting.scrapes >= scaled(config.scrapes_online, factor)
            || waiting.scrapes_unacked >= scaled(config.scrapes_offline, factor)
            || waiting.scrape_bytes >= HEAD_BYTES_MAX
            || late(waiting.scrape_since, SCRAPE_WAIT_MAX),
        // A block of logs does not grow with the factor: twice as large compresses no better and costs memory.
        logs: waiting.log_full_bytes >= BACKLOG_BYTES
            || waiting.log_bytes as u64 >= config.log_bytes.0 * BACKLOG_FACTOR
            || (has_block(config, waiting) && waiting.log_since.is_none_or(|since| now.since(since) >= LOG_PACE))
            || late(waiting.log_since, config.log_interval.0)
            || waiting.promised_since.is_some_and(|since| now.since(since) >= PROMISE_WAIT),
    }
}

/// Whether enough log records wait to be committed before their time.
fn has_block(config: &Config, waiting: &Waiting) -> bool {
    waiting.log_bytes as u64 >= config.log_bytes.0
}

/// When something will be due if nothing else comes.
pub(super) fn next_due(config: &Config, factor: f64, waiting: &Waiting) -> Option<Mono> {
    let scrapes = waiting.scrape_since.map(|since| since + stretched(SCRAPE_WAIT_MAX, factor));
    let log_wait = if has_block(config, waiting) { LOG_PACE } else { stretched(config.log_interval.0, factor) };
    let logs = waiting.log_since.map(|since| since + log_wait);
    let promised = waiting.promised_since.map(|since| since + PROMISE_WAIT);
    scrapes.into_iter().chain(logs).chain(promised).min()
}

/// The write budget as an account that fills evenly through the day and holds at most an hour's worth.
///
/// A short burst is paid from what was saved; a lasting overdraft stretches the waits until spending fits.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    per_day: u64,
    credit: f64,
    at: Mono,
}

impl Budget {
    /// A full account. `per_day` is in bytes; zero means no limit.
    pub(super) const fn new(per_day: u64, now: Mono) -> Self {
        Self { per_day, credit: per_day as f64 / 24.0, at: now }
    }

    fn hour(&self) -> f64 {
        self.per_day as f64 / 24.0
    }

    /// Books bytes written.
    pub(super) fn spend(&mut self, bytes: u64, now: Mono) {
        self.credit = (self.balance(now) - bytes as f64).max(-self.hour());
        self.at = now;
    }

    fn balance(&self, now: Mono) -> f64 {
        let earned = self.per_day as f64 * now.since(self.at).as_secs_f64() / 86_400.0;
        (self.credit + earned).min(self.hour())
    }

    /// How much longer to wait: 1 while at least half of an hour's worth is saved, rising to 4 at half of one owed.
    pub(super) fn factor(&self, now: Mono) -> f64 {
        if self.per_day == 0 {
            return 1.0;
        }
        let short = (0.5 - self.balance(now) / self.hour()).clamp(0.0, 1.0);
        1.0 + (FACTOR_MAX - 1.0) * short
    }
}

#[cfg(test)]
mod tests {
    use super::due as commit_due;
    use super::*;
    use skerry_model::Bytes;

    fn after(secs: u64) -> Mono {
        Mono(secs * 1000)
    }

    #[test]
    fn scrapes_are_due_by_count_age_and_memory() {
        let config = Config::default();
        let due = |waiting: Waiting, factor, secs| commit_due(&config, factor, &waiting, after(secs)).scrapes;
        let online = |scrapes| Waiting { scrapes, ..Waiting::default() };
        assert!(!due(online(19), 1.0, 1000) && due(online(20), 1.0, 0));
        assert!(!due(online(79), 4.0, 1000) && due(online(80), 4.0, 0));
        let offline =
            |n| Waiting { scrapes: n, scrapes_unacked: n, scrape_since: Some(after(0)), ..Waiting::default() };
        assert!(!due(offline(3), 1.0, 45) && due(offline(4), 1.0, 45));
        assert!(due(offline(1), 1.0, 60), "a slow collection does not stretch the loss of a crash");
        assert!(due(Waiting { scrape_bytes: HEAD_BYTES_MAX, ..online(1) }, 4.0, 0));
        assert!(!due(Waiting::default(), 1.0, 1 << 40));
    }

    #[test]
    fn logs_are_due_by_bytes_and_age_and_the_wake_up_says_when() {
        let config = Config::default();
        let waiting = Waiting { log_bytes: 10, log_since: Some(after(5)), ..Waiting::default() };
        assert_eq!(next_due(&config, 1.0, &waiting), Some(after(65)));
        assert_eq!(next_due(&config, 4.0, &waiting), Some(after(245)));
        assert!(!due(&config, 1.0, &waiting, after(64)).any());
        assert_eq!(due(&config, 1.0, &waiting, after(65)), Due { scrapes: false, logs: true });
        let full = Waiting { log_bytes: 256 << 10, ..waiting };
        assert!(!due(&config, 4.0, &full, after(5)).logs, "a backlog shares its commits");
        assert_eq!(next_due(&config, 4.0, &full), Some(after(5) + LOG_PACE));
        assert!(due(&config, 4.0, &full, after(6)).logs);
        assert!(due(&config, 4.0, &Waiting { log_full_bytes: BACKLOG_BYTES, ..full }, after(5)).logs);
        assert_eq!(next_due(&config, 1.0, &Waiting::default()), None);
        let promised = Waiting { promised_since: Some(after(6)), ..waiting };
        assert_eq!(next_due(&config, 4.0, &promised), Some(after(6) + PROMISE_WAIT));
        assert!(!due(&config, 4.0, &promised, after(6)).logs && due(&config, 4.0, &promised, after(7)).logs);
    }

    #[test]
    fn spending_above_the_budget_stretches_and_recovers() {
        let per_day = Bytes::mib(24).0;
        let mut budget = Budget::new(per_day, after(0));
        assert_eq!(budget.factor(after(0)), 1.0);
        budget.spend(Bytes::kib(512).0, after(0));
        assert_eq!(budget.factor(after(0)), 1.0, "half of an hour's worth was saved");
        budget.spend(Bytes::mib(1).0, after(0));
        assert_eq!(budget.factor(after(0)), FACTOR_MAX);
        budget.spend(Bytes::mib(500).0, after(0));
        assert_eq!(budget.factor(after(3600)), 2.5, "an overdraft is remembered for an hour at most");
        assert_eq!(budget.factor(after(7200)), 1.0);
        assert_eq!(Budget::new(0, after(0)).factor(after(0)), 1.0);
    }

    #[test]
    fn steady_spending_settles_where_it_fits_the_budget() {
        // Each commit costs 40 KiB; at factor 1 one comes every 60 s: 56 MiB a day against a budget of 28.
        let mut budget = Budget::new(Bytes::mib(28).0, after(0));
        let (mut now, mut spent, mut last_day) = (0u64, 0u64, 0u64);
        while now < 3 * 86_400 {
            now += (60.0 * budget.factor(after(now))) as u64;
            budget.spend(Bytes::kib(40).0, after(now));
            spent += Bytes::kib(40).0;
            if now > 2 * 86_400 {
                last_day += Bytes::kib(40).0;
            }
        }
        assert!(spent > 0 && last_day <= Bytes::mib(30).0 && last_day >= Bytes::mib(25).0, "{last_day}");
    }
}
