//! What is counted of each target, and how that is written for Prometheus.
//!
//! A target is sent items, samples or log records; whoever sends them names the series.

use super::failing::Failing;
use skerry_model::UnixMillis;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What is counted of one target since the server started.
#[derive(Debug, Default)]
pub(crate) struct TargetStats {
    /// Its name in the config.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: &'static str,
    /// Where it is.
    pub(crate) address: String,
    /// Items that it took.
    pub(crate) sent: AtomicU64,
    /// Requests that it took.
    pub(crate) sent_requests: AtomicU64,
    /// Bytes of their bodies.
    pub(crate) sent_bytes: AtomicU64,
    /// Items of requests that are tried again.
    pub(crate) failed: AtomicU64,
    /// Requests that are tried again.
    pub(crate) failed_requests: AtomicU64,
    /// Items that it refused for good.
    pub(crate) refused: AtomicU64,
    /// Items that could not be read.
    pub(crate) corrupt: AtomicU64,
    /// Items sent again that it had already.
    pub(crate) repeated: AtomicU64,
    /// Items that its config leaves out.
    pub(crate) excluded: AtomicU64,
    /// When the oldest item came in that it does not have; 0 where it has all.
    pub(crate) oldest_ms: AtomicI64,
    /// Since when it fails.
    pub(crate) failing: Failing,
}

impl TargetStats {
    /// Counts.
    pub(crate) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }

    /// Age of the oldest item that it does not have, in seconds.
    pub(crate) fn lag(&self, now: UnixMillis) -> f64 {
        match self.oldest_ms.load(Ordering::Relaxed) {
            0 => 0.0,
            oldest => now.since(UnixMillis(oldest)).as_secs_f64(),
        }
    }

    /// Since when it fails, in Unix milliseconds, and why.
    pub(crate) fn trouble(&self) -> (Option<i64>, Option<String>) {
        self.failing.now().map(|(since, why)| (since.0, why)).unzip()
    }
}

/// A counter of a target.
pub(crate) type Read = fn(&TargetStats) -> &AtomicU64;

/// Writes series of targets in Prometheus's text format.
pub(crate) struct Exposition<'a> {
    text: String,
    prefix: &'static str,
    targets: &'a [Arc<TargetStats>],
}

impl<'a> Exposition<'a> {
    /// Of these targets; each name begins with `prefix`. Without targets nothing is written.
    pub(crate) const fn new(prefix: &'static str, targets: &'a [Arc<TargetStats>]) -> Self {
        Self { text: String::new(), prefix, targets }
    }

    // Writing to a string does not fail.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let prefix = self.prefix;
        let _ = write!(self.text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, target: &str, more: &str, value: impl Display) {
        let _ = writeln!(self.text, "{}{name}{{target=\"{target}\"{more}}} {value}", self.prefix);
    }

    /// A counter: its name without `_total`.
    pub(crate) fn counter(&mut self, name: &str, help: &str, read: Read) {
        self.counters(name, help, &[("", read)]);
    }

    /// A counter that is parted by labels, each written as `,name="value"`.
    pub(crate) fn counters(&mut self, name: &str, help: &str, parts: &[(&str, Read)]) {
        if self.targets.is_empty() {
            return;
        }
        let name = format!("{name}_total");
        self.head(&name, "counter", help);
        for target in self.targets {
            for (labels, read) in parts {
                self.sample(&name, &target.name, labels, read(target).load(Ordering::Relaxed));
            }
        }
    }

    /// How far each target is behind, and whether it works; ends the text.
    pub(crate) fn health(mut self, items: &str, now: UnixMillis) -> String {
        if self.targets.is_empty() {
            return self.text;
        }
        self.head("lag_seconds", "gauge", &format!("Age of the oldest {items} to be sent."));
        for target in self.targets {
            self.sample("lag_seconds", &target.name, "", target.lag(now));
        }
        self.head("up", "gauge", "Whether the last request was answered well.");
        for target in self.targets {
            self.sample("up", &target.name, "", u8::from(target.failing.now().is_none()));
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_a_line_and_no_target_no_text() {
        let stats = Arc::new(TargetStats { name: "loki".into(), ..TargetStats::default() });
        TargetStats::add(&stats.sent, 3);
        stats.failing.fail(UnixMillis(5), "refused", true);
        stats.oldest_ms.store(1_000, Ordering::Relaxed);
        let targets = [stats.clone()];
        let mut out = Exposition::new("x_", &targets);
        out.counter("sent", "Sent.", |stats| &stats.sent);
        out.counters("dropped", "Dropped.", &[(",reason=\"refused\"", |stats| &stats.refused)]);
        let text = out.health("lines", UnixMillis(3_500));
        for line in [
            "# HELP x_sent_total Sent.\n# TYPE x_sent_total counter\nx_sent_total{target=\"loki\"} 3\n",
            "x_dropped_total{target=\"loki\",reason=\"refused\"} 0\n",
            "x_lag_seconds{target=\"loki\"} 2.5\n",
            "x_up{target=\"loki\"} 0\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(stats.trouble(), (Some(5), Some("refused".into())));
        let mut none = Exposition::new("x_", &[]);
        none.counter("sent", "Sent.", |stats| &stats.sent);
        assert_eq!(none.health("lines", UnixMillis(0)), "");
    }
}
