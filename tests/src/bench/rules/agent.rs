//! The real agent: its memory with 200 rules over 500 series, and how long a notice takes from the moment of the
//! evaluation that fires to a webhook on the same machine.

use super::{Extent, rule_file};
use crate::alone::Alone;
use crate::bench::footprint::proc_tree;
use crate::bench::process::Account;
use crate::bench::{Limit, Report, median};
use crate::lab::wait_for;
use crate::routing::Recorder;
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const SERIES: usize = 500;

pub(super) fn run(extent: &Extent, report: &mut Report, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    say("the agent's memory with 200 rules");
    memory(extent, &folder.path().join("memory"), report)?;
    say("from an evaluation to a notice");
    latency(extent, &folder.path().join("latency"), report)
}

/// Metrics of an agent, those with most series first.
fn metrics(agent: &Alone) -> anyhow::Result<(Vec<String>, usize)> {
    let text = wait_for("metrics", || {
        let text = ureq::get(format!("{}/metrics", agent.url())).call()?.body_mut().read_to_string()?;
        ensure!(text.contains("node_network_"), "no round of collection yet");
        Ok(text)
    })?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for name in samples.filter_map(|line| line.split(['{', ' ']).next()) {
        *counts.entry(name).or_default() += 1;
    }
    let series = counts.values().sum();
    let mut names: Vec<&str> = counts.keys().copied().filter(|name| name.starts_with("node_")).collect();
    names.sort_by_key(|name| std::cmp::Reverse(counts[name]));
    Ok((names.into_iter().take(50).map(str::to_owned).collect(), series))
}

fn memory(extent: &Extent, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let roots = format!("roots:\n  proc: {}\n", proc_tree(folder)?.display());
    let mut before = Alone::every("15s", folder, &roots)?;
    before.start()?;
    let (names, series) = metrics(&before)?;
    ensure!(series >= SERIES && names.len() == 50, "{series} series of {} metrics", names.len());
    std::thread::sleep(extent.settle);
    let bare = Account::read(before.id().context("it runs")?)?;
    before.kill();

    let rules = folder.join("rules.yml");
    std::fs::write(&rules, rule_file(&names))?;
    let sections = format!(
        "{roots}rules:\n  evaluation_interval: 15s\n  files: ['{}']\nalerting:\n  config:\n    route: {{receiver: nobody}}\n    \
         receivers: [{{name: nobody}}]\n",
        rules.display()
    );
    let mut agent = Alone::every("15s", folder, &sections)?;
    agent.start()?;
    let id = agent.id().context("it runs")?;
    std::thread::sleep(extent.settle);
    let text = ureq::get(format!("{}/api/v1/rules", agent.url())).call()?.body_mut().read_to_string()?;
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    let groups = answer["data"]["groups"].as_array().context("groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
    let well = rules.filter(|rule| rule["health"] == "ok").count();
    ensure!(well == super::RULES, "{well} rules are evaluated\n{}", agent.log());
    let account = Account::read(id)?;
    report.figure("agent_series", series as f64);
    report.limited("agent_rss_bytes", account.rss_peak_bytes, Limit::Max(f64::from(20 << 20)));
    report.figure("agent_rss_bytes_without_rules", bare.rss_peak_bytes);
    let took = groups.iter().filter_map(|group| group["evaluationTime"].as_f64()).sum::<f64>();
    report.figure("agent_evaluation_ms", took * 1000.0);
    agent.kill();
    Ok(())
}

/// Each second another alert begins to fire.
fn latency(extent: &Extent, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let recorder = Recorder::start()?;
    let wall = skerry_fleet::clock::system();
    let began = wall();
    let first = began.0 / 1000 + 12;
    let mut text = String::from("groups:\n- name: latency\n  interval: 1s\n  rules:\n");
    for n in 0..extent.notices {
        let _ = writeln!(text, "  - alert: Fires{n}\n    expr: vector(time()) > {}", first + n as i64);
    }
    let rules = folder.join("rules.yml");
    std::fs::write(&rules, text)?;
    let sections = format!(
        "rules:\n  files: ['{}']\nalerting:\n  config:\n    route: {{receiver: hook, group_by: [alertname], group_wait: 0s, \
         group_interval: 1s, repeat_interval: 1h}}\n    receivers: [{{name: hook, webhook_configs: [{{url: '{}/hook'}}]}}]\n",
        rules.display(),
        recorder.url()
    );
    let mut agent = Alone::new(folder, &sections)?;
    agent.start()?;
    let wanted = extent.notices;
    std::thread::sleep(Duration::from_secs(12 + wanted as u64));
    let webhooks = wait_for("the notices", || {
        let webhooks = recorder.webhooks();
        ensure!(webhooks.len() >= wanted, "{} of {wanted} notices\n{}", webhooks.len(), agent.log());
        Ok(webhooks)
    })?;
    agent.kill();
    let mut took = Vec::new();
    for webhook in &webhooks {
        let starts = webhook.body["alerts"][0]["startsAt"].as_str().context("when it began")?;
        let fired = crate::routing::millis(starts).with_context(|| starts.to_owned())?;
        let arrived = began + webhook.at;
        took.push((arrived.0 - fired.0) as f64);
    }
    took.sort_by(f64::total_cmp);
    let high = took[took.len() * 95 / 100];
    report.limited("notice_ms_p95", high, Limit::Max(100.0));
    report.figure("notice_ms_median", median(&mut took));
    Ok(())
}
