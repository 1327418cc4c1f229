//! A recording of Debian's node_exporter, and the day that is made of it.
//!
//! The recording scrapes once a second. Every fifteenth scrape is what a node that measures every 15 s would have taken,
//! so a minute of it holds fifteen such minutes that share no scrape: real values with their real steps of 15 s and their
//! real jitter. [`Recording::day`] puts them one behind the other until there is a day. At the joints whatever only grows
//! goes on from where it stood; after the fifteenth part the first comes again, further up. Two that repeat each other lie
//! hours apart, which no block here reaches over but the centre's day chunks; so what those take is measured on
//! [`Recording::fresh`] scrapes alone.
//!
//! The one that is shipped: 25 minutes of a 2-core virtual machine with node_exporter 1.5, load about 2, somebody building
//! software on it. That makes six and a quarter hours.

use anyhow::{Context, ensure};
use skerry_chunk::{Column, Limits, MetricBlock, dict};
use skerry_model::{Labels, SeriesId, UnixMillis};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two scrapes of the day.
pub const STEP_S: i64 = 15;
/// When the day begins: a midnight.
pub const START: UnixMillis = UnixMillis(1_700_006_400_000);

/// Scrapes, one a second.
pub struct Recording {
    /// Labels by series id, which begin at 1 and have no gaps.
    pub series: Vec<Labels>,
    block: MetricBlock,
}

/// One scrape.
pub struct Scraped {
    /// When.
    pub at: UnixMillis,
    /// Values by series id.
    pub values: Vec<(SeriesId, f64)>,
}

/// The folder of the recording that is shipped with the tests.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/node_exporter")
}

impl Recording {
    /// Reads what [`Recorder::write`] wrote.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = |name: &str| std::fs::read(folder.join(name)).with_context(|| format!("read {name}"));
        let entries = dict::decode(&file("series.dict")?, &Limits::default())?;
        let block = MetricBlock::decode(&file("scrapes.block")?, &Limits::default())?;
        ensure!(entries.len() == block.columns.len(), "a column for each series");
        Ok(Self { series: entries.into_iter().map(|(_, labels)| labels).collect(), block })
    }

    /// Hours in the recording's seconds at 15 s a scrape that share no scrape.
    #[must_use]
    pub fn distinct_hours(&self) -> f64 {
        self.block.timestamps.len() as f64 * STEP_S as f64 / 3600.0
    }

    /// How many scrapes of a day share nothing.
    #[must_use]
    pub fn fresh(&self) -> usize {
        let phases = usize::try_from(STEP_S).unwrap_or(1);
        self.block.timestamps.len() / phases * phases
    }

    /// `hours` of scrapes, one every 15 s.
    #[must_use]
    pub fn day(&self, hours: i64) -> Vec<Scraped> {
        let scrapes = usize::try_from(hours * 3600 / STEP_S).unwrap_or(0);
        let phases = usize::try_from(STEP_S).unwrap_or(1);
        let per_phase = (self.block.timestamps.len() / phases).max(1);
        let row = |scrape: usize| (scrape % per_phase) * phases + scrape / per_phase % phases;
        let began = self.block.timestamps.first().copied().unwrap_or_default();
        let mut day: Vec<Scraped> = (0..scrapes)
            .map(|scrape| {
                let jitter = self.block.timestamps[row(scrape)].0 - began.0 - row(scrape) as i64 * 1000;
                let at = START.0 + scrape as i64 * STEP_S * 1000 + jitter.clamp(0, 5_000);
                Scraped { at: UnixMillis(at), values: Vec::with_capacity(self.series.len()) }
            })
            .collect();
        for column in &self.block.columns {
            let grows = only_grows(column);
            let (mut offset, mut last) = (0.0, None);
            for (scrape, scraped) in day.iter_mut().enumerate() {
                let Some(value) = column.values[row(scrape)] else { continue };
                if let Some(before) = last
                    && grows
                    && scrape % per_phase == 0
                {
                    offset = decimal(before - value);
                }
                let value = if offset == 0.0 { value } else { decimal(value + offset) };
                last = Some(value);
                scraped.values.push((column.series, value));
            }
        }
        day
    }
}

/// Whether a series changes and never falls: what the joints have to carry on.
fn only_grows(column: &Column) -> bool {
    let values: Vec<f64> = column.values.iter().flatten().copied().collect();
    values.first() != values.last() && values.windows(2).all(|pair| pair[0] <= pair[1])
}

