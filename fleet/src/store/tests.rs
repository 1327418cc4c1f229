//! The store on real files: what is committed reads back, across epochs, crashes and retention.

use super::*;
use crate::intake::core::{Outcome, Verdict};
use crate::intake::fixture::{self, at, node};
use proptest::prelude::*;
use skerry_logql::{Selection, Source};
use skerry_model::{
    Epoch, Labels, LossEntry, LossReason, NodeId, RecordRef, Sample, Seq, SeriesId, Span, StreamKind, TimeRange,
    UnixMillis,
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
async fn lines_come_in_exact_order_whatever_order_they_arrived_in() {
    let fleet = Fleet::new();
    for n in [7, 2, 9, 1, 3, 8, 4, 6, 5] {
        fleet.take("a", StreamKind::Logs, fixture::logs(1, n)).await;
    }
    // Same times as number 5, from a later epoch.
    let mut later = fixture::logs(2, 5);
    (later.from, later.to) = (Seq(1), Seq(1));
    fleet.take("a", StreamKind::Logs, later).await;
    let mut in_order: Vec<String> =
        (1..=9).flat_map(|n| (0..3).map(move |i| format!("line {n} part {i} end"))).collect();
    in_order.splice(15..15, in_order[12..15].to_vec());
    let rows = fleet.store.logs(lines("a")).await.unwrap();
    assert_eq!(texts(&rows), in_order);
    assert_eq!(rows.rows[12].epoch, Epoch(1));
    assert_eq!(rows.rows[15].epoch, Epoch(2));
    // Page by page, backwards, nothing is left out or repeated.
    for limit in [1, 2, 7] {
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let page = fleet.store.logs(LogQuery { limit, before, ..lines("a") }).await.unwrap();
            let Some(first) = page.rows.first() else { break };
            before = Some(first.position);
            pages.splice(0..0, texts(&page));
        }
        assert_eq!(pages, in_order, "pages of {limit}");
    }
}

#[tokio::test]
async fn lines_are_chosen_by_content_labels_and_time() {
    let fleet = Fleet::new();
    for n in 1..=5 {
        fleet.take("a", StreamKind::Logs, fixture::logs(1, n)).await;
    }
    let found = async |change: &dyn Fn(&mut LogQuery)| {
        let mut query = lines("a");
        change(&mut query);
        texts(&fleet.store.logs(query).await.unwrap())
    };
    assert_eq!(found(&|q| q.contains = Some(b"3 part 1".to_vec())).await, ["line 3 part 1 end"]);
    assert_eq!(found(&|q| q.contains = Some(b"e 3 part 1 e".to_vec())).await, ["line 3 part 1 end"]);
    assert_eq!(found(&|q| q.contains = Some(b"nowhere".to_vec())).await.len(), 0);
    assert_eq!(found(&|q| q.matchers = vec![Matcher::equal("source", "b")]).await.len(), 5);
    assert_eq!(found(&|q| q.matchers = vec![Matcher::equal("level", "error")]).await.len(), 5);
    let between = found(&|q| (q.from, q.to) = (at(2), at(3))).await;
    assert_eq!((between.len(), between[0].as_str()), (6, "line 2 part 0 end"));
    assert_eq!(found(&|q| q.limit = 0).await.len(), 0);
    let limited = fleet.store.logs(LogQuery { limit: 2, ..lines("a") }).await.unwrap();
    assert_eq!(texts(&limited), ["line 5 part 1 end", "line 5 part 2 end"]);
    assert!(limited.more);
    assert!(fleet.store.logs(lines("b")).await.unwrap().rows.is_empty());
}

