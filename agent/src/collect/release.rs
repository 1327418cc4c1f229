//! `/etc/os-release` and the clock sources: what the machine runs and keeps time by.

use super::sink::gauge;
use super::source::{CollectError, Text, entries, file_name};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::collections::BTreeMap;

static INFO: MetricMeta = gauge(
    "node_os_info",
    "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, variant, variant_id, version, version_codename, version_id.",
);
static VERSION: MetricMeta = gauge("node_os_version", "Metric containing the major.minor part of the OS version.");
static AVAILABLE: MetricMeta = gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
);
static CURRENT: MetricMeta =
    gauge("node_time_clocksource_current_info", "Current clocksource read from '/sys/devices/system/clocksource'.");

/// Labels of the operating system, in lower case as keys in upper case.
const KEYS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

/// The operating system.
pub(super) struct OsRelease;

impl Collect for OsRelease {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let first = Text::optional(round.roots.rootfs.join("etc/os-release"))?;
        let text = match first {
            Some(text) => Some(text),
            None => Text::optional(round.roots.rootfs.join("usr/lib/os-release"))?,
        };
        let Some(text) = text else { return Ok(()) };
        let pairs: BTreeMap<String, &str> = text
            .content
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().trim_matches(['"', '\''])))
            .collect();
        let value = |key: &str| pairs.get(key).copied().unwrap_or_default();
        let labels: Vec<(&str, &str)> = KEYS.iter().map(|key| (*key, value(key))).collect();
        sink.push(&INFO, &labels, 1.0);
        // `12`, `22.04` and `3.19.1` alike: the first two parts as a number.
        let parts: Vec<&str> = value("version_id").split('.').take(2).collect();
        if let Ok(version) = parts.join(".").parse::<f64>() {
            let labels = [("id", value("id")), ("id_like", value("id_like")), ("name", value("name"))];
            sink.push(&VERSION, &labels, version);
        }
        Ok(())
    }
}

/// Clock sources.
pub(super) struct ClockSources;

impl Collect for ClockSources {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        for (meta, file) in [(&AVAILABLE, "available_clocksource"), (&CURRENT, "current_clocksource")] {
            for folder in entries(&round.roots.sys.join("devices/system/clocksource"))? {
                let name = file_name(&folder);
                let Some(device) = name.strip_prefix("clocksource") else { continue };
                let Some(text) = Text::optional(folder.join(file))? else { continue };
                for source in text.content.split_ascii_whitespace() {
                    sink.push(meta, &[("clocksource", source), ("device", device)], 1.0);
                }
            }
        }
        Ok(())
    }
}
