use super::*;
use crate::intake::core::{Verdict, take_in};
use crate::intake::fixture::node;
use proptest::prelude::*;
use skerry_model::{StreamKind, stale_nan};
use skerry_remote::{Series, unpack, write};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn series(name: &str, samples: &[(i64, f64)]) -> Series {
    let sample = |(at, value): &(i64, f64)| Sample { at: UnixMillis(NOW.0 + at), value: *value };
    Series {
        labels: Labels::new([("__name__", name), ("job", "a")]).unwrap(),
        samples: samples.iter().map(sample).collect(),
    }
}

fn message(series: &[Series]) -> Vec<u8> {
    unpack(&write(Protocol::V1, series), 1 << 24).unwrap()
}

fn take(sender: &mut Sender, series: &[Series]) -> Taken {
    sender.take(Protocol::V1, &message(series), &Limits::default(), NOW).unwrap()
}

fn reasons(taken: &Taken) -> Vec<(LossReason, u64)> {
    taken.rejected.iter().map(|rejected| (rejected.reason, rejected.count)).collect()
}

/// Takes batches in as the store does, and reads them back.
fn stored(batches: &[Batch]) -> BTreeMap<String, Vec<Sample>> {
    let mut ledger = crate::intake::MemoryLedger::default();
    let mut names: HashMap<SeriesId, String> = HashMap::new();
    let mut found: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for batch in batches {
        let outcome = take_in(&mut ledger, &node("remote"), StreamKind::Metrics, batch, NOW).unwrap();
        assert!(matches!(outcome.verdict, Verdict::Stored { repeated: 0, .. }), "{:?}", outcome.verdict);
        if !batch.dict.is_empty() {
            let entries = dict::decode(&batch.dict, &skerry_chunk::Limits::default()).unwrap();
            names.extend(entries.into_iter().map(|(id, labels)| (id, labels.metric().to_owned())));
        }
        let Body::Block(bytes) = &batch.body else { panic!("a block") };
        let block = MetricBlock::decode(bytes, &skerry_chunk::Limits::default()).unwrap();
        for column in block.columns {
            for (at, value) in block.timestamps.iter().zip(column.values) {
                let sample = value.map(|value| Sample { at: *at, value });
                found.entry(names[&column.series].clone()).or_default().extend(sample);
            }
        }
    }
    found
}

#[test]
fn what_is_new_becomes_batches_that_the_store_takes() {
    let mut sender = Sender::new(Epoch(7));
    let first = take(&mut sender, &[series("up", &[(0, 1.0), (15, stale_nan())]), series("n", &[(0, -0.0)])]);
    let second = take(&mut sender, &[series("up", &[(30, 1.0)]), series("new", &[(30, 2.0)])]);
    assert_eq!((first.samples, second.samples, first.rejected.len() + second.rejected.len()), (3, 2, 0));
    let batches: Vec<Batch> = first.batches.into_iter().chain(second.batches).collect();
    let found = stored(&batches);
    assert_eq!(found["up"], series("up", &[(0, 1.0), (15, stale_nan()), (30, 1.0)]).samples);
    assert_eq!(found["n"], series("n", &[(0, -0.0)]).samples);
    assert_eq!(found["new"], series("new", &[(30, 2.0)]).samples);
}

#[test]
fn older_and_other_samples_are_refused_and_the_rest_is_kept() {
    let mut sender = Sender::new(Epoch(7));
    take(&mut sender, &[series("up", &[(10, 1.0)])]);
    let taken = take(
        &mut sender,
        &[series("up", &[(10, 1.0), (10, 2.0), (5, 1.0), (20, 3.0)]), series("far", &[(700_000, 1.0), (600_000, 1.0)])],
    );
    assert_eq!((taken.samples, taken.repeated), (2, 1));
    assert_eq!(reasons(&taken), [(LossReason::OutOfOrder, 2), (LossReason::OutOfBounds, 1)]);
    assert!(taken.rejected[0].first.starts_with("duplicate sample for timestamp: up{job=\"a\"}"));
    assert!(taken.rejected[1].first.starts_with("out of bounds: far{job=\"a\"} is 700 s ahead"));
    assert_eq!((taken.rejected[0].range.from.0, taken.rejected[0].range.to.0), (NOW.0 + 5, NOW.0 + 10));
}

#[test]
fn after_a_restart_older_samples_may_be_repeats() {
    let labels = series("up", &[]).labels;
    let newest = Sample { at: NOW, value: 1.0 };
    let known = vec![(SeriesId(4), labels.clone(), Some(newest))];
    let mut sender = Sender::restored(Epoch(7), Seq(9), known);
    let mut taken = take(&mut sender, &[series("up", &[(-30, 1.0), (-15, 2.0), (0, 1.0), (15, 1.0)])]);
    assert_eq!((taken.samples, taken.repeated, taken.doubtful.len()), (1, 1, 2));
    taken.resolve(|of, sample| *of == labels && sample.value == 2.0);
    assert_eq!((taken.repeated, reasons(&taken)), (2, vec![(LossReason::OutOfOrder, 1)]));
    assert_eq!((taken.batches[0].from, taken.batches[0].epoch, taken.batches[0].dict.len()), (Seq(9), Epoch(7), 0));
    // Something came since: what is older now is out of order and not looked up.
    let taken = take(&mut sender, &[series("up", &[(-30, 1.0)])]);
    assert_eq!((taken.doubtful.len(), reasons(&taken)), (0, vec![(LossReason::OutOfOrder, 1)]));
    assert_eq!(take(&mut sender, &[series("other", &[(0, 1.0)])]).batches[0].from, Seq(10));
}

