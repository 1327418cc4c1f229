//! What an operator may set about the store, with its bounds.

use super::lanes::{self, LogBudget, LogRule};
use super::ship::{Rule, Splitter};
use serde::{Deserialize, Serialize};
use skerry_model::{Bytes, Span};

/// Every key below `store`, its default, and what it means: the config reference is printed from this table.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("store.max_bytes", "256MiB", "Hard cap of the database file. The write-ahead log adds about 2 MiB to it."),
    (
        "store.metrics.max_bytes",
        "96MiB",
        "Room for samples. When it is full, what the fleet has acknowledged is dropped first, then the oldest.",
    ),
    (
        "store.metrics.max_age",
        "60d",
        "Acknowledged samples older than this are dropped. Unacknowledged ones stay until the room is needed, so that a wrong clock costs no data. 0s: no limit.",
    ),
    (
        "store.metrics.policy",
        "drop-oldest",
        "What happens when the room is full of unacknowledged samples: drop-oldest.",
    ),
    ("store.logs.max_bytes", "128MiB", "Room for log blocks, compressed."),
    ("store.logs.max_age", "30d", "As store.metrics.max_age, for log records."),
    (
        "store.logs.policy",
        "drop-oldest",
        "drop-oldest, or block: leave new lines in their files until the fleet has acknowledged old ones.",
    ),
    (
        "store.ship",
        "[]",
        "Ship policies, first match decides: a list of match (a PromQL selector), policy (all, downsampled, keep, on-alert), for downsampled resolution (30s to 1d, 5m where it is absent), for on-alert when (a PromQL expression; where it is absent, firing ALERTS) and around (15s to 1h, 5m where it is absent). What no rule matches is shipped whole.",
    ),
    (
        "store.kept.max_bytes",
        "64MiB",
        "Room for samples that ship policies keep here, in agent-kept.db beside the database.",
    ),
    ("store.kept.max_age", "30d", "How long they are kept; 0s: as long as there is room."),
    (
        "store.log_ship",
        "[]",
        "Ship policies of log records, first match decides: a list of match (a selector such as {container=\"web\"}, on the labels of the source, stream and level; {} or absent: every record), policy (all, level, sample, keep, on-alert), for level at_least (error where it is absent), for sample one_of (one of how many is shipped; 10), for on-alert when and around as in store.ship. What is not shipped is kept here and can be searched here. What no rule matches is shipped.",
    ),
    (
        "store.log_kept.max_bytes",
        "64MiB",
        "Room for log records that ship policies keep here, within store.logs.max_bytes. When it is full the oldest go, into the loss ledger.",
    ),
    ("store.log_kept.max_age", "30d", "How long they are kept; 0s: as long as there is room."),
    (
        "store.log_budgets",
        "[]",
        "Room of single sources within store.logs.max_bytes, first match decides: a list of match (as in store.log_ship), max_bytes, and policy (drop-oldest; or block: the source waits where it can, others go on, and its records are not pushed out by others).",
    ),
    ("store.events.max_bytes", "8MiB", "Room for events: alerts, config outcomes, the loss ledger."),
    ("store.events.max_age", "90d", "As store.metrics.max_age, for events."),
    (
        "store.write_budget",
        "64MiB",
        "Bytes per day that may be written to flash. When it runs short, commits wait up to four times longer. 0B: no limit.",
    ),
    ("store.scrapes_online", "20", "Scrapes per commit while the fleet acknowledges them from memory; 1 to 240."),
    ("store.scrapes_offline", "4", "Unacknowledged scrapes that are committed at the latest; 1 to scrapes_online."),
    ("store.log_interval", "60s", "Longest time that log records wait in memory for their commit; 1s to 1h."),
    (
        "store.log_bytes",
        "256KiB",
        "Log bytes that are committed without waiting for store.log_interval, once a second at most; past 32 times as many, or 1MiB compressed, at once. 4KiB to 512KiB.",
    ),
    (
        "store.max_series",
        "20000",
        "Most series at a time. Samples of further ones are dropped and stand in the loss ledger; 1 to 100000.",
    ),
];

