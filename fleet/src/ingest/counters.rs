//! What the intake counts about itself.

use crate::intake::core::Verdict;
use skerry_model::StreamKind;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counters since the server started.
#[derive(Debug, Default)]
pub struct Counters {
    messages: AtomicU64,
    message_bytes: AtomicU64,
    batches: [AtomicU64; 3],
    duplicates: AtomicU64,
    repeated: AtomicU64,
    samples: AtomicU64,
    log_lines: AtomicU64,
    events: AtomicU64,
    gone: AtomicU64,
    dictionaries_asked: AtomicU64,
    quarantined: AtomicU64,
    store_failures: AtomicU64,
    acks: AtomicU64,
    acks_unsent: AtomicU64,
    commits: AtomicU64,
    commit_micros: AtomicU64,
    /// By code. Codes are words of this program, so there are few.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl Counters {
    /// Fresh counters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often something was refused with this code.
    #[must_use]
    pub fn refused(&self, code: &str) -> u64 {
        self.codes().get(code).copied().unwrap_or(0)
    }

    pub(super) fn message(&self, bytes: usize) {
        add(&self.messages, 1);
        add(&self.message_bytes, bytes as u64);
    }

    pub(super) fn refuse(&self, code: &'static str) {
        *self.codes().entry(code).or_default() += 1;
    }

    pub(super) fn committed(&self, stream: StreamKind, verdict: &Verdict, took: Duration) {
        add(&self.commits, 1);
        add(&self.commit_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let at = StreamKind::ALL.iter().position(|kind| *kind == stream).unwrap_or(0);
        add(&self.batches[at], 1);
        match verdict {
            Verdict::Stored { repeated, records, .. } => {
                add(&self.repeated, *repeated);
                let counter = match stream {
                    StreamKind::Metrics => &self.samples,
                    StreamKind::Logs => &self.log_lines,
                    StreamKind::Events => &self.events,
                };
                add(counter, *records);
            }
            Verdict::Duplicate => add(&self.duplicates, 1),
            Verdict::Gone { numbers } => add(&self.gone, *numbers),
            Verdict::NeedsDict { .. } => add(&self.dictionaries_asked, 1),
            Verdict::Quarantined { .. } => add(&self.quarantined, 1),
            Verdict::Refused(refusal) => self.refuse(refusal.code()),
        }
    }

    pub(super) fn store_failed(&self) {
        add(&self.store_failures, 1);
    }

    pub(super) fn acks(&self, acks: usize, sent: bool) {
        add(if sent { &self.acks } else { &self.acks_unsent }, acks as u64);
    }

    /// The counters in Prometheus's text format.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let plain = [
            ("messages", "Messages received from nodes.", &self.messages),
            ("message_bytes", "Bytes of messages received from nodes.", &self.message_bytes),
            ("duplicate_batches", "Batches of which everything was held already.", &self.duplicates),
            (
                "repeated_numbers",
                "Sequence numbers that came again within a batch that was new in part.",
                &self.repeated,
            ),
            ("samples", "Samples stored.", &self.samples),
            ("log_lines", "Log records stored.", &self.log_lines),
            ("events", "Events stored.", &self.events),
            ("gone_numbers", "Sequence numbers that nodes gave up.", &self.gone),
            (
                "dictionaries_asked",
                "Batches not taken because the labels of a series were missing.",
                &self.dictionaries_asked,
            ),
            ("quarantined_batches", "Batches that could not be read and were kept aside.", &self.quarantined),
            ("store_failures", "Batches that the store could not commit.", &self.store_failures),
            ("acks", "Acknowledgements sent.", &self.acks),
            ("acks_unsent", "Acknowledgements that found no connection or a full queue.", &self.acks_unsent),
        ];
        for (name, help, counter) in plain {
            head(&mut text, name, help);
            let _ = writeln!(text, "skerry_fleet_ingest_{name}_total {}", counter.load(Ordering::Relaxed));
        }
        head(&mut text, "batches", "Batches decided on.");
        for (stream, counter) in StreamKind::ALL.iter().zip(&self.batches) {
            let count = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "skerry_fleet_ingest_batches_total{{stream=\"{stream}\"}} {count}");
        }
        head(&mut text, "refused", "Messages and batches not taken, by code.");
        for (code, count) in &*self.codes() {
            let _ = writeln!(text, "skerry_fleet_ingest_refused_total{{code=\"{code}\"}} {count}");
        }
        let _ = writeln!(text, "# HELP skerry_fleet_ingest_commit_seconds From a batch's arrival to its commit.");
        let _ = writeln!(text, "# TYPE skerry_fleet_ingest_commit_seconds summary");
        let seconds = Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(text, "skerry_fleet_ingest_commit_seconds_sum {seconds}");
        let count = self.commits.load(Ordering::Relaxed);
        let _ = writeln!(text, "skerry_fleet_ingest_commit_seconds_count {count}");
        text
    }

    fn codes(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP skerry_fleet_ingest_{name}_total {help}");
    let _ = writeln!(text, "# TYPE skerry_fleet_ingest_{name}_total counter");
}
