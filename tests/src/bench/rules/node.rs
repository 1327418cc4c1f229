//! 200 rules over 500 series: CPU of a round, beside Prometheus with the same file and the same samples.

use super::{Extent, RULES, rule_file};
use crate::bench::process::{Account, own_cpu};
use crate::bench::{Limit, Report};
use crate::peers::{Peer, is_installed, post};
use anyhow::{Context, ensure};
use skerry_alerting::Now;
use skerry_alerting::rules::{Engine, RuleFile, Settings};
use skerry_alerting::window::{Window, WindowSource};
use skerry_model::{Labels, LabelsBuilder, Mono, Sample, UnixMillis};
use skerry_promql::{Matcher, Selected, Source, SourceError};
use skerry_remote::{Protocol, Series, write};
use std::time::Duration;
use tokio::time::Instant;

const METRICS: usize = 50;
const SERIES: usize = 500;
const STEP_MS: i64 = 15_000;
/// Scrapes before the first round: every window is full.
const BEFORE: i64 = 40;

/// Nothing lies behind: what is not in memory is no sample.
pub(super) struct Nothing;

impl Source for Nothing {
    fn select(&self, _: &[Matcher], _: UnixMillis, _: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        Ok(Vec::new())
    }
}

fn metrics() -> Vec<String> {
    (0..METRICS).map(|metric| format!("node_bench_{metric}_seconds_total")).collect()
}

fn all_labels() -> Vec<Labels> {
    let metrics = metrics();
    let labels = |n: usize| {
        let mode = ["idle", "user", "system", "iowait"][n % 4];
        LabelsBuilder::metric(&metrics[n % METRICS]).label("device", format!("dev{}", n / METRICS)).label("mode", mode)
    };
    (0..SERIES).map(|n| labels(n).build()).collect()
}

/// Two thirds of a node's series stand still.
fn value(series: usize, scrape: i64) -> f64 {
    if series.is_multiple_of(3) { (scrape * (series as i64 + 1)) as f64 / 10.0 } else { series as f64 }
}

pub(super) fn run(extent: &Extent, report: &mut Report, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let text = rule_file(&metrics());
    report.figure("rules", RULES as f64);
    report.figure("series", SERIES as f64);
    say("200 rules over 500 series");
    let (cpu, values, firing) = ours(&text, extent.rounds)?;
    report.limited("node_cpu_ms_per_round", cpu.as_secs_f64() * 1000.0, Limit::Max(20.0));
    report.figure("node_values_per_round", values);
    report.figure("node_alerts_firing", firing);
    if !is_installed("prometheus") {
        say("the peer's figures are left out: install the Debian package prometheus");
        return Ok(());
    }
    say("the same in Prometheus");
    theirs(&text, extent.peer, report)
}

/// CPU of a round, values it touched, and alerts that fire after the last one.
fn ours(text: &str, rounds: i64) -> anyhow::Result<(Duration, f64, f64)> {
    let labels = all_labels();
    let (file, _) = RuleFile::parse("bench.yml", text)?;
    let begin = UnixMillis(1_700_000_000_000);
    let now = |scrape: i64| Now { wall: UnixMillis(begin.0 + scrape * STEP_MS), mono: Mono((scrape * STEP_MS) as u64) };
    let mut engine = Engine::new(vec![("bench.yml".into(), file)], Settings::default(), None, now(0));
    let mut window = Window::new(&engine.needs(), 64 << 20, UnixMillis(begin.0 - 3_600_000));
    let (mut spent, mut values, mut done) = (Duration::ZERO, 0, 0);
    for scrape in 0..BEFORE + rounds {
        let now = now(scrape);
        let rows: Vec<f64> = (0..SERIES).map(|series| value(series, scrape)).collect();
        let began = own_cpu();
        window.push(now.wall, labels.iter().zip(rows));
        for turn in engine.due(now) {
            window.trim(now.wall);
            let round = engine.evaluate(turn, &WindowSource { window: &window, behind: &Nothing }, now);
            ensure!(round.errors.is_empty(), "{:?}", round.errors);
            for (labels, sample) in &round.samples {
                window.push(sample.at, [(labels, sample.value)]);
            }
            if scrape >= BEFORE {
                (values, done) = (values + round.values, done + 1);
            }
        }
        if scrape >= BEFORE {
            spent += own_cpu() - began;
        }
    }
    ensure!(done == rounds, "{done} rounds of {rounds}");
    let firing = engine.groups().iter().flat_map(|group| &group.rules).map(active).sum::<usize>();
    ensure!(firing > 0, "nothing fires");
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "some hundreds")]
    let per_round = spent / rounds as u32;
    Ok((per_round, values as f64 / rounds as f64, firing as f64))
}

