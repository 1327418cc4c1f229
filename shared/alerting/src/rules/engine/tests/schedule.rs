//! When groups are evaluated, and at which moment.

use crate::Now;
use crate::rules::testkit::{BEGIN, Place, group, labels, written};
use crate::rules::{Engine, Settings};
use skerry_model::{Mono, Sample, UnixMillis};

#[test]
fn the_first_evaluation_is_at_the_next_slot() {
    let mut place = Place::new(&group(&["record: r, expr: time()"]));
    let first = place.next_at();
    assert!(first.0 > BEGIN && first.0 <= BEGIN + 60_000);
    let early = Now { wall: UnixMillis(first.0 - 1), mono: Mono(place.now.mono.0 + (first.0 - 1 - BEGIN) as u64) };
    assert_eq!(place.engine().due(early), []);
    let round = place.turn();
    assert_eq!(round.samples[0].1, Sample { at: first, value: first.as_secs_f64() });
    assert_eq!(place.next_at().0, first.0 + 60_000);
}

#[test]
fn slots_are_the_same_after_a_restart_and_differ_between_groups() {
    let text = "groups:\n- {name: a, rules: []}\n- {name: b, rules: []}\n- {name: c, rules: []}\n";
    let phases = |place: &mut Place| -> Vec<i64> {
        let now = Now { wall: UnixMillis(BEGIN + 60_000), mono: Mono(place.now.mono.0 + 60_000) };
        place.engine().due(now).iter().map(|turn| turn.at.0.rem_euclid(60_000)).collect()
    };
    let (mut one, mut two) = (Place::new(text), Place::new(text));
    let (first, second) = (phases(&mut one), phases(&mut two));
    assert_eq!(first, second);
    let distinct: std::collections::BTreeSet<i64> = first.iter().copied().collect();
    assert_eq!(distinct.len(), 3);
}

#[test]
fn missed_slots_are_counted_and_never_caught_up() {
    let mut place = Place::new(&group(&["record: r, expr: time()"]));
    place.turn();
    let last = place.now.wall;
    // Somebody comes 3 intervals and a half late: the slot counts, not the moment.
    place.pass(210_000);
    let now = place.now;
    let turns = place.engine().due(now);
    assert_eq!(turns.iter().map(|turn| turn.at.0 - last.0).collect::<Vec<_>>(), [180_000]);
    let engine = place.engine.as_mut().unwrap();
    let round = engine.evaluate(turns[0].clone(), &place.store, now);
    assert_eq!(round.samples[0].1.at.0, last.0 + 180_000);
    assert_eq!(engine.groups()[0].missed, 2);
    assert_eq!(engine.due(now), []);
    assert_eq!(place.next_at().0, last.0 + 240_000);
}

#[test]
fn later_rules_see_what_earlier_ones_write_at_the_same_moment() {
    let mut place = Place::new(&group(&[
        "record: late, expr: sum(early)",
        "record: early, expr: sum by (job) (up) * 10",
        "record: sum_early, expr: sum(early)",
        "alert: a, expr: early > 10",
        "record: alerts, expr: 'count(ALERTS{alertstate=\"firing\"})'",
        "record: back, expr: 'early - (early offset 1m)'",
    ]));
    let up = [("up{job=\"x\",instance=\"1\"}", 1.0), ("up{job=\"x\",instance=\"2\"}", 1.0)];
    let first = place.turn_with(&up);
    assert_eq!(first.samples.iter().filter(|(labels, _)| labels.metric() == "late").count(), 0);
    assert!(written(&first).contains(&"sum_early 20".to_owned()), "{first:?}");
    assert!(written(&first).contains(&"alerts 1".to_owned()));
    // What is laid over replaces what an older sample of the same series would say.
    let second = place.turn_with(&[("up{job=\"x\",instance=\"2\"}", 3.0)]);
    assert_eq!(written(&second)[0], "late 20");
    assert!(written(&second).contains(&"sum_early 40".to_owned()));
    assert!(written(&second).contains(&"back{job=\"x\"} 20".to_owned()), "{:?}", written(&second));
}

#[test]
fn queries_and_samples_lie_before_the_slot_by_the_offset() {
    let text = "groups:
- name: g
  interval: 1m
  query_offset: 30s
  rules:
  - {record: r, expr: timestamp(m)}
  - {alert: a, expr: m > 0, for: 1m, annotations: {now: '{{ query \"time()\" | first | value }}'}}
";
    let mut place = Place::new(text);
    let slot = place.next_at();
    place.store.put(labels("m"), Sample { at: UnixMillis(slot.0 - 30_001), value: 1.0 });
    place.store.put(labels("m"), Sample { at: UnixMillis(slot.0 - 29_999), value: 0.0 });
    let round = place.turn();
    let looked = UnixMillis(slot.0 - 30_000);
    assert!(round.samples.iter().all(|(_, sample)| sample.at == looked), "{round:?}");
    assert_eq!(round.samples[0].1.value, (slot.0 - 30_001) as f64 / 1000.0);
    // The alert's own times, and the queries of its templates, know no offset.
    let shown = &place.engine().groups()[0];
    let alert = &shown.rules[1].alerting.as_ref().unwrap().alerts[0];
    assert_eq!(alert.active_at, slot);
    assert_eq!(alert.annotations.value("now").parse::<f64>().unwrap(), slot.as_secs_f64());
    let stale: Vec<_> = place.turn().samples.into_iter().filter(|(_, s)| skerry_model::is_stale(s.value)).collect();
    assert!(!stale.is_empty() && stale.iter().all(|(_, sample)| sample.at.0 == looked.0 + 60_000));
    // Of all groups, where they name none.
    let settings = Settings { query_offset: std::time::Duration::from_secs(10), ..Settings::default() };
    let mut place = Place::with(&group(&["record: r, expr: time()"]), settings);
    let slot = place.next_at();
    assert_eq!(place.turn().samples[0].1.at.0, slot.0 - 10_000);
}

#[test]
fn a_clock_that_is_set_moves_everything_with_it() {
    let rules = group(&["alert: a, expr: m > 0, for: 5m"]);
    for step in [86_400_000 * 365, -86_400_000 * 365] {
        let mut place = Place::new(&rules);
        for _ in 0..3 {
            place.turn_with(&[("m", 1.0)]);
        }
        place.now.wall.0 += step;
        let now = place.now;
        assert_eq!(place.engine().due(now), [], "nothing was missed");
        assert!(place.next_at().0 - place.now.wall.0 <= 60_000);
        let fired = (0..6).position(|_| !place.turn_with(&[("m", 1.0)]).alerts.is_empty());
        // Two minutes had passed; up to one more goes by until the next slot of the new time.
        assert!(matches!(fired, Some(2 | 3)), "{fired:?} {step}");
        assert_eq!(place.engine().groups()[0].missed, 0);
    }
}

#[test]
fn a_turn_of_another_engine_does_nothing() {
    let mut place = Place::new(&group(&["record: r, expr: 1"]));
    let turn = place.engine().turn(0, UnixMillis(BEGIN)).unwrap();
    assert_eq!(place.engine().turn(1, UnixMillis(BEGIN)), None);
    let mut other = Engine::new(Vec::new(), Settings::default(), None, place.now);
    assert_eq!((other.next(), other.restored()), (None, true));
    assert!(other.evaluate(turn, &place.store, place.now).samples.is_empty());
}
