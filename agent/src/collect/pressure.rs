//! `/proc/pressure`: how long tasks waited for a resource (kernel documentation `accounting/psi`).

use super::sink::counter;
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

const MICROS_PER_SECOND: f64 = 1e6;

/// File, line and metric. A CPU cannot stall all tasks of a whole machine, so it has one line alone.
static METAS: [(&str, &str, MetricMeta); 5] = [
    (
        "cpu",
        "some",
        counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
        ),
    ),
    (
        "io",
        "full",
        counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
    ),
    (
        "io",
        "some",
        counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
        ),
    ),
    (
        "memory",
        "full",
        counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
    ),
    (
        "memory",
        "some",
        counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
        ),
    ),
];

/// Pressure stall information, on kernels that have it.
pub(super) struct Pressure;

impl Collect for Pressure {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        for (file, kind, meta) in &METAS {
            let Some(text) = Text::optional(round.roots.proc.join("pressure").join(file))? else { continue };
            let Some(line) = text.content.lines().find(|line| line.starts_with(kind)) else { continue };
            let total = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="));
            let micros = text.number(total, line, "total=MICROSECONDS")?;
            sink.push(meta, &[], micros / MICROS_PER_SECOND);
        }
        Ok(())
    }
}
