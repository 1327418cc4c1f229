//! `/proc/diskstats`: what block devices did (kernel documentation `admin-guide/iostats`).

use super::sink::{Rows, counter, gauge};
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink, udev};
use regex::Regex;
use skerry_model::MetricMeta;

/// The kernel counts in sectors of this size whatever the device's own is.
const SECTOR_BYTES: f64 = 512.0;
const MS: f64 = 0.001;

/// In the order of the file's columns; kernels before 4.18 end after eleven, before 5.5 after fifteen.
static METAS: [MetricMeta; 17] = [
    counter("node_disk_reads_completed_total", "The total number of reads completed successfully."),
    counter("node_disk_reads_merged_total", "The total number of reads merged."),
    counter("node_disk_read_bytes_total", "The total number of bytes read successfully."),
    counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads."),
    counter("node_disk_writes_completed_total", "The total number of writes completed successfully."),
    counter("node_disk_writes_merged_total", "The number of writes merged."),
    counter("node_disk_written_bytes_total", "The total number of bytes written successfully."),
    counter("node_disk_write_time_seconds_total", "This is the total number of seconds spent by all writes."),
    gauge("node_disk_io_now", "The number of I/Os currently in progress."),
    counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os."),
    counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os."),
    counter("node_disk_discards_completed_total", "The total number of discards completed successfully."),
    counter("node_disk_discards_merged_total", "The total number of discards merged."),
    counter("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully."),
    counter("node_disk_discard_time_seconds_total", "This is the total number of seconds spent by all discards."),
    counter("node_disk_flush_requests_total", "The total number of flush requests completed successfully"),
    counter(
        "node_disk_flush_requests_time_seconds_total",
        "This is the total number of seconds spent by all flush requests.",
    ),
];
const FACTORS: [f64; 17] =
    [1.0, 1.0, SECTOR_BYTES, MS, 1.0, 1.0, SECTOR_BYTES, MS, 1.0, MS, MS, 1.0, 1.0, 1.0, MS, 1.0, MS];

/// Block devices but those excluded.
pub(super) struct Disks {
    pub(super) exclude: Regex,
}

impl Collect for Disks {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("diskstats"))?;
        let (mut rows, mut known) = (Vec::new(), Rows::default());
        for line in text.content.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(major), Some(minor), Some(device)) = (words.next(), words.next(), words.next()) else {
                return Err(text.fault(line, "a device name in the third column"));
            };
            if self.exclude.is_match(device) {
                continue;
            }
            let numbers = words.map(|word| text.number(Some(word), line, "a number")).collect::<Result<Vec<_>, _>>()?;
            if numbers.len() < 11 {
                return Err(text.fault(line, "at least eleven numbers"));
            }
            // The numbers become part of a path, so nothing else may stand there.
            if [major, minor].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
                udev::describe(round, device, (major, minor), &mut known);
            }
            rows.push((device.to_owned(), numbers));
        }
        let value = |row: &(String, Vec<f64>), column: usize| row.1.get(column).map(|n| n * FACTORS[column]);
        known.pour(sink);
        sink.table(&METAS, &rows, |row| vec![("device", row.0.clone())], value);
        Ok(())
    }
}
