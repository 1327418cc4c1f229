//! Alerts and silences.

use super::Session;
use super::args::{AlertsArgs, Format, SilenceAddArgs, SilenceCommand};
use super::output::{note, show};
use super::table::table;
use crate::alerts::v2::{MatcherView, RoutedAlert, SilenceMade, SilenceView, moment, rfc3339, short};
use crate::alerts::{HistoryList, HistoryView};
use crate::clock::{ago, utc};
use anyhow::{Context, bail};
use skerry_alerting::manager::matcher::{self, Matcher, Op};
use skerry_model::UnixMillis;
use std::time::Duration;

/// Longest comment and name that are taken.
const TEXT_BYTES_MAX: usize = 4096;

pub(super) fn alerts(session: &Session, args: &AlertsArgs, format: Format) -> anyhow::Result<()> {
    if args.history {
        return history(session, args, format);
    }
    let mut query: Vec<(&str, String)> =
        matchers(&args.matchers)?.iter().map(|one| ("filter", one.to_string())).collect();
    if let Some(node) = &args.node {
        query.push(("filter", format!("node={}", skerry_promql::quoted(node.as_str()))));
    }
    let mut list: Vec<RoutedAlert> = session.client.get_at("/api/v2/alerts", &query, Duration::ZERO)?;
    list.sort_by(|a, b| (&a.starts_at, &a.labels).cmp(&(&b.starts_at, &b.labels)));
    show(format, &list, |wide| {
        let rows: Vec<_> = list.iter().map(|alert| routed_row(alert, session.now, wide)).collect();
        let mut head = vec!["ALERT", "NODE", "STATE", "SINCE", "LABELS"];
        if wide {
            head.extend(["RECEIVERS", "FINGERPRINT"]);
        }
        head.push("SUMMARY");
        table(&head, &rows)
    })
}

fn routed_row(alert: &RoutedAlert, now: UnixMillis, wide: bool) -> Vec<String> {
    let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
    let state = match (&alert.status.silenced_by[..], &alert.status.inhibited_by[..]) {
        ([], []) if alert.status.state == "active" => "firing".to_owned(),
        ([], []) => alert.status.state.clone(),
        ([], _) => "inhibited".into(),
        _ => "silenced".into(),
    };
    let since = moment(&alert.starts_at).map(|at| ago(now, at)).unwrap_or_default();
    let mut row = vec![label("alertname"), label("node"), state, since, short(&alert.labels)];
    if wide {
        row.push(alert.receivers.iter().map(|receiver| receiver.name.as_str()).collect::<Vec<_>>().join(","));
        row.push(alert.fingerprint.clone());
    }
    row.push(summary(&alert.annotations));
    row
}

fn summary(annotations: &std::collections::BTreeMap<String, String>) -> String {
    let found = ["summary", "description", "message"].into_iter().find_map(|name| annotations.get(name));
    found.cloned().unwrap_or_default()
}

fn history(session: &Session, args: &AlertsArgs, format: Format) -> anyhow::Result<()> {
    let mut query = vec![("limit", args.limit.to_string())];
    if let Some(since) = args.since {
        let from = i64::try_from(since.0.as_millis()).map_or(i64::MIN, |ms| session.now.0.saturating_sub(ms));
        query.push(("from_ms", from.to_string()));
    }
    if let Some(node) = &args.node {
        query.push(("node", node.to_string()));
    }
    let matchers = matchers(&args.matchers)?;
    if !matchers.is_empty() {
        query.push(("match", matcher::text(&matchers)));
    }
    let list: HistoryList = session.client.get("/alert-history", &query)?;
    show(format, &list, |wide| {
        let row = |alert: &HistoryView| {
            let mut row = vec![
                utc(UnixMillis(alert.starts_ms)),
                alert.ends_ms.map_or_else(|| "fires".into(), |at| utc(UnixMillis(at))),
                alert.name.clone(),
                alert.labels.get("node").cloned().unwrap_or_default(),
                told(alert),
                short(&alert.labels),
            ];
            if wide {
                row.push(alert.value.clone());
            }
            row.push(summary(&alert.annotations));
            row
        };
        let mut head = vec!["BEGAN (UTC)", "ENDED", "ALERT", "NODE", "TOLD", "LABELS"];
        if wide {
            head.push("VALUE");
        }
        head.push("SUMMARY");
        table(&head, &list.alerts.iter().map(row).collect::<Vec<_>>())
    })
}

/// Who was told: those that the node told by itself are marked so.
fn told(alert: &HistoryView) -> String {
    let by_node = alert.told_by_node.iter().map(|name| format!("{name} (on site)"));
    let told: Vec<String> = alert.told.iter().cloned().chain(by_node).collect();
    match (told.is_empty(), alert.offline) {
        (false, _) => told.join(","),
        (true, true) => "nobody: offline".into(),
        (true, false) => "nobody".into(),
    }
}

