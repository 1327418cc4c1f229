//! The store on real files: what is committed reads back, across epochs and crashes.

mod logs;
mod upkeep;

use super::*;
use crate::intake::core::{Outcome, Verdict};
use crate::intake::fixture::{self, at, node};
use proptest::prelude::*;
use skerry_model::{
    Epoch, Labels, LossEntry, LossReason, NodeId, Sample, Seq, SeriesId, Span, StreamKind, TimeRange, UnixMillis,
};
use skerry_promapi::with_node;
use skerry_wire::{Batch, ConfigState, Event, EventKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Fleet {
    store: Store,
    writer: WriterHandle,
    folder: TempDir,
}

impl Fleet {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, writer) = open(&folder.path().join("data.db"), config).unwrap();
        Self { store, writer, folder }
    }

    async fn take(&self, name: &str, stream: StreamKind, batch: Batch) -> Outcome {
        self.store.ingest(&node(name), stream, batch, NOW).await.unwrap()
    }

    /// What a power cut leaves: the files as they are now, opened anew.
    fn after_power_cut(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["data.db", "data.db-wal"] {
            std::fs::copy(self.folder.path().join(file), folder.path().join(file)).unwrap();
        }
        let (store, writer) = open(&folder.path().join("data.db"), Config::default()).unwrap();
        Self { store, writer, folder }
    }

    async fn close(self) -> TempDir {
        self.store.close().await;
        self.writer.join();
        self.folder
    }
}

fn all(matchers: Vec<Matcher>) -> Select {
    Select { matchers, from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX), samples_max: u64::MAX }
}

fn lines(name: &str) -> LogQuery {
    LogQuery {
        node: node(name),
        from: UnixMillis(i64::MIN),
        to: UnixMillis(i64::MAX),
        limit: 1000,
        contains: None,
        matchers: Vec::new(),
        before: None,
    }
}

fn texts(rows: &LogRows) -> Vec<String> {
    rows.rows.iter().map(|row| String::from_utf8(row.record.line.clone()).unwrap()).collect()
}

fn expected(id: SeriesId, numbers: impl Iterator<Item = u64>) -> Vec<Sample> {
    numbers
        .filter(|n| fixture::series(*n).contains(&id))
        .map(|n| Sample { at: at(n), value: fixture::value(n, id) })
        .collect()
}

/// Asserts that exactly these scrapes read back, each value once.
async fn assert_holds(store: &Store, name: &str, numbers: impl Iterator<Item = u64> + Clone) {
    let mut ids: Vec<SeriesId> = numbers.clone().flat_map(fixture::series).collect();
    ids.sort_unstable();
    ids.dedup();
    let selected = store.select(all(vec![Matcher::equal("node", name)])).await.unwrap();
    assert_eq!((selected.series.len(), selected.damaged_blocks), (ids.len(), 0));
    for id in ids {
        let labels = with_node(&fixture::labels(id), &node(name));
        let series = selected.series.iter().find(|series| series.labels == labels).unwrap();
        assert_eq!(series.samples, expected(id, numbers.clone()), "{labels}");
    }
    let total: usize = selected.series.iter().map(|series| series.samples.len()).sum();
    assert_eq!(store.counts().await.unwrap()[&node(name)].samples, total as u64);
}

