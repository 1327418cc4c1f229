//! One `scrape_config`.

use super::{Global, Ignored, NAME_BYTES_MAX, Size};
use crate::http::{Authorization, BasicAuth, TlsSettings};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use skerry_model::Span;
use skerry_scrape::relabel;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A job as Prometheus writes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobConfig {
    /// Its name.
    pub job_name: String,
    /// Time between two scrapes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_interval: Option<Span>,
    /// How long one may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_timeout: Option<Span>,
    /// Path.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Parameters of the address.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether labels of the exposition go first.
    pub honor_labels: bool,
    /// Whether its timestamps count.
    pub honor_timestamps: bool,
    /// Whether series with timestamps end with a stale marker.
    pub track_timestamps_staleness: bool,
    /// Most samples; 0: the default.
    pub sample_limit: usize,
    /// Most targets; 0: no limit.
    pub target_limit: usize,
    /// Most labels.
    pub label_limit: usize,
    /// Longest label name.
    pub label_name_length_limit: usize,
    /// Longest label value.
    pub label_value_length_limit: usize,
    /// Longest body; 0: the default.
    pub body_size_limit: Size,
    /// User and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Another scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// `authorization.credentials` by its old name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<String>,
    /// `authorization.credentials_file` by its old name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// TLS.
    pub tls_config: TlsSettings,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Targets by name.
    pub static_configs: Vec<StaticGroup>,
    /// Targets in files.
    pub file_sd_configs: Vec<FileSd>,
    /// Targets that are containers.
    pub docker_sd_configs: Vec<DockerSd>,
    /// Changes of targets.
    pub relabel_configs: Vec<relabel::Config>,
    /// Changes of samples.
    pub metric_relabel_configs: Vec<relabel::Config>,
    #[serde(skip_serializing)]
    enable_http2: Ignored,
    #[serde(skip_serializing)]
    enable_compression: Ignored,
    #[serde(skip_serializing)]
    scrape_protocols: Ignored,
    #[serde(skip_serializing)]
    fallback_scrape_protocol: Ignored,
    #[serde(skip_serializing)]
    keep_dropped_targets: Ignored,
    #[serde(skip_serializing)]
    scrape_classic_histograms: Ignored,
    #[serde(skip_serializing)]
    always_scrape_classic_histograms: Ignored,
    #[serde(skip_serializing)]
    convert_classic_histograms_to_nhcb: Ignored,
    #[serde(skip_serializing)]
    scrape_native_histograms: Ignored,
    #[serde(skip_serializing)]
    native_histogram_bucket_limit: Ignored,
    #[serde(skip_serializing)]
    native_histogram_min_bucket_factor: Ignored,
    #[serde(skip_serializing)]
    metric_name_validation_scheme: Ignored,
    #[serde(skip_serializing)]
    metric_name_escaping_scheme: Ignored,
    #[serde(skip_serializing)]
    scrape_failure_log_file: Ignored,
    #[serde(skip_serializing)]
    kubernetes_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    consul_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    dns_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    http_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    dockerswarm_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    ec2_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    nomad_sd_configs: NoDiscovery,
    #[serde(skip_serializing)]
    oauth2: NoOauth,
    #[serde(skip_serializing)]
    proxy_url: NoProxy,
    #[serde(skip_serializing)]
    proxy_from_environment: NoProxy,
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            scrape_interval: None,
            scrape_timeout: None,
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            body_size_limit: Size(0),
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            tls_config: TlsSettings::default(),
            follow_redirects: true,
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
            docker_sd_configs: Vec::new(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
            enable_http2: Ignored,
            enable_compression: Ignored,
            scrape_protocols: Ignored,
            fallback_scrape_protocol: Ignored,
            keep_dropped_targets: Ignored,
            scrape_classic_histograms: Ignored,
            always_scrape_classic_histograms: Ignored,
            convert_classic_histograms_to_nhcb: Ignored,
            scrape_native_histograms: Ignored,
            native_histogram_bucket_limit: Ignored,
            native_histogram_min_bucket_factor: Ignored,
            metric_name_validation_scheme: Ignored,
            metric_name_escaping_scheme: Ignored,
            scrape_failure_log_file: Ignored,
            kubernetes_sd_configs: NoDiscovery,
            consul_sd_configs: NoDiscovery,
            dns_sd_configs: NoDiscovery,
            http_sd_configs: NoDiscovery,
            dockerswarm_sd_configs: NoDiscovery,
            ec2_sd_configs: NoDiscovery,
            nomad_sd_configs: NoDiscovery,
            oauth2: NoOauth,
            proxy_url: NoProxy,
            proxy_from_environment: NoProxy,
        }
    }
}

/// Without what is secret: settings stand in logs.
impl fmt::Debug for JobConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobConfig({:?})", self.job_name)
    }
}

/// Keys that are known and refused, with what to do instead.
macro_rules! refused {
    ($($name:ident: $why:literal),*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        struct $name;

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                IgnoredAny::deserialize(deserializer)?;
                Err(Error::custom($why))
            }
        }
    )*};
}

refused! {
    NoDiscovery: "this discovery is not supported on a node: write the targets into a file for file_sd_configs, or use static_configs or docker_sd_configs",
    NoOauth: "oauth2 is not supported: use authorization with credentials_file",
    NoProxy: "proxies are not supported: the node has to reach its targets directly; remove the key"
}

/// `static_configs`, and the groups of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticGroup {
    /// Addresses.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: BTreeMap<String, String>,
}

/// `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSd {
    /// Paths; the last part of one may hold a `*`.
    pub files: Vec<PathBuf>,
    /// How often they are read in any case.
    pub refresh_interval: Span,
}

impl Default for FileSd {
    fn default() -> Self {
        Self { files: Vec::new(), refresh_interval: Span::secs(300) }
    }
}

