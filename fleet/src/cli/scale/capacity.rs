//! `skerry capacity`: which site needs a node, how many nodes would do, what is idle.

use super::super::Session;
use super::super::args::Format;
use super::super::output::{note, show};
use super::super::table::table;
use super::args::CapacityArgs;
use crate::clock::ago;
use crate::quantity::{bytes, cores};
use crate::scaling::sites::{Capacity, Node, Site};
use skerry_model::UnixMillis;

pub(in crate::cli) fn capacity(session: &Session, args: &CapacityArgs, format: Format) -> anyhow::Result<()> {
    let found: Capacity = session.client.get("/capacity", &[("by", args.by.clone())])?;
    if !found.unknown.is_empty() {
        note(&format!("warning: nothing is known of what these nodes have: {}", found.unknown.join(", ")));
    }
    if found.sites.is_empty() {
        note("no node has told yet what it has; `skerry get nodes` lists them");
    } else if found.sites.iter().all(|site| site.site.is_empty()) {
        note(&format!(
            "no node has a label {:?}; `skerry assign NODE --label {}=…` signs one, --by node sums nothing up",
            args.by, args.by
        ));
    }
    let by = args.by.to_uppercase();
    show(format, &found, |wide| {
        let mut text = sites(&by, &found.sites);
        if wide || args.nodes {
            text.push('\n');
            text.push_str(&nodes(&by, &found.nodes, session.now));
        }
        text
    })
}

fn sites(by: &str, sites: &[Site]) -> String {
    let row = |site: &Site| {
        let silent = if site.silent > 0 { format!(" ({} silent)", site.silent) } else { String::new() };
        vec![
            if site.site.is_empty() { "(without)".to_owned() } else { site.site.clone() },
            format!("{}{silent}", site.nodes),
            format!("{}/{}", cores(site.requested.cpu_milli), cores(site.allocatable.cpu_milli)),
            format!("{}/{}", bytes(site.requested.memory_bytes), bytes(site.allocatable.memory_bytes)),
            site.pending.to_string(),
            site.idle.join(","),
            site.verdict(),
        ]
    };
    let rows: Vec<_> = sites.iter().map(row).collect();
    table(&[by, "NODES", "CPU REQUESTED", "MEMORY REQUESTED", "PENDING", "IDLE", "NEEDS"], &rows)
}

fn nodes(by: &str, nodes: &[Node], now: UnixMillis) -> String {
    let row = |node: &Node| {
        vec![
            node.node.clone(),
            node.site.clone(),
            format!("{}/{}", cores(node.used.cpu_milli), cores(node.allocatable.cpu_milli)),
            format!("{}/{}", bytes(node.used.memory_bytes), bytes(node.allocatable.memory_bytes)),
            node.policies.to_string(),
            node.pending.to_string(),
            format!("{} ago", ago(now, UnixMillis(node.as_of_ms))),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    table(&["NODE", by, "CPU USED", "MEMORY USED", "POLICIES", "PENDING", "AS OF"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::sites::Amount;

    #[test]
    fn a_site_says_what_it_needs() {
        let amount = |cpu_milli, mib: u64| Amount { cpu_milli, memory_bytes: mib << 20 };
        let site = Site {
            site: "lab".into(),
            nodes: 3,
            silent: 1,
            allocatable: amount(12_000, 6144),
            requested: amount(1500, 512),
            used: amount(900, 300),
            free: amount(10_500, 5632),
            pending: 0,
            fits_elsewhere: 0,
            needs_nodes: 0,
            too_large: vec![],
            would_do_with: Some(1),
            idle: vec!["a".into(), "b".into()],
        };
        let needy = Site {
            site: String::new(),
            silent: 0,
            pending: 3,
            fits_elsewhere: 1,
            needs_nodes: 2,
            too_large: vec!["huge".into()],
            would_do_with: None,
            idle: vec![],
            ..site.clone()
        };
        assert_eq!(
            sites("SITE", &[site, needy]),
            "SITE       NODES         CPU REQUESTED  MEMORY REQUESTED  PENDING  IDLE  NEEDS\n\
             lab        3 (1 silent)  1.5/12         512 MiB/6 GiB     0        a,b   1 node would do\n\
             (without)  3             1.5/12         512 MiB/6 GiB     3              needs 2 nodes; too large for any \
             node: huge; 1 would fit on another node\n"
        );
    }
}
