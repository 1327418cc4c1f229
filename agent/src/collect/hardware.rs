//! What the machine is made of: DMI, NVMe controllers, memory errors (EDAC), and whether SELinux is on.

use super::sink::{Rows, counter, gauge};
use super::source::{CollectError, Text, entries, file_name, number_at, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

static DMI: MetricMeta = gauge(
    "node_dmi_info",
    "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, product_version, system_vendor if provided by DMI.",
);
/// Files of `/sys/class/dmi/id`; each is a label of the same name, but for the vendor of the system.
const DMI_FILES: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "sys_vendor",
];

/// The firmware's names of the machine and its parts; serial numbers are for root alone.
pub(super) struct Dmi;

impl Collect for Dmi {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let folder = round.roots.sys.join("class/dmi/id");
        let label = |file: &'static str| if file == "sys_vendor" { "system_vendor" } else { file };
        let found: Vec<(&str, String)> =
            DMI_FILES.iter().filter_map(|file| Some((label(file), word_at(folder.join(file))?))).collect();
        if !found.is_empty() {
            let labels: Vec<(&str, &str)> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sink.push(&DMI, &labels, 1.0);
        }
        Ok(())
    }
}

static NVME: MetricMeta = gauge("node_nvme_info", "Non-numeric data from /sys/class/nvme/<device>, value is always 1.");

/// NVMe controllers.
pub(super) struct Nvme;

impl Collect for Nvme {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        for path in entries(&round.roots.sys.join("class/nvme"))? {
            let of = |file: &str| word_at(path.join(file)).unwrap_or_default();
            let (firmware, model, serial, state) = (of("firmware_rev"), of("model"), of("serial"), of("state"));
            let device = file_name(&path);
            let labels = [
                ("device", device.as_str()),
                ("firmware_revision", &firmware),
                ("model", &model),
                ("serial", &serial),
                ("state", &state),
            ];
            sink.push(&NVME, &labels, 1.0);
        }
        Ok(())
    }
}

static CORRECTABLE: MetricMeta = counter("node_edac_correctable_errors_total", "Total correctable memory errors.");
static UNCORRECTABLE: MetricMeta =
    counter("node_edac_uncorrectable_errors_total", "Total uncorrectable memory errors.");
static ROW_CORRECTABLE: MetricMeta =
    counter("node_edac_csrow_correctable_errors_total", "Total correctable memory errors for this csrow.");
static ROW_UNCORRECTABLE: MetricMeta =
    counter("node_edac_csrow_uncorrectable_errors_total", "Total uncorrectable memory errors for this csrow.");

/// Errors that memory controllers noticed.
pub(super) struct Edac;

impl Collect for Edac {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("devices/system/edac/mc"))? {
            let name = file_name(&path);
            let Some(controller) = numbered(&name, "mc") else { continue };
            for (meta, file) in [(&CORRECTABLE, "ce_count"), (&UNCORRECTABLE, "ue_count")] {
                rows.push(meta, &[("controller", controller)], Text::read(path.join(file))?.whole()?);
            }
            // Errors of which the controller cannot tell the row.
            for (meta, file) in [(&ROW_CORRECTABLE, "ce_noinfo_count"), (&ROW_UNCORRECTABLE, "ue_noinfo_count")] {
                let labels = [("controller", controller), ("csrow", "unknown")];
                rows.push(meta, &labels, Text::read(path.join(file))?.whole()?);
            }
            for row in entries(&path)? {
                let name = file_name(&row);
                let Some(number) = numbered(&name, "csrow") else { continue };
                for (meta, file) in [(&ROW_CORRECTABLE, "ce_count"), (&ROW_UNCORRECTABLE, "ue_count")] {
                    let labels = [("controller", controller), ("csrow", number)];
                    rows.push(meta, &labels, Text::read(row.join(file))?.whole()?);
                }
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

/// The number behind the prefix of a folder's name.
fn numbered<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

static ENABLED: MetricMeta = gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false");
static CURRENT: MetricMeta = gauge("node_selinux_current_mode", "Current SELinux enforcement mode");
static CONFIGURED: MetricMeta = gauge("node_selinux_config_mode", "Configured SELinux enforcement mode");

/// SELinux. Modes are -1 for disabled, 0 for permissive and 1 for enforcing.
pub(super) struct Selinux;

impl Collect for Selinux {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let enforce = number_at(round.roots.sys.join("fs/selinux/enforce"));
        if let Some(mode) = enforce {
            let text = Text::optional(round.roots.rootfs.join("etc/selinux/config"))?;
            let word =
                text.as_ref().and_then(|text| text.content.lines().find_map(|l| l.trim().strip_prefix("SELINUX=")));
            let configured = match word {
                Some("enforcing") => 1.0,
                Some("permissive") => 0.0,
                _ => -1.0,
            };
            sink.push(&CONFIGURED, &[], configured);
            sink.push(&CURRENT, &[], mode);
        }
        sink.push(&ENABLED, &[], f64::from(u8::from(enforce.is_some())));
        Ok(())
    }
}
