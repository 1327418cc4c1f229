//! Settings of the collectors, section `collect` of a NodeConfig.

use regex::Regex;
use serde::{Deserialize, Serialize};
use skerry_model::Span;
use std::path::PathBuf;

/// Every collector.
pub const COLLECTORS: [&str; 47] = [
    "arp",
    "bonding",
    "btrfs",
    "clocksource",
    "conntrack",
    "containers",
    "cpu",
    "cpufreq",
    "devfreq",
    "diskstats",
    "dmi",
    "drm",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "gpu",
    "hwmon",
    "ipvs",
    "loadavg",
    "mdadm",
    "meminfo",
    "mmc",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "processes",
    "rapl",
    "schedstat",
    "selinux",
    "sockstat",
    "softnet",
    "stat",
    "textfile",
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "uname",
    "vmstat",
    "xfs",
];

/// Settings of the collectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time between two rounds.
    pub interval: Span,
    /// Collectors that do not run.
    pub disable: Vec<String>,
    /// Mount points whose file systems are left out.
    pub filesystem_mount_points_exclude: String,
    /// File system types that are left out.
    pub filesystem_types_exclude: String,
    /// Block devices that are left out.
    pub diskstats_devices_exclude: String,
    /// Folder of other programs' `*.prom` files; empty for none.
    pub textfile_directory: PathBuf,
}

const MOUNTS: &str = r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
const TYPES: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$";
const DEVICES: &str = "^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme[0-9]+n[0-9]+p)[0-9]+$";

/// Where Debian's packages of such programs put their files.
const TEXTFILES: &str = "/var/lib/prometheus/node-exporter";

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Span::secs(15),
            disable: Vec::new(),
            filesystem_mount_points_exclude: MOUNTS.into(),
            filesystem_types_exclude: TYPES.into(),
            diskstats_devices_exclude: DEVICES.into(),
            textfile_directory: TEXTFILES.into(),
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("interval", "15s", "time between two rounds of collection; 1s to 1h"),
    ("disable", "[]", "collectors that do not run, by name"),
    ("filesystem_mount_points_exclude", "node_exporter's", "regular expression of mount points that are left out"),
    ("filesystem_types_exclude", "node_exporter's", "regular expression of types that are left out"),
    ("diskstats_devices_exclude", "node_exporter's", "regular expression of block devices that are left out"),
    (
        "textfile_directory",
        "/var/lib/prometheus/node-exporter",
        "folder of other programs' metrics, files *.prom in the text format; empty for none",
    ),
];

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {expected}")]
pub struct Fault {
    /// Key below `collect`.
    pub key: &'static str,
    /// What is wrong and what was expected.
    pub expected: String,
}

/// The compiled expressions.
pub(super) struct Filters {
    pub(super) mounts: Regex,
    pub(super) types: Regex,
    pub(super) devices: Regex,
}

impl Config {
    /// Whether this collector runs.
    #[must_use]
    pub fn is_enabled(&self, collector: &str) -> bool {
        !self.disable.iter().any(|name| name == collector)
    }

    /// Compiles the expressions and checks the rest.
    pub(super) fn check(&self) -> Result<Filters, Vec<Fault>> {
        let mut faults = Vec::new();
        let (least, most) = (Span::secs(1), Span::secs(3600));
        if self.interval < least || self.interval > most {
            let expected = format!("{} is out of range: {least} to {most} is expected", self.interval);
            faults.push(Fault { key: "interval", expected });
        }
        for name in self.disable.iter().filter(|name| !COLLECTORS.contains(&name.as_str())) {
            let expected = format!("{name:?} is no collector: one of {} is expected", COLLECTORS.join(", "));
            faults.push(Fault { key: "disable", expected });
        }
        if !self.textfile_directory.is_absolute() && !self.textfile_directory.as_os_str().is_empty() {
            let shown = self.textfile_directory.display();
            let expected = format!("{shown} is not absolute: a path that begins with / is expected, or nothing");
            faults.push(Fault { key: "textfile_directory", expected });
        }
        let mut compile = |key, text: &str| match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                faults.push(Fault { key, expected: format!("a regular expression is expected: {error}") });
                None
            }
        };
        let mounts = compile("filesystem_mount_points_exclude", &self.filesystem_mount_points_exclude);
        let types = compile("filesystem_types_exclude", &self.filesystem_types_exclude);
        let devices = compile("diskstats_devices_exclude", &self.diskstats_devices_exclude);
        match (mounts, types, devices) {
            (Some(mounts), Some(types), Some(devices)) if faults.is_empty() => Ok(Filters { mounts, types, devices }),
            _ => Err(faults),
        }
    }

    /// Every fault, with its key.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.check().err().unwrap_or_default()
    }
}
