//! What replicas use, from the series that the node keeps of containers, under cAdvisor's names.
//!
//! Invariants:
//! - CPU is a rate over the last [`WINDOW`], or over the last two samples where they are further apart; a counter that
//!   began anew counts from there.
//! - All policies of a round share one read of each metric.

use crate::actuate::Usage;
use skerry_model::{Labels, Sample, UnixMillis, is_stale};
use skerry_promql::{Matcher, Selected, Source};
use skerry_scaling::target::{Pod, PodMetric};
use std::collections::HashMap;
use std::time::Duration;

/// Counters of CPU.
pub(super) const CPU: &str = "container_cpu_usage_seconds_total";
/// Memory.
pub(super) const MEMORY: &str = "container_memory_working_set_bytes";
/// Time over which CPU is measured.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Most samples of one read.
const SAMPLES_MAX: u64 = 100_000;
/// Labels by which series of a replica are found where its runtime names none.
const NAMES: [&str; 4] = ["pod", "name", "container", "instance"];

/// How far back CPU is looked for, by the time between two collections.
pub(super) fn reach(interval: Duration) -> Duration {
    WINDOW.max(2 * interval) + WINDOW / 2
}

/// The series of containers, as far as they are newer than `reach`.
#[derive(Debug, Default)]
pub(super) struct Containers {
    cpu: Vec<(Labels, PodMetric)>,
    memory: Vec<(Labels, PodMetric)>,
    /// Places of series by one of their labels.
    cpu_by: Places,
    memory_by: Places,
}

type Places = HashMap<(String, String), Vec<usize>>;

impl Containers {
    /// Reads them.
    ///
    /// # Errors
    /// Why not, for people.
    pub(super) fn read(source: &dyn Source, reach: Duration, now: UnixMillis) -> Result<Self, String> {
        let from = UnixMillis(now.0.saturating_sub(i64::try_from(reach.as_millis()).unwrap_or(i64::MAX)));
        let name = |metric| [Matcher::equal("__name__", metric)];
        let all = |found: Result<Vec<Selected>, _>| found.map_err(|error| format!("cannot read samples: {error}"));
        let cpu = all(source.select(&name(CPU), from, now, SAMPLES_MAX))?;
        let memory = all(source.newest(&name(MEMORY), from, now, SAMPLES_MAX))?;
        let cpu: Vec<_> = cpu.into_iter().filter_map(|one| Some((rate(&one.samples)?, one.labels))).collect();
        let memory: Vec<_> = memory.into_iter().filter_map(|one| Some((newest(&one.samples)?, one.labels))).collect();
        let swap = |all: Vec<(PodMetric, Labels)>| all.into_iter().map(|(value, labels)| (labels, value)).collect();
        let (cpu, memory): (Vec<_>, Vec<_>) = (swap(cpu), swap(memory));
        Ok(Self { cpu_by: places(&cpu), memory_by: places(&memory), cpu, memory })
    }

    /// What the replicas of a target use. A container without series is absent.
    pub(super) fn usage(&self, pods: &[Pod]) -> Usage {
        let mut usage = Usage::default();
        for pod in pods {
            for (all, by, into) in
                [(&self.cpu, &self.cpu_by, &mut usage.cpu), (&self.memory, &self.memory_by, &mut usage.memory)]
            {
                for (labels, metric) in of(pod, all, by) {
                    let Some(container) = container(pod, labels) else { continue };
                    let sum = into
                        .entry((pod.name.clone(), container.to_owned()))
                        .or_insert(PodMetric { milli: 0, ..*metric });
                    sum.milli = sum.milli.saturating_add(metric.milli);
                }
            }
        }
        usage
    }
}

fn places(series: &[(Labels, PodMetric)]) -> Places {
    let mut places = Places::new();
    for (at, (labels, _)) in series.iter().enumerate() {
        for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
            // What all have in common finds nothing.
            if !name.starts_with("container_label_") && name != "image" && name != "cpu" {
                places.entry((name.to_owned(), value.to_owned())).or_default().push(at);
            }
        }
    }
    places
}

