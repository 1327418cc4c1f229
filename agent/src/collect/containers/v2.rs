//! Version 2: one folder with the files of all controllers (kernel documentation, admin-guide/cgroup-v2).

use super::super::source::{CollectError, Roots};
use super::cgroup::{Version, folder};
use super::files::{Flat, number, processes, text};
use super::{Rows, metas};

/// Weight to shares, as container runtimes turn shares to weight: 2..=262144 onto 1..=10000.
fn shares(weight: f64) -> f64 {
    (2.0 + (weight - 1.0) * 262_142.0 / 9_999.0).round()
}

pub(super) fn read(roots: &Roots, path: &str, rows: &mut Rows) -> Result<(), CollectError> {
    let folder = folder(roots, Version::V2, "", path);
    let folder = folder.as_ref();
    let cpu = Flat::read(folder, "cpu.stat")?;
    let seconds = |key: &str| cpu.value(key).map(|micros| micros / 1e6);
    if let Some(used) = seconds("usage_usec") {
        rows.labelled(&metas::CPU_USAGE, vec![("cpu", "total".to_owned())], used);
    }
    rows.maybe(&metas::CPU_USER, seconds("user_usec"));
    rows.maybe(&metas::CPU_SYSTEM, seconds("system_usec"));
    rows.maybe(&metas::CFS_PERIODS, cpu.value("nr_periods"));
    rows.maybe(&metas::CFS_THROTTLED, cpu.value("nr_throttled"));
    rows.maybe(&metas::CFS_THROTTLED_SECONDS, seconds("throttled_usec"));
    if let Some(max) = text(folder, "cpu.max")? {
        let line = max.content.trim();
        let mut words = line.split_ascii_whitespace();
        let quota = words.next();
        rows.push(&metas::SPEC_CPU_PERIOD, max.number(words.next(), line, "QUOTA PERIOD")?);
        if quota != Some("max") {
            rows.push(&metas::SPEC_CPU_QUOTA, max.number(quota, line, "QUOTA PERIOD")?);
        }
    }
    rows.maybe(&metas::SPEC_CPU_SHARES, number(folder, "cpu.weight")?.map(shares));

    let usage = number(folder, "memory.current")?;
    let memory = Flat::read(folder, "memory.stat")?;
    rows.maybe(&metas::MEMORY_USAGE, usage);
    let inactive = memory.value("inactive_file").unwrap_or(0.0);
    rows.maybe(&metas::MEMORY_WORKING_SET, usage.map(|usage| (usage - inactive).max(0.0)));
    rows.maybe(&metas::MEMORY_RSS, memory.value("anon"));
    rows.maybe(&metas::MEMORY_CACHE, memory.value("file"));
    rows.maybe(&metas::MEMORY_MAPPED, memory.value("file_mapped"));
    rows.maybe(&metas::MEMORY_SWAP, number(folder, "memory.swap.current")?);
    rows.maybe(&metas::MEMORY_MAX_USAGE, number(folder, "memory.peak")?);
    rows.maybe(&metas::SPEC_MEMORY_LIMIT, number(folder, "memory.max")?);
    rows.maybe(&metas::SPEC_MEMORY_SWAP, number(folder, "memory.swap.max")?);
    rows.maybe(&metas::SPEC_MEMORY_RESERVATION, number(folder, "memory.high")?);
    rows.maybe(&metas::MEMORY_KERNEL, memory.value("kernel"));
    // Version 2 counts for the group and what is below it together.
    for scope in ["container", "hierarchy"] {
        for kind in ["pgfault", "pgmajfault"] {
            rows.failures(kind, scope, memory.value(kind));
        }
    }
    let events = Flat::read(folder, "memory.events")?;
    rows.maybe(&metas::MEMORY_FAILCNT, events.value("max"));
    rows.maybe(&metas::OOM_EVENTS, events.value("oom_kill"));
    for (file, kind, meta) in &metas::PRESSURE {
        // Kernels without pressure information refuse to read it.
        let Ok(Some(text)) = text(folder, file) else { continue };
        let Some(line) = text.content.lines().find(|line| line.starts_with(kind)) else { continue };
        let total = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="));
        rows.push(meta, text.number(total, line, "total=MICROSECONDS")? / 1e6);
    }

    rows.maybe(&metas::THREADS, number(folder, "pids.current")?);
    rows.maybe(&metas::THREADS_MAX, number(folder, "pids.max")?);
    #[expect(clippy::cast_precision_loss, reason = "a count of processes is small")]
    rows.maybe(&metas::PROCESSES, processes(folder)?.map(|(count, _)| count as f64));

    let Some(io) = text(folder, "io.stat")? else { return Ok(()) };
    for line in io.content.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next() else { continue };
        let (number, device) = (device, metas::device(roots, device));
        for word in words {
            let Some((key, value)) = word.split_once('=') else { return Err(io.fault(line, "DEVICE KEY=NUMBER …")) };
            let meta = match key {
                "rbytes" => &metas::FS_READS_BYTES,
                "wbytes" => &metas::FS_WRITES_BYTES,
                "rios" => &metas::FS_READS,
                "wios" => &metas::FS_WRITES,
                _ => continue,
            };
            let value = io.number(Some(value), line, "DEVICE KEY=NUMBER …")?;
            rows.labelled(meta, vec![("device", device.clone())], value);
            let operation = match key {
                "rbytes" => "Read",
                "wbytes" => "Write",
                _ => continue,
            };
            rows.labelled(&metas::BLKIO, metas::device_labels(roots, number, operation), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn weights_are_shares() {
        assert_eq!((shares(1.0), shares(10_000.0)), (2.0, 262_144.0));
        assert_eq!(shares(100.0), 2597.0);
    }
}
