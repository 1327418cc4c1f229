//! Node metrics under node_exporter's names, container metrics under cAdvisor's, with their types, units and labels, so
//! that the dashboards and rules that people have today work unchanged.
//!
//! Each collector reads a few files below [`Roots`] and turns them into observations. It fails alone: the others' values
//! are kept, the failure is reported, and what the failing one had read so far is dropped, because half a collector's
//! series would look like the other half had ended. One that hangs is left behind with its thread, skipped until it
//! comes back, and said to hang. Reading blocks, so a round belongs on a blocking thread.
//!
//! Left out of node_exporter's default set, because no edge node was seen with it: bcache, fibrechannel, infiniband,
//! tapestats and zfs.
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
mod gpu;
mod hardware;
mod hwmon;
mod ipvs;
mod memory;
mod netclass;
mod netstat;
mod network;
mod nfs;
mod patience;
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
mod textfile;
mod timex;
mod udev;
mod volumes;
mod wear;

pub use config::{COLLECTORS, Config, Fault, REFERENCE};
pub use source::{CollectError, Roots};
pub use task::{CollectEnded, CollectTask};

use crate::clock::Clock;
use crate::data::{Collected, CollectorFailure};
use patience::{Answer, Late, Patient};
use sink::{Sink, gauge};
use skerry_model::{ContainerInfo, MetricMeta, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The collector that comes last.
const TEXTFILE: &str = "textfile";

static DURATION: MetricMeta = gauge("node_scrape_collector_duration_seconds", "How long a collector took, in seconds.");
static SUCCESS: MetricMeta = gauge("node_scrape_collector_success", "Whether a collector succeeded.");

/// How long a collector may take. One that takes longer is left alone until it answers, and the others go on.
const COLLECTOR_WAIT: Duration = Duration::from_secs(10);

/// Runs the enabled collectors.
pub struct Collector {
    enabled: Vec<Enabled>,
    roots: Arc<Roots>,
    clock: Clock,
    thread: Patient<Job, Done>,
    wait: Duration,
}

struct Enabled {
    name: &'static str,
    state: State,
}

enum State {
    /// It waits for the next round.
    Ready(Box<dyn Collect>),
    /// It has not come back from a round.
    Late(Late<Done>),
    /// Its thread ended, and took it along.
    Lost,
}

/// A collector on its way.
struct Job {
    collector: Box<dyn Collect>,
    round: Round,
    clock: Clock,
}

/// A collector that came back, and what it brought.
struct Done {
    collector: Box<dyn Collect>,
    sink: Sink,
    outcome: Result<(), CollectError>,
    seconds: f64,
}

/// One collector.
trait Collect: Send {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError>;
}

/// What a round of collection begins with.
#[derive(Clone)]
struct Round {
    /// Where the kernel's files are.
    roots: Arc<Roots>,
    /// What the container runtimes say is there.
    containers: Arc<Vec<ContainerInfo>>,
    /// Wall time.
    now: UnixMillis,
    /// Metrics that other collectors gave in this round; told to the last one alone.
    taken: Arc<BTreeSet<String>>,
}

impl Collector {
    /// The collectors that the config enables.
    ///
    /// # Errors
    /// Every [`Fault`] of the config.
    pub fn new(config: &Config, roots: Roots, clock: Clock) -> Result<Self, Vec<Fault>> {
        let filters = config.check()?;
        let all: [(&'static str, Box<dyn Collect>); COLLECTORS.len() - 1] = [
            ("arp", Box::new(sockets::Arp)),
            ("bonding", Box::new(raid::Bonding)),
            ("btrfs", Box::new(volumes::Btrfs)),
            ("clocksource", Box::new(release::ClockSources)),
            ("conntrack", Box::new(sockets::Conntrack)),
            ("containers", Box::new(containers::Containers)),
            ("cpu", Box::new(cpu::Cpu)),
            ("cpufreq", Box::new(frequency::CpuFrequency)),
            ("devfreq", Box::new(gpu::Devfreq)),
            ("diskstats", Box::new(disk::Disks { exclude: filters.devices })),
            ("dmi", Box::new(hardware::Dmi)),
            ("drm", Box::new(gpu::Drm)),
            ("edac", Box::new(hardware::Edac)),
            ("entropy", Box::new(system::Entropy)),
            ("filefd", Box::new(system::FileDescriptors)),
            ("filesystem", Box::new(filesystem::Filesystems::new(filters.mounts, filters.types))),
            ("gpu", Box::new(gpu::Gpu)),
            ("hwmon", Box::new(hwmon::Hwmon::default())),
            ("ipvs", Box::new(ipvs::Ipvs)),
            ("loadavg", Box::new(system::LoadAverage)),
            ("mdadm", Box::new(raid::Mdadm)),
            ("meminfo", Box::new(memory::Meminfo)),
            ("mmc", Box::new(wear::MmcWear)),
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
        // Files of others come last, so that the agent's own metrics are known by then.
        let textfile = textfile::Textfiles { folder: config.textfile_directory.clone(), metas: sink::Metas::default() };
        let last: (&'static str, Box<dyn Collect>) = (TEXTFILE, Box::new(textfile));
        let all = all.into_iter().chain([last]).filter(|(name, _)| config.is_enabled(name));
        let enabled = all.map(|(name, collector)| Enabled { name, state: State::Ready(collector) }).collect();
        Ok(Self { enabled, roots: Arc::new(roots), clock, thread: Patient::new(work), wait: COLLECTOR_WAIT })
    }

    /// One round. Blocks while it reads, [`COLLECTOR_WAIT`] for each collector that hangs for the first time.
    pub fn collect(&mut self, now: UnixMillis, containers: &Arc<Vec<ContainerInfo>>) -> Collected {
        let mut round = Round { roots: self.roots.clone(), containers: containers.clone(), now, taken: Arc::default() };
        let (mut sink, mut failures, mut outcomes) = (Sink::default(), Vec::new(), Vec::new());
        for Enabled { name, state } in &mut self.enabled {
            if *name == TEXTFILE {
                round.taken = Arc::new(sink.names());
            }
            let fail = |error: String| CollectorFailure { collector: name, error };
            // What comes late is of a time that is past.
            if let State::Late(late) = state
                && let Some(done) = late.poll()
            {
                *state = State::Ready(done.collector);
            }
            let (next, seconds, succeeded) = match std::mem::replace(state, State::Lost) {
                State::Ready(collector) => {
                    let job = Job { collector, round: round.clone(), clock: self.clock.clone() };
                    match self.thread.ask(job, self.wait) {
                        Answer::Done(done) => {
                            let succeeded = done.outcome.is_ok();
                            if !done.sink.problems().is_empty() {
                                failures.push(fail(done.sink.problems().join("; ")));
                            }
                            match done.outcome {
                                Ok(()) => sink.extend(done.sink.into_observations()),
                                Err(error) => failures.push(fail(error.to_string())),
                            }
                            (State::Ready(done.collector), done.seconds, succeeded)
                        }
                        Answer::Late(late) => (State::Late(late), self.wait.as_secs_f64(), false),
                        Answer::Gone => (State::Lost, 0.0, false),
                    }
                }
                other => (other, 0.0, false),
            };
            match &next {
                State::Ready(_) => {}
                State::Late(_) => {
                    let seconds = self.wait.as_secs();
                    failures.push(fail(format!(
                        "it does not answer within {seconds} s; something that it reads hangs, such as a device or a network file system"
                    )));
                }
                State::Lost => failures.push(fail("its thread ended; restart the agent and report this".into())),
            }
            *state = next;
            outcomes.push((*name, seconds, succeeded));
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

/// One collector's part of a round, on the thread that may be left behind.
fn work(job: Job) -> Done {
    let Job { mut collector, round, clock } = job;
    let (mut sink, began) = (Sink::default(), clock.instant());
    let outcome = collector.collect(&round, &mut sink);
    Done { collector, sink, outcome, seconds: seconds_since(began, clock.instant()) }
}

fn seconds_since(began: Instant, ended: Instant) -> f64 {
    ended.saturating_duration_since(began).as_secs_f64()
}
