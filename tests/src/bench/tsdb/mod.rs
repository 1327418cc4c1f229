//! The stores of samples: size at rest and on the wire, flash, append, read and intake, at the node and at the centre,
//! with a day of node_exporter's series at 15 s ([`super::recording`]), beside VictoriaMetrics taking in the same samples.
//!
//! Everything is the product's own code on real files: the node's store as its thread drives it but for the clock, which
//! the benchmark moves by 15 s a scrape; the centre's endpoint, intake and SQLite behind real TLS and MQTT connections.
//! Where flash is counted by the device, it is an ext4 on a loop device, journal included; a commit ends with its fsync
//! there as on a node, so that a day which passes in seconds writes what a day writes.

mod centre;
mod node;
mod victoria;

use super::recording::{Recording, Scraped, folder};
use super::{Limit, Report, median};
use std::time::Instant;

/// How often what takes time is measured; the median counts.
const TIMES: usize = 5;
/// How often reads of one series are measured, each of another series.
const READS: usize = 41;

/// Runs it over `hours` of samples.
///
/// # Errors
/// If a program cannot be started, or an answer is wrong.
pub fn run(hours: i64, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let scratch = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    let recording = Recording::read(&folder())?;
    let day = recording.day(hours);
    let mut report = Report::default();
    report.figure("series", recording.series.len() as f64);
    report.figure("hours", hours as f64);
    report.figure("hours_that_share_no_scrape", recording.distinct_hours().min(hours as f64));
    report.figure("samples", samples(&day));
    node::run(&recording, &day, scratch.path(), &mut report, say)?;
    centre::run(&recording, &day, scratch.path(), &mut report, say)?;
    Ok(report)
}

fn samples(day: &[Scraped]) -> f64 {
    day.iter().map(|scraped| scraped.values.len()).sum::<usize>() as f64
}

/// What a piece of work gave, and how many seconds it took.
fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    #[expect(clippy::disallowed_methods, reason = "the benchmark's own clock")]
    let began = Instant::now();
    let value = work()?;
    Ok((value, began.elapsed().as_secs_f64()))
}
