//! Downsampling: one window after the other, aligned to the wall clock.
//!
//! Of each series and window the last sample goes out at its own time, under the series' own name. For gauges
//! `NAME:min_5m`, `:max_5m`, `:sum_5m` and `:count_5m` go with it. Counters need no aggregates, but their resets: the
//! sample before and the one after each reset go out too, so that `rate` and `increase` at the centre see the same
//! growth as here. What a name ends in tells a counter: `_total`, `_count`, `_sum`, `_bucket`, as convention has it.

use skerry_model::{Labels, Sample, Scrape, Span, UnixMillis, is_stale};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Most samples around resets and ends that go out per series and window. A counter that is reset more often keeps
/// its other resets to the node.
const POINTS_MAX: usize = 32;

/// What windows give out, by time.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<UnixMillis, BTreeMap<Labels, f64>>);

impl Given {
    pub(super) fn put(&mut self, at: UnixMillis, labels: Labels, value: f64) {
        self.0.entry(at).or_default().insert(labels, value);
    }

    pub(super) fn join(&mut self, other: Self) {
        for (at, values) in other.0 {
            self.0.entry(at).or_default().extend(values);
        }
    }

    pub(super) fn into_scrapes(self) -> Vec<Scrape> {
        self.0.into_iter().map(|(at, values)| Scrape { at, values: values.into_iter().collect() }).collect()
    }
}

/// One series in the open window.
#[derive(Debug, Default)]
struct Window {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// The newest sample of this window or of the one before it.
    last: Option<Sample>,
    /// Samples around resets and ends.
    points: Vec<Sample>,
}

/// The open windows of one resolution.
#[derive(Debug, Default)]
struct Open {
    start_ms: i64,
    series: HashMap<Labels, Window>,
}

/// All open windows, by the length of a window in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<i64, Open>);

impl Windows {
    /// Time is now `at`: closes the windows that have ended, and gives out what they held. A time a little before the
    /// open window belongs to it, because sources take turns; a clock that was set back further begins a new one.
    pub(super) fn advance(&mut self, at: UnixMillis) -> Given {
        let mut given = Given::default();
        for (resolution, open) in &mut self.0 {
            let start_ms = at.0.div_euclid(*resolution).saturating_mul(*resolution);
            let is_late = start_ms < open.start_ms && open.start_ms.saturating_sub(start_ms) <= *resolution;
            if start_ms != open.start_ms && !is_late {
                open.close(*resolution, &mut given);
                open.start_ms = start_ms;
            }
        }
        given
    }

    /// Takes a sample in. [`Self::advance`] has been told its time.
    pub(super) fn add(&mut self, labels: &Labels, sample: Sample, resolution: i64, given: &mut Given) {
        let open = self.0.entry(resolution).or_insert_with(|| Open {
            start_ms: sample.at.0.div_euclid(resolution).saturating_mul(resolution),
            series: HashMap::new(),
        });
        let window = match open.series.get_mut(labels) {
            Some(window) => window,
            None => open.series.entry(labels.clone()).or_default(),
        };
        if is_stale(sample.value) {
            // The end of a series is worth telling at once.
            if window.count > 0 {
                window.close(labels, resolution, given);
            }
            given.put(sample.at, labels.clone(), sample.value);
            open.series.remove(labels);
        } else {
            window.add(sample, is_counter(labels.metric()));
        }
    }
}

impl Open {
    fn close(&mut self, resolution: i64, given: &mut Given) {
        self.series.retain(|labels, window| {
            let is_alive = window.count > 0;
            if is_alive {
                window.close(labels, resolution, given);
            }
            is_alive
        });
    }
}

impl Window {
    fn add(&mut self, sample: Sample, is_counter: bool) {
        let value = sample.value;
        if let Some(last) = self.last
            && is_counter
            && value < last.value
            && self.points.len() + 2 <= POINTS_MAX
        {
            self.points.extend([last, sample]);
        }
        if self.count == 0 {
            (self.sum, self.min, self.max) = (0.0, value, value);
        }
        self.count += 1;
        self.sum += value;
        // As Prometheus's min and max: a NaN counts only where there is nothing else.
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = Some(sample);
    }