/// What happens when a stream's room is full of data that the fleet has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The oldest goes, into the loss ledger.
    DropOldest,
    /// Nothing goes; the source waits.
    Block,
}

/// How much of one stream is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Room in the database.
    pub max_bytes: Bytes,
    /// Age up to which acknowledged data stays; zero for no limit.
    pub max_age: Span,
    /// What happens when the room is full.
    #[serde(default = "drop_oldest")]
    pub policy: Policy,
}

const fn drop_oldest() -> Policy {
    Policy::DropOldest
}

const fn days(n: u64) -> Span {
    Span::secs(n * 86_400)
}

/// The store's settings. [`REFERENCE`] describes each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Hard cap of the database file.
    pub max_bytes: Bytes,
    /// Samples.
    pub metrics: Retention,
    /// Log records.
    pub logs: Retention,
    /// Events.
    pub events: Retention,
    /// Ship policies of samples, in order.
    pub ship: Vec<Rule>,
    /// Samples that ship policies keep here; in a file of their own, beside [`Self::max_bytes`].
    pub kept: Retention,
    /// Ship policies of log records, in order.
    pub log_ship: Vec<LogRule>,
    /// Log records that ship policies keep here, within the room of [`Self::logs`].
    pub log_kept: Retention,
    /// Room of single sources of log records, in order.
    pub log_budgets: Vec<LogBudget>,
    /// Bytes per day that may be written; zero for no limit.
    pub write_budget: Bytes,
    /// Scrapes per commit while they are acknowledged.
    pub scrapes_online: u32,
    /// Unacknowledged scrapes per commit at most.
    pub scrapes_offline: u32,
    /// Longest wait of a log record in memory.
    pub log_interval: Span,
    /// Log bytes per commit at most.
    pub log_bytes: Bytes,
    /// Most series at a time.
    pub max_series: u32,
}

impl Default for Config {
    fn default() -> Self {
        let keep =
            |max_bytes, max_age| Retention { max_bytes: Bytes::mib(max_bytes), max_age, policy: Policy::DropOldest };
        Self {
            max_bytes: Bytes::mib(256),
            metrics: keep(96, days(60)),
            logs: keep(128, days(30)),
            events: keep(8, days(90)),
            ship: Vec::new(),
            kept: keep(64, days(30)),
            log_ship: Vec::new(),
            log_kept: keep(64, days(30)),
            log_budgets: Vec::new(),
            write_budget: Bytes::mib(64),
            scrapes_online: 20,
            scrapes_offline: 4,
            log_interval: Span::secs(60),
            log_bytes: Bytes::kib(256),
            max_series: 20_000,
        }
    }
}

/// Smallest database that is worth having: below it the tables alone take most of the room.
const MAX_BYTES_MIN: Bytes = Bytes::mib(1);

