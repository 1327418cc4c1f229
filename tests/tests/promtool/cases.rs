//! Rules, their input, and rule files that are or are not taken: what both tools are asked about.
//!
//! No window ends on a sample: Prometheus 2 closes ranges and lookback on the left, 3 does not.

/// Rules of one group over some input, looked at every minute from 0 to 12 min.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Keys of the group besides its name, and its rules.
    pub(super) group: &'static str,
    /// Series and values; one each 40 s where `is_odd`, else one each minute.
    pub(super) input: &'static [(&'static str, &'static str)],
    pub(super) is_odd: bool,
}

const fn case(name: &'static str, group: &'static str, input: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, group, input, is_odd: false }
}

const fn odd(name: &'static str, group: &'static str, input: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, group, input, is_odd: true }
}

const UP: (&str, &str) = ("up{job=\"a\", instance=\"h:1\"}", "1 1 0x3 1 1 0x6");

pub(super) const CASES: [Case; 66] = [
    // `for`.
    case("for none", "rules: [{alert: A, expr: up == 0}]", &[UP]),
    case("for a minute", "rules: [{alert: A, expr: up == 0, for: 1m}]", &[UP]),
    case("for longer than it lasts", "rules: [{alert: A, expr: up == 0, for: 4m}]", &[UP]),
    case("for as long as it lasts", "rules: [{alert: A, expr: up == 0, for: 3m}]", &[UP]),
    case("for no multiple of the step", "rules: [{alert: A, expr: up == 0, for: 90s}]", &[UP]),
    case("for zero", "rules: [{alert: A, expr: up == 0, for: 0s}]", &[UP]),
    case("pending begins anew", "rules: [{alert: A, expr: x > 0, for: 2m}]", &[("x", "1 1 0 1 1 1 1 0 1x4")]),
    case("fires again", "rules: [{alert: A, expr: x > 0}]", &[("x", "1 0 1 0 1 0 1x6")]),
    case(
        "one of many",
        "rules: [{alert: A, expr: x > 1, for: 1m}]",
        &[("x{i=\"1\"}", "2x3 0x9"), ("x{i=\"2\"}", "0 2x3 0x8"), ("x{i=\"3\"}", "0x12")],
    ),
    // `keep_firing_for`.
    case("kept", "rules: [{alert: A, expr: up == 0, keep_firing_for: 2m}]", &[UP]),
    case("kept for less than a step", "rules: [{alert: A, expr: up == 0, keep_firing_for: 30s}]", &[UP]),
    case("kept behind for", "rules: [{alert: A, expr: up == 0, for: 1m, keep_firing_for: 3m}]", &[UP]),
    case(
        "what is pending is not kept",
        "rules: [{alert: A, expr: x > 0, for: 5m, keep_firing_for: 3m}]",
        &[("x", "1 1 1 0x9")],
    ),
    case("kept and back", "rules: [{alert: A, expr: x > 0, keep_firing_for: 2m}]", &[("x", "1 0 1 0 0 0 0 1 0x4")]),
    case(
        "kept with the value it had",
        "rules: [{alert: A, expr: x > 0, keep_firing_for: 4m, annotations: {v: '{{ $value }}'}}]",
        &[("x", "1 2 3 0x9")],
    ),
    case("kept though gone", "rules: [{alert: A, expr: x > 0, keep_firing_for: 4m}]", &[("x", "1 2 stale _x9")]),
    // Labels.
    case("labels are set", "rules: [{alert: A, expr: up == 0, labels: {severity: page, job: b}}]", &[UP]),
    case("an empty label goes", "rules: [{alert: A, expr: up == 0, labels: {job: ''}}]", &[UP]),
    case("alertname wins", "rules: [{alert: A, expr: x, labels: {alertname: B}}]", &[("x{alertname=\"C\"}", "1x12")]),
    case(
        "labels are templates",
        "rules: [{alert: A, expr: up == 0, labels: {at: '{{ $labels.instance }}', short: '{{ $labels.instance | stripPort }}'}}]",
        &[UP],
    ),
    case(
        "a value as label",
        "rules: [{alert: A, expr: x > 0, for: 2m, labels: {v: '{{ $value }}'}}]",
        &[("x", "1 2 3 3 3 3 4x6")],
    ),
    case(
        "labels that collide",
        "rules: [{alert: A, expr: x > 0, labels: {i: same}}]",
        &[("x{i=\"1\"}", "0 0 1x9"), ("x{i=\"2\"}", "0 0 0 0 1x9")],
    ),
    case("numbers as labels", "rules: [{alert: A, expr: up == 0, labels: {level: 1, on: true}}]", &[UP]),
    case("recorded with labels", "rules: [{record: r, expr: up, labels: {job: b, more: c}}]", &[UP]),
    case("recorded without a label", "rules: [{record: r, expr: up, labels: {instance: ''}}]", &[UP]),
    case(
        "recorded that collide",
        "rules: [{record: r, expr: x, labels: {i: same}}]",
        &[("x{i=\"1\"}", "1x9"), ("x{i=\"2\"}", "_ _ 1x9")],
    ),
    case("labels of recorded are no templates", "rules: [{record: r, expr: up, labels: {a: '{{ $value }}'}}]", &[UP]),
    // Templates.
    case(
        "annotations",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ $labels.i }} is {{ $value | humanize }}', d: '{{ .Labels.i }} {{ .Value }}'}}]",
        &[("x{i=\"a\"}", "1+1500.5x12")],
    ),
    case(
        "a label that is not there",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '<{{ $labels.gone }}> <{{ .Labels.gone }}>'}}]",
        &[("x", "1x12")],
    ),
    case(
        "a field that is not there",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ .Gone }}'}}]",
        &[("x", "1x12")],
    ),
    case(
        "an error in an annotation",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ query \"y\" | first }}'}}]",
        &[("x", "1x12")],
    ),
    case(
        "a query in an annotation",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ with query \"y\" }}{{ . | first | value }}{{ end }}'}}]",
        &[("x", "1x12"), ("y", "_ 5 7x9")],
    ),
    case(
        "a loop in an annotation",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ range query \"y\" | sortByLabel \"i\" }}{{ .Labels.i }}={{ .Value }};{{ end }}'}}]",
        &[("x", "1x12"), ("y{i=\"b\"}", "1x12"), ("y{i=\"a\"}", "2x12")],
    ),
    case(
        "conditions",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ if gt $value 3.0 }}high{{ else }}low{{ end }}'}}]",
        &[("x", "1+1x12")],
    ),
    case(
        "formats",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ printf \"%.2f|%v|%e|%g\" $value $value $value $value }} {{ $value | humanizePercentage }} {{ $value | humanizeDuration }} {{ $value | humanize1024 }}'}}]",
        &[("x", "0.125 61.5 86400 1e9 1234567 1e-7x6")],
    ),
    case(
        "texts",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ $labels.i | toUpper }} {{ title $labels.i }} {{ reReplaceAll \"(.)-(.)\" \"$2-$1\" $labels.i }} {{ match \"^a\" $labels.i }}'}}]",
        &[("x{i=\"a-b c\"}", "1x12")],
    ),
    case(
        "external",
        "rules: [{alert: A, expr: x > 0, labels: {e: '{{ $externalLabels.e }}'}, annotations: {s: '{{ $externalLabels.e }} {{ .ExternalLabels.e }} {{ $externalURL }}'}}]",
        &[("x", "1x12")],
    ),
    case(
        "links",
        "rules: [{alert: A, expr: x > 0, annotations: {s: '{{ graphLink \"up == 0\" }} {{ tableLink \"up\" }} {{ args 1 2 }} {{ parseDuration \"1h30m\" }}'}}]",
        &[("x", "1x12")],
    ),
    case(
        "special values",
        "rules: [{alert: A, expr: x, annotations: {s: '{{ $value }} {{ humanize $value }}'}}]",
        &[("x", "NaN Inf -Inf 1e300 0.1 1e-9 1e21 123456789 0x3")],
    ),
    case(
        "braces in quotes",
        "rules: [{alert: A, expr: x, annotations: {s: '{{ \"{{\" }}x{{ \"}}\" }}{{/* gone */}} {{- 1 -}} '}}]",
        &[("x", "1x12")],
    ),
    case(
        "all labels",
        "rules: [{alert: A, expr: x, annotations: {s: '{{ $labels }} {{ $labels.__name__ }} {{ . }}'}}]",
        &[("x{i=\"1\", j=\"2\"}", "1x12")],
    ),
    case(
        "labels are set after templates",
        "rules: [{alert: A, expr: x, labels: {i: new, j: '{{ $labels.i }}'}, annotations: {s: '{{ $labels.i }}{{ $labels.j }}'}}]",
        &[("x{i=\"1\", j=\"2\"}", "1x12")],
    ),
    case(
        "what is no template",
        "rules: [{alert: A, expr: x, annotations: {s: '} }} {} $labels.i', t: '  spaces  ', u: \"two\\nlines\"}}]",
        &[("x{i=\"1\"}", "1x12")],
    ),
    case(
        "values and when",
        "rules: [{alert: A, expr: x, annotations: {s: '{{ $value | humanizeTimestamp }} {{ ($value | toTime).Year }} {{ range $i, $e := query \"y\" }}{{ $i }}{{ $e.Labels.i }}{{ else }}none{{ end }}'}}]",
        &[("x", "1e9x12"), ("y{i=\"1\"}", "_ 1x12")],
    ),
    // Missing and stale.
    case("absent", "rules: [{alert: A, expr: 'absent(x{i=\"1\"})', for: 1m}]", &[("x{i=\"1\"}", "1 1 stale _ _ 1x6")]),
    case("absent with labels", "rules: [{alert: A, expr: 'absent(x{i=\"1\", j=~\"a|b\"})'}]", &[("y", "1x12")]),
    case(
        "absent over time",
        "rules: [{alert: A, expr: 'absent_over_time(x[90s])'}]",
        &[("x", "1 1 stale _ _ 1 stale _x6")],
    ),
    odd("lookback ends", "rules: [{alert: A, expr: x > 0}, {record: r, expr: x}]", &[("x", "1 1 _x30")]),
    odd("stale ends at once", "rules: [{alert: A, expr: x > 0}, {record: r, expr: x}]", &[("x", "1 1 stale _x30")]),
    case("a marker then values", "rules: [{alert: A, expr: x > 0, for: 2m}]", &[("x", "1 1 stale 1x9")]),
    case("results end", "rules: [{record: r, expr: x > 2}, {record: s, expr: r + 1}]", &[("x", "1 3 1 3 3 1 1 3x5")]),
    case(
        "results of alerts end",
        "rules: [{alert: A, expr: x > 2, for: 1m}, {record: n, expr: 'count(ALERTS{alertstate=\"firing\"}) or vector(0)'}]",
        &[("x", "1 3 3 3 1 1 3 3x5")],
    ),
    case(
        "since when",
        "rules: [{alert: A, expr: x > 2, for: 1m}, {record: since, expr: 'time() - ALERTS_FOR_STATE'}]",
        &[("x", "1 3 3 3 1 1 3 3x5")],
    ),
    // Limits.
    case(
        "limit is kept",
        "limit: 2\n    rules: [{alert: A, expr: x > 0}]",
        &[("x{i=\"1\"}", "1x12"), ("x{i=\"2\"}", "1x12")],
    ),
    case(
        "limit of alerts",
        "limit: 1\n    rules: [{alert: A, expr: x > 0}]",
        &[("x{i=\"1\"}", "1x12"), ("x{i=\"2\"}", "0 0 0 1x9")],
    ),
    case(
        "limit of series",
        "limit: 1\n    rules: [{record: r, expr: x > 0}]",
        &[("x{i=\"1\"}", "1x12"), ("x{i=\"2\"}", "0 0 0 1x9")],
    ),
    // Order and intervals.
    case(
        "a chain",
        "rules: [{record: a, expr: x + 1}, {record: b, expr: a * 2}, {alert: C, expr: b > 10, for: 1m}]",
        &[("x", "1+1x12")],
    ),
    case(
        "a chain against the order",
        "rules: [{record: b, expr: a * 2}, {record: a, expr: x + 1}]",
        &[("x", "1+1x12")],
    ),
    case(
        "an interval of the group counts for nothing",
        "interval: 5m\n    rules: [{record: a, expr: x + 1}, {alert: B, expr: x > 2, for: 1m}]",
        &[("x", "1+1x12")],
    ),
    case("duplicates", "rules: [{alert: A, expr: x > 1}, {alert: A, expr: x > 3}]", &[("x", "1+1x12")]),
    case("duplicates that record", "rules: [{record: a, expr: x}, {record: a, expr: x * 2}]", &[("x", "1+1x12")]),
    case(
        "over its own name",
        "rules: [{record: x, expr: x + 1}, {record: y, expr: 'y + 1 or vector(1)'}]",
        &[("x", "1 _ _ 5 _x8")],
    ),
    case(
        "a number",
        "rules: [{record: a, expr: 1 + 1}, {alert: B, expr: 1}, {record: c, expr: time()}]",
        &[("x", "1x12")],
    ),
    case(
        "bool and without",
        "rules: [{alert: A, expr: 'sum without (i) (x) > bool 2'}, {alert: B, expr: 'vector(1) unless on () x > 3'}]",
        &[("x{i=\"1\"}", "1+1x12")],
    ),
    case(
        "ranges",
        "rules: [{record: a, expr: 'rate(x[150s])'}, {record: b, expr: 'increase(x[210s])'}, {record: c, expr: 'avg_over_time(x[90s])'}, {record: d, expr: 'max_over_time(x[3m30s:1m])'}]",
        &[("x", "0+60x5 0+30x7")],
    ),
    case(
        "many to one",
        "rules: [{alert: A, expr: 'x / on (j) group_left (v) y > 1', labels: {k: '{{ $labels.v }}'}}]",
        &[("x{i=\"1\", j=\"a\"}", "4x12"), ("x{i=\"2\", j=\"a\"}", "1x12"), ("y{j=\"a\", v=\"w\"}", "2x12")],
    ),
];

