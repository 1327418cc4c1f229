//! Ship policies through the handles of both databases.

use super::*;
use crate::clock::{Clock, ManualClock};
use skerry_promql::Matcher;
use std::collections::BTreeSet;
use std::sync::Arc;

const ALL_TIME: TimeRange = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };

struct Pair {
    store: Store,
    beside: Beside,
    hand: Arc<ManualClock>,
}

async fn start(dir: &tempfile::TempDir, at: i64) -> Pair {
    let span = Span::secs(60);
    let rule = |selector: &str, policy| {
        let (selector, when) = (selector.to_owned(), "up".to_owned());
        Rule { selector, policy, resolution: span, when, around: span }
    };
    let ship = vec![
        rule("kept", ShipPolicy::Keep),
        rule("thinned", ShipPolicy::Downsampled),
        rule("{__name__=~\"kept|alarm\"}", ShipPolicy::OnAlert),
    ];
    let config = Config { ship, ..Config::default() };
    let (clock, hand) = Clock::manual(UnixMillis(at));
    let opened = open(&dir.path().join("agent.db"), config.clone(), clock.clone(), || 7).unwrap();
    let (store, beside) = opened.store.keep_beside(&dir.path().join("kept.db"), &config, clock, || 9).unwrap();
    let beside = beside.unwrap();
    beside.resume(&store, UnixMillis(at)).await.unwrap();
    Pair { store, beside, hand }
}

fn scrape(at_s: i64) -> Scrape {
    let value = |name: &str| (LabelsBuilder::metric(name).build(), at_s as f64);
    Scrape { at: UnixMillis(at_s * 1000), values: ["shipped", "kept", "thinned"].map(value).to_vec() }
}

async fn times(store: &Store, metric: &str) -> Vec<i64> {
    let matchers = vec![Matcher::equal("__name__", metric)];
    let query = SeriesQuery { matchers, range: ALL_TIME, samples_max: 1000 };
    let found = store.read_series(query).await.unwrap();
    let mut times: Vec<i64> = found.iter().flat_map(|(_, samples)| samples.iter().map(|s| s.at.0 / 1000)).collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// Names of the series that are on their way to the fleet.
async fn outgoing(store: &Store) -> BTreeSet<String> {
    let tip = store.tips().borrow().iter().find(|tip| tip.stream == StreamKind::Metrics && tip.current).cloned();
    let tip = tip.unwrap();
    let (mut at, mut names) = (Seq(1), BTreeSet::new());
    while let Some(batch) = store.load(StreamKind::Metrics, tip.epoch, at, None, 1 << 20).await.unwrap() {
        let dict = skerry_chunk::dict::decode(&batch.dict, &Limits::default()).unwrap();
        names.extend(dict.into_iter().map(|(_, labels)| labels.to_string()));
        at = batch.to.next();
    }
    names
}

#[tokio::test]
async fn what_stays_here_is_asked_here_and_never_sent() {
    let dir = tempfile::tempdir().unwrap();
    let Pair { store, beside, .. } = start(&dir, 0).await;
    for at in (0..90).step_by(15) {
        store.append_scrape(scrape(at), Pace::Round).await.unwrap();
    }
    assert_eq!(times(&store, "kept").await, [0, 15, 30, 45, 60, 75]);
    assert_eq!(times(&store, "thinned").await, [0, 15, 30, 45, 60, 75]);
    assert_eq!(times(&store, "thinned:max_1m").await, [45]);
    let sent = ["shipped", "thinned", "thinned:count_1m", "thinned:max_1m", "thinned:min_1m", "thinned:sum_1m"];
    assert_eq!(outgoing(&store).await, sent.map(str::to_owned).into());
    assert_eq!(store.label_sets(vec![]).await.unwrap().len(), 7);
    store.close().await.unwrap();
    beside.handle().close().await.unwrap();
}

#[tokio::test]
async fn what_waits_for_an_alert_goes_out_once_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let Pair { store, beside, .. } = start(&dir, 0).await;
    for at in [0, 15, 30] {
        let value = |name: &str| (LabelsBuilder::metric(name).build(), at as f64);
        let values = ["shipped", "kept", "alarm"].map(value).to_vec();
        store.append_scrape(Scrape { at: UnixMillis(at * 1000), values }, Pace::Round).await.unwrap();
    }
    assert_eq!(outgoing(&store).await, ["shipped".to_owned()].into());
    let range = TimeRange { from: UnixMillis(15_000), to: UnixMillis(30_000) };
    assert_eq!(
        store.release(Held::Samples(2), range).await.unwrap(),
        2,
        "two samples; the first rule keeps `kept` here"
    );
    assert_eq!(outgoing(&store).await, ["alarm".to_owned(), "shipped".to_owned()].into());
    assert_eq!(times(&store, "alarm").await, [0, 15, 30]);
    store.close().await.unwrap();
    beside.handle().close().await.unwrap();
}

