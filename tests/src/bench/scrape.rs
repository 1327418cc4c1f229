//! Reading an exposition of 1,000 lines, as node_exporter writes it: through the parser alone, and through a target's
//! whole memory, series by series, as the agent does at each scrape.

use super::process::own_cpu as cpu;
use super::{Limit, Report};
use anyhow::ensure;
use skerry_model::{Labels, UnixMillis};
use skerry_scrape::exposition::{Entry, Format, Parser};
use skerry_scrape::rounds::{Rounds, Settings};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Lines, those of HELP and TYPE among them.
const LINES: usize = 1000;
/// Chunks as the HTTP client hands them over, in bytes.
const CHUNK_BYTES: usize = 16 << 10;
const MB: f64 = 1e6;

/// The text of one scrape; values change from one to the next.
fn exposition(scrape: u64) -> String {
    let mut text = String::new();
    let mut lines = 0;
    let mut family = 0;
    while lines < LINES {
        family += 1;
        let name = format!("node_family{family}_seconds_total");
        let _ = writeln!(text, "# HELP {name} Seconds that something of the machine spent in each mode.");
        let _ = writeln!(text, "# TYPE {name} counter");
        lines += 2;
        for n in 0..(LINES - lines).min(8) {
            let value = (scrape * 15 + n as u64 * 977) as f64 / 100.0;
            let _ = writeln!(text, "{name}{{cpu=\"{}\",device=\"eth{n}\",mode=\"iowait\"}} {value}", n / 2);
            lines += 1;
        }
    }
    text
}

/// Runs each part for about that long, of one core's time.
///
/// # Errors
/// If the text is not read as it was written.
pub fn run(span: Duration, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let texts: Vec<String> = (0..16).map(exposition).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>() as f64 / texts.len() as f64;
    let mut report = Report::default();
    report.figure("exposition_bytes", bytes);
    say("parsing");
    let (begin, mut scrapes, mut samples) = (cpu(), 0u64, 0u64);
    while cpu() - begin < span {
        for text in &texts {
            let mut parser = Parser::new(Format::Prometheus);
            let mut each = |entry: Entry<'_>| samples += u64::from(matches!(entry, Entry::Sample(_)));
            for chunk in text.as_bytes().chunks(CHUNK_BYTES) {
                parser.feed(chunk, &mut each)?;
            }
            parser.finish(&mut each)?;
            scrapes += 1;
        }
    }
    let seconds = (cpu() - begin).as_secs_f64();
    report.figure("samples_per_scrape", samples as f64 / scrapes as f64);
    report.limited("parse_mb_per_s", scrapes as f64 * bytes / seconds / MB, Limit::Min(150.0));
    report.figure("parse_ns_per_sample", seconds * 1e9 / samples as f64);

    say("scraping one target again and again");
    let settings = Settings {
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        rules: Vec::new(),
        samples_max: 10_000,
        labels_max: None,
        label_name_bytes_max: None,
        label_value_bytes_max: None,
    };
    let mut rounds = Rounds::new(Labels::new([("job", "node"), ("instance", "n:9100")])?, Arc::new(settings));
    let (begin, mut scrapes, mut stored) = (cpu(), 0u64, 0u64);
    while cpu() - begin < span {
        for text in &texts {
            let mut round = rounds.begin(UnixMillis(i64::try_from(scrapes)? * 15_000), usize::MAX);
            let mut parser = Parser::new(Format::Prometheus);
            for chunk in text.as_bytes().chunks(CHUNK_BYTES) {
                parser.feed(chunk, &mut |entry: Entry<'_>| round.take(&entry))?;
            }
            parser.finish(&mut |entry: Entry<'_>| round.take(&entry))?;
            let outcome = round.finish(Duration::ZERO, Ok(()));
            ensure!(outcome.failure.is_none() && outcome.refused.is_empty(), "{outcome:?}");
            stored += outcome.scrapes.iter().map(|scrape| scrape.values.len() as u64).sum::<u64>();
            scrapes += 1;
        }
    }
    let seconds = (cpu() - begin).as_secs_f64();
    report.limited("scrape_mb_per_s", scrapes as f64 * bytes / seconds / MB, Limit::Min(150.0));
    report.figure("scrape_ns_per_sample", seconds * 1e9 / stored as f64);
    Ok(report)
}
