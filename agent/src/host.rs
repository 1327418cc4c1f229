//! What the machine is, and what this process uses of it.

use skerry_wire::HostFacts;

/// Longest fact, in bytes.
const FACT_BYTES_MAX: usize = 128;

/// What the machine is, for people.
#[must_use]
pub fn facts() -> HostFacts {
    let system = sysinfo::System::new_with_specifics(
        sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
    );
    let short = |text: Option<String>| {
        let mut text = text.unwrap_or_default();
        text.truncate(text.floor_char_boundary(FACT_BYTES_MAX));
        text
    };
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    HostFacts {
        hostname: short(sysinfo::System::host_name().ok()),
        os: short(sysinfo::System::long_os_version().ok()),
        kernel: short(sysinfo::System::kernel_version().ok()),
        arch: short(Some(sysinfo::System::cpu_arch())),
        memory_bytes: system.map_or(0, |system| system.total_memory()),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
    }
}

/// The kernel's boot id; empty where there is none.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What this process uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// CPU time in user and kernel mode, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Start of the process, in seconds since 1970.
    pub start_seconds: f64,
}

/// What this process uses now; zeros where the kernel does not say.
#[must_use]
pub fn usage() -> Usage {
    let read = || -> procfs::ProcResult<Usage> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        Ok(Usage {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_fds: process.fd_count()? as u64,
            start_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
        })
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_this_process_are_described() {
        let facts = facts();
        assert!(!facts.kernel.is_empty() && facts.memory_bytes > 1 << 20 && facts.cpus > 0, "{facts:?}");
        let usage = usage();
        assert!(usage.resident_bytes > 1 << 20 && usage.open_fds > 2, "{usage:?}");
        assert!(usage.start_seconds > 1.7e9, "{usage:?}");
        assert_eq!(boot_id().len(), 36);
    }
}
