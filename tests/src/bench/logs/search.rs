//! Searching what is stored for a text, all of it: at the node and at the centre.
//!
//! Two texts: one that stands in one line, as a part of a word, so that no filter can rule out a block; and one that stands
//! nowhere and has a whole word inside, which the filters know. Each search looks at every block, from the newest to the
//! oldest; the files are in the page cache.

use super::corpus::BEGAN_MS;
use super::stored::{self, MARKED, Stored};
use super::{Limit, Report, median, timed};
use anyhow::ensure;
use rusqlite::Connection;
use skerry_agent::clock::Clock;
use skerry_agent::store::LogSource;
use skerry_fleet::store::{self, LogQuery};
use skerry_logql::{Selection, Source};
use skerry_model::{Epoch, NodeId, Seq, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{Batch, Body};
use std::ops::ControlFlow;
use std::path::Path;

/// How often each search is made; the median counts.
const TIMES: usize = 5;
const FOREIGN: &str = "x zq81kx7w done";

pub(super) fn run(stored: &Stored, folder: &Path, report: &mut Report, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    say("searching at the node");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (clock, _) = Clock::manual(UnixMillis(i64::try_from(BEGAN_MS)?));
    let opened = skerry_agent::store::open(&stored.path, stored::config(), clock, || 7)?;
    let source = runtime.block_on(opened.store.log_source())?;
    let part = &MARKED[3..MARKED.len() - 2];
    let cases = [("part_of_word", part, 1), ("foreign_word", FOREIGN, 0)];
    for (name, text, expected) in cases {
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let (found, seconds) = timed(|| at_node(&source, text))?;
            ensure!(found == expected, "{found} lines with {text:?} at the node");
            took.push(seconds * 1000.0);
        }
        report.limited(&format!("search_node_ms_{name}"), median(&mut took), Limit::Max(1000.0));
    }

    drop(source);
    runtime.block_on(opened.store.close())?;

    say("searching at the centre");
    let (data, thread) = store::open(&folder.join("fleet-logs.db"), store::Config::default())?;
    let node: NodeId = "bench".parse()?;
    runtime.block_on(ingest(&data, &node, &stored.path))?;
    for (name, text, expected) in cases {
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let query = LogQuery {
                node: node.clone(),
                from: UnixMillis(i64::MIN),
                to: UnixMillis(i64::MAX),
                limit: 100,
                contains: Some(text.as_bytes().to_vec()),
                matchers: Vec::new(),
                before: None,
            };
            let (found, seconds) = timed(|| Ok(runtime.block_on(data.logs(query))?.rows.len()))?;
            ensure!(found == expected, "{found} lines with {text:?} at the centre");
            took.push(seconds * 1000.0);
        }
        report.limited(&format!("search_centre_ms_{name}"), median(&mut took), Limit::Max(1000.0));
    }
    runtime.block_on(data.close());
    drop(data);
    thread.join();
    Ok(())
}

/// Lines with the text at the node, by the source of its own queries.
fn at_node(source: &LogSource, text: &str) -> anyhow::Result<usize> {
    let range = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };
    let selection = Selection { matchers: Vec::new(), range, needles: vec![text.into()] };
    let mut found = 0;
    for block in source.blocks(&selection)? {
        source.read(block, &selection, &mut |_, _| {
            found += 1;
            ControlFlow::Continue(())
        })?;
    }
    Ok(found)
}

fn each_block(db: &Connection, order: &str, mut each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // The kind of logs' stream.
    let mut statement = db.prepare(&format!("SELECT body FROM block WHERE kind = 2 ORDER BY id {order}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get_ref(0)?.as_blob()?)?;
    }
    Ok(())
}

/// Hands the node's blocks to the centre's store, as its intake does.
async fn ingest(data: &store::Store, node: &NodeId, path: &Path) -> anyhow::Result<()> {
    let db = stored::reader(path)?;
    let (mut batches, mut next) = (Vec::new(), 1);
    each_block(&db, "ASC", |block| {
        let (from, to) = (Seq(next), Seq(next));
        batches.push(Batch { epoch: Epoch(1), from, to, dict: Vec::new(), body: Body::Block(block.to_vec()) });
        next += 1;
        Ok(())
    })?;
    for batch in batches {
        data.ingest(node, StreamKind::Logs, batch, UnixMillis(0)).await?;
    }
    Ok(())
}
