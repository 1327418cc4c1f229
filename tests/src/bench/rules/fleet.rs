//! 1,000 rules over the newest samples of 10,000 nodes: what one round of all of them costs the centre.
//!
//! The same engine and the same window as the fleet server's, fed as blocks of nodes feed it.

use super::Extent;
use super::node::Nothing;
use crate::bench::process::own_cpu;
use crate::bench::{Limit, Report};
use anyhow::ensure;
use skerry_alerting::Now;
use skerry_alerting::rules::{Engine, Limits, RuleFile, Settings};
use skerry_alerting::window::{Window, WindowSource};
use skerry_model::{Labels, LabelsBuilder, Mono, UnixMillis};
use std::fmt::Write as _;
use std::time::Duration;

const RULES: usize = 1000;
/// Of each node.
const METRICS: usize = 10;
const SCRAPES: i64 = 20;
const STEP_MS: i64 = 15_000;

/// Half of the rules compare the newest value, as most do that look for something wrong; the rest compare rates, two
/// metrics with each other, or sites.
fn rules() -> String {
    let mut text = String::from("groups:\n");
    for rule in 0..RULES {
        if rule % 50 == 0 {
            let _ = writeln!(text, "- name: group{}\n  interval: 15s\n  rules:", rule / 50);
        }
        let metric = |n: usize| format!("edge_metric_{}", (rule / 10 + n) % METRICS);
        let expr = match rule % 10 {
            0..=5 => format!("{} > {}", metric(0), 1_000_000 + rule),
            6 => format!("rate({}[2m]) > {}", metric(0), 1_000_000 + rule),
            7 => format!("{} / {} > {}", metric(0), metric(1), 1_000_000 + rule),
            8 => format!("{} > 1 and {} > {}", metric(0), metric(1), 1_000_000 + rule),
            _ => format!("sum by (site) ({}) > 1e12", metric(0)),
        };
        let _ = writeln!(text, "  - alert: Fleet{rule}\n    expr: '{expr}'\n    for: 1m");
    }
    text.push_str("  - alert: Some\n    expr: 'edge_metric_0 <= 10'\n");
    text
}

fn labels(node: usize) -> Vec<Labels> {
    let one = |metric: usize| {
        let labels = LabelsBuilder::metric(&format!("edge_metric_{metric}")).label("node", format!("edge-{node:05}"));
        labels.label("site", format!("site-{:03}", node % 200)).label("role", "gateway").build()
    };
    (0..METRICS).map(one).collect()
}

pub(super) fn run(extent: &Extent, report: &mut Report, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    say("1,000 rules over the newest samples of all nodes");
    let (file, _) = RuleFile::parse("fleet.yml", &rules())?;
    let begin = UnixMillis(1_700_000_000_000);
    let now = |step: i64| Now { wall: UnixMillis(begin.0 + step * STEP_MS), mono: Mono((step * STEP_MS) as u64) };
    // As the fleet server has them.
    let query = skerry_promql::Limits { values_max: 20_000_000, ..skerry_promql::Limits::default() };
    let limits = Limits { query, rule_alerts_max: 20_000, alerts_max: 100_000, ..Limits::default() };
    let settings = Settings { interval: Duration::from_secs(15), limits, ..Settings::default() };
    let mut engine = Engine::new(vec![("fleet.yml".into(), file)], settings, None, now(0));
    let mut window = Window::new(&engine.needs(), 512 << 20, UnixMillis(begin.0 - 3_600_000));
    let nodes: Vec<Vec<Labels>> = (0..extent.nodes).map(labels).collect();
    let (mut fed, mut spent, mut worst, mut rounds) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0u32);
    for step in 0..SCRAPES + 4 {
        let began = own_cpu();
        for (n, labels) in nodes.iter().enumerate() {
            // Each node has its own second; half of what it measures stands still.
            let at = UnixMillis(now(step).wall.0 - (n as i64 * 37) % STEP_MS);
            let value =
                |metric: usize| if metric.is_multiple_of(2) { (n + 1) as f64 } else { (n as i64 + step) as f64 };
            window.push(at, labels.iter().enumerate().map(|(metric, labels)| (labels, value(metric))));
        }
        fed += own_cpu() - began;
        if step < SCRAPES {
            // Groups whose slot passes meanwhile are not what is measured.
            engine.due(now(step));
            continue;
        }
        let (began, now) = (own_cpu(), now(step));
        window.trim(now.wall);
        let (mut alerts, turns) = (0, engine.due(now));
        ensure!(turns.len() == RULES / 50, "{} groups are due", turns.len());
        for turn in turns {
            let round = engine.evaluate(turn, &WindowSource { window: &window, behind: &Nothing }, now);
            ensure!(round.errors.is_empty(), "{:?}", round.errors);
            alerts += round.changes.len();
            for (labels, sample) in &round.samples {
                window.push(sample.at, [(labels, sample.value)]);
            }
        }
        ensure!(rounds > 0 || alerts == 10, "{alerts} alerts, 10 nodes have one");
        let took = own_cpu() - began;
        (spent, worst, rounds) = (spent + took, worst.max(took), rounds + 1);
    }
    report.figure("fleet_nodes", extent.nodes as f64);
    report.figure("fleet_rules", RULES as f64);
    report.figure("fleet_series", window.stats().series as f64);
    report.limited("fleet_cpu_s_per_round", (spent / rounds).as_secs_f64(), Limit::Max(15.0));
    report.figure("fleet_cpu_s_per_round_worst", worst.as_secs_f64());
    report.figure("fleet_window_bytes", window.stats().bytes as f64);
    let samples = nodes.len() as f64 * METRICS as f64 * (SCRAPES + 4) as f64;
    report.figure("fleet_feed_ns_per_sample", fed.as_secs_f64() * 1e9 / samples);
    Ok(())
}
