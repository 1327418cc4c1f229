//! The node's side.

use super::{Limit, READS, Report, Scraped, TIMES, median, samples, timed};
use crate::bench::disk::Disk;
use crate::bench::recording::{Recording, START};
use anyhow::{Context, ensure};
use skerry_agent::clock::Clock;
use skerry_agent::store::{Config, LoadRequest, Now, Pace, SeriesQuery, Writer, open};
use skerry_model::{Mono, Scrape, Seq, StreamKind, TimeRange, UnixMillis};
use skerry_promql::Matcher;
use skerry_wire::{Ack, MESSAGE_BYTES_MAX, codec};
use std::path::Path;

/// Scrapes in a batch that is sent once a minute.
pub(super) const PER_MINUTE: u64 = 4;
/// A QoS 1 PUBLISH's fixed header, topic length and packet number; the topic comes on top.
const PUBLISH_BYTES: usize = 1 + 3 + 2 + 2;

/// How the fleet answers while a day is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Every scrape is sent and acknowledged as it comes.
    Up,
    /// Scrapes go out four at a time.
    Minutely,
    /// There is none.
    Down,
}

/// What storing a day came to.
#[derive(Default)]
struct Day {
    wire_bytes: usize,
    dict_bytes: usize,
}

pub(super) fn run(
    recording: &Recording,
    day: &[Scraped],
    folder: &Path,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    say("the node: storing a day, online and offline");
    let scrapes = scrapes(recording, day)?;
    let samples = samples(day);
    let mut counted = true;
    for (name, link, limit) in [("online", Link::Up, 5.0), ("offline", Link::Down, 15.0)] {
        let disk = Disk::new(folder, name)?;
        counted &= disk.device.is_some();
        let before = disk.written(std::process::id())?;
        let path = disk.folder.join("agent.db");
        let stored = store(&path, link, &scrapes)?;
        rustix::fs::syncfs(std::fs::File::open(&disk.folder)?)?;
        let written = disk.written(std::process::id())? - before;
        report.limited(&format!("flash_bytes_per_sample_{name}"), written / samples, Limit::Max(limit));
        let at_rest = std::fs::metadata(&path)?.len() as f64 / samples;
        if link == Link::Up {
            report.limited("node_bytes_per_sample", at_rest, Limit::Max(0.95));
            let wire = (stored.wire_bytes - stored.dict_bytes) as f64;
            report.figure("wire_bytes_per_sample_scrape_by_scrape", wire / samples);
            std::fs::copy(&path, folder.join("agent.db"))?;
        } else {
            report.figure("node_bytes_per_sample_offline", at_rest);
        }
    }
    report.figure("flash_counted_by_device", f64::from(u8::from(counted)));

    let stored = store(&folder.join("minutely.db"), Link::Minutely, &scrapes)?;
    report.limited("wire_bytes_per_sample_minutely", stored.wire_bytes as f64 / samples, Limit::Max(1.0));

    say("the node: appending on one core");
    let mut rates = Vec::new();
    for time in 0..TIMES {
        let path = folder.join(format!("append-{time}.db"));
        let (_, seconds) = timed(|| store_alone(&path, &scrapes))?;
        rates.push(samples / seconds);
    }
    report.limited("node_append_samples_per_s", median(&mut rates), Limit::Min(2e6));

    say("the node: reading one series");
    let mut took = read(recording, &folder.join("agent.db"), day)?;
    report.figure("node_read_series_ms_slowest", took.iter().copied().fold(0.0, f64::max));
    report.limited("node_read_series_ms", median(&mut took), Limit::Max(5.0));
    Ok(())
}

fn scrapes(recording: &Recording, day: &[Scraped]) -> anyhow::Result<Vec<Scrape>> {
    let labels = |id: u32| recording.series.get(id as usize - 1).cloned().context("a series");
    let scrape = |scraped: &Scraped| {
        let values = scraped.values.iter().map(|(id, value)| Ok((labels(id.0)?, *value)));
        Ok(Scrape { at: scraped.at, values: values.collect::<anyhow::Result<_>>()? })
    };
    day.iter().map(scrape).collect()
}

fn moment(scrape: &Scrape) -> Now {
    Now { wall: scrape.at, mono: Mono(u64::try_from(scrape.at.since(START).as_millis()).unwrap_or(0)) }
}

