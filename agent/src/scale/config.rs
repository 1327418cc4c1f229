//! Settings of scaling, section `scaling` of a NodeConfig.

use super::POLICIES_MAX;
use crate::actuate::KubernetesSettings;
use serde::{Deserialize, Serialize};
use skerry_model::Span;
use skerry_scaling::guard;
use skerry_scaling::hpa::Controller;
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::vpa::Windows;
use skerry_yaml::Fault;

/// Most entries of `files`.
const PATTERNS_MAX: usize = 32;

/// Settings of scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time between two rounds.
    pub sync_period: Span,
    /// How far a metric may be off its target without consequence.
    pub tolerance: f64,
    /// For how long after its start a replica's CPU counts only once it is ready.
    pub cpu_initialization_period: Span,
    /// For how long after its start a replica that is not ready counts as never having been.
    pub initial_readiness_delay: Span,
    /// For how long the highest of the recommendations counts where a policy does not say.
    pub downscale_stabilization: Span,
    /// What the node may be used up to.
    pub guard: guard::Settings,
    /// The Kubernetes API of targets that stand there.
    pub kubernetes: KubernetesSettings,
    /// When containers may be made anew to get what is recommended: texts as [`Windows`] reads them.
    pub maintenance: Vec<String>,
    /// Least CPU that is recommended for all containers of a replica together, in thousandths of a core.
    pub pod_recommendation_min_cpu_millicores: u32,
    /// The same of memory, in MiB.
    pub pod_recommendation_min_memory_mb: u32,
    /// Manifests on the node: `ScalingPolicy`, `HorizontalPodAutoscaler`, `Workload`.
    pub files: Vec<String>,
    /// Policies, from the documents behind a NodeConfig.
    #[serde(skip)]
    pub policies: Vec<ScalingPolicy>,
    /// Documents made this section; it says nothing about settings.
    #[serde(skip)]
    pub is_bare: bool,
}

/// No tolerance is NaN: configs are checked.
impl Eq for Config {}

impl Default for Config {
    fn default() -> Self {
        Self {
            sync_period: Span::secs(15),
            tolerance: 0.1,
            cpu_initialization_period: Span::secs(300),
            initial_readiness_delay: Span::secs(30),
            downscale_stabilization: Span::secs(300),
            guard: guard::Settings::default(),
            kubernetes: KubernetesSettings::default(),
            maintenance: Vec::new(),
            pod_recommendation_min_cpu_millicores: 25,
            pod_recommendation_min_memory_mb: 250,
            files: Vec::new(),
            policies: Vec::new(),
            is_bare: false,
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("sync_period", "15s", "time between two decisions about a target; 1s to 1h"),
    (
        "tolerance",
        "0.1",
        "how far a metric may be off its target without consequence, where a policy does not say; 0 to 1",
    ),
    (
        "cpu_initialization_period",
        "5m",
        "for how long after its start a replica's CPU counts only once it is ready; 0s to 1h",
    ),
    (
        "initial_readiness_delay",
        "30s",
        "a replica that is not ready and was not after this time from its start was never ready; 0s to 1h",
    ),
    (
        "downscale_stabilization",
        "5m",
        "for how long the highest recommendation counts, where a policy does not say; 0s to 1h",
    ),
    (
        "pod_recommendation_min_cpu_millicores",
        "25",
        "least CPU that is recommended for all containers of a replica together, in thousandths of a core",
    ),
    ("pod_recommendation_min_memory_mb", "250", "the same of memory, in MiB; small nodes do well with less"),
    (
        "maintenance",
        "[]",
        "when containers may be made anew to get recommended sizes, in the node's local time, such as `Sat,Sun 02:00-04:00` or `22:00-02:00`; never without",
    ),
    (
        "files",
        "[]",
        "manifests on the node, as absolute paths with `*` and `?` in their last part: documents ScalingPolicy, HorizontalPodAutoscaler and Workload; a file with faults refuses the config where it is the node's own, and is left out and told of otherwise",
    ),
];

impl Config {
    /// For documents behind a NodeConfig that has no such section: the settings stay those of the layers below.
    #[must_use]
    pub fn bare() -> Self {
        Self { is_bare: true, ..Self::default() }
    }

    /// Every fault but those of policies, as key below `scaling` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, key: String, problem: String| {
            if !holds {
                faults.push((key, problem));
            }
        };
        let hour = Span::secs(3600);
        for (key, span, least) in [
            ("sync_period", self.sync_period, 1),
            ("cpu_initialization_period", self.cpu_initialization_period, 0),
            ("initial_readiness_delay", self.initial_readiness_delay, 0),
            ("downscale_stabilization", self.downscale_stabilization, 0),
        ] {
            let is_well = (Span::secs(least)..=hour).contains(&span);
            demand(is_well, key.into(), format!("{span} is out of range: {least}s to 1h is expected"));
        }
        let tolerance = self.tolerance;
        let is_well = (0.0..=1.0).contains(&tolerance);
        demand(is_well, "tolerance".into(), format!("{tolerance} is out of range: 0 to 1 is expected"));
        let most = PATTERNS_MAX;
        demand(self.files.len() <= most, "files".into(), format!("at most {most} entries are taken"));
        for (at, pattern) in self.files.iter().enumerate() {
            demand(pattern.starts_with('/'), format!("files[{at}]"), "a path that begins with / is expected".into());
        }
        if let Err(windows) = Windows::parse(&self.maintenance) {
            faults.extend(windows.into_iter().map(|(at, problem)| (format!("maintenance[{at}]"), problem)));
        }
        faults.extend(self.guard.faults());
        let below = self.kubernetes.faults().into_iter();
        faults.extend(below.map(|(key, problem)| (format!("kubernetes.{key}"), problem)));
        faults
    }

    /// As kube-controller-manager's flags say it.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller {
            sync_period: self.sync_period.0,
            cpu_initialization_period: self.cpu_initialization_period.0,
            initial_readiness_delay: self.initial_readiness_delay.0,
            tolerance: self.tolerance,
            downscale_stabilization: self.downscale_stabilization.0,
        }
    }

    /// Takes the `spec` of a document of this name; every fault in it.
    pub fn take_text(&mut self, name: &str, spec: &str) -> Vec<Fault> {
        let fault = |problem| vec![Fault { line: None, key: format!("ScalingPolicy {name}"), problem }];
        if self.policies.len() >= POLICIES_MAX {
            return fault(format!("is one too many: a node takes at most {POLICIES_MAX} policies"));
        }
        if self.policies.iter().any(|policy| policy.name == name) {
            return fault("stands twice".into());
        }
        match ScalingPolicy::parse(name, spec) {
            Ok(policy) => {
                self.policies.push(policy);
                Vec::new()
            }
            Err(faults) => faults,
        }
    }
}
