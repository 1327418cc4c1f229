//! What waits for a disk that is full, over a kill.

use super::full::noise;
use super::*;

impl Rig {
    /// As good as a full disk, and nothing to evict that would help. It ends with the writer.
    fn fill(&mut self) {
        let full = "CREATE TEMP TRIGGER full BEFORE INSERT ON main.block BEGIN SELECT RAISE(ABORT, 'no'); END";
        self.w().db.execute_batch(full).unwrap();
    }

    fn keep(&mut self, key: &str, value: Option<&str>, told: &str) {
        let now = self.now;
        let change = (key.to_owned(), value.map(|value| value.as_bytes().to_vec()));
        self.w().keep(vec![change], event(told, now), now);
    }

    fn value(&mut self, key: &str) -> Option<String> {
        self.w().state(key).unwrap().map(|value| String::from_utf8(value).unwrap())
    }
}

fn event(told: &str, now: Now) -> Vec<Event> {
    let kind = EventKind::CollectorRecovered { collector: told.to_owned() };
    vec![Event { at: now.wall, kind }].into_iter().filter(|_| !told.is_empty()).collect()
}

fn told(fleet: &Fleet) -> Vec<&str> {
    let words = fleet.events().into_iter().filter_map(|kind| match kind {
        EventKind::CollectorRecovered { collector } => Some(collector.as_str()),
        _ => None,
    });
    words.collect()
}

fn peeked(rig: &Rig) -> Vec<(String, String)> {
    let text = |(key, value)| (key, String::from_utf8(value).unwrap());
    peek(&rig.path(), "").into_iter().map(text).collect()
}

#[test]
fn a_kill_on_a_full_disk_loses_no_decision_and_doubles_none() {
    let mut rig = Rig::new();
    let mut fleet = Fleet::default();
    rig.keep("intent", Some("a"), "");
    rig.fill();
    rig.keep("intent", None, "a is done");
    rig.keep("intent", Some("b"), "");
    rig.crash();
    // The next run sees what was decided last, before its store is open and after.
    assert_eq!(peeked(&rig), [("intent".to_owned(), "b".to_owned())]);
    rig.open();
    assert_eq!(rig.value("intent").as_deref(), Some("b"));
    rig.fill();
    rig.keep("intent", None, "b is done");
    assert_eq!(rig.value("intent"), None);
    rig.crash();
    assert_eq!(peeked(&rig), []);
    // Twice, as the first of these starts is not acknowledged.
    for _ in 0..2 {
        rig.open();
        rig.crash();
    }
    rig.open();
    assert_eq!(rig.value("intent"), None);
    fleet.sync(&mut rig);
    assert_eq!(told(&fleet), ["a is done", "b is done"]);
    assert_eq!(rig.losses(StreamKind::Events, LossReason::DiskFull), None);
}

#[test]
fn what_was_written_meanwhile_is_not_taken_up_again() {
    let mut rig = Rig::new();
    let mut fleet = Fleet::default();
    rig.fill();
    rig.keep("k", Some("1"), "one");
    rig.w().db.execute_batch("DROP TRIGGER full").unwrap();
    rig.pass(60);
    assert!(!rig.w().has_waiting());
    rig.keep("k", Some("2"), "two");
    rig.crash();
    assert_eq!(peeked(&rig), [("k".to_owned(), "2".to_owned())]);
    rig.open();
    fleet.sync(&mut rig);
    assert_eq!(told(&fleet), ["one", "two"]);
    assert_eq!(rig.value("k").as_deref(), Some("2"));
    // And a stop in order on a disk that is still full.
    rig.fill();
    rig.keep("k", None, "three");
    let now = rig.now;
    rig.take_writer().close(now).unwrap_err();
    rig.open();
    fleet.sync(&mut rig);
    assert_eq!(told(&fleet), ["one", "two", "three"]);
    assert_eq!(rig.value("k"), None);
}

#[test]
fn what_finds_no_room_at_all_is_counted_after_a_kill_too() {
    for is_killed in [false, true] {
        let mut rig = Rig::new();
        let mut fleet = Fleet::default();
        rig.keep("", None, "first");
        rig.fill();
        let (sent, now) = (5000, rig.now);
        for batch in 0..10 {
            let told = (0..sent / 10).flat_map(|n| event(&format!("{batch} {n} {}", noise(n, 100)), now));
            let told = told.collect();
            rig.w().keep(Vec::new(), told, now);
        }
        if is_killed {
            rig.crash();
            rig.open();
        } else {
            rig.w().db.execute_batch("DROP TRIGGER full").unwrap();
            rig.pass(60);
        }
        fleet.sync(&mut rig);
        let lost = rig.losses(StreamKind::Events, LossReason::DiskFull).unwrap();
        assert_eq!(told(&fleet).len() as u64 + lost.count.unwrap(), 1 + sent, "{is_killed}");
        rig.crash();
        rig.open();
        let again = rig.losses(StreamKind::Events, LossReason::DiskFull).unwrap();
        assert_eq!(again.count, lost.count, "counted once");
    }
}
