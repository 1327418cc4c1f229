//! State after a restart.

use crate::rules::testkit::{Place, changes, group};
use crate::rules::{Settings, Stage};
use skerry_model::UnixMillis;

const M: &str = "m{instance=\"i\"}";
const MINUTE: i64 = 60_000;

/// How many minutes after the first evaluation behind a restart it fires; the rule was met for `up` evaluations, and is
/// met again after `down` minutes.
fn fires_after(settings: &Settings, hold: u64, up: usize, down: i64) -> Option<i64> {
    let text = group(&[&format!("alert: a, expr: m, for: {hold}m")]);
    let mut place = Place::with(&text, Settings { restore: false, ..settings.clone() });
    for _ in 0..up {
        place.turn_with(&[(M, 1.0)]);
    }
    place.settings.restore = true;
    place.restart(&text, down * MINUTE - 1);
    let first = place.next_at();
    (0..100).find_map(|_| {
        let round = place.turn_with(&[(M, 1.0)]);
        let fired = round.changes.iter().any(|change| change.is.as_str() == "firing");
        fired.then_some((place.now.wall.0 - first.0) / MINUTE)
    })
}

#[test]
fn prometheuss_table() {
    let prometheus = Settings { restore_firing: false, ..Settings::default() };
    for (hold, up, down, expected) in [
        // A `for` below the grace period is not restored.
        (9, 8, 5, 9),
        // It fired before: pending for two evaluations, then at once.
        (15, 20, 5, 2),
        (15, 16, 5, 2),
        // 14 min were left of 30, the time down does not count: of the 14, one goes by to the evaluation after the restart
        // at which it is restored.
        (30, 17, 5, 1 + 14),
        // Less than the grace period was left: it is waited for whole.
        (30, 25, 5, 1 + 10),
        // Longer down than is tolerated.
        (30, 25, 70, 30),
    ] {
        let fires = fires_after(&prometheus, hold, up, down);
        assert_eq!(fires, Some(expected), "for {hold}m, met {up} times, down {down} min");
    }
}

#[test]
fn prometheuss_own_run() {
    // Prometheus 2.42 with `--rules.alert.for-grace-period=5s`, an interval of 1 s and `vector(1)`, killed and begun again
    // after 5 s: seconds from the first evaluation to the first sample of ALERTS that fires.
    let settings = Settings { restore_firing: false, grace: std::time::Duration::from_secs(5), ..Settings::default() };
    for (hold, spent, expected) in [(20, 8, 13), (20, 17, 7), (10, 15, 2), (4, 3, 4)] {
        let text =
            format!("groups:\n- name: g\n  interval: 1s\n  rules:\n  - {{alert: a, expr: vector(1), for: {hold}s}}\n");
        let mut place = Place::with(&text, Settings { restore: false, ..settings.clone() });
        (0..=spent).for_each(|_| drop(place.turn()));
        place.settings.restore = true;
        place.restart(&text, 5_000);
        let first = place.next_at();
        let fires = (0..40).find_map(|_| {
            // Somebody comes to evaluate a moment after the slot.
            place.pass(place.next_at().0 - place.now.wall.0 + 3);
            let now = place.now;
            let turn = place.engine().due(now).remove(0);
            let at = turn.at;
            let round = place.engine.as_mut().unwrap().evaluate(turn, &place.store, now);
            let fired = round.samples.iter().any(|(labels, _)| labels.value("alertstate") == "firing");
            fired.then_some((at.0 - first.0) / 1000)
        });
        assert_eq!(fires, Some(expected), "for {hold}s, met for {spent} s");
    }
}

#[test]
fn what_fired_fires_at_once() {
    let ours = Settings::default();
    for (hold, up, down, expected) in [
        (9, 10, 5, 0),
        (15, 20, 5, 0),
        // What was pending is as in Prometheus.
        (9, 8, 5, 9),
        (30, 17, 5, 15),
        (15, 20, 70, 15),
    ] {
        let fires = fires_after(&ours, hold, up, down);
        assert_eq!(fires, Some(expected), "for {hold}m, met {up} times, down {down} min");
    }
}

