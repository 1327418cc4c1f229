//! Load, time, names and small kernel figures.

use super::sink::gauge;
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink, timex};
use crate::clock::Clock;
use skerry_model::MetricMeta;

static LOAD: [MetricMeta; 3] = [
    gauge("node_load1", "1m load average."),
    gauge("node_load5", "5m load average."),
    gauge("node_load15", "15m load average."),
];

/// `/proc/loadavg`.
pub(super) struct LoadAverage;

impl Collect for LoadAverage {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("loadavg"))?;
        let line = text.content.trim();
        let mut words = line.split_ascii_whitespace();
        for meta in &LOAD {
            sink.push(meta, &[], text.number(words.next(), line, "three load averages")?);
        }
        Ok(())
    }
}

static TIME: MetricMeta = gauge("node_time_seconds", "System time in seconds since epoch (1970).");
static ZONE: MetricMeta = gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.");

/// The wall clock.
pub(super) struct Time {
    pub(super) clock: Clock,
}

impl Collect for Time {
    fn collect(&mut self, _: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let now = self.clock.wall();
        sink.push(&TIME, &[], now.as_secs_f64());
        if let Some((name, offset)) = timex::zone(now.0.div_euclid(1000)) {
            sink.push(&ZONE, &[("time_zone", &name)], offset);
        }
        Ok(())
    }
}

static UNAME: MetricMeta = gauge("node_uname_info", "Labeled system information as provided by the uname system call.");

/// Names of kernel, host and architecture.
pub(super) struct Uname;

impl Collect for Uname {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let domain = Text::optional(round.roots.proc.join("sys/kernel/domainname"))?;
        let domain = domain.map_or_else(|| "(none)".to_owned(), |domain| domain.content.trim().to_owned());
        let (sysname, release, version) = (text(uname.sysname()), text(uname.release()), text(uname.version()));
        let (machine, nodename) = (text(uname.machine()), text(uname.nodename()));
        let labels = [
            ("sysname", sysname.as_str()),
            ("release", &release),
            ("version", &version),
            ("machine", &machine),
            ("nodename", &nodename),
            ("domainname", &domain),
        ];
        sink.push(&UNAME, &labels, 1.0);
        Ok(())
    }
}

static ENTROPY: [(&str, MetricMeta); 2] = [
    ("entropy_avail", gauge("node_entropy_available_bits", "Bits of available entropy.")),
    ("poolsize", gauge("node_entropy_pool_size_bits", "Bits of entropy pool.")),
];

/// The kernel's entropy pool.
pub(super) struct Entropy;

impl Collect for Entropy {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        for (file, meta) in &ENTROPY {
            if let Some(text) = Text::optional(round.roots.proc.join("sys/kernel/random").join(file))? {
                sink.push(meta, &[], text.whole()?);
            }
        }
        Ok(())
    }
}

static ALLOCATED: MetricMeta = gauge("node_filefd_allocated", "File descriptor statistics: allocated.");
static MAXIMUM: MetricMeta = gauge("node_filefd_maximum", "File descriptor statistics: maximum.");

/// Open files.
pub(super) struct FileDescriptors;

impl Collect for FileDescriptors {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("sys/fs/file-nr"))?;
        let line = text.content.trim();
        let mut words = line.split_ascii_whitespace();
        sink.push(&ALLOCATED, &[], text.number(words.next(), line, "three numbers")?);
        sink.push(&MAXIMUM, &[], text.number(words.nth(1), line, "three numbers")?);
        Ok(())
    }
}