/// The series of a replica: those that bear all of its labels, or its name where it has none.
fn of<'a>(pod: &'a Pod, all: &'a [(Labels, PodMetric)], by: &'a Places) -> Vec<&'a (Labels, PodMetric)> {
    let bears = |at: &&usize| pod.labels.iter().all(|(name, value)| all[**at].0.value(name) == value);
    let least = pod.labels.iter().map(|(name, value)| by.get(&(name.to_owned(), value.to_owned())));
    let places: Vec<usize> = if pod.labels.is_empty() {
        by.get(&("name".to_owned(), pod.name.clone())).cloned().unwrap_or_default()
    } else {
        // Labels that are not indexed are looked at in the few that the others leave.
        least
            .flatten()
            .min_by_key(|places| places.len())
            .map_or_else(Vec::new, |found| found.iter().filter(bears).copied().collect())
    };
    places.into_iter().map(|at| &all[at]).collect()
}

/// The container that a series is of; `None` for what a pod has beside its containers.
fn container<'a>(pod: &'a Pod, labels: &Labels) -> Option<&'a str> {
    match &pod.containers[..] {
        [one] => Some(&one.name),
        many => many.iter().map(|one| one.name.as_str()).find(|name| *name == labels.value("container")),
    }
}

fn milli(value: f64) -> i64 {
    // Casts from float saturate.
    (value * 1000.0).round() as i64
}

/// The rate of a counter over the last [`WINDOW`], in thousandths per second.
fn rate(samples: &[Sample]) -> Option<PodMetric> {
    let last = samples.last().filter(|sample| !sample.value.is_nan())?;
    let mut first = last;
    for sample in samples.iter().rev().skip(1) {
        let is_before = is_stale(sample.value) || sample.value.is_nan() || sample.value > first.value;
        if is_before || (first.at != last.at && last.at.since(sample.at) > WINDOW) {
            break;
        }
        first = sample;
    }
    let window = last.at.since(first.at);
    (!window.is_zero()).then(|| PodMetric {
        milli: milli((last.value - first.value) / window.as_secs_f64()),
        at: last.at,
        window,
    })
}

fn newest(samples: &[Sample]) -> Option<PodMetric> {
    let last = samples.last().filter(|sample| !sample.value.is_nan())?;
    Some(PodMetric { milli: milli(last.value), at: last.at, window: Duration::ZERO })
}

