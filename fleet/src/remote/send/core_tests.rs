use super::*;
use crate::intake::fixture::{at, labels as labels_of, node};
use axum::http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use skerry_chunk::Column;
use skerry_model::{UnixMillis, stale_nan};

fn block(name: &str, is_late: bool, rows: &[i64], series: &[(u32, &[Option<f64>])]) -> (OutgoingBlock, MetricBlock) {
    let columns = series.iter().map(|(id, values)| Column { series: SeriesId(*id), values: values.to_vec() });
    let read = MetricBlock { timestamps: rows.iter().map(|at| UnixMillis(*at)).collect(), columns: columns.collect() };
    let range = read.range().unwrap();
    let samples = read.sample_count() as u64;
    let data = read.encode().unwrap();
    (OutgoingBlock { node: node(name), stream: 1, is_late, received: at(0), samples, range, data }, read)
}

fn plan(blocks: &[(OutgoingBlock, MetricBlock)], samples_max: u64) -> BTreeMap<NodeId, Vec<Request>> {
    let planned = requests(blocks, |_, id| Some(Shown::As(labels_of(id))), samples_max);
    assert!(planned.unnamed.is_empty());
    planned.requests
}

fn times(request: &Request) -> Vec<(String, Vec<i64>)> {
    let of = |series: &Series| {
        (series.labels.value("id").to_owned(), series.samples.iter().map(|sample| sample.at.0).collect())
    };
    request.series.iter().map(of).collect()
}

#[test]
fn a_request_holds_one_node_and_late_samples_go_by_themselves() {
    let blocks = [
        block("a", false, &[10, 20], &[(1, &[Some(1.0), Some(2.0)])]),
        block("b", false, &[5], &[(1, &[Some(9.0)])]),
        block("a", true, &[1, 2], &[(1, &[Some(-1.0), Some(-2.0)])]),
        block("a", false, &[30], &[(1, &[Some(stale_nan())]), (2, &[Some(7.0)])]),
    ];
    let planned = plan(&blocks, 100);
    let a = &planned[&node("a")];
    assert_eq!(a.iter().map(|request| request.is_late).collect::<Vec<_>>(), [false, true]);
    assert_eq!(times(&a[0]), [("1".into(), vec![10, 20, 30]), ("2".into(), vec![30])]);
    assert!(skerry_model::is_stale(a[0].series[0].samples[2].value));
    assert_eq!(times(&a[1]), [("1".into(), vec![1, 2])]);
    assert_eq!((a[0].samples(), a[0].range().from.0, a[0].range().to.0), (4, 10, 30));
    assert_eq!(planned[&node("b")].len(), 1);
}

#[test]
fn moments_that_come_twice_and_backwards_become_one_line() {
    let blocks = [
        block("a", false, &[20, 10, 20], &[(1, &[Some(2.0), Some(1.0), Some(3.0)])]),
        block("a", false, &[30], &[(1, &[None]), (2, &[Some(4.0)])]),
    ];
    let a = &plan(&blocks, 100)[&node("a")];
    assert_eq!(times(&a[0]), [("1".into(), vec![10, 20]), ("2".into(), vec![30])]);
    assert_eq!(a[0].series[0].samples[1].value, 2.0, "the first one counts, as in queries");
}

#[test]
fn samples_without_labels_and_dropped_ones_are_counted() {
    let rows: [(u32, &[Option<f64>]); 3] =
        [(1, &[Some(1.0), Some(2.0)]), (2, &[None, Some(3.0)]), (3, &[Some(4.0); 2])];
    let blocks = [block("a", false, &[10, 20], &rows)];
    let shown = |_, id: SeriesId| match id.0 {
        1 => Some(Shown::As(labels_of(id))),
        2 => None,
        _ => Some(Shown::Dropped),
    };
    let planned = requests(&blocks, shown, 9);
    assert_eq!(planned.requests[&node("a")][0].samples(), 2);
    assert_eq!((planned.unnamed[&node("a")].0, planned.excluded), (1, 2));
}

