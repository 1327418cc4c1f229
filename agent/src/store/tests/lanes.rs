//! Ship policies and budgets of log records, through crashes, in a full store, and with clocks that jump.

use super::super::search::LogSource;
use super::full::noise;
use super::*;
use proptest::prelude::*;
use skerry_logql::{Selection, Source};
use std::collections::BTreeSet;

const ALL_TIME: TimeRange = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };
/// Time of line 0; each has a second of its own.
const BEGAN: i64 = 1_700_000_000_000;

fn at(line: u64) -> UnixMillis {
    UnixMillis(BEGAN + line as i64 * 1000)
}

fn of(source: &str, level: Level, at: UnixMillis, line: impl Into<Vec<u8>>) -> LogRecord {
    LogRecord { at, labels: Labels::new([("source", source)]).unwrap(), level, line: line.into(), ..record(0, "") }
}

fn rules(json: &str) -> Vec<LogRule> {
    serde_json::from_str(json).unwrap()
}

fn policies() -> Config {
    let rules = rules(
        r#"[{"match": "{source=\"held\"}", "policy": "on-alert"}, {"match": "{source=\"debug\"}", "policy": "keep"},
            {"match": "{source=\"app\"}", "policy": "level"}]"#,
    );
    Config { log_ship: rules, ..Config::default() }
}

fn held_by(config: &Config) -> Tag {
    match OnAlert::among(&[], &config.log_ship)[0].held {
        Held::Records(tag) => tag,
        Held::Samples(_) => panic!("a rule of log records"),
    }
}

impl Rig {
    fn read(&mut self, records: Vec<LogRecord>, position: &str) {
        let positions = vec![PositionUpdate { key: "file".into(), state: Some(position.as_bytes().to_vec()) }];
        let now = self.now;
        self.w().append_logs(LogInput { records, positions, ..LogInput::default() }, now);
        self.w().tick(now);
    }

    /// What a search on the node finds: the newest so many, oldest first.
    fn found(&mut self, range: TimeRange, records_max: usize) -> Vec<String> {
        let snapshot = self.w().log_snapshot();
        let source = LogSource::new(vec![(self.path().into(), snapshot)]);
        let selection = Selection { matchers: Vec::new(), range, needles: Vec::new() };
        let mut found = Vec::new();
        // The oldest block first, so that records of one moment stay in the order they came.
        for block in source.blocks(&selection).unwrap().into_iter().rev() {
            let mut each = |_: &Labels, record: RecordRef<'_>| {
                found.push((record.at, String::from_utf8(record.line.to_vec()).unwrap()));
                std::ops::ControlFlow::Continue(())
            };
            source.read(block, &selection, &mut each).unwrap();
        }
        found.sort_by_key(|(at, _)| *at);
        let newest = found.len().saturating_sub(records_max);
        found.into_iter().skip(newest).map(|(_, line)| line).collect()
    }

    fn local(&mut self) -> Vec<String> {
        self.found(ALL_TIME, usize::MAX)
    }

    fn release(&mut self, range: TimeRange) -> u64 {
        let (now, tag) = (self.now, held_by(&self.config));
        let mut records = 0;
        loop {
            let released = self.w().release(tag, range, now).unwrap();
            records += released.records;
            if !released.more {
                return records;
            }
        }
    }

    fn room_of(&mut self, is_kept: bool) -> u64 {
        let logs = self.w().streams.iter().filter(|stream| stream.kind == StreamKind::Logs);
        logs.filter(|stream| stream.is_kept() == is_kept).map(|stream| stream.bytes).sum()
    }
}

/// Line `n`: a quarter each are errors, other lines of the same program, lines of a chatty one, lines held back.
fn line(n: u64) -> LogRecord {
    let (source, level) = match n % 4 {
        0 => ("app", Level::Error),
        1 => ("app", Level::Info),
        2 => ("held", Level::Error),
        _ => ("debug", Level::Error),
    };
    of(source, level, at(n), n.to_string())
}

