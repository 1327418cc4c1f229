//! What the node has and how it is, from its newest round of collection.

use skerry_model::{Observation, UnixMillis};
use skerry_scaling::guard::{NodeState, Resources};

/// What counters were in the round before.
#[derive(Debug, Default)]
pub(super) struct Node {
    before: Option<Counters>,
    state: NodeState,
}

/// Sums of counters at a moment.
#[derive(Debug, Clone, Copy)]
struct Counters {
    at: UnixMillis,
    cpu_seconds: f64,
    busy_seconds: f64,
    throttles: f64,
    joules: Option<f64>,
}

/// What one round of collection tells.
#[derive(Default)]
struct Round {
    cores: u64,
    memory_total: Option<f64>,
    memory_available: Option<f64>,
    zone_celsius: Option<f64>,
    chip_celsius: Option<f64>,
    cpu_seconds: f64,
    busy_seconds: f64,
    throttles: f64,
    is_slowed: bool,
    joules: Option<f64>,
    watts: Option<f64>,
    has_mains: Option<bool>,
    is_discharging: bool,
    battery_ratio: Option<f64>,
}

impl Node {
    /// The node as `observations` of this moment tell. A round that was seen before changes nothing.
    pub(super) fn look(&mut self, observations: &[Observation], at: UnixMillis) -> NodeState {
        if observations.is_empty() || self.before.is_some_and(|before| before.at == at) {
            return self.state;
        }
        let mut round = Round::default();
        for observation in observations {
            round.take(observation);
        }
        let now = Counters {
            at,
            cpu_seconds: round.cpu_seconds,
            busy_seconds: round.busy_seconds,
            throttles: round.throttles,
            joules: round.joules,
        };
        let before = self.before.replace(now);
        // Counters that began anew tell nothing.
        let before = before.filter(|before| before.at < at && before.cpu_seconds <= now.cpu_seconds);
        self.state = round.state(now, before);
        self.state
    }
}

fn most(held: &mut Option<f64>, value: f64) {
    if value.is_finite() {
        *held = Some(held.map_or(value, |held| held.max(value)));
    }
}

impl Round {
    fn take(&mut self, observation: &Observation) {
        let Observation { meta, labels, value } = observation;
        let value = *value;
        match &*meta.name {
            "node_memory_MemTotal_bytes" => self.memory_total = Some(value),
            "node_memory_MemAvailable_bytes" => self.memory_available = Some(value),
            "node_cpu_seconds_total" => {
                let mode = labels.value("mode");
                self.cpu_seconds += value;
                self.busy_seconds += if matches!(mode, "idle" | "iowait" | "steal") { 0.0 } else { value };
                self.cores += u64::from(mode == "idle");
            }
            "node_thermal_zone_temp" => most(&mut self.zone_celsius, value),
            "node_hwmon_temp_celsius" => most(&mut self.chip_celsius, value),
            "node_cpu_core_throttles_total" | "node_cpu_package_throttles_total" => self.throttles += value,
            // What slows a processor down, and not a fan.
            "node_cooling_device_cur_state" => {
                let kind = labels.value("type").to_ascii_lowercase();
                self.is_slowed |= value > 0.0 && (kind.contains("cpufreq") || kind == "processor");
            }
            // A Raspberry Pi says so when its supply is too weak.
            "node_hwmon_in_lcrit_alarm_volts" | "node_hwmon_in_lcrit_alarm" => self.is_slowed |= value > 0.0,
            "node_rapl_package_joules_total" => self.joules = Some(self.joules.unwrap_or(0.0) + value),
            "node_power_supply_power_watt" => most(&mut self.watts, value.abs()),
            "node_power_supply_online" => self.has_mains = Some(self.has_mains.unwrap_or(false) || value > 0.0),
            "node_power_supply_capacity" => {
                let ratio = value / 100.0;
                self.battery_ratio = Some(self.battery_ratio.map_or(ratio, |held| held.min(ratio)));
            }
            "node_power_supply_info" => self.is_discharging |= labels.value("status") == "Discharging",
            _ => {}
        }
    }

