//! What nodes are and sent.

use super::Session;
use super::args::{Format, QueryArgs};
use super::output::{note, show};
use super::table::{facts, table};
use crate::api::view::{EventList, ForwardList, LossList, NodeDetail, NodeList, NodeView, TargetList};
use crate::clock::{ago, utc};
use skerry_model::{NodeId, UnixMillis};
use std::time::Duration;

pub(super) fn nodes(session: &Session, format: Format) -> anyhow::Result<()> {
    let list: NodeList = session.client.get("/nodes", &[])?;
    show(format, &list, |wide| {
        let row = |view: &NodeView| {
            let mut row = vec![
                view.node.clone(),
                state(view),
                seen(view, session.now),
                view.backlog.values().sum::<u64>().to_string(),
                view.samples.to_string(),
                view.log_lines.to_string(),
                view.losses.to_string(),
                configs(view),
            ];
            if wide {
                row.push(view.agent_version.clone().unwrap_or_default());
                row.push(view.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(","));
                row.push(view.fingerprint.clone());
            }
            row.push(view.problems.first().cloned().unwrap_or_default());
            row
        };
        let rows: Vec<_> = list.nodes.iter().map(row).collect();
        let mut head = vec!["NODE", "STATE", "SEEN", "BACKLOG", "SAMPLES", "LOG LINES", "LOSSES", "CONFIG"];
        if wide {
            head.extend(["AGENT", "LABELS", "FINGERPRINT"]);
        }
        head.push("PROBLEM");
        table(&head, &rows)
    })
}

pub(super) fn remote_write(session: &Session, format: Format) -> anyhow::Result<()> {
    let list: TargetList = session.client.get("/remote-write", &[])?;
    show(format, &list, |wide| {
        let rows = list.targets.iter().map(|target| {
            let failing = target.failing_since_ms.map(|since| ago(session.now, UnixMillis(since)));
            let mut row = vec![
                target.name.clone(),
                failing.map_or_else(|| "ok".into(), |since| format!("failing for {since}")),
                format!("{:.0}s", target.lag_seconds),
                target.sent_samples.to_string(),
                target.refused_samples.to_string(),
            ];
            if wide {
                row.push(target.failed_requests.to_string());
                row.push(target.url.clone());
            }
            row.push(target.error.clone().unwrap_or_default());
            row
        });
        let mut head = vec!["TARGET", "STATE", "LAG", "SENT", "REFUSED"];
        if wide {
            head.extend(["RETRIES", "URL"]);
        }
        head.push("PROBLEM");
        table(&head, &rows.collect::<Vec<_>>())
    })
}

pub(super) fn forward(session: &Session, format: Format) -> anyhow::Result<()> {
    let list: ForwardList = session.client.get("/forward", &[])?;
    show(format, &list, |wide| {
        let rows = list.targets.iter().map(|target| {
            let failing = target.failing_since_ms.map(|since| ago(session.now, UnixMillis(since)));
            let mut row = vec![
                target.name.clone(),
                target.kind.clone(),
                failing.map_or_else(|| "ok".into(), |since| format!("failing for {since}")),
                format!("{:.0}s", target.lag_seconds),
                target.sent_records.to_string(),
                target.refused_records.to_string(),
            ];
            if wide {
                row.push(target.excluded_records.to_string());
                row.push(target.failed_requests.to_string());
                row.push(target.address.clone());
            }
            row.push(target.error.clone().unwrap_or_default());
            row
        });
        let mut head = vec!["TARGET", "KIND", "STATE", "LAG", "SENT", "REFUSED"];
        if wide {
            head.extend(["LEFT OUT", "RETRIES", "ADDRESS"]);
        }
        head.push("PROBLEM");
        table(&head, &rows.collect::<Vec<_>>())
    })
}

pub(super) fn describe(session: &Session, node: &NodeId, format: Format) -> anyhow::Result<()> {
    let detail: NodeDetail = session.client.get(&format!("/nodes/{node}"), &[("newest", "500".into())])?;
    show(format, &detail, |_| {
        let view = &detail.node;
        let moment = |at: i64| format!("{} UTC", utc(UnixMillis(at)));
        let pairs = |map: &std::collections::BTreeMap<String, String>| {
            map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", ")
        };
        let backlog: Vec<_> = view.backlog.iter().map(|(stream, n)| format!("{stream} {n}")).collect();
        let mut text = facts(&[
            ("Node", Some(view.node.clone())),
            ("State", Some(state(view))),
            ("Last seen", Some(seen(view, session.now))),
            ("Address", detail.peer.clone()),
            ("Host", detail.host.as_ref().map(|h| format!("{} ({}, {})", h.hostname, h.os, h.arch))),
            ("Kernel", detail.host.as_ref().map(|h| h.kernel.clone())),
            ("CPUs", detail.host.as_ref().map(|h| h.cpus.to_string())),
            ("Memory", detail.host.as_ref().map(|h| format!("{} MiB", h.memory_bytes >> 20))),
            ("Agent", view.agent_version.clone()),
            ("Agent memory", detail.rss_bytes.map(|bytes| format!("{} MiB", bytes >> 20))),
            ("Agent database", detail.db_bytes.map(|bytes| format!("{} KiB", bytes >> 10))),
            ("Clock trusted", detail.time_trusted.map(|yes| if yes { "yes" } else { "no" }.into())),
            ("Fingerprint", Some(view.fingerprint.clone())),
            ("Joined", detail.enrolled_ms.map(moment)),
            ("Certificate until", detail.cert_not_after_ms.map(moment)),
            (
                "Assignment",
                detail.assignment.as_ref().map(|a| format!("{}.{}: {}", a.epoch, a.version, a.streams.join(", "))),
            ),
            ("Labels", detail.assignment.as_ref().map(|a| pairs(&a.labels))),
            ("Configs", Some(configs(view))),
            ("Backlog", Some(backlog.join(", "))),
            ("Batches", Some(view.batches.to_string())),
            ("Samples", Some(view.samples.to_string())),
            ("Log lines", Some(view.log_lines.to_string())),
            ("Losses", Some(view.losses.to_string())),
            ("Problems", Some(view.problems.join("; "))),
        ]);
        let events: Vec<_> =
            detail.events.iter().map(|e| vec![utc(UnixMillis(e.at_ms)), e.kind.clone(), e.text.clone()]).collect();
        text.push_str("\nNewest events:\n");
        text.push_str(&table(&["TIME (UTC)", "KIND", "WHAT"], &events));
        text.push_str(&format!("\n{} series; `skerry query` reads them.\n", detail.newest.len()));
        text
    })
}

