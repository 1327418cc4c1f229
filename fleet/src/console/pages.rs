//! What stands on the pages.

use crate::api::view::{LogView, NodeDetail, NodeView};
use crate::clock::{ago, utc};
use askama::Template;
use skerry_model::{NodeId, UnixMillis};
use std::collections::BTreeMap;

/// The list of nodes.
#[derive(Template)]
#[template(path = "nodes.html")]
pub(super) struct NodesPage {
    nodes: Vec<NodeLine>,
    connected: usize,
    samples: String,
    log_lines: String,
    backlog: u64,
    at: String,
}

/// A node in the list.
struct NodeLine {
    name: String,
    /// What is shown as its state, and its style's name.
    state: String,
    seen: String,
    labels: String,
    backlog: u64,
    samples: String,
    log_lines: String,
    configs: String,
    losses: u64,
    problems: Vec<String>,
}

impl NodesPage {
    pub(super) fn new(views: Vec<NodeView>, now: UnixMillis) -> Self {
        Self {
            connected: views.iter().filter(|view| view.reach == "connected").count(),
            samples: grouped(views.iter().map(|view| view.samples).sum()),
            log_lines: grouped(views.iter().map(|view| view.log_lines).sum()),
            backlog: views.iter().map(backlog).sum(),
            at: utc(now),
            nodes: views.into_iter().map(|view| NodeLine::new(view, now)).collect(),
        }
    }
}

impl NodeLine {
    fn new(view: NodeView, now: UnixMillis) -> Self {
        Self {
            state: state(&view),
            seen: seen(&view, now),
            labels: view.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
            backlog: backlog(&view),
            samples: grouped(view.samples),
            log_lines: grouped(view.log_lines),
            configs: configs(&view),
            losses: view.losses,
            problems: view.problems,
            name: view.node,
        }
    }
}

/// One node.
#[derive(Template)]
#[template(path = "node.html")]
pub(super) struct NodePage {
    node: NodeLine,
    facts: Vec<(&'static str, String)>,
    groups: Vec<(String, Vec<(String, String)>)>,
    events: Vec<(String, String, String)>,
    lines: Vec<LogLine>,
    at: String,
}

/// A log line on a node's page.
struct LogLine {
    at: String,
    level: String,
    source: String,
    line: String,
}

impl LogLine {
    fn new(record: LogView) -> Self {
        // Where it is from: the container, the file, or whatever names it.
        let named = ["container", "source", "path", "filename"].map(|name| record.labels.get(name));
        Self {
            at: utc(UnixMillis(record.at_ms)),
            level: record.level,
            source: named.into_iter().flatten().next().cloned().unwrap_or_default(),
            line: record.line,
        }
    }
}

/// A search in a node's logs.
#[derive(Template)]
#[template(path = "logs.html")]
pub(super) struct LogsPage {
    node: String,
    query: String,
    lines: Vec<LogLine>,
    more: bool,
    problem: String,
}

impl LogsPage {
    pub(super) fn new(node: &NodeId, query: String, records: Vec<LogView>, more: bool) -> Self {
        let lines = records.into_iter().rev().map(LogLine::new).collect();
        Self { node: node.to_string(), query, lines, more, problem: String::new() }
    }

    pub(super) fn refused(node: &NodeId, query: String, problem: &str) -> Self {
        Self { node: node.to_string(), query, lines: Vec::new(), more: false, problem: problem.to_owned() }
    }
}

impl NodePage {
    pub(super) fn new(detail: NodeDetail, rows: Vec<LogView>, now: UnixMillis) -> Self {
        let facts = facts(&detail, now);
        let mut groups: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for newest in &detail.newest {
            let metric = newest.metric.get("__name__").cloned().unwrap_or_default();
            let labels = newest.metric.iter().filter(|(name, _)| !matches!(name.as_str(), "__name__" | "node"));
            let labels = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect::<Vec<_>>().join(", ");
            groups.entry(metric).or_default().push((labels, newest.value.clone()));
        }
        let events = detail.events.iter();
        let events = events.map(|e| (utc(UnixMillis(e.at_ms)), e.kind.clone(), e.text.clone())).collect();
        Self {
            node: NodeLine::new(detail.node, now),
            facts,
            groups: groups.into_iter().collect(),
            events,
            lines: rows.into_iter().rev().map(LogLine::new).collect(),
            at: utc(now),
        }
    }
}

fn facts(detail: &NodeDetail, now: UnixMillis) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    let moment = |at: i64| format!("{} UTC", utc(UnixMillis(at)));
    fact("last seen", Some(seen(&detail.node, now)));
    fact("from", detail.peer.clone());
    if let Some(host) = &detail.host {
        fact("host", Some(format!("{}, {}", host.hostname, host.os)));
        let memory = mib(host.memory_bytes);
        fact("machine", Some(format!("{}, {} CPUs, {memory}, Linux {}", host.arch, host.cpus, host.kernel)));
    }
    fact("agent", detail.node.agent_version.clone());
    fact("agent's memory", detail.rss_bytes.map(mib));
    fact("agent's database", detail.db_bytes.map(mib));
    fact("clock trusted", detail.time_trusted.map(|trusted| if trusted { "yes" } else { "no" }.into()));
    fact("fingerprint", Some(detail.node.fingerprint.clone()));
    fact("joined", detail.enrolled_ms.map(moment));
    fact("certificate until", detail.cert_not_after_ms.map(moment));
    fact(
        "assignment",
        detail
            .assignment
            .as_ref()
            .map(|assignment| format!("{}.{}: {}", assignment.epoch, assignment.version, assignment.streams.join(" "))),
    );
    let waiting = detail.node.backlog.iter().map(|(stream, n)| format!("{stream} {n}")).collect::<Vec<_>>();
    fact("backlog", Some(waiting.join(", ")).filter(|text| !text.is_empty()));
    facts
}

#[expect(clippy::cast_precision_loss, reason = "shown to a tenth of a MiB")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
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

fn backlog(view: &NodeView) -> u64 {
    view.backlog.values().sum()
}

/// A count with a thin gap at each thousand.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The question for the API token.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub(super) wrong: bool,
}

/// One sentence.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct MessagePage {
    pub(super) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
