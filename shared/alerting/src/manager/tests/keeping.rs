//! What a restart, a reload and a stepping clock must not do: tell twice, or forget.

use super::*;

#[test]
fn a_restart_tells_nobody_twice() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.pass(10);
    assert_eq!(place.take(), ["10 a x"]);
    place.restart(&routes(""), Options::default(), 30);
    place.fire("alertname=x");
    place.pass(1800);
    assert_eq!(place.take(), Vec::<String>::new());
    // The repetition is due by when it was told, over the restart.
    place.pass(1800);
    assert_eq!(place.take().len(), 1);
}

#[test]
fn what_fired_goes_on_for_a_while_though_nobody_says_so_yet() {
    let options = || Options { restore_grace: Duration::from_secs(240), ..Options::default() };
    let mut place = Place::with(&routes(""), options());
    place.fire_for("alertname=x", 60);
    place.pass(10);
    // The place is down for longer than the alert would have gone on.
    place.restart(&routes(""), options(), 600);
    place.take();
    place.pass(230);
    assert_eq!(place.take(), Vec::<String>::new(), "no end that nobody told");
    place.pass(120);
    assert_eq!(place.take(), ["240 a -x"], "nobody said that it goes on");
}

#[test]
fn an_end_that_was_not_told_yet_is_told_after_a_restart() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.pass(10);
    place.end("alertname=x");
    place.take();
    place.restart(&routes(""), Options::default(), 600);
    place.pass(60);
    assert_eq!(place.take(), ["0 a -x"]);
    assert!(place.disk.keys().all(|key| !key.starts_with("alert/")), "{:?}", place.disk.keys());
}

#[test]
fn a_silence_is_not_forgotten_and_a_second_reading_changes_nothing() {
    let mut place = Place::new(&routes(""));
    let silence = silences::silence(&place, 0, 86_400);
    let id = place.manager.set_silence(silence, place.now).unwrap();
    place.restart(&routes(""), Options::default(), 60);
    assert_eq!(place.manager.silence(&id).unwrap().state(place.now.wall), SilenceState::Active);
    place.fire("alertname=x");
    place.pass(600);
    assert_eq!(place.take(), Vec::<String>::new());
    let before = place.disk.clone();
    place.restart(&routes(""), Options::default(), 0);
    place.save();
    assert_eq!(place.disk, before);
}

#[test]
fn damaged_and_unknown_entries_are_counted_and_left_out() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.pass(10);
    for (key, value) in [
        ("silence/x", "{}"),
        ("silence", "{}"),
        ("log/k", "[1]"),
        ("log/l", "{\"firing\":[1.5]}"),
        ("alert/zz", "{}"),
        ("alert/0000000000000000", "{\"labels\":[[\"a\",\"b\"]]}"),
        ("told/1", "{}"),
        ("new/kind", "1"),
        ("", "\0\u{1}"),
    ] {
        place.disk.insert(key.to_owned(), value.as_bytes().to_vec());
    }
    place.restart(&routes(""), Options::default(), 1);
    assert_eq!(place.metric("alertmanager_dropped_total", "saved"), 9.0);
    assert_eq!(place.manager.firing_count(place.now), 1);
    place.save();
    assert_eq!(place.disk.len(), 2, "what nobody reads is taken off the disk: {:?}", place.disk.keys());
    place.pass(600);
    assert_eq!(place.take(), ["10 a x"]);
}

#[test]
fn a_stepping_wall_clock_tells_nothing_and_ends_nothing() {
    for step_ms in [365 * 86_400_000_i64, -365 * 86_400_000, 7_200_000, -7_200_000] {
        let mut place = Place::new(&routes(""));
        place.fire_for("alertname=x", 240);
        place.pass(20);
        assert_eq!(place.take(), ["10 a x"]);
        place.now.wall.0 += step_ms;
        place.pass(100);
        assert_eq!(place.take(), Vec::<String>::new(), "{step_ms}");
        // The rule says that it goes on, by the new clock.
        place.fire_for("alertname=x", 240);
        place.pass(200);
        assert_eq!(place.take(), Vec::<String>::new(), "{step_ms}");
        place.pass(100);
        assert_eq!(place.take(), ["370 a -x"], "{step_ms}: an end is an end");
    }
}

#[test]
fn a_clock_that_was_wrong_at_the_restart_makes_no_storm() {
    for offset_ms in [-40 * 365 * 86_400_000_i64, -3_600_000] {
        let mut place = Place::new(&routes(""));
        place.fire("alertname=x");
        place.pass(10);
        place.take();
        place.now.wall.0 += offset_ms;
        place.restart(&routes(""), Options::default(), 30);
        place.fire("alertname=x");
        place.pass(3000);
        assert_eq!(place.take(), Vec::<String>::new(), "{offset_ms}");
    }
}

#[test]
fn a_reload_keeps_alerts_timers_and_what_was_told() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.pass(30);
    place.fire("alertname=y");
    assert_eq!(place.take(), ["10 a x"]);
    place.manager.reload(config(&routes("")), place.now);
    place.pass(35);
    assert_eq!(place.take(), Vec::<String>::new(), "the group's interval goes on");
    place.pass(5);
    assert_eq!(place.take(), ["70 a x,y"]);
    // Another receiver is told of all that fires.
    place.manager.reload(config(&routes("  routes:\n  - {receiver: b, matchers: [alertname=x]}")), place.now);
    place.pass(120);
    assert_eq!(place.take(), ["70 b x"]);
}

#[test]
fn an_answer_to_what_was_asked_before_a_reload_counts() {
    let mut place = Place::new(&routes(""));
    place.silent = vec!["a".to_owned()];
    place.fire("alertname=x");
    place.pass(10);
    assert_eq!(place.take(), ["10 a x …"]);
    place.manager.reload(config(&routes("")), place.now);
    place.pass(30);
    place.manager.done(NoticeId(1), Outcome::Sent, place.now);
    place.silent.clear();
    place.pass(600);
    assert_eq!(place.take(), Vec::<String>::new());
}

#[test]
fn everything_has_a_bound() {
    let bounds = Bounds { alerts: 3, groups: 2, log_entries: 1, suppressed: 1, ..Bounds::default() };
    let mut place = Place::with(&routes("  group_by: [alertname]"), Options { bounds, ..Options::default() });
    for n in 0..5 {
        let alert = place.alert(&format!("alertname={n}"), place.now.wall, place.now.wall + Duration::from_secs(3600));
        place.manager.receive(vec![alert], place.now);
        place.manager.suppress(skerry_model::Fingerprint(n), place.now.wall, vec![]);
    }
    place.pass(10);
    assert_eq!(place.take(), ["10 a 0", "10 a 1"]);
    for (what, count) in [("alerts", 2.0), ("groups", 1.0), ("nflog", 1.0), ("told", 4.0)] {
        assert_eq!(place.metric("alertmanager_dropped_total", what), count, "{what}");
    }
    let mut long = place.alert("alertname=0", place.now.wall, place.now.wall + Duration::from_secs(3600));
    let text = "x".repeat(1000);
    long.annotations = Labels::new((0..17).map(|n| (format!("a{n}"), text.clone()))).unwrap_or_default();
    long.generator_url = "x".repeat(17 << 10);
    place.manager.receive(vec![long], place.now);
    assert_eq!(place.metric("alertmanager_alerts_shortened_total", ""), 1.0);
}
