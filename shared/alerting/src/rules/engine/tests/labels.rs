//! The labels of results.

use crate::rules::testkit::{Place, group, labels, written};
use crate::rules::{Settings, Stage};
use skerry_model::Labels;

fn alerts(place: &mut Place) -> Vec<String> {
    let rules = place.engine().groups().remove(0).rules;
    rules
        .into_iter()
        .filter_map(|rule| rule.alerting)
        .flat_map(|rule| rule.alerts)
        .map(|a| a.labels.to_string())
        .collect()
}

#[test]
fn an_alerts_labels_are_the_results_then_the_rules_then_its_name() {
    for (rule, expected) in [
        ("alert: a, expr: m", "{alertname=\"a\",i=\"1\",job=\"x\"}"),
        (
            "alert: a, expr: m, labels: {job: mine, new: 'of {{ $labels.job }}'}",
            "{alertname=\"a\",i=\"1\",job=\"mine\",new=\"of x\"}",
        ),
        ("alert: a, expr: m, labels: {alertname: b}", "{alertname=\"a\",i=\"1\",job=\"x\"}"),
        // An empty value removes the label.
        ("alert: a, expr: m, labels: {job: '', i: '{{ if false }}x{{ end }}'}", "{alertname=\"a\"}"),
        (
            "alert: a, expr: m, labels: {e: '{{ $externalLabels.site }} {{ $externalURL }}'}",
            "{alertname=\"a\",e=\"lab http://x/p\",i=\"1\",job=\"x\"}",
        ),
        (
            "alert: a, expr: m, labels: {l: '{{ $labels.gone }}|{{ $value }}|{{ .Value | humanize }}'}",
            "{alertname=\"a\",i=\"1\",job=\"x\",l=\"|2000|2k\"}",
        ),
        ("alert: a, expr: 1", "{alertname=\"a\"}"),
        ("alert: a, expr: m, labels: {m: '{{ $labels.__name__ }}'}", "{alertname=\"a\",i=\"1\",job=\"x\",m=\"m\"}"),
    ] {
        let settings = Settings {
            restore: false,
            external_labels: Labels::new([("site", "lab")]).unwrap(),
            external_url: "http://x/p".into(),
            ..Settings::default()
        };
        let mut place = Place::with(&group(&[rule]), settings);
        let round = place.turn_with(&[("m{i=\"1\",job=\"x\"}", 2000.0)]);
        assert_eq!((alerts(&mut place), round.errors), (vec![expected.to_owned()], vec![]), "{rule}");
    }
}

#[test]
fn alerts_over_alerts_have_their_own_name() {
    let mut place = Place::new(&group(&["alert: a, expr: m", "alert: meta, expr: 'ALERTS{alertname=\"a\"}'"]));
    let round = place.turn_with(&[("m{alertname=\"z\"}", 1.0)]);
    assert_eq!(round.errors, []);
    assert_eq!(alerts(&mut place), ["{alertname=\"a\"}", "{alertname=\"meta\",alertstate=\"firing\"}"]);
    let series: Vec<&str> = round.samples.iter().map(|(labels, _)| labels.value("alertstate")).collect();
    assert_eq!(series, ["firing", "", "firing", "firing"], "the last is a label of the alert itself");
}

#[test]
fn a_recorded_series_has_the_results_labels_and_the_rules() {
    let text = "groups:
- name: g
  labels: {team: a, site: of the group}
  rules:
  - {record: plain, expr: m}
  - {record: 'job:m:sum', expr: sum by (job) (m), labels: {site: own, job: ''}}
  - {record: number, expr: 7, labels: {t: '{{ $value }}'}}
";
    let round = Place::new(text).turn_with(&[("m{i=\"1\",job=\"x\"}", 1.0), ("m{i=\"2\",job=\"x\"}", 2.0)]);
    let expected = [
        "plain{i=\"1\",job=\"x\",site=\"of the group\",team=\"a\"} 1",
        "plain{i=\"2\",job=\"x\",site=\"of the group\",team=\"a\"} 2",
        "job:m:sum{site=\"own\",team=\"a\"} 3",
        "number{site=\"of the group\",t=\"{{ $value }}\",team=\"a\"} 7",
    ];
    assert_eq!(written(&round), expected);
}

#[test]
fn results_that_come_to_have_the_same_labels_fail_the_rule() {
    for (rule, error) in [
        (
            "alert: a, expr: m, labels: {i: same}",
            "vector contains metrics with the same labelset after applying alert labels",
        ),
        (
            "record: r, expr: m, labels: {i: same}",
            "vector contains metrics with the same labelset after applying rule labels",
        ),
        (
            "alert: a, expr: '{__name__=~\"m|n\"}', labels: {i: ''}",
            "vector contains metrics with the same labelset after applying alert labels",
        ),
        ("record: r, expr: 'm[5m]'", "rule result is not a vector or scalar"),
    ] {
        let mut place = Place::new(&group(&[rule]));
        let round = place.turn_with(&[("m{i=\"1\"}", 1.0), ("m{i=\"2\"}", 1.0), ("n{i=\"1\"}", 1.0)]);
        assert_eq!(round.errors.iter().map(|e| &*e.text).collect::<Vec<_>>(), [error], "{rule}");
        assert_eq!((written(&round).len(), alerts(&mut place).len()), (0, 0));
    }
    // State of before is untouched.
    let mut place = Place::new(&group(&["alert: a, expr: m, for: 2m, labels: {i: same}"]));
    place.turn_with(&[("m{i=\"1\"}", 1.0)]);
    assert_eq!(place.turn_with(&[("m{i=\"1\"}", 1.0), ("m{i=\"2\"}", 1.0)]).errors.len(), 1);
    assert_eq!(place.turn_with(&[("m{i=\"1\"}", 1.0), ("m{i=\"2\"}", skerry_model::stale_nan())]).alerts.len(), 1);
}

#[test]
fn labels_that_change_make_another_alert_and_annotations_do_not() {
    let mut place = Place::new(&group(&[
        "alert: a, expr: m, labels: {v: '{{ $value }}'}",
        "alert: b, expr: m, annotations: {v: '{{ $value }}'}",
    ]));
    place.turn_with(&[("m", 1.0)]);
    let round = place.turn_with(&[("m", 2.0)]);
    let names: Vec<_> =
        round.changes.iter().map(|c| (c.alert.name(), c.alert.labels.value("v"), c.is.as_str())).collect();
    assert_eq!(names, [("a", "1", "inactive"), ("a", "2", "firing")]);
}

#[test]
fn a_template_that_fails_says_so_and_the_alert_goes_out() {
    let rule = "alert: a, expr: m, annotations: {bad: '{{ query \"nosuch(\" }}', good: '{{ $value }}'}";
    let mut place = Place::new(&group(&[rule]));
    for is_new in [true, false] {
        let round = place.turn_with(&[("m", 1.0)]);
        let error = &round.errors[0];
        assert_eq!((error.stage, error.is_new, round.errors.len()), (Stage::Template, is_new, 1));
        let shown = place.engine().groups()[0].rules[0].clone();
        let alert = &shown.alerting.as_ref().unwrap().alerts[0];
        assert!(alert.annotations.value("bad").starts_with("<error expanding template: "), "{alert:?}");
        assert_eq!((alert.annotations.value("good"), shown.health), ("1", crate::rules::Health::Good));
        if is_new {
            assert_eq!(round.alerts[0].annotations, alert.annotations);
        }
    }
    // Of a rule that has none of the kind, `$labels` is whole.
    assert_eq!(labels("m{a=\"b\"}").value("a"), "b");
}
