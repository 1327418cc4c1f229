//! `/sys/class/hwmon`: what sensors on boards and in devices measure (kernel documentation `hwmon/sysfs-interface`).
//!
//! A file is named `TYPE NUMBER _ELEMENT`, such as `temp1_input`. Its metric is named after type, element and unit.

use super::sink::{Metas, Rows, gauge};
use super::source::{CollectError, entries, file_name, word_at};
use super::{Collect, Round, Sink};
use skerry_model::{Meta, MetricKind, MetricMeta};
use std::collections::BTreeMap;
use std::path::Path;

const MILLI: f64 = 1e3;
const MICRO: f64 = 1e6;

static CHIP: MetricMeta = gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names");
static LABEL: MetricMeta = gauge("node_hwmon_sensor_label", "Label for given chip and sensor");
/// Types of sensors; files of other types belong to the driver.
const TYPES: [&str; 13] = [
    "beep_enable",
    "cpu",
    "curr",
    "energy",
    "fan",
    "humidity",
    "in",
    "intrusion",
    "power",
    "pwm",
    "temp",
    "update_interval",
    "vrm",
];

/// Hardware monitors.
#[derive(Default)]
pub(super) struct Hwmon {
    metas: Metas,
}

/// Texts of a sensor by element, by type and number.
type Sensors = BTreeMap<(&'static str, u32), BTreeMap<String, String>>;

impl Collect for Hwmon {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("class/hwmon"))? {
            if !path.is_dir() {
                continue;
            }
            let chip = chip_name(&path);
            if let Some(name) = word_at(path.join("name")) {
                rows.push(&CHIP, &[("chip", &chip), ("chip_name", &clean(&name))], 1.0);
            }
            let mut sensors = Sensors::new();
            read(&path, &mut sensors)?;
            // Drivers of old kernels put the files into the device's own folder.
            read(&path.join("device"), &mut sensors)?;
            for ((kind, number), elements) in &sensors {
                let sensor = format!("{kind}{number}");
                let labels = [("chip", chip.as_str()), ("sensor", sensor.as_str())];
                if let Some(label) = elements.get("label") {
                    rows.push(&LABEL, &[labels[0], ("label", label), labels[1]], 1.0);
                }
                for (element, text) in elements.iter().filter(|(element, _)| *element != "label") {
                    // A sensor that sleeps has no number.
                    let Ok(value) = text.parse::<f64>() else { continue };
                    let is_doubled = element == "input" && elements.contains_key("");
                    let (meta, per_unit) = self.meta(kind, element, is_doubled);
                    rows.push(meta, &labels, value / per_unit);
                }
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

impl Hwmon {
    /// The metric of a type's element, and how many of the file's units make one of the metric's. `is_doubled` says that
    /// the sensor has a file without an element too, so that its input needs another name.
    fn meta(&mut self, kind: &str, element: &str, is_doubled: bool) -> (Meta, f64) {
        let base = match element {
            "" => format!("node_hwmon_{kind}"),
            "input" if !is_doubled => format!("node_hwmon_{kind}"),
            _ => format!("node_hwmon_{kind}_{}", clean(element)),
        };
        let (name, per_unit, help): (String, f64, &str) = match (kind, element) {
            ("beep_enable", _) => ("node_hwmon_beep_enabled".into(), 1.0, "Hardware beep enabled"),
            ("vrm", _) => ("node_hwmon_voltage_regulator_version".into(), 1.0, "Hardware voltage regulator"),
            ("update_interval", _) => {
                ("node_hwmon_update_interval_seconds".into(), MILLI, "Hardware monitor update interval")
            }
            (_, "fault" | "alarm") => (base, 1.0, "Hardware sensor status"),
            (_, "beep") => (base + "_enabled", 1.0, "Hardware monitor sensor has beeping enabled"),
            ("in" | "cpu", _) => (base + "_volts", MILLI, "Hardware monitor for voltage"),
            ("temp", "type") => (base, 1.0, "Hardware monitor temp element type"),
            ("temp", _) => (base + "_celsius", MILLI, "Hardware monitor for temperature"),
            ("curr", _) => (base + "_amps", MILLI, "Hardware monitor for current"),
            ("energy", _) => (base + "_joule_total", MICRO, "Hardware monitor for joules used so far"),
            ("power", "accuracy") => (base, MICRO, "Hardware monitor power meter accuracy, as a ratio"),
            ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
                (base + "_seconds", MILLI, "Hardware monitor power usage update interval")
            }
            ("power", _) => (base + "_watt", MICRO, "Hardware monitor for power usage in watts"),
            ("humidity", _) => (base, MICRO, "Hardware monitor for humidity, as a ratio"),
            ("fan", "input" | "min" | "max" | "target") => {
                (base + "_rpm", 1.0, "Hardware monitor for fan revolutions per minute")
            }
            _ => (base, 1.0, "Hardware monitor element"),
        };
        let kind = if kind == "energy" { MetricKind::Counter } else { MetricKind::Gauge };
        let help = || if element.is_empty() { help.to_owned() } else { format!("{help} ({element})") };
        (self.metas.of(name, kind, help), per_unit)
    }
}

fn read(folder: &Path, sensors: &mut Sensors) -> Result<(), CollectError> {
    for file in entries(folder)? {
        let name = file_name(&file);
        let Some((kind, number, element)) = parts(&name) else { continue };
        // Drivers answer with an I/O error while a device sleeps.
        let Some(text) = word_at(file) else { continue };
        sensors.entry((kind, number)).or_default().insert(element.to_owned(), text);
    }
    Ok(())
}

/// Type, number and element of a file's name; a file without a number has number 0.
fn parts(name: &str) -> Option<(&'static str, u32, &str)> {
    let at = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let kind = TYPES.into_iter().find(|kind| *kind == &name[..at])?;
    let rest = &name[at..];
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, element) = rest.split_at(digits);
    let element = if element.is_empty() { element } else { element.strip_prefix('_')? };
    Some((kind, if number.is_empty() { 0 } else { number.parse().ok()? }, element))
}

/// As node_exporter names chips: the device that the chip hangs on with the folder above it, because `hwmonN` changes
/// with the order in which drivers are loaded; else the driver's name, else `hwmonN`.
fn chip_name(path: &Path) -> String {
    if let Ok(device) = std::fs::canonicalize(path.join("device")) {
        let above = device.parent().map(file_name).unwrap_or_default();
        return format!("{}_{}", clean(&above), clean(&file_name(&device)));
    }
    match word_at(path.join("name")).map(|name| clean(&name)) {
        Some(name) if !name.is_empty() => name,
        _ => clean(&file_name(path)),
    }
}

/// A text in lower case, with an underscore for what may not stand in a metric's name.
fn clean(name: &str) -> String {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_';
    let lower = name.to_ascii_lowercase().replace(|c| !is_fit(c), "_");
    lower.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_taken_apart() {
        for (name, expected) in [
            ("temp1_input", Some(("temp", 1, "input"))),
            ("power12_average_interval", Some(("power", 12, "average_interval"))),
            ("pwm3", Some(("pwm", 3, ""))),
            ("beep_enable", Some(("beep_enable", 0, ""))),
            ("temp_x", None),
            ("temp1x", None),
            ("temp99999999999_input", None),
            ("uevent", None),
            ("", None),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
    }
}
