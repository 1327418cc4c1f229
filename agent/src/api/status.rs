//! How the agent is, as JSON and for people.

use crate::host;
use crate::vitals::Vitals;
use serde::{Deserialize, Serialize};
use skerry_model::Bytes;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether the agent measures and stores. Reaching the fleet is no part of it: a node stands alone.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl Ready {
    /// Now.
    #[must_use]
    pub fn of(vitals: &Vitals) -> Self {
        let reason = vitals.unwell(false);
        Self { ready: reason.is_none(), reason }
    }
}

/// Answer of `/status`. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// This node.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// Seconds since this run began.
    pub uptime_s: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Whether the agent does its work, and why not.
    pub ready: Ready,
    /// The fleet, where the node has joined one.
    pub fleet: Option<Fleet>,
    /// Signed configs that run, as `stream@epoch.version`.
    pub configs: Vec<String>,
    /// Signed configs on trial.
    pub trial: Vec<String>,
    /// Epoch and version of the assignment, as `epoch.version`.
    pub assignment: Option<String>,
    /// Whether the assignment takes the node out of service.
    pub revoked: bool,
    /// Whether the machine's clock is believed.
    pub time_trusted: bool,
    /// When the last round of collection was.
    pub last_round_ms: Option<i64>,
    /// Observations of that round.
    pub observations: usize,
    /// The database.
    pub store: StoreStatus,
    /// The log inputs.
    pub logs: LogStatus,
    /// Rules and alerts.
    #[serde(default)]
    pub alerts: AlertStatus,
    /// What waits for acknowledgement: scrapes for metrics, blocks for logs and events.
    pub backlog: BTreeMap<String, u64>,
    /// What somebody should look at.
    pub problems: Vec<String>,
}

/// The fleet as the node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// Its name.
    pub name: String,
    /// Where the node connects.
    pub endpoint: String,
    /// Whether it is reached now.
    pub connected: bool,
    /// Why not.
    #[serde(default)]
    pub down_reason: Option<String>,
    /// Last acknowledgement, if any in this run.
    pub last_ack_ms: Option<u64>,
    /// Batches sent in this run.
    pub batches_sent: u64,
}

/// Figures of the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Size of the file.
    pub db_bytes: u64,
    /// Size of the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes written today, counted from the start.
    pub written_today_bytes: u64,
    /// Samples taken in since the start.
    pub samples: u64,
    /// Active series.
    pub series: u64,
    /// Records given up before they were delivered, since the start.
    pub lost_records: u64,
    /// Why the last commit failed, if it did.
    pub error: Option<String>,
}

/// Figures of the log inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Lines read since the start.
    pub lines: u64,
    /// Files held open.
    pub files_open: u64,
    /// Files that cannot be read.
    pub files_unreadable: u64,
}

/// Figures of rules and alerts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// Rules.
    pub rules: usize,
    /// Evaluations of rules that failed, since the start.
    pub failures: u64,
    /// Alerts of rules that wait.
    pub pending: usize,
    /// Alerts that fire.
    pub firing: usize,
    /// Alerts that are held back until the fleet is reached.
    pub held: usize,
}

impl AlertStatus {
    fn of(vitals: &Vitals) -> Self {
        let (groups, figures) = (vitals.rule_stats.by_group(), vitals.alert_stats.figures());
        Self {
            rules: groups.iter().map(|group| group.rules).sum(),
            failures: groups.iter().map(|group| group.failures).sum(),
            pending: groups.iter().map(|group| group.alerts.0).sum(),
            firing: figures.firing,
            held: figures.held,
        }
    }
}

