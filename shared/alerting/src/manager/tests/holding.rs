//! Specification 2.5 and 2.8 to 2.10: what holds alerts back, and what becomes of those that end meanwhile.

use super::*;
use crate::manager::matcher::{self, Matcher};
use skerry_model::Fingerprint;

const RULES: &str =
    "inhibit_rules:\n- source_matchers: [severity=critical]\n  target_matchers: [severity=warning]\n  equal: [site]\n";

/// A silence on alerts with `alertname` `name`, from now on.
fn silence(place: &Place, name: &str, seconds: u64) -> Silence {
    Silence {
        id: String::new(),
        matchers: vec![vec![Matcher::new("alertname", matcher::Op::Equal, name).unwrap()]],
        starts_at: place.now.wall,
        ends_at: place.now.wall + Duration::from_secs(seconds),
        updated_at: UnixMillis(0),
        created_by: "me".to_owned(),
        comment: "because".to_owned(),
        annotations: BTreeMap::new(),
    }
}

#[test]
fn a_source_holds_back_its_targets_while_it_fires() {
    let mut place = Place::new(&(routes("") + RULES));
    place.fire("alertname=w severity=warning site=1");
    place.fire("alertname=v severity=warning site=2");
    place.fire_for("alertname=c severity=critical site=1", 100);
    place.pass(10);
    assert_eq!(place.take(), ["10 a v,c"].map(|line| line.replace("v,c", "c,v")));
    assert_eq!(place.metric("alertmanager_notifications_suppressed_total", "inhibition"), 1.0);
    let held: Vec<(String, usize)> = place
        .manager
        .alerts(place.now)
        .iter()
        .map(|alert| (alert.alert.name().to_owned() + alert.state(), alert.inhibited_by.len()))
        .collect();
    assert!(held.contains(&("wsuppressed".to_owned(), 1)), "{held:?}");
    // The source ends by itself, without a word.
    place.pass(120);
    assert_eq!(place.take(), ["130 a -c,v,w"]);
}

#[test]
fn every_source_counts_also_one_that_is_held_back() {
    let rules = "inhibit_rules:\n- source_matchers: [a=1]\n  target_matchers: [b=1]\n- source_matchers: [b=1]\n  target_matchers: [c=1]\n";
    let mut place = Place::new(&(routes("") + rules));
    // Both sides: this one does not hold back its like, the other one does.
    place.fire("alertname=both a=1 b=1");
    place.fire("alertname=other a=1");
    place.fire("alertname=target b=1 c=1");
    place.fire("alertname=last c=1");
    place.pass(10);
    assert_eq!(place.take(), ["10 a other"]);
    place.end("alertname=other a=1");
    place.pass(60);
    // `both` is on both sides, so it is free; it still holds back `target`, and with it `last`.
    assert_eq!(place.take(), ["70 a -other,both"]);
}

#[test]
fn missing_and_empty_labels_are_equal() {
    let mut place = Place::new(&(routes("") + RULES));
    place.fire("alertname=w severity=warning");
    place.fire("alertname=c severity=critical site=");
    place.pass(10);
    assert_eq!(place.take(), ["10 a c"]);
}

#[test]
fn a_silence_holds_back_and_its_end_tells_at_the_next_flush() {
    let mut place = Place::new(&routes(""));
    let silence = silence(&place, "x", 100);
    let id = place.manager.set_silence(silence, place.now).unwrap();
    place.fire("alertname=x");
    place.fire("alertname=y");
    place.pass(10);
    assert_eq!(place.take(), ["10 a y"]);
    let status = &place.manager.alerts(place.now).into_iter().find(|a| a.alert.name() == "x").unwrap();
    assert_eq!((status.state(), status.silenced_by.as_slice()), ("suppressed", [id.clone()].as_slice()));
    place.pass(60);
    assert_eq!(place.take(), Vec::<String>::new());
    place.pass(60);
    assert_eq!(place.take(), ["130 a x,y"], "it fires and was not told");
}

#[test]
fn an_end_while_silenced_is_never_told() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.pass(10);
    let silence = silence(&place, "x", 100);
    place.manager.set_silence(silence, place.now).unwrap();
    place.end("alertname=x");
    place.pass(600);
    assert_eq!(place.take(), ["10 a x"]);
    // The log says that it fires, as upstream's: firing again is no news.
    place.fire("alertname=x");
    place.pass(120);
    assert_eq!(place.take(), Vec::<String>::new());
}

