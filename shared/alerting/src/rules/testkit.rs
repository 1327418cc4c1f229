//! What tests of rules share: the vectors, and a place with a store and a clock of its own.

use super::{Engine, Round, RuleFile, Settings};
use crate::Now;
use skerry_model::{Labels, Mono, Sample, UnixMillis};
use skerry_promql::{Matcher, Query, Selected, Source, SourceError, matches_all};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Files of a folder of the shared vectors, by name.
///
/// # Panics
/// If the vectors are not there: they stand beside the repository, or where `SKERRY_RULES_VECTORS` says.
pub(crate) fn vectors(folder: &str) -> Vec<(String, String)> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/rules-vectors");
    let root = std::env::var_os("SKERRY_RULES_VECTORS").map_or(beside, PathBuf::from);
    let folder = root.join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut files: Vec<(String, String)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text"))
        })
        .collect();
    files.sort();
    files
}

/// Samples in memory, and whether reading them fails.
#[derive(Debug, Default)]
pub(crate) struct Store {
    series: BTreeMap<Labels, Vec<Sample>>,
    pub(crate) is_broken: bool,
    pub(crate) asked: Cell<u32>,
}

impl Store {
    pub(crate) fn put(&mut self, labels: Labels, sample: Sample) {
        let samples = self.series.entry(labels).or_default();
        let place = samples.partition_point(|held| held.at < sample.at);
        samples.insert(place, sample);
    }

    /// The newest sample of a series.
    pub(crate) fn last(&self, series: &str) -> Option<Sample> {
        self.series.get(&labels(series)).and_then(|samples| samples.last()).copied()
    }
}

impl Source for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        _: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        self.asked.set(self.asked.get() + 1);
        if self.is_broken {
            return Err(SourceError("the disk is gone".into()));
        }
        let found = self.series.iter().filter(|(labels, _)| matches_all(matchers, labels));
        let found = found.map(|(labels, samples)| {
            let samples = samples.iter().filter(|sample| sample.at >= from && sample.at <= to).copied().collect();
            Selected { labels: labels.clone(), samples }
        });
        Ok(found.filter(|series: &Selected| !series.samples.is_empty()).collect())
    }
}

/// The labels that a plain selector demands.
pub(crate) fn labels(selector: &str) -> Labels {
    let matchers = Query::parse(selector).expect(selector).matchers().expect(selector);
    Labels::new(matchers.iter().map(|matcher| (matcher.label(), matcher.value()))).expect(selector)
}

/// A place that evaluates rules: everything happens when a test says so.
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) engine: Option<Engine>,
    pub(crate) settings: Settings,
    pub(crate) now: Now,
}

/// 2023-11-14T22:13:20Z, where each test begins.
pub(crate) const BEGIN: i64 = 1_700_000_000_000;

/// A file with one group `g` of 1 min and these rules, written as flow mappings.
pub(crate) fn group(rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("  - {{{rule}}}\n")).collect();
    format!("groups:\n- name: g\n  interval: 1m\n  rules:\n{}", rules.concat())
}

pub(crate) fn file(text: &str) -> RuleFile {
    RuleFile::parse("f", text).unwrap_or_else(|faults| panic!("{faults}")).0
}

impl Place {
    /// With these rules; state of before is not asked for.
    pub(crate) fn new(text: &str) -> Self {
        Self::with(text, Settings { restore: false, ..Settings::default() })
    }

    pub(crate) fn with(text: &str, settings: Settings) -> Self {
        let now = Now { wall: UnixMillis(BEGIN), mono: Mono(5_000) };
        let engine = Engine::new(vec![("f".into(), file(text))], settings.clone(), None, now);
        Self { store: Store::default(), engine: Some(engine), settings, now }
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("there is one between calls")
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        self.now.wall.0 += millis;
        self.now.mono.0 += millis.unsigned_abs();
    }

    /// Takes other rules.
    pub(crate) fn reload(&mut self, files: &[(&str, &str)]) {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect();
        let old = self.engine.take();
        self.engine = Some(Engine::new(files, self.settings.clone(), old, self.now));
    }

    /// Ends without a word and begins again after this time.
    pub(crate) fn restart(&mut self, text: &str, down_ms: i64) {
        self.now = Now { wall: UnixMillis(self.now.wall.0 + down_ms), mono: Mono(5_000) };
        self.engine = Some(Engine::new(vec![("f".into(), file(text))], self.settings.clone(), None, self.now));
    }

    /// When the next turn is.
    pub(crate) fn next_at(&self) -> UnixMillis {
        let next = self.engine.as_ref().and_then(Engine::next).expect("there is a group");
        UnixMillis(self.now.wall.0 + i64::try_from(next.0 - self.now.mono.0).expect("small"))
    }

    /// Sets series at the moment of the next turn.
    pub(crate) fn set(&mut self, series: &[(&str, f64)]) {
        let at = self.next_at();
        for (series, value) in series {
            self.store.put(labels(series), Sample { at, value: *value });
        }
    }

    /// Goes to the next turn and takes it; what it writes is stored.
    pub(crate) fn turn(&mut self) -> Round {
        self.pass(self.next_at().0 - self.now.wall.0);
        let now = self.now;
        let mut turns = self.engine().due(now);
        assert_eq!(turns.len(), 1, "one group at a time");
        let engine = self.engine.as_mut().expect("there is one");
        let round = engine.evaluate(turns.remove(0), &self.store, now);
        for (labels, sample) in &round.samples {
            self.store.put(labels.clone(), *sample);
        }
        round
    }

    /// Sets series, and takes the next turn.
    pub(crate) fn turn_with(&mut self, series: &[(&str, f64)]) -> Round {
        self.set(series);
        self.turn()
    }
}

/// Samples as texts, in their order: `name{labels} value`, `stale` for an end.
pub(crate) fn written(round: &Round) -> Vec<String> {
    let text = |value: f64| if skerry_model::is_stale(value) { "stale".to_owned() } else { value.to_string() };
    round.samples.iter().map(|(labels, sample)| format!("{labels} {}", text(sample.value))).collect()
}

/// Changes as texts: `instance was->is`.
pub(crate) fn changes(round: &Round) -> Vec<String> {
    let text = |change: &super::Change| {
        format!("{} {}->{}", change.alert.labels.value("instance"), change.was.as_str(), change.is.as_str())
    };
    round.changes.iter().map(text).collect()
}
