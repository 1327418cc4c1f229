//! The handle and its thread.

use super::*;
use crate::clock::{Clock, ManualClock};
use skerry_logql::{Selection, Source};
use skerry_promql::Matcher;
use std::ops::ControlFlow;
use std::sync::Arc;

fn start(dir: &tempfile::TempDir, config: Config) -> (Opened, Arc<ManualClock>) {
    let (clock, hand) = Clock::manual(UnixMillis(1_700_000_000_000));
    let mut random = 0;
    let opened = open(&dir.path().join("agent.db"), config, clock, || {
        random += 1;
        random
    });
    (opened.unwrap(), hand)
}

fn scrape(at: i64, value: f64) -> Scrape {
    let observe = |n| (series(n), value + n as f64);
    Scrape { at: UnixMillis(at), values: (0..3).map(observe).collect() }
}

fn lines(at: i64, lines: &[&str]) -> LogInput {
    let records = lines.iter().map(|line| record(at, line)).collect();
    let positions = vec![PositionUpdate { key: "file".into(), state: Some(vec![lines.len() as u8]) }];
    LogInput { records, positions, ..LogInput::default() }
}

const ALL_TIME: TimeRange = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };

#[tokio::test]
async fn what_is_taken_in_can_be_asked_for_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (opened, _) = start(&dir, Config::default());
    let store = opened.store;
    for n in 0..6 {
        store.append_scrape(scrape(n * 1000, n as f64), Pace::Round).await.unwrap();
    }
    store.append_logs(lines(1, &["a", "b"]), |_| {}).await.unwrap();
    store.flush().await.unwrap();
    store.append_scrape(scrape(6000, 6.0), Pace::Round).await.unwrap();
    store.append_logs(lines(2, &["c"]), |_| {}).await.unwrap();

    let query = |matchers: &[(&str, &str)], range, samples_max| SeriesQuery {
        matchers: matchers.iter().map(|(name, value)| Matcher::equal(name, value)).collect(),
        range,
        samples_max,
    };
    let one = query(&[("__name__", "m"), ("n", "1")], ALL_TIME, 100);
    let answer = store.read_series(one).await.unwrap();
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].0, series(1));
    let values: Vec<(i64, f64)> = answer[0].1.iter().map(|sample| (sample.at.0, sample.value)).collect();
    assert_eq!(values, (0..7).map(|n| (n * 1000, n as f64 + 1.0)).collect::<Vec<_>>());
    let range = TimeRange { from: UnixMillis(2000), to: UnixMillis(4000) };
    let answer = store.read_series(query(&[], range, 100)).await.unwrap();
    assert_eq!(answer.iter().map(|(_, samples)| samples.len()).collect::<Vec<_>>(), [3, 3, 3]);
    let error = store.read_series(query(&[], ALL_TIME, 20)).await.unwrap_err();
    assert!(matches!(error, ReadError::TooMany { samples_max: 20 }), "{error}");
    assert!(store.read_series(query(&[("n", "9")], ALL_TIME, 9)).await.unwrap().is_empty());
    assert_eq!(store.label_sets(vec![Matcher::equal("n", "1")]).await.unwrap(), [series(1)]);

    // Blocks and what is still in memory, the newest first; the log queue is emptied before.
    let found = |matchers: Vec<Matcher>, range| {
        let (selection, store) = (Selection { matchers, range, needles: Vec::new() }, store.clone());
        async move {
            let source = store.log_source().await.unwrap();
            let work = move || {
                let mut texts = Vec::new();
                for block in source.blocks(&selection).unwrap() {
                    source
                        .read(block, &selection, &mut |labels, record| {
                            assert_eq!(labels.value("source"), "test");
                            texts.push(String::from_utf8(record.line.to_vec()).unwrap());
                            ControlFlow::Continue(())
                        })
                        .unwrap();
                }
                (texts, source.streams(&selection.matchers, selection.range).unwrap().len())
            };
            tokio::task::spawn_blocking(work).await.unwrap()
        }
    };
    let ours = || vec![Matcher::equal("source", "test")];
    assert_eq!(found(ours(), ALL_TIME).await, (vec!["c".into(), "a".into(), "b".into()], 1));
    assert_eq!(found(vec![Matcher::equal("source", "other")], ALL_TIME).await, (vec![], 0));
    let before = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(-1) };
    assert_eq!(found(ours(), before).await, (vec![], 0));

    let newest = store.newest().await.unwrap();
    assert_eq!(newest.iter().map(|(_, sample)| sample.value).collect::<Vec<_>>(), [6.0, 7.0, 8.0]);
    store.close().await.unwrap();
    opened.thread.join().unwrap();
}

