use super::*;
use skerry_model::{LabelsBuilder, Sample, stale_nan};
use skerry_promql::{MatchOp, Matcher, Selected, Source, SourceError, matches_all};
use std::cell::Cell;
use std::collections::BTreeMap;

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_700_000_000_000;

/// A store that keeps all, and counts how often it is asked.
#[derive(Default)]
struct Behind {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    asked: Cell<usize>,
}

impl Behind {
    fn push(&mut self, at: i64, rows: &[(Labels, f64)]) {
        for (labels, value) in rows {
            self.series.entry(labels.clone()).or_default().entry(at).or_insert(*value);
        }
    }
}

impl Source for Behind {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        _: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        self.asked.set(self.asked.get() + 1);
        let within = |points: &BTreeMap<i64, f64>| -> Vec<Sample> {
            points.range(from.0..=to.0).map(|(at, value)| Sample { at: UnixMillis(*at), value: *value }).collect()
        };
        let found = self.series.iter().filter(|(labels, _)| matches_all(matchers, labels));
        let found = found.map(|(labels, points)| Selected { labels: labels.clone(), samples: within(points) });
        Ok(found.filter(|series| !series.samples.is_empty()).collect())
    }
}

/// None.
struct Nothing;

impl Source for Nothing {
    fn select(&self, _: &[Matcher], _: UnixMillis, _: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        panic!("the window was to answer by itself")
    }
}

fn labels(metric: &str, device: usize) -> Labels {
    LabelsBuilder::metric(metric).label("device", format!("d{device:03}")).build()
}

fn need(metric: &str, back_ms: i64) -> Need {
    Need { matchers: vec![Matcher::equal("__name__", metric)], back_ms }
}

fn push(window: &mut Window, at: i64, rows: &[(Labels, f64)]) {
    window.push(UnixMillis(at), rows.iter().map(|(labels, value)| (labels, *value)));
}

/// What both say, for every need and some ranges.
fn compare(window: &Window, behind: &Behind, needs: &[Need], now: i64, seed: &str) {
    for need in needs {
        for (from, to) in [(need.back_ms - 1, 0), (need.back_ms / 2, -MINUTE), (MINUTE, MINUTE / 2), (0, 0)] {
            let (from, to) = (UnixMillis(now - from), UnixMillis(now - to));
            let theirs = behind.select(&need.matchers, from, to, u64::MAX).unwrap();
            let ours = WindowSource { window, behind: &Nothing }.select(&need.matchers, from, to, u64::MAX).unwrap();
            assert_eq!(ours, theirs, "{seed}, {:?}", need.matchers);
            let ours = WindowSource { window, behind: &Nothing }.newest(&need.matchers, from, to, u64::MAX).unwrap();
            let newest = theirs.into_iter().map(|mut series| {
                series.samples.drain(..series.samples.len() - 1);
                series
            });
            assert_eq!(ours, newest.collect::<Vec<_>>(), "newest, {seed}, {:?}", need.matchers);
        }
    }
}

