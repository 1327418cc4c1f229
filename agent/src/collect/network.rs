//! `/proc/net/dev`: traffic of network interfaces.

use super::sink::counter;
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

/// In the order of the file's columns.
static METAS: [MetricMeta; 16] = [
    counter("node_network_receive_bytes_total", "Network device statistic receive_bytes."),
    counter("node_network_receive_packets_total", "Network device statistic receive_packets."),
    counter("node_network_receive_errs_total", "Network device statistic receive_errs."),
    counter("node_network_receive_drop_total", "Network device statistic receive_drop."),
    counter("node_network_receive_fifo_total", "Network device statistic receive_fifo."),
    counter("node_network_receive_frame_total", "Network device statistic receive_frame."),
    counter("node_network_receive_compressed_total", "Network device statistic receive_compressed."),
    counter("node_network_receive_multicast_total", "Network device statistic receive_multicast."),
    counter("node_network_transmit_bytes_total", "Network device statistic transmit_bytes."),
    counter("node_network_transmit_packets_total", "Network device statistic transmit_packets."),
    counter("node_network_transmit_errs_total", "Network device statistic transmit_errs."),
    counter("node_network_transmit_drop_total", "Network device statistic transmit_drop."),
    counter("node_network_transmit_fifo_total", "Network device statistic transmit_fifo."),
    counter("node_network_transmit_colls_total", "Network device statistic transmit_colls."),
    counter("node_network_transmit_carrier_total", "Network device statistic transmit_carrier."),
    counter("node_network_transmit_compressed_total", "Network device statistic transmit_compressed."),
];

/// Network interfaces.
pub(super) struct Devices;

impl Collect for Devices {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        // Behind `self`, because `net` alone is the namespace of whatever thread reads it.
        let text = Text::read(round.roots.proc.join("self/net/dev"))?;
        let mut rows = Vec::new();
        for line in text.content.lines().skip(2) {
            let (device, rest) = line.split_once(':').ok_or_else(|| text.fault(line, "DEVICE: sixteen numbers"))?;
            let numbers = rest.split_ascii_whitespace().map(|word| text.number(Some(word), line, "a number"));
            let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
            if numbers.len() < METAS.len() {
                return Err(text.fault(line, "sixteen numbers"));
            }
            rows.push((device.trim().to_owned(), numbers));
        }
        let value = |row: &(String, Vec<f64>), column: usize| row.1.get(column).copied();
        sink.table(&METAS, &rows, |row| vec![("device", row.0.clone())], value);
        Ok(())
    }
}
