//! How worn eMMC flash is, from what its controller tells (JEDEC eMMC 5.0, EXT_CSD bytes 267 to 269).
//!
//! Left out: SMART of SATA and NVMe drives. The kernel shows none of it in files; it takes admin commands on the device,
//! which only root may give. Temperatures of both come by way of the hwmon collector.

use super::sink::{Rows, gauge};
use super::source::{CollectError, entries, file_name, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

static USED: MetricMeta = gauge(
    "node_mmc_life_time_used_ratio",
    "Upper end of the used life time that the device estimates, in steps of a tenth; more than 1 past its end.",
);
static PRE_EOL: MetricMeta =
    gauge("node_mmc_pre_eol", "State of the reserved blocks: 1 normal, 2 warning (80 % used), 3 urgent (90 % used).");
static INFO: MetricMeta = gauge("node_mmc_info", "Non-numeric data of the device, value is always 1.");
/// Estimates for the two types of memory: A is the faster part where there are two.
const TYPES: [&str; 2] = ["a", "b"];
/// Label and file of the device.
const FILES: [(&str, &str); 5] = [
    ("date", "date"),
    ("firmware_revision", "fwrev"),
    ("manufacturer_id", "manfid"),
    ("name", "name"),
    ("serial", "serial"),
];

/// eMMC devices.
pub(super) struct MmcWear;

impl Collect for MmcWear {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("block"))? {
            let device = file_name(&path);
            // SD cards have no such files.
            let Some(life) = word_at(path.join("device/life_time")) else { continue };
            for (kind, word) in TYPES.into_iter().zip(life.split_ascii_whitespace()) {
                // Zero stands for a device that does not tell.
                if let Some(tenths) = hexadecimal(word).filter(|tenths| *tenths > 0) {
                    rows.push(&USED, &[("device", &device), ("type", kind)], f64::from(tenths) / 10.0);
                }
            }
            let state = word_at(path.join("device/pre_eol_info")).and_then(|word| hexadecimal(&word));
            if let Some(state) = state.filter(|state| *state > 0) {
                rows.push(&PRE_EOL, &[("device", &device)], f64::from(state));
            }
            let mut labels = vec![("device", device.clone())];
            labels.extend(
                FILES.map(|(label, file)| (label, word_at(path.join("device").join(file)).unwrap_or_default())),
            );
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            rows.push(&INFO, &labels, 1.0);
        }
        rows.pour(sink);
        Ok(())
    }
}

fn hexadecimal(word: &str) -> Option<u8> {
    u8::from_str_radix(word.trim_start_matches("0x"), 16).ok()
}
