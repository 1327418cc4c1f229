//! What the kernel accounts to a process.

use anyhow::Context;
use std::time::Duration;

/// Ticks per second of the kernel's process times (USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// A process's account at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: f64,
    /// The largest that was.
    pub rss_peak_bytes: f64,
    /// Bytes that it made the kernel write to storage.
    pub written_bytes: f64,
}

impl Account {
    /// Reads it.
    ///
    /// # Errors
    /// If the process has ended or is another user's.
    pub fn read(pid: u32) -> anyhow::Result<Self> {
        let file = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let status = file("status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
            let number: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            anyhow::Ok(number * 1024.0)
        };
        let io = file("io")?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("write_bytes")?;
        Ok(Self {
            cpu: Self::cpu_of(pid)?.0,
            rss_bytes: kib("VmRSS")?,
            rss_peak_bytes: kib("VmHWM")?,
            written_bytes: written.trim().parse()?,
        })
    }

    /// CPU time of all threads, and whether the process has ended, which its parent has not yet taken note of.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn cpu_of(pid: u32) -> anyhow::Result<(Duration, bool)> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // Behind the name, which may hold anything: the state is first, utime and stime are the 12th and 13th.
        let (_, rest) = stat.rsplit_once(") ").context("stat")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("a time in stat");
        let time = Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS_PER_S);
        Ok((time, fields.first() == Some(&"Z")))
    }
}

/// CPU time of this process: what else runs on the machine does not count.
#[must_use]
pub fn own_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// A process over a span of time.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU milliseconds per second.
    pub cpu_ms_per_s: f64,
    /// The largest resident memory, in bytes.
    pub rss_bytes: f64,
    /// Bytes written, extrapolated to a day, in MiB.
    pub written_mib_per_day: f64,
}

impl Usage {
    /// From the accounts at both ends of `span`.
    #[must_use]
    pub fn between(before: Account, after: Account, span: Duration) -> Self {
        let seconds = span.as_secs_f64();
        Self {
            cpu_ms_per_s: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1000.0 / seconds,
            rss_bytes: after.rss_peak_bytes,
            written_mib_per_day: mib_per_day(after.written_bytes - before.written_bytes, span),
        }
    }
}

/// Bytes in a span, extrapolated to a day, in MiB.
#[must_use]
pub fn mib_per_day(bytes: f64, span: Duration) -> f64 {
    bytes / span.as_secs_f64() * 86_400.0 / f64::from(1 << 20)
}
