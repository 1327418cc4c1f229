//! How many replicas one metric asks for.
//!
//! A metric over its target by some ratio wants so many times the replicas that were counted, rounded up. Replicas that were
//! not counted are added in a second pass as what speaks against a change: unmeasured ones as busy when the target would
//! shrink and as idle when it would grow, starting ones as idle when it would grow.

use super::Controller;
use super::pods::{Groups, group, ready_count};
use crate::policy::Resource;
use crate::quantity::Quantity;
use crate::target::{Observed, Phase, Pod, PodMetrics};
use skerry_model::UnixMillis;

/// How far beside its target a metric may be without a change, as shares of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    /// Above the target.
    pub up: f64,
    /// Below it.
    pub down: f64,
}

impl Tolerances {
    /// Whether a ratio of usage to target asks for no change; the borders belong to it.
    #[must_use]
    pub fn hold(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What is known when a metric is judged.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The target.
    pub observed: &'a Observed,
    /// The flags.
    pub controller: &'a Controller,
    /// The policy's.
    pub tolerances: Tolerances,
    /// The moment.
    pub now: UnixMillis,
}

/// What a metric asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Replicas.
    pub replicas: u32,
    /// The metric: on average where its target is an average or a utilization, in thousandths.
    pub milli: i64,
    /// In percent of what is asked for, where that is the target.
    pub percent: Option<i64>,
    /// Replicas before tolerance and rounding, in thousandths.
    pub demand_milli: u64,
    /// What else counted, as a clause; may be empty.
    pub note: String,
}

/// What the counted replicas should be.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// Percent of what they ask for.
    Percent(u32),
    /// Thousandths each.
    Average(i64),
}

/// A counted replica: what it uses and what it asks for, in thousandths.
type Share = (i64, i64);

impl Goal {
    /// Ratio of usage to goal, and the usage in the goal's unit. Whole numbers are cut, as Kubernetes cuts them; nothing
    /// where there is nothing to divide by.
    fn ratio(self, shares: &[Share]) -> Option<(f64, i64)> {
        let sum = |part: fn(&Share) -> i64| shares.iter().map(|share| i128::from(part(share))).sum::<i128>();
        let (used, goal) = match self {
            Self::Percent(percent) => {
                ((sum(|share| share.0) * 100).checked_div(sum(|share| share.1))?, f64::from(percent))
            }
            Self::Average(milli) => (average(shares)?, milli as f64),
        };
        let used = saturated(used);
        Some((used as f64 / goal, used))
    }

    /// What an unmeasured replica counts as when the target would shrink: all that it asks for, or the goal.
    fn when_missing(self, request: i64) -> i64 {
        match self {
            Self::Percent(percent) => saturated(i128::from(request) * i128::from(percent.max(100)) / 100),
            Self::Average(milli) => milli,
        }
    }
}

