//! Memory of routing: Debian's Alertmanager, and the agent's share of it, with the same config and the same alerts.

use super::Extent;
use crate::alone::Alone;
use crate::bench::process::Account;
use crate::bench::{Limit, Report};
use crate::lab::wait_for;
use crate::peers::is_installed;
use crate::routing::{Place, Recorder, Session, rfc3339};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long a program runs before its memory is read.
const SETTLE: Duration = Duration::from_secs(15);
const POST: usize = 100;

const CONFIG: &str = "
route:
  receiver: rest
  group_by: [alertname, site]
  group_wait: 1s
  group_interval: 5s
  repeat_interval: 1h
  routes:
    - {receiver: pager, matchers: [severity=critical], continue: true}
inhibit_rules:
  - {source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [site, instance]}
receivers:
  - {name: rest, webhook_configs: [{url: 'URL/rest'}]}
  - {name: pager, webhook_configs: [{url: 'URL/pager'}]}
";

fn alerts(from: usize, to: usize) -> Value {
    let starts = rfc3339(skerry_fleet::clock::system()());
    let one = |n: usize| {
        let severity = ["warning", "critical", "info"][n % 3];
        json!({
            "labels": {
                "alertname": format!("Bench{}", n % 20), "site": format!("site-{}", n % 7), "device": format!("dev{n}"),
                "instance": format!("host-{n}:9100"), "severity": severity,
            },
            "annotations": {
                "summary": format!("Something of host-{n} is not as it should be"),
                "description": "What it means and what to do about it stands here, in two sentences. This is the second.",
            },
            "startsAt": starts, "generatorURL": "http://localhost:9090/graph?g0.expr=up",
        })
    };
    (from..to).map(one).collect()
}

/// Posts all alerts, waits until every one was told, and reads the memory.
fn loaded(session: &Session, recorder: &Recorder, count: usize) -> anyhow::Result<f64> {
    for from in (0..count).step_by(POST) {
        let (status, text) = session.post("/alerts", &alerts(from, (from + POST).min(count)))?;
        ensure!(status == 200, "{status} {text}");
    }
    // Warnings of a host that has something critical would be held back; no host has both.
    wait_for("all alerts to be told", || {
        let mut told = BTreeSet::new();
        for webhook in recorder.webhooks() {
            let alerts = webhook.body["alerts"].as_array().cloned().unwrap_or_default();
            told.extend(alerts.iter().map(|alert| alert["fingerprint"].to_string()));
        }
        ensure!(told.len() == count, "{} of {count}", told.len());
        Ok(())
    })?;
    std::thread::sleep(SETTLE);
    Ok(Account::read(session.id()?)?.rss_bytes)
}

fn measured(place: Place, folder: &Path, count: usize) -> anyhow::Result<f64> {
    let recorder = Recorder::start()?;
    let session = place.start(folder, &CONFIG.replace("URL", &recorder.url()))?;
    std::thread::sleep(SETTLE);
    loaded(&session, &recorder, count)
}

pub(super) fn run(extent: &Extent, report: &mut Report, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    say("routing's share of the agent's memory");
    let bare_folder = folder.path().join("bare");
    std::fs::create_dir_all(&bare_folder)?;
    let mut bare = Alone::new(&bare_folder, "")?;
    bare.start()?;
    std::thread::sleep(SETTLE * 3);
    let without = Account::read(bare.id().context("it runs")?)?.rss_bytes;
    bare.kill();
    let with = measured(Place::Agent, &folder.path().join("ours"), extent.alerts)?;
    let share = (with - without).max(0.0);
    report.figure("routing_alerts", extent.alerts as f64);
    report.figure("routing_agent_rss_bytes", with);
    if !is_installed("prometheus-alertmanager") {
        say("the peer's figures are left out: install the Debian package prometheus-alertmanager");
        report.figure("routing_share_bytes", share);
        return Ok(());
    }
    say("the same in Alertmanager");
    let theirs = measured(Place::Alertmanager, &folder.path().join("theirs"), extent.alerts)?;
    report.peer("alertmanager_rss_bytes", theirs);
    report.limited("routing_share_bytes", share, Limit::Max((theirs / 10.0).round()));
    Ok(())
}
