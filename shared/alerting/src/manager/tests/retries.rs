//! Specification 2.7 and what is owed beyond it.

use super::*;

fn retry() -> Outcome {
    Outcome::retry("500")
}

#[test]
fn tries_are_repeated_ever_more_slowly_until_the_next_flush() {
    let mut place = Place::new(&routes(""));
    place.answers.insert("a".to_owned(), retry());
    place.fire("alertname=x");
    place.pass(69);
    let tries: Vec<f64> = place.take().iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(tries[0], 10.0);
    assert!((8..=20).contains(&tries.len()), "{tries:?}");
    let waits: Vec<f64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= 0.25 && waits[0] <= 0.75, "{waits:?}");
    assert!(waits.last().unwrap() > &3.0, "{waits:?}");
    assert_eq!(place.metric("alertmanager_notifications_failed_total", "contextDeadlineExceeded"), 0.0);
    place.pass(1);
    assert_eq!(place.metric("alertmanager_notifications_failed_total", "contextDeadlineExceeded"), 1.0);
    place.answers.clear();
    place.pass(60);
    // The next flush began at 70, failed once there, and got through.
    assert!(place.take().last().unwrap().ends_with("a x"));
    place.pass(600);
    assert_eq!(place.take(), Vec::<String>::new());
}

#[test]
fn a_receiver_may_ask_to_be_left_alone() {
    let mut place = Place::new(&routes(""));
    place
        .answers
        .insert("a".to_owned(), Outcome::Retry { error: "429".to_owned(), after: Some(Duration::from_secs(25)) });
    place.fire("alertname=x");
    place.pass(69);
    assert_eq!(place.take(), ["10 a x !", "35 a x !", "60 a x !"]);
}

#[test]
fn what_never_works_is_tried_once_a_flush() {
    let mut place = Place::new(&routes(""));
    place.answers.insert("a".to_owned(), Outcome::failed("400"));
    place.fire("alertname=x");
    place.pass(140);
    assert_eq!(place.take(), ["10 a x !", "70 a x !", "130 a x !"]);
    assert_eq!(place.metric("alertmanager_notifications_failed_total", "clientError"), 3.0);
    place.end("alertname=x");
    place.pass(120);
    assert_eq!(place.take(), Vec::<String>::new(), "it was never told of the beginning");
}

#[test]
fn one_that_fails_holds_up_nobody_else() {
    let mut place = Place::new(&routes("").replace("receiver: a", "receiver: two"));
    place.answers.insert("two/1".to_owned(), Outcome::failed("400"));
    place.fire("alertname=x");
    place.pass(80);
    assert_eq!(place.take(), ["10 two x", "10 two/1 x !", "70 two/1 x !"], "the first was told, and is not told again");
    place.end("alertname=x");
    place.pass(60);
    assert_eq!(place.take(), ["130 two -x"]);
}

#[test]
fn one_that_never_answers_is_given_up_at_the_deadline() {
    let mut place = Place::new(&routes(""));
    place.silent = vec!["a".to_owned()];
    place.fire("alertname=x");
    place.pass(130);
    assert_eq!(place.take(), ["10 a x …", "70 a x …", "130 a x …"]);
    assert_eq!(place.metric("alertmanager_notifications_failed_total", "contextDeadlineExceeded"), 2.0);
    // An answer that comes too late is of no account.
    place.manager.done(NoticeId(1), Outcome::Sent, place.now);
    assert_eq!(place.manager.told(labels_id("alertname=x")), Vec::<String>::new());
    place.manager.done(NoticeId(3), Outcome::Sent, place.now);
    assert_eq!(place.manager.told(labels_id("alertname=x")), ["a"]);
}

fn labels_id(text: &str) -> skerry_model::Fingerprint {
    skerry_model::Fingerprint::of(&labels(text))
}

#[test]
fn short_intervals_wait_for_the_flush_under_way() {
    let mut place = Place::new(&routes("").replace("group_interval: 1m", "group_interval: 2s"));
    place.silent = vec!["a".to_owned()];
    place.fire("alertname=x");
    place.pass(35);
    // A flush has ten seconds, though the interval has two.
    assert_eq!(place.take(), ["10 a x …", "20 a x …", "30 a x …"]);
}

#[test]
fn what_ended_while_nobody_could_be_told_is_told_as_ended() {
    let mut place = Place::new(&routes(""));
    place.answers.insert("a".to_owned(), retry());
    place.fire("alertname=x");
    place.pass(100);
    place.end("alertname=x");
    place.pass(600);
    place.take();
    // Also when the place begins again meanwhile.
    place.restart(&routes(""), Options::default(), 3600);
    place.answers.clear();
    place.pass(200);
    assert_eq!(place.take(), ["0 a -x"], "upstream forgets it");
    place.pass(600);
    assert_eq!(place.take(), Vec::<String>::new());
    assert_eq!(place.manager.alerts.len(), 0);
}

#[test]
fn what_is_owed_is_given_up_in_the_end() {
    let bounds = Bounds { owed_flushes: 3, ..Bounds::default() };
    let mut place = Place::with(&routes(""), Options { bounds, ..Options::default() });
    place.answers.insert("a".to_owned(), retry());
    place.fire("alertname=x");
    place.pass(100);
    place.end("alertname=x");
    place.pass(600);
    assert_eq!(place.metric("alertmanager_dropped_total", "owed"), 1.0);
    assert_eq!(place.manager.alerts.len(), 0);
    place.answers.clear();
    place.take();
    place.pass(600);
    assert_eq!(place.take(), Vec::<String>::new());
}

#[test]
fn no_more_notices_are_under_way_than_may_be_and_one_receiver_takes_half() {
    let bounds = Bounds { in_flight: 4, ..Bounds::default() };
    let text = routes("  group_by: [alertname]\n  routes:\n  - {receiver: b, matchers: [alertname=~\"b.*\"]}");
    let mut place = Place::with(&text, Options { bounds, ..Options::default() });
    place.silent = vec!["a".to_owned()];
    for name in ["a1", "a2", "a3", "a4", "b1", "b2", "b3"] {
        place.fire(&format!("alertname={name}"));
    }
    place.pass(10);
    // The first receiver hangs: the second one hears all the same.
    let told = ["10 a a1 …", "10 a a2 …", "10 b b1", "10 b b2", "10 b b3"];
    assert_eq!(place.take(), told);
    assert_eq!(place.metric("alertmanager_dispatcher_notices_in_flight", ""), 2.0);
    assert_eq!(place.metric("alertmanager_dispatcher_notices_waiting", ""), 2.0);
    place.manager.done(NoticeId(1), Outcome::Sent, place.now);
    place.pass(0);
    assert_eq!(place.take(), ["10 a a3 …"], "as soon as there is room");
    place.pass(59);
    assert_eq!(place.take(), Vec::<String>::new());
    // By the deadline also what never had its turn is given up, and owed.
    place.pass(1);
    assert_eq!(place.metric("alertmanager_notifications_failed_total", "contextDeadlineExceeded"), 3.0);
    assert_eq!(place.metric("alertmanager_nflog_entries_owed", ""), 3.0);
}
