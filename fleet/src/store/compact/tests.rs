use super::merge::{CHUNK_SAMPLES, Input, Merge};
use super::plan::{Candidate, DAY_MS, SAMPLES_MAX, Stage, WINDOW_MS, plan};
use super::*;
use crate::intake::core::Verdict;
use crate::intake::fixture::{self, at, node};
use crate::store::{Config, Matcher, ReadError, Select, Selected, Store, open};
use proptest::prelude::*;
use skerry_chunk::{Column, MetricBlock};
use skerry_model::{LossReason, SeriesId, Span, StreamKind, UnixMillis};
use std::collections::HashMap;
use tempfile::TempDir;

/// Two days after the fixture's times.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000 + 2 * DAY_MS);

fn fresh(config: Config) -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder.path().join("data.db"), config).unwrap();
    (store, folder)
}

async fn all(store: &Store) -> Selected {
    let (from, to) = (UnixMillis(i64::MIN), UnixMillis(i64::MAX));
    store.select(Select { matchers: Vec::new(), from, to, samples_max: u64::MAX }).await.unwrap()
}

async fn compact(store: &Store, now: UnixMillis) -> Compacted {
    let mut total = Compacted::default();
    loop {
        let done = store.compact(now).await.unwrap();
        if !done.worked {
            return total;
        }
        total = Compacted {
            worked: true,
            from: total.from + done.from,
            to: total.to + done.to,
            samples: total.samples + done.samples,
        };
    }
}

