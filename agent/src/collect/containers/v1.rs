//! Version 1: a tree per controller (kernel documentation, admin-guide/cgroup-v1).

use super::super::source::{CollectError, Roots};
use super::cgroup::{Version, folder};
use super::files::{Flat, number, processes, text};
use super::{Rows, metas};
use skerry_model::MetricMeta;

/// Ticks per second in `cpuacct.stat`: USER_HZ is 100 on every architecture that Linux runs containers on.
pub(super) const TICKS_PER_S: f64 = 100.0;

const BYTES: &str = "blkio.throttle.io_service_bytes_recursive";

pub(super) fn read(roots: &Roots, path: &str, rows: &mut Rows) -> Result<(), CollectError> {
    let of = |controller: &str| folder(roots, Version::V1, controller, path);
    let (cpuacct, cpu, memory, pids, blkio) = (of("cpuacct"), of("cpu"), of("memory"), of("pids"), of("blkio"));
    let (cpuacct, cpu, memory) = (cpuacct.as_ref(), cpu.as_ref(), memory.as_ref());
    let (pids, blkio) = (pids.as_ref(), blkio.as_ref());

    if let Some(nanos) = number(cpuacct, "cpuacct.usage")? {
        rows.labelled(&metas::CPU_USAGE, vec![("cpu", "total".to_owned())], nanos / 1e9);
    }
    let split = Flat::read(cpuacct, "cpuacct.stat")?;
    rows.maybe(&metas::CPU_USER, split.value("user").map(|ticks| ticks / TICKS_PER_S));
    rows.maybe(&metas::CPU_SYSTEM, split.value("system").map(|ticks| ticks / TICKS_PER_S));
    let throttling = Flat::read(cpu, "cpu.stat")?;
    rows.maybe(&metas::CFS_PERIODS, throttling.value("nr_periods"));
    rows.maybe(&metas::CFS_THROTTLED, throttling.value("nr_throttled"));
    rows.maybe(&metas::CFS_THROTTLED_SECONDS, throttling.value("throttled_time").map(|nanos| nanos / 1e9));
    rows.maybe(&metas::SPEC_CPU_PERIOD, number(cpu, "cpu.cfs_period_us")?);
    // Minus one stands for no quota.
    rows.maybe(&metas::SPEC_CPU_QUOTA, number(cpu, "cpu.cfs_quota_us")?.filter(|quota| *quota > 0.0));
    rows.maybe(&metas::SPEC_CPU_SHARES, number(cpu, "cpu.shares")?);

    let usage = number(memory, "memory.usage_in_bytes")?;
    let stat = Flat::read(memory, "memory.stat")?;
    rows.maybe(&metas::MEMORY_USAGE, usage);
    let inactive = stat.value("total_inactive_file").unwrap_or(0.0);
    rows.maybe(&metas::MEMORY_WORKING_SET, usage.map(|usage| (usage - inactive).max(0.0)));
    rows.maybe(&metas::MEMORY_RSS, stat.value("total_rss"));
    rows.maybe(&metas::MEMORY_CACHE, stat.value("total_cache"));
    rows.maybe(&metas::MEMORY_MAPPED, stat.value("total_mapped_file"));
    rows.maybe(&metas::MEMORY_SWAP, stat.value("total_swap"));
    rows.maybe(&metas::MEMORY_MAX_USAGE, number(memory, "memory.max_usage_in_bytes")?);
    rows.maybe(&metas::MEMORY_FAILCNT, number(memory, "memory.failcnt")?);
    rows.maybe(&metas::SPEC_MEMORY_LIMIT, number(memory, "memory.limit_in_bytes")?);
    rows.maybe(&metas::SPEC_MEMORY_SWAP, number(memory, "memory.memsw.limit_in_bytes")?);
    rows.maybe(&metas::SPEC_MEMORY_RESERVATION, number(memory, "memory.soft_limit_in_bytes")?);
    rows.maybe(&metas::MEMORY_KERNEL, number(memory, "memory.kmem.usage_in_bytes")?);
    for (scope, prefix) in [("container", ""), ("hierarchy", "total_")] {
        for kind in ["pgfault", "pgmajfault"] {
            rows.failures(kind, scope, stat.value(&format!("{prefix}{kind}")));
        }
    }
    rows.maybe(&metas::OOM_EVENTS, Flat::read(memory, "memory.oom_control")?.value("oom_kill"));

    rows.maybe(&metas::THREADS, number(pids, "pids.current")?);
    rows.maybe(&metas::THREADS_MAX, number(pids, "pids.max")?);
    #[expect(clippy::cast_precision_loss, reason = "a count of processes is small")]
    rows.maybe(&metas::PROCESSES, processes(memory)?.map(|(count, _)| count as f64));

    for (file, reads, writes) in [
        (BYTES, &metas::FS_READS_BYTES, &metas::FS_WRITES_BYTES),
        ("blkio.throttle.io_serviced_recursive", &metas::FS_READS, &metas::FS_WRITES),
    ] {
        let Some(io) = text(blkio, file)? else { continue };
        for line in io.content.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            // `Total NUMBER` ends the file.
            let [device, operation, number] = words.as_slice() else { continue };
            let meta: &'static MetricMeta = match *operation {
                "Read" => reads,
                "Write" => writes,
                _ => continue,
            };
            let value = io.number(Some(number), line, "DEVICE OPERATION NUMBER")?;
            rows.labelled(meta, vec![("device", metas::device(roots, device))], value);
            if file == BYTES {
                rows.labelled(&metas::BLKIO, metas::device_labels(roots, device, operation), value);
            }
        }
    }
    Ok(())
}
