//! The core against a model, on the ledger in memory.

use super::MemoryLedger;
use super::core::{
    BATCH_NUMBERS_MAX, Content, EPOCHS_OPEN_MAX, Outcome, RANGES_MAX, Refusal, StreamKey, Taken, Verdict, take_in,
};
use super::fixture::{self, at, node};
use proptest::prelude::*;
use skerry_chunk::{Limits, MetricBlock};
use skerry_model::{Epoch, Seq, SeriesId, StreamKind, UnixMillis};
use skerry_wire::Batch;
use std::collections::BTreeMap;

const NOW: UnixMillis = UnixMillis(5);

fn take(ledger: &mut MemoryLedger, stream: StreamKind, batch: &Batch) -> Outcome {
    let Ok(outcome) = take_in(ledger, &node("a"), stream, batch, NOW);
    outcome
}

fn key(stream: StreamKind, epoch: u64) -> StreamKey {
    StreamKey { node: node("a"), stream, epoch: Epoch(epoch) }
}

/// All samples in the ledger by number and series; fails where a number stands in two blocks.
fn samples(taken: &[Taken]) -> BTreeMap<(u64, SeriesId), f64> {
    let (mut samples, mut rows_seen) = (BTreeMap::new(), std::collections::BTreeSet::new());
    for Taken { content, .. } in taken {
        let Content::Metrics { blocks, .. } = content else { continue };
        for rows in blocks {
            let block = MetricBlock::decode(&rows.data, &Limits::default()).unwrap();
            assert_eq!(block.sample_count() as u64, rows.samples);
            assert_eq!(block.timestamps, (rows.from.0..=rows.to.0).map(at).collect::<Vec<_>>());
            for (row, n) in (rows.from.0..=rows.to.0).enumerate() {
                assert!(rows_seen.insert(n), "number {n} was stored twice");
                for column in &block.columns {
                    if let Some(value) = column.values[row] {
                        samples.insert((n, column.series), value);
                    }
                }
            }
        }
    }
    samples
}

fn expected(numbers: impl Iterator<Item = u64>) -> BTreeMap<(u64, SeriesId), f64> {
    numbers.flat_map(|n| fixture::series(n).into_iter().map(move |id| ((n, id), fixture::value(n, id)))).collect()
}

#[derive(Debug, Clone)]
struct Send {
    from: u64,
    more: u64,
    /// What the node believes the fleet to know; may be wrong.
    known: Option<u32>,
    gone: bool,
    /// Whether the fleet crashes before it commits this one and those before it that wait.
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Wait,
    Commit,
    Crash,
}

fn sends() -> impl Strategy<Value = Vec<Send>> {
    let end = prop_oneof![Just(End::Wait), Just(End::Commit), Just(End::Crash)];
    let one = (1u64..40, 0u64..9, proptest::option::of(0u32..18), proptest::bool::weighted(0.1), end);
    let one = one.prop_map(|(from, more, known, gone, end)| Send { from, more, known, gone, end });
    proptest::collection::vec(one, 1..40)
}