/// A sum of decimals as the decimal that it stands for, where six places hold it: counters of seconds have two.
fn decimal(value: f64) -> f64 {
    if value.abs() < 1e9 { (value * 1e6).round() / 1e6 } else { value }
}

/// Puts a recording together.
#[derive(Default)]
pub struct Recorder {
    ids: BTreeMap<Labels, usize>,
    timestamps: Vec<UnixMillis>,
    columns: Vec<Vec<Option<f64>>>,
}

impl Recorder {
    /// Takes one scrape in Prometheus's text format.
    ///
    /// # Errors
    /// If a line cannot be read.
    pub fn push(&mut self, at: UnixMillis, text: &str) -> anyhow::Result<()> {
        let row = self.timestamps.len();
        self.timestamps.push(at);
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (labels, value) = sample(line).with_context(|| format!("line {line:?}"))?;
            let next = self.columns.len();
            let id = *self.ids.entry(labels).or_insert(next);
            if id == next {
                self.columns.push(Vec::new());
            }
            self.columns[id].resize(row, None);
            self.columns[id].push(Some(value));
        }
        Ok(())
    }

    /// Writes the recording: a dictionary and one block.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(self, folder: &Path) -> anyhow::Result<()> {
        let rows = self.timestamps.len();
        let series = |at: usize| -> anyhow::Result<SeriesId> { Ok(SeriesId(u32::try_from(at)? + 1)) };
        let mut entries = Vec::new();
        for (labels, at) in self.ids {
            entries.push((series(at)?, labels));
        }
        entries.sort_by_key(|(id, _)| *id);
        let mut columns = Vec::new();
        for (at, mut values) in self.columns.into_iter().enumerate() {
            values.resize(rows, None);
            columns.push(Column { series: series(at)?, values });
        }
        let block = MetricBlock { timestamps: self.timestamps, columns };
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("series.dict"), dict::encode(&entries)?)?;
        std::fs::write(folder.join("scrapes.block"), block.encode()?)?;
        Ok(())
    }
}

/// Scrapes `url` once a second for `span` into `folder`.
///
/// # Errors
/// If a scrape fails.
pub fn record(url: &str, span: Duration, folder: &Path) -> anyhow::Result<()> {
    let mut recorder = Recorder::default();
    #[expect(clippy::disallowed_methods, reason = "the recording's own pace")]
    let began = Instant::now();
    let mut taken = 0;
    while began.elapsed() < span {
        std::thread::sleep(Duration::from_secs(taken).saturating_sub(began.elapsed()));
        let at = skerry_agent::clock::Clock::system().wall();
        recorder.push(at, &ureq::get(url).call()?.body_mut().read_to_string()?)?;
        taken += 1;
    }
    recorder.write(folder)
}

fn sample(line: &str) -> anyhow::Result<(Labels, f64)> {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).context("a name")?);
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        while !rest.starts_with('}') {
            let (label, value) = rest.trim_start_matches(',').split_once("=\"").context("a label")?;
            let mut text = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next().context("the end of a label")? {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().context("an escape")?.1 {
                        'n' => text.push('\n'),
                        other => text.push(other),
                    },
                    (_, other) => text.push(other),
                }
            };
            pairs.push((label.to_owned(), text));
            rest = &value[end + 1..];
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next().context("a value")?;
    Ok((Labels::new(pairs)?, value.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_text_format_is_read() {
        let (labels, value) = sample(r#"up{a="x\"y\\",b="1"} 2.5e-1 7"#).unwrap();
        assert_eq!((labels.value("a"), labels.value("b"), labels.metric(), value), ("x\"y\\", "1", "up", 0.25));
        assert!(sample("up{a=").is_err() && sample("up").is_err());
    }

    #[test]
    fn the_day_goes_on_where_an_hour_ended() {
        let mut recorder = Recorder::default();
        for second in 0..60i64 {
            let text = format!("grows_total {}.25\ngauge {}\n", 100 + second, second % 7);
            recorder.push(UnixMillis(1_000_000 + second * 1000), &text).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        recorder.write(folder.path()).unwrap();
        let recording = Recording::read(folder.path()).unwrap();
        // Four scrapes per phase: the fifth is the first of the next second.
        let day = recording.day(1);
        let grows: Vec<f64> = day.iter().take(9).map(|scraped| scraped.values[0].1).collect();
        assert_eq!(grows, [100.25, 115.25, 130.25, 145.25, 145.25, 160.25, 175.25, 190.25, 190.25]);
        assert_eq!(day[4].values[1].1, 1.0);
        assert_eq!((day.len(), day[1].at.0 - day[0].at.0), (240, 15_000));
    }
}
