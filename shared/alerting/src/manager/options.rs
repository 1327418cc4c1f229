//! What a place says about how its manager works.

use super::config::Receiver;
use std::fmt;
use std::time::Duration;

/// How long entries of the log and ended silences are kept, as by Alertmanager's `--data.retention`.
pub const RETENTION: Duration = Duration::from_secs(120 * 3600);

/// Whether this place tells a receiver.
pub type Enabled = Box<dyn Fn(&Receiver) -> bool + Send + Sync>;

/// What differs between places.
pub struct Options {
    /// From the start to the first flush: long enough for two evaluations, so that alerts which inhibit others are there.
    pub settle: Duration,
    /// How long alerts that fired before the restart go on firing at least, until somebody says so again.
    pub restore_grace: Duration,
    /// How long entries of the log and ended silences are kept.
    pub retention: Duration,
    /// How people reach this place; stands in notices.
    pub external_url: String,
    /// Receivers that this place tells; alerts for others end here, and nothing is noted. `None`: all of them.
    pub enabled: Option<Enabled>,
    /// Of ids of silences and of the spread of retries: random, and another at each start.
    pub seed: u64,
    /// Bounds.
    pub bounds: Bounds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settle: Duration::ZERO,
            restore_grace: Duration::from_secs(300),
            retention: RETENTION,
            external_url: String::new(),
            enabled: None,
            seed: 0,
            bounds: Bounds::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("settle", &self.settle).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// Bounds; what does not fit is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Alerts that are known.
    pub alerts: usize,
    /// Bytes of one alert's annotations and address; longer annotations are left out.
    pub alert_bytes: usize,
    /// Groups.
    pub groups: usize,
    /// Silences, those that are over and still kept among them.
    pub silences: usize,
    /// Bytes of one silence.
    pub silence_bytes: usize,
    /// Entries of the notification log.
    pub log_entries: usize,
    /// Notices under way at once, half of them to one receiver; further ones wait.
    pub in_flight: usize,
    /// Episodes told elsewhere.
    pub suppressed: usize,
    /// Flushes in a row after which an integration that cannot be reached is owed nothing more.
    pub owed_flushes: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            alerts: 10_000,
            alert_bytes: 16 << 10,
            groups: 10_000,
            silences: 1_000,
            silence_bytes: 16 << 10,
            log_entries: 20_000,
            in_flight: 64,
            suppressed: 10_000,
            owed_flushes: 1_000,
        }
    }
}