    fn close(&mut self, labels: &Labels, resolution: i64, given: &mut Given) {
        for point in self.points.drain(..).chain(self.last) {
            given.put(point.at, labels.clone(), point.value);
        }
        if let Some(last) = self.last
            && !is_counter(labels.metric())
        {
            let span = Span(Duration::from_millis(resolution.unsigned_abs()));
            #[expect(clippy::cast_precision_loss, reason = "a window holds few samples")]
            let aggregates = [("min", self.min), ("max", self.max), ("sum", self.sum), ("count", self.count as f64)];
            for (name, value) in aggregates {
                let metric = format!("{}:{name}_{span}", labels.metric());
                // A label set that is full to its bounds has no room for a longer name: its last sample has gone out.
                if let Ok(labels) = labels.with("__name__", &metric) {
                    given.put(last.at, labels, value);
                }
            }
        }
        self.count = 0;
    }
}

fn is_counter(metric: &str) -> bool {
    ["_total", "_count", "_sum", "_bucket"].iter().any(|end| metric.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{LabelsBuilder, stale_nan};

    const MINUTE: i64 = 60_000;

    /// What comes of samples of one series, at seconds.
    fn run(metric: &str, samples: &[(i64, f64)]) -> Vec<String> {
        let labels = LabelsBuilder::metric(metric).build();
        let (mut windows, mut given) = (Windows::default(), Given::default());
        for (at, value) in samples {
            let at = UnixMillis(at * 1000);
            given.join(windows.advance(at));
            windows.add(&labels, Sample { at, value: *value }, MINUTE, &mut given);
        }
        let all = given.into_scrapes().into_iter();
        all.flat_map(|s| s.values.into_iter().map(move |(l, v)| format!("{} {l} {v}", s.at.0 / 1000))).collect()
    }

    #[test]
    fn a_gauge_gives_its_last_value_and_aggregates() {
        let told = run("g", &[(0, 4.0), (15, 1.0), (30, 2.0), (60, 9.0)]);
        assert_eq!(told, ["30 g 2", "30 g:count_1m 3", "30 g:max_1m 4", "30 g:min_1m 1", "30 g:sum_1m 7"]);
    }

    #[test]
    fn a_counter_gives_its_resets() {
        let told = run("c_total", &[(0, 4.0), (15, 8.0), (30, 1.0), (45, 2.0), (60, 0.0), (75, 3.0), (120, 4.0)]);
        assert_eq!(told, ["15 c_total 8", "30 c_total 1", "45 c_total 2", "60 c_total 0", "75 c_total 3"]);
        let many: Vec<(i64, f64)> = (0..60).map(|n| (n, f64::from(u8::from(n % 2 == 0)))).chain([(60, 0.0)]).collect();
        assert!(run("c_total", &many).len() <= POINTS_MAX + 1);
    }

    #[test]
    fn an_end_is_told_at_once_and_silence_tells_nothing() {
        let told = run("c_total", &[(0, 4.0), (15, stale_nan()), (70, 1.0), (300, 2.0), (900, 3.0)]);
        assert_eq!(told, ["0 c_total 4", "15 c_total NaN", "70 c_total 1", "300 c_total 2"]);
    }

    #[test]
    fn a_late_sample_belongs_to_the_open_window_and_a_clock_set_back_begins_anew() {
        let told = run("c_total", &[(60, 1.0), (59, 2.0), (120, 3.0)]);
        assert_eq!(told, ["59 c_total 2"]);
        let told = run("c_total", &[(600, 1.0), (60, 2.0), (120, 3.0)]);
        assert_eq!(told, ["60 c_total 2", "600 c_total 1"]);
    }

    #[test]
    fn nothing_but_nan_stays_nan() {
        let told = run("g", &[(0, f64::NAN), (60, 1.0)]);
        assert_eq!(told[..2], ["0 g NaN", "0 g:count_1m 1"]);
        assert_eq!(
            run("g", &[(0, f64::NAN), (1, 2.0), (60, 1.0)])[2..],
            ["1 g:max_1m 2", "1 g:min_1m 2", "1 g:sum_1m NaN"]
        );
    }
}
