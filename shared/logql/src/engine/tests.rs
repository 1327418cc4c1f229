//! Queries over a source in memory: what Loki documents of each stage and function.

use crate::*;
use proptest::prelude::*;
use skerry_model::{Labels, Level, LogRecord, OutputStream, RecordRef, TimeRange, UnixMillis};
use skerry_promql::{MatchOp, Matcher, Span, Value, matches_all, number_text};
use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

/// Blocks of records; notes which are read.
#[derive(Default)]
struct Memory {
    blocks: Vec<Vec<LogRecord>>,
    read: RefCell<Vec<u64>>,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn record(at: i64, app: &str, line: &str) -> LogRecord {
    with_fields(at, app, line, &[])
}

fn with_fields(at: i64, app: &str, line: &str, fields: &[(&str, &str)]) -> LogRecord {
    LogRecord {
        at: UnixMillis(at),
        labels: labels(&[("app", app), ("level", "info")]),
        output: OutputStream::None,
        level: Level::Unknown,
        fields: labels(fields),
        line: line.into(),
    }
}

impl Memory {
    fn of(lines: &[&str]) -> Self {
        let records = lines.iter().enumerate().map(|(at, line)| record(1000 * (at as i64 + 1), "a", line)).collect();
        Self { blocks: vec![records], ..Self::default() }
    }
}

impl Source for Memory {
    type Error = Infallible;

    fn blocks(&self, selection: &Selection) -> Result<Vec<Block>, Infallible> {
        let block = |(key, records): (usize, &Vec<LogRecord>)| {
            let times = records.iter().map(|record| record.at);
            let range = TimeRange { from: times.clone().min()?, to: times.max()? };
            let is_in = range.from <= selection.range.to && range.to >= selection.range.from;
            is_in.then_some(Block { key: key as u64, range })
        };
        let mut blocks: Vec<Block> = self.blocks.iter().enumerate().filter_map(block).collect();
        blocks.sort_by_key(|block| (block.range.to, block.range.from, block.key));
        blocks.reverse();
        Ok(blocks)
    }