proptest! {
    #[test]
    fn every_number_is_taken_exactly_once(sends in sends()) {
        let mut ledger = MemoryLedger::new();
        let mut gone = std::collections::BTreeSet::new();
        let mut waiting: Vec<(Outcome, Send)> = Vec::new();
        for send in sends {
            let to = send.from + send.more;
            let batch = if send.gone {
                fixture::gone(1, send.from, to)
            } else {
                fixture::metrics(1, send.from, to, send.known.map(SeriesId))
            };
            let before: Vec<u64> = (send.from..=to).filter(|n| !waiting.iter().any(|(o, _)| o.ack.have.contains(Seq(*n)))
                && !ledger.state(&key(StreamKind::Metrics, 1)).is_some_and(|s| s.have.contains(Seq(*n)))).collect();
            let outcome = take(&mut ledger, StreamKind::Metrics, &batch);
            if let Verdict::NeedsDict { series } = outcome.verdict {
                prop_assert!(outcome.ack.dict < Some(series), "the node would leave out series {series:?} again");
            }
            let end = send.end;
            let by_gone = if send.gone { before } else { Vec::new() };
            waiting.push((outcome, send));
            match end {
                End::Wait => { gone.extend(by_gone.into_iter().map(|n| (n, false))); }
                End::Commit => {
                    ledger.commit();
                    gone = gone.into_iter().map(|(n, _)| (n, true)).chain(by_gone.into_iter().map(|n| (n, true))).collect();
                    // Acknowledgements leave now: the ledger must hold every number they name.
                    let state = ledger.state(&key(StreamKind::Metrics, 1)).cloned().unwrap_or_default();
                    for (outcome, _) in waiting.drain(..) {
                        for (from, to) in outcome.ack.have.ranges() {
                            prop_assert!(state.have.missing(Seq(*from), Seq(*to)).is_empty());
                        }
                    }
                }
                End::Crash => {
                    ledger.crash();
                    gone.retain(|(_, durable)| *durable);
                    waiting.clear();
                }
            }
        }
        // The node goes on until all is acknowledged, minding what it is told of the dictionary.
        let mut known = Some(SeriesId(9));
        for from in (1..=48).step_by(5) {
            for attempt in 0.. {
                prop_assert!(attempt < 2, "the dictionary was asked for again and again");
                let outcome = take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, from, from + 4, known));
                known = outcome.ack.dict;
                if !matches!(outcome.verdict, Verdict::NeedsDict { .. }) { break }
            }
        }
        ledger.commit();
        prop_assert_eq!(ledger.state(&key(StreamKind::Metrics, 1)).unwrap().have.ranges(), [(1, 50)]);
        let lost: Vec<u64> = gone.into_iter().map(|(n, _)| n).collect();
        prop_assert_eq!(samples(ledger.taken()), expected((1..=50).filter(|n| !lost.contains(n))));
        for id in (1..=50).filter(|n| !lost.contains(n)).flat_map(fixture::series) {
            prop_assert_eq!(ledger.labels(&key(StreamKind::Metrics, 1), id), Some(&fixture::labels(id)));
        }
    }

    #[test]
    fn foreign_bytes_never_stop_a_stream(bytes in proptest::collection::vec(any::<u8>(), 0..200), dict in proptest::collection::vec(any::<u8>(), 0..50)) {
        for stream in StreamKind::ALL {
            let mut ledger = MemoryLedger::new();
            let mut batch = fixture::one(1, 1, bytes.clone());
            batch.dict.clone_from(&dict);
            let outcome = take(&mut ledger, stream, &batch);
            prop_assert!(outcome.ack.have.contains(Seq(1)), "{:?}", outcome.verdict);
        }
    }
}

#[test]
fn a_duplicate_brings_nothing_and_is_acknowledged_again() {
    let mut ledger = MemoryLedger::new();
    let first = take(&mut ledger, StreamKind::Logs, &fixture::logs(1, 1));
    assert_eq!(first.verdict, Verdict::Stored { numbers: 1, repeated: 0, records: 3 });
    let again = take(&mut ledger, StreamKind::Logs, &fixture::logs(1, 1));
    assert_eq!(again.verdict, Verdict::Duplicate);
    assert_eq!(again.ack, first.ack);
    ledger.commit();
    assert_eq!(ledger.taken().len(), 1);
}

#[test]
fn an_overlap_is_cut_to_what_is_new() {
    let mut ledger = MemoryLedger::new();
    take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 4, 6, None));
    let outcome = take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 1, 9, None));
    assert_eq!(outcome.verdict, Verdict::Stored { numbers: 6, repeated: 3, records: 24 });
    assert_eq!(outcome.ack.have.ranges(), [(1, 9)]);
    assert_eq!(outcome.ack.dict, Some(SeriesId(7)));
    ledger.commit();
    assert_eq!(samples(ledger.taken()), expected(1..=9));
}

#[test]
fn a_missing_dictionary_is_asked_for() {
    let mut ledger = MemoryLedger::new();
    let outcome = take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 1, 2, Some(SeriesId(2))));
    assert_eq!(outcome.verdict, Verdict::NeedsDict { series: SeriesId(1) });
    assert_eq!((outcome.ack.dict, outcome.ack.have.is_empty()), (None, true));
    // Ids 5 and up arrive without 4, as when a server is restored from a backup: the watermark goes back for them.
    take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 1, 2, None));
    take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 30, 30, Some(SeriesId(13))));
    let outcome = take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 3, 3, Some(SeriesId(14))));
    assert_eq!(outcome.verdict, Verdict::NeedsDict { series: SeriesId(5) });
    assert_eq!(outcome.ack.dict, Some(SeriesId(4)));
    let outcome = take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 3, 3, outcome.ack.dict));
    assert!(matches!(outcome.verdict, Verdict::Stored { .. }));
}

#[test]
fn other_labels_for_a_known_series_go_to_quarantine() {
    let mut ledger = MemoryLedger::new();
    take(&mut ledger, StreamKind::Metrics, &fixture::metrics(1, 1, 1, None));
    let mut batch = fixture::metrics(1, 2, 2, None);
    batch.dict = skerry_chunk::dict::encode(&[(SeriesId(1), fixture::labels(SeriesId(2)))]).unwrap();
    let outcome = take(&mut ledger, StreamKind::Metrics, &batch);
    assert!(matches!(outcome.verdict, Verdict::Quarantined { code: "dict_conflict", .. }), "{:?}", outcome.verdict);
}

