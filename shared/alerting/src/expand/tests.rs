use super::*;
use serde_json::Value as Json;

fn samples() -> Vec<(Labels, f64)> {
    let of = |instance: &str| Labels::new([("__name__", "metric"), ("instance", instance)]).unwrap();
    vec![(of("b"), 21.0), (of("a"), 11.0)]
}

fn with<T>(value: f64, run: impl FnOnce(&Expansion<'_>) -> T) -> T {
    let labels = Labels::new([("instance", "web-1.example.com:9100"), ("job", "node")]).unwrap();
    let external_labels = Labels::new([("site", "north")]).unwrap();
    run(&Expansion {
        name: "test",
        labels: &labels,
        value,
        external_labels: &external_labels,
        external_url: "http://host:9090/path/prefix",
        now: UnixMillis(1_435_065_584_128),
        query: &|query| match query {
            "metric" => Ok(samples()),
            "missing" => Ok(Vec::new()),
            other => Err(format!("no such query: {other}")),
        },
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
    with(1.0, |expansion| assert_eq!(expand("plain }}", expansion).as_deref(), Ok("plain }}")));
}

#[test]
fn prometheuss_own_cases_pass() {
    let cases = vectors("prometheus_template_functions.json");
    let judge = |template: &str, data: Value, expected: &Json| {
        let found = with(1.0, |expansion| expand_over(template, data, expansion));
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
