//! `/sys/class/thermal`: temperatures of zones, and the devices that cool them.

use super::sink::gauge;
use super::source::{CollectError, Text, entries, file_name, number_at, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

const MILLI: f64 = 1e3;

static ZONE: MetricMeta = gauge("node_thermal_zone_temp", "Zone temperature in Celsius");
static COOLING: [MetricMeta; 2] = [
    gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device"),
    gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device"),
];
const STATES: [&str; 2] = ["cur_state", "max_state"];

/// Thermal zones and cooling devices.
pub(super) struct ThermalZones;

impl Collect for ThermalZones {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut devices = Vec::new();
        for path in entries(&round.roots.sys.join("class/thermal"))? {
            let name = file_name(&path);
            let Some(kind) = word_at(path.join("type")) else { continue };
            if let Some(zone) = name.strip_prefix("thermal_zone") {
                // A zone whose sensor sleeps cannot be read; the others can.
                let Ok(text) = Text::read(path.join("temp")) else { continue };
                sink.push(&ZONE, &[("type", &kind), ("zone", zone)], text.whole()? / MILLI);
            } else if let Some(number) = name.strip_prefix("cooling_device") {
                devices.push((number.to_owned(), kind, path));
            }
        }
        let labels = |(name, kind, _): &(String, String, _)| vec![("name", name.clone()), ("type", kind.clone())];
        sink.table(&COOLING, &devices, labels, |(_, _, path), at| number_at(path.join(STATES[at])));
        Ok(())
    }
}
