//! Specification 2.1 to 2.6: merging, grouping, timers, and when something is worth telling.

use super::*;
use skerry_model::Fingerprint;

#[test]
fn a_group_waits_then_tells_whole_then_only_what_is_new() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.pass(5);
    place.fire("alertname=y");
    place.pass(10);
    assert_eq!(place.take(), ["10 a x,y"], "both within group_wait, in one notice");
    place.fire("alertname=z");
    place.pass(54);
    assert_eq!(place.take(), Vec::<String>::new(), "a new alert never shortens the interval");
    place.pass(60);
    assert_eq!(place.take(), ["70 a x,y,z"]);
    place.pass(3600);
    assert_eq!(place.take(), Vec::<String>::new());
    place.pass(1);
    // Told again after repeat_interval, rounded up to the next flush.
    assert_eq!(place.take(), ["3730 a x,y,z"]);
}

#[test]
fn the_end_of_some_is_told_and_the_end_of_all_empties_the_group() {
    let mut place = Place::new(&routes(""));
    place.fire("alertname=x");
    place.fire("alertname=y");
    place.pass(10);
    place.end("alertname=x");
    place.pass(60);
    assert_eq!(place.take(), ["10 a x,y", "70 a -x,y"]);
    place.pass(120);
    assert_eq!(place.take(), Vec::<String>::new(), "what ended left the group");
    place.end("alertname=y");
    place.pass(60);
    assert_eq!(place.take(), ["250 a -y"]);
    assert_eq!(place.metric("alertmanager_dispatcher_aggregation_groups", ""), 0.0);
    // A later alert begins again with group_wait.
    place.fire("alertname=y");
    place.pass(60);
    assert_eq!(place.take(), ["260 a y"]);
}

#[test]
fn a_shrinking_group_tells_only_those_who_hear_of_ends() {
    let mut place = Place::new(&routes("  routes:\n  - {receiver: a, continue: true}\n  - {receiver: quiet}"));
    place.fire("alertname=x");
    place.fire("alertname=y");
    place.pass(10);
    place.end("alertname=x");
    place.pass(60);
    assert_eq!(place.take(), ["10 a x,y", "10 quiet x,y", "70 a -x,y"]);
    place.end("alertname=y");
    place.pass(60);
    assert_eq!(place.take(), ["130 a -y"]);
    // The log of the quiet one was cleared all the same: the next firing is told.
    place.fire("alertname=y");
    place.pass(10);
    assert_eq!(place.take(), ["140 a y", "140 quiet y"]);
}

#[test]
fn an_alert_that_waited_elsewhere_does_not_wait_again() {
    let mut place = Place::new(&routes(""));
    let alert = place.alert("alertname=x", UnixMillis(START - 11_000), UnixMillis(START + 600_000));
    place.manager.receive(vec![alert], place.now);
    place.pass(1);
    assert_eq!(place.take(), ["0 a x"]);
    let alert = place.alert("alertname=y", UnixMillis(START - 11_000), UnixMillis(START + 600_000));
    place.manager.receive(vec![alert], place.now);
    place.pass(50);
    assert_eq!(place.take(), Vec::<String>::new(), "once it was flushed, the interval counts");
    place.pass(10);
    assert_eq!(place.take(), ["60 a x,y"]);
}

#[test]
fn groups_are_made_by_their_labels_and_each_route_has_its_own() {
    let mut place = Place::new(&routes(
        "  group_by: [site]\n  routes:\n  - {receiver: a, continue: true, matchers: [team=~x|y]}\n  - {receiver: b, group_by: ['...']}",
    ));
    for text in
        ["alertname=p site=1 team=x", "alertname=q site=1 team=x", "alertname=r site=2 team=z", "alertname=s team=y"]
    {
        place.fire(text);
    }
    place.pass(10);
    let mut told = place.take();
    told.sort();
    assert_eq!(told, ["10 a p,q", "10 a s", "10 b p", "10 b q", "10 b r", "10 b s"]);
    let keys: Vec<String> = place.disk.keys().filter(|key| key.starts_with("log/")).cloned().collect();
    assert!(keys.contains(&"log/{}/{team=~\"x|y\"}:{site=\"1\"}:a/webhook/0".to_owned()), "{keys:?}");
    assert!(
        keys.contains(&"log/{}/{team=~\"x|y\"}:{}:a/webhook/0".to_owned()),
        "a missing label is left out: {keys:?}"
    );
    assert!(keys.contains(&"log/{}/{}:{alertname=\"p\", site=\"1\", team=\"x\"}:b/webhook/0".to_owned()), "{keys:?}");
}