    fn read(
        &self,
        block: Block,
        selection: &Selection,
        each: &mut dyn FnMut(&Labels, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        self.read.borrow_mut().push(block.key);
        for record in &self.blocks[block.key as usize] {
            // Needles are honest: a source may rule records out by them.
            let has = |needle: &Vec<u8>| memchr::memmem::find(&record.line, needle).is_some();
            if selection.needles.iter().all(has) && each(&record.labels, record.as_ref()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn streams(&self, matchers: &[Matcher], _: TimeRange) -> Result<Vec<Labels>, Infallible> {
        let all = self.blocks.iter().flatten().map(|record| &record.labels);
        Ok(all.filter(|labels| matches_all(matchers, labels)).cloned().collect())
    }
}

const FREELY: Budget<'static> = Budget {
    limits: Limits { examined_bytes_max: 1 << 30, held_bytes_max: 1 << 20, series_max: 100, values_max: 10_000 },
    should_stop: &|| false,
};

fn ask(limit: usize, direction: Direction) -> LogRequest {
    LogRequest { range: TimeRange { from: UnixMillis(0), to: UnixMillis(1_000_000) }, limit, direction }
}

fn log_query(text: &str) -> LogQuery {
    match Query::parse(text) {
        Ok(Query::Log(query)) => query,
        other => panic!("{text}: {other:?}"),
    }
}

fn answer(source: &Memory, text: &str) -> LogAnswer {
    run_log(&log_query(text), source, ask(100, Direction::Forward), FREELY).unwrap()
}

/// Lines that a pipeline gives of lines of `{app="a", level="info"}`.
fn lines(pipeline: &str, input: &[&str]) -> Vec<String> {
    let all = answer(&Memory::of(input), &format!("{{app=\"a\"}} {pipeline}"));
    let mut entries: Vec<Entry> = all.streams.into_iter().flat_map(|stream| stream.entries).collect();
    entries.sort_by_key(|entry| entry.at);
    entries.into_iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
}

/// Labels that a pipeline leaves on a line, without those that it came with.
fn made(pipeline: &str, line: &str) -> String {
    let all = answer(&Memory::of(&[line]), &format!("{{app=\"a\"}} {pipeline}"));
    let [stream] = all.streams.as_slice() else { return "nothing".into() };
    let pairs = all_labels(&stream.labels, &stream.entries[0].metadata, &stream.entries[0].parsed);
    let shown = pairs
        .iter()
        .filter(|(name, value)| (&**name, &**value) != ("app", "a") && (&**name, &**value) != ("level", "info"));
    shown.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// An answer as `{labels} value@seconds …`, one series a line.
fn shown(answer: &MetricAnswer) -> String {
    let series = match &answer.answer.value {
        Value::Vector(series) | Value::Matrix(series) => series,
        Value::Scalar(points) => return number_text(points[0].value),
        Value::String(text) => return text.clone(),
    };
    let point = |point: &skerry_promql::Point| {
        format!("{}@{}", number_text((point.value * 1e6).round() / 1e6), point.at.0 / 1000)
    };
    let line = |series: &skerry_promql::Series| {
        let points: Vec<String> = series.points.iter().map(point).collect();
        format!("{} {}", series.labels, points.join(" ")).trim().to_owned()
    };
    series.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn metric_of(source: &Memory, text: &str, span: Span) -> Result<MetricAnswer, QueryError<Infallible>> {
    match Query::parse(text) {
        Ok(Query::Metric(query)) => run_metric(&query, source, span, FREELY),
        other => panic!("{text}: {other:?}"),
    }
}

fn at(seconds: i64) -> Span {
    Span::instant(UnixMillis(seconds * 1000))
}

fn over(start: i64, end: i64, step: u64) -> Span {
    Span::range(UnixMillis(start * 1000), UnixMillis(end * 1000), Duration::from_secs(step)).unwrap()
}

#[test]
fn line_filters() {
    let input = ["GET /a 200", "POST /b 500 from 10.1.2.3", "get /c", ""];
    for (pipeline, expected) in [
        ("", vec![0, 1, 2, 3]),
        (r#"|= "GET""#, vec![0]),
        (r#"|= "GET" or "POST""#, vec![0, 1]),
        (r#"!= "GET" or "POST""#, vec![2, 3]),
        (r#"|~ "(?i)get""#, vec![0, 2]),
        (r#"|~ "^G.* \\d+$""#, vec![0]),
        (r#"!~ "/[ab]""#, vec![2, 3]),
        (r#"|> "<_> /b <_>""#, vec![1]),
        (r#"!> "<_> /b <_>""#, vec![0, 2, 3]),
        (r#"|= ip("10.0.0.0/8")"#, vec![1]),
        (r#"!= ip("10.0.0.0/8")"#, vec![0, 2, 3]),
        (r#"|= """#, vec![0, 1, 2, 3]),
        (r#"|= "/" != "b" |~ "e|G""#, vec![0, 2]),
    ] {
        let expected: Vec<&str> = expected.into_iter().map(|at: usize| input[at]).collect();
        assert_eq!(lines(pipeline, &input), expected, "{pipeline}");
    }
}

#[test]
fn parsers_make_labels() {
    let json = r#"{"a":"x y","b":{"c":1.50,"d-e":true},"f":[1],"g":null,"app":"z","s":[{"n":"m"}]}"#;
    let logfmt = r#"a="x y" b=2 flag app=z c= d=3ms"#;
    for (pipeline, line, expected) in [
        ("| json", json, "a=x y app_extracted=z b_c=1.50 b_d_e=true"),
        (r#"| json v="s[0].n", w="b", x="none", a"#, json, r#"a=x y v=m w={"c":1.50,"d-e":true}"#),
        (r#"| json k="b[\"d-e\"]""#, json, "k=true"),
        ("| json", "no json", "__error__=JSONParserErr __error_details__=not an object at byte 0"),
        ("| logfmt", logfmt, "a=x y app_extracted=z b=2 d=3ms"),
        ("| logfmt --keep-empty", logfmt, "a=x y app_extracted=z b=2 c= d=3ms flag="),
        (r#"| logfmt x="a", d"#, logfmt, "d=3ms x=x y"),
        ("| logfmt", "a=1 \"", "a=1"),
        ("| logfmt --strict", "a=1 =x", "__error__=LogfmtParserErr __error_details__=not a name at byte 4 a=1"),
        (r#"| regexp "(?P<m>\\w+) (?P<p>/\\S*)""#, "GET /x", "m=GET p=/x"),
        (r#"| regexp "(?P<m>\\d+)""#, "GET /x", ""),
        (r#"| pattern "<m> <p> <_>""#, "GET /x 5", "m=GET p=/x"),
        ("| unpack", r#"{"pod":"p","_entry":"the line"}"#, "pod=p"),
        ("| unpack", "x", "__error__=JSONParserErr __error_details__=not an object at byte 0"),
        (r#"| label_format a="z" | json"#, r#"{"a":"b","c":"d"}"#, "a=z c=d"),
        ("| label_format x=app | logfmt", "x=1", "x=1"),
        ("| drop app | logfmt", "app=z", "app_extracted=z"),
        ("| logfmt flag, b", logfmt, "b=2 flag="),
        ("| json | json", r#"{"a":"b"}"#, "a=b"),
        ("| json | logfmt", r#"{"a":"b=c"}"#, r#"a=b=c"#),
    ] {
        assert_eq!(made(pipeline, line), expected, "{pipeline}");
    }
    assert_eq!(lines("| unpack", &[r#"{"pod":"p","_entry":"the line"}"#]), ["the line"]);
    assert_eq!(lines("| decolorize", &["\u{1b}[1;31mred\u{1b}[0m x\u{1b}[", "plain"]), ["red x", "plain"]);
}

#[test]
fn label_filters_compare() {
    let line = r#"{"n":5,"took":"250ms","size":"2KB","ip":"10.1.2.3","s":"abc","bad":"x","id":"q-1"}"#;
    for (filter, passes) in [
        (r#"s="abc""#, true),
        (r#"s!="abc""#, false),
        (r#"s=~"a.*""#, true),
        (r#"s=~"a""#, false),
        (r#"s!~"b""#, true),
        (r#"gone="""#, true),
        ("n == 5 and n >= 5.0 and n < 6 and n != 4", true),
        ("n > 5 or n = 5", true),
        ("n > 5, n = 5", false),
        ("n = 5 s = \"abc\"", true),
        ("gone > 0", false),
        ("took > 249ms and took <= 0.25s", true),
        ("took > 1s", false),
        ("size > 1KiB", true),
        ("size == 2000B", true),
        (r#"ip = ip("10.0.0.0/8")"#, true),
        (r#"ip != ip("10.0.0.0/8")"#, false),
        (r#"gone = ip("10.0.0.0/8")"#, false),
        // From left to right: (or) and.
        (r#"n == 5 or n == 6 and s == "x""#, false),
        (r#"n == 5 or (n == 6 and s == "x")"#, true),
        (r#"level="info""#, true),
        (r#"id="q-1""#, true),
        (r#"id="q-2""#, false),
        ("bad > 1", true),
        (r#"bad > 1 | __error__="""#, false),
        (r#"bad > 1 | __error__="LabelFilterErr" | took > 5h"#, true),
        (r#"__error__="""#, true),
    ] {
        let passed = !lines(&format!("| json | {filter}"), &[line]).is_empty();
        assert_eq!(passed, passes, "{filter}");
    }
    assert_eq!(
        made("| json n,took | n > 1ms", line),
        "__error__=LabelFilterErr __error_details__=time: invalid duration \"5\" n=5 took=250ms"
    );
}

#[test]
fn formats_change_lines_and_labels() {
    let line = "a=1 b=two";
    for (pipeline, expected) in [
        ("| logfmt | label_format c=a", "b=two c=1"),
        (r#"| logfmt | label_format c="{{.a}}-{{.b | ToUpper}}""#, "a=1 b=two c=1-TWO"),
        (r#"| logfmt | label_format a=b, b="{{.a}}""#, "a=two b=two"),
        (r#"| label_format level="x""#, "level=x"),
        ("| label_format lvl=level", "lvl=info"),
        ("| logfmt | drop a, level", "b=two"),
        (r#"| logfmt | drop a="2", b=~"t.*""#, "a=1"),
        ("| logfmt | keep b", "b=two"),
        (r#"| logfmt | keep a="1", b="x""#, "a=1"),
        (r#"| label_format x="{{div 1 0}}""#, "__error__=TemplateFormatErr __error_details__=division by zero"),
        ("| json | drop __error__", "__error_details__=not an object at byte 0"),
        ("| json | drop __error__, __error_details__", ""),
        (r#"| label_format x="{{__line__}} {{__timestamp__ | unixEpoch}}""#, "x=a=1 b=two 1"),
    ] {
        assert_eq!(made(pipeline, line), expected, "{pipeline}");
    }
    assert_eq!(lines(r#"| logfmt | line_format "{{.b}} of {{.app}}" |= "two of""#, &[line]), ["two of a"]);
    assert_eq!(lines(r#"|= "a=1" | line_format "x" != "a=1""#, &[line]), ["x"]);
    assert!(lines(r#"| line_format "x" |= "a=1""#, &[line]).is_empty());
}

#[test]
fn streams_metadata_and_parsed_labels_are_apart() {
    let source = Memory {
        blocks: vec![vec![
            with_fields(1000, "a", "x=1", &[("pid", "7"), ("id", "q")]),
            record(2000, "b", "x=2"),
            with_fields(3000, "a", "id=r", &[("id", "s")]),
        ]],
        ..Memory::default()
    };
    let all = answer(&source, r#"{app="a"} | logfmt | pid="7""#);
    assert_eq!(all.streams.len(), 1);
    let stream = &all.streams[0];
    assert_eq!(stream.labels, labels(&[("app", "a"), ("level", "info")]));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(stream.entries[0].metadata, [pair("id", "q"), pair("pid", "7")]);
    assert_eq!(stream.entries[0].parsed, [pair("x", "1")]);
    // A label filter that the metadata meet is not ruled out by the line.
    assert_eq!(answer(&source, r#"{app="a"} | logfmt | id="s""#).statistics.entries, 1);
    assert_eq!(answer(&source, r#"{app="a"} | logfmt | id_extracted="r""#).statistics.entries, 1);
    assert_eq!(answer(&source, r#"{app=~".+"} | logfmt | x="2""#).streams[0].labels.value("app"), "b");
    let flat = answer(&source, r#"{app="a"} | drop level"#).flat();
    assert_eq!(flat.len(), 2);
    assert_eq!(flat[0].labels, [pair("app", "a"), pair("id", "q"), pair("pid", "7")]);
}

#[test]
fn reading_stops_when_there_is_enough() {
    let block = |from: i64| (0..10).map(|at| record(from + at, "a", &format!("{}", from + at))).collect::<Vec<_>>();
    let source = Memory { blocks: vec![block(100), block(200), block(300), block(205)], ..Memory::default() };
    let ask_for = |limit, direction| {
        source.read.borrow_mut().clear();
        let found = run_log(&log_query("{app=\"a\"}"), &source, ask(limit, direction), FREELY).unwrap();
        let lines: Vec<String> =
            found.streams[0].entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect();
        (lines, source.read.borrow().clone(), found.statistics)
    };
    let (lines, read, statistics) = ask_for(3, Direction::Backward);
    assert_eq!((lines, read), (vec!["309".into(), "308".into(), "307".into()], vec![2]));
    assert_eq!((statistics.blocks_offered, statistics.blocks_read, statistics.lines, statistics.bytes), (4, 1, 10, 30));
    assert_eq!(statistics.entries, 3);
    let (lines, read, _) = ask_for(12, Direction::Forward);
    assert_eq!((lines.len(), lines[11].as_str(), read), (12, "201", vec![0, 1]));
    let (lines, read, _) = ask_for(14, Direction::Backward);
    // Blocks that overlap are both read, and their entries stand by time.
    assert_eq!((&lines[10..], read), (&["214", "213", "212", "211"].map(String::from)[..], vec![2, 3]));
    assert_eq!(ask_for(1000, Direction::Backward).0.len(), 40);
}

#[test]
fn entries_of_one_time_stand_as_they_were_read() {
    let block = |name: &str| (0..3).map(|at| record(5, "a", &format!("{name}{at}"))).collect::<Vec<_>>();
    let source = Memory { blocks: vec![block("old"), block("new")], ..Memory::default() };
    let all = |limit, direction| {
        let found = run_log(&log_query("{app=\"a\"}"), &source, ask(limit, direction), FREELY).unwrap();
        let lines = found.streams[0].entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned());
        lines.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(all(9, Direction::Forward), "old0 old1 old2 new0 new1 new2");
    assert_eq!(all(9, Direction::Backward), "new2 new1 new0 old2 old1 old0");
    assert_eq!(all(2, Direction::Forward), "old0 old1");
    assert_eq!(all(2, Direction::Backward), "new2 new1");
}

/// Two apps: `a` at each second from 1 to 10, `b` at 5 and 10.
fn two_apps() -> Memory {
    let mut records: Vec<LogRecord> =
        (1..=10).map(|at| record(at * 1000, "a", &format!("v={at} took={}ms host=h{}", at * 100, at % 2))).collect();
    records.extend([5, 10].map(|at| record(at * 1000, "b", &format!("v={at} size=1KB"))));
    Memory { blocks: vec![records], ..Memory::default() }
}

#[test]
fn range_aggregations() {
    let source = two_apps();
    let app = r#"{app="a"}"#;
    let of = |labels: &str| format!("{{app=\"a\",{labels}level=\"info\"}}");
    let a = of("");
    for (query, expected) in [
        (format!("count_over_time({app}[5s])"), format!("{a} 5@10")),
        (format!("rate({app}[5s])"), format!("{a} 1@10")),
        (format!("bytes_over_time({app}[2s])"), format!("{a} 46@10")),
        (format!("bytes_rate({app}[2s])"), format!("{a} 23@10")),
        (format!("count_over_time({app}[5s] offset 5s)"), format!("{a} 5@10")),
        (format!("count_over_time({app} |= \"v=1\" [1h])"), format!("{a} 2@10")),
        (format!("sum_over_time({app} | logfmt v | unwrap v [3s])"), format!("{a} 27@10")),
        (format!("rate({app} | logfmt v | unwrap v [3s])"), format!("{a} 9@10")),
        (format!("avg_over_time({app} | logfmt v | unwrap v [3s])"), format!("{a} 9@10")),
        (format!("min_over_time({app} | logfmt v | unwrap v [3s])"), format!("{a} 8@10")),
        (format!("max_over_time({app} | logfmt v | unwrap v [3s])"), format!("{a} 10@10")),
        (format!("first_over_time({app} | logfmt v | unwrap v [3s])"), format!("{a} 8@10")),
        (format!("last_over_time({app} | logfmt v | unwrap v [3s])"), format!("{a} 10@10")),
        (format!("stdvar_over_time({app} | logfmt v | unwrap v [2s])"), format!("{a} 0.25@10")),
        (format!("stddev_over_time({app} | logfmt v | unwrap v [2s])"), format!("{a} 0.5@10")),
        (format!("quantile_over_time(0.5, {app} | logfmt v | unwrap v [4s])"), format!("{a} 8.5@10")),
        (format!("quantile_over_time(0.5, {app} | logfmt v | unwrap v [4s] offset 1s)"), format!("{a} 7.5@10")),
        (format!("rate_counter({app} | logfmt v | unwrap v [5s])"), format!("{a} 1@10")),
        (format!("sum_over_time({app} | logfmt took | unwrap duration(took) [2s])"), format!("{a} 1.9@10")),
        (format!("sum_over_time({app} | logfmt took | unwrap duration_seconds(took) [2s])"), format!("{a} 1.9@10")),
        (
            r#"sum_over_time({app="b"} | logfmt size | unwrap bytes(size) [1h])"#.into(),
            r#"{app="b",level="info"} 2000@10"#.into(),
        ),
        (
            format!("max_over_time({app} | logfmt | unwrap v [1h]) by (host)"),
            r#"{host="h0"} 10@10; {host="h1"} 9@10"#.into(),
        ),
        (
            format!("max_over_time({app} | logfmt | unwrap v [1h]) without (took, host, level)"),
            r#"{app="a"} 10@10"#.into(),
        ),
        (
            format!("count_over_time({app} | logfmt host [1h])"),
            format!("{} 5@10; {} 5@10", of("host=\"h0\","), of("host=\"h1\",")),
        ),
        (format!("sum_over_time({app} | logfmt | unwrap gone [1h])"), String::new()),
        (format!("absent_over_time({app}[1h])"), String::new()),
        (r#"absent_over_time({app="x", level=~".+"}[1h])"#.into(), r#"{app="x"} 1@10"#.into()),
        (format!("count_over_time({app}[1s] offset 1h)"), String::new()),
    ] {
        let found = metric_of(&source, &query, at(10)).unwrap();
        assert_eq!(shown(&found), expected, "{query}");
    }
}

#[test]
fn steps_and_windows() {
    let source = two_apps();
    for (query, span, expected) in [
        (r#"count_over_time({app="b"}[3s])"#, over(0, 12, 3), r#"{app="b",level="info"} 1@6 1@12"#),
        (r#"sum(count_over_time({app=~"a|b"}[4s]))"#, over(2, 14, 4), "2@2 5@6 5@10"),
        (r#"sum(count_over_time({app="a"}[4s] offset 2s))"#, over(2, 14, 4), "4@6 4@10 2@14"),
        (r#"absent_over_time({app="b"}[2s])"#, over(4, 8, 1), r#"{app="b"} 1@4 1@7 1@8"#),
        (
            r#"quantile_over_time(1, {app="a"} | logfmt v | unwrap v [2s])"#,
            over(1, 13, 6),
            r#"{app="a",level="info"} 1@1 7@7"#,
        ),
        (
            r#"last_over_time({app="a"} | logfmt v | unwrap v [2s])"#,
            over(9, 12, 1),
            r#"{app="a",level="info"} 9@9 10@10 10@11"#,
        ),
    ] {
        let found = metric_of(&source, query, span).unwrap();
        assert_eq!(shown(&found), expected, "{query}");
    }
}

#[test]
fn promql_stands_around() {
    let source = two_apps();
    let count = r#"count_over_time({app=~"a|b"}[1h])"#;
    for (query, expected) in [
        (format!("sum({count})"), "12@10"),
        (format!("sum by (app) ({count})"), r#"{app="a"} 10@10; {app="b"} 2@10"#),
        (format!("sum({count}) by (app) > 5"), r#"{app="a"} 10@10"#),
        (format!("sum without (app) ({count})"), r#"{level="info"} 12@10"#),
        (format!("avg({count})"), "6@10"),
        (format!("min({count}) + max({count})"), "12@10"),
        (format!("count({count})"), "2@10"),
        (format!("stddev({count})"), "4@10"),
        (format!("stdvar({count})"), "16@10"),
        (format!("topk(1, {count})"), r#"{app="a",level="info"} 10@10"#),
        (format!("approx_topk(1, {count})"), r#"{app="a",level="info"} 10@10"#),
        (format!("bottomk(1, {count})"), r#"{app="b",level="info"} 2@10"#),
        (format!("sort({count})"), r#"{app="b",level="info"} 2@10; {app="a",level="info"} 10@10"#),
        (format!("sort_desc({count})"), r#"{app="a",level="info"} 10@10; {app="b",level="info"} 2@10"#),
        (r#"sum by (host) (count_over_time({app="a"} | logfmt [1h])) / ignoring(host) group_left sum(count_over_time({app="a"}[1h]))"#.into(), r#"{host="h0"} 0.5@10; {host="h1"} 0.5@10"#),
        (r#"max by (host) (max_over_time({app="a"} | logfmt | unwrap v [1h])) > bool 9"#.into(), r#"{host="h0"} 1@10; {host="h1"} 0@10"#),
        (r#"sum by (app, app) (count_over_time({app="b"}[1h]))"#.into(), r#"{app="b"} 2@10"#),
        (r#"sum by (v, app) (sum_over_time({app="b"} | logfmt v | unwrap v [1h]))"#.into(), r#"{app="b"} 15@10"#),
        (format!("sum({count}) and vector(1) or vector(2)"), "12@10"),
        (r#"sum(count_over_time({app="x"}[1h])) or vector(0)"#.into(), "0@10"),
        (format!(r#"label_replace(sum by (app) ({count}), "x", "$1!", "app", "(.)") unless on(app) sum by (app) (count_over_time({{app="b"}}[1h]))"#), r#"{app="a",x="a!"} 10@10"#),
        ("vector(1) + vector(1)".into(), "2@10"),
        ("1 + 2 * 3 ^ 2".into(), "19"),
    ] {
        let found = metric_of(&source, &query, at(10)).unwrap();
        assert_eq!(shown(&found), expected, "{query}");
    }
}

#[test]
fn lines_with_errors_fail_metric_queries() {
    let source = Memory::of(&["{\"v\":1}", "no json", "{\"v\":\"x\"}"]);
    let ask =
        |query: &str| metric_of(&source, query, at(10)).map(|found| shown(&found)).map_err(|error| error.to_string());
    let error = ask(r#"count_over_time({app="a"} | json [1h])"#).unwrap_err();
    assert!(
        error.starts_with("pipeline error: 'JSONParserErr' for series: '{__error__=\"JSONParserErr\", app=\"a\""),
        "{error}"
    );
    assert!(error.contains("(e.g __error__=\"\")"), "{error}");
    let error = ask(r#"sum(sum_over_time({app="a"} |= "{" | json | unwrap v [1h]))"#).unwrap_err();
    assert!(error.starts_with("pipeline error: 'SampleExtractionErr'"), "{error}");
    for (query, expected) in [
        (r#"sum(count_over_time({app="a"} | json | __error__="" [1h]))"#, "2@10"),
        (r#"sum(count_over_time({app="a"} | json | drop __error__ [1h]))"#, "3@10"),
        (r#"sum(sum_over_time({app="a"} | json | unwrap v | __error__="" [1h]))"#, "1@10"),
        (r#"sum by (__error__) (count_over_time({app="a"} | json | __error__!="" | drop __error__ [1h]))"#, "1@10"),
        // Nobody looks at what the parser gives.
        (r#"sum(count_over_time({app="a"} | json [1h]))"#, "3@10"),
    ] {
        assert_eq!(ask(query).unwrap(), expected, "{query}");
    }
}

#[test]
fn limits_end_queries() {
    let source = two_apps();
    let told = |limits: Limits, stop: bool, query: &str| {
        let stop = move || stop;
        let budget = Budget { limits, should_stop: &stop };
        match Query::parse(query).unwrap() {
            Query::Log(query) => run_log(&query, &source, ask(100, Direction::Backward), budget).unwrap_err(),
            Query::Metric(query) => run_metric(&query, &source, over(0, 100, 1), budget).unwrap_err(),
        }
        .to_string()
    };
    let limits = FREELY.limits;
    let all = r#"{app=~".+"}"#;
    assert!(told(Limits { examined_bytes_max: 50, ..limits }, false, all).contains("more than 50 bytes of lines"));
    assert!(told(Limits { held_bytes_max: 500, ..limits }, false, all).contains("more than 500 bytes"));
    assert!(told(limits, true, all).contains("stopped"));
    let count = r#"count_over_time({app=~".+"} | logfmt [5s])"#;
    assert!(told(Limits { series_max: 3, ..limits }, false, count).contains("maximum of series (3) reached"));
    assert!(told(Limits { values_max: 20, ..limits }, false, count).contains("more than 20 values at a time"));
    let samples = r#"quantile_over_time(0.5, {app="a"} | logfmt | unwrap v [5s]) by (app)"#;
    assert!(told(Limits { values_max: 9, ..limits }, false, samples).contains("more than 9 values at a time"));
}

#[test]
fn live_records_go_through_the_same_stages() {
    let query = log_query(r#"{app="a"} |= "x" | logfmt | n > 1 | line_format "{{.n}}""#);
    let mut tail = Tail::new(&query);
    assert_eq!(tail.matchers().len(), 1);
    let mut passed = Vec::new();
    for (app, line) in [("a", "x n=1"), ("a", "x n=2"), ("b", "x n=3"), ("a", "n=4"), ("a", "x n=5")] {
        let record = with_fields(1, app, line, &[("pid", "9")]);
        if let Some(tailed) = tail.apply(&record.labels, record.as_ref()) {
            assert_eq!((tailed.labels.value("app"), tailed.entry.metadata.len()), ("a", 1));
            passed.push(String::from_utf8_lossy(&tailed.entry.line).into_owned());
        }
    }
    assert_eq!(passed, ["2", "5"]);
}

#[test]
fn matchers_are_checked_here_too() {
    let source = two_apps();
    for (selector, entries) in [(r#"{app="b"}"#, 2), (r#"{app!="b", level="info"}"#, 10), (r#"{app=~"c|d"}"#, 0)] {
        assert_eq!(answer(&source, selector).statistics.entries, entries, "{selector}");
    }
    assert_eq!(parse_selector("{a=\"b\"}").unwrap()[0].op(), MatchOp::Equal);
}

proptest! {
    #[test]
    fn no_line_makes_a_pipeline_panic(
        line in proptest::collection::vec(prop_oneof![
            any::<u8>(), Just(b'"'), Just(b'{'), Just(b'}'), Just(b'='), Just(b'\\'), Just(b':'), Just(0x1b), Just(b'['),
        ], 0..60),
        pipeline in prop_oneof![
            Just("| json"), Just("| json a=\"b[0].c\""), Just("| logfmt --strict"), Just("| unpack"), Just("| decolorize"),
            Just("| regexp \"(?P<a>.)\""), Just("| pattern \"<a>=<b>\""), Just("| logfmt | line_format \"{{.a | substr 1 2}}\""),
            Just("|~ \"a.\" != ip(\"::/0\")"), Just("|> \"a<_>b\""), Just("| logfmt | a > 5 | keep b"),
        ],
    ) {
        let mut source = Memory::of(&[""]);
        source.blocks[0][0].line = line;
        answer(&source, &format!("{{app=\"a\"}} {pipeline}"));
    }

    #[test]
    fn limits_take_the_ends_of_everything(
        times in proptest::collection::vec(proptest::collection::vec(0i64..50, 1..8), 1..8), limit in 1usize..20,
    ) {
        let blocks = times.iter().enumerate().map(|(block, times)| {
            times.iter().enumerate().map(|(at, time)| record(*time, "a", &format!("{block}.{at}"))).collect()
        });
        let source = Memory { blocks: blocks.collect(), ..Memory::default() };
        for direction in [Direction::Forward, Direction::Backward] {
            let lines = |limit| {
                let found = run_log(&log_query("{app=\"a\"}"), &source, ask(limit, direction), FREELY).unwrap();
                found.streams.into_iter().flat_map(|stream| stream.entries).map(|entry| entry.line).collect::<Vec<_>>()
            };
            let all = lines(1000);
            prop_assert_eq!(&lines(limit)[..], &all[..limit.min(all.len())]);
        }
    }

    #[test]
    fn grouping_early_changes_nothing(
        stages in proptest::collection::vec(prop_oneof![
            Just("| json"), Just("| logfmt"), Just("| json x=\"a\""), Just("| a=\"1\""), Just("| b > 1"), Just("| drop a"),
            Just("| label_format b=a"), Just("| label_format c=`{{.a}}{{.b}}`"), Just("| keep a, b"), Just("|= \"1\""),
            Just("| line_format \"{{.a}}\""), Just("| drop level"),
        ], 0..4),
        aggregation in prop_oneof![
            Just(("sum", "count_over_time", "")), Just(("sum", "rate", "")), Just(("sum", "bytes_over_time", "")),
            Just(("sum", "sum_over_time", "| unwrap b")), Just(("min", "min_over_time", "| unwrap b")),
            Just(("max", "max_over_time", "| unwrap a")), Just(("sum", "rate", "| unwrap b")),
        ],
        grouping in prop_oneof![
            Just("by (a)"), Just("by (b, app)"), Just("without (a)"), Just("without (app, level)"), Just(""), Just("by (c, a_extracted)"),
        ],
        lines in proptest::collection::vec(prop_oneof![
            Just(r#"{"a":"1","b":2}"#), Just("a=1 b=3"), Just("b=5 c=1"), Just(r#"{"a":"x","b":7,"app":"q"}"#), Just("none"),
        ], 1..8),
    ) {
        let source = Memory::of(&lines);
        let (outer, inner, unwrap) = aggregation;
        let ranged = format!("{inner}({{app=\"a\"}} {} {unwrap} | __error__=\"\" [4s])", stages.join(" "));
        // In parentheses it stands alone.
        let early = metric_of(&source, &format!("{outer} {grouping} ({ranged})"), over(1, 9, 3)).map(|found| shown(&found));
        let late = metric_of(&source, &format!("{outer} {grouping} (({ranged}))"), over(1, 9, 3)).map(|found| shown(&found));
        prop_assert_eq!(early.ok(), late.ok(), "{} {}", grouping, ranged);
    }
}
