//! PromQL over a day of one node's samples, at the real server over HTTP, beside Debian's Prometheus over the same samples.
//!
//! 500 counters every 15 s for 24 h: 2.9 million samples. The server gets them as a node's batches, blocks of 20 scrapes,
//! and puts them together as it does when a day is over;
//! Prometheus as blocks that promtool makes. Each query is asked several times at each, in turn, and the median counts.

use super::{Limit, Report, median};
use crate::lab::{Binaries, Lab, Running, free_port, wait_for};
use anyhow::{Context, ensure};
use skerry_chunk::{Column, MetricBlock};
use skerry_fleet::store;
use skerry_model::{Epoch, Labels, Seq, SeriesId, StreamKind, UnixMillis};
use skerry_wire::{Batch, Body};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const SERIES: u32 = 500;
const STEP_S: i64 = 15;
const START_S: i64 = 1_700_006_400;
/// Scrapes per block, as nodes send them.
const PER_BLOCK: i64 = 20;
/// How often each query is asked.
const TIMES: usize = 5;

/// The value of a series at a scrape: a counter whose rate varies.
fn value(series: u32, scrape: i64) -> f64 {
    let n = scrape as f64;
    let pace = f64::from(series % 17) + 1.0;
    (n * pace * 15.0 + (n / 40.0).sin() * pace * 200.0 + 1000.0 * pace).round()
}

fn labels(series: u32) -> Labels {
    let pairs = [
        ("__name__", "bench_total".to_owned()),
        ("mode", ["idle", "user", "system", "iowait"][(series % 4) as usize].to_owned()),
        ("series", series.to_string()),
    ];
    Labels::new(pairs).unwrap_or_default()
}

/// Runs it over `hours` of samples.
///
/// # Errors
/// If a program cannot be started, or an answer is wrong.
pub fn run(hours: i64, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    let scrapes = hours * 3600 / STEP_S;
    let mut report = Report::default();
    say("storing the samples at the server");
    let seconds = fill(&folder.path().join("data"), scrapes)?;
    let samples = f64::from(SERIES) * scrapes as f64;
    report.figure("samples", samples);
    report.figure("ingest_samples_per_s", samples / seconds);
    let bytes = std::fs::metadata(folder.path().join("data/fleet-data.db"))?.len() as f64;
    report.figure("centre_bytes_per_sample", bytes / samples);
    lab.start_server()?;
    say("making Prometheus's blocks of them");
    let peer = peer(folder.path(), scrapes)?;

    let (start, end) = (START_S + 3_607, START_S + hours * 3600);
    let all = format!("query=sum(rate(bench_total%5B5m%5D))&start={start}&end={end}&step=60");
    let modes = format!("query=sum%20by%20(mode)%20(rate(bench_total%5B5m%5D))&start={start}&end={end}&step=300");
    let one = format!("query=rate(bench_total%7Bseries%3D%227%22%7D%5B5m%5D)&start={start}&end={end}&step=60");
    let at = format!("query=topk(5,rate(bench_total%5B5m%5D))&time={}", START_S + hours * 1800 + 7);
    for (name, path) in [
        ("range_sum_rate_ms", format!("query_range?{all}")),
        ("range_by_mode_ms", format!("query_range?{modes}")),
        ("range_one_series_ms", format!("query_range?{one}")),
        ("instant_topk_ms", format!("query?{at}")),
    ] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            ours.push(timed(|| lab.text(&format!("/api/v1/{path}")))?);
            if let Some((_, port)) = &peer {
                theirs.push(timed(|| {
                    let url = format!("http://127.0.0.1:{port}/api/v1/{path}");
                    Ok(ureq::get(url).call()?.body_mut().with_config().limit(256 << 20).read_to_string()?)
                })?);
            }
        }
        let ours = median(&mut ours);
        report.figure(name, ours);
        if !theirs.is_empty() {
            let theirs = median(&mut theirs);
            report.peer(&format!("prometheus_{name}"), theirs);
            let ratio = name.replace("_ms", "_times_faster");
            if name == "range_sum_rate_ms" {
                report.limited(&ratio, theirs / ours, Limit::Min(1.0));
            } else {
                report.figure(&ratio, theirs / ours);
            }
        }
    }
    if let Some(id) = lab.server_id() {
        report.figure("server_rss_bytes", super::process::Account::read(id)?.rss_peak_bytes);
    }
    lab.stop_server()?;
    Ok(report)
}

