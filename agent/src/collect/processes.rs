//! How many processes and threads there are, and in which state.

use super::sink::gauge;
use super::source::{CollectError, Text, entries, file_name};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::collections::BTreeMap;

static MAX_PROCESSES: MetricMeta = gauge("node_processes_max_processes", "Number of max PIDs limit");
static MAX_THREADS: MetricMeta = gauge("node_processes_max_threads", "Limit of threads in the system");
static PIDS: MetricMeta = gauge("node_processes_pids", "Number of PIDs");
static STATE: MetricMeta = gauge("node_processes_state", "Number of processes in each state.");
static THREADS: MetricMeta = gauge("node_processes_threads", "Allocated threads in system");

/// Processes by state.
pub(super) struct Processes;

impl Collect for Processes {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let (mut pids, mut threads, mut states) = (0u32, 0.0, BTreeMap::<String, u32>::new());
        for path in entries(&round.roots.proc)? {
            if !file_name(&path).bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            // A process may end between the listing and the reading: it is then simply not there.
            let Ok(text) = Text::read(path.join("stat")) else { continue };
            // The name in brackets may hold anything, brackets too: what follows begins behind the last one.
            let Some((_, rest)) = text.content.rsplit_once(')') else {
                return Err(text.fault(&text.content, "PID (NAME) STATE …"));
            };
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            let state = words.first().ok_or_else(|| text.fault(rest, "a state behind the name"))?;
            threads += text.number(words.get(17).copied(), rest, "the number of threads in the twentieth column")?;
            *states.entry((*state).to_owned()).or_default() += 1;
            pids += 1;
        }
        for (meta, file) in [(&MAX_PROCESSES, "sys/kernel/pid_max"), (&MAX_THREADS, "sys/kernel/threads-max")] {
            if let Some(text) = Text::optional(round.roots.proc.join(file))? {
                sink.push(meta, &[], text.whole()?);
            }
        }
        sink.push(&PIDS, &[], f64::from(pids));
        for (state, count) in &states {
            sink.push(&STATE, &[("state", state)], f64::from(*count));
        }
        sink.push(&THREADS, &[], threads);
        Ok(())
    }
}
