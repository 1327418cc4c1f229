//! `/sys/class/net`: properties of network interfaces.

use super::sink::{counter, gauge};
use super::source::{CollectError, entries, file_name};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::path::Path;

/// Files with one number each, in the order of [`METAS`].
const FILES: [&str; 16] = [
    "addr_assign_type",
    "carrier",
    "carrier_changes",
    "carrier_down_count",
    "carrier_up_count",
    "dev_id",
    "dormant",
    "flags",
    "ifindex",
    "iflink",
    "link_mode",
    "mtu",
    "name_assign_type",
    "netdev_group",
    "type",
    "tx_queue_len",
];
static METAS: [MetricMeta; FILES.len()] = [
    gauge("node_network_address_assign_type", "Network device property: address_assign_type"),
    gauge("node_network_carrier", "Network device property: carrier"),
    counter("node_network_carrier_changes_total", "Network device property: carrier_changes_total"),
    counter("node_network_carrier_down_changes_total", "Network device property: carrier_down_changes_total"),
    counter("node_network_carrier_up_changes_total", "Network device property: carrier_up_changes_total"),
    gauge("node_network_device_id", "Network device property: device_id"),
    gauge("node_network_dormant", "Network device property: dormant"),
    gauge("node_network_flags", "Network device property: flags"),
    gauge("node_network_iface_id", "Network device property: iface_id"),
    gauge("node_network_iface_link", "Network device property: iface_link"),
    gauge("node_network_iface_link_mode", "Network device property: iface_link_mode"),
    gauge("node_network_mtu_bytes", "Network device property: mtu_bytes"),
    gauge("node_network_name_assign_type", "Network device property: name_assign_type"),
    gauge("node_network_net_dev_group", "Network device property: net_dev_group"),
    gauge("node_network_protocol_type", "Network device property: protocol_type"),
    gauge("node_network_transmit_queue_length", "Network device property: transmit_queue_length"),
];
static SPEED: MetricMeta = gauge("node_network_speed_bytes", "Network device property: speed_bytes");
static UP: MetricMeta = gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.");
static INFO: MetricMeta =
    gauge("node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.");

/// Properties of interfaces.
pub(super) struct Netclass;

impl Collect for Netclass {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let folders = entries(&round.roots.sys.join("class/net"))?;
        // A driver may refuse any of these files, as one does for the speed of an interface that is down.
        let rows: Vec<_> = folders.iter().filter(|path| path.is_dir()).map(|path| (path, file_name(path))).collect();
        let device = |row: &(&std::path::PathBuf, String)| vec![("device", row.1.clone())];
        sink.table(&METAS, &rows, device, |row, at| number(row.0, FILES[at]));
        for (path, device) in &rows {
            // Megabits per second; -1 where it is not known.
            if let Some(speed) = number(path, "speed").filter(|speed| *speed >= 0.0) {
                sink.push(&SPEED, &[("device", device)], speed * 1_000_000.0 / 8.0);
            }
        }
        for (path, device) in &rows {
            let is_up = text(path, "operstate") == "up";
            sink.push(&UP, &[("device", device)], f64::from(u8::from(is_up)));
        }
        for (path, device) in &rows {
            let of = |file| text(path, file);
            // Bit 0 of the flags: an administrator has put it up.
            let is_wanted = number(path, "flags").is_some_and(|flags| flags % 2.0 == 1.0);
            let admin = if is_wanted { "up" } else { "down" };
            let (address, broadcast, duplex, alias, state) =
                (of("address"), of("broadcast"), of("duplex"), of("ifalias"), of("operstate"));
            let labels = [
                ("device", device.as_str()),
                ("address", &address),
                ("adminstate", admin),
                ("broadcast", &broadcast),
                ("duplex", &duplex),
                ("ifalias", &alias),
                ("operstate", &state),
            ];
            sink.push(&INFO, &labels, 1.0);
        }
        Ok(())
    }
}

fn text(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn number(folder: &Path, file: &str) -> Option<f64> {
    let text = text(folder, file);
    match text.strip_prefix("0x") {
        #[expect(clippy::cast_precision_loss, reason = "flags of 32 bits")]
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|number| number as f64),
        None => text.parse().ok(),
    }
}
