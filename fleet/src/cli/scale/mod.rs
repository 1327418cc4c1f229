//! `skerry scale`, `skerry capacity` and `skerry workloads`: what nodes decided, what they would decide, what is lacking.

pub(super) mod args;
mod capacity;
mod explain;
mod workloads;

pub(super) use capacity::capacity;
pub(super) use explain::explain;
pub(super) use workloads::workloads;

use super::Session;
use super::args::Format;
use super::output::{note, show};
use super::table::table;
use crate::clock::{ago, utc};
use crate::quantity::{bytes, cores};
use crate::scaling::history::{Decision, Decisions};
use crate::scaling::view::{Amounts, Listed, Metric, Of, Policy, Recommendation};
use args::{At, HistoryArgs, NodesArgs};
use serde::de::DeserializeOwned;
use skerry_model::{Span, UnixMillis};

/// Silent nodes that are named one by one.
const NAMED_MAX: usize = 10;
/// Metrics that stand in a cell.
const METRICS_SHOWN: usize = 3;
/// What is recommended as the most where too little is known, in bytes and in thousandths of a core: a limit that stands for
/// none.
const UNBOUNDED: u64 = 100_000_000_000_000;

/// Policies with their replicas.
pub(super) fn list(session: &Session, args: &NodesArgs, format: Format) -> anyhow::Result<()> {
    let list: Listed<Policy> = ask(session, "/scaling", args)?;
    if list.items.is_empty() {
        note("no policy is there; a ScalingPolicy behind a NodeConfig makes one (`skerry apply -f FILE`)");
    }
    show(format, &list, |wide| {
        let rows: Vec<_> = list.items.iter().map(|of| policy_row(of, session.now, wide)).collect();
        let mut head = vec!["NODE", "POLICY", "TARGET", "METRICS", "MIN", "MAX", "REPLICAS", "PENDING", "SCALED"];
        if wide {
            head.push("PRIORITY");
        }
        head.extend(["AS OF", "STATE"]);
        table(&head, &rows)
    })
}

/// What nodes answer at a path. Says which did not.
fn ask<T: DeserializeOwned>(session: &Session, path: &str, args: &NodesArgs) -> anyhow::Result<Listed<T>> {
    let mut query: Vec<(&str, String)> = args.nodes.iter().map(|node| ("node", node.to_string())).collect();
    query.extend(args.selector.iter().map(|selector| ("node_selector", selector.clone())));
    query.push(("timeout", args.timeout.to_string()));
    if args.at == At::Centre {
        query.push(("at", "centre".into()));
    }
    let list: Listed<T> = session.client.get_within(path, &query, args.timeout.0)?;
    if let (Some(selector), true) = (&args.selector, list.nodes.is_empty()) {
        note(&format!("no approved node has the labels {selector}; `skerry describe node NODE` shows those of a node"));
    }
    if args.at == At::Both {
        silent(&list);
    }
    Ok(list)
}

/// Says which nodes did not answer.
fn silent<T>(list: &Listed<T>) {
    let silent: Vec<_> = list.nodes.iter().filter_map(|(node, answer)| Some((node, answer.error.as_ref()?))).collect();
    for (node, error) in silent.iter().take(NAMED_MAX) {
        let known = if list.items.iter().any(|of| of.node == **node) { "; how it stood last is shown" } else { "" };
        note(&format!("warning: node {node}: {error}{known}"));
    }
    if silent.len() > NAMED_MAX {
        note(&format!("warning: and {} more did not answer", silent.len() - NAMED_MAX));
    }
}

fn policy_row(of: &Of<Policy>, now: UnixMillis, wide: bool) -> Vec<String> {
    let policy = &of.what;
    let mut metrics: Vec<String> = policy.metrics.iter().filter(|m| !m.target.is_empty()).map(metric).collect();
    if metrics.len() > METRICS_SHOWN {
        metrics.truncate(METRICS_SHOWN);
        metrics.push("…".into());
    }
    let mut row = vec![
        of.node.clone(),
        policy.policy.clone(),
        policy.target.clone(),
        metrics.join(", "),
        number(policy.min),
        number(policy.max),
        replicas(policy),
        number(policy.pending),
        policy.scaled_ms.map_or_else(String::new, |at| format!("{} ago", ago(now, UnixMillis(at)))),
    ];
    if wide {
        row.push(policy.priority.map_or_else(String::new, |priority| priority.to_string()));
    }
    row.extend([as_of(of.as_of_ms, now), state(policy)]);
    row
}