#[test]
fn alerts_of_a_notice_stand_by_job_instance_and_labels() {
    let mut place = Place::new(&routes(""));
    for text in [
        "alertname=f",
        "alertname=e job=b",
        "alertname=d job=a instance=2",
        "alertname=c job=a instance=1",
        "alertname=b job=a",
        "alertname=a zone=1",
        "alertname=a cone=1",
    ] {
        place.fire(text);
    }
    place.pass(10);
    assert_eq!(place.take(), ["10 a c,d,b,e,f,a,a"]);
}

#[test]
fn what_is_said_of_an_alert_is_merged() {
    // Start and end of a first and a second message, in seconds from now; what is known then. 0 stands for nothing said.
    for (first, second, expected) in [
        // The earliest start counts, and the latest end that was named.
        ((-60, 100), (-30, 200), (-60, 200)),
        ((-60, 200), (-30, 100), (-60, 200)),
        // An end that was assumed gives way to one that is named, and not the other way round.
        ((-60, 0), (-30, 100), (-60, 100)),
        ((-60, 900), (-30, 0), (-60, 900)),
        ((-60, 100), (-30, 0), (-60, 300)),
        // The end is told: it counts at once.
        ((-60, 200), (-60, -1), (-60, -1)),
        // No overlap: another episode.
        ((-60, -30), (-10, 100), (-10, 100)),
    ] {
        let mut place = Place::new(&routes(""));
        let at = |seconds: i64| if seconds == 0 { UnixMillis(0) } else { UnixMillis(START + seconds * 1000) };
        for (start, end) in [first, second] {
            let alert = place.alert("alertname=x", at(start), at(end));
            place.manager.receive(vec![alert], place.now);
        }
        let stored = place.manager.alerts.get(Fingerprint::of(&labels("alertname=x"))).unwrap();
        let found = (stored.starts_at, stored.ends_at);
        assert_eq!(found, (at(expected.0), at(expected.1)), "{first:?} {second:?}");
    }
}

#[test]
fn what_was_left_out_is_filled_in() {
    let mut place = Place::new(&(routes("") + "global: {resolve_timeout: 2m}\n"));
    let alert = place.alert("alertname=x empty=", UnixMillis(0), UnixMillis(0));
    place.manager.receive(vec![alert], place.now);
    let found = place.manager.alerts(place.now).remove(0);
    assert_eq!(found.alert.starts_at, UnixMillis(START));
    assert_eq!(found.alert.ends_at, UnixMillis(START + 120_000));
    assert!(found.alert.is_timeout);
    assert_eq!(found.fingerprint, Fingerprint::of(&labels("alertname=x")), "an empty label is none");
    // Nobody says that it goes on: it ends by itself.
    place.pass(200);
    assert_eq!(place.take(), ["10 a x", "130 a -x"]);
}

#[test]
fn alerts_that_cannot_be_are_refused_and_counted() {
    let mut place = Place::new(&routes(""));
    let mut nameless = place.alert("alertname=x", UnixMillis(0), UnixMillis(0));
    nameless.labels = Labels::default();
    let backwards = place.alert("alertname=y", UnixMillis(START), UnixMillis(START - 1));
    let fine = place.alert("alertname=z", UnixMillis(START), UnixMillis(START + 9000));
    let problems = place.manager.receive(vec![nameless, backwards, fine], place.now);
    assert_eq!(problems, ["at least one label pair required", "start time must be before end time"]);
    assert_eq!(place.metric("alertmanager_alerts_invalid_total", ""), 2.0);
    assert_eq!(place.manager.firing_count(place.now), 1);
}

#[test]
fn the_unknown_end_of_an_alert_is_told_to_nobody() {
    let mut place = Place::new(&routes(""));
    place.end("alertname=x");
    place.pass(60);
    assert_eq!(place.take(), Vec::<String>::new());
    assert_eq!(place.manager.alerts.len(), 0);
}

#[test]
fn ten_thousand_groups_at_once_are_told_one_by_one() {
    let bounds = Bounds { alerts: 10_000, groups: 10_000, log_entries: 10_000, ..Bounds::default() };
    let mut place = Place::with(&routes("  group_by: ['...']"), Options { bounds, ..Options::default() });
    for n in 0..10_000 {
        place.fire(&format!("alertname=NodeGone node=n{n}"));
    }
    place.pass(10);
    assert_eq!(place.take().len(), 10_000);
    assert_eq!(place.metric("alertmanager_notifications_total", "webhook"), 10_000.0);
    place.pass(600);
    assert_eq!(place.take(), Vec::<String>::new());
}
