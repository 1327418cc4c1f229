//! `/proc/meminfo` and the part of `/proc/vmstat` that tells of pressure.

use super::sink::{gauge, untyped};
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

/// Every field that kernels from 3.10 to 6.18 write, sorted. A field that is not listed is left out.
static MEMINFO: [(&str, MetricMeta); 68] = [
    ("Active", gauge("node_memory_Active_bytes", "Memory information field Active_bytes.")),
    ("Active(anon)", gauge("node_memory_Active_anon_bytes", "Memory information field Active_anon_bytes.")),
    ("Active(file)", gauge("node_memory_Active_file_bytes", "Memory information field Active_file_bytes.")),
    ("AnonHugePages", gauge("node_memory_AnonHugePages_bytes", "Memory information field AnonHugePages_bytes.")),
    ("AnonPages", gauge("node_memory_AnonPages_bytes", "Memory information field AnonPages_bytes.")),
    ("Balloon", gauge("node_memory_Balloon_bytes", "Memory information field Balloon_bytes.")),
    ("Bounce", gauge("node_memory_Bounce_bytes", "Memory information field Bounce_bytes.")),
    ("Buffers", gauge("node_memory_Buffers_bytes", "Memory information field Buffers_bytes.")),
    ("Cached", gauge("node_memory_Cached_bytes", "Memory information field Cached_bytes.")),
    ("CmaFree", gauge("node_memory_CmaFree_bytes", "Memory information field CmaFree_bytes.")),
    ("CmaTotal", gauge("node_memory_CmaTotal_bytes", "Memory information field CmaTotal_bytes.")),
    ("CommitLimit", gauge("node_memory_CommitLimit_bytes", "Memory information field CommitLimit_bytes.")),
    ("Committed_AS", gauge("node_memory_Committed_AS_bytes", "Memory information field Committed_AS_bytes.")),
    ("DirectMap1G", gauge("node_memory_DirectMap1G_bytes", "Memory information field DirectMap1G_bytes.")),
    ("DirectMap2M", gauge("node_memory_DirectMap2M_bytes", "Memory information field DirectMap2M_bytes.")),
    ("DirectMap4M", gauge("node_memory_DirectMap4M_bytes", "Memory information field DirectMap4M_bytes.")),
    ("DirectMap4k", gauge("node_memory_DirectMap4k_bytes", "Memory information field DirectMap4k_bytes.")),
    ("Dirty", gauge("node_memory_Dirty_bytes", "Memory information field Dirty_bytes.")),
    ("EarlyMemtestBad", gauge("node_memory_EarlyMemtestBad_bytes", "Memory information field EarlyMemtestBad_bytes.")),
    ("FileHugePages", gauge("node_memory_FileHugePages_bytes", "Memory information field FileHugePages_bytes.")),
    ("FilePmdMapped", gauge("node_memory_FilePmdMapped_bytes", "Memory information field FilePmdMapped_bytes.")),
    ("GPUActive", gauge("node_memory_GPUActive_bytes", "Memory information field GPUActive_bytes.")),
    ("GPUReclaim", gauge("node_memory_GPUReclaim_bytes", "Memory information field GPUReclaim_bytes.")),
    (
        "HardwareCorrupted",
        gauge("node_memory_HardwareCorrupted_bytes", "Memory information field HardwareCorrupted_bytes."),
    ),
    ("HighFree", gauge("node_memory_HighFree_bytes", "Memory information field HighFree_bytes.")),
    ("HighTotal", gauge("node_memory_HighTotal_bytes", "Memory information field HighTotal_bytes.")),
    ("HugePages_Free", gauge("node_memory_HugePages_Free", "Memory information field HugePages_Free.")),
    ("HugePages_Rsvd", gauge("node_memory_HugePages_Rsvd", "Memory information field HugePages_Rsvd.")),
    ("HugePages_Surp", gauge("node_memory_HugePages_Surp", "Memory information field HugePages_Surp.")),
    ("HugePages_Total", gauge("node_memory_HugePages_Total", "Memory information field HugePages_Total.")),
    ("Hugepagesize", gauge("node_memory_Hugepagesize_bytes", "Memory information field Hugepagesize_bytes.")),
    ("Hugetlb", gauge("node_memory_Hugetlb_bytes", "Memory information field Hugetlb_bytes.")),
    ("Inactive", gauge("node_memory_Inactive_bytes", "Memory information field Inactive_bytes.")),
    ("Inactive(anon)", gauge("node_memory_Inactive_anon_bytes", "Memory information field Inactive_anon_bytes.")),
    ("Inactive(file)", gauge("node_memory_Inactive_file_bytes", "Memory information field Inactive_file_bytes.")),
    ("KReclaimable", gauge("node_memory_KReclaimable_bytes", "Memory information field KReclaimable_bytes.")),
    ("KernelStack", gauge("node_memory_KernelStack_bytes", "Memory information field KernelStack_bytes.")),
    ("LowFree", gauge("node_memory_LowFree_bytes", "Memory information field LowFree_bytes.")),
    ("LowTotal", gauge("node_memory_LowTotal_bytes", "Memory information field LowTotal_bytes.")),
    ("Mapped", gauge("node_memory_Mapped_bytes", "Memory information field Mapped_bytes.")),
    ("MemAvailable", gauge("node_memory_MemAvailable_bytes", "Memory information field MemAvailable_bytes.")),
    ("MemFree", gauge("node_memory_MemFree_bytes", "Memory information field MemFree_bytes.")),
    ("MemTotal", gauge("node_memory_MemTotal_bytes", "Memory information field MemTotal_bytes.")),
    ("Mlocked", gauge("node_memory_Mlocked_bytes", "Memory information field Mlocked_bytes.")),
    ("MmapCopy", gauge("node_memory_MmapCopy_bytes", "Memory information field MmapCopy_bytes.")),
    ("NFS_Unstable", gauge("node_memory_NFS_Unstable_bytes", "Memory information field NFS_Unstable_bytes.")),
    ("PageTables", gauge("node_memory_PageTables_bytes", "Memory information field PageTables_bytes.")),
    ("Percpu", gauge("node_memory_Percpu_bytes", "Memory information field Percpu_bytes.")),
    ("Quicklists", gauge("node_memory_Quicklists_bytes", "Memory information field Quicklists_bytes.")),
    ("SReclaimable", gauge("node_memory_SReclaimable_bytes", "Memory information field SReclaimable_bytes.")),
    ("SUnreclaim", gauge("node_memory_SUnreclaim_bytes", "Memory information field SUnreclaim_bytes.")),
    ("SecPageTables", gauge("node_memory_SecPageTables_bytes", "Memory information field SecPageTables_bytes.")),
    ("Shmem", gauge("node_memory_Shmem_bytes", "Memory information field Shmem_bytes.")),
    ("ShmemHugePages", gauge("node_memory_ShmemHugePages_bytes", "Memory information field ShmemHugePages_bytes.")),
    ("ShmemPmdMapped", gauge("node_memory_ShmemPmdMapped_bytes", "Memory information field ShmemPmdMapped_bytes.")),
    ("Slab", gauge("node_memory_Slab_bytes", "Memory information field Slab_bytes.")),
    ("SwapCached", gauge("node_memory_SwapCached_bytes", "Memory information field SwapCached_bytes.")),
    ("SwapFree", gauge("node_memory_SwapFree_bytes", "Memory information field SwapFree_bytes.")),
    ("SwapTotal", gauge("node_memory_SwapTotal_bytes", "Memory information field SwapTotal_bytes.")),
    ("Unaccepted", gauge("node_memory_Unaccepted_bytes", "Memory information field Unaccepted_bytes.")),
    ("Unevictable", gauge("node_memory_Unevictable_bytes", "Memory information field Unevictable_bytes.")),
    ("VmallocChunk", gauge("node_memory_VmallocChunk_bytes", "Memory information field VmallocChunk_bytes.")),
    ("VmallocTotal", gauge("node_memory_VmallocTotal_bytes", "Memory information field VmallocTotal_bytes.")),
    ("VmallocUsed", gauge("node_memory_VmallocUsed_bytes", "Memory information field VmallocUsed_bytes.")),
    ("Writeback", gauge("node_memory_Writeback_bytes", "Memory information field Writeback_bytes.")),
    ("WritebackTmp", gauge("node_memory_WritebackTmp_bytes", "Memory information field WritebackTmp_bytes.")),
    ("Zswap", gauge("node_memory_Zswap_bytes", "Memory information field Zswap_bytes.")),
    ("Zswapped", gauge("node_memory_Zswapped_bytes", "Memory information field Zswapped_bytes.")),
];