/// Milliseconds that an answer took, and whether it was one.
fn timed(ask: impl Fn() -> anyhow::Result<String>) -> anyhow::Result<f64> {
    #[expect(clippy::disallowed_methods, reason = "the benchmark's own clock")]
    let began = Instant::now();
    let answer = ask()?;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    ensure!(answer.contains("\"values\":[[") || answer.contains("\"value\":["), "an empty answer: {answer:.200}");
    Ok(took)
}

/// Stores the samples as one node's; the seconds that took.
fn fill(folder: &Path, scrapes: i64) -> anyhow::Result<f64> {
    std::fs::create_dir_all(folder)?;
    let mut batches = Vec::new();
    for from in (0..scrapes).step_by(usize::try_from(PER_BLOCK)?) {
        let rows: Vec<i64> = (from..(from + PER_BLOCK).min(scrapes)).collect();
        let columns = (0..SERIES).map(|series| Column {
            series: SeriesId(series + 1),
            values: rows.iter().map(|scrape| Some(value(series, *scrape))).collect(),
        });
        let timestamps = rows.iter().map(|scrape| UnixMillis((START_S + scrape * STEP_S) * 1000)).collect();
        let block = MetricBlock { timestamps, columns: columns.collect() };
        let dict = if from == 0 {
            let entries: Vec<(SeriesId, Labels)> = (0..SERIES).map(|s| (SeriesId(s + 1), labels(s))).collect();
            skerry_chunk::dict::encode(&entries)?
        } else {
            Vec::new()
        };
        let number = |scrape: i64| anyhow::Ok(Seq(u64::try_from(scrape)? + 1));
        let (from, to) = (number(from)?, number(rows[rows.len() - 1])?);
        batches.push(Batch { epoch: Epoch(1), from, to, dict, body: Body::Block(block.encode()?) });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (data, thread) = store::open(&folder.join("fleet-data.db"), store::Config::default())?;
    #[expect(clippy::disallowed_methods, reason = "the benchmark's own clock")]
    let began = Instant::now();
    let now = skerry_agent::clock::Clock::system().wall();
    let mut took = 0.0;
    runtime.block_on(async {
        let node = "bench".parse()?;
        for batch in batches {
            data.ingest(&node, StreamKind::Metrics, batch, now).await?;
        }
        // As the server does once an hour is over; not part of the intake's time.
        took = began.elapsed().as_secs_f64();
        while data.compact(now + std::time::Duration::from_secs(3600)).await?.worked {}
        data.close().await;
        anyhow::Ok(())
    })?;
    drop(data);
    thread.join();
    Ok(took)
}

/// Prometheus with the same samples; `None` where it is not installed.
fn peer(folder: &Path, scrapes: i64) -> anyhow::Result<Option<(Running, u16)>> {
    if !["/usr/bin/prometheus", "/usr/bin/promtool"].iter().all(|program| Path::new(program).exists()) {
        return Ok(None);
    }
    let path = folder.join("data.txt");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    writeln!(file, "# TYPE bench unknown\n# TYPE bench_total unknown")?;
    for series in 0..SERIES {
        let labels = labels(series);
        for scrape in 0..scrapes {
            let (mode, at) = (labels.value("mode"), START_S + scrape * STEP_S);
            writeln!(
                file,
                "bench_total{{mode=\"{mode}\",node=\"bench\",series=\"{series}\"}} {} {at}",
                value(series, scrape)
            )?;
        }
    }
    writeln!(file, "# EOF")?;
    file.flush()?;
    let storage = folder.join("prometheus");
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=24h"]);
    let made = promtool.arg(&path).arg(&storage).output().context("promtool")?;
    ensure!(made.status.success(), "promtool: {}", String::from_utf8_lossy(&made.stderr));
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, "global: {}\n")?;
    let port = free_port()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", storage.display()));
    command.arg("--storage.tsdb.retention.time=100y").arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let running = Running::spawn(&mut command, &folder.join("prometheus.log"))?;
    wait_for("Prometheus", || Ok(ureq::get(format!("http://127.0.0.1:{port}/-/ready")).call().map(drop)?))?;
    Ok(Some((running, port)))
}