/// The replica that a series of a query is of: one whose labels it bears, as far as it has them, or whose name.
pub(super) fn pod_of<'a>(labels: &Labels, pods: &'a [Pod]) -> Option<&'a Pod> {
    let by_labels = |pod: &&Pod| {
        let mut had = pod.labels.iter().filter(|(name, _)| !labels.value(name).is_empty()).peekable();
        had.peek().is_some() && had.all(|(name, value)| labels.value(name) == value)
    };
    let by_name = |pod: &&Pod| NAMES.iter().any(|name| labels.value(name) == pod.name);
    pods.iter().find(by_labels).or_else(|| pods.iter().find(by_name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{LabelsBuilder, stale_nan};
    use skerry_scaling::target::PodContainer;

    fn samples(all: &[(i64, f64)]) -> Vec<Sample> {
        all.iter().map(|(s, value)| Sample { at: UnixMillis(s * 1000), value: *value }).collect()
    }

    #[test]
    fn cpu_is_a_rate_over_the_last_minute() {
        for (given, expected) in [
            (&[(0, 1.0), (15, 2.5)][..], Some((100, 15, 15))),
            // What is older than the window does not count.
            (&[(0, 0.0), (60, 60.0), (90, 75.0), (120, 90.0)], Some((500, 120, 60))),
            // Two samples that are further apart do.
            (&[(0, 0.0), (120, 12.0)], Some((100, 120, 120))),
            // It began anew.
            (&[(0, 50.0), (15, 51.0), (30, 0.5), (45, 2.0)], Some((100, 45, 15))),
            (&[(0, 50.0), (15, 0.5)], None),
            (&[(0, 50.0)], None),
            (&[], None),
            (&[(0, 1.0), (15, stale_nan()), (30, 2.0), (45, 2.0)], Some((0, 45, 15))),
            (&[(0, 1.0), (15, 2.0), (30, stale_nan())], None),
        ] {
            let got = rate(&samples(given)).map(|m| (m.milli, m.at.0 / 1000, m.window.as_secs()));
            assert_eq!(got, expected, "{given:?}");
        }
    }

    struct Fixed(Vec<Selected>);

    impl Source for Fixed {
        fn select(
            &self,
            matchers: &[Matcher],
            _: UnixMillis,
            _: UnixMillis,
            _: u64,
        ) -> Result<Vec<Selected>, skerry_promql::SourceError> {
            let meets = |one: &&Selected| skerry_promql::matches_all(matchers, &one.labels);
            let found = self.0.iter().filter(meets);
            Ok(found.map(|one| Selected { labels: one.labels.clone(), samples: one.samples.clone() }).collect())
        }
    }

    fn pod(name: &str, labels: &[(&str, &str)], containers: &[&str]) -> Pod {
        let container = |name: &&str| PodContainer { name: (*name).to_owned(), ..PodContainer::default() };
        Pod {
            name: name.into(),
            labels: Labels::new(labels.iter().copied()).unwrap(),
            containers: containers.iter().map(container).collect(),
            ..Pod::default()
        }
    }

    #[test]
    fn replicas_are_found_by_their_labels() {
        let series = |metric: &str, labels: &[(&str, &str)], last: f64| {
            let builder = labels.iter().fold(LabelsBuilder::metric(metric), |b, (name, value)| b.label(name, *value));
            Selected { labels: builder.build(), samples: samples(&[(0, 0.0), (10, last)]) }
        };
        let source = Fixed(vec![
            series(CPU, &[("id", "/docker/a"), ("name", "web"), ("image", "i"), ("cpu", "total")], 5.0),
            series(CPU, &[("id", "/docker/b"), ("name", "web-2"), ("image", "i"), ("cpu", "total")], 1.0),
            series(CPU, &[("id", "/k/1"), ("pod", "p"), ("namespace", "n"), ("container", "app")], 2.0),
            series(CPU, &[("id", "/k/2"), ("pod", "p"), ("namespace", "n"), ("container", "side")], 3.0),
            series(CPU, &[("id", "/k"), ("pod", "p"), ("namespace", "n")], 9.0),
            series(MEMORY, &[("id", "/docker/a"), ("name", "web"), ("image", "i")], 4096.0),
        ]);
        let containers = Containers::read(&source, reach(Duration::from_secs(15)), UnixMillis(10_000)).unwrap();
        let pods = [
            pod("web", &[("name", "web"), ("image", "i")], &["web"]),
            pod("web-2", &[], &["web-2"]),
            pod("p", &[("pod", "p"), ("namespace", "n")], &["app", "side"]),
            pod("web-3", &[("name", "web-3")], &["web-3"]),
        ];
        let usage = containers.usage(&pods);
        let cpu: Vec<_> = usage.cpu.iter().map(|((pod, name), m)| (pod.as_str(), name.as_str(), m.milli)).collect();
        let expected = [("p", "app", 200), ("p", "side", 300), ("web", "web", 500), ("web-2", "web-2", 100)];
        assert_eq!(cpu, expected);
        assert_eq!(usage.memory[&("web".into(), "web".into())].milli, 4_096_000);
        assert_eq!(usage.memory.len(), 1);
    }

    #[test]
    fn series_of_queries_belong_to_replicas() {
        let pods = [pod("web", &[("name", "web"), ("id", "/a")], &["web"]), pod("web-2", &[("name", "web-2")], &[])];
        for (labels, expected) in [
            (&[("name", "web-2"), ("code", "200")][..], Some("web-2")),
            (&[("name", "web"), ("id", "/b")], Some("web")),
            (&[("id", "/a")], Some("web")),
            (&[("container", "web-2")], Some("web-2")),
            (&[("container", "web-9")], None),
            (&[], None),
        ] {
            let labels = Labels::new(labels.iter().copied()).unwrap();
            assert_eq!(pod_of(&labels, &pods).map(|pod| pod.name.as_str()), expected, "{labels}");
        }
    }
}