#[test]
fn unreadable_batches_are_kept_aside_and_closed() {
    let mut ledger = MemoryLedger::new();
    let mut short = fixture::metrics(1, 1, 3, None);
    short.to = Seq(5);
    let mut two_blocks = fixture::logs(1, 1);
    two_blocks.to = Seq(2);
    for (stream, batch, code) in [
        (StreamKind::Metrics, short, "row_count"),
        (StreamKind::Logs, two_blocks, "row_count"),
        (StreamKind::Logs, fixture::one(1, 7, vec![1, 2, 3]), "block"),
        (StreamKind::Events, fixture::one(1, 7, vec![0x60]), "unexpected"),
    ] {
        let outcome = take(&mut ledger, stream, &batch);
        let Verdict::Quarantined { code: found, reason } = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert_eq!(*found, code, "{reason}");
        assert!(outcome.ack.have.contains(batch.from) && outcome.ack.have.contains(batch.to));
        ledger.commit();
        let Some(Content::Quarantined { bytes, .. }) = ledger.taken().last().map(|taken| &taken.content) else {
            panic!("nothing was kept")
        };
        assert_eq!(skerry_wire::codec::decode::<Batch>(bytes, bytes.len()).unwrap(), batch);
    }
}

#[test]
fn numbers_out_of_bounds_are_refused() {
    let mut ledger = MemoryLedger::new();
    let mut refused = |change: &dyn Fn(&mut Batch)| {
        let mut batch = fixture::logs(1, 1);
        change(&mut batch);
        match take(&mut ledger, StreamKind::Logs, &batch).verdict {
            Verdict::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|b| b.from = Seq(0)), Refusal::Range { from: 0, to: 1 });
    assert_eq!(refused(&|b| b.from = Seq(2)), Refusal::Range { from: 2, to: 1 });
    assert_eq!(refused(&|b| b.to = Seq(u64::MAX)), Refusal::Range { from: 1, to: u64::MAX });
    assert_eq!(refused(&|b| b.epoch = Epoch(u64::MAX)), Refusal::Epoch { epoch: u64::MAX });
    let long = BATCH_NUMBERS_MAX + 1;
    assert_eq!(refused(&|b| b.to = Seq(long)), Refusal::TooLong { numbers: long });
    ledger.commit();
    assert!(ledger.taken().is_empty());
    // Numbers that are gone hold nothing, so there may be any number of them.
    let outcome = take(&mut ledger, StreamKind::Logs, &fixture::gone(1, 1, 1_000_000));
    assert_eq!(outcome.verdict, Verdict::Gone { numbers: 1_000_000 });
}

#[test]
fn holes_and_epochs_are_bounded() {
    let mut ledger = MemoryLedger::new();
    for n in 0..RANGES_MAX as u64 {
        take(&mut ledger, StreamKind::Logs, &fixture::gone(1, 2 + 2 * n, 2 + 2 * n));
    }
    let far = take(&mut ledger, StreamKind::Logs, &fixture::logs(1, 100_000));
    assert_eq!(far.verdict, Verdict::Refused(Refusal::TooManyRanges));
    assert_eq!(far.ack.have.ranges().len(), skerry_wire::ACK_RANGES_MAX);
    let filling = take(&mut ledger, StreamKind::Logs, &fixture::logs(1, 3));
    assert!(matches!(filling.verdict, Verdict::Stored { .. }));
    for epoch in 2..=EPOCHS_OPEN_MAX as u64 {
        take(&mut ledger, StreamKind::Logs, &fixture::gone(epoch, 1, 1));
    }
    let late = take(&mut ledger, StreamKind::Logs, &fixture::logs(9999, 1));
    assert_eq!(late.verdict, Verdict::Refused(Refusal::TooManyEpochs));
    assert!(matches!(take(&mut ledger, StreamKind::Logs, &fixture::logs(2, 5)).verdict, Verdict::Stored { .. }));
}

#[test]
fn two_epochs_hold_the_same_numbers_apart() {
    let mut ledger = MemoryLedger::new();
    for epoch in [1, 2] {
        let outcome = take(&mut ledger, StreamKind::Metrics, &fixture::metrics(epoch, 1, 2, None));
        assert!(matches!(outcome.verdict, Verdict::Stored { numbers: 2, .. }));
        assert_eq!(outcome.ack.epoch, Epoch(epoch));
    }
    ledger.commit();
    assert_eq!(ledger.taken().len(), 2);
}