/// Blocks that a search of all nodes reads, and the lines in them by node.
async fn searched(store: &Store, matchers: Vec<Matcher>, range: TimeRange) -> (usize, Vec<(String, String)>) {
    let signed = |name: &NodeId| match name.as_str() {
        "a" => Labels::new([("site", "berlin")]).unwrap(),
        _ => Labels::default(),
    };
    let work = move |source: &LogSource<'_>| {
        let selection = Selection { matchers, range, needles: Vec::new() };
        let blocks = source.blocks(&selection).unwrap();
        let mut lines = Vec::new();
        for block in &blocks {
            let each = &mut |labels: &Labels, record: RecordRef<'_>| {
                lines.push((labels.value("node").to_owned(), String::from_utf8(record.line.to_vec()).unwrap()));
                std::ops::ControlFlow::Continue(())
            };
            source.read(*block, &selection, each).unwrap();
        }
        let streams = source.streams(&selection.matchers, range).unwrap();
        assert_eq!(streams.is_empty(), lines.is_empty(), "{streams:?}");
        assert!(streams.iter().all(|stream| !stream.value("node").is_empty()));
        (blocks.len(), lines)
    };
    store.search(signed, work).await.unwrap()
}

#[tokio::test]
async fn logs_of_all_nodes_are_one_source_and_nodes_are_ruled_out_first() {
    let fleet = Fleet::new();
    for (name, n) in [("a", 1), ("b", 1), ("a", 2), ("b", 3)] {
        fleet.take(name, StreamKind::Logs, fixture::logs(1, n)).await;
    }
    let always = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };
    let (blocks, lines) = searched(&fleet.store, vec![], always).await;
    assert_eq!((blocks, lines.len()), (4, 12));
    let newest_first = ["b 3", "a 2", "b 1", "a 1"];
    let met = lines.chunks(3).map(|block| format!("{} {}", block[0].0, block[0].1.split(' ').nth(1).unwrap()));
    assert_eq!(
        met.collect::<Vec<_>>(),
        newest_first,
        "of blocks with the same times, the one that came in later first"
    );
    let one = |label: &str, value: &str| vec![Matcher::equal(label, value)];
    for (matchers, expected) in [
        // A stream of a node without that label may have it itself, which its directory tells.
        (one("site", "berlin"), (4, 6)),
        (one("node", "b"), (2, 6)),
        (one("site", ""), (2, 6)),
        (one("site", "munich"), (2, 0)),
        (one("node", "c"), (0, 0)),
        (one("level", "error"), (4, 4)),
    ] {
        let shown = format!("{matchers:?}");
        let (blocks, lines) = searched(&fleet.store, matchers, always).await;
        assert_eq!((blocks, lines.len()), expected, "{shown}");
    }
    let (blocks, lines) = searched(&fleet.store, vec![], TimeRange { from: at(2), to: at(2) }).await;
    assert!(blocks == 1 && lines.iter().all(|(name, _)| name == "a") && !lines.is_empty(), "{lines:?}");
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

#[tokio::test]
async fn retention_drops_the_oldest_and_nothing_comes_in_again() {
    let config = Config { max_age: Span::secs(3600), ..Config::default() };
    let fleet = Fleet::with(config);
    let late = UnixMillis(NOW.0 + 3_600_000);
    let a = node("a");
    fleet.store.ingest(&a, StreamKind::Metrics, fixture::metrics(1, 1, 3, None), NOW).await.unwrap();
    fleet.store.ingest(&a, StreamKind::Logs, fixture::logs(1, 1), NOW).await.unwrap();
    fleet.store.ingest(&a, StreamKind::Logs, fixture::logs(1, 2), late).await.unwrap();
    assert_eq!(fleet.store.retain(late).await.unwrap(), Retained::default());
    let retained = fleet.store.retain(UnixMillis(late.0 + 1)).await.unwrap();
    assert_eq!((retained.blocks, retained.samples, retained.log_lines), (2, 12, 3));
    assert!(retained.bytes > 0);
    assert_eq!(fleet.store.logs(lines("a")).await.unwrap().rows.len(), 3);
    assert!(fleet.store.select(all(vec![])).await.unwrap().series.is_empty());
    let again = fleet.store.ingest(&a, StreamKind::Metrics, fixture::metrics(1, 1, 3, None), late).await.unwrap();
    assert_eq!(again.verdict, Verdict::Duplicate);
    let (metrics, logs) = fleet.store.usage().await.unwrap();
    assert_eq!((metrics, logs.rows), (Usage::default(), 1));
    assert_eq!(fleet.store.stats().dropped_samples.load(Ordering::Relaxed), 12);
    // Once closed, the epoch's labels go too, and are asked for again should it come back.
    fleet.store.greet(&a, &fixture::hello(&[]), late).await.unwrap();
    fleet.store.retain(UnixMillis(late.0 + 3_600_001)).await.unwrap();
    let back = fixture::metrics(1, 4, 4, Some(SeriesId(5)));
    let outcome = fleet.store.ingest(&a, StreamKind::Metrics, back, late).await.unwrap();
    assert!(matches!(outcome.verdict, Verdict::NeedsDict { series: SeriesId(1) }), "{:?}", outcome.verdict);
}