fn rows(folder: &TempDir, table: &str) -> i64 {
    let file = rusqlite::Connection::open(folder.path().join("data.db")).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn what_is_put_together_reads_as_before() {
    let (store, folder) = fresh(Config::default());
    for name in ["a", "b"] {
        for from in (1..2000).step_by(20) {
            let batch = fixture::metrics(1, from, from + 19, None);
            store.ingest(&node(name), StreamKind::Metrics, batch, at(2000)).await.unwrap();
        }
    }
    // The agent died and took the last scrapes again, under other ids and numbers.
    let mut second = fixture::metrics(7, 1998, 2010, None);
    (second.from, second.to) = (skerry_model::Seq(1), skerry_model::Seq(13));
    store.ingest(&node("a"), StreamKind::Metrics, second, at(2010)).await.unwrap();
    let before = all(&store).await;
    let newest = store.newest(&node("a"), NOW, 1000).await.unwrap();

    let done = compact(&store, NOW).await;
    assert!(done.worked && done.from > 200, "{done:?}");
    assert_eq!((rows(&folder, "metric_block"), rows(&folder, "metric_chunk WHERE level = 1")), (0, 0));
    // Eight hours lie in two days; one day's seven hundred series leave too many gaps for one chunk.
    assert_eq!(rows(&folder, "metric_chunk"), 6);
    assert_eq!(all(&store).await, before);
    assert_eq!(store.newest(&node("a"), NOW, 1000).await.unwrap(), newest);
    let one = Select {
        matchers: vec![Matcher::equal("id", "2"), Matcher::equal("node", "b")],
        from: at(700),
        to: at(703),
        samples_max: 10,
    };
    let series = store.select(one).await.unwrap().series;
    assert_eq!((series.len(), series[0].samples.len()), (1, 4));
    // What was held is still held.
    let again = store.ingest(&node("a"), StreamKind::Metrics, fixture::metrics(1, 1, 4, None), NOW).await.unwrap();
    assert_eq!(again.verdict, Verdict::Duplicate);
    assert_eq!(compact(&store, NOW).await, Compacted::default());
}

#[tokio::test]
async fn what_comes_late_joins_later_and_a_window_that_goes_on_waits() {
    let (store, folder) = fresh(Config::default());
    let a = node("a");
    store.ingest(&a, StreamKind::Metrics, fixture::metrics(1, 1, 8, None), at(8)).await.unwrap();
    assert_eq!(compact(&store, at(20)).await, Compacted::default(), "the window is not over");
    let over = UnixMillis(at(8).0 + WINDOW_MS + 700_000);
    assert_eq!(compact(&store, over).await.from, 1);
    let late = UnixMillis(over.0 + 1);
    store.ingest(&a, StreamKind::Metrics, fixture::metrics(1, 9, 12, None), late).await.unwrap();
    assert_eq!(compact(&store, late).await, Compacted::default(), "more may be on its way");
    assert_eq!(compact(&store, UnixMillis(late.0 + 600_000)).await.from, 1);
    assert_eq!(rows(&folder, "metric_chunk"), 2);
    let before = all(&store).await;
    assert_eq!(compact(&store, NOW).await.from, 2);
    assert_eq!(rows(&folder, "metric_chunk"), 1);
    assert_eq!(all(&store).await, before);
}

#[tokio::test]
async fn a_power_cut_leaves_each_sample_once() {
    let (store, folder) = fresh(Config::default());
    for from in (1..400).step_by(20) {
        let batch = fixture::metrics(1, from, from + 19, None);
        store.ingest(&node("a"), StreamKind::Metrics, batch, at(400)).await.unwrap();
    }
    let before = all(&store).await;
    loop {
        let cut = tempfile::tempdir().unwrap();
        for file in ["data.db", "data.db-wal"] {
            std::fs::copy(folder.path().join(file), cut.path().join(file)).unwrap();
        }
        let (again, _) = open(&cut.path().join("data.db"), Config::default()).unwrap();
        assert_eq!(all(&again).await, before);
        compact(&again, NOW).await;
        assert_eq!(all(&again).await, before);
        if !store.compact(NOW).await.unwrap().worked {
            return;
        }
    }
}

#[tokio::test]
async fn a_damaged_block_stays_and_stops_nothing() {
    let (store, folder) = fresh(Config::default());
    for from in [1, 3, 5] {
        let batch = fixture::metrics(1, from, from + 1, None);
        store.ingest(&node("a"), StreamKind::Metrics, batch, at(6)).await.unwrap();
    }
    let other = rusqlite::Connection::open(folder.path().join("data.db")).unwrap();
    other.execute("UPDATE metric_block SET data = zeroblob(99) WHERE id = 2", []).unwrap();
    let before = all(&store).await;
    assert_eq!(before.damaged_blocks, 1);
    // Two blocks become a chunk, which then becomes the day's.
    assert_eq!(compact(&store, NOW).await.from, 3);
    assert_eq!((rows(&folder, "metric_block"), rows(&folder, "metric_chunk")), (1, 1));
    assert_eq!(all(&store).await, before);
}

#[tokio::test]
async fn retention_drops_chunks_with_their_labels_and_says_so() {
    let config = Config { max_age: Span::secs(3 * 86_400), ..Config::default() };
    let (store, folder) = fresh(config);
    let a = node("a");
    store.ingest(&a, StreamKind::Metrics, fixture::metrics(1, 1, 8, None), at(8)).await.unwrap();
    store.greet(&a, &fixture::hello(&[]), at(8)).await.unwrap();
    compact(&store, NOW).await;
    let retained = store.retain(NOW).await.unwrap();
    assert_eq!((retained.blocks, rows(&folder, "series")), (0, 0), "the closed epoch's names went, its labels not");
    assert!(!all(&store).await.series.is_empty());
    let (metrics, _) = store.usage().await.unwrap();
    assert_eq!(metrics.rows, 1);

    let late = UnixMillis(at(8).0 + 3 * DAY_MS + 1);
    let retained = store.retain(late).await.unwrap();
    assert_eq!((retained.blocks, retained.samples), (1, 32));
    for table in ["metric_chunk", "labelset", "label_text", "label_pair"] {
        assert_eq!(rows(&folder, table), 0, "{table}");
    }
    let losses = store.losses(&a, 10).await.unwrap();
    assert_eq!(losses.len(), 1);
    let loss = &losses[0];
    assert_eq!((loss.reason, loss.count, loss.source.as_str()), (LossReason::Retention, Some(32), "centre"));
    assert_eq!((loss.range.from, loss.range.to), (at(1), at(8)));
    // A second time adds to the same entry.
    store.ingest(&a, StreamKind::Metrics, fixture::metrics(2, 1, 2, None), at(8)).await.unwrap();
    store.retain(UnixMillis(late.0 + 1)).await.unwrap();
    let losses = store.losses(&a, 10).await.unwrap();
    assert_eq!((losses.len(), losses[0].count), (1, Some(40)));
}

#[tokio::test]
async fn a_query_stops_at_its_bound_and_says_what_to_do() {
    let (store, _folder) = fresh(Config::default());
    store.ingest(&node("a"), StreamKind::Metrics, fixture::metrics(1, 1, 100, None), NOW).await.unwrap();
    let (from, to) = (UnixMillis(i64::MIN), UnixMillis(i64::MAX));
    for matchers in [Vec::new(), vec![Matcher::equal("id", "1")]] {
        let query = Select { matchers, from, to, samples_max: 99 };
        let error = store.select(query.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), "more than 99 samples; ask for a shorter time or fewer series");
    }
    let enough = Select { matchers: vec![Matcher::equal("id", "1")], from, to, samples_max: 100 };
    assert_eq!(store.select(enough).await.unwrap().series[0].samples.len(), 100);
    assert_eq!(store.label_sets(vec![Matcher::equal("id", "1")], 1).await.unwrap().len(), 1);
    let error = store.label_sets(Vec::new(), 36).await.unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { what: "series", limit: 36 }), "{error}");
    assert_eq!(store.label_sets(Vec::new(), 37).await.unwrap().len(), 37);
}

fn candidate(id: i64, t1: i64, received: i64) -> Candidate {
    Candidate { id, t1, samples: 10, received, s0: 0 }
}

