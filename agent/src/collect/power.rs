//! Batteries, mains, and the energy that processors use.

use super::sink::{Metas, Rows};
use super::source::{CollectError, entries, file_name, number_at, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricKind;
use std::collections::HashMap;

const MICRO: f64 = 1e6;
const TENTH: f64 = 10.0;

/// Files of `/sys/class/power_supply/NAME`, what the metric's name ends with, and how many of the file make one of its unit (kernel
/// documentation `power/power_supply_class`: micro-units, tenths of degrees).
const SUPPLY: [(&str, &str, f64); 49] = [
    ("authentic", "authentic", 1.0),
    ("calibrate", "calibrate", 1.0),
    ("capacity", "capacity", 1.0),
    ("capacity_alert_max", "capacity_alert_max", 1.0),
    ("capacity_alert_min", "capacity_alert_min", 1.0),
    ("charge_control_limit", "charge_control_limit", MICRO),
    ("charge_control_limit_max", "charge_control_limit_max", MICRO),
    ("charge_counter", "charge_counter", MICRO),
    ("charge_empty", "charge_empty", MICRO),
    ("charge_empty_design", "charge_empty_design", MICRO),
    ("charge_full", "charge_full", MICRO),
    ("charge_full_design", "charge_full_design", MICRO),
    ("charge_now", "charge_ampere", MICRO),
    ("charge_term_current", "charge_term_current", MICRO),
    ("constant_charge_current", "constant_charge_current", MICRO),
    ("constant_charge_current_max", "constant_charge_current_max", MICRO),
    ("constant_charge_voltage", "constant_charge_voltage", MICRO),
    ("constant_charge_voltage_max", "constant_charge_voltage_max", MICRO),
    ("current_boot", "current_boot", MICRO),
    ("current_max", "current_max", MICRO),
    ("current_now", "current_ampere", MICRO),
    ("cycle_count", "cyclecount", 1.0),
    ("energy_empty", "energy_empty", MICRO),
    ("energy_empty_design", "energy_empty_design", MICRO),
    ("energy_full", "energy_full", MICRO),
    ("energy_full_design", "energy_full_design", MICRO),
    ("energy_now", "energy_watthour", MICRO),
    ("input_current_limit", "input_current_limit", MICRO),
    ("online", "online", 1.0),
    ("power_now", "power_watt", MICRO),
    ("precharge_current", "precharge_current", MICRO),
    ("present", "present", 1.0),
    ("temp", "temp_celsius", TENTH),
    ("temp_alert_max", "temp_alert_max_celsius", TENTH),
    ("temp_alert_min", "temp_alert_min_celsius", TENTH),
    ("temp_ambient", "temp_ambient_celsius", TENTH),
    ("temp_ambient_max", "temp_ambient_max_celsius", TENTH),
    ("temp_ambient_min", "temp_ambient_min_celsius", TENTH),
    ("temp_max", "temp_max_celsius", TENTH),
    ("temp_min", "temp_min_celsius", TENTH),
    ("time_to_empty_now", "time_to_empty_seconds", 1.0),
    ("time_to_full_now", "time_to_full_seconds", 1.0),
    ("voltage_boot", "voltage_boot", MICRO),
    ("voltage_max", "voltage_max", MICRO),
    ("voltage_max_design", "voltage_max_design", MICRO),
    ("voltage_min", "voltage_min", MICRO),
    ("voltage_min_design", "voltage_min_design", MICRO),
    ("voltage_now", "voltage_volt", MICRO),
    ("voltage_ocv", "voltage_ocv", MICRO),
];
/// Files whose text is a label of the info metric.
const TEXTS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

/// Batteries and mains.
#[derive(Default)]
pub(super) struct PowerSupplies {
    metas: Metas,
}

impl Collect for PowerSupplies {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("class/power_supply"))? {
            let supply = file_name(&path);
            for (file, name, per_unit) in SUPPLY {
                // Drivers refuse what a battery does not tell just now.
                let Some(value) = number_at(path.join(file)) else { continue };
                let help = || format!("{name} value of /sys/class/power_supply/<power_supply>.");
                let meta = self.metas.of(format!("node_power_supply_{name}"), MetricKind::Gauge, help);
                rows.push(meta, &[("power_supply", &supply)], value / per_unit);
            }
            let texts: Vec<(&str, String)> =
                TEXTS.iter().filter_map(|file| Some((*file, word_at(path.join(file))?))).collect();
            let mut labels = vec![("power_supply", supply.as_str())];
            labels.extend(texts.iter().map(|(name, value)| (*name, value.as_str())));
            let help = || "info of /sys/class/power_supply/<power_supply>.".to_owned();
            rows.push(self.metas.of("node_power_supply_info".into(), MetricKind::Gauge, help), &labels, 1.0);
        }
        rows.pour(sink);
        Ok(())
    }
}

/// Energy counters of processors, `/sys/class/powercap`; for root alone on kernels since 5.10.
#[derive(Default)]
pub(super) struct Rapl {
    metas: Metas,
}

impl Collect for Rapl {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        let mut used: HashMap<String, usize> = HashMap::new();
        for path in entries(&round.roots.sys.join("class/powercap"))? {
            let Some(zone) = word_at(path.join("name")) else { continue };
            // `package-1` is package number 1; zones without a number are counted.
            let numbered =
                zone.rsplit_once('-').filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            let (name, index) = match numbered {
                Some((name, index)) => (name.to_owned(), index.to_owned()),
                None => (zone.clone(), used.get(&zone).copied().unwrap_or_default().to_string()),
            };
            *used.entry(name.clone()).or_default() += 1;
            let Some(micros) = number_at(path.join("energy_uj")) else { continue };
            let help = || format!("Current RAPL {name} value in joules");
            let metric = format!("node_rapl_{}_joules_total", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
            let meta = self.metas.of(metric, MetricKind::Counter, help);
            // The path that the node itself would use, wherever the agent sees it.
            let shown = format!("/sys/class/powercap/{}", file_name(&path));
            rows.push(meta, &[("index", &index), ("path", &shown)], micros / MICRO);
        }
        rows.pour(sink);
        Ok(())
    }
}
