use super::*;
use proptest::prelude::*;
use skerry_model::UnixMillis;
use skerry_promapi::Found;
use skerry_promapi::Response;
use skerry_promapi::edge::parts;
use skerry_promql::{Annotations, Answer, Point, Series, Value};
use skerry_wire::ResultKind;
use std::collections::BTreeSet;

const TIMEOUT: Duration = Duration::from_secs(10);

fn node(n: usize) -> NodeId {
    format!("n{n:04}").parse().unwrap()
}

fn instant() -> Question {
    Question::Instant { expr: "m".into(), at: None, lookback_ms: None }
}

fn targets(count: usize) -> Vec<Target> {
    (0..count).map(|n| Target { node: node(n), signed: Labels::new([("site", "lab")]).unwrap() }).collect()
}

fn fanout(count: usize, in_flight_max: usize, bytes_max: u64) -> Fanout {
    Fanout::new(&instant(), targets(count), Mono(0), TIMEOUT, Limits { in_flight_max, bytes_max }).unwrap()
}

/// What a node sends: `series` series with its number as value.
fn result(n: usize, series: usize) -> Vec<AnswerPart> {
    let one = |at: usize| Series {
        labels: Labels::new([("__name__", "m".to_owned()), ("i", at.to_string())]).unwrap(),
        points: vec![Point { at: UnixMillis(1000), value: n as f64 }],
    };
    let value = Value::Vector((0..series).map(one).collect());
    let found = Found::Answer { answer: Answer { value, annotations: Annotations::default() }, at: UnixMillis(1000) };
    parts(found, 1 << 30).unwrap().collect()
}

fn response(merge: Merge, fates: &BTreeMap<NodeId, Fate>) -> serde_json::Value {
    let done = match refusal(fates) {
        Some(refused) => refused.with_nodes(&nodes_json(fates)),
        None => merge.response(UnixMillis(0), None, &warnings(fates), &nodes_json(fates)),
    };
    let Response { body, .. } = done;
    serde_json::from_str(&body).unwrap()
}

fn why(fates: &BTreeMap<NodeId, Fate>, n: usize) -> &str {
    match &fates[&node(n)] {
        Fate::Answered { .. } => "answered",
        Fate::Silent { why, .. } => why.as_str(),
    }
}

/// What a simulated node does with a question.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Answers { after_ms: u64, is_doubled: bool },
    LosesAPart,
    Refuses,
    Dies { after_ms: u64 },
    Hangs,
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        6 => (1u64..400, any::<bool>()).prop_map(|(after_ms, is_doubled)| Manner::Answers { after_ms, is_doubled }),
        1 => (9_000u64..12_000).prop_map(|after_ms| Manner::Answers { after_ms, is_doubled: false }),
        1 => Just(Manner::LosesAPart),
        1 => Just(Manner::Refuses),
        1 => (1u64..5_000).prop_map(|after_ms| Manner::Dies { after_ms }),
        1 => Just(Manner::Hangs),
    ]
}

/// What reaches the centre, by time.
enum Event {
    Part(usize, AnswerPart),
    Gone(usize),
}

