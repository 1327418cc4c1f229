//! Settings of scraping, section `scrape` of a NodeConfig: Prometheus's own `global` and `scrape_configs`, as they stand
//! in a `prometheus.yml`, or the path of such a file.

mod file;
mod job;
#[cfg(test)]
mod tests;

pub use file::{Prometheus, read_file};
pub use job::{DockerSd, FileSd, JobConfig, StaticGroup};

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use skerry_model::Span;
use std::path::PathBuf;

/// Most samples of a scrape where a job has no `sample_limit`.
pub(super) const SAMPLES_DEFAULT: usize = 10_000;
/// Longest body of a scrape where a job has no `body_size_limit`, in bytes.
pub(super) const BODY_BYTES_DEFAULT: u64 = 8 << 20;
/// Most jobs.
const JOBS_MAX: usize = 128;
/// Longest text of a name.
const NAME_BYTES_MAX: usize = 256;

/// Settings of scraping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A `prometheus.yml` whose jobs are scraped too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// What jobs have where they say nothing else.
    pub global: Global,
    /// The jobs.
    pub scrape_configs: Vec<JobConfig>,
    /// Whether running containers with the label `prometheus.io/scrape: "true"` are scraped.
    pub containers: bool,
    /// Most series of all targets together.
    pub series_limit: usize,
    /// Most targets of all jobs together.
    pub target_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            config_file: None,
            global: Global::default(),
            scrape_configs: Vec::new(),
            containers: true,
            series_limit: 20_000,
            target_limit: 200,
        }
    }
}

/// `global`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    /// Time between two scrapes.
    pub scrape_interval: Span,
    /// How long one may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_timeout: Option<Span>,
    /// Limits, as in a job; 0: none of its own.
    pub sample_limit: usize,
    /// Most targets of a job.
    pub target_limit: usize,
    /// Most labels of a series.
    pub label_limit: usize,
    /// Longest label name.
    pub label_name_length_limit: usize,
    /// Longest label value.
    pub label_value_length_limit: usize,
    /// Longest body.
    pub body_size_limit: Size,
    #[serde(skip_serializing)]
    external_labels: Ignored,
    #[serde(skip_serializing)]
    evaluation_interval: Ignored,
    #[serde(skip_serializing)]
    rule_query_offset: Ignored,
    #[serde(skip_serializing)]
    query_log_file: Ignored,
    #[serde(skip_serializing)]
    scrape_failure_log_file: Ignored,
    #[serde(skip_serializing)]
    scrape_protocols: Ignored,
    #[serde(skip_serializing)]
    keep_dropped_targets: Ignored,
    #[serde(skip_serializing)]
    metric_name_validation_scheme: Ignored,
    #[serde(skip_serializing)]
    metric_name_escaping_scheme: Ignored,
    #[serde(skip_serializing)]
    scrape_native_histograms: Ignored,
    #[serde(skip_serializing)]
    runtime: Ignored,
}

impl Global {
    /// How long a scrape may take: as Prometheus, no longer than the interval where nothing is said.
    #[must_use]
    pub fn timeout(&self) -> Span {
        self.scrape_timeout.unwrap_or_else(|| Span::secs(10).min(self.scrape_interval))
    }
}

impl Default for Global {
    fn default() -> Self {
        Self {
            scrape_interval: Span::secs(60),
            scrape_timeout: None,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            body_size_limit: Size(0),
            external_labels: Ignored,
            evaluation_interval: Ignored,
            rule_query_offset: Ignored,
            query_log_file: Ignored,
            scrape_failure_log_file: Ignored,
            scrape_protocols: Ignored,
            keep_dropped_targets: Ignored,
            metric_name_validation_scheme: Ignored,
            metric_name_escaping_scheme: Ignored,
            scrape_native_histograms: Ignored,
            runtime: Ignored,
        }
    }
}

