use super::*;
use proptest::prelude::*;

/// The exposition as lines of text, or why not.
fn read_in(format: Format, text: &[u8], chunk_bytes: usize) -> Result<Vec<String>, BadLine> {
    let mut parser = Parser::new(format);
    let mut told = Vec::new();
    let mut each = |entry: Entry<'_>| {
        told.push(match entry {
            Entry::Sample(Sample { series, value, at }) => {
                let labels: Vec<String> = series.labels().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{} {value:?} {:?}", labels.join(";"), at.map(|at| at.0))
            }
            Entry::Help { name, help } => format!("help {name}: {help}"),
            Entry::Type { name, kind } => format!("type {name}: {}", kind.as_str()),
            Entry::Unit { name, unit } => format!("unit {name}: {unit}"),
        });
    };
    for chunk in text.chunks(chunk_bytes.max(1)) {
        parser.feed(chunk, &mut each)?;
    }
    parser.finish(&mut each)?;
    Ok(told)
}

fn read(text: &str) -> Result<Vec<String>, BadLine> {
    read_in(Format::Prometheus, text.as_bytes(), usize::MAX)
}

fn read_open(text: &str) -> Result<Vec<String>, BadLine> {
    read_in(Format::OpenMetrics, text.as_bytes(), usize::MAX)
}

