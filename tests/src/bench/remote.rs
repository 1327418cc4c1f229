//! Remote write at the centre: in from a sender, beside VictoriaMetrics that is sent the very same bodies, and out to
//! VictoriaMetrics after it was away.

use super::Report;
use crate::lab::{Binaries, Lab, free_port, wait_for};
use crate::peers::{Peer, is_installed, post};
use anyhow::{Context, ensure};
use skerry_model::{LabelsBuilder, Sample, UnixMillis};
use skerry_remote::{Protocol, Series, write};
use std::time::Duration;
use tokio::time::Instant;

/// Series of one sender, and samples of each in a request: as many as Prometheus puts into one.
const SERIES: u64 = 500;
const ROWS: i64 = 4;
/// Senders at a time.
const SENDERS: usize = 2;

/// The bodies of one sender: counters, gauges and constants as a node has them, 15 s apart, up to now.
fn bodies(sender: usize, requests: i64, now: UnixMillis) -> Vec<Vec<u8>> {
    let mut random = 7u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f64
    };
    let mut values = vec![0.0; SERIES as usize];
    let body = |request: i64| {
        let series = (0..SERIES).map(|id| {
            let labels = LabelsBuilder::metric(&format!("node_metric_{}_total", id / 8))
                .label("job", "node")
                .label("instance", format!("host-{sender}:9100"))
                .label("device", format!("dev{}", id % 8))
                .build();
            let value = &mut values[id as usize];
            let samples = (0..ROWS).map(|row| {
                match id % 3 {
                    0 => *value += (next() / 1e4).floor(),
                    1 => *value = next() / 128.0,
                    _ => {}
                }
                let before = (requests - request) * ROWS - row;
                Sample { at: UnixMillis(now.0 - before * 15_000), value: *value }
            });
            Series { labels, samples: samples.collect() }
        });
        write(Protocol::V1, &series.collect::<Vec<_>>())
    };
    (0..requests).map(body).collect()
}

/// Sends all bodies, one connection for each sender; the time it takes.
fn send(bodies: &[Vec<Vec<u8>>], url: impl Fn(usize) -> String, token: Option<&str>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let one = |(at, bodies): (usize, &Vec<Vec<u8>>)| {
            let url = url(at);
            let bodies = bodies.clone();
            scope.spawn(move || -> anyhow::Result<()> {
                for body in &bodies {
                    let (status, words) = post(&url, Protocol::V1.content_type(), body, token)?;
                    ensure!(status == 204, "{status} {words}");
                }
                Ok(())
            })
        };
        let all: Vec<_> = bodies.iter().enumerate().map(one).collect();
        all.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?)
    })?;
    Ok(start.elapsed())
}

/// Measures `requests` requests of 2,000 samples for each sender.
///
/// # Errors
/// If a program fails.
pub fn run(requests: i64, say: &impl Fn(&str)) -> anyhow::Result<Report> {
    ensure!(is_installed("victoria-metrics"), "install the Debian package victoria-metrics");
    let folder = tempfile::tempdir()?;
    let now = skerry_fleet::clock::system()();
    let bodies: Vec<_> = (0..SENDERS).map(|sender| bodies(sender, requests, now)).collect();
    let bytes: usize = bodies.iter().flatten().map(Vec::len).sum();
    #[expect(clippy::cast_sign_loss, reason = "both are positive")]
    let samples = (SERIES * (ROWS * requests) as u64 * SENDERS as u64) as f64;
    let mut report = Report::default();
    report.figure("samples", samples);
    report.figure("body_bytes_per_sample", bytes as f64 / samples);

    say("in: VictoriaMetrics");
    let victoria = Peer::victoria_metrics(&folder.path().join("in"))?;
    let theirs = samples / send(&bodies, |_| victoria.write_url(), None)?.as_secs_f64();
    report.peer("in_samples_per_s", theirs);
    drop(victoria);

    let port = free_port()?;
    let mut lab = Lab::init(Binaries::build()?, &folder.path().join("fleet"))?;
    let file = lab.folder.join("server/fleet.yaml");
    let text = std::fs::read_to_string(&file)?;
    let target = format!("remote_write: [{{url: 'http://127.0.0.1:{port}/api/v1/write', name: v}}]\n");
    std::fs::write(&file, format!("{text}\n{target}"))?;
    lab.start_server()?;
    say("in: the fleet, with a target that is away");
    let http = lab.http;
    let url = |sender| format!("http://127.0.0.1:{http}/api/v1/write?sender=s{sender}");
    let ours = samples / send(&bodies, url, Some(&lab.api_token))?.as_secs_f64();
    report.figure("in_samples_per_s", ours);
    report.figure("in_ratio_to_peer", ours / theirs);

    say("out: to VictoriaMetrics, which is back");
    let _victoria = Peer::victoria_metrics_at(&folder.path().join("out"), port)?;
    let start = Instant::now();
    wait_for("everything to be sent", || {
        let all = lab.api("/remote-write")?;
        let view = all["targets"].get(0).context("the target")?.clone();
        ensure!(view["sent_samples"].as_f64() == Some(samples), "{view}");
        Ok(())
    })?;
    report.figure("out_samples_per_s", samples / start.elapsed().as_secs_f64());
    lab.stop_server()?;
    Ok(report)
}