/// `docker_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockerSd {
    #[serde(skip_serializing)]
    host: Ignored,
    #[serde(skip_serializing)]
    refresh_interval: Ignored,
    /// Port of a container that exposes none.
    pub port: u16,
    /// Address of containers in the host's network.
    pub host_networking_host: String,
    /// Whether a container in several networks is one target.
    pub match_first_network: bool,
}

impl Default for DockerSd {
    fn default() -> Self {
        Self {
            host: Ignored,
            refresh_interval: Ignored,
            port: 80,
            host_networking_host: "localhost".into(),
            match_first_network: true,
        }
    }
}

impl JobConfig {
    /// A job of containers.
    pub(in crate::scrape) fn of_containers(name: &str, sd: DockerSd, relabel_configs: Vec<relabel::Config>) -> Self {
        Self { job_name: name.into(), docker_sd_configs: vec![sd], relabel_configs, ..Self::default() }
    }

    /// Time between two scrapes, and how long one may take.
    #[must_use]
    pub fn times(&self, global: &Global) -> (Span, Span) {
        let interval = self.scrape_interval.unwrap_or(global.scrape_interval);
        (interval, self.scrape_timeout.unwrap_or_else(|| global.timeout().min(interval)))
    }

    pub(super) fn faults(&self, global: &Global) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut demand = |is_well: bool, key: &str, problem: &str| {
            if !is_well {
                faults.push((key.to_owned(), problem.to_owned()));
            }
        };
        let (interval, timeout) = self.times(global);
        let is_named = (1..=NAME_BYTES_MAX).contains(&self.job_name.len());
        demand(is_named, "job_name", "a name of up to 256 bytes is expected");
        demand(
            (Span::secs(1)..=Span::secs(86_400)).contains(&interval),
            "scrape_interval",
            "is out of range: 1s to 1d is expected",
        );
        demand(
            timeout <= interval && !timeout.0.is_zero(),
            "scrape_timeout",
            "is out of range: up to the interval is expected",
        );
        demand(["http", "https"].contains(&&*self.scheme), "scheme", "http or https is expected");
        demand(!self.metrics_path.is_empty(), "metrics_path", "a path such as /metrics is expected");
        let has_bearer = self.bearer_token.is_some() || self.bearer_token_file.is_some();
        let ways = [self.basic_auth.is_some(), self.authorization.is_some(), has_bearer];
        demand(
            ways.into_iter().filter(|is_set| *is_set).count() <= 1,
            "authorization",
            "one of basic_auth, authorization and bearer_token is expected",
        );
        demand(
            self.bearer_token.is_none() || self.bearer_token_file.is_none(),
            "bearer_token_file",
            "bearer_token is set too: one of the two is expected",
        );
        let mut below = |key: &str, found: Vec<(String, String)>| {
            faults.extend(found.into_iter().map(|(inner, problem)| (format!("{key}{inner}"), problem)));
        };
        below("basic_auth.", self.basic_auth.as_ref().map(BasicAuth::faults).unwrap_or_default());
        below("authorization.", self.authorization.as_ref().map(Authorization::faults).unwrap_or_default());
        below("tls_config.", self.tls_config.faults());
        below("relabel_configs", relabel::rules(&self.relabel_configs).err().unwrap_or_default());
        below("metric_relabel_configs", relabel::rules(&self.metric_relabel_configs).err().unwrap_or_default());
        for (at, group) in self.static_configs.iter().enumerate() {
            for (n, target) in group.targets.iter().enumerate() {
                if target.contains('/') && !self.relabels_address() {
                    let problem =
                        format!("{target:?} is no target: HOST:PORT is expected; the path goes to metrics_path");
                    faults.push((format!("static_configs[{at}].targets[{n}]"), problem));
                }
            }
        }
        for (at, sd) in self.file_sd_configs.iter().enumerate() {
            for (n, path) in sd.files.iter().enumerate().filter(|(_, path)| !is_pattern(path)) {
                let problem = format!(
                    "{} is no path of target files: an absolute path that ends in .json, .yml or .yaml is expected, with a * in its last part at most",
                    path.display()
                );
                faults.push((format!("file_sd_configs[{at}].files[{n}]"), problem));
            }
        }
        faults
    }

    /// Whether `__address__` is made anew, as where a blackbox exporter is asked about addresses of any form.
    fn relabels_address(&self) -> bool {
        self.relabel_configs.iter().any(|rule| rule.target_label.as_deref() == Some("__address__"))
    }

    /// Makes relative paths absolute, as those in a `prometheus.yml` are meant: from that file's folder.
    pub(super) fn join_folder(&mut self, folder: &Path) {
        let Self { basic_auth, authorization, bearer_token_file, tls_config, file_sd_configs, .. } = self;
        let TlsSettings { ca_file, cert_file, key_file, .. } = tls_config;
        let password = basic_auth.iter_mut().flat_map(|auth| &mut auth.password_file);
        let credentials = authorization.iter_mut().flat_map(|auth| &mut auth.credentials_file);
        let single = [bearer_token_file, ca_file, cert_file, key_file].into_iter().flatten();
        let files = file_sd_configs.iter_mut().flat_map(|sd| &mut sd.files);
        for path in password.chain(credentials).chain(single).chain(files) {
            *path = folder.join(&*path);
        }
    }
}

fn is_pattern(path: &Path) -> bool {
    let folder_is_plain = path.parent().is_some_and(|folder| !folder.to_string_lossy().contains('*'));
    let ends_well =
        path.extension().is_some_and(|end| ["json", "yml", "yaml"].iter().any(|known| end.eq_ignore_ascii_case(known)));
    path.is_absolute() && folder_is_plain && ends_well
}
