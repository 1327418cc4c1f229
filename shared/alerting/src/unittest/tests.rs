//! Tests of what needs no rules; those with rules run over the files beside the repository.

use super::{Failure, Options, TestFile};
use crate::rules::RuleFile;

fn failures(text: &str) -> Vec<String> {
    let file = TestFile::parse("test.yml", text).unwrap_or_else(|faults| panic!("{faults}"));
    file.run(&[], &Options::default()).iter().map(Failure::to_string).collect()
}

#[test]
fn expressions_see_the_input_until_the_last_step() {
    let text = "
tests:
  - interval: 1s
    input_series:
      - {series: x, values: '1+1x200'}
      - {series: 'y{a=\"b\"}', values: '0x10 5'}
    promql_expr_test:
      - {expr: x, eval_time: 30s, exp_samples: [{labels: x, value: 1}]}
      - {expr: y, eval_time: 30s, exp_samples: [{labels: 'y{a=\"b\"}', value: 0}]}
  - interval: 1s
    input_series:
      - {series: x, values: '1+1x200'}
    promql_expr_test:
      - {expr: x, eval_time: 30s, exp_samples: [{labels: x, value: 31}]}
      - {expr: vector(0), eval_time: 5m, exp_samples: [{value: 0}]}
";
    assert_eq!(failures(text), Vec::<String>::new());
}

#[test]
fn what_is_not_as_expected_is_told_with_both_sides() {
    let text = "
evaluation_interval: 1m
tests:
  - name: first
    input_series:
      - {series: 'x{a=\"b\"}', values: 1.5}
    promql_expr_test:
      - {expr: x, exp_samples: [{labels: x, value: 2}]}
      - {expr: gone, eval_time: 1h30m, exp_samples: [{labels: gone}]}
      - {expr: '1 +'}
      - {expr: 'x[1m]', eval_time: 1s}
      - {expr: '\"text\"'}
    alert_rule_test:
      - {alertname: Gone, eval_time: 90s, exp_alerts: [{exp_labels: {a: b}, exp_annotations: {c: d}}]}
      - {alertname: Gone}
";
    let expected = [
        "    name: first,\n    alertname: Gone, time: 1m30s, \n        exp:[\n            0:\n              \
         Labels:{a=\"b\", alertname=\"Gone\"}\n              Annotations:{c=\"d\"}\n            ], \n        got:[]",
        "    name: first,\n    expr: \"x\", time: 0s,\n        exp: {__name__=\"x\"} 2E+00\n        \
         got: {__name__=\"x\", a=\"b\"} 1.5E+00",
        "    name: first,\n    expr: \"gone\", time: 1h30m,\n        exp: {__name__=\"gone\"} 0E+00\n        got: nil",
    ];
    let found = failures(text);
    assert_eq!(found[..3], expected);
    assert!(found[3].contains("err: 1:4: parse error"), "{}", found[3]);
    assert!(found[4].ends_with("neither a vector nor a scalar") && found[5].ends_with("neither a vector nor a scalar"));
    assert_eq!(found.len(), 6);
    let file = TestFile::parse("test.yml", text).unwrap();
    let options = Options { diff: true, run: vec![regex::Regex::new("^fi").unwrap()] };
    let diff = file.run(&[], &options)[1].to_string();
    let wanted = "    name: first,\n    expr: \"x\", time: 0s, diff:\n        - {__name__=\"x\"} 2E+00\n        \
                  + {__name__=\"x\", a=\"b\"} 1.5E+00";
    assert_eq!(diff, wanted);
    let options = Options { diff: false, run: vec![regex::Regex::new("second").unwrap()] };
    assert_eq!((file.selected(&options), file.run(&[], &options)), (0, Vec::new()));
}

#[test]
fn native_histograms_are_shown_by_selectors_alone() {
    let text = "
tests:
  - input_series:
      - {series: h, values: '{{sum:3 count:2 buckets:[2]}}+{{sum:1.3 count:1 buckets:[1]}}x2 stale {{count:1}}'}
      - {series: mixed, values: '{{count:3}} {{count:2}} 5'}
    promql_expr_test:
      - {expr: h, exp_samples: [{labels: h, histogram: '{{count:2 sum:3 buckets:[2]}}'}]}
      - expr: h
        eval_time: 2m
        exp_samples:
          - {labels: h, histogram: '{{count:4 sum:5.6 counter_reset_hint:not_reset buckets:[4 0]}}'}
      - {expr: h, eval_time: 3m}
      - {expr: h, eval_time: 4m, exp_samples: [{labels: h, histogram: '{{count:1}}'}]}
      - {expr: '{__name__=\"mixed\"}', eval_time: 1m, exp_samples: [{labels: mixed, histogram: '{{count:2 counter_reset_hint:reset}}'}]}
      - {expr: mixed, eval_time: 2m, exp_samples: [{labels: mixed, value: 5}]}
      - {expr: 'count(h)', eval_time: 2m}
";
    let found = failures(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("h is a native histogram"), "{}", found[0]);
}