fn numbers(lines: impl IntoIterator<Item = String>) -> Vec<u64> {
    lines.into_iter().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_fleet_gets_what_it_is_to_get_and_the_node_finds_everything() {
    let mut rig = Rig::with(policies());
    let mut fleet = Fleet::default();
    for n in 0..40 {
        rig.read(vec![line(n)], "");
        if n % 7 == 0 {
            rig.flush();
        }
    }
    assert_eq!(numbers(rig.local()), (0..40).collect::<Vec<_>>(), "in memory and on the disk, by time");
    assert_eq!(numbers(rig.found(ALL_TIME, 5)), (35..40).collect::<Vec<_>>());
    assert_eq!(numbers(rig.found(TimeRange { from: at(3), to: at(6) }, 100)), [3, 4, 5, 6]);
    rig.flush();
    fleet.sync(&mut rig);
    assert_eq!(numbers(fleet.lines()), (0..40).step_by(4).collect::<Vec<_>>());
    rig.flush();
    let tip = rig.tip(StreamKind::Logs);
    assert_eq!((tip.waiting, tip.have.ranges().len()), (0, 1), "its numbers have no gap");
    assert_eq!(rig.w().tips().len(), 3, "nobody is told of what stays");
    rig.restart();
    assert_eq!(numbers(rig.local()), (0..40).collect::<Vec<_>>());
    assert_eq!(numbers(rig.found(ALL_TIME, 5)), (35..40).collect::<Vec<_>>());
    let now = rig.now;
    assert_eq!(rig.w().stats(now).lost_records, 0);
    assert_eq!(rig.w().ledger().unwrap(), []);
    let rows: i64 = rig.w().db.query_row("SELECT count(*) FROM stream WHERE epoch = 0", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0, "an agent that knows no such policies takes it for history");
}

#[test]
fn a_release_moves_what_is_held_back_once() {
    let mut rig = Rig::with(policies());
    let mut fleet = Fleet::default();
    for n in 0..80 {
        rig.read(vec![line(n)], "");
        if n % 20 == 19 {
            rig.flush();
        }
    }
    // From within the first block to the last, which is not committed yet.
    rig.read((80..90).map(line).collect(), "");
    let range = TimeRange { from: at(11), to: at(86) };
    assert_eq!(rig.release(range), 19);
    assert_eq!(rig.release(range), 0, "nothing twice");
    assert_eq!(rig.release(TimeRange { from: at(0), to: at(9) }), 2, "2 and 6");
    rig.flush();
    fleet.sync(&mut rig);
    let mut arrived = numbers(fleet.lines());
    arrived.sort_unstable();
    let mut expected: Vec<u64> = (0..90).step_by(4).chain((14..=86).step_by(4)).chain([2, 6]).collect();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    assert_eq!(numbers(rig.local()), (0..90).collect::<Vec<_>>(), "each still once");
    rig.crash();
    rig.open();
    assert_eq!(rig.release(ALL_TIME), 1, "10 alone was still held back");
    assert_eq!(numbers(rig.local()), (0..90).collect::<Vec<_>>());
}

#[test]
fn a_long_release_takes_several_transactions() {
    let mut rig = Rig::with(policies());
    for n in 0..60 {
        rig.read(vec![of("held", Level::Info, at(n), noise(n, 60_000))], "");
        rig.flush();
    }
    let (now, tag) = (rig.now, held_by(&rig.config));
    let first = rig.w().release(tag, ALL_TIME, now).unwrap();
    assert!(first.more && first.records < 60, "{first:?}");
    assert_eq!(first.records + rig.release(ALL_TIME), 60);
    assert_eq!(rig.room_of(true), 0);
}

#[test]
fn an_unreadable_block_is_booked_and_the_rest_is_released() {
    let mut rig = Rig::with(policies());
    for n in [2, 6, 10] {
        rig.read(vec![line(n)], "");
        rig.flush();
    }
    let damaged = rig.w().db.execute("UPDATE block SET body = x'00' WHERE epoch = 0 AND t0 = ?1", [at(6).0]);
    assert_eq!(damaged.unwrap(), 1);
    assert_eq!(rig.release(ALL_TIME), 2);
    let loss = rig.losses(StreamKind::Logs, LossReason::Corrupt).unwrap();
    assert_eq!((loss.count, loss.source.as_str()), (Some(1), "kept"));
    assert_eq!(numbers(rig.local()), [2, 10]);
}

#[derive(Debug, Clone)]
enum Op {
    Lines(u64),
    Pass(u64),
    Sync,
    Flush,
    Release(u64, u64),
    Crash,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u64..9).prop_map(Op::Lines),
        2 => (1u64..70).prop_map(Op::Pass),
        2 => Just(Op::Sync),
        2 => Just(Op::Flush),
        3 => (0u64..100, 0u64..40).prop_map(|(from, span)| Op::Release(from, from + span)),
        3 => Just(Op::Crash),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Lines of all kinds with releases and crashes in between: each is on the node once, and at the fleet once or never.
    #[test]
    fn nothing_is_lost_or_doubled_between_the_places(ops in proptest::collection::vec(op(), 1..50)) {
        let (mut rig, mut fleet) = (Rig::with(policies()), Fleet::default());
        let (mut next, mut written, mut released) = (0u64, 0u64, BTreeSet::new());
        let resume = |rig: &Rig| rig.position().map_or(0, |text| text.parse().unwrap());
        let read = |rig: &mut Rig, next: &mut u64, count: u64| {
            rig.read((*next..*next + count).map(line).collect(), &(*next + count).to_string());
            *next += count;
        };
        for op in ops {
            match op {
                Op::Lines(count) => read(&mut rig, &mut next, count),
                Op::Pass(secs) => rig.pass(secs),
                Op::Sync => fleet.sync(&mut rig),
                Op::Flush => rig.flush(),
                Op::Release(from, to) => {
                    let fresh: Vec<u64> = (from..=to)
                        .filter(|n| n % 4 == 2 && *n < next && !released.contains(n))
                        .collect();
                    prop_assert_eq!(rig.release(TimeRange { from: at(from), to: at(to) }), fresh.len() as u64);
                    released.extend(fresh);
                }
                Op::Crash => {
                    rig.crash();
                    rig.open();
                    next = resume(&rig);
                }
                Op::Restart => {
                    rig.restart();
                    next = resume(&rig);
                }
            }
            written = written.max(next);
        }
        rig.restart();
        next = resume(&rig);
        let missing = written - next;
        read(&mut rig, &mut next, missing);
        rig.flush();
        fleet.sync(&mut rig);
        rig.flush();
        prop_assert_eq!(numbers(rig.local()), (0..written).collect::<Vec<_>>(), "each on the node once");
        let mut arrived = numbers(fleet.lines());
        arrived.sort_unstable();
        let expected: Vec<u64> = (0..written).filter(|n| n % 4 == 0 || released.contains(n)).collect();
        prop_assert_eq!(arrived, expected, "each at the fleet once, and no other");
        prop_assert_eq!(rig.tip(StreamKind::Logs).waiting, 0);
        prop_assert!(rig.w().ledger().unwrap().iter().all(|entry| entry.stream == StreamKind::Metrics));
    }
}