impl Status {
    /// Now.
    #[must_use]
    pub fn of(vitals: &Vitals) -> Self {
        let entries = vitals.board.read();
        let store = vitals.store.borrow().clone();
        let name = |config: &skerry_wire::ConfigState| format!("{}@{}.{}", config.stream, config.epoch, config.version);
        let last_ack_ms = Some(vitals.sync.last_ack_ms.load(Ordering::Relaxed)).filter(|at| *at > 0);
        Self {
            node: vitals.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: vitals.clock.mono().since(vitals.started).as_secs(),
            rss_bytes: host::usage().resident_bytes,
            ready: Ready::of(vitals),
            fleet: vitals.fleet.clone().map(|(name, endpoint)| Fleet {
                name,
                endpoint,
                connected: vitals.fleet_reached(),
                down_reason: vitals.sync.down_reason(),
                last_ack_ms,
                batches_sent: vitals.sync.batches_sent.load(Ordering::Relaxed),
            }),
            configs: entries.configs.iter().map(name).collect(),
            trial: entries.trial.iter().map(name).collect(),
            assignment: entries.assignment.map(|(epoch, version)| format!("{epoch}.{version}")),
            revoked: entries.revoked,
            time_trusted: entries.time_trusted,
            last_round_ms: entries.last_round.map(|(at, _)| at.0),
            observations: entries.last_round.map_or(0, |(_, count)| count),
            store: StoreStatus {
                db_bytes: store.db_bytes,
                wal_bytes: store.wal_bytes,
                written_today_bytes: store.written_today_bytes,
                samples: store.samples,
                series: store.series,
                lost_records: store.lost_records,
                error: store.last_error.clone(),
            },
            logs: LogStatus {
                lines: vitals.logs.lines.value(),
                files_open: vitals.logs.files_open.value(),
                files_unreadable: vitals.logs.files_unreadable.value(),
            },
            alerts: AlertStatus::of(vitals),
            backlog: store.backlog.iter().map(|b| (b.stream.as_str().to_owned(), b.waiting)).collect(),
            problems: vitals.problems(),
        }
    }

    /// For people: a line per fact.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{:<12} {value}", format!("{name}:"));
        };
        line("Node", format!("{} (agent {}, up {} s)", self.node, self.version, self.uptime_s));
        line("Ready", self.ready.reason.clone().unwrap_or_else(|| "yes".into()));
        line("Memory", about(self.rss_bytes));
        match &self.fleet {
            None => line("Fleet", "not joined; the node works alone".into()),
            Some(fleet) => {
                let link = match &fleet.down_reason {
                    _ if fleet.connected => "connected".to_owned(),
                    Some(reason) => format!("not reached, data is kept: {reason}"),
                    None => "not reached yet".to_owned(),
                };
                line("Fleet", format!("{} at {}, {link}", fleet.name, fleet.endpoint));
            }
        }
        let list = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        line("Configs", list(&self.configs));
        if !self.trial.is_empty() {
            line("On trial", list(&self.trial));
        }
        if self.revoked {
            line("Assignment", "the node is revoked".into());
        }
        line("Collection", format!("{} observations in the last round", self.observations));
        line("Logs", format!("{} lines read, {} files open", self.logs.lines, self.logs.files_open));
        let AlertStatus { rules, pending, firing, held, .. } = self.alerts;
        if rules > 0 || firing > 0 {
            let waits = if held > 0 && self.fleet.is_some() {
                format!(", {held} to be told when the fleet is reached")
            } else {
                String::new()
            };
            line("Alerts", format!("{firing} fire, {pending} wait; {rules} rules{waits}"));
        }
        let store = &self.store;
        line(
            "Store",
            format!(
                "{} + {} log, {} written today, {} series, {} records lost",
                about(store.db_bytes),
                about(store.wal_bytes),
                about(store.written_today_bytes),
                store.series,
                store.lost_records
            ),
        );
        let backlog: Vec<String> = self.backlog.iter().map(|(stream, count)| format!("{stream} {count}")).collect();
        line("Backlog", list(&backlog));
        if !self.time_trusted && self.fleet.is_some() {
            line("Clock", "not trusted".into());
        }
        for problem in &self.problems {
            line("Problem", problem.clone());
        }
        text
    }
}

/// A size with one decimal, for people.
fn about(bytes: u64) -> String {
    if bytes < 10_240 { Bytes(bytes).to_string() } else { format!("{:.1}MiB", bytes as f64 / 1_048_576.0) }
}
