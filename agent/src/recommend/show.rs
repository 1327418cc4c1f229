//! Recommendations for people and for metrics.

use super::Recommended;
use serde_json::{Value, json};
use skerry_model::{LabelsBuilder, MetricKind, MetricMeta, Observation};
use skerry_scaling::target::TargetKind;
use skerry_scaling::vpa::Amounts;

/// Most kinds of containers that have metrics: each has eight series. Those with a policy come first, then those that run.
const SHOWN_MAX: usize = 64;

macro_rules! metas {
    ($($id:ident $kind:ident $name:literal $help:literal;)*) => {
        $(static $id: MetricMeta = MetricMeta::fixed($name, MetricKind::$kind, $help);)*
    };
}

metas! {
    TARGET Gauge "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_target" "What the container should ask for.";
    LOWER Gauge "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_lowerbound" "Least that the container should ask for.";
    UPPER Gauge "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_upperbound" "Most that the container should ask for.";
    UNCAPPED Gauge "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_uncappedtarget" "What the container should ask for without the bounds of its policy.";
    KNOWN Gauge "skerry_recommend_aggregates" "Kinds of containers of which is known what they use.";
    FOLLOWED Gauge "skerry_recommend_containers" "Containers whose use is followed.";
    LEFT_OUT Counter "skerry_recommend_left_out_total" "Times that containers were not followed because there was no room.";
}

/// As [`super::Recommender::to_json`] says.
pub(super) fn json(of: &Recommended) -> Value {
    let Recommended { target, container, policy, mode, amounts, samples, live } = of;
    let each = |amount: fn(&Amounts) -> u64| {
        json!({
            "target": amount(&amounts.target),
            "lower": amount(&amounts.lower),
            "upper": amount(&amounts.upper),
            "uncapped": amount(&amounts.uncapped),
        })
    };
    json!({
        "target": target.to_string(),
        "container": container,
        "policy": policy,
        "mode": mode.as_str(),
        "cpu": each(|amounts| amounts.cpu_milli),
        "memory": each(|amounts| amounts.memory),
        "samples": samples,
        "live": live,
    })
}

pub(super) fn observations(all: &[Recommended], (known, followed): (usize, usize), left_out: u64) -> Vec<Observation> {
    let mut shown: Vec<&Recommended> = all.iter().filter(|one| one.live > 0 || one.policy.is_some()).collect();
    shown.sort_by_key(|one| one.policy.is_none());
    shown.truncate(SHOWN_MAX);
    let mut found = Vec::new();
    for (meta, of) in [
        (&TARGET, (|one| one.amounts.target) as fn(&Recommended) -> Amounts),
        (&LOWER, |one| one.amounts.lower),
        (&UPPER, |one| one.amounts.upper),
        (&UNCAPPED, |one| one.amounts.uncapped),
    ] {
        for one in &shown {
            let Amounts { cpu_milli, memory } = of(one);
            found.push(observation(meta, one, ("cpu", "core"), cpu_milli as f64 / 1000.0));
            found.push(observation(meta, one, ("memory", "byte"), memory as f64));
        }
    }
    for (meta, value) in [(&KNOWN, known as u64), (&FOLLOWED, followed as u64), (&LEFT_OUT, left_out)] {
        let labels = LabelsBuilder::metric(&meta.name).build();
        found.push(Observation { meta: meta.into(), labels, value: value as f64 });
    }
    found
}

/// With kube-state-metrics's labels; where no policy is, the target's name stands for it.
fn observation(meta: &'static MetricMeta, of: &Recommended, (resource, unit): (&str, &str), value: f64) -> Observation {
    let Recommended { target, container, policy, .. } = of;
    let api = match target.kind {
        kind if kind.is_kubernetes() => "apps/v1",
        TargetKind::Workload => "skerry.io/v1",
        _ => "",
    };
    let pairs = [
        ("namespace", target.scope.as_str()),
        ("verticalpodautoscaler", policy.as_deref().unwrap_or(&target.name)),
        ("target_api_version", api),
        ("target_kind", target.kind.as_str()),
        ("target_name", &target.name),
        ("container", container),
        ("resource", resource),
        ("unit", unit),
    ];
    let builder = LabelsBuilder::metric(&meta.name);
    let labels =
        pairs.iter().filter(|(_, value)| !value.is_empty()).fold(builder, |b, (name, value)| b.label(name, *value));
    Observation { meta: meta.into(), labels: labels.build(), value }
}