    fn state(&self, now: Counters, before: Option<Counters>) -> NodeState {
        let bytes = |value: f64| value.max(0.0) as u64;
        let allocatable = self
            .memory_total
            .filter(|_| self.cores > 0)
            .map(|total| Resources { cpu_milli: self.cores * 1000, memory_bytes: bytes(total) });
        let seconds = |before: Counters| now.at.since(before.at).as_secs_f64().max(0.001);
        let busy_milli =
            before.map(|before| bytes((now.busy_seconds - before.busy_seconds) / seconds(before) * 1000.0));
        let used = self.memory_total.zip(self.memory_available).map(|(total, available)| Resources {
            cpu_milli: busy_milli.unwrap_or(0),
            memory_bytes: bytes(total - available),
        });
        let drawn = before.and_then(|before| {
            let joules = now.joules? - before.joules?;
            (joules >= 0.0).then(|| joules / seconds(before))
        });
        NodeState {
            allocatable,
            used,
            temperature_celsius: self.zone_celsius.or(self.chip_celsius),
            is_throttled: self.is_slowed || before.is_some_and(|before| now.throttles > before.throttles),
            is_on_battery: self.is_discharging || (self.battery_ratio.is_some() && self.has_mains == Some(false)),
            battery_ratio: self.battery_ratio,
            power_watts: drawn.or(self.watts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{LabelsBuilder, MetricKind, MetricMeta};
    use std::sync::Arc;

    fn observation((name, label, value): (&'static str, &str, f64)) -> Observation {
        let builder = LabelsBuilder::metric(name);
        let builder = match label.split_once('=') {
            Some((label, text)) => builder.label(label, text),
            None => builder,
        };
        let meta = Arc::new(MetricMeta::fixed(name, MetricKind::Gauge, ""));
        Observation { meta: meta.into(), labels: builder.build(), value }
    }

    #[test]
    fn a_node_is_read_from_its_metrics() {
        let rounds = |busy: f64, throttles: f64, joules: f64| -> Vec<Observation> {
            [
                ("node_memory_MemTotal_bytes", "", 1000.0),
                ("node_memory_MemAvailable_bytes", "", 400.0),
                ("node_cpu_seconds_total", "mode=idle", 100.0),
                ("node_cpu_seconds_total", "mode=user", busy),
                ("node_thermal_zone_temp", "type=cpu", 61.5),
                ("node_thermal_zone_temp", "type=gpu", 55.0),
                ("node_hwmon_temp_celsius", "chip=nvme", 90.0),
                ("node_cpu_core_throttles_total", "", throttles),
                ("node_rapl_package_joules_total", "", joules),
                ("node_power_supply_online", "power_supply=AC", 0.0),
                ("node_power_supply_capacity", "power_supply=BAT0", 35.0),
            ]
            .map(observation)
            .into()
        };
        let mut node = Node::default();
        let first = node.look(&rounds(10.0, 5.0, 100.0), UnixMillis(0));
        assert_eq!(first.allocatable, Some(Resources { cpu_milli: 1000, memory_bytes: 1000 }));
        assert_eq!(first.used, Some(Resources { cpu_milli: 0, memory_bytes: 600 }));
        assert_eq!((first.temperature_celsius, first.power_watts), (Some(61.5), None));
        assert!(first.is_on_battery && !first.is_throttled);
        let second = node.look(&rounds(15.0, 6.0, 200.0), UnixMillis(10_000));
        assert_eq!(second.used.map(|used| used.cpu_milli), Some(500));
        assert_eq!((second.power_watts, second.battery_ratio), (Some(10.0), Some(0.35)));
        assert!(second.is_throttled);
        // The same round again.
        assert_eq!(node.look(&rounds(15.0, 6.0, 200.0), UnixMillis(10_000)), second);
        assert_eq!(node.look(&[], UnixMillis(20_000)), second);
        // The machine was started anew.
        let third = node.look(&rounds(1.0, 0.0, 0.0), UnixMillis(30_000));
        assert_eq!((third.used.map(|used| used.cpu_milli), third.power_watts), (Some(0), None));
        assert!(!third.is_throttled);
    }
}
