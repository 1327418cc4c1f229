//! The config reference of README.md.

use super::local;
use crate::{alerts, collect, containers, logs, probes, push, rules, scale, scrape, store, sync, workloads};
use std::fmt::Write;

/// Key, default and meaning of each setting of a section.
type Keys = &'static [(&'static str, &'static str, &'static str)];

/// The reference as Markdown: a table of the local file's own keys and one for each section.
#[must_use]
pub fn reference() -> String {
    let sections: [(&str, &str, Keys); 14] = [
        ("`agent.yaml` alone", "", local::REFERENCE),
        ("`alerting`: who is told of alerts", "alerting.", alerts::REFERENCE),
        ("`collect`: node metrics", "collect.", collect::REFERENCE),
        ("`containers`: container runtimes", "containers.", containers::REFERENCE),
        ("`logs`: log inputs", "logs.", logs::REFERENCE),
        ("`logs`: inputs beside files and containers", "logs.", logs::inputs::REFERENCE),
        ("`probes`: how services look from here", "probes", probes::REFERENCE),
        ("`push`: metrics that programs bring", "push.", push::REFERENCE),
        ("`rules`: when there are alerts", "rules.", rules::REFERENCE),
        ("`scaling`: how many replicas run", "scaling.", scale::REFERENCE),
        ("`scrape`: targets that are scraped", "scrape.", scrape::REFERENCE),
        ("`store`: the node's database", "", store::REFERENCE),
        ("`sync`: the link to the fleet", "sync.", sync::REFERENCE),
        ("`workloads`: containers as declared", "workloads.", workloads::REFERENCE),
    ];
    let mut text = String::new();
    for (title, prefix, keys) in sections {
        let _ = writeln!(text, "#### {title}\n\n| Key | Default | Meaning |\n|---|---|---|");
        for (key, default, meaning) in keys {
            let meaning = meaning.replace('|', "\\|");
            let _ = writeln!(text, "| `{prefix}{key}` | {default} | {meaning} |");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
