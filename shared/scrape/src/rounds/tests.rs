use super::*;
use crate::exposition::{Format, Parser};
use crate::relabel;
use skerry_model::is_stale;
use std::time::Duration;

fn settings() -> Settings {
    Settings {
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        rules: Vec::new(),
        samples_max: 100,
        labels_max: None,
        label_name_bytes_max: None,
        label_value_bytes_max: None,
    }
}

/// A target that is scraped every 15 seconds.
struct Rig {
    rounds: Rounds,
    at: i64,
    room: usize,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let labels = Labels::new([("job", "j"), ("instance", "i")]).unwrap();
        Self { rounds: Rounds::new(labels, Arc::new(settings)), at: 1_700_000_000_000, room: usize::MAX }
    }

    fn ruled(rules: &str) -> Self {
        let configs: Vec<relabel::Config> = serde_json::from_str(rules).unwrap();
        Self::new(Settings { rules: relabel::rules(&configs).unwrap(), ..settings() })
    }

    fn scrape(&mut self, text: &str) -> Outcome {
        self.at += 15_000;
        let mut round = self.rounds.begin(UnixMillis(self.at), self.room);
        let mut parser = Parser::new(Format::Prometheus);
        let mut each = |entry: crate::exposition::Entry<'_>| round.take(&entry);
        let read = parser.feed(text.as_bytes(), &mut each).and_then(|()| parser.finish(&mut each));
        round.finish(Duration::from_millis(250), read.map_err(Failure::from))
    }

    fn down(&mut self) -> Outcome {
        self.at += 15_000;
        let round = self.rounds.begin(UnixMillis(self.at), self.room);
        round.finish(Duration::from_secs(10), Err(Failure::Fetch("nobody answers".into())))
    }
}

/// Values of the scrape's own moment without the reports, `name{labels} value`, sorted; stale ones end in `stale`.
fn own(outcome: &Outcome) -> Vec<String> {
    let mut told: Vec<String> = outcome.scrapes.last().unwrap().values.iter().map(text).collect();
    told.retain(|text| !text.starts_with("up") && !text.starts_with("scrape_"));
    told.sort();
    told
}

fn text((labels, value): &(Labels, f64)) -> String {
    let labels = labels.to_string().replace("instance=\"i\",job=\"j\"", "…");
    if is_stale(*value) { format!("{labels} stale") } else { format!("{labels} {value}") }
}

/// `up`, samples scraped, after relabelling, series added.
fn reports(outcome: &Outcome) -> [f64; 4] {
    let values = &outcome.scrapes.last().unwrap().values;
    ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"].map(|name| {
        let found = values.iter().find(|(labels, _)| labels.metric() == name).unwrap();
        assert_eq!(found.0.to_string(), format!("{name}{{instance=\"i\",job=\"j\"}}"));
        found.1
    })
}

#[test]
fn a_target_comes_changes_fails_and_goes() {
    let mut rig = Rig::new(settings());
    let first = rig.scrape("a 1\nb{l=\"x\"} 2\n");
    assert_eq!(own(&first), ["a{…} 1", "b{…,l=\"x\"} 2"]);
    assert_eq!(reports(&first), [1.0, 2.0, 2.0, 2.0]);
    let second = rig.scrape("a 5\nc 3\n");
    assert_eq!(own(&second), ["a{…} 5", "b{…,l=\"x\"} stale", "c{…} 3"]);
    assert_eq!(reports(&second), [1.0, 2.0, 2.0, 1.0]);
    let down = rig.down();
    assert_eq!(own(&down), ["a{…} stale", "c{…} stale"]);
    assert_eq!(reports(&down), [0.0; 4]);
    assert_eq!(down.failure.unwrap().to_string(), "nobody answers");
    assert_eq!(own(&rig.down()), [""; 0], "a series ends once");
    let again = rig.scrape("a 6\n");
    assert_eq!((own(&again), reports(&again)), (vec!["a{…} 6".to_owned()], [1.0, 1.0, 1.0, 0.0]));
    let end = rig.rounds.end(UnixMillis(9)).unwrap();
    assert_eq!(end.values.iter().map(text).filter(|text| text.ends_with(" stale")).count(), 6);
    assert!(Rig::new(settings()).rounds.end(UnixMillis(9)).is_none());
}

