//! The queue of blocks for remote-write targets.

use super::*;
use crate::intake::fixture::{self, at, node};
use skerry_model::{Bytes, LossReason, Seq, Span, StreamKind, UnixMillis};
use tempfile::TempDir;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const MAX: WindowMax = WindowMax { samples: 1_000_000, bytes: 1 << 20 };

fn opened(folder: &TempDir, config: Config) -> (Store, WriterHandle) {
    open(&folder.path().join("data.db"), config).unwrap()
}

async fn take(store: &Store, name: &str, from: u64, to: u64) {
    let batch = fixture::metrics(1, from, to, None);
    store.ingest(&node(name), StreamKind::Metrics, batch, NOW).await.unwrap();
}

fn ranges(window: &Window) -> Vec<(&str, i64, bool)> {
    window.blocks.iter().map(|block| (block.node.as_str(), block.range.from.0, block.is_late)).collect()
}

async fn set(store: &Store, names: &[&str]) {
    store.set_targets(names.iter().map(|name| (*name).to_owned()).collect()).await.unwrap();
}

#[tokio::test]
async fn a_target_gets_what_comes_in_after_it_in_the_order_of_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    take(&store, "a", 1, 2).await;
    set(&store, &["t"]).await;
    assert_eq!(store.window("t", MAX).await.unwrap(), Window::default(), "nothing of before");
    let mut arrivals = store.arrivals();
    arrivals.mark_unchanged();
    // The newest first, then the backlog, as nodes send.
    take(&store, "a", 9, 10).await;
    assert!(arrivals.has_changed().unwrap());
    take(&store, "b", 1, 1).await;
    take(&store, "a", 3, 5).await;
    take(&store, "a", 11, 11).await;
    let window = store.window("t", MAX).await.unwrap();
    let expected = [("a", at(9).0, false), ("b", at(1).0, false), ("a", at(3).0, true), ("a", at(11).0, false)];
    assert_eq!((ranges(&window), window.begun), (expected.to_vec(), None));
    let small = store.window("t", WindowMax { samples: 1, bytes: 1 }).await.unwrap();
    assert_eq!(ranges(&small), expected[..1]);
    let found =
        store.series_labels(vec![(small.blocks[0].stream, skerry_model::SeriesId(1)), (99, skerry_model::SeriesId(1))]);
    assert_eq!(found.await.unwrap(), [Some(fixture::labels(skerry_model::SeriesId(1))), None]);
}

#[tokio::test]
async fn a_window_that_was_begun_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, writer) = opened(&folder, Config::default());
    set(&store, &["t", "u"]).await;
    take(&store, "a", 1, 2).await;
    take(&store, "b", 1, 2).await;
    let window = store.window("t", MAX).await.unwrap();
    store.begin_window("t", window.through, 7).await.unwrap();
    take(&store, "c", 1, 2).await;
    store.close().await;
    writer.join();
    let (store, _writer) = opened(&folder, Config::default());
    set(&store, &["t", "u"]).await;
    let again = store.window("t", WindowMax { samples: 1, bytes: 1 }).await.unwrap();
    assert_eq!((ranges(&again), again.begun), (ranges(&window), Some(7)), "bounds do not cut what was begun");
    let loss = (node("a"), unsent("t", LossReason::Refused, 3, again.blocks[0].range, NOW));
    store.finish_window("t", again.through, vec![loss.clone(), loss]).await.unwrap();
    let rest = store.window("t", MAX).await.unwrap();
    assert_eq!((ranges(&rest), rest.begun), (vec![("c", at(1).0, false)], None));
    assert_eq!(store.window("u", MAX).await.unwrap().blocks.len(), 3, "the other target has a place of its own");
    let losses = store.losses(&node("a"), 9).await.unwrap();
    assert_eq!((losses.len(), losses[0].count, losses[0].source.as_str()), (1, Some(6), "remote_write:t"));
    assert_eq!(store.counts().await.unwrap()[&node("a")].losses, 1);
}

