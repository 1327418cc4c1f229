use super::{Kind, Reading, RuleFile};
use crate::rules::testkit::vectors;
use proptest::prelude::*;
use std::time::Duration;

fn faults(text: &str) -> Vec<String> {
    let faults = RuleFile::parse("f", text).expect_err(text).faults;
    faults.iter().map(|fault| fault.in_file("f")).collect()
}

/// A file of one group `g` with these rules.
fn rules(rules: &str) -> String {
    format!("groups:\n- name: g\n  rules:\n{rules}")
}

#[test]
fn files_of_the_fields_own_suite() {
    let mut seen = 0;
    for folder in ["rulefmt", "prom_rules_fixtures"] {
        for (name, text) in vectors(folder) {
            let is_bad = name.contains(".bad.") || name.starts_with("invalid_");
            let reading = Reading { legacy_names: name.starts_with("legacy_"), ..Reading::default() };
            let read = RuleFile::read(&name, &text, reading);
            assert_eq!(read.is_err(), is_bad, "{name}: {read:?}");
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen} files");
}

#[test]
fn rule_files_of_promtool() {
    let files = vectors("promtool");
    let text = |name: &str| &files.iter().find(|(held, _)| held == name).expect(name).1;
    for (name, remarks) in [
        ("rules.yml", Some(0)),
        ("prometheus-rules.lint.yml", Some(1)),
        ("rules_duplicates.yml", Some(2)),
        ("at-modifier.yml", Some(0)),
        ("negative-offset.yml", Some(0)),
        ("bad-rules-error.yml", Some(0)),
        ("bad-rules-syntax.yml", None),
        ("rules-bad.yml", None),
        ("rules_extrafields.yml", None),
    ] {
        let found = RuleFile::parse(name, text(name)).ok().map(|(_, remarks)| remarks.len());
        assert_eq!(found, remarks, "{name}");
    }
    let lenient = Reading { ignore_unknown_fields: true, ..Reading::default() };
    assert!(RuleFile::read("f", text("rules_extrafields.yml"), lenient).is_ok());
}

#[test]
fn aliases_and_merge_keys_give_whole_rules() {
    let (_, text) = vectors("rulefmt").into_iter().find(|(name, _)| name == "test_aliases.yaml").expect("the file");
    let (file, _) = RuleFile::parse("f", &text).expect("it is sound");
    assert_eq!(file.groups.iter().map(|group| group.rules.len()).collect::<Vec<_>>(), [4, 4]);
    let merged = &file.groups[0].rules[3];
    assert_eq!((&*merged.name, merged.expr.starts_with("sum without")), ("HighAlert2", true));
    let Kind::Alerting { hold, annotations, .. } = &merged.kind else { panic!("an alert") };
    assert_eq!((*hold, annotations.len()), (Duration::from_secs(300), 1));
    assert_eq!(file.groups[0].interval, Some(Duration::from_secs(30)));
}

#[test]
fn every_fault_is_said_with_its_place() {
    let text = "groups:
- name: g
  intervall: 1m
  rules:
  - record: r
    expr: rate(hi)
    for: 5m
  - alert: a
    expr: |
      sum(
        nosuch(x)
      )
    labels:
      __name__: x
  - expr: 1
- name: g
";
    assert_eq!(
        faults(text),
        [
            "f:3: groups[0]: column 3: unknown field \"intervall\"; known here are name, interval, query_offset, limit, \
             labels, rules",
            "f:6: groups[0].rules[0].expr: column 16: expected type range vector in call to function \"rate\", got \
             instant vector",
            "f:7: groups[0].rules[0].for: column 10: a recording rule has no `for`; remove it, or name the rule with \
             `alert`",
            "f:11: groups[0].rules[1].expr: column 9: unknown function with name \"nosuch\"",
            "f:14: groups[0].rules[1].labels: column 7: \"__name__\" cannot name a label here: it is the metric's name, \
             which `record` gives",
            "f:15: groups[0].rules[2]: column 5: a rule needs `record` (a metric's name) or `alert` (an alert's name)",
            "f:16: groups[1]: column 3: group \"g\" stands twice in this file; give one of them another name",
        ]
    );
}

#[test]
fn what_is_refused_says_what_is_expected() {
    for (rule, says) in [
        ("  - {record: r}\n", "needs an expression"),
        ("  - {record: r, alert: a, expr: 1}\n", "make two rules"),
        ("  - {record: 'r{a=\"b\"}', expr: 1}\n", "its labels go under"),
        ("  - {alert: a, expr: 1, for: 5}\n", "such as 30s"),
        ("  - {alert: a, expr: 1, for: -5m}\n", "such as 30s"),
        ("  - {alert: a, expr: 1, keep_firing_for: [1m]}\n", "a text is expected, a list"),
        ("  - {alert: a, expr: 1, labels: [x]}\n", "a mapping is expected, a list"),
        ("  - {alert: a, expr: 1, labels: {'': x}}\n", "it is empty"),
        ("  - {alert: a, expr: 'x{'}\n", "column"),
        ("  - {alert: a, expr: 1, expr: 2}\n", "stands twice"),
        ("  - just text\n", "a mapping is expected"),
        ("  x: 1\n", "unknown field"),
    ] {
        let said = faults(&rules(rule)).join("\n");
        assert!(said.contains(says) && said.starts_with("f:"), "{rule}: {said}");
    }
    assert!(faults("groups:\n- rules: []\n")[0].contains("needs a name"));
    assert!(faults("- x\n")[0].contains("a mapping is expected"));
    assert!(faults("groups: x\n")[0].contains("a list is expected"));
}

#[test]
fn values_are_read_as_gos_yaml_does() {
    let text = "groups:
- name: 1
  interval: 1y1w
  limit: -1
  query_offset: 0
  labels: {team: yes}
  rules:
  - {record: 'a metric', expr: 1, labels: {n: 1, on: true, none: ~}, for: 0m}
  - {alert: \"é b\", expr: up, keep_firing_for: 1h30m, annotations: {ins-tance: 'x'}}
";
    let (file, remarks) = RuleFile::parse("f", text).expect("sound");
    let group = &file.groups[0];
    assert_eq!((&*group.name, group.limit, group.query_offset), ("1", 0, Some(Duration::ZERO)));
    assert_eq!(group.interval, Some(Duration::from_secs(372 * 86_400)));
    assert_eq!(group.labels, [("team".to_owned(), "yes".to_owned())]);
    let values: Vec<&str> = group.rules[0].labels.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["1", "true", ""]);
    assert_eq!(group.rules[1].line, 9);
    assert_eq!(remarks, []);
    assert!(RuleFile::parse("f", "").expect("nothing is a file").0.groups.is_empty());
    assert!(RuleFile::parse("f", "groups:\n").is_ok());
}

#[test]
fn what_is_probably_not_meant_is_remarked_on() {
    for (rule, says) in [
        ("  - {record: r, expr: 'up[5m]'}\n", "neither a vector nor a number"),
        ("  - {record: r, expr: 1, labels: {a: '{{ $value }}'}}\n", "are no templates"),
        ("  - {alert: a, expr: 1, labels: {a: '{{ $value }}'}}\n", "another alert"),
        ("  - {alert: a, expr: 1, labels: {alertname: b}}\n", "counts for nothing"),
        ("  - {alert: a, expr: 1}\n  - {alert: a, expr: 2}\n", "stands in line 4 already"),
    ] {
        let (_, remarks) = RuleFile::parse("f", &rules(rule)).expect("sound");
        assert!(remarks.len() == 1 && remarks[0].problem.contains(says), "{rule}: {remarks:?}");
    }
    let (_, remarks) = RuleFile::parse("f", "groups: []\n---\ngroups: []\n").expect("sound");
    assert_eq!(remarks[0].line, Some(2));
}

#[test]
fn no_text_takes_more_than_its_share() {
    let many = rules(&"  - {record: r, expr: 1}\n".repeat(super::RULES_MAX + 1));
    assert!(faults(&many)[0].contains("divide"));
    let group = format!("base: &b\n  rules: [{}]\ngroups:\n", "{record: r, expr: 1},".repeat(2000));
    let bomb = (0..2000).fold(group, |text, n| text + &format!("- {{<<: *b, name: g{n}}}\n"));
    assert!(faults(&bomb).iter().any(|fault| fault.contains("divide") || fault.contains("unknown field")), "bounded");
    assert!(RuleFile::parse("f", &rules(&"  - {}\n".repeat(5000))).expect_err("bad").faults.len() <= 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Damaged files are refused or read; every fault stands in a line of the file.
    #[test]
    fn no_text_makes_it_panic(which in 0usize..30, cuts in proptest::collection::vec((0usize..4000, "[ -~\n\u{e9}]{0,6}"), 1..6)) {
        let files = vectors("rulefmt");
        let mut text = files[which % files.len()].1.clone();
        for (at, put) in cuts {
            let at = text.floor_char_boundary(at % (text.len() + 1));
            let end = text.floor_char_boundary((at + put.len() / 2).min(text.len()));
            text.replace_range(at..end.max(at), &put);
        }
        if let Err(faults) = RuleFile::parse("f", &text) {
            prop_assert!(!faults.faults.is_empty());
            let lines = text.split('\n').count() as u64;
            for fault in faults.faults {
                prop_assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{} of {}", fault, lines);
            }
        }
    }
}