/// Memory by use.
pub(super) struct Meminfo;

impl Collect for Meminfo {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("meminfo"))?;
        for line in text.content.lines() {
            let (name, rest) = line.split_once(':').ok_or_else(|| text.fault(line, "NAME: NUMBER [kB]"))?;
            let Ok(at) = MEMINFO.binary_search_by(|(known, _)| known.cmp(&name)) else { continue };
            let mut words = rest.split_ascii_whitespace();
            let number = text.number(words.next(), line, "a number behind the name")?;
            let factor = match words.next() {
                Some("kB") => 1024.0,
                None => 1.0,
                Some(_) => return Err(text.fault(line, "kB or no unit")),
            };
            sink.push(&MEMINFO[at].1, &[], number * factor);
        }
        Ok(())
    }
}

/// What node_exporter's default filter lets through.
static VMSTAT: [(&str, MetricMeta); 7] = [
    ("oom_kill", untyped("node_vmstat_oom_kill", "/proc/vmstat information field oom_kill.")),
    ("pgfault", untyped("node_vmstat_pgfault", "/proc/vmstat information field pgfault.")),
    ("pgmajfault", untyped("node_vmstat_pgmajfault", "/proc/vmstat information field pgmajfault.")),
    ("pgpgin", untyped("node_vmstat_pgpgin", "/proc/vmstat information field pgpgin.")),
    ("pgpgout", untyped("node_vmstat_pgpgout", "/proc/vmstat information field pgpgout.")),
    ("pswpin", untyped("node_vmstat_pswpin", "/proc/vmstat information field pswpin.")),
    ("pswpout", untyped("node_vmstat_pswpout", "/proc/vmstat information field pswpout.")),
];

/// Paging, swapping, faults and kills.
pub(super) struct Vmstat;

impl Collect for Vmstat {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("vmstat"))?;
        for line in text.content.lines() {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap_or_default();
            let Some((_, meta)) = VMSTAT.iter().find(|(known, _)| *known == name) else { continue };
            sink.push(meta, &[], text.number(words.next(), line, "a number behind the name")?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MEMINFO;

    #[test]
    fn the_fields_are_sorted_for_the_search() {
        assert!(MEMINFO.is_sorted_by(|a, b| a.0 < b.0));
    }
}