#[tokio::test]
async fn what_retention_takes_from_a_target_stands_in_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { max_age: Span::secs(60), max_bytes: Bytes::mib(64), ..Config::default() };
    let (store, _writer) = opened(&folder, config);
    set(&store, &["ahead", "behind"]).await;
    take(&store, "a", 1, 2).await;
    take(&store, "a", 3, 3).await;
    let window = store.window("ahead", MAX).await.unwrap();
    store.finish_window("ahead", window.through, Vec::new()).await.unwrap();
    store.retain(NOW + std::time::Duration::from_secs(3600)).await.unwrap();
    for name in ["ahead", "behind"] {
        assert_eq!(store.window(name, MAX).await.unwrap().blocks, []);
    }
    let mut losses = store.losses(&node("a"), 9).await.unwrap();
    assert_eq!(losses.len(), 2, "one of the target's and one of the centre's own");
    losses.retain(|loss| loss.source != "centre");
    assert_eq!((losses[0].reason, losses[0].count), (LossReason::Retention, Some(12)));
    assert_eq!(
        (losses[0].source.as_str(), losses[0].range.from, losses[0].range.to),
        ("remote_write:behind", at(1), at(3))
    );
    // All blocks are gone, so their numbers begin anew; those of the queue do not.
    take(&store, "a", 4, 4).await;
    for name in ["ahead", "behind"] {
        assert_eq!(ranges(&store.window(name, MAX).await.unwrap()), [("a", at(4).0, false)]);
    }
}

#[tokio::test]
async fn what_is_queued_is_not_put_together_before_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    take(&store, "a", 1, 2).await;
    set(&store, &["t"]).await;
    take(&store, "a", 3, 4).await;
    let later = NOW + std::time::Duration::from_secs(86_400);
    let compact = async || {
        let mut blocks = 0;
        loop {
            let done = store.compact(later).await.unwrap();
            blocks += done.from;
            if !done.worked {
                return blocks;
            }
        }
    };
    assert_eq!(compact().await, 2, "the block of before becomes a chunk, and that the day's");
    let window = store.window("t", MAX).await.unwrap();
    assert_eq!(ranges(&window), [("a", at(3).0, false)]);
    store.finish_window("t", window.through, Vec::new()).await.unwrap();
    assert_eq!(compact().await, 2);
    let state = store.sender_state(&node("a"), later).await.unwrap().unwrap();
    let newest = state.series.iter().filter_map(|(_, _, sample)| sample.map(|sample| sample.at)).max();
    assert_eq!(newest, Some(at(4)), "a sender goes on where it stood all the same");
}

#[tokio::test]
async fn without_targets_nothing_is_queued_and_forgotten_ones_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    take(&store, "a", 1, 1).await;
    set(&store, &["t"]).await;
    take(&store, "a", 2, 2).await;
    set(&store, &[]).await;
    take(&store, "a", 3, 3).await;
    set(&store, &["t"]).await;
    assert_eq!(store.window("t", MAX).await.unwrap().blocks, [], "it begins anew");
    assert_eq!(store.window("nobody", MAX).await.unwrap(), Window::default());
}

#[tokio::test]
async fn a_sender_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    assert_eq!(store.sender_state(&node("a"), NOW).await.unwrap(), None);
    take(&store, "a", 1, 4).await;
    let state = store.sender_state(&node("a"), NOW).await.unwrap().unwrap();
    assert_eq!((state.epoch.0, state.next), (1, Seq(5)));
    let newest: Vec<_> = state.series.iter().map(|(id, _, sample)| (id.0, sample.map(|sample| sample.at))).collect();
    assert_eq!(newest, [1, 2, 3, 4, 5].map(|id| (id, Some(if id == 4 { at(2) } else { at(4) }))));
    store.close_epochs_but(&node("a"), skerry_model::Epoch(2)).await.unwrap();
    assert_eq!(store.sender_state(&node("a"), NOW).await.unwrap(), None);
}

#[tokio::test]
async fn a_block_that_is_gone_is_told_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = opened(&folder, Config::default());
    set(&store, &["t"]).await;
    take(&store, "a", 1, 1).await;
    take(&store, "b", 1, 1).await;
    let other = rusqlite::Connection::open(folder.path().join("data.db")).unwrap();
    let held = other.execute("DELETE FROM metric_block", []).unwrap_err();
    assert!(held.to_string().contains("remote write still waits for this block"), "{held}");
    other.execute_batch("DROP TRIGGER remote_block_held; DELETE FROM metric_block").unwrap();
    let gone = store.window("t", MAX).await.unwrap();
    assert_eq!((gone.blocks.len(), gone.missing.clone()), (0, vec![node("a"), node("b")]));
    // Numbers of blocks begin anew, which must not keep what comes next out.
    take(&store, "a", 2, 2).await;
    store.finish_window("t", gone.through, Vec::new()).await.unwrap();
    let next = store.window("t", MAX).await.unwrap();
    assert_eq!((ranges(&next), next.missing.len()), (vec![("a", at(2).0, false)], 0));
}
