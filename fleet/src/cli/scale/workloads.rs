//! `skerry workloads`: whether what is declared runs.

use super::super::Session;
use super::super::args::Format;
use super::super::output::{note, show};
use super::super::table::table;
use super::args::WorkloadsArgs;
use super::{as_of, ask, from_ms, rest};
use crate::clock::{ago, utc};
use crate::scaling::history::{Happening, Happenings};
use crate::scaling::view::{Container, Listed, Of, Workload};
use anyhow::bail;
use skerry_model::UnixMillis;

pub(in crate::cli) fn workloads(session: &Session, args: &WorkloadsArgs, format: Format) -> anyhow::Result<()> {
    if args.history {
        return history(session, args, format);
    }
    let mut list: Listed<Workload> = ask(session, "/workloads", &args.nodes)?;
    if let Some(name) = &args.workload {
        list.items.retain(|of| of.what.workload == *name);
        if list.items.is_empty() {
            bail!("no node has a workload {name:?}; `skerry workloads` lists those there are");
        }
    }
    if list.items.is_empty() {
        note("no workload is there; a Workload behind a NodeConfig makes one (`skerry apply -f FILE`)");
    }
    let has_containers = args.workload.is_some();
    show(format, &list, |wide| {
        let mut text = table(
            &["NODE", "WORKLOAD", "READY", "UPDATED", "CONDITION", "AS OF", "MESSAGE"],
            &list.items.iter().map(|of| workload_row(of, session.now)).collect::<Vec<_>>(),
        );
        if wide || has_containers {
            let all = list.items.iter().flat_map(|of| of.what.containers.iter().map(move |one| (of, one)));
            let rows: Vec<_> = all.map(|(of, one)| container_row(of, one, session.now)).collect();
            text.push('\n');
            text.push_str(&table(
                &["NODE", "CONTAINER", "STATE", "READY", "RESTARTS", "SINCE", "IMAGE", "MESSAGE"],
                &rows,
            ));
        }
        text
    })
}

fn workload_row(of: &Of<Workload>, now: UnixMillis) -> Vec<String> {
    let one = &of.what;
    vec![
        of.node.clone(),
        one.workload.clone(),
        format!("{}/{}", one.ready, one.wanted),
        one.updated.to_string(),
        one.condition.clone().unwrap_or_default(),
        as_of(of.as_of_ms, now),
        one.message.clone().unwrap_or_default(),
    ]
}

fn container_row(of: &Of<Workload>, one: &Container, now: UnixMillis) -> Vec<String> {
    vec![
        of.node.clone(),
        one.name.clone(),
        if one.reason.is_empty() { one.state.clone() } else { format!("{}: {}", one.state, one.reason) },
        if one.ready { "yes".into() } else { "no".into() },
        one.restarts.to_string(),
        one.since_ms.map_or_else(String::new, |at| ago(now, UnixMillis(at))),
        one.image.clone(),
        one.message.clone().unwrap_or_default(),
    ]
}

fn history(session: &Session, args: &WorkloadsArgs, format: Format) -> anyhow::Result<()> {
    if args.nodes.nodes.len() > 1 || args.nodes.selector.is_some() {
        bail!("--history is of one --node, or of all");
    }
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.workload.iter().map(|workload| ("workload", workload.clone())));
    query.extend(args.nodes.nodes.iter().map(|node| ("node", node.to_string())));
    query.extend(args.since.map(|since| ("from_ms", from_ms(session.now, since))));
    query.extend(args.before.iter().map(|before| ("before", before.clone())));
    let list: Happenings = session.client.get("/workloads/history", &query)?;
    rest(list.events.len(), list.next.as_deref());
    if list.events.is_empty() {
        note("nothing of the kind is known; `skerry workloads` lists the workloads there are");
    }
    show(format, &list, |_| {
        let row = |one: &Happening| {
            vec![
                utc(UnixMillis(one.at_ms)),
                one.node.clone(),
                one.workload.clone(),
                one.container.clone().unwrap_or_default(),
                one.reason.clone(),
                one.message.clone(),
            ]
        };
        let rows: Vec<_> = list.events.iter().map(row).collect();
        table(&["AT (UTC)", "NODE", "WORKLOAD", "CONTAINER", "REASON", "MESSAGE"], &rows)
    })
}