/// Plays a whole query in virtual time; when it ended.
fn play(manners: &[Manner], in_flight_max: usize) -> (Fanout, Mono) {
    let mut fanout = fanout(manners.len(), in_flight_max, u64::MAX);
    let (mut now, mut order) = (Mono(0), 0u64);
    let mut queue: BTreeMap<(u64, u64), Event> = BTreeMap::new();
    loop {
        while let Some((asked, signed)) = fanout.next(now) {
            assert_eq!(signed.value("site"), "lab");
            let n: usize = asked.as_str()[1..].parse().unwrap();
            let mut push = |after_ms: u64, event| {
                order += 1;
                queue.insert((now.0 + after_ms, order), event);
            };
            match manners[n] {
                Manner::Answers { after_ms, is_doubled } => {
                    for part in result(n, 3) {
                        if is_doubled {
                            push(after_ms, Event::Part(n, part.clone()));
                        }
                        push(after_ms, Event::Part(n, part));
                    }
                }
                Manner::LosesAPart => push(5, Event::Part(n, result(n, 3).pop().unwrap())),
                Manner::Refuses => {
                    let failed = AnswerPart::Failed { kind: "execution".into(), reason: "too much".into() };
                    push(5, Event::Part(n, failed));
                }
                Manner::Dies { after_ms } => push(after_ms, Event::Gone(n)),
                Manner::Hangs => {}
            }
        }
        assert!(fanout.asked().count() <= in_flight_max);
        fanout.expire(now);
        if fanout.is_done() {
            return (fanout, now);
        }
        let at = queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        if at > fanout.until().0 {
            now = fanout.until();
            continue;
        }
        now = Mono(at);
        match queue.pop_first().unwrap().1 {
            Event::Part(n, part) => drop(fanout.take(&node(n), part, now)),
            Event::Gone(n) => fanout.lost(&node(n), Silence::Unreachable, "gone"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_node_has_its_fate_in_time(manners in proptest::collection::vec(manner(), 1..120), in_flight_max in 1usize..64) {
        let (fanout, ended) = play(&manners, in_flight_max);
        prop_assert!(ended.0 <= 10_000);
        let (merge, fates) = fanout.finish();
        prop_assert_eq!(fates.len(), manners.len());
        let answered: BTreeSet<usize> = (0..manners.len()).filter(|n| why(&fates, *n) == "answered").collect();
        for (n, manner) in manners.iter().enumerate() {
            let expected: &[&str] = match manner {
                Manner::Answers { .. } => &["answered", "timeout"],
                Manner::LosesAPart | Manner::Refuses => &["error", "timeout"],
                Manner::Dies { .. } => &["unreachable", "timeout"],
                Manner::Hangs => &["timeout"],
            };
            prop_assert!(expected.contains(&why(&fates, n)), "{n} {manner:?}: {:?}", fates[&node(n)]);
        }
        let body = response(merge, &fates);
        let result = body["data"]["result"].as_array().cloned().unwrap_or_default();
        prop_assert_eq!(result.len(), answered.len() * 3);
        for series in &result {
            let name = series["metric"]["node"].as_str().unwrap();
            let value: f64 = series["value"][1].as_str().unwrap().parse().unwrap();
            prop_assert_eq!(format!("n{value:04}"), name);
        }
        let told = body["warnings"].as_array().map_or(0, Vec::len);
        prop_assert_eq!(told, if answered.is_empty() { 0 } else { manners.len() - answered.len() });
        prop_assert_eq!(body["nodes"].as_object().unwrap().len(), manners.len());
    }
}

#[test]
fn a_thousand_nodes_answer_in_turns() {
    let manners = vec![Manner::Answers { after_ms: 50, is_doubled: false }; 1000];
    let (fanout, ended) = play(&manners, 256);
    let (merge, fates) = fanout.finish();
    assert_eq!(ended, Mono(200), "four rounds of 50 ms");
    assert!(warnings(&fates).is_empty() && refusal(&fates).is_none());
    assert_eq!(response(merge, &fates)["data"]["result"].as_array().unwrap().len(), 3000);
}

#[test]
fn results_are_bounded_together_and_what_is_over_is_told() {
    let mut fanout = fanout(4, 4, 60_000);
    while fanout.next(Mono(0)).is_some() {}
    for n in 0..4 {
        for part in result(n, 200) {
            fanout.take(&node(n), part, Mono(1));
        }
    }
    let (merge, fates) = fanout.finish();
    let told = warnings(&fates);
    assert!((1..4).contains(&told.len()), "{told:?}");
    assert!(told.iter().all(|warning| warning.contains("more than 60000 bytes together")), "{told:?}");
    let answered = response(merge, &fates)["data"]["result"].as_array().unwrap().len();
    assert_eq!(answered, (4 - told.len()) * 200);
}

#[test]
fn empty_items_count_too() {
    let sets = std::iter::repeat_n(Labels::default(), 100_000).collect();
    let piece = skerry_wire::Packed::pack(&Piece::Labels(sets)).unwrap();
    assert!(piece.bytes() < 200_000);
    let mut fanout = fanout(1, 1, 1_000_000);
    fanout.next(Mono(0));
    assert!(fanout.take(&node(0), AnswerPart::Result { number: 0, piece }, Mono(1)));
    assert_eq!(why(&fanout.finish().1, 0), "error");
}

#[test]
fn a_node_answers_only_what_it_was_asked() {
    let mut fanout = fanout(2, 1, u64::MAX);
    let (first, _) = fanout.next(Mono(0)).unwrap();
    assert_eq!(first, node(0));
    assert!(fanout.next(Mono(0)).is_none(), "one at a time");
    for part in result(1, 1) {
        assert!(fanout.take(&node(1), part, Mono(1)), "not asked yet");
    }
    let other = Done { kind: ResultKind::Matrix, pieces: 0, warnings: vec![], infos: vec![] };
    assert!(fanout.take(&node(0), AnswerPart::Done(other), Mono(2)));
    fanout.expire(Mono(10_000));
    let (_, fates) = fanout.finish();
    assert_eq!((why(&fates, 0), why(&fates, 1)), ("error", "timeout"));
    let refused = refusal(&fates).unwrap();
    assert_eq!((refused.status, refused.kind), (500, "internal"));
    assert!(
        refused.text.contains("another form") && refused.text.contains("its turn did not come"),
        "{}",
        refused.text
    );
}

#[test]
fn the_most_telling_reason_is_the_error() {
    let silent = |why: Silence| Fate::Silent { why, reason: "r".into() };
    let fates = |all: &[Silence]| -> BTreeMap<NodeId, Fate> {
        all.iter().enumerate().map(|(n, why)| (node(n), silent(why.clone()))).collect()
    };
    for (all, status, kind) in [
        (vec![Silence::Unknown], 404, "not_found"),
        (vec![Silence::Unknown, Silence::Unreachable], 503, "unavailable"),
        (vec![Silence::Unreachable, Silence::Timeout], 503, "timeout"),
        (vec![Silence::Timeout, Silence::Error("execution")], 422, "execution"),
        (vec![Silence::TooOld, Silence::Error("unavailable")], 503, "unavailable"),
    ] {
        let refused = refusal(&fates(&all)).unwrap();
        assert_eq!((refused.status, refused.kind), (status, kind), "{all:?}");
    }
    let many = refusal(&fates(&vec![Silence::Timeout; 25])).unwrap();
    assert!(many.text.ends_with("; and 15 more"), "{}", many.text);
    assert!(Merge::new(&Question::Instant { expr: "m{".into(), at: None, lookback_ms: None }).is_err());
}
