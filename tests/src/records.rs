//! The log records of an agent's database that no process has open.

use anyhow::ensure;
use skerry_agent::clock::Clock;
use skerry_agent::store::{self, Store};
use skerry_logql::{Selection, Source};
use skerry_model::{LogRecord, LossEntry, TimeRange, UnixMillis};
use skerry_promql::Matcher;
use std::ops::ControlFlow;
use std::path::Path;

/// The records whose streams meet the matchers, by time, and the loss ledger. The database is closed in order afterwards.
///
/// # Errors
/// If it cannot be opened, read or closed.
pub fn read(path: &Path, matchers: Vec<Matcher>) -> anyhow::Result<(Vec<LogRecord>, Vec<LossEntry>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let opened = store::open(path, store::Config::default(), Clock::system(), || 7)?;
        let found = of(&opened.store, matchers).await?;
        let ledger = opened.store.ledger().await?;
        opened.store.close().await?;
        ensure!(opened.thread.join().is_ok(), "the store's thread panicked");
        Ok((found, ledger))
    })
}

async fn of(store: &Store, matchers: Vec<Matcher>) -> anyhow::Result<Vec<LogRecord>> {
    let range = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };
    let selection = Selection { matchers, range, needles: Vec::new() };
    let source = store.log_source().await?;
    let mut found = Vec::new();
    // The oldest block first, so that records of one moment keep their order.
    for block in source.blocks(&selection)?.into_iter().rev() {
        source.read(block, &selection, &mut |_, record| {
            found.push(record.to_record());
            ControlFlow::Continue(())
        })?;
    }
    found.sort_by_key(|record| record.at);
    Ok(found)
}
