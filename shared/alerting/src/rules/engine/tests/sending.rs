//! Which alerts are sent when, and as what.

use crate::rules::testkit::{Place, group};
use crate::rules::{Round, Settings};
use skerry_model::Labels;
use std::time::Duration;

/// `starts` and `ends` of what was sent, in seconds after the evaluation's slot.
fn sent(place: &Place, round: &Round) -> Vec<(i64, i64)> {
    let at = |at: skerry_model::UnixMillis| (at.0 - place.now.wall.0) / 1000;
    round.alerts.iter().map(|alert| (at(alert.starts_at), at(alert.ends_at))).collect()
}

#[test]
fn pending_alerts_are_not_sent_and_firing_ones_begin_when_they_fired() {
    let mut place = Place::new(&group(&["alert: a, expr: m > 0, for: 1m"]));
    let mut rows = Vec::new();
    for value in [1.0, 1.0, 1.0, 1.0, 0.0] {
        let round = place.turn_with(&[("m", value)]);
        rows.push(sent(&place, &round));
    }
    // Fired at the second evaluation; the resend delay is not over after exactly one minute.
    assert_eq!(rows, [vec![], vec![(0, 240)], vec![], vec![(-120, 240)], vec![(-180, 0)]]);
}

#[test]
fn what_ended_is_sent_at_once_and_again_for_15_minutes() {
    // After a minute a delay of a minute is not over yet: every second one.
    let mut place = Place::new(&group(&["alert: a, expr: m > 0"]));
    for (resend, expected) in [(60, (8, 14)), (30, (16, 15))] {
        let resend_delay = Duration::from_secs(resend);
        place = Place::with(
            &group(&["alert: a, expr: m > 0"]),
            Settings { restore: false, resend_delay, ..Settings::default() },
        );
        place.turn_with(&[("m", 1.0)]);
        let (mut said, mut last) = (0, 0);
        for minute in 0..25 {
            let round = place.turn_with(&[("m", 0.0)]);
            for (_, ends) in sent(&place, &round) {
                assert_eq!(ends, -60 * minute, "it ended once");
                (said, last) = (said + 1, minute);
            }
        }
        assert_eq!((said, last), expected);
    }
    let kept: usize = place.engine().groups()[0].rules[0].alerting.as_ref().unwrap().alerts.len();
    assert_eq!(kept, 0);
}

#[test]
fn an_alert_holds_four_of_the_longer_of_interval_and_resend_delay() {
    for (resend, holds) in [(30, 240), (60, 240), (300, 1200)] {
        let settings = Settings { restore: false, resend_delay: Duration::from_secs(resend), ..Settings::default() };
        let mut place = Place::with(&group(&["alert: a, expr: m"]), settings);
        let round = place.turn_with(&[("m", 1.0)]);
        assert_eq!(sent(&place, &round), [(0, holds)]);
    }
}

#[test]
fn external_labels_go_out_where_there_are_none_of_that_name() {
    let settings = Settings {
        restore: false,
        external_labels: Labels::new([("site", "lab"), ("job", "external")]).unwrap(),
        external_url: "https://x.example/prom/".into(),
        ..Settings::default()
    };
    let mut place = Place::with(&group(&["alert: a, expr: 'm{job=\"x\"} > 0'"]), settings);
    let round = place.turn_with(&[("m{job=\"x\"}", 1.0)]);
    let alert = &round.alerts[0];
    assert_eq!(alert.labels.to_string(), "{alertname=\"a\",job=\"x\",site=\"lab\"}");
    assert_eq!(round.changes[0].alert, *alert);
    assert_eq!(alert.generator_url, "https://x.example/prom/graph?g0.expr=m%7Bjob%3D%22x%22%7D+%3E+0&g0.tab=1");
    // On no series.
    assert!(round.samples.iter().all(|(labels, _)| labels.value("site").is_empty()));
}

#[test]
fn an_alert_that_is_pending_again_after_a_longer_for_is_sent_anew() {
    let settings = Settings { restore: false, resend_delay: Duration::from_secs(3600), ..Settings::default() };
    let mut place = Place::with(&group(&["alert: a, expr: m, for: 1m"]), settings);
    let rounds: Vec<usize> = (0..2).map(|_| place.turn_with(&[("m", 1.0)]).alerts.len()).collect();
    place.reload(&[("f", &group(&["alert: a, expr: m, for: 3m"]))]);
    let more: Vec<usize> = (0..2).map(|_| place.turn_with(&[("m", 1.0)]).alerts.len()).collect();
    assert_eq!((rounds, more), (vec![0, 1], vec![0, 1]));
}