#[test]
fn intervals_mute_a_route_and_not_those_below_it() {
    // The start is a Monday at midnight.
    let text = routes(
        "  routes:\n  - receiver: a\n    matchers: [team=x]\n    mute_time_intervals: [early]\n    routes:\n    - \
         {receiver: b, matchers: [deep=1]}\n  - {receiver: a, matchers: [team=y], active_time_intervals: [early, never]}",
    ) + "time_intervals:\n- name: early\n  time_intervals: [{times: [{start_time: '00:00', end_time: '00:02'}]}]\n- \
         name: never\n  time_intervals: [{years: ['1999']}]\n";
    let mut place = Place::new(&text);
    for text in ["alertname=muted team=x", "alertname=deep team=x deep=1", "alertname=active team=y"] {
        place.fire(text);
    }
    place.pass(10);
    let mut told = place.take();
    told.sort();
    assert_eq!(told, ["10 a active", "10 b deep"]);
    assert_eq!(place.metric("alertmanager_notifications_suppressed_total", "mute_time_interval"), 1.0);
    let muted: Vec<Vec<String>> =
        place.manager.groups(place.now).into_iter().map(|group| group.alerts[0].muted_by.clone()).collect();
    assert_eq!(muted.iter().filter(|by| **by == ["early"]).count(), 1, "{muted:?}");
    place.end("alertname=active team=y");
    place.pass(200);
    // Two minutes are over: one route speaks, the other one is silent, and the end is lost.
    assert_eq!(place.take(), ["70 a -active", "130 a muted"]);
    place.fire("alertname=active team=y");
    place.pass(300);
    assert_eq!(place.take(), Vec::<String>::new());
    assert!(place.metric("alertmanager_notifications_suppressed_total", "active_time_interval") > 0.0);
}

#[test]
fn the_first_flush_waits_until_sources_are_there() {
    let options = Options { settle: Duration::from_secs(30), ..Options::default() };
    let mut place = Place::with(&(routes("  group_wait: 0s").replace("  group_wait: 10s\n", "") + RULES), options);
    place.fire("alertname=w severity=warning site=1");
    place.pass(29);
    assert_eq!(place.take(), Vec::<String>::new());
    assert!(!place.manager.is_settled(place.now));
    place.fire("alertname=c severity=critical site=1");
    place.pass(1);
    assert_eq!(place.take(), ["30 a c"]);
}

#[test]
fn who_was_told_elsewhere_is_not_told_of_that_episode() {
    let mut place = Place::new(&routes("  routes:\n  - {receiver: a, continue: true}\n  - {receiver: b}"));
    let id = Fingerprint::of(&labels("alertname=x"));
    place.manager.suppress(id, place.now.wall, vec!["a".to_owned()]);
    place.fire("alertname=x");
    place.pass(10);
    assert_eq!(place.take(), ["10 b x"]);
    assert_eq!(place.manager.told(id), ["b"]);
    place.restart(&routes("  routes:\n  - {receiver: a, continue: true}\n  - {receiver: b}"), Options::default(), 5);
    place.end("alertname=x");
    place.pass(120);
    assert_eq!(place.take(), ["0 b -x"], "nor of its end, nor after a restart");
    place.fire("alertname=x");
    place.pass(10);
    assert_eq!(place.take().len(), 2, "the next episode is told to both");
}

#[test]
fn receivers_of_other_places_are_not_told_and_nothing_is_noted() {
    let text = routes("  routes:\n  - {receiver: a, continue: true}\n  - {receiver: b}");
    let options = Options { enabled: Some(Box::new(|receiver| receiver.name == "b")), ..Options::default() };
    let mut place = Place::with(&text, options);
    place.fire("alertname=x");
    place.pass(600);
    assert_eq!(place.take(), ["10 b x"]);
    assert!(place.disk.keys().all(|key| !key.contains(":a/")), "{:?}", place.disk.keys());
    // Once this place tells all, the other one hears of it too.
    place.manager.set_enabled(None);
    place.pass(60);
    assert_eq!(place.take(), ["610 a x"]);
}
