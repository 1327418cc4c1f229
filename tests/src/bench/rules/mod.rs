//! Rules, from samples to a notice: at the node, at the centre, and beside Debian's Prometheus and Alertmanager.

mod agent;
mod fleet;
mod node;
mod routing;

use super::Report;
use std::fmt::Write as _;
use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Rounds of evaluations at the node.
    rounds: i64,
    /// How long Prometheus evaluates the same rules.
    peer: Duration,
    /// How long the agent runs before its memory is read.
    settle: Duration,
    /// Notices whose way is timed.
    notices: usize,
    /// Nodes of the fleet.
    nodes: usize,
    /// Alerts that are routed.
    alerts: usize,
}

impl Extent {
    /// For quoting.
    #[must_use]
    pub const fn full() -> Self {
        let (peer, settle) = (Duration::from_secs(120), Duration::from_secs(390));
        Self { rounds: 200, peer, settle, notices: 40, nodes: 10_000, alerts: 1000 }
    }

    /// For trying it out.
    #[must_use]
    pub const fn short() -> Self {
        let (peer, settle) = (Duration::from_secs(45), Duration::from_secs(45));
        Self { rounds: 40, peer, settle, notices: 10, nodes: 1000, alerts: 200 }
    }
}

/// Rules that node and centre are measured with.
const RULES: usize = 200;

/// Runs all of it.
///
/// # Errors
/// If a program cannot be started, or does not do its work.
pub fn run(extent: Extent, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let mut report = Report::default();
    node::run(&extent, &mut report, say)?;
    fleet::run(&extent, &mut report, say)?;
    agent::run(&extent, &mut report, say)?;
    routing::run(&extent, &mut report, say)?;
    Ok(report)
}

/// A rule file of [`RULES`] rules over these metrics: thresholds, rates, averages over time that are recorded, and
/// aggregations, as they stand in people's files. One in twenty fires all the time.
fn rule_file(metrics: &[String]) -> String {
    let mut text = String::from("groups:\n- name: bench\n  interval: 15s\n  rules:\n");
    let of_metric = RULES.div_ceil(metrics.len());
    for rule in 0..RULES {
        let metric = &metrics[rule / of_metric % metrics.len()];
        let bound = if rule % 20 == 0 { "> -1" } else { "> 1e18" };
        let expr = match rule % 4 {
            0 => format!("{metric} {bound}"),
            1 => format!("rate({metric}[5m]) {bound}"),
            2 => format!("avg without (device) (avg_over_time({metric}[5m]))"),
            _ => format!("sum by (mode) ({metric}) / count by (mode) ({metric}) {bound}"),
        };
        if rule % 4 == 2 {
            let _ = writeln!(text, "  - record: bench:{metric}:avg{rule}\n    expr: {expr}");
        } else {
            let _ = writeln!(
                text,
                "  - alert: Bench{rule}\n    expr: '{expr}'\n    for: 1m\n    labels: {{severity: warning}}\n    annotations:\n      \
                 summary: '{metric} of {{{{ $labels.device }}}} is {{{{ $value | humanize }}}}'"
            );
        }
    }
    text
}