#[tokio::test]
async fn tips_and_figures_follow_and_closing_ends_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (opened, hand) = start(&dir, Config::default());
    assert!(opened.clean && opened.positions.is_empty());
    let store = opened.store;
    let mut tips = store.tips();
    store.append_scrape(scrape(0, 0.0), Pace::Round).await.unwrap();
    let metrics = |tips: &[Tip]| tips.iter().find(|tip| tip.stream == StreamKind::Metrics).unwrap().clone();
    let tip = metrics(&tips.wait_for(|tips| metrics(tips).waiting == 1).await.unwrap());
    let batch = store.load(tip.stream, tip.epoch, tip.first, None, 1 << 20).await.unwrap().unwrap();
    assert_eq!((batch.from, batch.to), (Seq(1), Seq(1)));
    let have: SeqSet = vec![(1, 1)].into();
    store.acknowledge(Ack { stream: tip.stream, epoch: tip.epoch, have, dict: None }).await.unwrap();
    tips.wait_for(|tips| metrics(tips).waiting == 0).await.unwrap();

    store.append_logs(lines(1, &["a"]), |_| {}).await.unwrap();
    let entry = LossEntry {
        stream: StreamKind::Logs,
        reason: LossReason::Oversize,
        count: Some(2),
        range: TimeRange::at(UnixMillis(5)),
        source: "x".into(),
    };
    store.record_loss(entry.clone()).await.unwrap();
    let mut stats = store.stats();
    stats.wait_for(|stats| stats.log_lines == 1).await.unwrap();
    hand.advance(Duration::from_secs(60));
    store.append_events(vec![Event { at: UnixMillis(1), kind: EventKind::Stopped }]).await.unwrap();
    stats.wait_for(|stats| stats.log_lines_stored == 1 && stats.db_bytes > 0).await.unwrap();
    assert_eq!(store.ledger().await.unwrap(), [entry]);
    store.put_state(vec![("k".into(), Some(vec![1]))], vec![]).await.unwrap();
    assert_eq!(store.state("k").await.unwrap(), Some(vec![1]));

    let other = store.clone();
    store.close().await.unwrap();
    opened.thread.join().unwrap();
    assert_eq!(other.append_scrape(scrape(1, 1.0), Pace::Round).await, Err(Closed));
    assert!(matches!(other.load(tip.stream, tip.epoch, tip.first, None, 1).await, Err(LoadError::Closed)));
    let (opened, _) = start(&dir, Config::default());
    assert!(opened.clean);
    assert_eq!(opened.positions, [("file".to_owned(), vec![1])]);
}

#[tokio::test]
async fn dropping_every_handle_ends_the_run_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (opened, _) = start(&dir, Config::default());
    opened.store.append_scrape(scrape(0, 0.0), Pace::Round).await.unwrap();
    opened.store.append_logs(lines(1, &["a"]), |_| {}).await.unwrap();
    drop(opened.store);
    opened.thread.join().unwrap();
    let (opened, _) = start(&dir, Config::default());
    assert!(opened.clean);
    assert_eq!(opened.positions.len(), 1);
    let tips = opened.store.tips().borrow().clone();
    assert_eq!(tips.iter().map(|tip| tip.waiting).sum::<u64>(), 2);
}

