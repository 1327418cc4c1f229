use super::*;
use crate::Found;
use skerry_model::{Labels, NodeId, UnixMillis};
use skerry_promql::{Annotations, Answer, Point, Series, Value};
use skerry_wire::{AnswerPart, Done, Piece, Question, ResultKind, Scope};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn found(value: Value) -> Found {
    Found::Answer { answer: Answer { value, annotations: Annotations::default() }, at: UnixMillis(2000) }
}

fn series(pairs: &[(&str, &str)], values: &[f64]) -> Series {
    let point = |(n, value): (usize, &f64)| Point { at: UnixMillis(n as i64 * 1000), value: *value };
    Series { labels: labels(pairs), points: values.iter().enumerate().map(point).collect() }
}

/// What the centre has of a node's answer.
fn sent(found: Found) -> (Done, Vec<Piece>) {
    let (mut pieces, mut last) = (Vec::new(), None);
    for part in parts(found, 1 << 30).unwrap() {
        match part {
            AnswerPart::Result { number, piece } => {
                assert_eq!(number as usize, pieces.len());
                pieces.push(piece.unpack().unwrap());
            }
            AnswerPart::Done(done) => last = Some(done),
            other => panic!("{other:?}"),
        }
    }
    let done = last.unwrap();
    assert_eq!(done.pieces as usize, pieces.len());
    (done, pieces)
}

fn instant(expr: &str) -> Question {
    Question::Instant { expr: expr.into(), at: None, lookback_ms: None }
}

fn range(expr: &str) -> Question {
    let (start, end) = (UnixMillis(0), UnixMillis(1000));
    Question::Range { expr: expr.into(), start, end, step_ms: 1000, lookback_ms: None }
}

/// The merged answer of nodes `a` and `b`, which have the label `site`.
fn merged(question: &Question, a: Found, b: Found) -> String {
    let mut merge = Merge::new(question).unwrap();
    // In the order in which they happen to answer.
    for (name, found) in [("b", b), ("a", a)] {
        let (done, pieces) = sent(found);
        merge.take(&node(name), &labels(&[("site", "lab")]), &done, pieces).unwrap();
    }
    merge.response(UnixMillis(2000), None, &[], &serde_json::json!({})).body
}

#[test]
fn vectors_matrices_and_numbers_of_nodes_stand_side_by_side() {
    let vector = |value| found(Value::Vector(vec![series(&[("__name__", "up")], &[value])]));
    assert_eq!(
        merged(&instant("up"), vector(1.0), vector(2.0)),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","node":"a","site":"lab"},"value":[0,"1"]},{"metric":{"__name__":"up","node":"b","site":"lab"},"value":[0,"2"]}]},"nodes":{}}"#
    );
    let matrix = || found(Value::Matrix(vec![series(&[("m", "2")], &[1.0, 2.0]), series(&[("m", "1")], &[3.0])]));
    let body = merged(&range("rate(x[1m])"), matrix(), matrix());
    let order: Vec<usize> = ["\"1\",\"node\":\"a\"", "\"1\",\"node\":\"b\"", "\"2\",\"node\":\"a\""]
        .iter()
        .map(|part| body.find(part).unwrap())
        .collect();
    assert!(order.is_sorted() && body.contains("\"matrix\""), "{body}");
    let scalar = |value| found(Value::Scalar(vec![Point { at: UnixMillis(2000), value }]));
    let body = merged(&instant("scalar(up)"), scalar(1.0), scalar(f64::NAN));
    assert!(
        body.contains(
            r#""vector","result":[{"metric":{"node":"a","site":"lab"},"value":[2,"1"]},{"metric":{"node":"b","site":"lab"},"value":[2,"NaN"]}]"#
        ),
        "{body}"
    );
    let points = || found(Value::Scalar(series(&[], &[1.0, 2.0]).points));
    let body = merged(&range("1 + time()"), points(), points());
    assert!(body.contains(r#"{"metric":{"node":"b","site":"lab"},"values":[[0,"1"],[1,"2"]]}"#), "{body}");
    let text = || found(Value::String("x".into()));
    assert!(merged(&instant("\"x\""), text(), text()).contains(r#""string","result":[2,"x"]"#));
}

#[test]
fn lists_are_united() {
    let sets = |value| Found::Series([labels(&[("__name__", "up"), ("job", value)])].into());
    let body = merged(&Question::Series(Scope::default()), sets("x"), sets("x"));
    assert_eq!(body.matches("\"job\":\"x\"").count(), 2, "{body}");
    let texts = |value: &str| Found::Texts(["job".to_owned(), value.to_owned()].into());
    let body = merged(&Question::Labels(Scope::default()), texts("x"), texts("y"));
    assert!(body.contains(r#""data":["job","x","y"]"#), "{body}");
}

#[test]
fn long_series_and_long_lists_are_cut_and_put_together() {
    let values: Vec<f64> = (0..50_000).map(f64::from).collect();
    let all = vec![series(&[("m", "1")], &values), series(&[("m", "2")], &values)];
    let (done, pieces) = sent(found(Value::Matrix(all.clone())));
    assert!(pieces.len() > 10, "{} pieces", pieces.len());
    let mut merge = Merge::new(&instant("m[1d]")).unwrap();
    assert_eq!(merge.take(&node("a"), &Labels::default(), &done, pieces), Ok(2));
    let body = merge.response(UnixMillis(0), None, &[], &serde_json::json!({})).body;
    assert!(body.contains("[49999,\"49999\"]") && body.matches("\"values\"").count() == 2);
    let refused = parts(found(Value::Matrix(all)), 1_000_000).err().unwrap();
    assert_eq!(refused.kind, "execution");
    assert!(refused.text.starts_with("the result has 1600"), "{}", refused.text);
}

#[test]
fn a_node_cannot_speak_for_another_nor_change_the_form() {
    let mut merge = Merge::new(&instant("up")).unwrap();
    let vector = |all| sent(found(Value::Vector(all)));
    let (done, pieces) = vector(vec![series(&[("node", "b")], &[1.0])]);
    merge.take(&node("a"), &Labels::default(), &done, pieces).unwrap();
    let (done, pieces) = sent(found(Value::Matrix(vec![series(&[], &[1.0, 2.0])])));
    assert_eq!(merge.take(&node("c"), &Labels::default(), &done, pieces.clone()), Err(Mismatch));
    let disguised = Done { kind: ResultKind::Vector, ..done };
    assert_eq!(merge.take(&node("c"), &Labels::default(), &disguised, pieces), Err(Mismatch));
    let body = merge.response(UnixMillis(0), None, &[], &serde_json::json!({})).body;
    assert!(body.contains(r#"{"exported_node":"b","node":"a"}"#) && !body.contains("\"c\""), "{body}");
}