/// Rule files, of which both tools say the same: taken, or not.
pub(super) const FILES: [&str; 54] = [
    "groups: []",
    "",
    "# nothing",
    "groups:",
    "{}",
    "groups: [{name: a}]",
    "groups: [{name: a, rules: []}]",
    "groups: [{name: '', rules: []}]",
    "groups: [{rules: []}]",
    "groups: [{name: a}, {name: a}]",
    "groups: [{name: a}, {name: A}]",
    "groups: {name: a}",
    "group: []",
    "groups: [{name: a, rules: [{record: r, expr: up}]}]",
    "groups: [{name: a, rules: [{record: r}]}]",
    "groups: [{name: a, rules: [{record: r, expr: ''}]}]",
    "groups: [{name: a, rules: [{expr: up}]}]",
    "groups: [{name: a, rules: [{record: r, alert: r, expr: up}]}]",
    "groups: [{name: a, rules: [{record: r, expr: up, for: 1m}]}]",
    "groups: [{name: a, rules: [{record: r, expr: up, for: 0s}]}]",
    "groups: [{name: a, rules: [{record: r, expr: up, keep_firing_for: 1m}]}]",
    "groups: [{name: a, rules: [{record: r, expr: up, annotations: {a: b}}]}]",
    "groups: [{name: a, rules: [{record: r, expr: up, annotations: {}}]}]",
    "groups: [{name: a, rules: [{record: r, expr: 'up +'}]}]",
    "groups: [{name: a, rules: [{record: r, expr: 'nope(up)'}]}]",
    "groups: [{name: a, rules: [{record: r, expr: 'rate(up)'}]}]",
    "groups: [{name: a, rules: [{record: r, expr: 'up[5m]'}]}]",
    "groups: [{name: a, rules: [{record: r, expr: '\"text\"'}]}]",
    "groups: [{name: a, rules: [{record: 'r{a=\"b\"}', expr: up}]}]",
    "groups: [{name: a, rules: [{record: 'a:b:c', expr: up}]}]",
    "groups: [{name: a, rules: [{record: r, expr: up, labels: {__name__: x}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, labels: {__name__: x}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, labels: {__x: x}}]}]",
    "groups: [{name: a, rules: [{alert: 'any name at all', expr: up}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, labels: {alertname: x}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: 1}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: 1h30m}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: 30m1h}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: -1m}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: 1.5h}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: 1y2w}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, for: ''}]}]",
    "groups: [{name: a, interval: 0s, rules: [{alert: r, expr: up}]}]",
    "groups: [{name: a, interval: x, rules: []}]",
    "groups: [{name: a, limit: -1, rules: [{alert: r, expr: up}]}]",
    "groups: [{name: a, limit: x, rules: []}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, annotations: {a: '{{ $labels.x'}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, annotations: {a: '{{ nope }}'}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, annotations: {a: '{{ $nope }}'}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, labels: {a: '{{ end }}'}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, annotations: {a: '{{ if }}'}}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: 1}, {record: r, expr: 1.5}]}]",
    "groups: [{name: a, rules: [{alert: r, expr: up, labels: [a]}]}]",
    "groups: [{name: a, rules: [{alert: r, alert: s, expr: up}]}]",
];