proptest! {
    #[test]
    fn no_sample_is_lost_or_sent_twice_or_out_of_order(
        sizes in proptest::collection::vec((1usize..5, 1u32..6), 1..8),
        samples_max in 1u64..12,
    ) {
        let mut next = 0;
        let blocks: Vec<_> = sizes.iter().map(|(rows, series)| {
            let rows: Vec<i64> = (0..*rows).map(|_| { next += 1; next }).collect();
            let values: Vec<Option<f64>> = rows.iter().map(|at| Some(*at as f64)).collect();
            let columns: Vec<(u32, &[Option<f64>])> = (0..*series).map(|id| (id, values.as_slice())).collect();
            block("a", false, &rows, &columns)
        }).collect();
        let total: u64 = blocks.iter().map(|(block, _)| block.samples).sum();
        let all = plan(&blocks, samples_max).remove(&node("a")).unwrap();
        prop_assert_eq!(plan(&blocks, samples_max).remove(&node("a")).unwrap(), all.clone(), "the same again");
        prop_assert_eq!(all.iter().map(Request::samples).sum::<u64>(), total);
        let mut newest: BTreeMap<String, i64> = BTreeMap::new();
        for request in &all {
            prop_assert!((1..=samples_max).contains(&request.samples()));
            for (id, times) in times(request) {
                for at in times {
                    prop_assert!(newest.insert(id.clone(), at).is_none_or(|before| before < at));
                }
            }
        }
    }
}

fn answer(status: u16, words: &str, header: Option<(&'static str, &str)>) -> Answer {
    let headers = header.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap()));
    Answer { status, headers: headers.into_iter().collect(), body: words.into() }
}

const NEW: Sent = Sent { protocol: Protocol::V1, is_late: false, before: Before::New };
const AGAIN: Sent = Sent { before: Before::InDoubt, ..NEW };

#[test]
fn a_store_that_does_not_say_what_it_took_took_nothing_of_2_0() {
    let answer = |status, written: Option<u64>| match written {
        None => answer(status, "", None),
        Some(written) => answer(status, "", Some((WRITTEN, &written.to_string()))),
    };
    let sent = Sent { protocol: Protocol::V2, ..NEW };
    let Verdict::Retry { why, .. } = judge(&answer(204, None), &sent, at(0)) else { panic!("to be tried again") };
    assert!(why.contains("protobuf_message"), "{why}");
    assert_eq!(judge(&answer(204, Some(9)), &sent, at(0)), Verdict::Sent);
    assert!(matches!(judge(&answer(400, Some(3)), &sent, at(0)), Verdict::Refused { written: 3, .. }));
}

#[test]
fn answers_are_judged_as_the_specification_says() {
    let judged = |status, words: &str| judge(&answer(status, words, None), &NEW, at(0));
    assert_eq!(judged(200, ""), Verdict::Sent);
    assert_eq!(judged(204, ""), Verdict::Sent);
    for status in [500, 502, 503, 504, 429, 301, 302] {
        assert!(matches!(judged(status, "x"), Verdict::Retry { .. }), "{status}");
    }
    for status in [400, 401, 403, 404, 413, 415, 422] {
        assert!(matches!(judged(status, "out of order sample"), Verdict::Refused { .. }), "{status}");
    }
    // The fixture's clock stands at 2023-11-14 22:13:20.
    for (text, secs) in [
        ("7", Some(7)),
        ("99999999999", Some(3600)),
        ("Tue, 14 Nov 2023 22:14:00 GMT", Some(40)),
        ("Tue, 14 Nov 2023 22:13:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
    ] {
        let asked = answer(503, "", Some(("retry-after", text)));
        let Verdict::Retry { after, .. } = judge(&asked, &NEW, at(0)) else { panic!("to be tried again") };
        assert_eq!(after, secs.map(Duration::from_secs), "{text}");
    }
    let Verdict::Refused { why, .. } = judged(400, &"x".repeat(9999)) else { panic!("to be dropped") };
    assert!(why.len() < 400);
}

#[test]
fn a_request_in_doubt_that_is_out_of_order_was_taken_before() {
    for words in ["out of order sample\n", "duplicate sample for timestamp", "err-mimir-sample-out-of-order"] {
        let answer = answer(400, words, None);
        assert_eq!(judge(&answer, &AGAIN, at(0)), Verdict::Repeated, "{words}");
        assert!(
            matches!(judge(&answer, &Sent { is_late: true, ..AGAIN }, at(0)), Verdict::Refused { .. }),
            "late ones say nothing"
        );
        assert!(matches!(judge(&answer, &NEW, at(0)), Verdict::Refused { .. }));
    }
    let other = answer(400, "label name is invalid", None);
    assert!(matches!(judge(&other, &AGAIN, at(0)), Verdict::Refused { .. }));
}

#[test]
fn lanes_get_about_as_much_each_and_a_node_one_lane() {
    let one = |name: &str| Request { node: node(name), is_late: false, series: Vec::new() };
    let of = |name: &str, n: usize| (node(name), vec![one(name); n]);
    let lanes = deal([of("a", 5), of("b", 2), of("c", 2), of("d", 1)].into(), 2);
    assert_eq!(lanes.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
    assert!(lanes[0].iter().all(|request| request.node == node("a")));
    assert_eq!(deal(BTreeMap::new(), 3).len(), 3);
}