#[tokio::test]
async fn a_window_goes_on_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [(0, 30), (30, 75)] {
        let Pair { store, beside, .. } = start(&dir, from * 1000).await;
        for at in (from..to).step_by(15) {
            store.append_scrape(scrape(at), Pace::Round).await.unwrap();
        }
        store.close().await.unwrap();
        beside.handle().close().await.unwrap();
        ended(beside);
    }
    let Pair { store, .. } = start(&dir, 80_000).await;
    let query = SeriesQuery {
        matchers: vec![Matcher::equal("__name__", "thinned:count_1m")],
        range: ALL_TIME,
        samples_max: 10,
    };
    let found = store.read_series(query).await.unwrap();
    assert_eq!(found[0].1[0].value.to_bits(), 4f64.to_bits(), "two samples of the first run and two of the second");
}

fn ended(beside: Beside) {
    beside.thread.join().unwrap();
}

#[tokio::test]
async fn an_unclean_stop_stands_in_the_ledger_and_age_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    {
        let Pair { store, beside, .. } = start(&dir, 0).await;
        store.append_scrape(scrape(0), Pace::Round).await.unwrap();
        store.flush().await.unwrap();
        beside.handle().flush().await.unwrap();
        let copy = |name: &str| std::fs::copy(dir.path().join(name), dir.path().join(format!("{name}.copy"))).unwrap();
        copy("kept.db");
        copy("kept.db-wal");
        store.close().await.unwrap();
        beside.handle().close().await.unwrap();
        ended(beside);
        std::fs::rename(dir.path().join("kept.db.copy"), dir.path().join("kept.db")).unwrap();
        std::fs::rename(dir.path().join("kept.db-wal.copy"), dir.path().join("kept.db-wal")).unwrap();
    }
    let Pair { store, beside, hand } = start(&dir, 1000).await;
    let ledger = store.ledger().await.unwrap();
    assert!(ledger.iter().any(|entry| entry.source == "kept" && entry.reason == LossReason::Crash), "{ledger:?}");
    assert_eq!(times(&store, "kept").await, [0]);
    // Settled once, and then older than it may be.
    let stop = tokio_util::sync::CancellationToken::new();
    let settling = tokio::spawn(Beside::settle(beside.handle(), stop.clone()));
    let mut tips = beside.handle().tips();
    tips.wait_for(|tips| tips.iter().all(|tip| tip.waiting == 0)).await.unwrap();
    stop.cancel();
    settling.await.unwrap().unwrap();
    hand.advance(Duration::from_secs(40 * 86_400));
    store.append_scrape(scrape(40 * 86_400), Pace::Round).await.unwrap();
    beside.handle().flush().await.unwrap();
    assert_eq!(times(&store, "kept").await, [40 * 86_400]);
    let of_kept = beside.handle().ledger().await.unwrap();
    assert!(of_kept.iter().all(|entry| entry.reason == LossReason::Crash), "age is no loss: {of_kept:?}");
}
