//! What rules may use, and what happens past it.

use crate::rules::testkit::{Place, changes, group};
use crate::rules::{Limits, Settings};

fn place(rules: &[&str], limits: Limits) -> Place {
    Place::with(&group(rules), Settings { restore: false, limits, ..Settings::default() })
}

fn errors(place: &mut Place, series: &[(&str, f64)]) -> Vec<String> {
    place.turn_with(series).errors.iter().map(|error| error.text.to_string()).collect()
}

const THREE: [(&str, f64); 3] = [("m{instance=\"1\"}", 1.0), ("m{instance=\"2\"}", 1.0), ("m{instance=\"3\"}", 1.0)];

#[test]
fn a_groups_limit_takes_all_alerts_of_the_rule() {
    let text = "groups:
- name: g
  interval: 1m
  limit: 2
  rules: [{alert: a, expr: m > 0}, {record: r, expr: m > 0}, {alert: other, expr: sum(m)}]
";
    let mut place = Place::new(text);
    place.turn_with(&THREE[..2]);
    let round = place.turn_with(&THREE);
    assert_eq!(
        round.errors.iter().map(|error| &*error.text).collect::<Vec<_>>(),
        ["exceeded limit of 2 with 3 alerts", "exceeded limit of 2 with 3 series"]
    );
    // Those that fired are gone without being sent; the one that would have begun never was.
    assert_eq!(changes(&round), ["1 firing->inactive", "2 firing->inactive"]);
    assert!(round.alerts.iter().all(|alert| alert.name() == "other"));
    assert!(round.samples.iter().all(|(labels, _)| labels.value("alertname") == "other"), "no series ends either");
    // Back within the limit they begin anew, and what is over ends.
    let round = place.turn_with(&[("m{instance=\"3\"}", 0.0), ("m{instance=\"2\"}", 0.0)]);
    assert_eq!(changes(&round), ["1 inactive->firing"]);
    let stale = round.samples.iter().filter(|(_, sample)| skerry_model::is_stale(sample.value)).count();
    assert_eq!(stale, 3, "ALERTS and ALERTS_FOR_STATE of 2, and its r");
}

#[test]
fn our_own_bounds_fail_the_rule_and_keep_its_state() {
    let limits = Limits { rule_alerts_max: 2, rule_series_max: 2, ..Limits::default() };
    let mut one = place(&["alert: a, expr: m > 0", "record: r, expr: m"], limits);
    one.turn_with(&THREE[..2]);
    let said = errors(&mut one, &THREE);
    assert!(
        said[0].contains("3 alerts, a rule may have 2") && said[1].contains("3 series, a rule may write 2 and"),
        "{said:?}"
    );
    let alerts = one.engine().groups()[0].rules[0].alerting.clone().unwrap().alerts;
    assert_eq!(alerts.len(), 2);
    // All rules together.
    let limits = Limits { alerts_max: 4, ..Limits::default() };
    let mut all = place(&["alert: a, expr: m > 0", "alert: b, expr: m > 0"], limits);
    let said = errors(&mut all, &THREE);
    assert!(said.len() == 1 && said[0].contains("all together 4"), "{said:?}");
    assert_eq!(errors(&mut all, &[]).len(), 1, "still");
    let limits = Limits { series_max: 4, ..Limits::default() };
    let mut all = place(&["record: a, expr: m > 0", "record: b, expr: m > 0", "alert: c, expr: m > 0"], limits);
    let said = errors(&mut all, &THREE);
    assert!(said.len() == 1 && said[0].contains("all together 4"), "{said:?}");
}

#[test]
fn texts_and_label_sets_are_bounded() {
    let limits = Limits { text_bytes_max: 100, ..Limits::default() };
    let long = "é".repeat(200);
    let rule = format!(
        "alert: a, expr: m, labels: {{l: '{{{{ \"{long}\" }}}}', p: '{long}'}}, annotations: {{t: '{{{{ \"{long}\" }}}}'}}"
    );
    let mut one = place(&[&rule, "record: r, expr: 'm[5m]'"], limits);
    let round = one.turn_with(&[("m", 1.0)]);
    let alert = &round.alerts[0];
    for text in [alert.labels.value("l"), alert.labels.value("p"), alert.annotations.value("t")] {
        assert_eq!((text.len(), text.chars().all(|c| c == 'é')), (100, true));
    }
    assert!(round.errors.iter().all(|error| error.text.len() <= 100));
    // Annotations that are too long in sum are cut, labels fail the rule.
    let many: Vec<String> = (0..20).map(|n| format!("t{n}: '{{{{ printf \"%2000d\" 1 }}}}'")).collect();
    let pairs = many.join(", ");
    let mut one = place(&[&format!("alert: a, expr: m, annotations: {{{pairs}}}")], Limits::default());
    let round = one.turn_with(&[("m", 1.0)]);
    assert_eq!((round.alerts[0].annotations.len(), round.errors.len()), (20, 0));
    let mut one = place(&[&format!("alert: a, expr: m, labels: {{{pairs}}}")], Limits::default());
    assert!(errors(&mut one, &[("m", 1.0)])[0].contains("bytes"));
}

#[test]
fn a_query_that_touches_too_much_fails_its_rule_alone() {
    let query = skerry_promql::Limits { values_max: 10, ..skerry_promql::Limits::default() };
    let limits = Limits { query, ..Limits::default() };
    let mut one = place(&["record: r, expr: 'sum(sum_over_time(m[1h]))'", "record: s, expr: 1"], limits);
    for _ in 0..20 {
        one.turn_with(&[("m", 1.0)]);
    }
    let round = one.turn();
    assert!(round.errors[0].text.contains("more than 10 values"), "{:?}", round.errors);
    assert_eq!(round.samples.iter().filter(|(labels, _)| labels.metric() == "s").count(), 1);
    assert!(round.values > 0);
}

#[test]
fn needs_are_what_the_rules_read() {
    let text = "groups:
- name: g
  query_offset: 1m
  rules:
  - {record: r, expr: 'rate(a[10m]) + rate(a[5m]) + b offset 1h'}
  - {alert: x, expr: 'b @ 1000 > 0 and absent(c)'}
";
    let mut place = Place::new(text);
    let needs: Vec<(String, i64)> =
        place.engine().needs().iter().map(|need| (need.matchers[0].value().to_owned(), need.back_ms / 1000)).collect();
    assert_eq!(needs, [("a".to_owned(), 660), ("b".into(), 3600 + 300 + 60), ("c".into(), 360)]);
}