impl Config {
    /// Every fault, as key below `store` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let split = |fault: String| {
            let (key, problem) = fault.split_once(": ").unwrap_or(("", &fault));
            (key.trim_start_matches("store.").to_owned(), problem.to_owned())
        };
        self.validate().into_iter().map(split).collect()
    }

    /// Every fault, each with its key; empty where the config can be used.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        demand(
            self.max_bytes >= MAX_BYTES_MIN,
            format!("store.max_bytes: {} is too small, at least {MAX_BYTES_MIN} is expected", self.max_bytes),
        );
        let streams = [("metrics", &self.metrics), ("logs", &self.logs), ("events", &self.events)];
        let sum = streams.iter().fold(0u64, |sum, (_, keep)| sum.saturating_add(keep.max_bytes.0));
        demand(
            sum <= self.max_bytes.0,
            format!(
                "store.max_bytes: {} is less than metrics, logs and events may take together ({})",
                self.max_bytes,
                Bytes(sum)
            ),
        );
        for (name, keep) in streams.into_iter().chain([("kept", &self.kept), ("log_kept", &self.log_kept)]) {
            demand(
                keep.max_bytes >= Bytes::kib(64),
                format!("store.{name}.max_bytes: {} is too small, at least 64KiB is expected", keep.max_bytes),
            );
            demand(
                keep.policy == Policy::DropOldest || name == "logs",
                format!("store.{name}.policy: block is possible for logs alone; a scrape or an event cannot wait"),
            );
        }
        if let Err(problem) = Splitter::new(&self.ship) {
            demand(false, format!("store.ship: {problem}"));
        }
        if let Err(found) = lanes::check(&self.log_ship, &self.log_budgets) {
            found.into_iter().for_each(|(key, problem)| demand(false, format!("store.{key}: {problem}")));
        }
        let waiting = self.log_budgets.iter().filter(|budget| budget.policy == Policy::Block);
        let sum = waiting.fold(0u64, |sum, budget| sum.saturating_add(budget.max_bytes.0));
        demand(
            sum <= self.logs.max_bytes.0,
            format!(
                "store.log_budgets: those that block may take {} together, more than store.logs.max_bytes ({})",
                Bytes(sum),
                self.logs.max_bytes
            ),
        );
        demand(
            self.write_budget.0 == 0 || self.write_budget >= Bytes::mib(1),
            format!("store.write_budget: {} is too small, 0B or at least 1MiB a day is expected", self.write_budget),
        );
        demand(
            (1..=240).contains(&self.scrapes_online),
            format!("store.scrapes_online: {} is out of range, 1 to 240 is expected", self.scrapes_online),
        );
        demand(
            (1..=self.scrapes_online).contains(&self.scrapes_offline),
            format!("store.scrapes_offline: {} is out of range, 1 to scrapes_online is expected", self.scrapes_offline),
        );
        demand(
            (Span::secs(1)..=Span::secs(3600)).contains(&self.log_interval),
            format!("store.log_interval: {} is out of range, 1s to 1h is expected", self.log_interval),
        );
        demand(
            (Bytes::kib(4)..=Bytes::kib(512)).contains(&self.log_bytes),
            format!("store.log_bytes: {} is out of range, 4KiB to 512KiB is expected", self.log_bytes),
        );
        demand(
            (1..=100_000).contains(&self.max_series),
            format!("store.max_series: {} is out of range, 1 to 100000 is expected", self.max_series),
        );
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_the_reference_names_its_values() {
        let config = Config::default();
        assert_eq!(config.validate(), Vec::<String>::new());
        let json = serde_json::to_value(&config).unwrap();
        let mut keys = 0;
        for (key, default, _) in REFERENCE {
            let value = key.split('.').skip(1).fold(&json, |at, part| &at[part]);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let parsed = |text: &str| text.parse::<Span>().map(|span| span.to_string());
            assert_eq!(parsed(&text).unwrap_or(text), parsed(default).unwrap_or((*default).to_owned()), "{key}");
            keys += 1;
        }
        let leaves = json.as_object().unwrap().values().map(|v| v.as_object().map_or(1, |o| o.len())).sum::<usize>();
        assert_eq!(
            keys,
            leaves - 3,
            "every key but events.policy, kept.policy and log_kept.policy stands in the reference"
        );
    }

    #[test]
    fn every_fault_is_reported_with_its_key() {
        let config = Config {
            max_bytes: Bytes::kib(4),
            write_budget: Bytes(1),
            scrapes_online: 0,
            log_interval: Span::secs(0),
            log_bytes: Bytes(0),
            max_series: 0,
            events: Retention { max_bytes: Bytes(0), max_age: Span::secs(0), policy: Policy::Block },
            ..Config::default()
        };
        let faults = config.validate();
        assert_eq!(faults.len(), 10, "{faults:#?}");
        assert!(faults.iter().all(|fault| fault.starts_with("store.")), "{faults:#?}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<Config>(r#"{"max_byte": "1MiB"}"#).unwrap_err();
        assert!(error.to_string().contains("max_byte"), "{error}");
        let config: Config = serde_json::from_str(r#"{"max_series": 7}"#).unwrap();
        assert_eq!(config, Config { max_series: 7, ..Config::default() });
    }
}
