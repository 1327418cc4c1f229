//! Requests and answers as Loki's documentation of its HTTP API has them.

use super::*;
use crate::scan::{DirectorySum, StreamList, scan};
use serde_json::{Value as Json, json};
use skerry_chunk::{DecodeError, Limits, LogBlock, Unpacker};
use skerry_logql::{Block, Selection};
use skerry_model::{Labels, Level, LogRecord, OutputStream, RecordRef};
use std::ops::ControlFlow;

/// 2020-05-07T21:27:01Z.
const T: i64 = 1_588_886_821_000;

/// Blocks in memory.
struct Held(Vec<Vec<u8>>);

impl Source for Held {
    type Error = DecodeError;

    fn blocks(&self, _: &Selection) -> Result<Vec<Block>, DecodeError> {
        let block = |(key, bytes): (u64, &Vec<u8>)| {
            let range = skerry_chunk::logs::info(bytes, &Limits::default())?.range.unwrap();
            Ok(Block { key, range })
        };
        let mut blocks = (0..).zip(&self.0).map(block).collect::<Result<Vec<_>, _>>()?;
        blocks.sort_by_key(|block| std::cmp::Reverse((block.range.to, block.range.from, block.key)));
        Ok(blocks)
    }

    fn read(
        &self,
        block: Block,
        selection: &Selection,
        each: &mut dyn FnMut(&Labels, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let bytes = &self.0[usize::try_from(block.key).unwrap()];
        scan(bytes, &Limits::default(), &mut Unpacker::new(), selection, &Labels::clone, each)
    }

    fn streams(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Labels>, DecodeError> {
        let mut list = StreamList::new(matchers, range);
        for bytes in &self.0 {
            list.add(bytes, &Limits::default(), &mut Unpacker::new(), 0, &Labels::clone)?;
        }
        Ok(list.into_streams())
    }
}

impl Catalog for Held {
    fn directory(&self, matchers: &[Matcher], range: TimeRange) -> Result<Directory, DecodeError> {
        let mut sum = DirectorySum::new(matchers, range);
        for bytes in &self.0 {
            sum.add(bytes, &Limits::default(), 0, &Labels::clone)?;
        }
        Ok(sum.finish())
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn held() -> Held {
    let record = |at: i64, source: &str, fields: &[(&str, &str)], line: &[u8]| LogRecord {
        at: UnixMillis(T + at),
        labels: labels(&[("source", source)]),
        output: OutputStream::None,
        level: Level::Unknown,
        fields: labels(fields),
        line: line.to_vec(),
    };
    let block = |records| LogBlock { records }.encode(1).unwrap();
    Held(vec![
        block(vec![
            record(0, "app", &[("pid", "7")], b"took=3ms path=/a"),
            record(1000, "app", &[], b"took=5ms path=/b"),
            record(2000, "web", &[], b"GET \"/\" \xff"),
        ]),
        block(vec![record(3000, "app", &[("pid", "7")], b"took=9ms path=/a")]),
    ])
}

fn params(pairs: &[(&str, &str)]) -> Params {
    Params::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

fn ask_as(endpoint: &Endpoint, pairs: &[(&str, &str)], encoding: Encoding) -> Response {
    let elapsed = || Duration::from_millis(500);
    let params = params(pairs);
    let run = Run { endpoint, params: &params, encoding, now: UnixMillis(T + 10_000), elapsed: &elapsed };
    let budget = Budget { limits: skerry_logql::Limits::default(), should_stop: &|| false };
    answer(&run, &held(), budget)
}

fn ask(endpoint: &Endpoint, pairs: &[(&str, &str)]) -> Json {
    let Response { status, body } = ask_as(endpoint, pairs, Encoding::Flat);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn refused(endpoint: &Endpoint, pairs: &[(&str, &str)]) -> (u16, String) {
    let response = ask_as(endpoint, pairs, Encoding::Flat);
    assert!(response.media_type().starts_with("text/plain"), "{response:?}");
    (response.status, response.body)
}

#[test]
fn a_range_of_lines_is_streams_newest_first() {
    let answer = ask(&Endpoint::QueryRange, &[("query", "{source=~\".+\"}")]);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["data"]["resultType"], "streams");
    let expected = json!([
        {"stream": {"pid": "7", "source": "app"},
         "values": [["1588886824000000000", "took=9ms path=/a"], ["1588886821000000000", "took=3ms path=/a"]]},
        {"stream": {"source": "app"}, "values": [["1588886822000000000", "took=5ms path=/b"]]},
        {"stream": {"source": "web"}, "values": [["1588886823000000000", "GET \"/\" \u{fffd}"]]},
    ]);
    assert_eq!(answer["data"]["result"], expected);
    let summary = &answer["data"]["stats"]["summary"];
    assert_eq!((&summary["totalLinesProcessed"], &summary["totalEntriesReturned"]), (&json!(4), &json!(4)));
    assert_eq!((&summary["execTime"], &summary["linesProcessedPerSecond"]), (&json!(0.5), &json!(8)));
    assert!(answer["data"].get("encodingFlags").is_none());
}

#[test]
fn entries_have_their_own_labels_where_that_is_asked_for() {
    let pairs = [("query", "{source=\"app\"} | logfmt path"), ("limit", "2"), ("direction", "forward")];
    let body = ask_as(&Endpoint::QueryRange, &pairs, Encoding::of_header(Some("x, categorize-labels"))).body;
    let answer: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["data"]["encodingFlags"], json!(["categorize-labels"]));
    let expected = json!([{"stream": {"source": "app"}, "values": [
        ["1588886821000000000", "took=3ms path=/a", {"structuredMetadata": {"pid": "7"}, "parsed": {"path": "/a"}}],
        ["1588886822000000000", "took=5ms path=/b", {"parsed": {"path": "/b"}}],
    ]}]);
    assert_eq!(answer["data"]["result"], expected);
}

#[test]
fn limits_directions_times_and_intervals_choose_entries() {
    let lines = |pairs: &[(&str, &str)]| -> Vec<String> {
        let mut pairs = pairs.to_vec();
        pairs.push(("query", "{source=\"app\"} | keep source"));
        let answer = ask(&Endpoint::QueryRange, &pairs);
        let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
        values.iter().map(|value| value[1].as_str().unwrap()[5..8].to_owned()).collect()
    };
    assert_eq!(lines(&[]), ["9ms", "5ms", "3ms"]);
    assert_eq!(lines(&[("limit", "1")]), ["9ms"]);
    assert_eq!(lines(&[("limit", "2"), ("direction", "FORWARD")]), ["3ms", "5ms"]);
    // The start belongs to the range, the end does not.
    assert_eq!(lines(&[("start", "1588886822000000000"), ("end", "1588886824000000000")]), ["5ms"]);
    assert_eq!(lines(&[("start", "1588886822"), ("end", "2020-05-07T21:27:05Z")]), ["9ms", "5ms"]);
    assert_eq!(lines(&[("since", "8s")]), ["9ms"]);
    assert_eq!(lines(&[("interval", "2s")]), ["9ms", "5ms"]);
    assert_eq!(lines(&[("start", "5"), ("end", "6")]), [""; 0]);
}

#[test]
fn numbers_are_vectors_and_matrices() {
    let at = [("query", "sum by (source) (count_over_time({source=~\".+\"}[1m]))"), ("time", "1588886825")];
    let answer = ask(&Endpoint::Query, &at);
    assert_eq!(answer["data"]["resultType"], "vector");
    let expected = json!([
        {"metric": {"source": "app"}, "value": [1_588_886_825, "3"]},
        {"metric": {"source": "web"}, "value": [1_588_886_825, "1"]},
    ]);
    assert_eq!(answer["data"]["result"], expected);
    assert!(answer["data"]["stats"]["summary"]["totalLinesProcessed"] == 4, "{answer}");
    let range = [
        ("query", "sum(count_over_time({source=\"app\"}[2s]))"),
        ("start", "1588886822"),
        ("end", "1588886824"),
        ("step", "1"),
    ];
    let answer = ask(&Endpoint::QueryRange, &range);
    assert_eq!(answer["data"]["resultType"], "matrix");
    let expected = json!([[1_588_886_822, "2"], [1_588_886_823, "1"], [1_588_886_824, "1"]]);
    assert_eq!(answer["data"]["result"][0]["values"], expected, "{answer}");
    let answer = ask(&Endpoint::Query, &[("query", "1 + 2"), ("time", "1588886825")]);
    assert_eq!(answer["data"]["result"], json!([1_588_886_825, "3"]));
}

#[test]
fn labels_values_and_series_are_lists() {
    let labels = ask(&Endpoint::Labels, &[]);
    assert_eq!(labels, json!({"status": "success", "data": ["source"]}));
    let values = ask(&Endpoint::LabelValues("source".into()), &[]);
    assert_eq!(values["data"], json!(["app", "web"]));
    let values = ask(&Endpoint::LabelValues("source".into()), &[("query", "{source!=\"web\",source=~\".+\"}")]);
    assert_eq!(values["data"], json!(["app"]));
    assert_eq!(ask(&Endpoint::LabelValues("none".into()), &[])["data"], json!([]));
    let series = ask(&Endpoint::Series, &[("match[]", "{source=\"web\"}"), ("match[]", "{source=\"none\"}")]);
    assert_eq!(series["data"], json!([{"source": "web"}]));
    for all in [&[][..], &[("match[]", "{ }")]] {
        assert_eq!(ask(&Endpoint::Series, all)["data"].as_array().unwrap().len(), 2);
    }
    let late = [("start", "1588886823500000000"), ("end", "1588886825000000000")];
    assert_eq!(ask(&Endpoint::LabelValues("source".into()), &late)["data"], json!(["app"]));
}

#[test]
fn the_index_tells_how_much_there_is() {
    let stats = ask(&Endpoint::IndexStats, &[("query", "{source=\"web\"}")]);
    assert_eq!(stats, json!({"streams": 1, "chunks": 1, "entries": 3, "bytes": 41}));
    let volume = ask(&Endpoint::Volume, &[("query", "{source=~\".+\"}"), ("limit", "1")]);
    let at = T / 1000 + 10;
    assert_eq!(volume["data"]["result"], json!([{"metric": {"source": "app"}, "value": [at, "48"]}]));
    let volume = ask(&Endpoint::Volume, &[("query", "{source=~\".+\"}"), ("targetLabels", "none")]);
    assert_eq!(volume["data"]["result"], json!([{"metric": {}, "value": [at, "57"]}]));
}

#[test]
fn queries_are_formatted_and_the_build_is_told() {
    let formatted = ask(&Endpoint::FormatQuery, &[("query", "{ a = \"b\" }|=\"c\"")]);
    assert_eq!(formatted["status"], "success");
    assert!(formatted["data"].as_str().unwrap().starts_with("{a=\"b\"}"), "{formatted}");
    assert_eq!(ask(&Endpoint::BuildInfo, &[])["version"], "3.0.0");
}

#[test]
fn what_cannot_be_answered_is_said_as_plain_text() {
    let app = ("query", "{source=\"app\"}");
    for (endpoint, pairs, words) in [
        (Endpoint::Query, &[("query", "{source=\"app\"")][..], "parse error at line 1, col 14"),
        (Endpoint::QueryRange, &[("query", "")], "parse error at line 1, col 1"),
        (Endpoint::QueryRange, &[("query", "{}")], "at least one regexp or equality matcher"),
        (Endpoint::Query, &[app], "log queries are not supported as an instant query type"),
        (Endpoint::QueryRange, &[app, ("limit", "5001")], "max entries limit per query exceeded"),
        (Endpoint::QueryRange, &[app, ("limit", "0")], "limit must be a positive value"),
        (Endpoint::QueryRange, &[app, ("direction", "up")], "invalid direction 'up'"),
        (Endpoint::QueryRange, &[app, ("start", "10"), ("end", "10")], "end timestamp must not be before or equal"),
        (Endpoint::QueryRange, &[app, ("start", "soon")], "could not parse \"start\" parameter"),
        (Endpoint::QueryRange, &[app, ("step", "0")], "zero or negative query resolution step"),
        (
            Endpoint::QueryRange,
            &[("query", "rate({source=\"app\"}[1m])"), ("start", "0"), ("end", "20000"), ("step", "1")],
            "exceeded maximum resolution of 11,000 points",
        ),
        (Endpoint::Series, &[("match[]", "{a")], "parse error"),
        (Endpoint::Labels, &[("query", "rate({a=\"b\"}[1m])")], "parse error"),
        (Endpoint::IndexStats, &[("query", "nothing")], "parse error"),
        (Endpoint::FormatQuery, &[("query", "nothing")], "parse error"),
    ] {
        let (status, text) = refused(&endpoint, pairs);
        assert!(
            status == 400 && text.contains(words) && text.ends_with('\n'),
            "{endpoint:?} {pairs:?}: {status} {text}"
        );
    }
}

#[test]
fn a_query_that_is_stopped_is_a_timeout() {
    let (elapsed, params) = (|| Duration::ZERO, params(&[("query", "{source=\"app\"}")]));
    let run = Run {
        endpoint: &Endpoint::QueryRange,
        params: &params,
        encoding: Encoding::Flat,
        now: UnixMillis(T + 10_000),
        elapsed: &elapsed,
    };
    let budget = Budget { limits: skerry_logql::Limits::default(), should_stop: &|| true };
    assert_eq!(answer(&run, &held(), budget).status, 504);
}

#[test]
fn what_nodes_found_is_written_as_if_found_here() {
    use skerry_promapi::edge::{Merge, parts};
    use skerry_wire::AnswerPart;
    let pairs = [("query", "{source=~\".+\"}"), ("limit", "3")];
    let asked = question(&Endpoint::QueryRange, &params(&pairs), UnixMillis(T + 10_000)).unwrap().unwrap();
    let budget = Budget { limits: skerry_logql::Limits::default(), should_stop: &|| false };
    let mut merge = Merge::new(&asked).unwrap();
    for name in ["b", "a"] {
        let (found, _) = find(&asked, &held(), budget).unwrap();
        let (mut pieces, mut done) = (Vec::new(), None);
        for part in parts(found.into_sent(&asked), 1 << 20).unwrap() {
            match part {
                AnswerPart::Result { piece, .. } => pieces.push(piece.unpack().unwrap()),
                AnswerPart::Done(last) => done = Some(last),
                other => panic!("{other:?}"),
            }
        }
        merge.take(&name.parse().unwrap(), &Labels::default(), &done.unwrap(), pieces).unwrap();
    }
    let (elapsed, params) = (|| Duration::ZERO, params(&pairs));
    let run = Run {
        endpoint: &Endpoint::QueryRange,
        params: &params,
        encoding: Encoding::Flat,
        now: UnixMillis(T),
        elapsed: &elapsed,
    };
    let warnings = ["node c is missing: gone".to_owned()];
    let response = answer_of_nodes(&run, Found::of_nodes(&asked, merge), &warnings, &json!({"c": 1}));
    let answer: Json = serde_json::from_str(&response.body).unwrap();
    assert_eq!((&answer["warnings"], &answer["nodes"]), (&json!(warnings), &json!({"c": 1})));
    let times: Vec<(&str, &str)> = answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["values"].as_array().unwrap().iter().map(|v| (s["stream"]["node"].as_str().unwrap(), v)))
        .map(|(node, value)| (node, &value[0].as_str().unwrap()[6..10]))
        .collect();
    assert_eq!(times, [("a", "6824"), ("b", "6824"), ("b", "6823")], "the newest three of all: {answer}");
}

#[test]
fn tails_are_asked_for_and_told_as_loki_does() {
    let now = UnixMillis(T + 10_000);
    let asked = tail_request(&params(&[("query", "{a=\"b\"}"), ("delay_for", "2"), ("limit", "5")]), now).unwrap();
    assert_eq!(
        (asked.delay, asked.limit, asked.start),
        (Duration::from_secs(2), 5, UnixMillis(T + 10_000 - 3_600_000))
    );
    for (pairs, words) in [
        (&[("query", "{a=\"b\"}"), ("delay_for", "6")][..], "delay_for can't be greater than 5"),
        (&[("query", "rate({a=\"b\"}[1m])")], "only log queries"),
        (&[("query", "{")], "parse error"),
    ] {
        let refused = tail_request(&params(pairs), now).unwrap_err();
        assert!(refused.status == 400 && refused.text.contains(words), "{}", refused.text);
    }
    let entry = |line: &str| TailEntry {
        labels: labels(&[("a", "b")]),
        entry: skerry_logql::Entry { at: UnixMillis(5), line: line.into(), metadata: vec![], parsed: vec![] },
    };
    let message: Json =
        serde_json::from_str(&tail_message(vec![entry("x"), entry("y")], 3, UnixMillis(9), Encoding::Flat)).unwrap();
    let expected = json!({
        "streams": [{"stream": {"a": "b"}, "values": [["5000000", "x"], ["5000000", "y"]]}],
        "dropped_entries": [{"labels": {"skerry_left_out": "3"}, "timestamp": "9000000"}],
    });
    assert_eq!(message, expected);
    let mut seen = Seen::default();
    seen.add(&entry("x"));
    let long = "é".repeat(5000);
    seen.add(&entry(&long));
    assert!(seen.take(&entry("x")) && !seen.take(&entry("x")), "an equal line that comes later is another one");
    assert!(seen.take(&entry(&long[..4096])), "as much of it as a live view shows");
    assert!(!seen.take(&entry("y")));
}