fn average(shares: &[Share]) -> Option<i128> {
    let sum: i128 = shares.iter().map(|share| i128::from(share.0)).sum();
    sum.checked_div(shares.len() as i128)
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// A resource against a share of what replicas ask for.
///
/// # Errors
/// Where a container asks for nothing, or no replica is measured; for people.
pub fn utilization(
    scene: Scene<'_>,
    metrics: &PodMetrics,
    resource: Resource,
    container: Option<&str>,
    percent: u32,
) -> Result<Asked, String> {
    let name = resource.as_str();
    if metrics.is_empty() {
        return Err(format!("no metrics returned from resource metrics API: {name} of no container is measured yet"));
    }
    let request = |pod: &Pod| request(pod, resource, container);
    two_passes(scene, metrics, resource == Resource::Cpu, Goal::Percent(percent), &request)
}

/// A resource, or a metric of each replica, against an average.
///
/// # Errors
/// Where no replica is measured; for people.
pub fn average_of_pods(
    scene: Scene<'_>,
    metrics: &PodMetrics,
    resource: Option<Resource>,
    target_milli: i64,
) -> Result<Asked, String> {
    if metrics.is_empty() {
        return Err("no metrics returned: no replica is measured yet".to_owned());
    }
    two_passes(scene, metrics, resource == Some(Resource::Cpu), Goal::Average(target_milli), &|_| Ok(0))
}

/// What a replica asks for, in thousandths.
fn request(pod: &Pod, resource: Resource, container: Option<&str>) -> Result<i64, String> {
    let mut sum = 0i64;
    let mut counted = pod.containers.iter().filter(|one| container.is_none_or(|name| name == one.name)).peekable();
    if let (Some(name), None) = (container, counted.peek()) {
        return Err(format!("container {name} not found in {}", pod.name));
    }
    for one in counted {
        let request = match resource {
            Resource::Cpu => one.cpu_request_milli,
            Resource::Memory => one.memory_request.map(|bytes| bytes.saturating_mul(1000)),
        };
        let Some(request) = request else {
            let (resource, container, pod) = (resource.as_str(), &one.name, &pod.name);
            return Err(format!("missing request for {resource} in container {container} of {pod}"));
        };
        sum = sum.saturating_add(i64::try_from(request).unwrap_or(i64::MAX));
    }
    Ok(sum)
}

fn two_passes(
    scene: Scene<'_>,
    metrics: &PodMetrics,
    is_cpu: bool,
    goal: Goal,
    request: &dyn Fn(&Pod) -> Result<i64, String>,
) -> Result<Asked, String> {
    let Scene { observed, controller, tolerances, now } = scene;
    if observed.pods.is_empty() {
        return Err("no pods returned by selector: the target has no replicas now".to_owned());
    }
    // One that has ended well runs no more and is not made anew: it neither carries a load nor is missed.
    let running = observed.pods.iter().filter(|pod| pod.phase != Phase::Succeeded);
    let groups = group(running, metrics, is_cpu, controller, now);
    if groups.counted.is_empty() && metrics.keys().any(|name| observed.pods.iter().any(|pod| pod.name == *name)) {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    // Also those that are not counted have to say what they ask for, as with Kubernetes.
    for pod in &observed.pods {
        request(pod)?;
    }
    let request = |pod: &Pod| request(pod).unwrap_or(0);
    let mut shares: Vec<Share> = groups.counted.iter().map(|(pod, metric)| (metric.milli, request(pod))).collect();
    let unmatched = || "no metrics returned matched known pods".to_owned();
    let (ratio, used) = goal.ratio(&shares).ok_or_else(unmatched)?;
    let milli = saturated(average(&shares).ok_or_else(unmatched)?);
    let percent = matches!(goal, Goal::Percent(_)).then_some(used);
    let current = observed.spec_replicas;
    let mut note = note(&groups);
    let grows_unready = !groups.ignored.is_empty() && ratio > 1.0;
    let asked = |replicas, ratio: f64, counted: usize, note| Asked {
        replicas,
        milli,
        percent,
        demand_milli: (ratio * counted as f64 * 1000.0) as u64,
        note,
    };
    if !grows_unready && groups.missing.is_empty() {
        let replicas = if tolerances.hold(ratio) { current } else { rounded_up(ratio * shares.len() as f64) };
        add_tolerance(&mut note, tolerances, ratio);
        return Ok(asked(replicas, ratio, shares.len(), note));
    }
    if ratio < 1.0 {
        shares.extend(groups.missing.iter().map(|pod| (goal.when_missing(request(pod)), request(pod))));
    } else if ratio > 1.0 {
        shares.extend(groups.missing.iter().map(|pod| (0, request(pod))));
    }
    if grows_unready {
        shares.extend(groups.ignored.iter().map(|pod| (0, request(pod))));
    }
    let (with_all, _) = goal.ratio(&shares).ok_or_else(unmatched)?;
    let wanted = rounded_up(with_all * shares.len() as f64);
    add_tolerance(&mut note, tolerances, with_all);
    let turns = (ratio < 1.0 && with_all > 1.0) || (ratio > 1.0 && with_all < 1.0);
    let is_against = (with_all < 1.0 && wanted > current) || (with_all > 1.0 && wanted < current);
    let replicas = if tolerances.hold(with_all) || turns || is_against { current } else { wanted };
    Ok(asked(replicas, with_all, shares.len(), note))
}

/// One number for the whole target, against a target for the whole: as many times the ready replicas.
///
/// # Errors
/// Where there is no replica though some are wanted; for people.
pub fn value(scene: Scene<'_>, milli: i64, target_milli: i64) -> Result<Asked, String> {
    let ratio = milli as f64 / target_milli as f64;
    let observed = scene.observed;
    let mut note = String::new();
    if observed.spec_replicas == 0 {
        let demand_milli = (ratio * 1000.0) as u64;
        return Ok(Asked { replicas: rounded_up(ratio), milli, percent: None, demand_milli, note });
    }
    let is_held = scene.tolerances.hold(ratio);
    let ready = match ready_count(&observed.pods, observed.status_replicas) {
        Err(_) if is_held => observed.spec_replicas,
        ready => ready?,
    };
    let replicas = if is_held { observed.spec_replicas } else { rounded_up(ratio * f64::from(ready)) };
    add_tolerance(&mut note, scene.tolerances, ratio);
    let demand_milli = (ratio * f64::from(ready) * 1000.0) as u64;
    Ok(Asked { replicas, milli, percent: None, demand_milli, note })
}

/// One number for the whole target, against a target for each of its replicas.
#[must_use]
pub fn average_value(scene: Scene<'_>, milli: i64, target_milli: i64) -> Asked {
    let there = scene.observed.status_replicas;
    let wanted = milli as f64 / target_milli as f64;
    let ratio = wanted / f64::from(there);
    let is_held = there > 0 && scene.tolerances.hold(milli as f64 / (target_milli as f64 * f64::from(there)));
    let replicas = if is_held { scene.observed.spec_replicas } else { rounded_up(wanted) };
    let mut note = String::new();
    if there > 0 {
        add_tolerance(&mut note, scene.tolerances, ratio);
    }
    if there == 0 {
        add(&mut note, &format!("{} in all, and no replica", Quantity::milli(milli)));
    }
    // Without a replica there is no average, which Kubernetes shows as 0.
    let milli = if there > 0 { (milli as f64 / f64::from(there)).ceil() as i64 } else { 0 };
    Asked { replicas, milli, percent: None, demand_milli: (wanted * 1000.0) as u64, note }
}

/// Up to whole replicas; what is no number, or below zero, is none.
fn rounded_up(replicas: f64) -> u32 {
    (replicas.ceil() as u32).min(i32::MAX as u32)
}

fn note(groups: &Groups<'_>) -> String {
    let mut note = String::new();
    for (count, what) in [(groups.ignored.len(), "not ready"), (groups.missing.len(), "not measured")] {
        if count > 0 {
            add(&mut note, &format!("{count} {what}"));
        }
    }
    note
}

fn add_tolerance(note: &mut String, tolerances: Tolerances, ratio: f64) {
    if tolerances.hold(ratio) {
        add(note, "within tolerance");
    }
}

fn add(note: &mut String, clause: &str) {
    if !note.is_empty() {
        note.push_str(", ");
    }
    note.push_str(clause);
}