#[test]
fn what_stays_has_its_own_room_and_its_end_is_booked_but_for_age() {
    let keep = |kib, days: u64| Retention {
        max_bytes: Bytes::kib(kib),
        max_age: Span::secs(days * 86_400),
        policy: Policy::DropOldest,
    };
    let mut rig = Rig::with(Config { logs: keep(1024, 30), log_kept: keep(128, 2), ..policies() });
    for n in 0..30u64 {
        rig.read(vec![of("debug", Level::Info, at(n), noise(n, 10_000)), of("free", Level::Info, at(n), "x")], "");
        rig.flush();
    }
    assert!(rig.room_of(true) <= 128 << 10);
    let loss = rig.losses(StreamKind::Logs, LossReason::Retention).unwrap();
    let here = rig.local().iter().filter(|line| line.len() > 1).count() as u64;
    assert_eq!((loss.count.unwrap() + here, loss.source.as_str()), (30, "kept"));
    assert!(here >= 10);
    assert_eq!(rig.tip(StreamKind::Logs).waiting, 30, "what is to be shipped is not touched");
    for _ in 0..60 {
        rig.pass(3600);
    }
    rig.read(vec![of("debug", Level::Info, rig.now.wall, "new")], "");
    rig.flush();
    assert_eq!(rig.local().iter().filter(|line| *line != "x").collect::<Vec<_>>(), ["new"]);
    assert_eq!(rig.losses(StreamKind::Logs, LossReason::Retention).unwrap().count, loss.count, "age is no loss");
}

fn budgets(json: &str) -> Config {
    let keep = |kib| Retention { max_bytes: Bytes::kib(kib), max_age: Span::secs(0), policy: Policy::DropOldest };
    let log_budgets = serde_json::from_str(json).unwrap();
    Config {
        max_bytes: Bytes::mib(16),
        metrics: keep(1024),
        events: keep(256),
        logs: keep(4096),
        log_budgets,
        ..Config::default()
    }
}

