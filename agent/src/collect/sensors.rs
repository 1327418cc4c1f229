//! Temperatures: thermal zones and hardware monitors.

use super::sink::gauge;
use super::source::{CollectError, Text, entries, file_name};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::path::Path;

const MILLI: f64 = 0.001;

static ZONE: MetricMeta = gauge("node_thermal_zone_temp", "Zone temperature in Celsius");
static HWMON: [MetricMeta; 3] = [
    gauge("node_hwmon_temp_celsius", "Hardware monitor for temperature (input)"),
    gauge("node_hwmon_temp_crit_celsius", "Hardware monitor for temperature (crit)"),
    gauge("node_hwmon_temp_max_celsius", "Hardware monitor for temperature (max)"),
];
const FILES: [&str; 3] = ["input", "crit", "max"];

/// `/sys/class/thermal`.
pub(super) struct ThermalZones;

impl Collect for ThermalZones {
    fn collect(&mut self, round: &Round<'_>, sink: &mut Sink) -> Result<(), CollectError> {
        for path in entries(&round.roots.sys.join("class/thermal"))? {
            let name = file_name(&path);
            let Some(zone) = name.strip_prefix("thermal_zone") else { continue };
            // A zone whose sensor sleeps cannot be read; the others can.
            let (Ok(kind), Ok(text)) = (Text::read(path.join("type")), Text::read(path.join("temp"))) else { continue };
            sink.push(&ZONE, &[("type", kind.content.trim()), ("zone", zone)], text.whole()? * MILLI);
        }
        Ok(())
    }
}

/// `/sys/class/hwmon`, temperatures alone.
pub(super) struct Hwmon;

struct Sensor {
    chip: String,
    sensor: String,
    values: [Option<f64>; 3],
}

impl Collect for Hwmon {
    fn collect(&mut self, round: &Round<'_>, sink: &mut Sink) -> Result<(), CollectError> {
        let mut sensors = Vec::new();
        for path in entries(&round.roots.sys.join("class/hwmon"))? {
            let chip = chip_name(&path);
            for file in entries(&path)? {
                let name = file_name(&file);
                let Some(sensor) = name.strip_suffix("_input").filter(|name| name.starts_with("temp")) else {
                    continue;
                };
                let read = |kind: &str| -> Result<Option<f64>, CollectError> {
                    // Drivers answer with an I/O error while a device sleeps.
                    match Text::read(path.join(format!("{sensor}_{kind}"))) {
                        Ok(text) => Ok(Some(text.whole()? * MILLI)),
                        Err(_) => Ok(None),
                    }
                };
                let values = [read(FILES[0])?, read(FILES[1])?, read(FILES[2])?];
                sensors.push(Sensor { chip: chip.clone(), sensor: sensor.to_owned(), values });
            }
        }
        let labels = |row: &Sensor| vec![("chip", row.chip.clone()), ("sensor", row.sensor.clone())];
        sink.table(&HWMON, &sensors, labels, |row, column| row.values[column]);
        Ok(())
    }
}

/// As node_exporter names chips: bus and device where the chip hangs on one, else the driver's name, else `hwmonN`.
fn chip_name(path: &Path) -> String {
    let target = |path: &Path| std::fs::canonicalize(path).ok();
    if let Some(device) = target(&path.join("device"))
        && let Some(bus) = target(&device.join("subsystem"))
    {
        return format!("{}_{}", clean(&file_name(&bus)), clean(&file_name(&device)));
    }
    match Text::read(path.join("name")) {
        Ok(text) if !clean(text.content.trim()).is_empty() => clean(text.content.trim()),
        _ => clean(&file_name(path)),
    }
}

fn clean(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}