#[tokio::test]
async fn log_inputs_alone_wait_while_their_room_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let keep = |policy| Retention { max_bytes: Bytes::kib(64), max_age: Span::secs(0), policy };
    let config = Config { logs: keep(Policy::Block), log_bytes: Bytes::kib(4), ..Config::default() };
    let (opened, clock) = start(&dir, config);
    let store = opened.store;
    let stats = store.stats();
    let mut sent = 0u64;
    let input = |n: u64| {
        let line: String =
            (0..30_000u64).map(|i| char::from(33 + ((i * i * 7919 + n * 31 + i / 7) % 90) as u8)).collect();
        lines(1, &[&line])
    };
    let mut waiting = None;
    while waiting.is_none() {
        // What comes within a second would share a commit.
        clock.advance(Duration::from_secs(1));
        let blocked = store.append_logs(input(sent), |_| {});
        tokio::pin!(blocked);
        tokio::select! {
            biased;
            taken = &mut blocked => taken.unwrap(),
            () = async { stats.clone().wait_for(|s| s.logs_wait && s.log_lines < sent).await.map(drop).unwrap() } => {
                waiting = Some(sent);
            }
        }
        sent += 1;
        assert!(sent < 200);
    }
    store.append_scrape(scrape(0, 0.0), Pace::Round).await.unwrap();
    store.flush().await.unwrap();
    let tip = store.tips().borrow().iter().find(|tip| tip.stream == StreamKind::Logs).unwrap().clone();
    let have: SeqSet = vec![(1, tip.next.0 - 1)].into();
    store.acknowledge(Ack { stream: tip.stream, epoch: tip.epoch, have, dict: None }).await.unwrap();
    stats.clone().wait_for(|stats| stats.log_lines + 1 == sent).await.unwrap();
    store.close().await.unwrap();
    opened.thread.join().unwrap();
}

#[tokio::test]
async fn what_waits_for_the_writer_is_bounded_in_bytes_and_a_gate_tells_who_waits() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let dir = tempfile::tempdir().unwrap();
    let log_budgets =
        serde_json::from_str(r#"[{"match": "{source=\"test\"}", "max_bytes": "64KiB", "policy": "block"}]"#).unwrap();
    let (opened, _) = start(&dir, Config { log_budgets, ..Config::default() });
    let store = opened.store;
    let bounds = super::super::handle::LOG_KIB_WAITING_MAX as usize;
    // As if another one of that size were in the queue, which has room for two of them by number.
    let room = store.log_room.clone().acquire_many_owned(bounds as u32).await.unwrap();
    {
        let shown = std::cell::Cell::new(0);
        let show = |input: &LogInput| shown.set(input.records.len());
        let mut waits = Box::pin(store.append_logs(lines(1, &["small"]), show));
        assert!(matches!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        // Whoever begins to watch now is shown what waits.
        assert_eq!(shown.get(), 0);
        drop(room);
        waits.await.unwrap();
        assert_eq!(shown.get(), 1);
    }
    // An input that is larger than all of it waits alone and is taken all the same.
    let many: Vec<String> = (0..8).map(|n| full::noise(n, 200 << 10)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    store.append_logs(lines(2, &many), |_| {}).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.log_room.available_permits(), bounds, "all is given back");
    let labels = record(0, "").labels;
    let mut gate = store.log_gate();
    assert!(gate.is_closed(&labels) && !gate.is_closed(&Labels::default()));
    let mut opens = Box::pin(gate.opened(&labels));
    assert!(matches!(opens.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    let tip = store.tips().borrow().iter().find(|tip| tip.stream == StreamKind::Logs).cloned().unwrap();
    let have = vec![(1, tip.next.0 - 1)].into();
    store.acknowledge(Ack { stream: tip.stream, epoch: tip.epoch, have, dict: None }).await.unwrap();
    opens.await;
    store.close().await.unwrap();
    opened.thread.join().unwrap();
}
