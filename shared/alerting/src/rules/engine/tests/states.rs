//! The states of alerts over time: a table of evaluations, each with what the expression gives and what comes of it.

use crate::rules::State;
use crate::rules::testkit::{Place, changes, group};
use proptest::prelude::*;

/// What an evaluation sees, and the changes that it makes.
type Step = (Option<f64>, &'static str);

/// Runs a rule over the steps, one a minute; the one alert is of `m{instance="i"}`.
fn run(rule: &str, steps: &[Step]) -> Place {
    let mut place = Place::new(&group(&[rule]));
    for (number, (value, expected)) in steps.iter().enumerate() {
        let value = value.unwrap_or_else(skerry_model::stale_nan);
        let round = place.turn_with(&[("m{instance=\"i\"}", value)]);
        assert_eq!(changes(&round).join(" "), *expected, "step {number} of {rule}");
        assert_eq!(round.errors, []);
    }
    place
}

const BEGINS: &str = "i inactive->pending";
const FIRES: &str = "i inactive->firing";
const HOLDS: &str = "i pending->firing";
const RESETS: &str = "i pending->inactive";
const ENDS: &str = "i firing->inactive";
const YES: Option<f64> = Some(1.0);
const NO: Option<f64> = Some(0.0);

#[test]
fn without_for_it_fires_in_the_same_evaluation() {
    run("alert: a, expr: m > 0", &[(NO, ""), (YES, FIRES), (YES, ""), (NO, ENDS), (NO, ""), (YES, FIRES)]);
}

#[test]
fn for_is_counted_from_the_first_evaluation_that_met_it() {
    run("alert: a, expr: m > 0, for: 2m", &[(YES, BEGINS), (YES, ""), (YES, HOLDS), (YES, ""), (NO, ENDS)]);
    // Between two evaluations it is rounded up.
    run("alert: a, expr: m > 0, for: 61s", &[(YES, BEGINS), (YES, ""), (YES, HOLDS)]);
}

#[test]
fn one_evaluation_without_a_result_resets_for() {
    let steps = [(YES, BEGINS), (YES, ""), (NO, RESETS), (YES, BEGINS), (YES, ""), (YES, HOLDS)];
    run("alert: a, expr: m > 0, for: 2m", &steps);
    // A series that ended gives none either.
    run("alert: a, expr: m > 0, for: 2m", &[(YES, BEGINS), (None, RESETS), (YES, BEGINS)]);
}

#[test]
fn an_alert_that_comes_back_begins_anew() {
    let steps = [(YES, BEGINS), (YES, HOLDS), (NO, ENDS), (YES, BEGINS), (YES, HOLDS)];
    let mut place = run("alert: a, expr: m > 0, for: 1m", &steps);
    let shown = &place.engine().groups()[0];
    let alert = &shown.rules[0].alerting.as_ref().unwrap().alerts[0];
    assert_eq!(alert.active_at.0, shown.last.unwrap().0 - 60_000);
}

#[test]
fn keep_firing_for_is_counted_from_the_first_absence() {
    let rule = "alert: a, expr: m > 0, keep_firing_for: 2m";
    let mut place = run(rule, &[(YES, FIRES), (YES, ""), (NO, "")]);
    let since = |place: &mut Place| {
        let shown = &place.engine().groups()[0];
        let alert = shown.rules[0].alerting.as_ref().unwrap().alerts[0].clone();
        (alert.state, alert.keep_firing_since.map(|since| shown.last.unwrap().0 - since.0), alert.value)
    };
    assert_eq!(since(&mut place), (State::Firing, Some(0), 1.0));
    run(rule, &[(YES, FIRES), (NO, ""), (NO, ""), (NO, ENDS)]);
    // Met again, it is counted anew the next time.
    run(rule, &[(YES, FIRES), (NO, ""), (NO, ""), (YES, ""), (NO, ""), (NO, ""), (NO, ENDS)]);
    // What is pending is not kept.
    run("alert: a, expr: m > 0, for: 2m, keep_firing_for: 5m", &[(YES, BEGINS), (NO, RESETS)]);
}

#[test]
fn value_and_annotations_are_the_last_that_were_met() {
    let rule = "alert: a, expr: m > 0, keep_firing_for: 5m, annotations: {is: '{{ $value }}'}";
    let mut place = Place::new(&group(&[rule]));
    for (value, shown) in [(1.0, "1"), (7.0, "7"), (0.0, "7")] {
        place.turn_with(&[("m{instance=\"i\"}", value)]);
        let alert = place.engine().groups()[0].rules[0].alerting.as_ref().unwrap().alerts[0].clone();
        assert_eq!((alert.value.to_string(), alert.annotations.value("is")), (shown.to_owned(), shown));
    }
}

#[test]
fn an_error_freezes_everything() {
    let mut place = Place::new(&group(&["alert: a, expr: m > 0, for: 2m", "record: r, expr: m"]));
    assert_eq!(changes(&place.turn_with(&[("m{instance=\"i\"}", 1.0)])), [BEGINS]);
    for number in 0..3 {
        place.store.is_broken = true;
        let round = place.turn_with(&[("m{instance=\"i\"}", 1.0)]);
        assert!(round.samples.is_empty() && round.alerts.is_empty() && round.changes.is_empty());
        let texts: Vec<_> = round.errors.iter().map(|error| (&*error.rule, &*error.text, error.is_new)).collect();
        let text = "read samples: the disk is gone";
        assert_eq!(texts, [("a", text, number == 0), ("r", text, number == 0)]);
    }
    place.store.is_broken = false;
    // Neither `for` nor the series began anew.
    assert_eq!(changes(&place.turn_with(&[("m{instance=\"i\"}", 1.0)])), [HOLDS]);
    let shown = &place.engine().groups()[0];
    assert_eq!((shown.failures, &*shown.rules[0].last_error), (6, ""));
}

#[test]
fn missing_data_is_asked_for() {
    let rule = "alert: a, expr: 'absent(m{instance=\"i\"})'";
    run(rule, &[(YES, ""), (None, FIRES), (None, ""), (YES, ENDS)]);
    run(
        "alert: a, expr: 'absent_over_time(m{instance=\"i\"}[2m])'",
        &[(YES, ""), (None, ""), (None, FIRES), (YES, ENDS)],
    );
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Met,
    Unmet,
    Broken,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against the definition: it fires when it has been met at every evaluation for `for`, and for `keep` afterwards.
    #[test]
    fn states_are_what_the_definition_says(
        seen in proptest::collection::vec(prop_oneof![4 => Just(Seen::Met), 3 => Just(Seen::Unmet), 1 => Just(Seen::Broken)], 1..40),
        hold in 0usize..4,
        keep in 0usize..4,
    ) {
        let rule = format!("alert: a, expr: m > 0, for: {hold}m, keep_firing_for: {keep}m");
        let mut place = Place::new(&group(&[&rule]));
        // Evaluations since it was first met, counted by time; and since it was no longer.
        let (mut met_at, mut fires, mut unmet_at): (Option<usize>, bool, Option<usize>) = (None, false, None);
        for (number, seen) in seen.into_iter().enumerate() {
            place.store.is_broken = seen == Seen::Broken;
            let value = if seen == Seen::Met { 1.0 } else { 0.0 };
            let round = place.turn_with(&[("m{instance=\"i\"}", value)]);
            match seen {
                Seen::Broken => {}
                Seen::Met => {
                    let since = *met_at.get_or_insert(number);
                    unmet_at = None;
                    fires |= number - since >= hold;
                }
                Seen::Unmet => {
                    let since = *unmet_at.get_or_insert(number);
                    if !fires || number - since >= keep {
                        (met_at, fires, unmet_at) = (None, false, None);
                    }
                }
            }
            let alerts = place.engine().groups()[0].rules[0].alerting.clone().unwrap().alerts;
            let state = alerts.first().map_or(State::Inactive, |alert| alert.state);
            let expected = if fires { State::Firing } else if met_at.is_some() { State::Pending } else { State::Inactive };
            prop_assert_eq!(state, expected, "evaluation {}", number);
            let mut series: Vec<_> = round.samples.iter().map(|(labels, _)| labels).collect();
            let all = series.len();
            series.sort();
            series.dedup();
            prop_assert_eq!(series.len(), all, "no series twice");
            for change in &round.changes {
                prop_assert!(change.was != change.is);
                let is_told = round.alerts.iter().any(|alert| alert.labels == change.alert.labels);
                prop_assert_eq!(is_told, change.was == State::Firing || change.is == State::Firing);
            }
        }
    }
}