/// Numbers that only look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Three scrapes with series that come and go, change or stay, moments that come late or twice.
#[test]
fn it_answers_as_a_store_does() {
    let regex = Matcher::new("device", MatchOp::Regex, "d00[0-4]").unwrap();
    let needs = [
        need("a", 5 * MINUTE),
        need("b", 10 * MINUTE),
        Need { matchers: vec![Matcher::equal("__name__", "a"), regex.clone()], back_ms: 20 * MINUTE },
        Need { matchers: vec![regex], back_ms: 6 * MINUTE },
        need("nothing", 5 * MINUTE),
    ];
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut window = Window::new(&needs, 1 << 20, UnixMillis(NOW - 40 * MINUTE));
        let mut behind = Behind::default();
        let mut now = NOW - 40 * MINUTE;
        for round in 0..150 {
            now += 10_000 + dice.roll(10_000) as i64;
            let group = dice.roll(3) as usize;
            let mut rows = Vec::new();
            for device in group * 4..group * 4 + 5 {
                for metric in ["a", "b", "c"] {
                    let value = match dice.roll(12) {
                        0 => continue,
                        1 => stale_nan(),
                        2 => f64::NAN,
                        3 => round as f64,
                        _ => device as f64,
                    };
                    // Not every device lives always.
                    if (round / 30 + device) % 4 != 0 {
                        rows.push((labels(metric, device), value));
                    }
                }
            }
            let at = match dice.roll(6) {
                0 => now - dice.roll(400_000) as i64,
                1 => now + dice.roll(30_000) as i64,
                _ => now,
            };
            push(&mut window, at, &rows);
            behind.push(at, &rows);
            if dice.roll(3) == 0 {
                window.trim(UnixMillis(now));
            }
            if round > 100 && dice.roll(4) == 0 {
                compare(&window, &behind, &needs, now, &format!("seed {seed} round {round}"));
            }
        }
        let counted = window.bytes;
        window.let_go(UnixMillis(now));
        assert!(window.bytes <= counted + counted / 4 + 4096, "{} counted anew, {counted} by and by", window.bytes);
        // Without rows all goes.
        window.trim(UnixMillis(now + 60 * MINUTE));
        window.trim(UnixMillis(now + 90 * MINUTE));
        let stats = window.stats();
        assert_eq!((stats.series, stats.samples, stats.left_out.len()), (0, 0, 0));
        assert_eq!((window.free_lanes.len(), window.free_series.len()), (window.lanes.len(), window.series.len()));
    }
}

#[test]
fn what_was_not_seen_is_asked_from_behind() {
    let needs = [need("a", 5 * MINUTE)];
    let matchers = &needs[0].matchers;
    let mut behind = Behind::default();
    let row = |at: i64| (at, [(labels("a", 1), at as f64)]);
    (-20..=0).map(|n| row(NOW + n * 15_000)).for_each(|(at, rows)| behind.push(at, &rows));
    let mut window = Window::new(&needs, 1 << 20, UnixMillis(NOW));
    let asks = |window: &Window, behind: &Behind, at: i64, matchers: &[Matcher]| {
        let before = behind.asked.get();
        let (from, to) = (UnixMillis(at - 5 * MINUTE + 1), UnixMillis(at));
        let found = WindowSource { window, behind }.select(matchers, from, to, u64::MAX).unwrap();
        assert_eq!(found, behind.select(matchers, from, to, u64::MAX).unwrap());
        behind.asked.get() > before + 1
    };
    assert!(asks(&window, &behind, NOW, matchers), "nothing was seen yet");
    for at in (1..40).map(|n| NOW + n * 15_000) {
        let (at, rows) = row(at);
        push(&mut window, at, &rows);
        behind.push(at, &rows);
        window.trim(UnixMillis(at));
    }
    assert!(asks(&window, &behind, NOW + 5 * MINUTE, matchers), "it reaches to before the first row");
    assert!(!asks(&window, &behind, NOW + 9 * MINUTE, matchers));
    assert!(asks(&window, &behind, NOW + 9 * MINUTE, &[Matcher::equal("device", "d001")]), "no rule needs that");
    assert!(asks(&window, &behind, NOW + 7 * MINUTE, matchers), "that is let go of");

    // Wider after a reload: what was let go of is asked for until it has come again.
    window.set_needs(&[need("a", 8 * MINUTE), need("b", MINUTE)], UnixMillis(NOW + 10 * MINUTE));
    assert!(!asks(&window, &behind, NOW + 10 * MINUTE, matchers));
    assert!(asks(&window, &behind, NOW + 9 * MINUTE, matchers));

    // Seeded it need not ask.
    let mut window = Window::new(&needs, 1 << 20, UnixMillis(NOW));
    window.seed(&behind, UnixMillis(NOW)).unwrap();
    assert!(!asks(&window, &behind, NOW, matchers));
    assert_eq!(window.lanes.len(), 1);
}

