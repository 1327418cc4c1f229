//! Random use against a model: lines exactly once, every number one meaning, nothing missing unsaid.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Scrape(usize),
    Lines(usize),
    Event,
    Pass(u64),
    Sync,
    Newest,
    Flush,
    Crash,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1usize..6).prop_map(Op::Scrape),
        6 => (1usize..4).prop_map(Op::Lines),
        1 => Just(Op::Event),
        4 => (1u64..70).prop_map(Op::Pass),
        2 => Just(Op::Sync),
        3 => Just(Op::Newest),
        1 => Just(Op::Flush),
        2 => Just(Op::Crash),
        1 => Just(Op::Restart),
    ]
}

/// A file of numbered lines: `next` is the first that the store was not given since the last start.
#[derive(Default)]
struct Source {
    next: u64,
    written: u64,
}

impl Source {
    fn read(&mut self, rig: &mut Rig, count: usize) {
        self.written = self.written.max(self.next + count as u64);
        let lines: Vec<String> = (self.next..self.next + count as u64).map(|n| n.to_string()).collect();
        self.next += count as u64;
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        rig.log(&lines, &self.next.to_string());
    }

    fn resume(&mut self, rig: &Rig) {
        self.next = rig.position().map_or(0, |text| text.parse().unwrap());
    }
}

/// Takes the newest number of each stream, as an outbox does after a reconnect; its acknowledgement is lost.
fn newest(rig: &mut Rig, fleet: &mut Fleet) {
    for tip in rig.w().tips() {
        if tip.next > tip.first {
            let known = fleet.dict_known(tip.epoch);
            if let Some(batch) = rig.load(&tip, tip.next.0 - 1, known, MESSAGE_BYTES_MAX) {
                fleet.take(tip.stream, &batch);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_use(ops in proptest::collection::vec(op(), 1..60)) {
        let (mut rig, mut fleet, mut source) = (Rig::new(), Fleet::default(), Source::default());
        let (mut scrapes, mut events, mut crashes) = (Vec::new(), 0i64, 0);
        for op in ops {
            match op {
                Op::Scrape(count) => {
                    rig.pass(1);
                    scrapes.push((crashes, rig.scrape(count)));
                }
                Op::Lines(count) => source.read(&mut rig, count),
                Op::Event => {
                    events += 1;
                    let (now, kind) = (rig.now, EventKind::ClockStep { by_ms: events });
                    rig.w().append_events(vec![Event { at: now.wall, kind }], now).unwrap();
                }
                Op::Pass(secs) => rig.pass(secs),
                Op::Sync => fleet.sync(&mut rig),
                Op::Newest => newest(&mut rig, &mut fleet),
                Op::Flush => rig.flush(),
                Op::Crash => {
                    rig.crash();
                    crashes += 1;
                    rig.open();
                    source.resume(&rig);
                }
                Op::Restart => {
                    rig.restart();
                    source.resume(&rig);
                }
            }
        }
        rig.restart();
        source.resume(&rig);
        let missing = (source.written - source.next) as usize;
        source.read(&mut rig, missing);
        rig.flush();
        fleet.sync(&mut rig);
        rig.flush();

        let expected: Vec<String> = (0..source.written).map(|n| n.to_string()).collect();
        prop_assert_eq!(fleet.lines(), expected, "each line once, in order");
        let steps = fleet.events().iter().filter_map(|kind| match kind {
            EventKind::ClockStep { by_ms } => Some(*by_ms),
            _ => None,
        }).collect::<Vec<_>>();
        prop_assert_eq!(steps, (1..=events).collect::<Vec<_>>(), "each event once, in order");
        prop_assert_eq!(rig.w().tips().iter().map(|tip| tip.waiting).sum::<u64>(), 0);
        prop_assert_eq!(rig.w().tips().len(), 3, "old epochs are forgotten when they are complete");

        let gaps: Vec<TimeRange> = fleet.events().iter().filter_map(|kind| match kind {
            EventKind::Loss(entry) => Some(entry.range),
            _ => None,
        }).collect();
        prop_assert_eq!(gaps.len(), crashes, "one gap a crash and no other loss");
        let arrived = fleet.of(StreamKind::Metrics);
        for (run, scrape) in &scrapes {
            let times = arrived.iter().filter(|content| ***content == self::content(scrape)).count();
            let excused = gaps.get(*run).is_some_and(|gap| gap.from <= scrape.at && scrape.at <= gap.to);
            prop_assert!(times == 1 || (times == 0 && excused), "{times} times, run {run}, {scrape:?}");
        }
        prop_assert!(arrived.len() <= scrapes.len());
    }
}