#[test]
fn the_lowest_quiet_window_is_taken_whole() {
    let now = UnixMillis(10 * WINDOW_MS + 700_000);
    let of = |candidates: &[Candidate]| plan(Stage::Blocks, candidates.to_vec(), now);
    let (one, two) = (candidate(1, WINDOW_MS, 0), candidate(2, 2 * WINDOW_MS - 1, 0));
    let next = candidate(3, 2 * WINDOW_MS, 0);
    assert_eq!(of(&[next, two, one]), [1, 2]);
    assert_eq!(of(&[]), [0i64; 0]);
    let hot = Candidate { received: now.0, ..one };
    assert_eq!(of(&[hot, two, next]), [3], "one that still grows is passed over");
    assert_eq!(of(&[candidate(4, 10 * WINDOW_MS, 0)]), [0i64; 0], "one that is not over is not taken");
    let crowd: Vec<Candidate> = (0..512).map(|id| Candidate { id, received: now.0, ..one }).collect();
    assert_eq!(of(&crowd).len(), 512);
    let large = |id, s0| Candidate { samples: SAMPLES_MAX / 2, s0, ..candidate(id, WINDOW_MS + id, 0) };
    assert_eq!(of(&[large(1, 9), large(2, 1), large(3, 9), large(4, 1)]), [2, 4]);
    let huge = Candidate { samples: SAMPLES_MAX * 2, ..one };
    assert_eq!(of(&[huge, two]), [1]);
}

#[test]
fn chunks_are_as_large_as_they_should_be_and_part_what_was_measured_apart() {
    let block = |ids: std::ops::Range<u32>, times: &[i64]| MetricBlock {
        timestamps: times.iter().copied().map(UnixMillis).collect(),
        columns: ids
            .map(|id| Column { series: SeriesId(id), values: vec![Some(f64::from(id)); times.len()] })
            .collect(),
    };
    let day: Vec<i64> = (0..5760).map(|n| n * 15_000).collect();
    let other: Vec<i64> = day.iter().map(|at| at + 7).collect();
    let blocks = [block(0..100, &day[..3000]), block(100..103, &other), block(0..100, &day[3000..])];
    let mut merge = Merge::default();
    for block in &blocks {
        merge.take(&Input { data: &block.encode().unwrap(), names: None }).unwrap();
    }
    let chunks = merge.finish().unwrap();
    let spans: Vec<(u32, u32)> = chunks.iter().map(|chunk| (chunk.first.0, chunk.last.0)).collect();
    let per_chunk = (CHUNK_SAMPLES / 5760) as u32;
    assert_eq!(spans[..2], [(0, per_chunk - 1), (per_chunk, 2 * per_chunk - 1)]);
    assert_eq!(*spans.last().unwrap(), (100, 102), "what shares no moment stands apart");
    let names = HashMap::from([(SeriesId(0), SeriesId(5))]);
    let unnamed = Input { data: &blocks[0].encode().unwrap(), names: Some(&names) };
    assert!(Merge::default().take(&unnamed).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn merging_keeps_every_sample_and_the_first_of_a_moment(
        parts in proptest::collection::vec((0i64..50, 1usize..6, proptest::collection::btree_set(0u32..6, 1..5), any::<u64>()), 1..8),
    ) {
        let mut expected: std::collections::BTreeMap<(u32, i64), u64> = Default::default();
        let mut merge = Merge::default();
        for (begin, rows, ids, seed) in parts {
            let value = |id: u32, row: usize| seed.wrapping_mul(u64::from(id) * 31 + row as u64 + 1);
            let present = |id: u32, row: usize| value(id, row) % 4 != 0;
            let block = MetricBlock {
                timestamps: (0..rows as i64).map(|row| UnixMillis(begin + row * 3)).collect(),
                columns: ids.iter().map(|id| Column {
                    series: SeriesId(*id),
                    values: (0..rows).map(|row| present(*id, row).then(|| f64::from_bits(value(*id, row)))).collect(),
                }).collect(),
            };
            for id in ids {
                for row in (0..rows).filter(|row| present(id, *row)) {
                    expected.entry((id, begin + row as i64 * 3)).or_insert(value(id, row));
                }
            }
            merge.take(&Input { data: &block.encode().unwrap(), names: None }).unwrap();
        }
        let mut found: std::collections::BTreeMap<(u32, i64), u64> = Default::default();
        for chunk in merge.finish().unwrap() {
            let reader = skerry_chunk::MetricReader::open(&chunk.data, &LIMITS).unwrap();
            let mut samples = 0;
            reader.samples_of(Some, |id, at, value| {
                samples += 1;
                assert!(found.insert((id.0, at.0), value.to_bits()).is_none());
            }).unwrap();
            assert_eq!(samples, chunk.samples);
        }
        prop_assert_eq!(found, expected);
    }
}