/// A metric's value and what it shall be, as `kubectl get hpa` puts them together.
fn metric(of: &Metric) -> String {
    let Metric { current, target, .. } = of;
    let unit = [" on average", "%"].into_iter().find(|unit| current.ends_with(unit) && target.ends_with(unit));
    let current = unit.and_then(|unit| current.strip_suffix(unit)).unwrap_or(current);
    format!("{}/{target}", if current.is_empty() { "?" } else { current })
}

fn number(of: Option<u32>) -> String {
    of.map_or_else(String::new, |number| number.to_string())
}

/// How many run, and how many are to.
fn replicas(policy: &Policy) -> String {
    match (policy.current, policy.desired) {
        (Some(current), Some(desired)) if current != desired => format!("{current}->{desired}"),
        (current, _) => number(current),
    }
}

fn as_of(at_ms: Option<i64>, now: UnixMillis) -> String {
    at_ms.map_or_else(|| "now".into(), |at| format!("{} ago", ago(now, UnixMillis(at))))
}

/// What keeps a policy from scaling, or what decided.
fn state(policy: &Policy) -> String {
    if policy.paused == Some(true) {
        return "paused".into();
    }
    if let Some(error) = &policy.error {
        return error.clone();
    }
    let is = |kind: &str, status: &str| policy.conditions.iter().find(|one| one.kind == kind && one.status == status);
    let said = |kind: &str, status: &str| {
        let one = is(kind, status)?;
        Some(
            [&one.kind, &one.reason, &one.message]
                .into_iter()
                .filter(|word| !word.is_empty())
                .cloned()
                .collect::<Vec<_>>(),
        )
    };
    let first = said("AbleToScale", "False").or_else(|| said("ScalingActive", "False"));
    match first {
        Some(words) => format!("not {}", words.join(": ")),
        None => match (&policy.reason, said("ScalingLimited", "True")) {
            (Some(reason), _) => reason.clone(),
            (None, Some(words)) => words.join(": "),
            (None, None) => String::new(),
        },
    }
}

/// What was decided.
pub(super) fn history(session: &Session, args: &HistoryArgs, format: Format) -> anyhow::Result<()> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.policy.iter().map(|policy| ("policy", policy.clone())));
    query.extend(args.node.iter().map(|node| ("node", node.to_string())));
    query.extend(args.since.map(|since| ("from_ms", from_ms(session.now, since))));
    query.extend(args.before.iter().map(|before| ("before", before.clone())));
    let list: Decisions = session.client.get("/scaling/history", &query)?;
    rest(list.decisions.len(), list.next.as_deref());
    if list.decisions.is_empty() {
        note("no such decision is known; `skerry scale list` lists the policies there are");
    }
    show(format, &list, |wide| {
        let row = |one: &Decision| {
            let mut row = vec![
                utc(UnixMillis(one.at_ms)),
                one.node.clone(),
                one.policy.clone(),
                one.target.clone(),
                one.change("->"),
                one.reason.clone(),
            ];
            if wide {
                row.push(utc(UnixMillis(one.received_ms)));
            }
            // The first line says what decided; the others are the inputs.
            row.push(if wide {
                one.message.clone()
            } else {
                one.message.lines().next().unwrap_or_default().to_owned()
            });
            row
        };
        let mut head = vec!["AT (UTC)", "NODE", "POLICY", "TARGET", "REPLICAS", "REASON"];
        if wide {
            head.push("HEARD");
        }
        head.push("WHY");
        table(&head, &list.decisions.iter().map(row).collect::<Vec<_>>())
    })
}

/// Says how to see what a history leaves out.
fn rest(shown: usize, next: Option<&str>) {
    if let Some(next) = next {
        note(&format!(
            "these are the newest {shown}; --before {next} goes on with older ones, --limit shows more at once"
        ));
    }
}

/// The moment that lies so far back.
fn from_ms(now: UnixMillis, since: Span) -> String {
    let back = i64::try_from(since.0.as_millis()).unwrap_or(i64::MAX);
    now.0.saturating_sub(back).to_string()
}