/// Input in series notation, of which both tools make the same, or nothing. `stalex3` and `NaNx3`, which promtool cannot
/// read, are left out.
pub(super) const NOTATIONS: [&str; 34] = [
    "",
    " ",
    "1",
    "1 2 3",
    "1+1x5",
    "10-2x5",
    "1x5",
    "0x5",
    "-1x3",
    "-5+2.5x4",
    "1e3x2",
    "1e-3+1e-3x3",
    "1.5e3-5x2",
    "_",
    "_x5 1",
    "1 _ 2",
    "1 _x2 2",
    "stale",
    "1 stale",
    "NaN",
    "Inf -Inf +Inf",
    "1+1x0",
    "1 2+3x2 _ stale 4x1",
    "+5",
    "0.1+0.1x9",
    "a",
    "1x",
    "1+1",
    "1+1x-2",
    "1x1.5",
    "x5",
    "1,2",
    "1 2 three",
    "1+_x3",
];

/// Test files, without their input, of which both tools say the same.
pub(super) const TESTS: [&str; 30] = [
    "",
    "tests: []",
    "tests:",
    "tests: [{}]",
    "tests: [{interval: 1m}]",
    "test: []",
    "tests: {}",
    "evaluation_interval: 1m\ntests: []",
    "evaluation_interval: x\ntests: []",
    "rule_files: [gone.yml]\ntests: [{interval: 1m}]",
    "rule_files: ['gone*.yml']\ntests: [{interval: 1m}]",
    "rule_files: ['ru*.y?l']\ntests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: 1m, exp_alerts: [{}]}]}]",
    "rule_files: [rules.yml, rules.yml]\ntests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: 1m, exp_alerts: [{}]}]}]",
    "group_eval_order: [a, b]\ntests: [{interval: 1m}]",
    "group_eval_order: [a, a]\ntests: [{interval: 1m}]",
    "tests: [{interval: 1m, unknown: 1}]",
    "tests: [{interval: 1m, alert_rule_test: [{eval_time: 1m}]}]",
    "tests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: soon}]}]",
    "tests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: 0}]}]",
    "rule_files: [rules.yml]\ntests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: 1m, exp_alerts: [{exp_labels: {alertname: B}}]}]}]",
    "rule_files: [rules.yml]\ntests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: 1m, exp_alerts: [{}, {}]}]}]",
    "rule_files: [rules.yml]\ntests: [{interval: 1m, alert_rule_test: [{alertname: A, eval_time: 1m, exp_alerts: [{exp_labels: {a: 1}}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 1, exp_samples: [{value: 1}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 1, exp_samples: [{value: 1, labels: '{}'}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 1, exp_samples: [{value: 2}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 1, exp_samples: [{value: one}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 0/0, exp_samples: [{value: .nan}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 1/0, exp_samples: [{value: .inf}]}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: up, eval_time: 1m}]}]",
    "tests: [{interval: 1m, promql_expr_test: [{expr: 'vector(1)', exp_samples: [{labels: 'x{a~b}', value: 1}]}]}]",
];