#[test]
fn series_that_are_none_are_named() {
    let of = |labels: &[(&str, &str)]| {
        // Written by hand: `Labels` could not hold these.
        let mut one = Vec::new();
        for (name, value) in labels {
            let label =
                [&[0x0a, name.len() as u8], name.as_bytes(), &[0x12, value.len() as u8], value.as_bytes()].concat();
            one.extend([&[0x0a, label.len() as u8][..], &label].concat());
        }
        one.extend([0x12, 9, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        [&[0x0a, one.len() as u8][..], &one].concat()
    };
    let told = |labels: &[(&str, &str)]| {
        let mut sender = Sender::new(Epoch(7));
        let taken = sender.take(Protocol::V1, &of(labels), &Limits::default(), NOW).unwrap();
        assert_eq!((taken.samples, taken.rejected.len(), sender.series()), (0, 1, 0));
        taken.rejected[0].first.clone()
    };
    assert!(told(&[("job", "a")]).contains("without a metric name"));
    assert!(told(&[("__name__", "a"), ("x", "1"), ("x", "2")]).contains("\"x\" stands twice"));
    assert!(told(&[("__name__", "a"), ("", "1")]).contains("name is empty"));
    // A native histogram.
    let mut sender = Sender::new(Epoch(7));
    let taken = sender.take(Protocol::V1, &[0x0a, 2, 0x22, 0], &Limits::default(), NOW).unwrap();
    assert_eq!(reasons(&taken), [(LossReason::Parse, 1)]);
}

#[test]
fn a_message_that_is_damaged_at_its_end_changes_nothing() {
    let mut sender = Sender::new(Epoch(7));
    let mut bad = message(&[series("up", &[(0, 1.0)])]);
    bad.push(0x0a);
    assert!(sender.take(Protocol::V1, &bad, &Limits::default(), NOW).is_err());
    assert_eq!(sender.series(), 0);
    assert_eq!(take(&mut sender, &[series("up", &[(0, 1.0)])]).samples, 1);
}

#[test]
fn scattered_times_do_not_make_large_blocks() {
    // Two hundred targets, each scraped at a moment of its own, ten series each: 400,000 cells as one block.
    let all: Vec<Series> =
        (0..200).flat_map(|target| (0..10).map(move |n| series(&format!("m{target}_{n}"), &[(target, 1.0)]))).collect();
    let mut sender = Sender::new(Epoch(7));
    let taken = take(&mut sender, &all);
    assert_eq!((taken.samples, taken.rejected.len()), (2000, 0));
    assert!((2..40).contains(&taken.batches.len()), "{} batches", taken.batches.len());
    for batch in &taken.batches {
        let Body::Block(bytes) = &batch.body else { panic!("a block") };
        let info = skerry_chunk::metrics::info(bytes, &skerry_chunk::Limits::default()).unwrap();
        assert!(info.rows * info.series <= CELLS_FREE.max(usize::try_from(info.samples).unwrap() * CELLS_PER_SAMPLE));
    }
    assert_eq!(stored(&taken.batches).len(), 2000);
}

proptest! {
    #[test]
    fn what_is_taken_is_what_came_in_order(
        requests in proptest::collection::vec(
            proptest::collection::vec((0u8..5, proptest::collection::vec((0i64..50, any::<u64>()), 1..5)), 1..6), 1..6,
        ),
    ) {
        let mut sender = Sender::new(Epoch(7));
        let (mut batches, mut expected, mut counted) = (Vec::new(), BTreeMap::<String, Vec<Sample>>::new(), 0);
        for request in requests {
            let request: Vec<Series> = request.iter().map(|(name, samples)| {
                let samples: Vec<_> = samples.iter().map(|(at, bits)| (*at, f64::from_bits(*bits))).collect();
                series(&format!("m{name}"), &samples)
            }).collect();
            let (mut good, mut repeated, mut bad) = (0, 0, 0);
            for series in &request {
                let held = expected.entry(series.labels.metric().to_owned()).or_default();
                for sample in &series.samples {
                    match held.last() {
                        Some(last) if last == sample => repeated += 1,
                        Some(last) if sample.at <= last.at => bad += 1,
                        _ => { held.push(*sample); good += 1; }
                    }
                }
            }
            let taken = take(&mut sender, &request);
            prop_assert_eq!((taken.samples, taken.repeated), (good, repeated));
            prop_assert_eq!(taken.rejected.iter().map(|rejected| rejected.count).sum::<u64>(), bad);
            batches.extend(taken.batches);
            counted += good;
        }
        let found = stored(&batches);
        prop_assert_eq!(found.values().map(|samples| samples.len() as u64).sum::<u64>(), counted);
        expected.retain(|_, samples| !samples.is_empty());
        for (name, mut samples) in found {
            samples.sort_by_key(|sample| sample.at);
            prop_assert_eq!(&samples, &expected[&name]);
        }
    }
}
