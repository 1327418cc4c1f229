//! What stays over a reload, and what ends.

use crate::rules::testkit::{Place, changes, group, written};
use crate::rules::{Round, Settings};

const M: &str = "m{instance=\"i\"}";

fn states(place: &mut Place) -> Vec<String> {
    let rules = place.engine().groups().remove(0).rules;
    let alerts = rules.into_iter().map(|rule| rule.alerting.map_or(Vec::new(), |rule| rule.alerts));
    alerts.map(|alerts| alerts.iter().map(|a| a.state.as_str()).collect::<Vec<_>>().join(",")).collect()
}

fn met(place: &mut Place, times: usize) -> Vec<Round> {
    (0..times).map(|_| place.turn_with(&[(M, 1.0)])).collect()
}

#[test]
fn rules_of_the_same_name_and_labels_keep_their_state() {
    let mut place = Place::new(&group(&["alert: a, expr: m, for: 2m", "alert: b, expr: m, for: 2m, labels: {l: x}"]));
    let slot = place.next_at();
    met(&mut place, 2);
    // Another order, another expression, other annotations; b has other labels.
    let text =
        group(&["alert: b, expr: m, for: 2m, labels: {l: y}", "alert: a, expr: m > 0, for: 2m, annotations: {s: t}"]);
    place.reload(&[("f", &text)]);
    assert_eq!(place.next_at().0, slot.0 + 120_000, "the slots go on");
    met(&mut place, 1);
    assert_eq!(states(&mut place), ["pending", "firing"]);
    assert_eq!(place.engine().groups()[0].evaluations, 3);
}

#[test]
fn duplicates_keep_their_state_in_order() {
    let mut place = Place::new(&group(&["alert: a, expr: m, for: 2m", "alert: a, expr: m == 7, for: 2m"]));
    met(&mut place, 2);
    place.reload(&[("f", &group(&["alert: a, expr: m, for: 3m", "alert: a, expr: m == 7, for: 3m"]))]);
    assert_eq!(states(&mut place), ["pending", ""]);
}

#[test]
fn a_longer_for_makes_it_pending_again() {
    let mut place = Place::new(&group(&["alert: a, expr: m, for: 1m"]));
    met(&mut place, 2);
    place.reload(&[("f", &group(&["alert: a, expr: m, for: 4m"]))]);
    let said: Vec<String> = met(&mut place, 3).iter().flat_map(changes).collect();
    assert_eq!(said, ["i firing->pending", "i pending->firing"]);
}

#[test]
fn what_a_rule_leaves_behind_ends_with_the_next_evaluation() {
    let mut place = Place::new(&group(&["record: r, expr: m", "alert: a, expr: m", "record: s, expr: m"]));
    met(&mut place, 1);
    // r moves, its series goes on; a and s are gone.
    place.reload(&[("f", &group(&["record: t, expr: 1", "record: r, expr: m * 2, labels: {instance: i}"]))]);
    let round = &met(&mut place, 1)[0];
    let expected = [
        "t 1",
        "r{instance=\"i\"} 2",
        "ALERTS{alertname=\"a\",alertstate=\"firing\",instance=\"i\"} stale",
        "ALERTS_FOR_STATE{alertname=\"a\",instance=\"i\"} stale",
        "s{instance=\"i\"} stale",
    ];
    assert_eq!(
        (written(round), changes(round)),
        (expected.map(str::to_owned).to_vec(), vec!["i firing->inactive".into()])
    );
    assert_eq!(written(&met(&mut place, 1)[0]).len(), 2);
}

#[test]
fn what_a_group_leaves_behind_ends_after_two_intervals_unless_another_has_it() {
    let old = "groups:
- {name: g, interval: 1m, rules: [{record: r, expr: m}, {record: s, expr: m}, {alert: a, expr: m}, {alert: b, expr: m}]}
";
    let new = "groups:
- {name: renamed, interval: 1m, rules: [{record: r, expr: m}, {alert: a, expr: m}]}
";
    let mut place = Place::new(old);
    met(&mut place, 1);
    let gone_at = place.now.wall.0;
    place.reload(&[("f", new)]);
    let mut ends = Vec::new();
    let mut said = Vec::new();
    for _ in 0..5 {
        let round = place.turn_with(&[(M, 1.0)]);
        let stale = written(&round).into_iter().filter(|line| line.ends_with("stale"));
        ends.extend(stale.map(|line| (line, place.now.wall.0 - gone_at)));
        said.extend(round.changes.iter().map(|c| format!("{} {}", c.alert.name(), c.is.as_str())));
    }
    let expected = [
        "s{instance=\"i\"} stale",
        "ALERTS{alertname=\"b\",alertstate=\"firing\",instance=\"i\"} stale",
        "ALERTS_FOR_STATE{alertname=\"b\",instance=\"i\"} stale",
    ];
    assert_eq!(ends, expected.map(|line| (line.to_owned(), 120_000)));
    assert_eq!(said, ["a firing", "b inactive"]);
}

#[test]
fn a_group_that_comes_back_takes_its_series_again() {
    let text = group(&["record: r, expr: m"]);
    let mut place = Place::new(&text);
    met(&mut place, 1);
    place.reload(&[]);
    assert!(place.engine().next().is_some(), "the series still has to end");
    place.reload(&[("f", &text)]);
    for round in met(&mut place, 4) {
        assert_eq!(written(&round), ["r{instance=\"i\"} 1"]);
    }
    place.reload(&[]);
    assert_eq!(written(&place.turn()), ["r{instance=\"i\"} stale"]);
    assert_eq!(place.engine().next(), None);
}

#[test]
fn the_same_name_in_another_file_is_another_group() {
    let text = group(&["alert: a, expr: m, for: 2m"]);
    let mut place = Place::new(&text);
    met(&mut place, 2);
    place.reload(&[("other", &text)]);
    assert_eq!(states(&mut place), [""]);
}

#[test]
fn a_reload_takes_nothing_up_from_the_store() {
    let text = group(&["alert: a, expr: m, for: 15m"]);
    let mut place = Place::with(&text, Settings::default());
    met(&mut place, 3);
    assert!(place.engine().restored());
    let more = "groups:\n- {name: h, interval: 1m, rules: [{alert: a, expr: m, for: 15m}]}\n";
    place.reload(&[("f", more)]);
    assert!(place.engine().restored(), "new groups have nothing to wait for");
    // A reload before the first two evaluations are over does not lose what is still to be taken up.
    let mut place = Place::with(&text, Settings::default());
    met(&mut place, 1);
    place.reload(&[("f", &group(&["alert: a, expr: m, for: 16m"]))]);
    assert!(!place.engine().restored());
}