#[tokio::test]
async fn retention_by_size_and_by_count() {
    let config = Config { events_per_node: 2, max_bytes: skerry_model::Bytes::kib(300), ..Config::default() };
    let fleet = Fleet::with(config);
    let mut noise = 1u64;
    for n in 1..=20 {
        let mut record = fixture::log_records(n).remove(0);
        record.line = (0..40_000)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        let block = skerry_chunk::LogBlock { records: vec![record] }.encode(3).unwrap();
        fleet.take("a", StreamKind::Logs, fixture::one(1, n, block)).await;
        fleet
            .take("a", StreamKind::Events, fixture::events(1, n, &vec![Event { at: at(n), kind: EventKind::Stopped }]))
            .await;
    }
    let retained = fleet.store.retain(NOW).await.unwrap();
    let left = fleet.store.logs(lines("a")).await.unwrap().rows;
    assert_eq!(left.len() as u64 + retained.blocks, 20);
    assert!((1..=6).contains(&left.len()), "{} lines left", left.len());
    assert_eq!(left.last().unwrap().position.seq, Seq(20));
    let events = fleet.store.events(Some(&node("a")), 10).await.unwrap();
    assert_eq!(events.iter().map(|row| row.event.at).collect::<Vec<_>>(), [at(20), at(19)]);
}

