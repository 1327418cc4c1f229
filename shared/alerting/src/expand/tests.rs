use super::*;
use serde_json::Value as Json;

/// A sample of `metric`.
fn metric(instance: &str, job: &str, value: f64) -> (Labels, f64) {
    (Labels::new([("__name__", "metric"), ("instance", instance), ("job", job)]).unwrap(), value)
}

/// What three series answer.
fn answer(query: &str, value: f64) -> Result<Vec<(Labels, f64)>, String> {
    let (first, a, b) =
        (metric("web-1.example.com:9100", "node", value), metric("a", "x", 11.0), metric("b", "x", 21.0));
    let unnamed = |value: f64| vec![(Labels::default(), value)];
    Ok(match query {
        "metric" => vec![first, a, b],
        "metric{instance='a'}" => vec![a],
        "missing" => Vec::new(),
        "1" => unnamed(1.0),
        "vector(5)" => unnamed(5.0),
        "sum(metric)" => unnamed(value + 32.0),
        "topk(1, metric)" => vec![first],
        "count_values('x', metric)" => vec![(Labels::new([("x", "11")]).unwrap(), 1.0)],
        "" => return Err("1:1: parse error: no expression found in input".into()),
        _ => return Err("1:5: parse error: unclosed left parenthesis".into()),
    })
}

fn with<T>(name: &str, value: f64, run: impl FnOnce(&Expansion<'_>) -> T) -> T {
    let (labels, _) = metric("web-1.example.com:9100", "node", value);
    let external_labels = Labels::new([("site", "north")]).unwrap();
    run(&Expansion {
        name,
        labels: &labels,
        value,
        external_labels: &external_labels,
        external_url: "http://host:9090/path/prefix",
        now: UnixMillis(1_435_065_584_128),
        query: &|query| answer(query, value),
    })
}

/// Cases that lie beside the repository, in `shared/rules-vectors`.
fn vectors(file: &str) -> Json {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/rules-vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::String(text) => text.as_str().into(),
        Json::Number(number) if number.is_i64() => Value::Int(number.as_i64().unwrap()),
        number => Value::Float(number.as_f64().unwrap()),
    }
}

#[test]
fn texts_without_actions_are_copied() {
    with("test", 1.0, |expansion| assert_eq!(expand("plain }}", expansion).as_deref(), Ok("plain }}")));
}

#[test]
fn prometheuss_own_cases_pass() {
    let cases = vectors("prometheus_template_functions.json");
    let judge = |template: &str, data: Value, expected: &Json| {
        let found = with("test", 1.0, |expansion| expand_over(template, data, expansion));
        match expected {
            Json::String(text) => assert_eq!(found.as_deref().map_err(ToString::to_string), Ok(&**text), "{template}"),
            expected => {
                let (told, wanted) = (found.unwrap_err().to_string(), expected["error"].as_str().unwrap());
                assert!(told.contains(wanted), "{template}: {told}");
            }
        }
    };
    for case in cases["functions"].as_array().unwrap() {
        let template = format!("{{{{ {} . }}}}", case["function"].as_str().unwrap());
        judge(&template, value_of(&case["input"]), &case["expect"]);
    }
    for case in cases["whole_templates"].as_array().unwrap() {
        judge(case["template"].as_str().unwrap(), Value::Nil, &case["expect"]);
    }
}