#[tokio::test]
async fn samples_and_lines_read_back_after_reopening() {
    let fleet = Fleet::new();
    fleet.take("a", StreamKind::Metrics, fixture::metrics(1, 1, 8, None)).await;
    fleet.take("b", StreamKind::Metrics, fixture::metrics(7, 1, 2, None)).await;
    for n in 1..=3 {
        fleet.take("a", StreamKind::Logs, fixture::logs(4, n)).await;
    }
    let folder = fleet.close().await;
    let mode = std::fs::metadata(folder.path().join("data.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (store, _writer) = open(&folder.path().join("data.db"), Config::default()).unwrap();
    assert_holds(&store, "a", 1..=8).await;
    assert_holds(&store, "b", 1..=2).await;
    let rows = store.logs(lines("a")).await.unwrap();
    let records: Vec<_> = rows.rows.iter().map(|row| row.record.clone()).collect();
    assert_eq!(records, (1..=3).flat_map(fixture::log_records).collect::<Vec<_>>());
    assert!(!rows.more);
    let counts = store.counts().await.unwrap()[&node("a")];
    assert_eq!((counts.log_lines, counts.batches), (9, 4));
}

#[tokio::test]
async fn a_crash_between_commit_and_ack_brings_nothing_twice() {
    let fleet = Fleet::new();
    let batches = [
        (StreamKind::Metrics, fixture::metrics(1, 1, 4, None)),
        (StreamKind::Logs, fixture::logs(1, 1)),
        (StreamKind::Events, fixture::events(1, 1, &vec![Event { at: at(1), kind: EventKind::Stopped }])),
    ];
    for (stream, batch) in &batches {
        fleet.take("a", *stream, batch.clone()).await;
    }
    let again = fleet.after_power_cut();
    for (stream, batch) in batches {
        let outcome = again.take("a", stream, batch).await;
        assert_eq!(outcome.verdict, Verdict::Duplicate);
        assert!(outcome.ack.have.contains(Seq(1)));
    }
    let longer = again.take("a", StreamKind::Metrics, fixture::metrics(1, 3, 6, Some(SeriesId(5)))).await;
    assert_eq!(longer.verdict, Verdict::Stored { numbers: 2, repeated: 2, records: 8 });
    assert_holds(&again.store, "a", 1..=6).await;
    assert_eq!(again.store.logs(lines("a")).await.unwrap().rows.len(), 3);
    assert_eq!(again.store.events(None, 10).await.unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_overlap_is_stored_exactly_once(
        sends in proptest::collection::vec((1u64..30, 0u64..9, any::<bool>()), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut fleet = Fleet::new();
            let mut sent = std::collections::BTreeSet::new();
            for (from, more, power_cut) in sends {
                fleet.take("a", StreamKind::Metrics, fixture::metrics(1, from, from + more, None)).await;
                sent.extend(from..=from + more);
                if power_cut {
                    fleet = fleet.after_power_cut();
                }
            }
            assert_holds(&fleet.store, "a", sent.iter().copied()).await;
        });
    }
}

#[tokio::test]
async fn epochs_of_a_series_read_as_one() {
    let fleet = Fleet::new();
    fleet.take("a", StreamKind::Metrics, fixture::metrics(9, 1, 4, None)).await;
    // The agent died and took scrape 4 again in a new epoch, where it is number 1 and series ids are other ones.
    let mut second = fixture::metrics(3, 4, 6, None);
    (second.from, second.to) = (Seq(1), Seq(3));
    fleet.take("a", StreamKind::Metrics, second).await;
    let selected = fleet.store.select(all(vec![Matcher::equal("id", "1")])).await.unwrap();
    assert_eq!(selected.series.len(), 1);
    assert_eq!(selected.series[0].samples, expected(SeriesId(1), 1..=6));
}

#[tokio::test]
async fn selectors_and_ranges_choose() {
    let fleet = Fleet::new();
    for name in ["a", "b"] {
        fleet.take(name, StreamKind::Metrics, fixture::metrics(1, 1, 6, None)).await;
    }
    let count = async |matchers: Vec<(&str, MatchOp, &str)>| {
        let matchers = matchers.into_iter().map(|(l, op, v)| Matcher::new(l, op, v).unwrap()).collect();
        fleet.store.select(all(matchers)).await.unwrap().series.len()
    };
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    // Ids 1 to 6, on two nodes; metric_1 has ids 1 and 6.
    assert_eq!(count(vec![]).await, 12);
    assert_eq!(count(vec![("__name__", Equal, "metric_1")]).await, 4);
    assert_eq!(count(vec![("__name__", Equal, "metric_1"), ("node", Equal, "b")]).await, 2);
    assert_eq!(count(vec![("__name__", Regex, "metric_[12]"), ("node", NotEqual, "b")]).await, 3);
    assert_eq!(count(vec![("id", NotRegex, "[1-5]")]).await, 2);
    assert_eq!(count(vec![("id", NotEqual, "1"), ("node", Regex, "a|c")]).await, 5);
    assert_eq!(count(vec![("absent", Equal, ""), ("id", Regex, ".*")]).await, 12);
    assert_eq!(count(vec![("absent", Regex, ".+")]).await, 0);
    assert_eq!(count(vec![("node", Equal, "c")]).await, 0);
    let part = Select { matchers: vec![Matcher::equal("id", "2")], from: at(2), to: at(4), samples_max: 100 };
    let series = fleet.store.select(part).await.unwrap().series;
    assert_eq!(series[0].samples, expected(SeriesId(2), 2..=4));
    assert_eq!(series[1].node, node("b"));
    let newest = fleet.store.newest(&node("a"), NOW, 100).await.unwrap();
    assert_eq!(newest.len(), 6);
    let of = |id: u32| newest.iter().find(|(labels, _)| labels.value("id") == id.to_string()).unwrap().1;
    assert_eq!(of(1), Sample { at: at(6), value: fixture::value(6, SeriesId(1)) });
    assert_eq!(of(5), Sample { at: at(5), value: fixture::value(5, SeriesId(5)) });
    assert_eq!(fleet.store.newest(&node("a"), NOW, 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_clock_once_in_the_future_hides_no_newer_values() {
    let fleet = Fleet::new();
    let mut future = fixture::block(9, 9);
    future.timestamps = vec![UnixMillis(NOW.0 * 2)];
    let mut batch = fixture::metrics(1, 9, 9, None);
    batch.body = skerry_wire::Body::Block(future.encode().unwrap());
    fleet.take("a", StreamKind::Metrics, batch).await;
    let newest = fleet.store.newest(&node("a"), NOW, 100).await.unwrap();
    assert_eq!(newest[0].1.at, UnixMillis(NOW.0 * 2));
    fleet.take("a", StreamKind::Metrics, fixture::metrics(1, 1, 2, None)).await;
    let newest = fleet.store.newest(&node("a"), NOW, 100).await.unwrap();
    assert!(newest.len() == 4 && newest.iter().all(|(_, sample)| sample.at == at(2)), "{newest:?}");
}

#[tokio::test]
async fn a_nodes_own_node_label_is_moved() {
    let labels = Labels::new([("__name__", "up"), ("node", "x")]).unwrap();
    let shown = with_node(&labels, &node("a"));
    assert_eq!((shown.value("node"), shown.value("exported_node")), ("a", "x"));
}

#[tokio::test]
async fn events_and_losses_are_readable() {
    let fleet = Fleet::new();
    let loss = LossEntry {
        stream: StreamKind::Logs,
        reason: LossReason::Oversize,
        count: Some(3),
        range: TimeRange { from: at(1), to: at(2) },
        source: "app.log".into(),
    };
    let config = ConfigState { stream: "node/a".parse().unwrap(), epoch: 1, version: 2 };
    let refused = EventKind::ConfigRefused { config: Some(config), code: "stale".into(), reason: "older".into() };
    let told =
        vec![Event { at: at(1), kind: EventKind::Loss(loss.clone()) }, Event { at: at(2), kind: refused.clone() }];
    fleet.take("a", StreamKind::Events, fixture::events(1, 1, &told)).await;
    fleet
        .take("b", StreamKind::Events, fixture::events(1, 1, &vec![Event { at: at(3), kind: EventKind::Stopped }]))
        .await;
    let rows = fleet.store.events(Some(&node("a")), 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| &row.event).collect::<Vec<_>>(), [&told[1], &told[0]]);
    assert_eq!(event_kind(&refused), "config_refused");
    assert_eq!(fleet.store.events(None, 10).await.unwrap()[0].node, node("b"));
    assert_eq!(fleet.store.events(None, 1).await.unwrap().len(), 1);
    let losses = fleet.store.losses(&node("a"), 10).await.unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!(
        (losses[0].reason, losses[0].count, losses[0].source.as_str()),
        (LossReason::Oversize, Some(3), "app.log")
    );
    assert!(fleet.store.losses(&node("b"), 10).await.unwrap().is_empty());
    assert_eq!(fleet.store.counts().await.unwrap()[&node("a")].losses, 1);
}

#[tokio::test]
async fn an_unreadable_batch_goes_to_quarantine_and_into_the_ledger() {
    let fleet = Fleet::new();
    let batch = fixture::one(4, 1, b"no block".to_vec());
    let outcome = fleet.take("a", StreamKind::Logs, batch.clone()).await;
    assert!(matches!(outcome.verdict, Verdict::Quarantined { code: "block", .. }));
    assert!(outcome.ack.have.contains(Seq(1)));
    fleet.take("a", StreamKind::Logs, fixture::logs(4, 2)).await;
    let rows = fleet.store.quarantine(10).await.unwrap();
    assert_eq!((rows.len(), rows[0].epoch, rows[0].from, rows[0].code.as_str()), (1, Epoch(4), Seq(1), "block"));
    assert_eq!(rows[0].bytes.as_deref(), Some(skerry_wire::codec::encode(&batch).as_slice()));
    let losses = fleet.store.losses(&node("a"), 10).await.unwrap();
    assert_eq!((losses[0].reason, losses[0].source.as_str()), (LossReason::Corrupt, "quarantine:block"));
    assert_eq!(fleet.store.counts().await.unwrap()[&node("a")].quarantined, 1);
    assert_eq!(fleet.store.logs(lines("a")).await.unwrap().rows.len(), 3);
}

#[tokio::test]
async fn a_hello_is_answered_with_what_is_held_and_closes_other_epochs() {
    let fleet = Fleet::new();
    fleet.take("a", StreamKind::Metrics, fixture::metrics(1, 1, 3, None)).await;
    fleet.take("a", StreamKind::Logs, fixture::logs(2, 1)).await;
    let named = fixture::hello(&[(StreamKind::Metrics, 1), (StreamKind::Logs, 5), (StreamKind::Logs, u64::MAX)]);
    let acks = fleet.store.greet(&node("a"), &named, NOW).await.unwrap();
    assert_eq!(acks.len(), 2);
    assert_eq!((acks[0].have.ranges(), acks[0].dict), (&[(1, 3)][..], Some(SeriesId(5))));
    assert!(acks[1].have.is_empty() && acks[1].epoch == Epoch(5));
    // A closed epoch is still known: a stick may bring it.
    assert_eq!(fleet.take("a", StreamKind::Logs, fixture::logs(2, 1)).await.verdict, Verdict::Duplicate);
    let seen = fleet.store.seen().await.unwrap();
    assert_eq!((seen.len(), seen[0].last, seen[0].hello.as_ref()), (1, NOW, Some(&named)));
}
