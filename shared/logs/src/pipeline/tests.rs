use super::*;
use proptest::prelude::*;
use skerry_model::{Labels, Level, OutputStream};

mod config;

/// 2026-11-20T22:18:00Z.
const WALL: UnixMillis = UnixMillis(1_795_213_080_000);

fn now(ms: u64) -> Now {
    Now { mono: Mono(1_000_000 + ms), wall: UnixMillis(WALL.0 + ms as i64) }
}

fn stages(yaml: &str) -> Stages {
    skerry_yaml::read(yaml).unwrap_or_else(|fault| panic!("{fault}\n{yaml}")).value
}

fn pipeline(yaml: &str) -> Pipeline {
    Pipeline::new(&[&stages(yaml)]).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn record(line: &str) -> LogRecord {
    LogRecord {
        at: WALL,
        labels: Labels::new([("source", "app"), ("filename", "/var/log/app.log")]).unwrap(),
        output: OutputStream::None,
        level: Level::Unknown,
        fields: Labels::default(),
        line: line.as_bytes().to_vec(),
    }
}

fn push(pipeline: &mut Pipeline, line: &str, ms: u64) -> Output {
    let mut out = Output::default();
    pipeline.push(record(line), "/var/log/app.log", now(ms), &mut out);
    out
}

/// What came of a line: `line {fields} {labels but the file's} level`, or the loss.
fn shown(out: &Output) -> String {
    let mut texts = Vec::new();
    for record in &out.records {
        let mut text = String::from_utf8_lossy(&record.line).into_owned();
        if !record.fields.is_empty() {
            text += &format!(" {}", record.fields);
        }
        let labels =
            Labels::new(record.labels.iter().filter(|(name, _)| !matches!(*name, "source" | "filename"))).unwrap();
        if !labels.is_empty() {
            text += &format!(" labels {labels}");
        }
        if record.level != Level::Unknown {
            text += &format!(" {}", record.level.as_str());
        }
        texts.push(text);
    }
    for loss in &out.losses {
        assert_eq!(loss.source, "/var/log/app.log");
        texts.push(format!("{} {}", loss.reason.as_str(), loss.count.unwrap()));
    }
    texts.join("; ")
}

fn check(yaml: &str, cases: &[(&str, &str)]) {
    let mut pipeline = pipeline(yaml);
    for (line, expected) in cases {
        assert_eq!(shown(&push(&mut pipeline, line, 0)), *expected, "{line}\n{yaml}");
    }
}

#[test]
fn no_stage_moves_the_record() {
    let mut pipeline = Pipeline::new(&[]).unwrap();
    let mut out = Output::default();
    let record = record("a");
    let place = record.line.as_ptr();
    pipeline.push(record, "x", now(0), &mut out);
    assert_eq!(out.records[0].line.as_ptr(), place);
    assert_eq!((pipeline.next_tick(), pipeline.counts()), (None, Counts::default()));
}

#[test]
fn a_parser_stores_what_is_asked_for() {
    let line = r#"{"ts":"2026-11-20T22:00:00Z","level":"warn","msg":"hello","app":"web","n":1,"http":{"status":200}}"#;
    for (yaml, expected) in [
        ("[parser: json]", format!("{line} warn")),
        (
            "[parser: {format: json, keep_fields: [http.status, n]}]",
            format!("{line} {{http_status=\"200\",n=\"1\"}} warn"),
        ),
        (
            "[parser: {format: json, message: msg}]",
            "hello {app=\"web\",http_status=\"200\",level=\"warn\",n=\"1\",ts=\"2026-11-20T22:00:00Z\"} warn".into(),
        ),
        (
            "[parser: {format: json, message: msg, level: level, time: ts, labels: [app]}]",
            "hello {http_status=\"200\",n=\"1\"} labels {app=\"web\"} warn".into(),
        ),
        (
            "[parser: {format: json, message: msg, keep_fields: none, labels: {code: http.status}}]",
            "hello labels {code=\"200\"} warn".into(),
        ),
        (
            "[parser: {format: json, message: gone}]",
            format!(
                "{line} {{app=\"web\",http_status=\"200\",level=\"warn\",msg=\"hello\",n=\"1\",ts=\"2026-11-20T22:00:00Z\"}} warn"
            ),
        ),
    ] {
        let out = push(&mut pipeline(yaml), line, 0);
        assert_eq!(shown(&out), expected, "{yaml}");
        let timed = yaml.contains("time:");
        assert_eq!(out.records[0].at.0, WALL.0 - if timed { 1_080_000 } else { 0 }, "{yaml}");
    }
}

#[test]
fn a_line_that_cannot_be_parsed_is_kept_and_counted() {
    let mut keeps = pipeline("[parser: {format: json, message: msg}]");
    assert_eq!(shown(&push(&mut keeps, r#"{"msg":"x"#, 0)), r#"{"msg":"x"#);
    assert_eq!(keeps.counts().parse_failures, 1);
    let mut drops = pipeline("[parser: {format: logfmt, on_error: drop}]");
    assert_eq!(shown(&push(&mut drops, "plain text", 0)), "parse 1");
    assert_eq!(drops.counts().parse_failures, 1);
    let mut from = pipeline(
        "[parser: json, parser: {format: logfmt, from: log, keep_fields: all}]"
            .replace("json, ", "json}, {")
            .replace("[parser", "[{parser")
            .replace("all}]", "all}}]")
            .as_str(),
    );
    assert_eq!(shown(&push(&mut from, r#"{"log":"a=1 b=2"}"#, 0)), r#"{"log":"a=1 b=2"} {a="1",b="2"}"#);
    assert_eq!(shown(&push(&mut from, r#"{"x":1}"#, 0)), r#"{"x":1}"#);
    assert_eq!(from.counts().parse_failures, 1);
}

#[test]
fn built_in_formats() {
    check(
        "[parser: docker]",
        &[(r#"{"log":"error: x\n","stream":"stderr","time":"2026-11-20T22:00:00Z"}"#, "error: x")],
    );
    check(
        "[parser: cri]",
        &[("2026-11-20T22:00:00Z stdout F text", "text"), ("2026-11-20T22:00:00Z stdout P text", "text {flags=\"P\"}")],
    );
    check(
        "[parser: syslog]",
        &[(
            "<34>Nov 20 22:14:15 host su[7]: failed",
            "failed {app_name=\"su\",facility=\"auth\",hostname=\"host\",proc_id=\"7\",severity=\"crit\"} fatal",
        )],
    );
    let access = r#"1.2.3.4 - - [20/Nov/2026:22:00:00 +0000] "GET /x HTTP/1.1" 404 5 "-" "curl""#;
    check(
        "[parser: {format: nginx, keep_fields: [status, path]}]",
        &[(access, &format!("{access} {{path=\"/x\",status=\"404\"}}"))],
    );
    check(
        "[parser: {regex: '^(?P<a>\\d+) (?P<message>.*)', message: message}]",
        &[("7 x y", "x y {a=\"7\"}"), ("x", "x")],
    );
    check("[parser: {pattern: '<a> - <_>', keep_fields: all}]", &[("1 - 2", "1 - 2 {a=\"1\"}")]);
    check(
        "[parser: {csv: {columns: [a, '', c], separator: ;}, keep_fields: all}]",
        &[("1;2;3", "1;2;3 {a=\"1\",c=\"3\"}")],
    );
    let out = push(&mut pipeline("[parser: cri]"), "2026-11-20T22:00:00Z stderr F x", 0);
    assert_eq!((out.records[0].output, out.records[0].at.0), (OutputStream::Stderr, WALL.0 - 1_080_000));
}

#[test]
fn times_that_nobody_can_believe_are_kept_as_text() {
    let mut pipeline = pipeline("[parser: {format: json, time: t}]");
    for t in ["1970-01-01T00:00:05Z", "2000-06-01T00:00:00Z", "2026-11-22T00:00:00Z", "yesterday"] {
        let out = push(&mut pipeline, &format!(r#"{{"t":"{t}"}}"#), 0);
        assert_eq!((out.records[0].at, out.records[0].fields.value("t")), (WALL, t));
    }
    assert_eq!(pipeline.counts().time_failures, 4);
    let out = push(&mut pipeline, r#"{"t":"2026-11-21T20:00:00Z"}"#, 0);
    assert_eq!((out.records[0].at.0 - WALL.0, out.records[0].fields.len()), (78_120_000, 0));
}

#[test]
fn conditions() {
    let json = r#"{"status":503,"path":"/static/x","level":"error","took":12.5}"#;
    for (condition, holds) in [
        ("{field: status, equals: 503}", true),
        ("{field: status, equals: [500, '503']}", true),
        ("{field: status, equals: 500}", false),
        ("{field: path, starts_with: /static}", true),
        ("{field: path, contains: [zzz, atic]}", true),
        ("{field: path, matches: '/x$'}", true),
        ("{field: path, matches: '^x'}", false),
        ("{field: gone, exists: false}", true),
        ("{field: gone, equals: ''}", false),
        ("{field: path, exists: true, contains: q}", false),
        ("{field: took, above: 12, below: 13}", true),
        ("{field: path, above: 1}", false),
        ("{label: source, equals: app}", true),
        ("{label: path, exists: true}", false),
        ("{field: source, equals: app}", true),
        ("{label: level, equals: error}", true),
        ("{label: stream, exists: true}", false),
        ("{line: '\"took\":1\\d'}", true),
        ("{level: error}", true),
        ("{level: '>=warn'}", true),
        ("{level: '<error'}", false),
        ("{level: '<= fatal'}", true),
        ("{any: [{level: info}, {field: status, equals: 503}]}", true),
        ("{all: [{level: info}, {field: status, equals: 503}]}", false),
        ("{not: {level: info}, line: took}", true),
        ("{not: {any: [{level: error}]}}", false),
    ] {
        let mut pipeline = pipeline(&format!("[{{parser: json}}, {{drop: {condition}}}]"));
        let expected = if holds { "filtered 1".to_owned() } else { format!("{json} error") };
        assert_eq!(shown(&push(&mut pipeline, json, 0)), expected, "{condition}");
    }
    // A level that nobody knows is not below another, or `drop` would take lines that were not meant.
    check("[drop: {level: '<warn'}]", &[("plain", "plain")]);
    check("[drop: {level: unknown}]", &[("plain", "filtered 1")]);
    check("[keep: {line: a}]", &[("abc", "abc"), ("b", "filtered 1")]);
}

#[test]
fn routes_take_one_of_two_ways() {
    let yaml = "
- parser: {format: logfmt}
- if: {level: error}
  then: [{modify: {set: {page: 'yes'}}}]
  else:
    - if: {field: user, exists: true}
      then: [{drop: {field: user, equals: bot}}]
    - modify: {set: {page: 'no'}}
- modify: {set: {end: '1'}}
";
    check(
        yaml,
        &[
            ("level=error a=1", "level=error a=1 {end=\"1\",page=\"yes\"} error"),
            ("level=info user=bot", "filtered 1"),
            ("level=info user=me", "level=info user=me {end=\"1\",page=\"no\"} info"),
        ],
    );
}

#[test]
fn sampling_lets_one_of_so_many_through() {
    for (yaml, of, through) in [
        ("[sample: {every: 3}]", 300, 100),
        ("[sample: {every: 1}]", 10, 10),
        ("[sample: {rate: 0.1}]", 1000, 100),
        ("[sample: {rate: 1.0}]", 10, 10),
        ("[sample: {rate: 0.25}]", 100, 25),
    ] {
        let mut pipeline = pipeline(yaml);
        let mut out = Output::default();
        (0..of).for_each(|at| pipeline.push(record(&at.to_string()), "s", now(0), &mut out));
        assert_eq!(out.records.len(), through, "{yaml}");
        assert_eq!(out.records[0].line, b"0", "the first goes through");
        assert_eq!(out.losses.iter().map(|loss| loss.count.unwrap()).sum::<u64>(), of - through as u64);
    }
}

#[test]
fn rates_are_limited_by_value_with_a_bound_on_values() {
    let mut pipeline = pipeline("[{parser: logfmt}, {rate_limit: {rate: 10, burst: 2, by: u}}]");
    let mut through = |user: &str, ms: u64| push(&mut pipeline, &format!("u={user}"), ms).records.len();
    assert_eq!([through("a", 0), through("a", 0), through("a", 0), through("b", 0)], [1, 1, 0, 1]);
    assert_eq!([through("a", 99), through("a", 100), through("a", 100)], [0, 1, 0]);
    assert_eq!(through("b", 100), 1);
    assert_eq!(shown(&push(&mut pipeline, "u=b", 100)), "u=b");
    assert_eq!(shown(&push(&mut pipeline, "u=b", 100)), "rate_limited 1");
    let mut through = |user: &str, ms: u64| push(&mut pipeline, &format!("u={user}"), ms).records.len();
    // Beyond the bound users share one bucket, until others' are full again.
    let shared: usize = (0..5000).map(|user| through(&format!("x{user}"), 100)).sum();
    assert!((990..=1002).contains(&shared), "{shared}");
    assert_eq!(through("y", 60_000), 1);
    assert_eq!(through("z", 60_000), 1);
}

#[test]
fn repeated_lines_are_folded_and_told() {
    let mut pipeline = pipeline("[{dedup: {window: 10s}}, {modify: {set: {env: prod}}}]");
    assert_eq!(shown(&push(&mut pipeline, "a", 0)), "a {env=\"prod\"}");
    assert_eq!(pipeline.next_tick(), Some(now(10_000).mono));
    assert_eq!(shown(&push(&mut pipeline, "a", 1)), "repeated 1");
    assert_eq!(shown(&push(&mut pipeline, "b", 2)), "b {env=\"prod\"}");
    assert_eq!(shown(&push(&mut pipeline, "a", 3)), "repeated 1");
    let mut out = Output::default();
    pipeline.tick(now(9_999), &mut out);
    assert!(out.records.is_empty());
    pipeline.tick(now(10_000), &mut out);
    assert_eq!(shown(&out), "a {env=\"prod\",repeated=\"2\"}");
    assert_eq!(pipeline.next_tick(), Some(now(10_002).mono));
    assert_eq!(shown(&push(&mut pipeline, "a", 10_001)), "a {env=\"prod\"}", "a new window");
    assert_eq!(shown(&push(&mut pipeline, "a", 10_001)), "repeated 1");
    let mut out = Output::default();
    pipeline.flush(now(10_001), &mut out);
    assert_eq!(shown(&out), "a {env=\"prod\",repeated=\"1\"}");
    assert_eq!(pipeline.next_tick(), None);
}

#[test]
fn folding_is_by_stream_and_by_fields() {
    let mut by = pipeline(
        "[{parser: {format: json, message: msg, keep_fields: none}}, {if: {line: .}, then: [{dedup: {by: [msg, line]}}]}]",
    );
    assert_eq!(shown(&push(&mut by, r#"{"msg":"x","n":1}"#, 0)), "x");
    assert_eq!(shown(&push(&mut by, r#"{"msg":"x","n":2}"#, 0)), "repeated 1");
    let mut out = Output::default();
    by.tick(now(40_000), &mut out);
    assert_eq!(shown(&out), "x {repeated=\"1\"}", "a stage below `if` lets go too");
    let mut streams = pipeline("[dedup]");
    let mut other = record("a");
    other.labels = Labels::new([("source", "other")]).unwrap();
    let mut out = Output::default();
    for record in [record("a"), other] {
        streams.push(record, "s", now(0), &mut out);
    }
    assert_eq!((out.records.len(), out.losses.len()), (2, 0));
    // Ten thousand lines in a window: those beyond the bound pass, nothing is lost.
    let mut out = Output::default();
    (0..20_000).for_each(|at| streams.push(record(&(at % 10_000).to_string()), "s", now(0), &mut out));
    let repeated = out.losses[0].count.unwrap() as usize;
    assert_eq!(out.records.len() + repeated, 20_000);
    assert!(repeated > 2000);
}

#[test]
fn modify_changes_fields_labels_and_line() {
    let line = r#"{"k8s":{"pod":"p","ns":"n"},"method":"GET","path":"/a b","n":7,"ok":true,"user":"u"}"#;
    for (modify, expected) in [
        (
            "{rename: {user: who}, remove: [k8s.ns], format: json}",
            r#"{"k8s_pod":"p","method":"GET","path":"/a b","n":7,"ok":true,"who":"u"}"#,
        ),
        ("{lift: k8s, remove: [method, path, n, ok], format: logfmt}", "pod=p ns=n user=u"),
        (
            "{nest: {under: http, fields: [method, path]}, remove: [k8s_pod, k8s_ns, user], format: json}",
            r#"{"n":7,"ok":true,"http":{"method":"GET","path":"/a b"}}"#,
        ),
        ("{line: '${method} ${path} by ${user}${gone} $${x}'}", "GET /a b by u ${x}"),
        ("{remove: [k8s_pod, k8s_ns, n, ok, user, method], format: logfmt}", r#"path="/a b""#),
    ] {
        check(&format!("[{{parser: json}}, {{modify: {modify}}}]"), &[(line, expected)]);
    }
    check(
        "[{parser: logfmt}, {modify: {set: {a: '${b}', b: '${a}', who: '${user}@${source}'}, level: '${sev}', labels: {app: '${user}', filename: x}}}]",
        &[(
            "a=1 b=2 user=me sev=err",
            "a=1 b=2 user=me sev=err {a=\"2\",b=\"1\",who=\"me@app\"} labels {app=\"me\"} error",
        )],
    );
    let mut removes = pipeline("[modify: {remove: [secret], remove_labels: [filename], rename: {pid: proc_id}}]");
    let mut own = record("x");
    own.fields = Labels::new([("secret", "1"), ("pid", "2"), ("other", "3")]).unwrap();
    let mut out = Output::default();
    removes.push(own, "s", now(0), &mut out);
    assert_eq!(out.records[0].fields.to_string(), "{other=\"3\",proc_id=\"2\"}");
    assert_eq!(out.records[0].labels.to_string(), "{source=\"app\"}");
}

#[test]
fn labels_from_fields_make_no_streams_without_end() {
    let mut pipeline = pipeline("[parser: {format: logfmt, labels: [id]}]");
    let mut sets = std::collections::HashSet::new();
    for id in 0..3000 {
        let out = push(&mut pipeline, &format!("id={id}"), 0);
        let record = &out.records[0];
        sets.insert(record.labels.clone());
        let (label, field) = (record.labels.value("id"), record.fields.value("id"));
        assert_eq!([label, field].concat(), id.to_string(), "in the labels or in the fields");
    }
    assert_eq!(sets.len(), promote::SETS_MAX + 1);
    assert_eq!(pipeline.counts().labels_refused, 2000);
    assert_eq!(push(&mut pipeline, "id=1", 0).records[0].labels.value("id"), "1", "known sets stay");
    // An hour later nobody uses them any more.
    let out = push(&mut pipeline, "id=new", 3_700_000);
    assert_eq!(out.records[0].labels.value("id"), "new");
    let long = format!("id={}", "x".repeat(promote::VALUE_BYTES_MAX + 1));
    assert_eq!(push(&mut pipeline, &long, 3_700_000).records[0].fields.value("id").len(), promote::VALUE_BYTES_MAX + 1);
}

#[test]
fn fields_beyond_the_bounds_are_cut_and_counted() {
    let mut pipeline = pipeline("[parser: {format: json, keep_fields: all}]");
    let many = (0..1000).map(|at| format!("\"f{at}\":{at}")).collect::<Vec<_>>().join(",");
    let out = push(&mut pipeline, &format!("{{{many}}}"), 0);
    assert_eq!(out.records[0].fields.len(), skerry_model::LABELS_MAX);
    let out = push(&mut pipeline, &format!("{{\"a\":\"{}\",\"b\":1}}", "x".repeat(20_000)), 0);
    assert_eq!(shown(&out).rsplit(' ').next(), Some("{b=\"1\"}"));
    assert_eq!(pipeline.counts().fields_cut, 2);
    let out = push(&mut pipeline, "{\"a\":1,\"a\":2,\"b\":\"\"}", 0);
    assert_eq!(out.records[0].fields.to_string(), "{a=\"1\"}", "the first of a name is kept, as by Loki");
}

fn observed(pipeline: &Pipeline) -> Vec<String> {
    let mut lines: Vec<String> = pipeline.observations().iter().map(|o| format!("{} {}", o.labels, o.value)).collect();
    lines.sort();
    lines
}

#[test]
fn records_become_metrics() {
    let mut metrics = pipeline(
        "
- parser: json
- to_metric: {type: counter, name: requests_total, labels: [status], series_max: 2}
- to_metric: {type: counter, name: bytes_total, value: bytes}
- to_metric: {type: gauge, name: depth, value: depth}
- to_metric: {type: histogram, name: took_seconds, value: took, buckets: [0.1, 1]}
",
    );
    for (status, took, depth) in [(200, 0.1, 5), (200, 0.5, 3), (500, 9.0, 4)] {
        let out = push(&mut metrics, &format!(r#"{{"status":{status},"took":{took},"bytes":10,"depth":{depth}}}"#), 0);
        assert_eq!((out.records.len(), out.losses.len()), (1, 0));
    }
    let out = push(&mut metrics, r#"{"status":404,"bytes":-1,"took":"x"}"#, 0);
    assert_eq!((out.losses[0].stream, out.losses[0].reason), (StreamKind::Metrics, LossReason::SeriesLimit));
    assert_eq!(metrics.counts().metric_failures, 3);
    assert_eq!(
        observed(&metrics),
        [
            "bytes_total{source=\"app\"} 30",
            "depth{source=\"app\"} 4",
            "requests_total{source=\"app\",status=\"200\"} 2",
            "requests_total{source=\"app\",status=\"500\"} 1",
            "took_seconds_bucket{le=\"+Inf\",source=\"app\"} 3",
            "took_seconds_bucket{le=\"0.1\",source=\"app\"} 1",
            "took_seconds_bucket{le=\"1\",source=\"app\"} 2",
            "took_seconds_count{source=\"app\"} 3",
            "took_seconds_sum{source=\"app\"} 9.6",
        ]
    );
}

#[test]
fn redaction_reaches_line_fields_and_labels() {
    let yaml = "
- parser: {format: json, message: msg, labels: [user]}
- redact: {detect: [email, {card: remove}], patterns: [{name: pin, regex: 'pin=(\\d+)'}]}
";
    let mut redacts = pipeline(yaml);
    let out =
        push(&mut redacts, r#"{"msg":"a@b.de paid 4111 1111 1111 1111 pin=1234","mail":"c@d.org","user":"e@f.io"}"#, 0);
    assert_eq!(shown(&out), "[email] paid  pin=[pin] {mail=\"[email]\"} labels {user=\"[email]\"}; redacted 5");
    let mut own = record("x");
    own.fields = Labels::new([("to", "a@b.de")]).unwrap();
    let mut out = Output::default();
    redacts.push(own, "/var/log/app.log", now(0), &mut out);
    assert_eq!(shown(&out), "x {to=\"[email]\"}; redacted 1");
}

fn all_stages() -> Vec<&'static str> {
    vec![
        "{parser: json}",
        "{parser: {format: logfmt, keep_fields: all, labels: [a], level: l, time: t}}",
        "{parser: {format: json, message: a, on_error: drop}}",
        "{parser: {regex: '(?P<a>.)(?P<b>.*)', message: b}}",
        "{parser: {format: syslog}}",
        "{parser: {format: nginx, from: a}}",
        "{if: {field: a, exists: true}, then: [{drop: {field: a, equals: 1}}], else: [{dedup: {window: 1s}}]}",
        "{keep: {line: '[a-z1{]'}}",
        "{sample: {rate: 0.7}}",
        "{rate_limit: {rate: 5, burst: 3, by: a}}",
        "{dedup: {window: 1s}}",
        "{modify: {rename: {a: b}, set: {c: '${a}${b}'}, lift: a, format: json}}",
        "{modify: {nest: {under: x, fields: [a]}, remove: [b], format: logfmt, labels: {q: '${a}'}}}",
        "{redact: {detect: all, action: hash, key: '000102030405060708090a0b0c0d0e0f'}}",
        "{redact: {patterns: ['a+', '(b)c']}}",
        "{to_metric: {type: histogram, name: h, value: a, labels: [b]}}",
    ]
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        r#"\{"a":("?[1x]"?|\{"b":1\}),"(b|l|t)":"(warn|1@b\.de|2026-11-20T22:18:00Z)"\}"#.prop_map(String::into_bytes),
        "(a|b|l|t)=[a-z0-9@.]{0,12} (a|b)=[0-9]{1,3}".prop_map(String::into_bytes),
        "[abc]".prop_map(String::into_bytes),
        Just(b"<34>Nov 20 22:14:15 h su[1]: 4111 1111 1111 1111 a@b.de ::1".to_vec()),
    ]
}

proptest! {
    /// Whatever the stages and lines: each line comes out or stands in the losses.
    #[test]
    fn nothing_is_lost_in_silence(stage_list in proptest::sample::subsequence(all_stages(), 0..6).prop_shuffle(),
                                  lines in proptest::collection::vec((any_line(), 0u64..100), 0..60)) {
        let mut pipeline = pipeline(&format!("[{}]", stage_list.join(", ")));
        let (mut out, mut ms, mut folded) = (Output::default(), 0, 0);
        for (line, step) in &lines {
            ms += step;
            let mut ticked = Output::default();
            pipeline.tick(now(ms), &mut ticked);
            folded += ticked.records.len();
            out.losses.append(&mut ticked.losses);
            let line = LogRecord { line: line.clone(), ..record("") };
            pipeline.push(line, "s", now(ms), &mut out);
        }
        let after = Output { records: Vec::new(), losses: out.losses.clone() };
        let mut ticked = after;
        pipeline.flush(now(ms), &mut ticked);
        prop_assert_eq!(pipeline.next_tick(), None);
        let lost = |losses: &[LossEntry]| -> u64 {
            losses.iter().filter(|loss| loss.stream == StreamKind::Logs && loss.reason != LossReason::Redacted).map(|loss| loss.count.unwrap()).sum()
        };
        // Folded records may be lost in later stages, so that without them it is at most as many.
        let total = out.records.len() as u64 + lost(&out.losses);
        if folded == 0 && !stage_list.iter().any(|stage| stage.contains("dedup")) {
            prop_assert_eq!(total, lines.len() as u64);
        } else {
            prop_assert!(total >= lines.len() as u64 && total <= (lines.len() * 2) as u64);
        }
        let _ = pipeline.observations();
    }
}