pub(super) fn events(session: &Session, node: &NodeId, limit: u32, format: Format) -> anyhow::Result<()> {
    let list: EventList = session.client.get(&format!("/nodes/{node}/events"), &[("limit", limit.to_string())])?;
    show(format, &list, |_| {
        let rows: Vec<_> =
            list.events.iter().map(|e| vec![utc(UnixMillis(e.at_ms)), e.kind.clone(), e.text.clone()]).collect();
        table(&["TIME (UTC)", "KIND", "WHAT"], &rows)
    })
}

pub(super) fn losses(session: &Session, node: &NodeId, limit: u32, format: Format) -> anyhow::Result<()> {
    let list: LossList = session.client.get(&format!("/nodes/{node}/losses"), &[("limit", limit.to_string())])?;
    show(format, &list, |_| {
        let row = |loss: &crate::api::view::LossView| {
            vec![
                loss.stream.clone(),
                loss.reason.clone(),
                loss.count.map_or("unknown".into(), |n| n.to_string()),
                utc(UnixMillis(loss.from_ms)),
                utc(UnixMillis(loss.to_ms)),
                loss.source.clone(),
            ]
        };
        let rows: Vec<_> = list.losses.iter().map(row).collect();
        table(&["STREAM", "REASON", "RECORDS", "FROM (UTC)", "TO", "SOURCE"], &rows)
    })
}

pub(super) fn query(session: &Session, args: &QueryArgs, format: Format) -> anyhow::Result<()> {
    let seconds = |at: UnixMillis| at.as_secs_f64().to_string();
    let mut asked = vec![("query", args.expression.clone())];
    let start = args.since.map(|since| {
        let back = i64::try_from(since.0.as_millis()).unwrap_or(i64::MAX);
        seconds(UnixMillis(session.now.0.saturating_sub(back)))
    });
    let path = match start.or_else(|| args.start.clone()) {
        None => {
            asked.extend(args.time.clone().map(|time| ("time", time)));
            "/query"
        }
        Some(start) => {
            asked.push(("start", start));
            asked.push(("end", args.end.clone().unwrap_or_else(|| seconds(session.now))));
            asked.push(("step", args.step.to_string()));
            "/query_range"
        }
    };
    asked.extend(args.at.iter().map(|node| ("node", node.to_string())));
    asked.extend(args.selector.iter().map(|selector| ("node_selector", selector.clone())));
    asked.extend(args.timeout.iter().map(|timeout| ("timeout", timeout.to_string())));
    // What nodes leave out is among the warnings; where none answers, the answer is an error.
    let wait = args.timeout.map_or(Duration::ZERO, |timeout| timeout.0);
    let answer: serde_json::Value = session.client.get_within(path, &asked, wait)?;
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        note(&format!("warning: {}", warning.as_str().unwrap_or_default()));
    }
    show(format, &answer, |_| {
        let mut rows = Vec::new();
        if let Some([_, value]) = answer["data"]["result"]
            .as_array()
            .map(Vec::as_slice)
            .filter(|pair| pair.first().is_some_and(serde_json::Value::is_number))
        {
            return format!("{}\n", value.as_str().unwrap_or_default());
        }
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let name = metric(&series["metric"]);
            let single = series["value"].as_array().map(|pair| vec![pair.clone()]);
            let many =
                series["values"].as_array().map(|pairs| pairs.iter().filter_map(|p| p.as_array().cloned()).collect());
            for pair in single.or(many).into_iter().flatten() {
                #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
                let at = pair.first().and_then(serde_json::Value::as_f64).map(|s| utc(UnixMillis((s * 1000.0) as i64)));
                let value = pair.get(1).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
                rows.push(vec![value, at.unwrap_or_default(), name.clone()]);
            }
        }
        table(&["VALUE", "TIME (UTC)", "SERIES"], &rows)
    })
}

/// A series as PromQL writes it.
fn metric(labels: &serde_json::Value) -> String {
    let mut name = String::new();
    let mut pairs = Vec::new();
    for (label, value) in labels.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if label == "__name__" {
            value.clone_into(&mut name);
        } else {
            pairs.push(format!("{label}={value:?}"));
        }
    }
    format!("{name}{{{}}}", pairs.join(","))
}

fn state(view: &NodeView) -> String {
    if view.state == "approved" { view.reach.clone() } else { view.state.clone() }
}

fn seen(view: &NodeView, now: UnixMillis) -> String {
    view.last_seen_ms.map_or_else(|| "never".into(), |at| format!("{} ago", ago(now, UnixMillis(at))))
}

fn configs(view: &NodeView) -> String {
    view.configs.iter().map(|c| format!("{} {}.{}", c.stream, c.epoch, c.version)).collect::<Vec<_>>().join(", ")
}