#[tokio::test]
async fn a_failing_disk_acknowledges_nothing_and_recovers() {
    let fleet = Fleet::new();
    fleet.take("a", StreamKind::Logs, fixture::logs(1, 1)).await;
    let path = fleet.folder.path().join("data.db");
    // A table that is gone stands for a disk that takes no writes.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE log_block").unwrap();
    let batch = fixture::logs(1, 2);
    let error = fleet.store.ingest(&node("a"), StreamKind::Logs, batch.clone(), NOW).await.unwrap_err();
    assert!(matches!(&error, StoreError::Commit { cause } if cause.contains("log_block")), "{error}");
    assert!(fleet.store.stats().failing.load(Ordering::Relaxed));
    // Other streams in the same group are not held up by it.
    let group = [
        fleet.store.submit(&node("a"), StreamKind::Logs, batch.clone(), NOW).await.unwrap(),
        fleet.store.submit(&node("a"), StreamKind::Metrics, fixture::metrics(1, 1, 1, None), NOW).await.unwrap(),
    ];
    let [logs, metrics] = group;
    assert!(logs.await.unwrap().is_err());
    assert!(matches!(metrics.await.unwrap().unwrap().verdict, Verdict::Stored { .. }));
    other
        .execute_batch("CREATE TABLE log_block(id INTEGER PRIMARY KEY, stream, seq, t0, t1, records, received, data)")
        .unwrap();
    let outcome = fleet.take("a", StreamKind::Logs, batch).await;
    assert_eq!(outcome.ack.have.ranges(), [(1, 2)]);
    assert!(!fleet.store.stats().failing.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_query_of_too_many_bytes_keeps_the_newest() {
    let fleet = Fleet::new();
    for n in 1..=20 {
        let mut records = fixture::log_records(n);
        // The oldest is small enough to fit where larger ones did not, and must not slip in behind a gap.
        records[0].line = vec![b'x'; if n == 1 { 1 } else { 5 << 20 }];
        records.truncate(1);
        let block = skerry_chunk::LogBlock { records }.encode(1).unwrap();
        fleet.take("a", StreamKind::Logs, fixture::one(1, n, block)).await;
    }
    let rows = fleet.store.logs(lines("a")).await.unwrap();
    assert!(rows.more);
    assert_eq!(rows.rows.iter().map(|row| row.position.seq.0).collect::<Vec<_>>(), (9..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waits_shares_one_commit() {
    let fleet = Fleet::new();
    let names = ["a", "b", "c"];
    // While another process holds the file, the writer has at most its first group in hand.
    let other = rusqlite::Connection::open(fleet.folder.path().join("data.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut outcomes = Vec::new();
    for n in 1..=10 {
        for name in names {
            let batch = fixture::logs(1, n);
            outcomes.push(fleet.store.submit(&node(name), StreamKind::Logs, batch, NOW).await.unwrap());
        }
    }
    other.execute_batch("COMMIT").unwrap();
    for outcome in outcomes {
        assert!(matches!(outcome.await.unwrap().unwrap().verdict, Verdict::Stored { .. }));
    }
    let stats = fleet.store.stats();
    assert_eq!(stats.commands.load(Ordering::Relaxed), 30);
    assert!(stats.commits.load(Ordering::Relaxed) <= 2);
    assert!(stats.exposition().contains("\nskerry_fleet_store_commands_total 30\n"));
    for name in names {
        assert_eq!(fleet.store.logs(lines(name)).await.unwrap().rows.len(), 30);
    }
}

#[tokio::test]
async fn closing_commits_what_is_queued() {
    let fleet = Fleet::new();
    let waiting = fleet.store.submit(&node("a"), StreamKind::Logs, fixture::logs(1, 1), NOW).await.unwrap();
    let store = fleet.store.clone();
    let folder = fleet.close().await;
    assert!(waiting.await.unwrap().is_ok());
    let late = store.ingest(&node("a"), StreamKind::Logs, fixture::logs(1, 2), NOW).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(!wal_has_frames(folder.path()));
}

fn wal_has_frames(folder: &Path) -> bool {
    std::fs::metadata(folder.join("data.db-wal")).is_ok_and(|wal| wal.len() > 0)
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no").join("data.db");
    let error = open(&missing, Config::default()).err().unwrap();
    assert!(error.to_string().contains("no/data.db"), "{error}");
    let damaged = folder.path().join("damaged.db");
    std::fs::write(&damaged, vec![7; 8192]).unwrap();
    let error = open(&damaged, Config::default()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let newer = folder.path().join("newer.db");
    rusqlite::Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(open(&newer, Config::default()), Err(OpenError::TooNew { found: 99, .. })));
}

#[tokio::test]
async fn a_damaged_block_costs_itself_alone() {
    let fleet = Fleet::new();
    fleet.take("a", StreamKind::Metrics, fixture::metrics(1, 1, 2, None)).await;
    fleet.take("a", StreamKind::Metrics, fixture::metrics(1, 3, 4, None)).await;
    for n in 1..=2 {
        fleet.take("a", StreamKind::Logs, fixture::logs(1, n)).await;
    }
    let other = rusqlite::Connection::open(fleet.folder.path().join("data.db")).unwrap();
    for table in ["metric_block", "log_block"] {
        other.execute(&format!("UPDATE {table} SET data = zeroblob(99) WHERE id = 1"), []).unwrap();
    }
    let selected = fleet.store.select(all(vec![Matcher::equal("id", "1")])).await.unwrap();
    assert_eq!((selected.series[0].samples.len(), selected.damaged_blocks), (2, 1));
    let rows = fleet.store.logs(lines("a")).await.unwrap();
    assert_eq!((rows.rows.len(), rows.damaged_blocks), (3, 1));
}

#[test]
fn the_config_names_its_faults() {
    assert!(Config::default().validate().is_empty());
    let bad = Config { max_age: Span::secs(1), max_bytes: skerry_model::Bytes(1), ..Config::default() };
    let faults = bad.validate();
    assert!(faults.len() == 2 && faults[0].starts_with("max_age:") && faults[1].starts_with("max_bytes:"));
    let keys: Vec<&str> = Config::REFERENCE.iter().map(|(key, ..)| *key).collect();
    let written = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(written.as_object().unwrap().len(), keys.len());
    for (key, default, _) in Config::REFERENCE {
        let shown = written[key].as_str().map_or_else(|| written[key].to_string(), str::to_owned);
        let same = shown == *default || shown.parse::<Span>().ok().is_some_and(|span| Ok(span) == default.parse());
        assert!(same, "{key}: {shown} is not {default}");
    }
}
