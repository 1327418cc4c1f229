//! The agent's metrics about itself. They are collected, kept and shipped like all others.

use crate::host;
use crate::logs::inputs::Count;
use crate::push::DropReason;
use crate::rules::GroupStats;
use crate::vitals::Vitals;
use skerry_alerting::manager::Metric;
use skerry_model::{LabelsBuilder, MetricKind, MetricMeta, Observation};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Row<'a> = (&'static MetricMeta, &'a [(&'a str, &'a str)], f64);

macro_rules! metas {
    ($($id:ident $kind:ident $name:literal $help:literal;)*) => {
        $(static $id: MetricMeta = MetricMeta::fixed($name, MetricKind::$kind, $help);)*
        /// Names of all metrics of this module.
        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

metas! {
    BUILD Gauge "skerry_build_info" "Version of the agent; always 1.";
    CPU Counter "process_cpu_seconds_total" "CPU time of the agent, in seconds.";
    RSS Gauge "process_resident_memory_bytes" "Resident memory of the agent.";
    VIRTUAL Gauge "process_virtual_memory_bytes" "Virtual memory of the agent.";
    FDS Gauge "process_open_fds" "Open file descriptors of the agent.";
    START Gauge "process_start_time_seconds" "Start of the agent, in seconds since 1970.";
    DB Gauge "skerry_store_db_bytes" "Size of the node's database.";
    WAL Gauge "skerry_store_wal_bytes" "Size of its write-ahead log.";
    WRITTEN Counter "skerry_store_written_bytes_total" "Bytes written to the device.";
    COMMITS Counter "skerry_store_commits_total" "Commits.";
    FAILED Counter "skerry_store_failed_commits_total" "Commits that failed.";
    SAMPLES Counter "skerry_store_samples_total" "Samples taken in.";
    LINES Counter "skerry_store_log_lines_total" "Log records taken in.";
    LINES_KEPT Counter "skerry_store_log_lines_kept_total" "Those of them that ship policies keep on the node.";
    STORED Counter "skerry_store_block_bytes_total" "Bytes of committed blocks.";
    CORRUPT Counter "skerry_store_corrupt_blocks_total" "Blocks that could not be read back.";
    EVICTED Counter "skerry_store_evicted_blocks_total" "Blocks evicted, delivered or not.";
    LOST Counter "skerry_store_lost_records_total" "Records that were evicted or unreadable before they were delivered.";
    SERIES Gauge "skerry_store_series" "Active series.";
    FACTOR Gauge "skerry_store_commit_factor" "How many times longer commits wait because the write budget runs short.";
    BACKLOG Gauge "skerry_backlog" "Numbers that wait for acknowledgement: scrapes of metrics, blocks of logs and events.";
    LOG_LINES Counter "skerry_logs_lines_total" "Log records read.";
    LOG_BYTES Counter "skerry_logs_bytes_total" "Bytes of log records read.";
    LOG_PARSE Counter "skerry_logs_parse_failures_total" "Lines that were not in their file's format and were kept raw.";
    LOG_STAGES Counter "skerry_logs_stage_problems_total" "Records that stages kept but could not treat as told, by kind.";
    LOG_OVERSIZE Counter "skerry_logs_oversize_total" "Lines that were cut.";
    LOG_SPLITS Counter "skerry_logs_multiline_splits_total" "Records of several lines that were too long and went on in another.";
    LOG_ROTATIONS Counter "skerry_logs_rotations_total" "Files that were rotated by rename.";
    LOG_TRUNCATIONS Counter "skerry_logs_truncations_total" "Files that were truncated or rewritten.";
    LOG_LOST Counter "skerry_logs_lost_files_total" "Files that went away before they were read to their end.";
    LOG_ERRORS Counter "skerry_logs_read_errors_total" "Failed attempts to open or read a file.";
    LOG_OPEN Gauge "skerry_logs_files_open" "Log files held open.";
    LOG_WAITING Gauge "skerry_logs_files_waiting" "Log files that wait because too many are open.";
    LOG_UNREADABLE Gauge "skerry_logs_files_unreadable" "Log files that cannot be read.";
    IN_RECORDS Counter "skerry_log_input_records_total" "Log records taken, by input beside files and containers.";
    IN_INVALID Counter "skerry_log_input_invalid_total" "Messages that were not in their format: kept as text where they could be.";
    IN_DROPPED Counter "skerry_log_input_dropped_total" "Messages that found no room in memory or in the kernel.";
    IN_CONNECTIONS Gauge "skerry_log_input_connections" "Open connections.";
    IN_FAULTS Counter "skerry_log_input_closed_connections_total" "Connections that were closed for what their peer did.";
    IN_ACKS Counter "skerry_log_input_acks_total" "Chunks acknowledged to their sender.";
    IN_DUPLICATES Counter "skerry_log_input_duplicate_chunks_total" "Chunks that came again and were only acknowledged.";
    IN_STARTS Counter "skerry_log_input_starts_total" "Starts of the program that reads the journal.";
    KEPT_DB Gauge "skerry_store_kept_db_bytes" "Size of the database of what ship policies keep here, with its log.";
    KEPT_SAMPLES Counter "skerry_store_kept_samples_total" "Samples that ship policies kept here.";
    KEPT_EVICTED Counter "skerry_store_kept_evicted_blocks_total" "Blocks of them that retention evicted.";
    STATSD_PACKETS Counter "skerry_statsd_packets_total" "Datagrams of StatsD that came.";
    STATSD_LINES Counter "skerry_statsd_lines_total" "Lines of StatsD that were taken.";
    STATSD_DROPPED Counter "skerry_statsd_dropped_lines_total" "Lines of StatsD that were not taken, by reason.";
    STATSD_SERIES Gauge "skerry_statsd_metrics" "StatsD metrics held, by name and tags.";
    PUSHES Counter "skerry_push_requests_total" "Pushes and deletions that were taken.";
    PUSH_REFUSED Counter "skerry_push_refused_requests_total" "Pushes that were refused.";
    PUSH_GROUPS Gauge "skerry_push_groups" "Pushed groups held.";
    RULE_VALUES Counter "skerry_rules_values_total" "Samples that rules looked at and values that they made.";
    WINDOW_SERIES Gauge "skerry_rules_memory_series" "Series that are kept in memory for rules.";
    WINDOW_SAMPLES Gauge "skerry_rules_memory_samples" "Samples that are kept in memory for rules.";
    WINDOW_BYTES Gauge "skerry_rules_memory_bytes" "Memory of them, about.";
    WINDOW_LEFT Gauge "skerry_rules_memory_left_out" "Selectors of rules that are answered from the store, because memory has no room.";
    RULE_RULES Gauge "prometheus_rule_group_rules" "Rules of the group.";
    RULE_EVALUATIONS Counter "prometheus_rule_evaluations_total" "Evaluations of the group's rules.";
    RULE_FAILURES Counter "prometheus_rule_evaluation_failures_total" "Those of them that failed.";
    RULE_ITERATIONS Counter "prometheus_rule_group_iterations_total" "Evaluations of the group, done or missed.";
    RULE_MISSED Counter "prometheus_rule_group_iterations_missed_total" "Evaluations that were left out because their time had passed.";
    RULE_INTERVAL Gauge "prometheus_rule_group_interval_seconds" "Time between two evaluations of the group.";
    RULE_TOOK Gauge "prometheus_rule_group_last_duration_seconds" "How long the last evaluation of the group took.";
    RULE_LAST Gauge "prometheus_rule_group_last_evaluation_timestamp_seconds" "When the last evaluation of the group was.";
    RULE_SAMPLES Gauge "prometheus_rule_group_last_evaluation_samples" "Samples that the last evaluation of the group gave.";
    ALERTS_FOLLOWED Gauge "skerry_alerts_followed" "Alerts of which the fleet is told, or will be.";
    ALERTS_HELD Gauge "skerry_alerts_held" "Alerts that are held back until the fleet is reached.";
    PROBE_TARGETS Gauge "skerry_probe_targets" "Targets of probes.";
    PROBES Counter "skerry_probe_probes_total" "Probes that ended.";
    PROBE_FAILURES Counter "skerry_probe_failures_total" "Probes that failed.";
    PROBE_DELAYED Counter "skerry_probe_delayed_total" "Probes that began late because too many ran.";
    UP Gauge "skerry_sync_up" "Whether the fleet is reached.";
    CONNECTS Counter "skerry_sync_connects_total" "Connections to the fleet that came up.";
    FAILURES Counter "skerry_sync_failures_total" "Connections that ended, and attempts that failed.";
    BATCHES Counter "skerry_sync_batches_sent_total" "Batches sent.";
    BYTES Counter "skerry_sync_bytes_sent_total" "Bytes of batches sent.";
    ACKS Counter "skerry_sync_acks_total" "Acknowledgements taken.";
    REFUSED Counter "skerry_sync_refused_messages_total" "Messages from the fleet that could not be read.";
    ASKS Counter "skerry_asks_total" "Questions of the fleet about what is kept here, by result.";
    LOADS Counter "skerry_sync_load_errors_total" "Batches that could not be loaded.";
    LAST_ACK Gauge "skerry_sync_last_ack_timestamp_seconds" "Time of the last acknowledgement; zero before the first.";
    APPLIED Counter "skerry_config_applied_total" "Signed configs that passed their trial.";
    ROLLED_BACK Counter "skerry_config_rolled_back_total" "Signed configs that failed their trial.";
    DOC_REFUSED Counter "skerry_config_refused_total" "Documents refused, by code.";
    VERSION Gauge "skerry_config_version" "Version of the signed config that runs, by stream.";
    TRUSTED Gauge "skerry_time_trusted" "Whether the machine's clock is believed.";
}

/// The agent's metrics now.
#[must_use]
pub fn observe(vitals: &Vitals) -> Vec<Observation> {
    let (usage, entries) = (host::usage(), vitals.board.read());
    let store = vitals.store.borrow().clone();
    let (logs, probes, sync) = (&vitals.logs, &vitals.probes, &vitals.sync);
    let atomic = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
    let build = [("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)];
    let window = vitals.memory.stats();
    let mut alerting = vitals.alert_stats.figures();
    // A metric's observations are adjacent.
    alerting.metrics.sort_by_key(|metric| metric.name);
    let rows: [Row<'_>; 55] = [
        (&BUILD, &build, 1.0),
        (&CPU, &[], usage.cpu_seconds),
        (&RSS, &[], usage.resident_bytes as f64),
        (&VIRTUAL, &[], usage.virtual_bytes as f64),
        (&FDS, &[], usage.open_fds as f64),
        (&START, &[], usage.start_seconds),
        (&DB, &[], store.db_bytes as f64),
        (&WAL, &[], store.wal_bytes as f64),
        (
            &WRITTEN,
            &[],
            (store.written_bytes + vitals.kept.as_ref().map_or(0, |kept| kept.borrow().written_bytes)) as f64,
        ),
        (&COMMITS, &[], store.commits as f64),
        (&FAILED, &[], store.failed_commits as f64),
        (&SAMPLES, &[], store.samples as f64),
        (&LINES, &[], store.log_lines as f64),
        (&LINES_KEPT, &[], store.log_lines_kept as f64),
        (&STORED, &[("stream", "metrics")], store.sample_bytes_stored as f64),
        (&STORED, &[("stream", "logs")], store.log_bytes_stored as f64),
        (&CORRUPT, &[], store.corrupt_blocks as f64),
        (&EVICTED, &[], store.evicted_blocks as f64),
        (&LOST, &[], store.lost_records as f64),
        (&SERIES, &[], store.series as f64),
        (&FACTOR, &[], store.commit_factor),
        (&LOG_LINES, &[], logs.lines.value() as f64),
        (&LOG_BYTES, &[], logs.bytes.value() as f64),
        (&LOG_PARSE, &[], logs.parse_failures.value() as f64),
        (&LOG_OVERSIZE, &[], logs.oversize.value() as f64),
        (&LOG_SPLITS, &[], logs.multiline_splits.value() as f64),
        (&LOG_ROTATIONS, &[], logs.rotations.value() as f64),
        (&LOG_TRUNCATIONS, &[], logs.truncations.value() as f64),
        (&LOG_LOST, &[], logs.lost_files.value() as f64),
        (&LOG_ERRORS, &[], logs.read_errors.value() as f64),
        (&LOG_OPEN, &[], logs.files_open.value() as f64),
        (&LOG_WAITING, &[], logs.files_waiting.value() as f64),
        (&LOG_UNREADABLE, &[], logs.files_unreadable.value() as f64),
        (&RULE_VALUES, &[], vitals.rule_stats.values() as f64),
        (&WINDOW_SERIES, &[], window.series as f64),
        (&WINDOW_SAMPLES, &[], window.samples as f64),
        (&WINDOW_BYTES, &[], window.bytes as f64),
        (&WINDOW_LEFT, &[], window.left_out.len() as f64),
        (&ALERTS_FOLLOWED, &[], alerting.followed as f64),
        (&ALERTS_HELD, &[], alerting.held as f64),
        (&PROBE_TARGETS, &[], probes.targets() as f64),
        (&PROBES, &[], probes.probes() as f64),
        (&PROBE_FAILURES, &[], probes.failures() as f64),
        (&PROBE_DELAYED, &[], probes.delayed() as f64),
        (&CONNECTS, &[], atomic(&sync.connects)),
        (&FAILURES, &[], atomic(&sync.failures)),
        (&BATCHES, &[], atomic(&sync.batches_sent)),
        (&BYTES, &[], atomic(&sync.bytes_sent)),
        (&ACKS, &[], atomic(&sync.acks)),
        (&REFUSED, &[], atomic(&sync.refused)),
        (&ASKS, &[("result", "answered")], atomic(&vitals.asks.answered)),
        (&ASKS, &[("result", "refused")], atomic(&vitals.asks.refused)),
        (&LOADS, &[], atomic(&sync.load_errors)),
        (&LAST_ACK, &[], atomic(&sync.last_ack_ms) / 1000.0),
        (&UP, &[], f64::from(u8::from(vitals.fleet_reached()))),
    ];
    let mut observations: Vec<Observation> = rows.into_iter().map(row).collect();
    if let Some(kept) = &vitals.kept {
        let kept = kept.borrow();
        observations.push(row((&KEPT_DB, &[], kept.file_bytes() as f64)));
        observations.push(row((&KEPT_SAMPLES, &[], kept.samples as f64)));
        observations.push(row((&KEPT_EVICTED, &[], kept.evicted_blocks as f64)));
    }
    for backlog in &store.backlog {
        observations.push(row((&BACKLOG, &[("stream", backlog.stream.as_str())], backlog.waiting as f64)));
    }
    observations.push(row((&APPLIED, &[], entries.configs_applied as f64)));
    observations.push(row((&ROLLED_BACK, &[], entries.configs_rolled_back as f64)));
    // Believed or not is known by what the fleet has signed.
    if vitals.fleet.is_some() {
        observations.push(row((&TRUSTED, &[], f64::from(u8::from(entries.time_trusted)))));
    }
    let metas =
        [&IN_RECORDS, &IN_INVALID, &IN_DROPPED, &IN_CONNECTIONS, &IN_FAULTS, &IN_ACKS, &IN_DUPLICATES, &IN_STARTS];
    for (meta, count) in metas.into_iter().zip(Count::ALL) {
        for input in vitals.inputs.iter() {
            let labels = [("source", &*input.name), ("kind", input.kind)];
            observations.push(row((meta, &labels, input.value(count) as f64)));
        }
    }
    let push = &vitals.push;
    for (meta, counter) in [
        (&STATSD_PACKETS, &push.packets),
        (&STATSD_LINES, &push.lines),
        (&STATSD_SERIES, &push.series),
        (&PUSHES, &push.pushes),
        (&PUSH_REFUSED, &push.refused),
        (&PUSH_GROUPS, &push.groups),
    ] {
        observations.push(row((meta, &[], counter.value() as f64)));
    }
    for (reason, counter) in DropReason::ALL.iter().zip(&push.dropped) {
        observations.push(row((&STATSD_DROPPED, &[("reason", reason.as_str())], counter.value() as f64)));
    }
    for (code, count) in &entries.refusals {
        observations.push(row((&DOC_REFUSED, &[("code", code)], *count as f64)));
    }
    for config in &entries.configs {
        observations.push(row((&VERSION, &[("stream", config.stream.as_str())], config.version as f64)));
    }
    let stages = logs.stage_counts();
    for (kind, count) in [
        ("parse", stages.parse_failures),
        ("time", stages.time_failures),
        ("labels", stages.labels_refused),
        ("fields", stages.fields_cut),
        ("metric", stages.metric_failures),
    ] {
        observations.push(row((&LOG_STAGES, &[("kind", kind)], count as f64)));
    }
    observations.extend(logs.observations());
    observations.extend(vitals.scaling.observe());
    observations.extend(rule_groups(vitals));
    observations.extend(vitals.workloads.observations());
    observations.extend(alerting.metrics.into_iter().map(routed));
    observations.extend(vitals.recommender.observations());
    observations
}

/// A metric of a group of rules.
type Figure = (&'static MetricMeta, fn(&GroupStats) -> f64);

/// Prometheus's own metrics of groups of rules.
fn rule_groups(vitals: &Vitals) -> Vec<Observation> {
    let groups = vitals.rule_stats.by_group();
    let figures: [Figure; 9] = [
        (&RULE_RULES, |group| group.rules as f64),
        (&RULE_EVALUATIONS, |group| group.evaluations as f64),
        (&RULE_FAILURES, |group| group.failures as f64),
        (&RULE_ITERATIONS, |group| (group.iterations + group.missed) as f64),
        (&RULE_MISSED, |group| group.missed as f64),
        (&RULE_INTERVAL, |group| group.interval),
        (&RULE_TOOK, |group| group.took),
        (&RULE_LAST, |group| group.last),
        (&RULE_SAMPLES, |group| group.samples as f64),
    ];
    let of = |(meta, value): Figure| {
        groups.iter().map(move |group| row((meta, &[("rule_group", &group.name)], value(group))))
    };
    figures.into_iter().flat_map(of).collect()
}

/// One of Alertmanager's own metrics.
fn routed(metric: Metric) -> Observation {
    let kind = if metric.name.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
    let meta = MetricMeta::fixed(metric.name, kind, "As Alertmanager's metric of this name.");
    let labels = metric.labels.iter().fold(LabelsBuilder::metric(metric.name), |b, (name, value)| b.label(name, value));
    Observation { meta: Arc::new(meta).into(), labels: labels.build(), value: metric.value }
}

fn row((meta, labels, value): Row<'_>) -> Observation {
    let builder = labels.iter().fold(LabelsBuilder::metric(&meta.name), |b, (name, value)| b.label(name, *value));
    Observation { meta: meta.into(), labels: builder.build(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_and_stand_once() {
        let distinct: std::collections::BTreeSet<_> = NAMES.iter().collect();
        assert_eq!(distinct.len(), NAMES.len());
        assert!(NAMES.iter().all(|name| name.starts_with("skerry_")
            || name.starts_with("process_")
            || name.starts_with("prometheus_rule_")));
    }
}