#[test]
fn what_does_not_fit_is_left_out_and_tried_again() {
    let needs = [need("a", 5 * MINUTE), need("b", 60 * MINUTE)];
    let mut window = Window::new(&needs, 400_000, UnixMillis(NOW));
    let rows = |at: i64| -> Vec<(Labels, f64)> {
        let all = (0..200).flat_map(|n| [labels("a", n), labels("b", n)]);
        all.map(|labels| (labels, at as f64)).collect()
    };
    let mut now = NOW;
    for _ in 0..200 {
        now += 15_000;
        push(&mut window, now, &rows(now));
        window.trim(UnixMillis(now));
        assert!(window.stats().bytes <= 400_000, "{:?}", window.stats());
    }
    let stats = window.stats();
    assert_eq!(stats.left_out, ["{__name__=\"b\"}"]);
    assert_eq!(stats.series, 200);
    let mut behind = Behind::default();
    behind.push(now, &rows(now));
    let source = WindowSource { window: &window, behind: &behind };
    let select = |metric: &str| {
        source.select(&[Matcher::equal("__name__", metric)], UnixMillis(now), UnixMillis(now), 1000).unwrap().len()
    };
    assert_eq!((select("a"), behind.asked.get()), (200, 0));
    assert_eq!((select("b"), behind.asked.get()), (200, 1));

    window.trim(UnixMillis(now + 61 * MINUTE));
    assert!(window.stats().left_out.is_empty());
    push(&mut window, now + 61 * MINUTE, &rows(now)[..10]);
    assert_eq!(window.stats().series, 10);
}

#[test]
fn scrapes_share_their_moments_and_what_stays_the_same_costs_nothing() {
    let mut window = Window::new(&[need("a", 60 * MINUTE)], 1 << 20, UnixMillis(NOW));
    let mut last = 0;
    for n in 0..240 {
        let at = NOW + n * 15_000;
        let rows: Vec<(Labels, f64)> = (0..100).map(|device| (labels("a", device), device as f64)).collect();
        push(&mut window, at, &rows);
        push(&mut window, at + 7, &[(labels("a", 100), 1.0), (labels("unneeded", 1), 1.0)]);
        window.trim(UnixMillis(at));
        if n == 0 {
            last = window.stats().bytes;
        }
    }
    let stats = window.stats();
    assert_eq!((stats.series, stats.samples, window.lanes.len()), (101, 101 * 240, 2));
    assert!(stats.bytes < last + 2 * 300 * 8, "{} bytes, {last} with one row", stats.bytes);
}

#[test]
fn bad_rows_are_harmless() {
    let mut window = Window::new(&[need("a", 5 * MINUTE)], 1 << 20, UnixMillis(NOW));
    // Twice in a row, from the far past, from the far future, and more rows than a lane holds.
    push(&mut window, NOW, &[(labels("a", 1), 1.0), (labels("a", 1), 2.0)]);
    for at in [i64::MIN, 0, NOW - 10 * MINUTE, NOW + 1000 * MINUTE, i64::MAX] {
        push(&mut window, at, &[(labels("a", 1), 3.0), (labels("a", 2), 3.0)]);
    }
    window.trim(UnixMillis(NOW + MINUTE));
    assert_eq!((window.stats().series, window.stats().samples), (1, 1));
    for n in 0..ROWS_MAX as i64 + 10 {
        push(&mut window, NOW + MINUTE + n, &[(labels("a", 1), n as f64), (labels("a", 3), 0.0)]);
    }
    assert!(window.stats().samples <= 2 * ROWS_MAX);
    let at = UnixMillis(NOW + MINUTE + ROWS_MAX as i64);
    let source = WindowSource { window: &window, behind: &Nothing };
    let found = source.select(&need("a", 0).matchers, UnixMillis(at.0 - 1), at, 10).unwrap();
    assert_eq!(found.iter().map(|series| series.samples.len()).collect::<Vec<_>>(), [2, 2]);
    let refused = source.select(&need("a", 0).matchers, UnixMillis(at.0 - 10), at, 10).unwrap_err();
    assert!(refused.to_string().contains("more than 10 samples"), "{refused}");
}
