//! Log records: in exact order, chosen by content, labels and time, nodes ruled out first.

use super::*;
use skerry_logql::{Selection, Source};
use skerry_model::{RecordRef, TimeRange};

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