fn begin(path: &Path, config: Config) -> anyhow::Result<Writer> {
    let mut random = 1u64;
    let next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 2
    };
    Ok(Writer::open(path, config, Now { wall: START, mono: Mono(0) }, next)?.0)
}

/// Stores a day as the agent does while its link is as it is said.
fn store(path: &Path, link: Link, scrapes: &[Scrape]) -> anyhow::Result<Day> {
    // With the defaults, unacknowledged scrapes are committed before a minute is over.
    let offline = if link == Link::Minutely { PER_MINUTE as u32 + 1 } else { Config::default().scrapes_offline };
    let mut writer = begin(path, Config { scrapes_offline: offline, ..Config::default() })?;
    let tips = writer.tips();
    let epoch = tips.iter().find(|tip| tip.stream == StreamKind::Metrics && tip.current).context("an epoch")?.epoch;
    let topic = "skerry/v1/pi-4/up/metrics".len();
    let (mut day, mut have, mut dict) = (Day::default(), skerry_wire::SeqSet::new(), None);
    for (n, scrape) in (1u64..).zip(scrapes) {
        let now = moment(scrape);
        writer.append_scrape(scrape, Pace::Round, now);
        let sends = match link {
            Link::Up => true,
            Link::Minutely => n.is_multiple_of(PER_MINUTE),
            Link::Down => false,
        };
        if sends {
            let at = Seq(have.through() + 1);
            let bytes_max = MESSAGE_BYTES_MAX;
            let want = LoadRequest { stream: StreamKind::Metrics, epoch, at, dict_known: dict, bytes_max };
            let batch = writer.load(want, now)?.context("a batch")?;
            ensure!(batch.to == Seq(n), "the batch ends at {:?}, not at {n}", batch.to);
            day.wire_bytes += PUBLISH_BYTES + topic + codec::encode(&batch).len();
            day.dict_bytes += batch.dict.len();
            have.insert(batch.from, batch.to);
            dict = skerry_chunk::MetricReader::open(block(&batch)?, &skerry_chunk::Limits::default())?
                .series()
                .last()
                .transpose()?
                .max(dict);
            writer.acknowledge(&Ack { stream: StreamKind::Metrics, epoch, have: have.clone(), dict });
        }
        writer.tick(now);
    }
    writer.close(moment(scrapes.last().context("scrapes")?))?;
    Ok(day)
}

fn block(batch: &skerry_wire::Batch) -> anyhow::Result<&[u8]> {
    match &batch.body {
        skerry_wire::Body::Block(bytes) => Ok(bytes),
        skerry_wire::Body::Gone(_) => anyhow::bail!("a block"),
    }
}

/// Appends and commits, every twenty scrapes, and does nothing else.
fn store_alone(path: &Path, scrapes: &[Scrape]) -> anyhow::Result<()> {
    let mut writer = begin(path, Config { scrapes_offline: 20, ..Config::default() })?;
    for scrape in scrapes {
        let now = moment(scrape);
        writer.append_scrape(scrape, Pace::Round, Now { mono: Mono(0), ..now });
        writer.tick(Now { mono: Mono(0), ..now });
    }
    Ok(writer.close(moment(scrapes.last().context("scrapes")?))?)
}

/// Milliseconds to read one series over the day, of many series.
fn read(recording: &Recording, path: &Path, day: &[Scraped]) -> anyhow::Result<Vec<f64>> {
    let last = day.last().context("scrapes")?.at;
    let (clock, _) = Clock::manual(last);
    let opened = open(path, Config::default(), clock, || 7)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut took = Vec::new();
    let step = recording.series.len().div_ceil(READS);
    for (at, labels) in recording.series.iter().enumerate().step_by(step) {
        let matchers = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let range = TimeRange { from: START, to: UnixMillis(last.0) };
        let query = SeriesQuery { matchers, range, samples_max: 1_000_000 };
        let (found, seconds) = timed(|| Ok(runtime.block_on(opened.store.read_series(query))?))?;
        let id = u32::try_from(at)? + 1;
        let expected = day.iter().filter(|scraped| scraped.values.binary_search_by_key(&id, |(id, _)| id.0).is_ok());
        let own = found.iter().find(|(found, _)| found == labels).map_or(0, |(_, samples)| samples.len());
        ensure!(own == expected.count(), "{own} samples of {labels}");
        took.push(seconds * 1000.0);
    }
    runtime.block_on(opened.store.close())?;
    Ok(took)
}
