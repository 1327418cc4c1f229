use super::{Either, query, selector};
use proptest::prelude::*;

fn error(text: &str) -> String {
    match query(text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} is a query"),
    }
}

#[test]
fn what_loki_documents_is_read() {
    for text in [
        r#"{app="mysql",name=~"mysql-backup.+"} |= "error" != "timeout" |~ `\d+ms` !~ "x" or "y""#,
        r#"{job="x"} |> "<_> level=debug <_>" !> `a <_>`"#,
        r#"{job="x"} |= ip("192.168.4.5/16") != ip("2001:db8::-2001:db8::9") or "b""#,
        r#"{job="x"} # says nothing
           | json | duration > 250ms and size <= 20KB, method="GET" status != 200 | level =~ "warn|error""#,
        r#"{job="x"} | json first_server="servers[0]", ua="request.headers[\"User-Agent\"]", level"#,
        r#"{job="x"} | logfmt --strict --keep-empty host, fwd="fwd_ip""#,
        r#"{job="x"} | logfmt | (a="b" or c > 1.5e3) and d == -3 | addr = ip("::1") | addr != ip("10.0.0.0/8")"#,
        r#"{job="x"} | regexp "(?P<method>\\w+) (?P<path>[\\w|/]+)" | pattern `<ip> - <_> "<verb>`"#,
        r#"{job="x"} | unpack | decolorize | line_format "{{.a}} {{ToLower .b}}" | label_format a=b,c="{{.d}}""#,
        r#"{job="x"} | drop a, b="c", d=~"e.*" | keep f | __error__="" | __error_details__!~"x""#,
        r#"({job="x"} |= "y")"#,
    ] {
        assert!(matches!(query(text), Ok(Either::Log(_))), "{text}: {:?}", query(text).err());
    }
    for text in [
        r#"rate({job="x"} |= "error" [5m])"#,
        r#"rate({job="x"}[5m] |= "error")"#,
        r#"count_over_time(({job="x"} | json)[5m] offset 1h)"#,
        r#"sum by (host) (rate({job="mysql"} |= "error" != "timeout" | json | duration > 10s [1m]))"#,
        r#"sum(rate({job="x"}[1m])) by (a) / ignoring(b) group_left(c) sum without (d) (bytes_rate({job="x"}[1m]))"#,
        r#"quantile_over_time(0.99, {c="i"} | json | __error__ = "" | unwrap duration(response_time) [1m]) by (path)"#,
        r#"sum_over_time({c="i"} | logfmt | unwrap bytes(size) | __error__="" [1m]) > bool 5"#,
        r#"topk(10, sum(rate({region="us"} [5m])) by (name)) or vector(0)"#,
        r#"approx_topk(3, sum by (a) (count_over_time({b="c"}[1h30m])))"#,
        r#"label_replace(rate({job="api",service="a:c"}[1m]), "foo", "$1", "service", `(.*):.*`)"#,
        r#"sort_desc(absent_over_time({foo="bar"}[1h]))"#,
        r#"(avg_over_time({a="b"} | unwrap x [1d]) without (y)) ^ 2 != 1"#,
        "vector(1)+vector(1)",
        "1 + 1",
        r#"rate_counter({a="b"} | unwrap x [5m]) unless first_over_time({a="b"} | unwrap x [5m]) by (z)"#,
    ] {
        assert!(matches!(query(text), Ok(Either::Metric(_))), "{text}: {:?}", query(text).err());
    }
    assert_eq!(selector(r#"{a="b", c!="d"}"#).unwrap().len(), 2);
}

#[test]
fn faults_are_told_with_their_places() {
    for (text, told) in [
        ("", "line 1, col 1: the query is empty"),
        ("{", "line 1, col 2: unexpected end of the query, expected a label's name"),
        ("{}", "line 1, col 1: queries require at least one regexp or equality matcher"),
        (r#"{a=~".*"}"#, "line 1, col 1: queries require at least one"),
        (r#"{a!="x"}"#, "line 1, col 1: queries require at least one"),
        (r#"{a="b""#, "line 1, col 7: unexpected end of the query, expected \",\" or \"}\""),
        (r#"{a="b"#, "line 1, col 4: unterminated quoted string, near \"\\\"b\""),
        (r#"{a~"b"}"#, "line 1, col 3: unexpected character '~'"),
        (r#"{a="b"} |= c"#, "line 1, col 12: unexpected word \"c\", expected a string or ip(\"…\")"),
        (r#"{a="b"} |~ "(""#, "line 1, col 12: the expression is no expression at character"),
        (r#"{a=~"("}"#, "line 1, col 5: matcher on label \"a\""),
        (
            r#"{a="b"} | jsn"#,
            "line 1, col 14: unexpected end of the query, expected a comparison, because \"jsn\" is no",
        ),
        ("{a=\"b\"}\n| json\n| x >", "line 3, col 6: unexpected end of the query, expected a string, a number"),
        (r#"{a="b"} | x > "5""#, "line 1, col 15: texts compare with =, !=, =~ and !~ alone"),
        (r#"{a="b"} | x > 5q"#, "line 1, col 15: no number, duration (250ms, 1h30m) or size"),
        (r#"{a="b"} | x = ip("1.2.3")"#, "line 1, col 18: an IP address, a range"),
        (r#"{a="b"} |~ ip("1.2.3.4")"#, "line 1, col 12: ip() goes with |= and != alone"),
        (r#"{a="b"} | regexp "a(b)""#, "line 1, col 18: the expression has no named group"),
        (r#"{a="b"} | pattern "<_>""#, "line 1, col 19: the pattern has no capture"),
        (r#"{a="b"} |> "<x> y""#, "line 1, col 12: a pattern that filters takes <_> alone, not <x>"),
        (r#"{a="b"} | json x="a[""#, "line 1, col 16: \"a[\" is no path into JSON"),
        (r#"{a="b"} | logfmt --strikt"#, "line 1, col 18: unknown flag of logfmt"),
        (r#"{a="b"} | line_format "{{.a""#, "line 1, col 23: template: unclosed action"),
        (r#"{a="b"} | label_format a=b,a=c"#, "line 1, col 28: multiple label_format operations on label \"a\""),
        (r#"{a="b"} | label_format __error__=b"#, "line 1, col 24: __error__ cannot be formatted"),
        (r#"{a="b"} | unwrap x"#, "line 1, col 11: unwrap makes numbers of a label"),
        (r#"{a="b"} [5m]"#, "line 1, col 9: a range needs a function around it"),
        (r#"{a="b"} foo"#, "line 1, col 9: unexpected word \"foo\", expected a stage of the pipeline"),
        (r#"rate({a="b"})"#, "line 1, col 13: unexpected \")\", expected a range for rate, such as [5m]"),
        (r#"rate({a="b"}[0s])"#, "line 1, col 14: a range of at least 1ms is expected"),
        (r#"rate({a="b"}[5])"#, "line 1, col 14: unexpected \"5\", expected a range"),
        (r#"rate(5, {a="b"}[5m])"#, "line 1, col 6: rate takes no parameter"),
        (r#"quantile_over_time({a="b"}|unwrap x[5m])"#, "line 1, col 20: unexpected \"{\", expected a quantile"),
        (r#"sum_over_time({a="b"}[5m])"#, "line 1, col 1: invalid aggregation sum_over_time without unwrap"),
        (r#"count_over_time({a="b"}|unwrap x[5m])"#, "line 1, col 1: invalid aggregation count_over_time with unwrap"),
        (r#"sum_over_time({a="b"}|unwrap x[5m]) by (y)"#, "line 1, col 37: grouping not allowed for sum_over_time"),
        (r#"sum({a="b"})"#, "line 1, col 5: a log selector stands where a number is expected"),
        (r#"foo(rate({a="b"}[5m]))"#, "line 1, col 1: unknown function or word \"foo\""),
        ("up", "line 1, col 1: unknown function or word \"up\""),
        (r#"sum(rate({a="b"}[5m])"#, "line 1, col 22: unexpected end of input"),
        (r#"topk(rate({a="b"}[5m]))"#, "line 1, col 1: wrong number of arguments"),
        (r#"sum by (x) (5)"#, "line 1, col 13: expected type instant vector in aggregation expression, got scalar"),
        ("sum(\n rate({a=\"b\"}[5m])\n) + bool 1", "line 3, col 3: bool modifier can only be used on comparison"),
        (r#"sum(rate({a="b"}[5m])) and 1"#, "line 1, col 24: set operator \"and\" not allowed"),
        (r#"rate({a="b"}[5m]) @ 5"#, "line 1, col 19: unexpected \"@\", expected a metric expression"),
        (r#"sum(rate({a="b"}[5m]))[5m:1m]"#, "line 1, col 23: unexpected \"[\", expected a metric expression"),
        ("1 + 5m", "line 1, col 5: \"5m\" is no number"),
    ] {
        let found = error(text);
        assert!(found.contains(told), "{text}\n  {found}\n  {told}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = |open: &str, middle: &str, close: &str, times: usize| {
        format!("{}{middle}{}", open.repeat(times), close.repeat(times))
    };
    assert!(error(&deep("(", r#"{a="b"}"#, ")", 5000)).contains("nested more than 64 deep"));
    assert!(error(&format!(r#"{{a="b"}} | {}"#, deep("(", r#"c="d""#, ")", 5000))).contains("nested more than 64"));
    assert!(error(&format!("rate({})", deep("(", r#"{a="b"}"#, ")", 5000))).contains("nested more than 64"));
    assert!(error(&deep("sum(", r#"rate({a="b"}[1m])"#, ")", 5000)).contains("nested"));
    assert!(
        error(&format!(r#"{{a="b"}} | c="d"{}"#, r#" or c="d""#.repeat(500))).contains("more than 200 label filters")
    );
    assert!(error(&format!(r#"{{a="b"}} |= "d"{}"#, r#" or "d""#.repeat(500))).contains("more than 64 alternatives"));
    assert!(error(&format!(r#"{{a="b"}} {}"#, r#"|= "d" "#.repeat(2000))).contains("more than 200 stages"));
    assert!(error(&format!("1{}", r#" + rate({a="b"}[1m])"#.repeat(40))).contains("more than 32 range aggregations"));
    assert!(error(&"x".repeat(40_000)).contains("at most 32768"));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = query(&text);
    }

    #[test]
    fn no_words_panic(words in proptest::collection::vec(prop_oneof![
        Just("{a=\"b\"}"), Just("rate("), Just("sum("), Just("quantile_over_time("), Just("0.9"), Just(","), Just(")"),
        Just("("), Just("[5m]"), Just("| json"), Just("| logfmt"), Just("--strict"), Just("| x > 5"), Just("|= \"é\""),
        Just("| unwrap x"), Just("by (a)"), Just("offset 1h"), Just("or"), Just("\n"), Just("| line_format \"{{.a}}\""),
        Just("/ on (a)"), Just("topk"), Just("approx_topk"), Just("| drop a"), Just("| a=\"b\""), Just("!="), Just("-"),
    ], 0..14)) {
        let _ = query(&words.join(" "));
    }
}
