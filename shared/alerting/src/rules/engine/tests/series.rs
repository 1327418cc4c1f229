//! The series that rules write, and their ends.

use crate::rules::Settings;
use crate::rules::testkit::{Place, group, written};

#[test]
fn alerts_are_series_with_their_state_and_since_when() {
    let mut place = Place::new(&group(&["alert: a, expr: m > 0, for: 1m, labels: {severity: page}"]));
    let first = place.turn_with(&[("m{i=\"1\"}", 1.0)]);
    let since = (first.samples[0].1.at.0 / 1000) as f64;
    let pending = "ALERTS{alertname=\"a\",alertstate=\"pending\",i=\"1\",severity=\"page\"}";
    let firing = "ALERTS{alertname=\"a\",alertstate=\"firing\",i=\"1\",severity=\"page\"}";
    let for_state = "ALERTS_FOR_STATE{alertname=\"a\",i=\"1\",severity=\"page\"}";
    assert_eq!(written(&first), [format!("{pending} 1"), format!("{for_state} {since}")]);
    // Another state is another series: the old one ends.
    let second = place.turn_with(&[("m{i=\"1\"}", 1.0)]);
    assert_eq!(written(&second), [format!("{firing} 1"), format!("{for_state} {since}"), format!("{pending} stale")]);
    assert_eq!(written(&place.turn()).len(), 2);
    let ended = place.turn_with(&[("m{i=\"1\"}", 0.0)]);
    assert_eq!(written(&ended), [format!("{firing} stale"), format!("{for_state} stale")]);
    assert!(written(&place.turn()).is_empty(), "an end is said once");
}

#[test]
fn series_that_are_no_longer_written_end() {
    let mut place = Place::new(&group(&["record: r, expr: m > 0"]));
    let both = [("m{i=\"1\"}", 1.0), ("m{i=\"2\"}", 1.0)];
    assert_eq!(written(&place.turn_with(&both)), ["r{i=\"1\"} 1", "r{i=\"2\"} 1"]);
    assert_eq!(written(&place.turn_with(&[("m{i=\"1\"}", 0.0)])), ["r{i=\"2\"} 1", "r{i=\"1\"} stale"]);
    // An evaluation that fails ends nothing, and what it knew of stays known.
    place.store.is_broken = true;
    assert!(place.turn().samples.is_empty());
    place.store.is_broken = false;
    assert_eq!(written(&place.turn_with(&[("m{i=\"2\"}", 0.0)])), ["r{i=\"2\"} stale"]);
    assert_eq!(written(&place.turn_with(&both)), ["r{i=\"1\"} 1", "r{i=\"2\"} 1"]);
}

#[test]
fn no_series_comes_twice_in_a_round() {
    let mut place = Place::new(&group(&[
        "record: r, expr: m > 1",
        "record: r, expr: m * 10",
        "alert: a, expr: m",
        "alert: a, expr: m * 2",
    ]));
    // The first one stays, as in Prometheus's store.
    let round = place.turn_with(&[("m", 2.0)]);
    let errors: Vec<&str> = round.errors.iter().map(|error| &*error.text).collect();
    assert_eq!(errors, ["duplicate sample for timestamp"], "of the second r; of the second a both series are the same");
    assert_eq!(round.alerts.len(), 2);
    let series: Vec<String> = written(&round).into_iter().filter(|line| !line.starts_with("ALERTS")).collect();
    assert_eq!((series, round.samples.len()), (vec!["r 2".to_owned()], 3));
    // That one rule no longer writes it does not end it.
    assert_eq!(written(&place.turn_with(&[("m", 1.0)]))[0], "r 10");
}

#[test]
fn a_rule_that_records_what_alerts_write_comes_second() {
    let record = "record: ALERTS, expr: vector(7), labels: {alertname: a, alertstate: firing}";
    let mut place = Place::new(&group(&["alert: a, expr: vector(1)", record]));
    let round = place.turn();
    assert_eq!(written(&round)[0], "ALERTS{alertname=\"a\",alertstate=\"firing\"} 1");
    assert_eq!((round.samples.len(), round.errors.len()), (2, 1));
}

#[test]
fn values_keep_their_bits() {
    let mut place = Place::new(&group(&["record: r, expr: m"]));
    for value in [f64::NAN, f64::INFINITY, -0.0, 1e-300] {
        let round = place.turn_with(&[("m", value)]);
        assert_eq!(round.samples[0].1.value.to_bits(), value.to_bits());
    }
}

#[test]
fn before_state_is_taken_up_alerts_write_nothing() {
    let mut place = Place::with(&group(&["alert: a, expr: m", "record: r, expr: m"]), Settings::default());
    let counts: Vec<usize> = (0..4).map(|_| place.turn_with(&[("m", 1.0)]).samples.len()).collect();
    assert_eq!(counts, [1, 1, 3, 3]);
    assert!(place.engine().restored());
}