#[test]
fn a_bad_line_fails_the_scrape_and_ends_its_series() {
    let mut rig = Rig::new(settings());
    rig.scrape("a 1\nb 1\n");
    let bad = rig.scrape("a 2\nnew 1\nb what\n");
    assert_eq!(own(&bad), ["a{…} stale", "b{…} stale"]);
    assert_eq!(reports(&bad), [0.0, 2.0, 2.0, 1.0]);
    let failure = bad.failure.unwrap();
    assert!(failure.to_string().starts_with("line 3: a number"), "{failure}");
    assert_eq!(failure.reason(), LossReason::Parse);
    assert_eq!(bad.series, 2, "what only a failed scrape knew is forgotten");
    assert_eq!(own(&rig.scrape("a 3\n")), ["a{…} 3"]);
}

#[test]
fn labels_of_the_target_go_first_or_last() {
    let text = "a{job=\"own\",exported_instance=\"e\",instance=\"x\",k=\"v\"} 1\nb{job=\"\"} 1\n";
    let mut rig = Rig::new(settings());
    assert_eq!(
        own(&rig.scrape(text)),
        ["a{exported_exported_instance=\"x\",exported_instance=\"e\",exported_job=\"own\",…,k=\"v\"} 1", "b{…} 1"]
    );
    let mut rig = Rig::new(Settings { honor_labels: true, ..settings() });
    assert_eq!(
        own(&rig.scrape(text)),
        ["a{exported_instance=\"e\",instance=\"x\",job=\"own\",k=\"v\"} 1", "b{instance=\"i\"} 1"]
    );
}

#[test]
fn metric_relabelling_drops_and_renames() {
    let mut rig = Rig::ruled(
        r#"[{"source_labels":["__name__"],"regex":"go_.*","action":"drop"},
        {"source_labels":["__name__"],"regex":"old_(.*)","target_label":"__name__","replacement":"new_$1"}]"#,
    );
    for added in [1.0, 0.0] {
        let outcome = rig.scrape("go_x 1\ngo_y 2\nold_z 3\n");
        assert_eq!((own(&outcome), reports(&outcome)), (vec!["new_z{…} 3".to_owned()], [1.0, 3.0, 1.0, added]));
    }
    let mut nameless = Rig::ruled(r#"[{"regex":"__name__","action":"labeldrop"}]"#);
    let failure = nameless.scrape("a 1\n").failure.unwrap();
    assert!(failure.to_string().contains("no metric name"), "{failure}");
}

