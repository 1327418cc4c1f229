//! The queue of log blocks for forward targets.

use super::*;
use crate::intake::fixture::{self, at, node};
use skerry_model::{Bytes, LossReason, Span, StreamKind, UnixMillis};
use tempfile::TempDir;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const ALL: usize = 1 << 20;

fn opened(folder: &TempDir, config: Config) -> (Store, WriterHandle) {
    open(&folder.path().join("data.db"), config).unwrap()
}

async fn take(store: &Store, name: &str, n: u64) {
    store.ingest(&node(name), StreamKind::Logs, fixture::logs(1, n), NOW).await.unwrap();
}

async fn set(store: &Store, names: &[&str], start: Start) {
    let targets = names.iter().map(|name| ((*name).to_owned(), start)).collect();
    store.set_forward_targets(targets).await.unwrap();
}

async fn waiting(store: &Store, target: &str) -> Vec<(String, i64)> {
    let window = store.log_window(target, None, ALL).await.unwrap();
    let of = |block: &WaitingBlock| (block.node.to_string(), block.found.as_ref().unwrap().range.from.0);
    window.blocks.iter().map(of).collect()
}

fn found(name: &str, numbers: &[u64]) -> Vec<(String, i64)> {
    numbers.iter().map(|n| (name.to_owned(), at(*n).0)).collect()
}

#[tokio::test]
async fn a_target_begins_now_or_at_the_beginning_and_no_other_is_sent_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    take(&store, "a", 1).await;
    set(&store, &["now"], Start::Now).await;
    take(&store, "a", 2).await;
    store.set_forward_targets(vec![("now".into(), Start::Now), ("all".into(), Start::Beginning)]).await.unwrap();
    take(&store, "a", 3).await;
    assert_eq!(waiting(&store, "now").await, found("a", &[2, 3]));
    assert_eq!(waiting(&store, "all").await, found("a", &[1, 2, 3]));
    // Said again it begins no second time.
    store.set_forward_targets(vec![("now".into(), Start::Beginning), ("all".into(), Start::Beginning)]).await.unwrap();
    assert_eq!(waiting(&store, "all").await, found("a", &[1, 2, 3]));
    let window = store.log_window("all", None, 1).await.unwrap();
    assert_eq!(window.blocks.len(), 1, "one block at least, and no further one beyond the bytes");
    let next = store.log_window("all", Some(window.blocks[0].id), ALL).await.unwrap();
    assert_eq!(next.blocks.len(), 2);
    let last = next.blocks[1].id;
    let place = Place { through: last, ..Place::default() };
    store.advance("all", place, None, Vec::new()).await.unwrap();
    assert_eq!(waiting(&store, "all").await, []);
    assert_eq!(waiting(&store, "now").await, found("a", &[2, 3]));
    store.advance("now", place, None, Vec::new()).await.unwrap();
    let rows: i64 = rusqlite::Connection::open(folder.path().join("data.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM forward_block", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0, "what everybody was sent leaves nothing");
}

#[tokio::test]
async fn a_place_and_the_senders_state_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, writer) = opened(&folder, Config::default());
    set(&store, &["t"], Start::Now).await;
    take(&store, "a", 1).await;
    take(&store, "b", 1).await;
    let first = store.log_window("t", None, ALL).await.unwrap().blocks[0].id;
    let place = Place { through: first, part: first + 1, skip: 2 };
    let loss = (node("a"), not_forwarded("t", LossReason::Refused, 1, skerry_model::TimeRange::at(NOW), NOW));
    store.advance("t", place, Some("17".into()), vec![loss.clone()]).await.unwrap();
    store.advance("t", place, None, vec![loss]).await.unwrap();
    store.close().await;
    writer.join();
    let (store, _writer) = opened(&folder, Config::default());
    set(&store, &["t"], Start::Now).await;
    let window = store.log_window("t", None, ALL).await.unwrap();
    assert_eq!((window.place, window.state.as_deref(), window.blocks.len()), (place, Some("17"), 1));
    let losses = store.losses(&node("a"), 9).await.unwrap();
    assert_eq!((losses.len(), losses[0].count, losses[0].source.as_str()), (1, Some(2), "forward:t"));
    assert_eq!(losses[0].stream, StreamKind::Logs);
}

#[tokio::test]
async fn what_retention_takes_from_a_target_stands_in_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { max_age: Span::secs(60), max_bytes: Bytes::mib(64), ..Config::default() };
    let (store, _writer) = opened(&folder, config);
    take(&store, "a", 1).await;
    set(&store, &["ahead", "part", "behind"], Start::Now).await;
    set(&store, &["ahead", "part", "behind", "late"], Start::Beginning).await;
    take(&store, "a", 2).await;
    let id = store.log_window("ahead", None, ALL).await.unwrap().blocks[0].id;
    store.advance("ahead", Place { through: id, ..Place::default() }, None, Vec::new()).await.unwrap();
    store.advance("part", Place { through: id - 1, part: id, skip: 2 }, None, Vec::new()).await.unwrap();
    store.retain(NOW + std::time::Duration::from_secs(3600)).await.unwrap();
    for target in ["ahead", "part", "behind", "late"] {
        assert_eq!(waiting(&store, target).await, []);
    }
    let mut losses: Vec<_> = store.losses(&node("a"), 9).await.unwrap();
    losses.retain(|loss| loss.source != "centre");
    let told: Vec<_> = losses.iter().map(|loss| (loss.source.as_str(), loss.count.unwrap())).collect();
    assert_eq!(told, [("forward:part", 1), ("forward:late", 6), ("forward:behind", 3)]);
    assert!(losses.iter().all(|loss| loss.reason == LossReason::Retention));
    take(&store, "a", 3).await;
    assert_eq!(waiting(&store, "part").await, found("a", &[3]), "numbers of the queue never come twice");
}

#[tokio::test]
async fn without_targets_nothing_is_queued_and_forgotten_ones_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    take(&store, "a", 1).await;
    set(&store, &["t"], Start::Beginning).await;
    take(&store, "a", 2).await;
    set(&store, &[], Start::Now).await;
    take(&store, "a", 3).await;
    set(&store, &["t"], Start::Now).await;
    assert_eq!(waiting(&store, "t").await, []);
    assert_eq!(store.log_window("nobody", None, ALL).await.unwrap(), LogWindow::default());
}

#[tokio::test]
async fn a_block_that_waits_cannot_be_deleted_and_a_missing_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    set(&store, &["t"], Start::Now).await;
    take(&store, "a", 1).await;
    let other = rusqlite::Connection::open(folder.path().join("data.db")).unwrap();
    let held = other.execute("DELETE FROM log_block", []).unwrap_err();
    assert!(held.to_string().contains("a forward target still waits for this block"), "{held}");
    other.execute_batch("DROP TRIGGER forward_block_held; DELETE FROM log_block").unwrap();
    let window = store.log_window("t", None, ALL).await.unwrap();
    assert_eq!((window.blocks.len(), window.blocks[0].found.clone()), (1, None));
}