/// What containers should ask for.
pub(super) fn recommend(session: &Session, args: &NodesArgs, format: Format) -> anyhow::Result<()> {
    let list: Listed<Recommendation> = ask(session, "/scaling/recommendations", args)?;
    if list.items.is_empty() {
        note("nothing is known of containers yet: nodes learn it from what they measure, within minutes");
    }
    show(format, &list, |wide| {
        let row = |of: &Of<Recommendation>| {
            let one = &of.what;
            let range = |amounts: &Amounts, text: fn(u64) -> String| match amounts.target {
                0 => String::new(),
                target => {
                    let upper = if amounts.upper >= UNBOUNDED { "any".into() } else { text(amounts.upper) };
                    format!("{} ({} to {upper})", text(target), text(amounts.lower))
                }
            };
            let mut row = vec![
                of.node.clone(),
                one.target.clone(),
                one.container.clone(),
                range(&one.cpu, cores),
                range(&one.memory, bytes),
                one.mode.clone().unwrap_or_default(),
            ];
            if wide {
                let text = |amount: Option<u64>| amount.map_or_else(String::new, |amount| amount.to_string());
                row.push(one.policy.clone().unwrap_or_default());
                row.push(text(one.samples));
                row.push(text(one.containers));
            }
            row.push(as_of(of.as_of_ms, session.now));
            row
        };
        let mut head = vec!["NODE", "TARGET", "CONTAINER", "CPU", "MEMORY", "MODE"];
        if wide {
            head.extend(["POLICY", "SAMPLES", "CONTAINERS"]);
        }
        head.push("AS OF");
        table(&head, &list.items.iter().map(row).collect::<Vec<_>>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::view::Condition;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition { kind: kind.into(), status: status.into(), reason: reason.into(), message: String::new() }
    }

    #[test]
    fn a_policy_stands_in_one_row() {
        let metric = |current: &str| Metric { current: current.into(), target: "50%".into(), ..Metric::default() };
        let policy = Policy {
            policy: "web".into(),
            target: "Container/web".into(),
            min: Some(1),
            max: Some(10),
            current: Some(2),
            desired: Some(3),
            pending: Some(0),
            scaled_ms: Some(40_000),
            metrics: vec![metric("80%"), metric("1"), metric("2"), metric("3")],
            ..Policy::default()
        };
        let row = policy_row(&Of::live("a", policy.clone()), UnixMillis(100_000), false);
        let cells =
            ["a", "web", "Container/web", "80/50%, 1/50%, 2/50%, …", "1", "10", "2->3", "0", "60s ago", "now", ""];
        assert_eq!(row, cells);
        let row = policy_row(&Of::known("a", 10_000, policy), UnixMillis(100_000), true);
        assert_eq!(row[9..], ["", "90s ago", ""]);
    }

    #[test]
    fn a_metric_names_its_unit_once() {
        for (current, target, told) in [
            ("8750m on average", "10 on average", "8750m/10 on average"),
            ("80%", "50%", "80/50%"),
            ("35", "10 on average", "35/10 on average"),
            ("", "50%", "?/50%"),
        ] {
            assert_eq!(metric(&Metric { current: current.into(), target: target.into(), ..Metric::default() }), told);
        }
    }

    #[test]
    fn what_keeps_a_policy_from_scaling_comes_first() {
        let able = condition("AbleToScale", "False", "FailedGetScale");
        let active = condition("ScalingActive", "False", "FailedGetResourceMetric");
        let limited = condition("ScalingLimited", "True", "TooManyReplicas");
        let of = |conditions: &[&Condition], reason: Option<&str>| {
            let conditions = conditions.iter().map(|one| (*one).clone()).collect();
            state(&Policy { conditions, reason: reason.map(str::to_owned), ..Policy::default() })
        };
        assert_eq!(of(&[&limited, &active, &able], Some("r")), "not AbleToScale: FailedGetScale");
        assert_eq!(of(&[&limited, &active], None), "not ScalingActive: FailedGetResourceMetric");
        assert_eq!(of(&[&limited], None), "ScalingLimited: TooManyReplicas");
        assert_eq!(of(&[&limited], Some("at most 5")), "at most 5");
        assert_eq!(of(&[], None), "");
        let policy = Policy { paused: Some(true), error: Some("e".into()), ..Policy::default() };
        assert_eq!(state(&policy), "paused");
        assert_eq!(state(&Policy { paused: Some(false), ..policy }), "e");
    }
}
