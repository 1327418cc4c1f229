//! What udev knows of block devices: model, path, file system, device mapper.
//!
//! Its database is a file per device below `/run/udev/data`, with lines `E:KEY=VALUE`. Where there is no udev, each
//! device has its numbers alone.

use super::Round;
use super::sink::{Rows, gauge};
use super::source::Text;
use skerry_model::MetricMeta;
use std::collections::HashMap;

static INFO: MetricMeta = gauge("node_disk_info", "Info of /sys/block/<block_device>.");
static FILESYSTEM: MetricMeta = gauge("node_disk_filesystem_info", "Info about disk filesystem.");
static MAPPER: MetricMeta = gauge("node_disk_device_mapper_info", "Info about disk device mapper.");
static ATA: [(&str, MetricMeta); 3] = [
    (
        "ID_ATA_ROTATION_RATE_RPM",
        gauge("node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
    ),
    ("ID_ATA_WRITE_CACHE", gauge("node_disk_ata_write_cache", "ATA disk has a write cache.")),
    ("ID_ATA_WRITE_CACHE_ENABLED", gauge("node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled.")),
];

/// Adds what is known of the device with these numbers.
pub(super) fn describe(round: &Round, device: &str, (major, minor): (&str, &str), rows: &mut Rows) {
    let text = Text::read(round.roots.rootfs.join(format!("run/udev/data/b{major}:{minor}")));
    let content = text.map(|text| text.content).unwrap_or_default();
    let known: HashMap<&str, &str> =
        content.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')).collect();
    let of = |key: &str| known.get(key).copied().unwrap_or_default();
    let device = ("device", device);
    let info = [
        device,
        ("major", major),
        ("minor", minor),
        ("model", of("ID_MODEL")),
        ("path", of("ID_PATH")),
        ("revision", of("ID_REVISION")),
        ("serial", of("ID_SERIAL_SHORT")),
        ("wwn", of("ID_WWN")),
    ];
    rows.push(&INFO, &info, 1.0);
    if !of("ID_FS_TYPE").is_empty() {
        let labels = [
            device,
            ("type", of("ID_FS_TYPE")),
            ("usage", of("ID_FS_USAGE")),
            ("uuid", of("ID_FS_UUID")),
            ("version", of("ID_FS_VERSION")),
        ];
        rows.push(&FILESYSTEM, &labels, 1.0);
    }
    if !of("DM_NAME").is_empty() {
        let labels = [
            device,
            ("lv_layer", of("DM_LV_LAYER")),
            ("lv_name", of("DM_LV_NAME")),
            ("name", of("DM_NAME")),
            ("uuid", of("DM_UUID")),
            ("vg_name", of("DM_VG_NAME")),
        ];
        rows.push(&MAPPER, &labels, 1.0);
    }
    if !of("ID_ATA").is_empty() {
        for (key, meta) in &ATA {
            if let Ok(value) = of(key).parse::<f64>() {
                rows.push(meta, &[device], value);
            }
        }
    }
}
