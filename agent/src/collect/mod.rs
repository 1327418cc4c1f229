//! Node metrics under node_exporter's names, container metrics under cAdvisor's, with their types, units and labels, so
//! that the dashboards and rules that people have today work unchanged.
//!
//! Each collector reads a few files below [`Roots`] and turns them into observations. It fails alone: the others' values
//! are kept, the failure is reported, and what the failing one had read so far is dropped, because half a collector's
//! series would look like the other half had ended. Reading blocks, so a round belongs on a blocking thread.
//!
//! Invariants:
//! - No file content panics or allocates without bound: [`source::FILE_BYTES_MAX`] bytes of a file are read at most.
//! - Within one round a label set stands at most once, and all observations of a metric are adjacent.

mod config;
mod containers;
mod cpu;
mod disk;
mod filesystem;
mod frequency;
mod hardware;
mod hwmon;
mod ipvs;
mod memory;
mod netclass;
mod netstat;
mod network;
mod nfs;
mod power;
mod pressure;
mod processes;
mod raid;
mod release;
mod sensors;
mod sink;
mod sockets;
mod source;
mod system;
mod task;
#[cfg(test)]
mod tests;
mod timex;
mod udev;
mod volumes;

pub use config::{COLLECTORS, Config, Fault, REFERENCE};
pub use source::{CollectError, Roots};
pub use task::{CollectEnded, CollectTask};

use crate::clock::Clock;
use crate::data::{Collected, CollectorFailure};
use sink::{Sink, gauge};
use skerry_model::{ContainerInfo, MetricMeta, UnixMillis};
use std::time::Instant;

static DURATION: MetricMeta = gauge("node_scrape_collector_duration_seconds", "How long a collector took, in seconds.");
static SUCCESS: MetricMeta = gauge("node_scrape_collector_success", "Whether a collector succeeded.");

/// Runs the enabled collectors.
pub struct Collector {
    enabled: Vec<(&'static str, Box<dyn Collect>)>,
    roots: Roots,
    clock: Clock,
}

/// One collector.
trait Collect: Send {
    fn collect(&mut self, round: &Round<'_>, sink: &mut Sink) -> Result<(), CollectError>;
}

/// What a round of collection begins with.
struct Round<'a> {
    /// Where the kernel's files are.
    roots: &'a Roots,
    /// What the container runtimes say is there.
    containers: &'a [ContainerInfo],
    /// Wall time.
    now: UnixMillis,
}

impl Collector {
    /// The collectors that the config enables.
    ///
    /// # Errors
    /// Every [`Fault`] of the config.
    pub fn new(config: &Config, roots: Roots, clock: Clock) -> Result<Self, Vec<Fault>> {
        let filters = config.check()?;
        let all: [(&'static str, Box<dyn Collect>); COLLECTORS.len()] = [
            ("arp", Box::new(sockets::Arp)),
            ("bonding", Box::new(raid::Bonding)),
            ("btrfs", Box::new(volumes::Btrfs)),
            ("clocksource", Box::new(release::ClockSources)),
            ("conntrack", Box::new(sockets::Conntrack)),
            ("containers", Box::new(containers::Containers)),
            ("cpu", Box::new(cpu::Cpu)),
            ("cpufreq", Box::new(frequency::CpuFrequency)),
            ("diskstats", Box::new(disk::Disks { exclude: filters.devices })),
            ("dmi", Box::new(hardware::Dmi)),
            ("edac", Box::new(hardware::Edac)),
            ("entropy", Box::new(system::Entropy)),
            ("filefd", Box::new(system::FileDescriptors)),
            ("filesystem", Box::new(filesystem::Filesystems { mounts: filters.mounts, types: filters.types })),
            ("hwmon", Box::new(hwmon::Hwmon::default())),
            ("ipvs", Box::new(ipvs::Ipvs)),
            ("loadavg", Box::new(system::LoadAverage)),
            ("mdadm", Box::new(raid::Mdadm)),
            ("meminfo", Box::new(memory::Meminfo)),
            ("netclass", Box::new(netclass::Netclass)),
            ("netdev", Box::new(network::Devices)),
            ("netstat", Box::new(netstat::Netstat)),
            ("nfs", Box::new(nfs::Nfs)),
            ("nfsd", Box::new(nfs::Nfsd)),
            ("nvme", Box::new(hardware::Nvme)),
            ("os", Box::new(release::OsRelease)),
            ("powersupplyclass", Box::new(power::PowerSupplies::default())),
            ("pressure", Box::new(pressure::Pressure)),
            ("processes", Box::new(processes::Processes)),
            ("rapl", Box::new(power::Rapl::default())),
            ("schedstat", Box::new(cpu::Schedstat)),
            ("selinux", Box::new(hardware::Selinux)),
            ("sockstat", Box::new(sockets::Sockstat)),
            ("softnet", Box::new(sockets::Softnet)),
            ("stat", Box::new(cpu::Stat)),
            ("thermal_zone", Box::new(sensors::ThermalZones)),
            ("time", Box::new(system::Time { clock: clock.clone() })),
            ("timex", Box::new(timex::Timex)),
            ("udp_queues", Box::new(sockets::UdpQueues)),
            ("uname", Box::new(system::Uname)),
            ("vmstat", Box::new(memory::Vmstat)),
            ("xfs", Box::new(volumes::Xfs)),
        ];
        let enabled = all.into_iter().filter(|(name, _)| config.is_enabled(name)).collect();
        Ok(Self { enabled, roots, clock })
    }

    /// One round. Blocks while it reads.
    pub fn collect(&mut self, now: UnixMillis, containers: &[ContainerInfo]) -> Collected {
        let round = Round { roots: &self.roots, containers, now };
        let mut sink = Sink::default();
        let mut failures = Vec::new();
        let mut outcomes = Vec::new();
        for (name, collector) in &mut self.enabled {
            let before = sink.len();
            let began = self.clock.instant();
            let outcome = collector.collect(&round, &mut sink);
            outcomes.push((*name, seconds_since(began, self.clock.instant()), outcome.is_ok()));
            if let Err(error) = outcome {
                sink.truncate(before);
                failures.push(CollectorFailure { collector: name, error: error.to_string() });
            }
        }
        for (name, seconds, _) in &outcomes {
            sink.push(&DURATION, &[("collector", name)], *seconds);
        }
        for (name, _, succeeded) in &outcomes {
            sink.push(&SUCCESS, &[("collector", name)], f64::from(u8::from(*succeeded)));
        }
        Collected { observations: sink.into_observations(), failures }
    }
}

fn seconds_since(began: Instant, ended: Instant) -> f64 {
    ended.saturating_duration_since(began).as_secs_f64()
}
