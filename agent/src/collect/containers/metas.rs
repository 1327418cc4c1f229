//! cAdvisor's metrics: names, types and helps.

use super::super::sink::{counter, gauge};
use super::super::source::Roots;
use skerry_model::MetricMeta;

pub(super) static CPU_USAGE: MetricMeta =
    counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.");
pub(super) static CPU_USER: MetricMeta =
    counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.");
pub(super) static CPU_SYSTEM: MetricMeta =
    counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.");
pub(super) static CFS_PERIODS: MetricMeta =
    counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.");
pub(super) static CFS_THROTTLED: MetricMeta =
    counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.");
pub(super) static CFS_THROTTLED_SECONDS: MetricMeta =
    counter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.");
pub(super) static SPEC_CPU_PERIOD: MetricMeta = gauge("container_spec_cpu_period", "CPU period of the container.");
pub(super) static SPEC_CPU_QUOTA: MetricMeta = gauge("container_spec_cpu_quota", "CPU quota of the container.");
pub(super) static SPEC_CPU_SHARES: MetricMeta = gauge("container_spec_cpu_shares", "CPU share of the container.");
pub(super) static MEMORY_USAGE: MetricMeta = gauge(
    "container_memory_usage_bytes",
    "Current memory usage in bytes, including all memory regardless of when it was accessed.",
);
pub(super) static MEMORY_WORKING_SET: MetricMeta =
    gauge("container_memory_working_set_bytes", "Current working set in bytes.");
pub(super) static MEMORY_RSS: MetricMeta = gauge("container_memory_rss", "Size of RSS in bytes.");
pub(super) static MEMORY_CACHE: MetricMeta = gauge("container_memory_cache", "Number of bytes of page cache memory.");
pub(super) static MEMORY_MAPPED: MetricMeta =
    gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.");
pub(super) static MEMORY_SWAP: MetricMeta = gauge("container_memory_swap", "Container swap usage in bytes.");
pub(super) static MEMORY_MAX_USAGE: MetricMeta =
    gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes.");
pub(super) static MEMORY_FAILCNT: MetricMeta =
    counter("container_memory_failcnt", "Number of memory usage hits limits.");
pub(super) static SPEC_MEMORY_LIMIT: MetricMeta =
    gauge("container_spec_memory_limit_bytes", "Memory limit for the container; 0 for none.");
pub(super) static MEMORY_FAILURES: MetricMeta =
    counter("container_memory_failures_total", "Cumulative count of memory allocation failures.");
pub(super) static MEMORY_KERNEL: MetricMeta =
    gauge("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.");
pub(super) static SPEC_MEMORY_SWAP: MetricMeta =
    gauge("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container; 0 for none.");
pub(super) static SPEC_MEMORY_RESERVATION: MetricMeta =
    gauge("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container; 0 for none.");
pub(super) static OOM_EVENTS: MetricMeta =
    counter("container_oom_events_total", "Count of out of memory events observed for the container.");
pub(super) static THREADS: MetricMeta = gauge("container_threads", "Number of threads running inside the container.");
pub(super) static THREADS_MAX: MetricMeta =
    gauge("container_threads_max", "Maximum number of threads allowed inside the container; 0 for no limit.");
pub(super) static PROCESSES: MetricMeta =
    gauge("container_processes", "Number of processes running inside the container.");
pub(super) static FS_READS: MetricMeta = counter("container_fs_reads_total", "Cumulative count of reads completed.");
pub(super) static FS_WRITES: MetricMeta = counter("container_fs_writes_total", "Cumulative count of writes completed.");
pub(super) static FS_READS_BYTES: MetricMeta =
    counter("container_fs_reads_bytes_total", "Cumulative count of bytes read.");
pub(super) static FS_WRITES_BYTES: MetricMeta =
    counter("container_fs_writes_bytes_total", "Cumulative count of bytes written.");
pub(super) static BLKIO: MetricMeta = counter("container_blkio_device_usage_total", "Blkio Device bytes usage");
/// File of version 2, line, and metric.
pub(super) static PRESSURE: [(&str, &str, MetricMeta); 6] = [
    (
        "cpu.pressure",
        "full",
        counter(
            "container_pressure_cpu_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to CPU congestion.",
        ),
    ),
    (
        "cpu.pressure",
        "some",
        counter(
            "container_pressure_cpu_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to CPU congestion.",
        ),
    ),
    (
        "io.pressure",
        "full",
        counter(
            "container_pressure_io_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to IO congestion.",
        ),
    ),
    (
        "io.pressure",
        "some",
        counter(
            "container_pressure_io_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to IO congestion.",
        ),
    ),
    (
        "memory.pressure",
        "full",
        counter(
            "container_pressure_memory_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to memory congestion.",
        ),
    ),
    (
        "memory.pressure",
        "some",
        counter(
            "container_pressure_memory_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to memory congestion.",
        ),
    ),
];
/// In the order of the columns of `/proc/net/dev` that cAdvisor has: 0, 1, 2, 3 and 8, 9, 10, 11.
pub(super) static NETWORK: [MetricMeta; 8] = [
    counter("container_network_receive_bytes_total", "Cumulative count of bytes received."),
    counter("container_network_receive_packets_total", "Cumulative count of packets received."),
    counter("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving."),
    counter("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving."),
    counter("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted."),
    counter("container_network_transmit_packets_total", "Cumulative count of packets transmitted."),
    counter("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting."),
    counter(
        "container_network_transmit_packets_dropped_total",
        "Cumulative count of packets dropped while transmitting.",
    ),
];

/// A block device's name, `/dev/NAME`, by its number `MAJOR:MINOR`; the number where the name is not known.
pub(super) fn device(roots: &Roots, number: &str) -> String {
    let is_number = number.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let link = is_number.then(|| std::fs::read_link(roots.sys.join("dev/block").join(number)).ok()).flatten();
    let name = link.as_ref().and_then(|link| link.file_name()).map(|name| name.to_string_lossy());
    name.map_or_else(|| number.to_owned(), |name| format!("/dev/{name}"))
}

/// The same with the parts of the number, as cAdvisor has it on block metrics.
pub(super) fn device_labels(roots: &Roots, number: &str, operation: &str) -> Vec<(&'static str, String)> {
    let (major, minor) = number.split_once(':').unwrap_or((number, ""));
    vec![
        ("device", device(roots, number)),
        ("major", major.to_owned()),
        ("minor", minor.to_owned()),
        ("operation", operation.to_owned()),
    ]
}