fn active(rule: &skerry_alerting::rules::RuleStatus) -> usize {
    rule.alerting.as_ref().map_or(0, |alerting| alerting.alerts.len())
}

/// Prometheus is sent the samples, evaluates the same file, and says how long a round took it.
fn theirs(text: &str, span: Duration, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, text)?;
    let config = format!("global: {{evaluation_interval: 15s}}\nrule_files: ['{}']\n", rules.display());
    let peer = Peer::prometheus(&folder.path().join("peer"), &config)?;
    let labels = all_labels();
    let begin = skerry_fleet::clock::system()().0 - BEFORE * STEP_MS;
    let send = |scrapes: std::ops::Range<i64>| -> anyhow::Result<()> {
        let samples = |series: usize| {
            let sample = |scrape| Sample { at: UnixMillis(begin + scrape * STEP_MS), value: value(series, scrape) };
            scrapes.clone().map(sample).collect()
        };
        let all = labels.iter().enumerate().map(|(n, labels)| Series { labels: labels.clone(), samples: samples(n) });
        let body = write(Protocol::V1, &all.collect::<Vec<_>>());
        let (status, words) = post(&peer.write_url(), Protocol::V1.content_type(), &body, None)?;
        ensure!(status == 204, "{status} {words}");
        Ok(())
    };
    send(0..BEFORE)?;
    let (mut scrape, started) = (BEFORE, Instant::now());
    let feed = |scrape: &mut i64, until: Duration| -> anyhow::Result<()> {
        while started.elapsed() < until {
            #[expect(clippy::cast_sign_loss, reason = "it rises from zero")]
            let due = Duration::from_millis(((*scrape - BEFORE) * STEP_MS) as u64);
            std::thread::sleep(due.saturating_sub(started.elapsed()).min(Duration::from_millis(200)));
            if started.elapsed() >= due {
                send(*scrape..*scrape + 1)?;
                *scrape += 1;
            }
        }
        Ok(())
    };
    // The first rounds build what later ones have.
    feed(&mut scrape, Duration::from_secs(20))?;
    let before = (Account::read(peer.id())?, rounds(&peer)?);
    feed(&mut scrape, Duration::from_secs(20) + span)?;
    let after = (Account::read(peer.id())?, rounds(&peer)?);
    let count = after.1.1 - before.1.1;
    ensure!(count > 0.0, "Prometheus evaluated nothing");
    report.peer("prometheus_rules_ms_per_round", (after.1.0 - before.1.0) / count * 1000.0);
    report.peer("prometheus_cpu_ms_per_round", (after.0.cpu - before.0.cpu).as_secs_f64() * 1000.0 / count);
    report.peer("prometheus_rss_bytes", after.0.rss_bytes);
    Ok(())
}

/// Seconds that all evaluations took Prometheus, and how many there were.
fn rounds(peer: &Peer) -> anyhow::Result<(f64, f64)> {
    let text = peer.text("/metrics")?;
    let number = |name: &str| -> anyhow::Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        Ok(line.trim().parse()?)
    };
    Ok((
        number("prometheus_rule_group_duration_seconds_sum ")?,
        number("prometheus_rule_group_duration_seconds_count ")?,
    ))
}