#[test]
fn an_alert_that_goes_on_begins_when_it_began() {
    let text = group(&["alert: a, expr: m, for: 2m, labels: {l: '{{ $labels.instance }}'}", "alert: b, expr: m"]);
    let mut place = Place::new(&text);
    let begun = place.next_at();
    for _ in 0..5 {
        place.turn_with(&[(M, 1.0)]);
    }
    place.settings.restore = true;
    place.restart(&text, 3 * MINUTE);
    let round = place.turn_with(&[(M, 1.0)]);
    assert_eq!(changes(&round), ["i inactive->firing", "i inactive->firing"]);
    assert!(round.changes.iter().all(|change| change.is_restored));
    let since: Vec<i64> = round.alerts.iter().map(|alert| alert.starts_at.0 - begun.0 / 1000 * 1000).collect();
    assert_eq!(since, [2 * MINUTE, 0], "to the second, which is what the series holds");
    // Of those that begin now, nothing of the kind is said.
    let mut place = Place::with(&text, Settings::default());
    let round = place.turn_with(&[(M, 1.0)]);
    assert_eq!((round.changes.len(), round.changes.iter().any(|change| change.is_restored)), (2, false));
}

#[test]
fn what_cleared_is_not_taken_up() {
    let text = group(&["alert: a, expr: m > 0, for: 15m"]);
    let run = |last: &[f64], restarted: &[f64]| {
        let mut place = Place::new(&text);
        (0..20).for_each(|_| drop(place.turn_with(&[(M, 1.0)])));
        last.iter().for_each(|value| drop(place.turn_with(&[(M, *value)])));
        place.settings.restore = true;
        place.restart(&text, MINUTE);
        restarted.iter().flat_map(|value| changes(&place.turn_with(&[(M, *value)]))).collect::<Vec<_>>()
    };
    // Ended before the restart: its series ended too.
    assert_eq!(run(&[0.0], &[1.0, 1.0, 1.0]), ["i inactive->pending"]);
    // Ended during it: no end is said.
    assert_eq!(run(&[], &[0.0, 0.0, 0.0]), Vec::<String>::new());
    // Back after the first evaluations: it begins anew.
    assert_eq!(run(&[], &[0.0, 0.0, 1.0]), ["i inactive->pending"]);
    // There at the second one: it goes on.
    assert_eq!(run(&[], &[0.0, 1.0]), ["i inactive->firing"]);
}

#[test]
fn a_query_offset_does_not_shorten_what_was_waited_for() {
    let text =
        "groups:\n- name: g\n  interval: 1m\n  query_offset: 40s\n  rules:\n  - {alert: a, expr: vector(1), for: 2m}\n";
    let mut place = Place::new(text);
    (0..3).for_each(|_| drop(place.turn()));
    place.settings.restore = true;
    place.restart(text, MINUTE);
    assert!(place.turn().changes[0].is_restored);
}

#[test]
fn state_that_cannot_be_read_is_said_and_begins_anew() {
    // The rule needs no samples, its state does.
    let text = group(&["alert: a, expr: vector(1), for: 15m"]);
    let mut place = Place::with(&text, Settings::default());
    place.store.is_broken = true;
    let stages: Vec<Vec<Stage>> = (0..3).map(|_| place.turn().errors.iter().map(|e| e.stage).collect()).collect();
    assert_eq!(stages, [vec![Stage::Restore], vec![Stage::Restore], vec![]]);
    assert!(place.engine().restored());
}

#[test]
fn nothing_is_asked_where_nothing_is_active() {
    let mut place = Place::with(&group(&["alert: a, expr: m > 0, for: 15m"]), Settings::default());
    for asked in 1..4 {
        place.turn_with(&[(M, 0.0)]);
        assert_eq!(place.store.asked.get(), asked, "the expression alone");
    }
}

#[test]
fn samples_of_the_series_are_seconds() {
    let text = group(&["alert: a, expr: m"]);
    let mut place = Place::new(&text);
    place.turn_with(&[(M, 1.0)]);
    let sample = place.store.last("ALERTS_FOR_STATE{alertname=\"a\",instance=\"i\"}").unwrap();
    assert_eq!(UnixMillis(sample.value as i64 * 1000), UnixMillis(sample.at.0 / 1000 * 1000));
}
