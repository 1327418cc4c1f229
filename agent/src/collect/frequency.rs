//! `/sys/devices/system/cpu`: how fast processors run, and how often heat slowed them down.

use super::sink::{counter, gauge};
use super::source::{CollectError, entries, file_name, number_at, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The kernel gives frequencies in kHz.
const KHZ: f64 = 1000.0;

/// In the order of [`FILES`].
static METAS: [MetricMeta; 6] = [
    gauge("node_cpu_frequency_hertz", "Current cpu thread frequency in hertz."),
    gauge("node_cpu_frequency_max_hertz", "Maximum cpu thread frequency in hertz."),
    gauge("node_cpu_frequency_min_hertz", "Minimum cpu thread frequency in hertz."),
    gauge("node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
    gauge("node_cpu_scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz."),
    gauge("node_cpu_scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz."),
];
const FILES: [&str; 6] = [
    "cpuinfo_cur_freq",
    "cpuinfo_max_freq",
    "cpuinfo_min_freq",
    "scaling_cur_freq",
    "scaling_max_freq",
    "scaling_min_freq",
];
static CORE_THROTTLES: MetricMeta =
    counter("node_cpu_core_throttles_total", "Number of times this CPU core has been throttled.");
static PACKAGE_THROTTLES: MetricMeta =
    counter("node_cpu_package_throttles_total", "Number of times this CPU package has been throttled.");

/// Frequencies of processors.
pub(super) struct CpuFrequency;

impl Collect for CpuFrequency {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let rows = processors(round)?;
        let labels = |row: &(String, PathBuf)| vec![("cpu", row.0.clone())];
        let value = |row: &(String, PathBuf), column: usize| {
            // The hardware's own frequency is for root alone on most kernels.
            number_at(row.1.join("cpufreq").join(FILES[column])).map(|khz| khz * KHZ)
        };
        sink.table(&METAS, &rows, labels, value);
        Ok(())
    }
}

/// How often cores and packages were slowed down. Threads of a core tell the same number, so one of each is asked.
pub(super) fn throttles(round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
    let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
    for (_, path) in processors(round)? {
        let Some(package) = word_at(path.join("topology/physical_package_id")) else { continue };
        if let Some(core) = word_at(path.join("topology/core_id"))
            && let Some(count) = number_at(path.join("thermal_throttle/core_throttle_count"))
        {
            cores.entry((core, package.clone())).or_insert(count);
        }
        if let Some(count) = number_at(path.join("thermal_throttle/package_throttle_count")) {
            packages.entry(package).or_insert(count);
        }
    }
    for ((core, package), count) in &cores {
        sink.push(&CORE_THROTTLES, &[("core", core), ("package", package)], *count);
    }
    for (package, count) in &packages {
        sink.push(&PACKAGE_THROTTLES, &[("package", package)], *count);
    }
    Ok(())
}

/// The processors' numbers and folders.
fn processors(round: &Round) -> Result<Vec<(String, PathBuf)>, CollectError> {
    let folders = entries(&round.roots.sys.join("devices/system/cpu"))?;
    let number = |path: PathBuf| {
        let name = file_name(&path);
        let number = name.strip_prefix("cpu").filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))?;
        Some((number.to_owned(), path))
    };
    Ok(folders.into_iter().filter_map(number).collect())
}