pub(super) fn silence(session: &Session, command: &SilenceCommand, format: Format) -> anyhow::Result<()> {
    match command {
        SilenceCommand::Add(args) => add(session, args, format),
        SilenceCommand::List { matchers: texts, expired } => {
            let filters: Vec<_> = matchers(texts)?.iter().map(|one| ("filter", one.to_string())).collect();
            let mut list: Vec<SilenceView> = session.client.get_at("/api/v2/silences", &filters, Duration::ZERO)?;
            list.retain(|silence| *expired || silence.state() != "expired");
            show(format, &list, |_| {
                let row = |silence: &SilenceView| {
                    let at = |text: &str| moment(text).map(utc).unwrap_or_default();
                    let (id, by, why) = (silence.id.clone(), silence.created_by.clone(), silence.comment.clone());
                    vec![
                        id,
                        silence.state().to_owned(),
                        at(&silence.starts_at),
                        at(&silence.ends_at),
                        by,
                        silence.text(),
                        why,
                    ]
                };
                let rows: Vec<_> = list.iter().map(row).collect();
                table(&["ID", "STATE", "FROM (UTC)", "UNTIL", "BY", "MATCHERS", "COMMENT"], &rows)
            })
        }
        SilenceCommand::Expire { ids } => {
            for id in ids {
                session.client.delete_at(&format!("/api/v2/silence/{id}"))?;
                note(&format!("silence {id} has ended"));
            }
            Ok(())
        }
    }
}

fn add(session: &Session, args: &SilenceAddArgs, format: Format) -> anyhow::Result<()> {
    let matchers = matchers(&args.matchers)?;
    if args.comment.len() > TEXT_BYTES_MAX || args.author.as_ref().is_some_and(|name| name.len() > TEXT_BYTES_MAX) {
        bail!("comment or author is longer than {TEXT_BYTES_MAX} bytes");
    }
    let starts = match &args.start {
        None => session.now,
        Some(text) => moment(text).with_context(|| format!("--start: {text:?} is no time as 2026-05-01T12:00:00Z"))?,
    };
    let ends = match &args.end {
        None => starts + args.duration.0,
        Some(text) => moment(text).with_context(|| format!("--end: {text:?} is no time as 2026-05-01T12:00:00Z"))?,
    };
    let author = args.author.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "skerry".into());
    let view = |one: &Matcher| MatcherView {
        name: one.name().to_owned(),
        value: one.value().to_owned(),
        is_regex: matches!(one.op(), Op::Regex | Op::NotRegex),
        is_equal: matches!(one.op(), Op::Equal | Op::Regex),
    };
    let silence = SilenceView {
        id: String::new(),
        matchers: matchers.iter().map(view).collect(),
        starts_at: rfc3339(starts),
        ends_at: rfc3339(ends),
        created_by: author,
        comment: args.comment.clone(),
        status: None,
    };
    let body = serde_json::to_vec(&silence)?;
    let made: SilenceMade = session.client.post_at("/api/v2/silences", "application/json", &body)?;
    show(format, &made, |_| format!("{}\n", made.id))
}

/// Matchers as Alertmanager reads them; a word without an operator is the name of an alert, as in `amtool`.
fn matchers(texts: &[String]) -> anyhow::Result<Vec<Matcher>> {
    let mut all = Vec::new();
    for text in texts {
        let is_name = !text.contains(['=', '~', '{']);
        let found = if is_name {
            Matcher::new("alertname", Op::Equal, text).map(|one| vec![one])
        } else {
            matcher::parse_all(text)
        };
        let found = found.map_err(|problem| anyhow::anyhow!("matcher {text:?}: {problem}"))?;
        all.extend(found);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_as_amtool_reads_them() {
        let texts = |of: &[&str]| {
            let of: Vec<String> = of.iter().map(|text| (*text).to_owned()).collect();
            matchers(&of).map(|all| matcher::text(&all)).map_err(|error| error.to_string())
        };
        assert_eq!(texts(&["NodeGone", "site=~lab.*"]).unwrap(), r#"{alertname="NodeGone",site=~"lab.*"}"#);
        assert_eq!(texts(&[r#"{a="b",c!="d"}"#]).unwrap(), r#"{a="b",c!="d"}"#);
        assert!(texts(&["a=~("]).is_err());
    }

    #[test]
    fn who_was_told_is_said_in_one_cell() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (by_fleet, by_node, offline, cell) in [
            (&["pager"][..], &["buzzer"][..], false, "pager,buzzer (on site)"),
            (&[], &[], true, "nobody: offline"),
            (&[], &[], false, "nobody"),
            (&[], &["buzzer"], true, "buzzer (on site)"),
        ] {
            let alert = HistoryView {
                id: 1,
                name: "A".into(),
                node: None,
                labels: Default::default(),
                annotations: Default::default(),
                value: String::new(),
                starts_ms: 0,
                ends_ms: None,
                told: list(by_fleet),
                told_by_node: list(by_node),
                offline,
                received_ms: 0,
            };
            assert_eq!(told(&alert), cell);
        }
    }
}