#[test]
fn files_that_are_no_tests_are_refused_with_lines() {
    for (text, line, problem) in [
        ("tests:\n  - inputs: []\n", Some(2), "inputs"),
        ("tests:\n  - interval: 1x\n", Some(2), "1x"),
        ("group_eval_order: [a, b, a]\n", Some(1), "twice"),
        ("tests:\n  - input_series:\n      - series: 'up{'\n        values: 1\n", Some(3), "end of input"),
        ("tests:\n  - input_series:\n      - {series: up, values: 1xx}\n", Some(3), "1xx"),
        ("tests:\n  - input_series:\n      - {values: 1}\n", Some(3), "series is missing"),
        ("tests:\n  - alert_rule_test:\n      - eval_time: 1m\n", Some(3), "alertname is missing"),
        ("tests:\n  - promql_expr_test:\n      - {expr: x, exp_samples: [{labels: 'a{b=~\"c\"}'}]}\n", Some(3), "="),
        ("tests:\n  - promql_expr_test:\n      - {expr: x, exp_samples: [{histogram: 'x'}]}\n", Some(3), "{{"),
        ("tests:\n  - start_timestamp: yesterday\n", Some(2), "RFC 3339"),
        ("tests:\n  - start_timestamp: 1e30\n", Some(2), "range"),
        (
            "evaluation_interval: 1ms\ntests:\n  - promql_expr_test: [{expr: x, eval_time: 1y}]\n",
            Some(3),
            "evaluations",
        ),
        ("tests: {}\n", Some(1), ""),
    ] {
        let faults = TestFile::parse("t.yml", text).expect_err(text);
        assert_eq!(faults.faults[0].line, line, "{text}: {faults}");
        assert!(faults.to_string().contains(problem), "{text}: {faults}");
    }
    let many = format!("tests:\n  - input_series:\n{}", "      - {series: x, values: 1x999998}\n".repeat(11));
    assert!(TestFile::parse("t.yml", &many).unwrap_err().to_string().contains("input values"));
    for text in ["", "tests:\n", "tests:\n  - {}\n", "tests:\n  - alert_rule_test:\n    input_series:\n"] {
        assert!(TestFile::parse("t.yml", text).is_ok(), "{text}");
    }
}

#[test]
fn times_are_read_as_promtool_does() {
    let text = "
evaluation_interval: 1d
tests:
  - start_timestamp: '2024-01-01T00:00:00Z'
    promql_expr_test: [{expr: time(), eval_time: 1y1d, exp_samples: [{value: 1735689600}]}]
  - start_timestamp: 1609459200.5
    promql_expr_test: [{expr: time(), eval_time: 0, exp_samples: [{value: 1609459200.5}]}]
  - start_timestamp: '1609459200'
    promql_expr_test: [{expr: time(), eval_time: 5m, exp_samples: [{value: 1609459500}]}]
";
    assert_eq!(failures(text), Vec::<String>::new());
}

#[test]
fn a_rule_cannot_write_over_what_is_there() {
    let text = "
tests:
  - input_series: [{series: x, values: '1 _ 5'}, {series: y, values: 1x2}]
    promql_expr_test: [{expr: x, eval_time: 2m, exp_samples: [{labels: x, value: 1}]}]
";
    let rules = |expr: &str| {
        let text = format!("groups: [{{name: g, rules: [{{record: x, expr: {expr}}}]}}]");
        vec![("r.yml".to_owned(), RuleFile::parse("r.yml", &text).unwrap().0)]
    };
    let file = TestFile::parse("t.yml", text).unwrap();
    let failures = file.run(&rules("y"), &Options::default());
    // At 0 both say 1, which is the same.
    assert_eq!(failures[0].text, "rule: x, time: 2m, err: duplicate sample for timestamp");
    assert_eq!(failures.len(), 1);
}
