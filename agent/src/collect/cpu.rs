//! `/proc/stat`: processor time and the kernel's counters.

use super::sink::{counter, gauge};
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink, frequency};
use skerry_model::MetricMeta;

/// The unit of processor times: `USER_HZ`, which is 100 on every architecture that Linux shows it to.
const TICKS_PER_SECOND: f64 = 100.0;
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];

static SECONDS: MetricMeta = counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
static GUEST: MetricMeta =
    counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.");

/// Time of each processor in each mode.
pub(super) struct Cpu;

impl Collect for Cpu {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("stat"))?;
        let mut rows = Vec::new();
        for line in text.content.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(number) = words.next().and_then(|word| word.strip_prefix("cpu")).filter(|n| !n.is_empty()) else {
                continue;
            };
            let ticks = words.map(|word| text.number(Some(word), line, "ticks")).collect::<Result<Vec<_>, _>>()?;
            if ticks.len() < 4 {
                return Err(text.fault(line, "at least four times"));
            }
            rows.push((number, ticks));
        }
        if rows.is_empty() {
            return Err(text.fault("", "a line for each CPU"));
        }
        for (meta, modes, first) in [(&GUEST, GUEST_MODES.as_slice(), MODES.len()), (&SECONDS, &MODES, 0)] {
            for (number, ticks) in &rows {
                for (mode, ticks) in modes.iter().zip(ticks.iter().skip(first)) {
                    sink.push(meta, &[("cpu", number), ("mode", mode)], ticks / TICKS_PER_SECOND);
                }
            }
        }
        frequency::throttles(round, sink)
    }
}

static STAT: [(&str, MetricMeta); 6] = [
    ("btime", gauge("node_boot_time_seconds", "Node boot time, in unixtime.")),
    ("ctxt", counter("node_context_switches_total", "Total number of context switches.")),
    ("processes", counter("node_forks_total", "Total number of forks.")),
    ("intr", counter("node_intr_total", "Total number of interrupts serviced.")),
    ("procs_blocked", gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete.")),
    ("procs_running", gauge("node_procs_running", "Number of processes in runnable state.")),
];

/// The kernel's counters.
pub(super) struct Stat;

impl Collect for Stat {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("stat"))?;
        for (key, meta) in &STAT {
            for line in text.content.lines() {
                let mut words = line.split_ascii_whitespace();
                if words.next() == Some(key) {
                    sink.push(meta, &[], text.number(words.next(), line, "a number behind the name")?);
                }
            }
        }
        Ok(())
    }
}

/// In the order of the columns seven to nine of a processor's line.
static SCHEDULER: [MetricMeta; 3] = [
    counter("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process."),
    counter("node_schedstat_waiting_seconds_total", "Number of seconds spent by processing waiting for this CPU."),
    counter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU."),
];
const NANOS: [f64; 3] = [1e9, 1e9, 1.0];

/// `/proc/schedstat`: what the scheduler did (kernel documentation `scheduler/sched-stats`). Kernels without it have no
/// such file.
pub(super) struct Schedstat;

impl Collect for Schedstat {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let Some(text) = Text::optional(round.roots.proc.join("schedstat"))? else { return Ok(()) };
        let mut rows = Vec::new();
        for line in text.content.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(number) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
            let words: Vec<&str> = words.skip(6).collect();
            let mut row = [0.0; SCHEDULER.len()];
            for (at, value) in row.iter_mut().enumerate() {
                *value = text.number(words.get(at).copied(), line, "nine numbers behind the CPU")? / NANOS[at];
            }
            rows.push((number.to_owned(), row));
        }
        let value = |row: &(String, [f64; SCHEDULER.len()]), column: usize| row.1.get(column).copied();
        sink.table(&SCHEDULER, &rows, |row| vec![("cpu", row.0.clone())], value);
        Ok(())
    }
}