#[test]
fn a_noisy_source_does_not_push_out_the_others() {
    let lines = |config: Config| {
        let mut rig = Rig::with(config);
        for n in 0..400u64 {
            let records = vec![
                of("noisy", Level::Info, at(n), noise(n, 20_000)),
                of("quiet", Level::Info, at(n), format!("q{n}")),
            ];
            rig.read(records, "");
            rig.flush();
            let room = rig.room_of(false) + rig.room_of(true);
            assert!(room <= 4 << 20, "the total holds: {room}");
        }
        let quiet = rig.local().iter().filter(|line| line.starts_with('q') && line.len() < 9).count();
        let noisy = rig.local().iter().filter(|line| line.len() == 20_000).count();
        let lost = rig.losses(StreamKind::Logs, LossReason::Retention).map_or(0, |loss| loss.count.unwrap());
        assert_eq!(lost, 800 - (quiet + noisy) as u64, "all that is gone is booked");
        (quiet, noisy)
    };
    let (quiet, _) = lines(budgets("[]"));
    assert!(quiet < 300, "without a budget it does: {quiet}");
    let (quiet, noisy) = lines(budgets(r#"[{"match": "{source=\"noisy\"}", "max_bytes": "1MiB"}]"#));
    assert_eq!(quiet, 400);
    // 90 different bytes and their tokens: 20,000 of them take some 18,700.
    assert!((50..=58).contains(&noisy), "{noisy} in 1 MiB");
}

#[test]
fn a_budget_that_blocks_stops_its_source_alone_and_opens_again() {
    let source = |name: &str| Labels::new([("source", name)]).unwrap();
    let gate = |rig: &mut Rig| {
        let list = std::sync::Arc::new(rig.w().log_gate());
        let gate = crate::data::LogGate::new(tokio::sync::watch::channel(list).1);
        ["dear", "free"].map(|name| gate.is_closed(&source(name)))
    };
    let mut rig = Rig::with(budgets(r#"[{"match": "{source=\"dear\"}", "max_bytes": "512KiB", "policy": "block"}]"#));
    let mut fleet = Fleet::default();
    let mut written = 0;
    while gate(&mut rig) == [false, false] {
        rig.read(vec![of("dear", Level::Info, at(written), noise(written, 20_000))], "");
        rig.flush();
        written += 1;
        assert!(written < 100);
    }
    assert_eq!(gate(&mut rig), [true, false]);
    assert!(!rig.w().logs_wait(), "the others go on");
    // Others fill all the rest, and the disk's cap is met as well: what was promised stays.
    for n in 0..500 {
        rig.read(vec![of("free", Level::Info, at(n), noise(n + 1000, 20_000))], "");
        rig.flush();
    }
    // What its source had in hand comes all the same.
    for n in written..written + 50 {
        rig.read(vec![of("dear", Level::Info, at(n), noise(n, 20_000))], "");
        rig.flush();
    }
    assert!(rig.room_of(false) <= 4 << 20);
    fleet.sync(&mut rig);
    let dear: Vec<String> = (0..written + 50).map(|n| noise(n, 20_000)).collect();
    let arrived: BTreeSet<String> = fleet.lines().into_iter().collect();
    assert!(dear.iter().all(|line| arrived.contains(line)), "none of its lines is lost");
    assert_eq!(gate(&mut rig), [false, false], "what is delivered makes room");
    assert!(rig.losses(StreamKind::Logs, LossReason::Retention).is_some(), "the others paid");
}

#[test]
fn a_full_disk_spares_what_was_promised_and_books_what_stays() {
    // The rooms add up to more than the file may grow to.
    let keep = |kib| Retention { max_bytes: Bytes::kib(kib), max_age: Span::secs(0), policy: Policy::DropOldest };
    let log_budgets =
        serde_json::from_str(r#"[{"match": "{source=\"dear\"}", "max_bytes": "300KiB", "policy": "block"}]"#);
    let mut rig = Rig::with(Config {
        max_bytes: Bytes::kib(1024),
        metrics: keep(64),
        events: keep(64),
        logs: keep(896),
        log_kept: keep(896),
        log_budgets: log_budgets.unwrap(),
        ..policies()
    });
    for n in 0..10 {
        rig.read(vec![of("dear", Level::Info, at(n), noise(n, 20_000))], "");
        rig.flush();
    }
    for n in 0..120 {
        rig.read(vec![of(["debug", "free"][n as usize % 2], Level::Info, at(n), noise(n + 50, 20_000))], "");
        rig.flush();
    }
    assert!(std::fs::metadata(rig.path()).unwrap().len() <= 1024 << 10);
    let now = rig.now;
    assert_eq!(rig.w().stats(now).last_error, None);
    let here: BTreeSet<String> = rig.local().into_iter().collect();
    assert!((0..10).all(|n| here.contains(&noise(n, 20_000))));
    let ledger = rig.w().ledger().unwrap();
    let lost: u64 = ledger.iter().filter(|loss| loss.stream == StreamKind::Logs).map(|loss| loss.count.unwrap()).sum();
    assert_eq!(lost + here.len() as u64, 130, "{ledger:?}");
    assert!(ledger.iter().any(|loss| loss.source == "kept"));
    rig.restart();
    assert_eq!(rig.local().len(), here.len());
}

#[test]
fn a_clock_that_jumps_costs_nothing_and_order_within_a_source_stays() {
    const YEAR: u64 = 365 * 86_400;
    let mut rig = Rig::with(policies());
    let mut fleet = Fleet::default();
    for n in 0..8 {
        rig.read(vec![line(n)], "");
    }
    rig.flush();
    fleet.sync(&mut rig);
    rig.flush();
    // A year ahead for an hour, with commits in between; then mended.
    let right = rig.now.wall;
    rig.now.wall = right + Duration::from_secs(80 * YEAR);
    for _ in 0..6 {
        rig.pass(600);
        rig.read(
            vec![of("app", Level::Error, rig.now.wall, "ahead"), of("debug", Level::Info, rig.now.wall, "ahead")],
            "",
        );
        rig.flush();
    }
    assert_eq!(numbers(rig.local().into_iter().filter(|line| line != "ahead")), (0..8).collect::<Vec<_>>());
    // Not even over a start.
    rig.restart();
    rig.flush();
    rig.now.wall = right + Duration::from_secs(3600);
    rig.read(vec![of("app", Level::Error, rig.now.wall, "mended"), of("app", Level::Error, UnixMillis(0), "1970")], "");
    rig.flush();
    let fresh = fleet.lines().len();
    fleet.sync(&mut rig);
    assert_eq!(
        fleet.lines()[fresh..],
        ["ahead", "ahead", "ahead", "ahead", "ahead", "ahead", "mended", "1970"],
        "as read"
    );
    let hour = TimeRange { from: right, to: rig.now.wall };
    assert_eq!(rig.found(hour, 100).last().map(String::as_str), Some("mended"), "found by its own time");
    assert_eq!(rig.found(TimeRange { from: UnixMillis(0), to: UnixMillis(1) }, 100), ["1970"]);
    // Once a right clock has run for long, age takes what is old, though blocks with times far ahead are in between.
    for _ in 0..24 * 40 {
        rig.pass(3600);
    }
    rig.read(vec![of("app", Level::Error, rig.now.wall, "last")], "");
    rig.flush();
    let left = rig.local();
    assert!(left.iter().all(|line| line == "ahead" || line == "last"), "{left:?}");
}

#[test]
fn the_ends_of_time_are_stored_found_and_aged_like_any_other() {
    let mut rig = Rig::with(policies());
    let times = [UnixMillis(i64::MIN), UnixMillis(0), at(0), UnixMillis(4_291_747_200_000), UnixMillis(i64::MAX)];
    for source in ["app", "debug", "held"] {
        rig.read(times.iter().map(|at| of(source, Level::Error, *at, at.0.to_string())).collect(), "");
        rig.flush();
    }
    for time in times {
        assert_eq!(rig.found(TimeRange::at(time), 10), vec![time.0.to_string(); 3]);
    }
    assert_eq!(rig.release(TimeRange::at(UnixMillis(i64::MAX))), 1);
    assert_eq!(rig.release(TimeRange::at(UnixMillis(i64::MIN))), 1);
    assert_eq!(rig.release(TimeRange { from: UnixMillis(1), to: at(1) }), 1);
    rig.restart();
    assert_eq!(rig.local().len(), 15);
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.lines().len(), 5 + 3);
}
