//! Retention, bounds, and what damage, a full disk and an end cost.

use super::*;

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
    let batches: Vec<_> = (1..=10).flat_map(|n| names.map(|name| (name, fixture::logs(1, n)))).collect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut outcomes = Vec::new();
    for (name, batch) in batches {
        outcomes.push(fleet.store.submit(&node(name), StreamKind::Logs, batch, NOW).await.unwrap());
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