#[test]
fn duplicates_are_refused_and_the_first_counts() {
    let mut rig = Rig::ruled(r#"[{"regex":"gone","action":"labeldrop"}]"#);
    let outcome = rig.scrape("a 1\na 2\na 1\nb{gone=\"x\"} 3\nb{gone=\"y\"} 4\n");
    assert_eq!(own(&outcome), ["a{…} 1", "b{…} 3"]);
    assert_eq!(outcome.refused, BTreeMap::from([(LossReason::OutOfOrder, 2)]));
    assert_eq!(reports(&outcome), [1.0, 5.0, 5.0, 2.0]);
    assert_eq!(own(&rig.scrape("b{gone=\"y\"} 4\n")), ["a{…} stale", "b{…} 4"]);
    assert_eq!(own(&rig.scrape("")), ["b{…} stale"]);
}

#[test]
fn samples_with_times_of_their_own() {
    let mut rig = Rig::new(settings());
    let base = rig.at;
    let outcome = rig.scrape(&format!("a 1 {}\nb 2 {base}\nc 3\n", base - 5));
    let moments: Vec<(i64, Vec<String>)> = outcome
        .scrapes
        .iter()
        .map(|scrape| (scrape.at.0 - base, scrape.values.iter().map(text).take(1).collect()))
        .collect();
    let expected = [(-5, "a{…} 1"), (0, "b{…} 2"), (15_000, "c{…} 3")].map(|(at, text)| (at, vec![text.to_owned()]));
    assert_eq!(moments, expected);
    // The same again, an older one, another value at the same time, the future, the past; then a is gone.
    let far =
        format!("b 2 {base}\nb 9 {}\nb 3 {base}\nd 1 {}\ne 1 {}\nc 3\n", base - 1, base + 3_600_000, base - 7_200_000);
    let outcome = rig.scrape(&far);
    assert_eq!(outcome.scrapes.len(), 1, "{:?}", outcome.scrapes);
    assert_eq!(own(&outcome), ["c{…} 3"], "series with times of their own get no stale marker");
    assert_eq!(outcome.refused, BTreeMap::from([(LossReason::OutOfOrder, 2), (LossReason::OutOfBounds, 2)]));
    let mut tracked = Rig::new(Settings { track_timestamps_staleness: true, ..settings() });
    tracked.scrape(&format!("a 1 {base}\n"));
    assert_eq!(own(&tracked.scrape("")), ["a{…} stale"]);
    let mut ignored = Rig::new(Settings { honor_timestamps: false, ..settings() });
    assert_eq!(own(&ignored.scrape("a 1 5\n")), ["a{…} 1"]);
}

#[test]
fn moments_are_bounded() {
    let mut rig = Rig::new(Settings { samples_max: 10_000, ..settings() });
    let base = rig.at;
    let text: String = (0..1000).map(|n| format!("a{{n=\"{n}\"}} 1 {}\n", base + n)).collect();
    let outcome = rig.scrape(&text);
    assert_eq!((outcome.scrapes.len(), outcome.refused[&LossReason::Limit]), (MOMENTS_MAX, 745));
}

#[test]
fn limits_fail_the_scrape() {
    let fails = |settings: Settings, text: &str| {
        let mut rig = Rig::new(settings);
        let outcome = rig.scrape(text);
        assert_eq!(own(&outcome), [""; 0]);
        assert_eq!(outcome.series, 0);
        (outcome.failure.clone().unwrap().to_string(), reports(&outcome))
    };
    let bomb: String = (0..500).map(|n| format!("a{{n=\"{n}\"}} 1\n")).collect();
    let (failure, counts) = fails(settings(), &bomb);
    assert!(failure.starts_with("sample_limit: 500 samples"), "{failure}");
    assert_eq!(counts, [0.0, 500.0, 500.0, 100.0]);
    let of = |change: fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        settings
    };
    for (settings, key) in [
        (of(|s| s.labels_max = Some(4)), "label_limit"),
        (of(|s| s.label_name_bytes_max = Some(8)), "label_name_length_limit"),
        (of(|s| s.label_value_bytes_max = Some(4)), "label_value_length_limit"),
    ] {
        let (failure, _) = fails(settings, "a{k=\"value\",long_name_=\"x\"} 1\n");
        assert!(failure.starts_with(key), "{failure}");
    }
    let (failure, _) = fails(settings(), &format!("a{{k=\"{}\"}} 1\n", "x".repeat(20_000)));
    assert!(failure.contains("at most 16384 are taken") && failure.len() < 300, "{failure}");
    let (failure, _) = fails(settings(), "a{k=\"1\",k=\"2\"} 1\n");
    assert!(failure.contains("stands twice"), "{failure}");
}

#[test]
fn a_label_bomb_leaves_nothing_behind() {
    let mut rig = Rig::new(settings());
    rig.scrape("a 1\n");
    for round in 0..50 {
        let bomb: String = (0..100).map(|n| format!("b{{n=\"{round}-{n}\"}} 1\n")).collect();
        rig.scrape(&bomb);
        assert!(rig.rounds.texts.len() <= 200 && rig.rounds.series.len() <= 201);
    }
    rig.scrape("a 1\n");
    assert_eq!((rig.rounds.texts.len(), rig.rounds.by_labels.len()), (1, 1));
}

#[test]
fn what_other_targets_leave_is_a_limit_too() {
    let mut rig = Rig::new(settings());
    rig.scrape("a 1\n");
    rig.room = 2;
    let outcome = rig.scrape("a 1\nb 1\nc 1\n");
    assert_eq!((own(&outcome), outcome.series), (vec!["a{…} stale".to_owned()], 1));
    assert!(outcome.failure.unwrap().to_string().starts_with("series_limit: 3 samples"));
    assert_eq!(own(&rig.scrape("a 1\nb 1\n")).len(), 2);
}

#[test]
fn a_dropped_round_changes_nothing() {
    let mut rig = Rig::new(settings());
    rig.scrape("a 1\n");
    drop(rig.rounds.begin(UnixMillis(rig.at + 1), 9));
    assert_eq!(own(&rig.scrape("b 1\n")), ["a{…} stale", "b{…} 1"]);
}

#[test]
fn metadata_is_remembered_and_bounded() {
    let mut rig = Rig::new(settings());
    let helps: String = (0..2000).map(|n| format!("# HELP m{n} {}\n# TYPE m{n} gauge\n", "h".repeat(900))).collect();
    rig.scrape(&helps);
    let all: Vec<MetricMeta> = rig.rounds.metadata().collect();
    assert_eq!((all.len(), all[0].help.len(), all[0].kind.as_str()), (1000, 256, "gauge"));
    rig.scrape("# TYPE m1 counter\n");
    assert_eq!(rig.rounds.metadata().count(), 1);
}
