//! What must hold at the end of a run.

use super::Summary;
use super::node::{Node, value_of};
use skerry_chunk::{Limits, LogBlock, MetricBlock};
use skerry_fleet::intake::MemoryLedger;
use skerry_fleet::intake::core::Content;
use skerry_model::{StreamKind, TimeRange};
use skerry_wire::EventKind;
use std::collections::BTreeMap;

/// Checks every promise for every node.
///
/// # Errors
/// The first that is broken, in words.
pub(super) fn all(nodes: &[Node], ledger: &MemoryLedger, summary: &mut Summary) -> Result<(), String> {
    for node in nodes {
        one(node, ledger, summary).map_err(|broken| format!("{}: {broken}", node.id()))?;
    }
    Ok(())
}

fn one(node: &Node, ledger: &MemoryLedger, summary: &mut Summary) -> Result<(), String> {
    if node.waiting() > 0 {
        return Err(format!("{} numbers still wait to be acknowledged", node.waiting()));
    }
    let mut samples: BTreeMap<(u64, u32), u32> = BTreeMap::new();
    let mut lines: BTreeMap<u64, u32> = BTreeMap::new();
    let mut losses: Vec<(StreamKind, TimeRange)> = Vec::new();
    for taken in ledger.taken().iter().filter(|taken| taken.key.node == *node.id()) {
        match &taken.content {
            Content::Metrics { blocks, .. } => {
                for rows in blocks {
                    let block = MetricBlock::decode(&rows.data, &Limits::default()).map_err(|e| e.to_string())?;
                    for column in &block.columns {
                        let expected = node.labels(taken.key.epoch, column.series);
                        if ledger.labels(&taken.key, column.series) != expected {
                            return Err(format!("series {} has other labels than the node gave it", column.series.0));
                        }
                        for (at, value) in block.timestamps.iter().zip(&column.values) {
                            let Some(value) = value else { continue };
                            let at = at.0 as u64;
                            if *value != value_of(at, column.series) {
                                return Err(format!("series {} at {at}: {value} is wrong", column.series.0));
                            }
                            *samples.entry((at, column.series.0)).or_default() += 1;
                        }
                    }
                }
            }
            Content::Logs(rows) => {
                let block = LogBlock::decode(&rows.data, &Limits::default()).map_err(|e| e.to_string())?;
                for record in &block.records {
                    let line = std::str::from_utf8(&record.line).ok().and_then(|text| text.parse().ok());
                    *lines.entry(line.ok_or("a line is no number")?).or_default() += 1;
                }
            }
            Content::Events { events, .. } => {
                for event in events {
                    if let EventKind::Loss(loss) = &event.kind {
                        losses.push((loss.stream, loss.range));
                    }
                }
            }
            Content::Gone { .. } => {}
            Content::Quarantined { reason, .. } => return Err(format!("a batch went to quarantine: {reason}")),
        }
    }
    let is_lost = |stream, at: u64| {
        losses.iter().any(|(of, range)| *of == stream && range.from.0 <= at as i64 && at as i64 <= range.to.0)
    };
    for (at, series) in node.scrapes() {
        for id in 0..series {
            match samples.remove(&(at, id)) {
                Some(1) => {}
                Some(times) => return Err(format!("series {id} at {at} is there {times} times")),
                None if is_lost(StreamKind::Metrics, at) => summary.lost += 1,
                None => return Err(format!("series {id} at {at} is missing, and no loss entry says so")),
            }
        }
    }
    for line in 1..=node.written() {
        match lines.remove(&line) {
            Some(1) => {}
            Some(times) => return Err(format!("line {line} is there {times} times")),
            None if is_lost(StreamKind::Logs, line) => summary.lost += 1,
            None => return Err(format!("line {line} is missing, and no loss entry says so")),
        }
    }
    match (samples.first_key_value(), lines.first_key_value()) {
        (None, None) => Ok(()),
        (sample, line) => Err(format!("there is what was never taken: sample {sample:?}, line {line:?}")),
    }
}