/// Templates with what promtool 2.42 put into annotations, or said of them when it checked the rules.
#[test]
fn promtool_says_the_same() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("testdata/promtool.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let [value, template, says] = ["value", "template", "says"].map(|key| case[key].as_str().unwrap());
        let ours = match check("__alert_A", template) {
            Err(error) => error.to_string(),
            Ok(()) => with("__alert_A", value.parse().unwrap(), |expansion| annotation(template, expansion)),
        };
        if ours != says {
            wrong.push(format!("{template:?} of {value}\n  promtool: {says:?}\n      here: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Cases of Prometheus's suite that promtool cannot be asked: other data, templates of a console, limits of numbers.
#[test]
fn the_expander_over_any_data() {
    let floats = |all: &[f64]| Value::from(all.iter().map(|n| Value::Float(*n)).collect::<Vec<_>>());
    let ints = |all: &[i64]| Value::from(all.iter().map(|n| Value::Int(*n)).collect::<Vec<_>>());
    let range = |function: &str| format!("{{{{ range . }}}}{{{{ {function} . }}}}:{{{{ end }}}}");
    let durations = [0.0, 1.0, 60.0, 3600.0, 86400.0, 90000.0, -183_845.0, 899.99];
    for (template, data, expected) in [
        (range("humanize"), ints(&[0, -1, 1, 1_234_567, i64::MAX]), "0:-1:1:1.235M:9.223E:"),
        (range("humanize1024"), floats(&[0.0, 1.0, 1_048_576.0, 0.12]), "0:1:1Mi:0.12:"),
        (
            range("humanizeDuration"),
            floats(&durations),
            "0s:1s:1m 0s:1h 0m 0s:1d 0h 0m 0s:1d 1h 0m 0s:-2d 3h 4m 5s:14m 59s:",
        ),
        (
            range("humanizeDuration"),
            ints(&[0, -1, 1, 1_234_567, i64::MAX]),
            "0s:-1s:1s:14d 6h 56m 7s:-106751991167300d -15h -30m -8s:",
        ),
        (
            range("humanizeDuration"),
            floats(&[0.1, 0.0001, 0.12345, 60.1, 60.5, 1.2345, 12.345]),
            "100ms:100us:123.5ms:1m 0s:1m 0s:1.234s:12.35s:",
        ),
        (range("humanizeTimestamp"), floats(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN]), "+Inf:-Inf:NaN:"),
        ("{{ humanizeDuration . }} {{ humanize . }}".into(), Value::Duration(90_500_000_000), "1m 30s 90.5"),
        ("{{ .Foo }}".into(), Value::Nil, "<no value>"),
        ("{{ .Foo.Bar }}".into(), Value::Nil, "<no value>"),
        ("{{define \"x\"}}{{.arg0}} {{.arg1}}{{end}}{{template \"x\" (args 1 \"2\")}}".into(), Value::Nil, "1 2"),
        ("{{define \"x\"}}<{{.}}>{{end}}{{tmpl \"x\" 5}}".into(), Value::Nil, "<5>"),
        ("{{ (now | toTime).Format \"2006-01-02\" }} {{ now }}".into(), Value::Nil, "2015-06-23 1.435065584128e+09"),
        ("{{ parseDurationTime \"1h30m\" }} {{ (parseDurationTime \"90m\").Hours }}".into(), Value::Nil, "1h30m0s 1.5"),
        (
            "{{ (1800 | toDuration).Seconds }} {{ toDuration \"0.0015\" }} {{ toDuration 1e300 }}".into(),
            Value::Nil,
            "1800 1.5ms -2562047h47m16.854775808s",
        ),
        (
            "{{ externalURL }} {{ pathPrefix }} {{ urlQueryEscape \"a b&c\" }}".into(),
            Value::Nil,
            "http://host:9090/path/prefix /path/prefix a+b%26c",
        ),
    ] {
        let found = with("test", 1.0, |expansion| expand_over(&template, data, expansion));
        assert_eq!(found.as_deref().map_err(ToString::to_string), Ok(expected), "{template}");
    }
    for (template, data, told) in [
        (
            "{{ humanizeTimestamp . }}",
            Value::Int(i64::MAX),
            "9.223372036854776e+18 cannot be represented as a nanoseconds timestamp since it overflows int64",
        ),
        ("{{ toTime . }}", Value::Float(f64::NAN), "error calling toTime: value is NaN or Inf"),
        ("{{ tmpl \"nope\" . }}", Value::Nil, "error calling tmpl: template \"nope\" not defined"),
        (
            "{{ (query \"missing\").banana }}",
            Value::Nil,
            "error executing template test: template: test:1:10: executing \"test\" at <\"missing\">: can't evaluate field banana in type template.queryResult",
        ),
        (
            "{{ query \"missing\" | first }}",
            Value::Nil,
            "error executing template test: template: test:1:21: executing \"test\" at <first>: error calling first: first() called on vector with no elements",
        ),
        ("{{", Value::Nil, "error parsing template test: template: test:1: unclosed action"),
        (
            "{{\u{a0}}}",
            Value::Nil,
            "error parsing template test: template: test:1: unrecognized character in action: U+00A0",
        ),
    ] {
        let error = with("test", 1.0, |expansion| expand_over(template, data, expansion)).unwrap_err().to_string();
        assert!(error.contains(told), "{template}: {error}");
    }
}

#[test]
fn a_template_asks_a_bounded_number_of_queries() {
    let asks = "{{ range 200 }}{{ query \"metric\" | len }}{{ end }}";
    let error = with("test", 1.0, |expansion| expand(asks, expansion)).unwrap_err().to_string();
    assert!(error.contains("more than 100 queries in one template"), "{error}");
}
