use super::*;
use crate::forward::fixture::entry;
use proptest::prelude::*;

const MAX: BatchMax = BatchMax { bytes: 1 << 20, records: 3, wait: Duration::from_secs(1) };

fn entries(queue: i64, count: u32) -> Vec<Entry> {
    (0..count).map(|index| Entry { queue, received: UnixMillis(queue * 1000), ..entry(index, b"line") }).collect()
}

fn names(batch: &Batch) -> Vec<(i64, u32)> {
    batch.entries.iter().map(|entry| (entry.queue, entry.index)).collect()
}

#[test]
fn the_place_moves_record_by_record() {
    let mut feed = Feed::at(Place { through: 4, part: 5, skip: 1 });
    assert_eq!((feed.skip(5), feed.skip(6), feed.read()), (1, 0, 4));
    feed.push(5, entries(5, 5).split_off(1));
    assert!(feed.is_full(&MAX));
    feed.push(7, Vec::new());
    feed.push(8, entries(8, 1));
    let Next::Send(batch) = feed.next(UnixMillis(5000), &MAX) else { panic!("it is full") };
    assert_eq!(names(&batch), [(5, 1), (5, 2), (5, 3)]);
    assert_eq!(batch.place, Place { through: 4, part: 5, skip: 4 });
    // What is left waits for others, as long as it may.
    let Next::Wait(wait) = feed.next(UnixMillis(5250), &MAX) else { panic!("it is not full") };
    assert_eq!(wait, Duration::from_millis(750));
    let Next::Send(batch) = feed.next(UnixMillis(6000), &MAX) else { panic!("it waited long enough") };
    assert_eq!(names(&batch), [(5, 4), (8, 0)]);
    assert_eq!(batch.place, Place { through: 8, part: 0, skip: 0 });
    feed.push(9, Vec::new());
    let Next::Idle(place) = feed.next(UnixMillis(6000), &MAX) else { panic!("there is nothing") };
    assert_eq!(place.through, 9, "what is not wanted is passed");
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let mut feed = Feed::at(Place::default());
    feed.push(5, entries(5, 1));
    assert!(matches!(feed.next(UnixMillis(4999), &MAX), Next::Send(_)));
}

#[test]
fn a_large_record_goes_alone() {
    let max = BatchMax { bytes: 300, records: 100, ..MAX };
    let mut feed = Feed::at(Place::default());
    let line = |len: usize| vec![b'x'; len];
    feed.push(1, vec![entry(0, &line(10)), entry(1, &line(5000)), entry(2, &line(10)), entry(3, &line(10))]);
    let mut sizes = Vec::new();
    while let Next::Send(batch) = feed.next(UnixMillis(i64::MAX), &max) {
        sizes.push(batch.entries.len());
    }
    assert_eq!(sizes, [1, 1, 2]);
    assert_eq!(feed.bytes, 0);
}

fn pause(why: &str) -> Then {
    Then::Pause { after: None, why: why.into() }
}

#[test]
fn items_are_tried_again_by_themselves() {
    let mut attempt = Attempt::new(4);
    let fate =
        Fate::Each(vec![Item::Taken, Item::Again("busy".into()), Item::Refused("no number".into()), Item::Repeated]);
    assert_eq!(attempt.answer(fate), pause("busy"));
    assert_eq!(attempt.part(), Some(&[1][..]));
    assert_eq!(attempt.answer(Fate::Retry { after: None, why: "down".into() }), pause("down"));
    assert_eq!(attempt.answer(Fate::Each(vec![Item::Taken])), Then::GoOn);
    assert_eq!(attempt.part(), None);
    assert_eq!((attempt.refused, attempt.repeated, attempt.why.as_str()), (vec![2], 1, "no number"));
}

#[test]
fn losses_are_counted_by_node_where_they_can_be() {
    let of = |node: &str, at: i64| Entry { node: node.parse().unwrap(), at: UnixMillis(at), ..entry(0, b"") };
    let entries = [of("a", 5), of("a", 2), of("b", 9), of("a", 1)];
    let mut attempt = Attempt::new(4);
    attempt.refused = vec![0, 1];
    attempt.unnamed = vec![(vec![3], 1)];
    let range = |from, to| TimeRange { from: UnixMillis(from), to: UnixMillis(to) };
    assert_eq!(attempt.losses(&entries), [("a".parse().unwrap(), (Some(3), range(1, 5)))].into());
    attempt.unnamed = vec![(vec![2, 3], 1)];
    let both = attempt.losses(&entries);
    assert_eq!(both[&"a".parse().unwrap()], (None, range(1, 5)), "of two nodes nobody knows whose");
    assert_eq!(both[&"b".parse().unwrap()], (None, range(9, 9)));
}

proptest! {
    /// A store that takes a request whole or not at all, up to a size, refuses some records, and loses answers.
    #[test]
    fn every_record_is_taken_or_refused(
        bad in proptest::collection::vec(prop::bool::weighted(0.05), 1..200),
        size_max in 1usize..300,
        lost in proptest::collection::vec(prop::bool::weighted(0.2), 2000),
    ) {
        let mut attempt = Attempt::new(bad.len());
        let mut taken = vec![0u32; bad.len()];
        let mut requests = 0;
        while let Some(part) = attempt.part() {
            requests += 1;
            prop_assert!(requests < 1900, "it ends");
            let fate = if part.len() > size_max {
                Fate::TooLarge { why: String::new() }
            } else if part.iter().any(|at| bad[*at]) {
                Fate::Refused { why: String::new() }
            } else {
                part.iter().for_each(|at| taken[*at] += 1);
                if lost[requests] { Fate::Retry { after: None, why: String::new() } } else { Fate::Taken }
            };
            attempt.answer(fate);
        }
        let mut refused = attempt.refused.clone();
        refused.sort_unstable();
        let before = refused.len();
        refused.dedup();
        prop_assert_eq!(refused.len(), before, "none is refused twice");
        for (at, is_bad) in bad.iter().enumerate() {
            prop_assert!(taken[at] > 0 || refused.contains(&at), "{} is lost", at);
            prop_assert!(!is_bad || refused.contains(&at));
        }
        let wrong = refused.iter().filter(|at| !bad[**at]).count();
        if bad.iter().filter(|bad| **bad).count() < 6 {
            prop_assert_eq!(wrong, 0, "few bad ones are found one by one");
        }
    }
}