#[test]
fn prometheus_lines() {
    let table: &[(&str, &str)] = &[
        ("a 1", "__name__=a 1.0 None"),
        ("a_:9 -0", "__name__=a_:9 -0.0 None"),
        ("a{} 1e3", "__name__=a 1000.0 None"),
        ("a{b=\"c\"} 1 1700000000123", "__name__=a;b=c 1.0 Some(1700000000123)"),
        ("a{b=\"c\",} 1", "__name__=a;b=c 1.0 None"),
        (" \ta\t{ b = \"c\" , d=\"\" }\t+Inf \t5 \t", "__name__=a;b=c;d= inf Some(5)"),
        ("a{b=\"c\"}1", "__name__=a;b=c 1.0 None"),
        ("a -inf", "__name__=a -inf None"),
        ("a NaN", "__name__=a NaN None"),
        ("a nan -5", "__name__=a NaN Some(-5)"),
        (r#"a{b="\\ \" \n \x é"} 1"#, "__name__=a;b=\\ \" \n \\x é 1.0 None"),
        ("a{b=\"{},=#\"} 1", "__name__=a;b={},=# 1.0 None"),
        ("{\"my.metric\",l=\"v\"} 1", "__name__=my.metric;l=v 1.0 None"),
        ("{\"my.metric\"} 1", "__name__=my.metric 1.0 None"),
        ("{l=\"v\",\"my.metric\"} 1", "l=v;__name__=my.metric 1.0 None"),
        ("{\"m\",\"strange label\"=\"v\"} 1", "__name__=m;strange label=v 1.0 None"),
        ("a{b=\"1\",b=\"2\"} 1", "__name__=a;b=1;b=2 1.0 None"),
        ("# HELP a Some\\nhelp \\\\ \\\" \"x\".", "help a: Some\nhelp \\ \\\" \"x\"."),
        ("#\tHELP  a", "help a: "),
        ("# HELP \"my.metric\" Text", "help my.metric: Text"),
        ("# TYPE a counter", "type a: counter"),
        ("# TYPE a\tuntyped", "type a: unknown"),
    ];
    for (line, expected) in table {
        assert_eq!(read(line), Ok(vec![(*expected).to_owned()]), "{line:?}");
    }
    for nothing in ["", "  ", "#", "# a comment", "#HELP a b", "# HELPER a", "#TYPE a nothing", "\n\n"] {
        assert_eq!(read(nothing), Ok(vec![]), "{nothing:?}");
    }
}

#[test]
fn bad_prometheus_lines() {
    let table: &[(&str, Problem)] = &[
        ("1a 1", Problem::MetricName),
        ("a", Problem::Value),
        ("a x", Problem::Value),
        ("a 1 2 3", Problem::Trailing),
        ("a 1 1.5", Problem::Timestamp),
        ("a 0x1p-2", Problem::Value),
        ("a 1_000", Problem::Value),
        ("a 1e999", Problem::Value),
        ("a +NaN", Problem::Value),
        ("a 1\r", Problem::Value),
        ("a{b=\"c\"", Problem::LabelEnd),
        ("a{b=\"c} 1", Problem::OpenQuote),
        ("a{b=\"c\\\"} 1", Problem::OpenQuote),
        ("a{b=c} 1", Problem::LabelValue),
        ("a{b} 1", Problem::Equals),
        ("a{=\"c\"} 1", Problem::LabelName),
        ("a{,} 1", Problem::LabelName),
        ("a{b=\"c\" d=\"e\"} 1", Problem::LabelEnd),
        ("a{b:c=\"d\"} 1", Problem::Equals),
        ("a{b=\"c\",,} 1", Problem::LabelName),
        ("a{\"b\"} 1", Problem::TwoMetricNames),
        ("{\"a\",\"b\"} 1", Problem::TwoMetricNames),
        ("{b=\"c\"} 1", Problem::NoMetricName),
        ("{} 1", Problem::NoMetricName),
        ("é 1", Problem::MetricName),
        ("# TYPE a thing", Problem::Type),
        ("# TYPE a", Problem::Type),
        ("# TYPE a info", Problem::Type),
        ("# HELP 1 x", Problem::MetricName),
        ("<html>", Problem::MetricName),
    ];
    for (line, problem) in table {
        let text = format!("good 1\n{line}\ngood 2\n");
        let told = read(&text).unwrap_err();
        assert_eq!((told.line, told.problem), (2, *problem), "{line:?}");
    }
}

#[test]
fn a_bad_line_is_told_with_its_number_and_begin() {
    let told = read("ok 1\n# TYPE ok gauge\nbad{x=\"1\"} one\n").unwrap_err();
    assert_eq!(told.to_string(), r#"line 3: a number is expected after the series, in "bad{x=\"1\"} one""#);
    let cut = read(&format!("a{{b=\"{}\n", "é".repeat(500))).unwrap_err();
    assert_eq!(cut.excerpt.chars().count(), 80);
    assert_eq!(read_in(Format::Prometheus, b"a 1\n\xff 2", 1).unwrap_err().problem, Problem::NotUtf8);
}

#[test]
fn open_metrics() {
    let text = "# HELP s A \\\"thing\\\".\n# TYPE s_seconds counter\n# UNIT s_seconds seconds\n\
        s_seconds_total{a=\"b\"} 3 1700000000.25 # {trace_id=\"x\",y=\"z\"} 0.5 1700000000.1\n\
        b_bucket{le=\"1\"} 5 # {} 0.7\nc 1 1.5e3\n# TYPE i info\n# UNIT i \n# TYPE u unknown\n# EOF\n";
    let expected = [
        "help s: A \"thing\".",
        "type s_seconds: counter",
        "unit s_seconds: seconds",
        "__name__=s_seconds_total;a=b 3.0 Some(1700000000250)",
        "__name__=b_bucket;le=1 5.0 None",
        "__name__=c 1.0 Some(1500000)",
        "type i: info",
        "unit i: ",
        "type u: unknown",
    ];
    assert_eq!(read_open(text).unwrap(), expected);
    assert_eq!(read_open(text.trim_end()).unwrap(), expected, "the last line break may be missing");
}

#[test]
fn bad_open_metrics() {
    let table: &[(&str, Problem)] = &[
        ("", Problem::Unknown),
        ("# a comment", Problem::Unknown),
        ("# EOF ", Problem::Unknown),
        ("#HELP a b", Problem::MetricName),
        ("# TYPE a untyped", Problem::Type),
        ("# TYPE a", Problem::MetaText),
        ("# UNIT a_seconds bytes", Problem::Unit),
        ("# UNIT seconds seconds", Problem::Unit),
        ("a  1", Problem::Value),
        ("a\t1", Problem::Value),
        ("a 1 ", Problem::Timestamp),
        ("a 1 NaN", Problem::Timestamp),
        ("a 1 Inf", Problem::Timestamp),
        ("a 1 1 1", Problem::Trailing),
        ("a 1 # x", Problem::Trailing),
        ("a 1 # {a} 1", Problem::Exemplar),
        ("a 1 # {a=\"b\"}", Problem::Exemplar),
        ("a 1 # {a=\"b\"} x", Problem::Exemplar),
        ("a 1 # {a=\"b\"} 1 x", Problem::Exemplar),
        ("a 1 # {a=\"b\"} 1 1 1", Problem::Exemplar),
    ];
    for (line, problem) in table {
        let told = read_open(&format!("good 1\n{line}\n# EOF\n")).unwrap_err();
        let expected = if line.is_empty() { Problem::MetricName } else { *problem };
        assert_eq!((told.line, told.problem), (2, expected), "{line:?}");
    }
    assert_eq!(read_open("a 1\n").unwrap_err().problem, Problem::NoEof);
    assert_eq!(read_open("").unwrap_err().problem, Problem::NoEof);
    assert_eq!(read_open("# EOF\na 1\n").unwrap_err().problem, Problem::AfterEof);
    assert_eq!(read_open("# EOF\n\n").unwrap_err().problem, Problem::AfterEof);
}

#[test]
fn any_nan_is_the_normal_one() {
    let mut parser = Parser::new(Format::Prometheus);
    let mut bits = Vec::new();
    let mut each = |entry: Entry<'_>| {
        if let Entry::Sample(sample) = entry {
            bits.push(sample.value.to_bits());
        }
    };
    parser.feed(b"a nan\nb NaN\n", &mut each).unwrap();
    assert_eq!(bits, [NORMAL_NAN_BITS; 2]);
}

#[test]
fn lines_and_labels_are_bounded() {
    let label = "x".repeat(1 << 20);
    for chunk_bytes in [1000, usize::MAX] {
        let text = format!("a 1\nb{{l=\"{label}\"}} 1\n");
        let told = read_in(Format::Prometheus, text.as_bytes(), chunk_bytes).unwrap_err();
        assert_eq!((told.line, told.problem), (2, Problem::TooLong));
        let endless = read_in(Format::Prometheus, label.as_bytes(), chunk_bytes).unwrap_err();
        assert_eq!((endless.line, endless.problem), (1, Problem::TooLong));
    }
    let labels: Vec<String> = (0..LINE_LABELS_MAX + 1).map(|n| format!("l{n}=\"\"")).collect();
    assert_eq!(read(&format!("a{{{}}} 1", labels.join(","))).unwrap_err().problem, Problem::TooManyLabels);
    assert!(read(&format!("a{{{}}} 1", labels[1..].join(","))).is_ok());
}

#[test]
fn the_content_type_chooses() {
    for open in ["application/openmetrics-text", "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8"] {
        assert_eq!(Format::of_content_type(open), Format::OpenMetrics);
    }
    for other in ["", "text/plain", "text/plain; version=0.0.4", "text/html", "application/openmetrics-texts"] {
        assert_eq!(Format::of_content_type(other), Format::Prometheus);
    }
}

/// Bytes that look like expositions.
fn nearly() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "{", "}", "\"", "\\", "=", ",", " ", "\t", "\n", "#", "# HELP ", "# TYPE ", "# UNIT ", "# EOF", "1",
        "NaN", "+Inf", "1.5", "counter", "é", "l=\"v\"", " # {", "\\\"", "\r", "_", ":",
    ]);
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_panics_and_chunks_do_not_matter(text in nearly(), chunk_bytes in 1usize..9) {
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let whole = read_in(format, text.as_bytes(), usize::MAX);
            prop_assert_eq!(read_in(format, text.as_bytes(), chunk_bytes), whole);
        }
    }

    #[test]
    fn any_bytes_are_met_with_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let _ = read_in(format, &bytes, 7);
        }
    }

    #[test]
    fn any_label_value_reads_back(value in ".*") {
        let escaped = value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        let text = format!("a{{b=\"{escaped}\"}} 1");
        prop_assert_eq!(read(&text), Ok(vec![format!("__name__=a;b={value} 1.0 None")]));
    }
}
