//! The plain formula: what Kubernetes's documentation says a HorizontalPodAutoscaler does with CPU at 80 % and nothing else
//! set, written down a second time, without a line of what is measured.
//!
//! Replicas times usage over target, rounded up; no change within a tenth; no growth beyond the larger of four replicas and
//! the double in 15 seconds; no shrinking below the largest number of the last five minutes.

use super::service::TARGET;
use skerry_model::UnixMillis;
use skerry_scaling::hpa::Reading;
use skerry_scaling::target::{Observed, Pod, PodMetric};
use std::collections::VecDeque;

const TOLERANCE: f64 = 0.1;
const WINDOW_MS: i64 = 300_000;
const RATE_MS: i64 = 15_000;
const INITIALIZATION_MS: i64 = 300_000;

/// What it remembers.
#[derive(Debug, Default)]
pub(super) struct Plain {
    recommended: VecDeque<(UnixMillis, u32)>,
    added: VecDeque<(UnixMillis, u32)>,
    min: u32,
    max: u32,
}

impl Plain {
    /// Between these bounds; so many run.
    #[must_use]
    pub(super) fn new(min: u32, max: u32, current: u32, now: UnixMillis) -> Self {
        Self { min, max, recommended: VecDeque::from([(now, current)]), ..Self::default() }
    }

    /// Replicas from now on.
    pub(super) fn decide(&mut self, observed: &Observed, reading: &Reading, now: UnixMillis) -> u32 {
        let current = observed.spec_replicas;
        let wanted = formula(observed, reading, now).unwrap_or(current);
        self.recommended.retain(|(at, _)| at.0 > now.0 - WINDOW_MS);
        let highest = self.recommended.iter().map(|(_, replicas)| *replicas).max().unwrap_or(wanted).max(wanted);
        self.recommended.push_back((now, wanted));
        let wanted = if wanted < current { highest.min(current) } else { wanted };
        self.added.retain(|(at, _)| at.0 > now.0 - RATE_MS);
        let before = current - self.added.iter().map(|(_, added)| *added).sum::<u32>().min(current);
        let wanted = wanted.min((before + 4).max(before * 2).max(current)).clamp(self.min, self.max);
        if wanted > current {
            self.added.push_back((now, wanted - current));
        }
        wanted
    }
}

/// The formula, with replicas that do not count yet.
fn formula(observed: &Observed, reading: &Reading, now: UnixMillis) -> Option<u32> {
    let Reading::Pods { per } = reading else { return None };
    let metric = |pod: &Pod| per.get(&(pod.name.clone(), "web".to_owned()));
    // Used, of which it takes no part yet, and not measured.
    let (mut used, mut starting, mut missing) = (Vec::new(), 0, 0);
    for pod in &observed.pods {
        match metric(pod) {
            None => missing += 1,
            Some(metric) if is_starting(pod, metric, now) => starting += 1,
            Some(metric) => used.push(metric.milli),
        }
    }
    let current = observed.spec_replicas;
    let ratio = |sum: i64, count: usize| {
        let percent = (sum * 100).checked_div(1000 * count as i64)?;
        Some(percent as f64 / (TARGET * 100.0))
    };
    let sum: i64 = used.iter().sum();
    let first = ratio(sum, used.len())?;
    let is_within = |ratio: f64| (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio);
    if missing == 0 && (starting == 0 || first < 1.0) {
        let wanted = (first * used.len() as f64).ceil() as u32;
        return Some(if is_within(first) { current } else { wanted });
    }
    // Those that are not measured speak against any change, those that start against growing.
    let (sum, count) = if first < 1.0 {
        (sum + 1000 * missing as i64, used.len() + missing)
    } else {
        (sum, used.len() + missing + starting)
    };
    let second = ratio(sum, count)?;
    if is_within(second) || (first < 1.0) != (second < 1.0) {
        return Some(current);
    }
    let wanted = (second * count as f64).ceil() as u32;
    let is_against = (second < 1.0 && wanted > current) || (second > 1.0 && wanted < current);
    Some(if is_against { current } else { wanted })
}

/// In its first five minutes a replica counts once it is ready and was measured over a whole window since.
fn is_starting(pod: &Pod, metric: &PodMetric, now: UnixMillis) -> bool {
    let (Some(started), Some(ready)) = (pod.started_at, pod.ready) else { return true };
    let window_ms = metric.window.as_millis() as i64;
    if now.0 < started.0 + INITIALIZATION_MS {
        return !ready.is_ready || metric.at.0 < ready.since.0 + window_ms;
    }
    !ready.is_ready && ready.since.0 < started.0 + 30_000
}
