//! What configs say wrong, and what they may.

use super::{Pipeline, Stages, stages};

#[test]
fn every_fault_is_told_with_its_key() {
    let yaml = "
- parsr: json
- parser: {format: jsn, time: {format: iso, zone: Mars/Base, at: x}, on_error: explode}
- parser: {format: json, regex: 'x'}
- parser: {regex: '(?P<a>x'}
- parser: {regex: '(?P<a>\\w{1000}){1000}'}
- parser: {csv: {columns: [], separator: ab}}
- drop: {field: a}
- drop: {fild: a, equals: 1}
- keep: {}
- drop: {level: loud}
- drop: {line: '['}
- sample: {every: 2, rate: 0.5}
- sample: {rate: 2}
- rate_limit: {burst: 0}
- dedup: {window: 2w}
- modify: {set: {a: '${b'}, format: xml, labels: {'a-b': x, source: y}}
- redact: {detect: [emil, {ip: burn}], patterns: ['x*', {regex: '('}]}
- redact: {detect: all, action: hash}
- redact: {detect: all, action: hash, key: geheim}
- to_metric: {type: meter, name: 'a b'}
- to_metric: {type: histogram, name: skerry_x, buckets: [2, 1]}
- if: {level: error}
- if: {level: error}
  then: [{drop: {lines: x}}]
- drop: {level: info}
  keep: {level: info}
- 7
- parser: {format: json, labels: [__name__]}
- to_metric: {type: counter, name: a}
- to_metric: {type: counter, name: a}
";
    let faults = Pipeline::new(&[&stages(yaml)]).unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "[0].parsr",
            "[1].parser.format",
            "[1].parser.time.zone",
            "[1].parser.time.format",
            "[1].parser.time.at",
            "[1].parser.on_error",
            "[2].parser",
            "[3].parser.regex",
            "[4].parser.regex",
            "[5].parser.csv.columns",
            "[5].parser.csv.separator",
            "[6].drop",
            "[7].drop",
            "[7].drop.fild",
            "[8].keep",
            "[9].drop.level",
            "[10].drop.line",
            "[11].sample",
            "[12].sample.rate",
            "[13].rate_limit.burst",
            "[13].rate_limit.rate",
            "[14].dedup.window",
            "[15].modify.set.a",
            "[15].modify.labels",
            "[15].modify.labels",
            "[15].modify.format",
            "[16].redact.detect[0]",
            "[16].redact.detect[1].ip",
            "[16].redact.patterns[0]",
            "[16].redact.patterns[1].regex",
            "[16].redact",
            "[17].redact.key",
            "[18].redact.key",
            "[19].to_metric.type",
            "[19].to_metric.name",
            "[20].to_metric.name",
            "[20].to_metric.value",
            "[20].to_metric.buckets",
            "[21]",
            "[22].then[0].drop.lines",
            "[23]",
            "[24]",
            "[25].parser.labels",
            "[27].to_metric.name",
        ],
        "{faults:#?}"
    );
    assert!(
        faults
            .iter()
            .all(|(_, problem)| problem.contains("expected") || problem.contains("is ") || problem.contains("are "))
    );
    assert!(!format!("{faults:?}").contains("geheim"), "a key is never shown");
    let second = Pipeline::new(&[&stages("[dedup]"), &stages("[nope]")]).unwrap_err();
    assert_eq!(second[0].0, "[1][0].nope");
}

#[test]
fn nesting_and_number_of_stages_are_bounded() {
    let mut deep = "{drop: {level: info}}".to_owned();
    for _ in 0..6 {
        deep = format!("{{if: {{level: info}}, then: [{deep}]}}");
    }
    let faults = Pipeline::new(&[&stages(&format!("[{deep}]"))]).unwrap_err();
    assert!(faults[0].1.contains("deeper than 4"), "{faults:?}");
    let many = format!("[{}]", vec!["{drop: {level: info}}"; 300].join(","));
    assert_eq!(Pipeline::new(&[&stages(&many)]).unwrap_err().len(), 1);
    let mut condition = "{level: info}".to_owned();
    for _ in 0..10 {
        condition = format!("{{not: {condition}}}");
    }
    assert!(Pipeline::new(&[&stages(&format!("[drop: {condition}]"))]).unwrap_err()[0].1.contains("deeper than 8"));
}

#[test]
fn configs_read_back() {
    let stages = stages("[{parser: {format: json, time: {field: t}}}, {drop: {field: a, equals: [1, b]}}]");
    let text = serde_json::to_string(&stages).unwrap();
    assert_eq!(serde_json::from_str::<Stages>(&text).unwrap(), stages);
    let secret = super::stages("[{redact: {detect: all, action: hash, key: '000102030405060708090a0b0c0d0e0f'}}]");
    assert_eq!(format!("{secret:?}"), "Stages([[\"redact\"]])");
    assert_eq!(skerry_yaml::read::<Stages>("[]").unwrap().value, Stages::default());
}