/// A key that means nothing here and does no harm: it is read over, so that people's files are taken as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A size as Prometheus writes it: `10MB`, `512KiB`, `1048576`. Its units are powers of 1024 whichever way they are
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim_end_matches('B').trim_end_matches('i') {
            "" => 0,
            "K" | "k" => 10,
            "M" => 20,
            "G" => 30,
            _ => 64,
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1u64.checked_shl(shift)?));
        bytes.map(Self).ok_or_else(|| Error::custom("a size such as 10MB is expected"))
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}B", self.0))
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    (
        "config_file",
        "none",
        "path of a prometheus.yml: its `global` and `scrape_configs` count, read again when the file changes; rules, alerting and remote_write in it are not looked at",
    ),
    (
        "containers",
        "true",
        "scrape running containers that carry the label `prometheus.io/scrape: \"true\"`, with `prometheus.io/port`, `/path`, `/scheme` where set; job `containers`",
    ),
    (
        "series_limit",
        "20000",
        "most series of all targets together, for memory's sake; a scrape beyond it fails; 100 to 200000",
    ),
    ("target_limit", "200", "most targets of all jobs together; 1 to 2000"),
    ("global.scrape_interval", "1m", "time between two scrapes of a target; 1s to 1d"),
    ("global.scrape_timeout", "10s, or the interval", "how long a scrape may take; at most the interval"),
    (
        "global.*_limit",
        "0",
        "`sample_limit`, `target_limit`, `label_limit`, `label_name_length_limit`, `label_value_length_limit`, `body_size_limit` of jobs that set none; 0: no limit but the defaults below. `external_labels` is read over: the fleet adds the node's labels",
    ),
    (
        "scrape_configs",
        "[]",
        "jobs as in Prometheus; further keys that only concern what is not here (native histograms, HTTP/2, compression) are read over",
    ),
    ("scrape_configs[].job_name", "(needed)", "name of the job, label `job`"),
    ("scrape_configs[].scrape_interval, scrape_timeout", "global", "as in `global`"),
    ("scrape_configs[].metrics_path, scheme, params", "/metrics, http, {}", "what is fetched"),
    (
        "scrape_configs[].honor_labels, honor_timestamps, track_timestamps_staleness",
        "false, true, false",
        "as in Prometheus; timestamps may lie an hour back and ten minutes ahead",
    ),
    ("scrape_configs[].sample_limit", "10000", "most samples of a scrape after relabelling; a scrape beyond it fails"),
    ("scrape_configs[].body_size_limit", "8MB", "longest body of a scrape; a scrape beyond it fails"),
    ("scrape_configs[].target_limit", "0", "most targets of the job; beyond it all of them fail; 0: none"),
    (
        "scrape_configs[].label_limit, label_name_length_limit, label_value_length_limit",
        "0",
        "bounds of labels; beyond them a scrape fails; 0: none but 64 labels of 16 KiB together",
    ),
    (
        "scrape_configs[].basic_auth, authorization, bearer_token, bearer_token_file",
        "none",
        "how the node shows who it is; files are read at each scrape",
    ),
    ("scrape_configs[].tls_config, follow_redirects", "{}, true", "TLS of `https`, and whether redirects are followed"),
    ("scrape_configs[].static_configs", "[]", "`targets` and `labels`"),
    (
        "scrape_configs[].file_sd_configs",
        "[]",
        "`files` (JSON or YAML, `*` in the last part of a path) and `refresh_interval` (5m); a change is seen within 5 s",
    ),
    (
        "scrape_configs[].docker_sd_configs",
        "[]",
        "`port` (80), `host_networking_host` (localhost), `match_first_network` (true): the containers of the section `containers`, with Prometheus's labels `__meta_docker_*`; `host` and `refresh_interval` are read over",
    ),
    ("scrape_configs[].relabel_configs, metric_relabel_configs", "[]", "all actions of Prometheus"),
];

impl Config {
    /// Every fault, as key below `scrape` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut demand = |is_well: bool, key: &str, problem: &str| {
            if !is_well {
                faults.push((key.to_owned(), problem.to_owned()));
            }
        };
        demand((100..=200_000).contains(&self.series_limit), "series_limit", "100 to 200000 is expected");
        demand((1..=2000).contains(&self.target_limit), "target_limit", "1 to 2000 is expected");
        let is_path = self.config_file.as_ref().is_none_or(|path| path.is_absolute());
        demand(is_path, "config_file", "a path that begins with / is expected");
        faults.extend(self.jobs().faults());
        faults
    }

    /// Its own jobs.
    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs { global: &self.global, jobs: &self.scrape_configs }
    }
}

/// Jobs and what they have in common.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a> {
    /// What they have where they say nothing else.
    pub global: &'a Global,
    /// The jobs.
    pub jobs: &'a [JobConfig],
}

impl Jobs<'_> {
    /// Every fault, as key and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let (scrape_interval, scrape_timeout) = (&self.global.scrape_interval, &self.global.timeout());
        if !(Span::secs(1)..=Span::secs(86_400)).contains(scrape_interval) {
            let problem = format!("{scrape_interval} is out of range: 1s to 1d is expected");
            faults.push(("global.scrape_interval".to_owned(), problem));
        }
        if scrape_timeout > scrape_interval || scrape_timeout.0.is_zero() {
            let problem =
                format!("{scrape_timeout} is out of range: up to the interval of {scrape_interval} is expected");
            faults.push(("global.scrape_timeout".to_owned(), problem));
        }
        if self.jobs.len() > JOBS_MAX {
            let problem = format!("{} jobs are too many: at most {JOBS_MAX} are taken", self.jobs.len());
            faults.push(("scrape_configs".to_owned(), problem));
        }
        for (at, job) in self.jobs.iter().enumerate() {
            let of_job = |(key, problem): (String, String)| (format!("scrape_configs[{at}].{key}"), problem);
            faults.extend(job.faults(self.global).into_iter().map(of_job));
            if self.jobs[..at].iter().any(|other| other.job_name == job.job_name) {
                let problem = format!("{:?} stands twice: each job needs a name of its own", job.job_name);
                faults.push((format!("scrape_configs[{at}].job_name"), problem));
            }
        }
        faults
    }
}
