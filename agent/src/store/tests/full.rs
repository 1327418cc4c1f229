//! Room: retention, the database's cap, a disk that takes nothing.

use super::*;

fn small(max_bytes: u64, metrics: u64, logs: u64, policy: Policy) -> Config {
    let keep = |kib, policy| Retention { max_bytes: Bytes::kib(kib), max_age: Span::secs(86_400), policy };
    Config {
        max_bytes: Bytes::kib(max_bytes),
        metrics: keep(metrics, Policy::DropOldest),
        logs: keep(logs, policy),
        events: keep(64, Policy::DropOldest),
        ..Config::default()
    }
}

/// Lines that do not compress.
pub(super) fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(33 + (state % 90) as u8)
    };
    (0..bytes).map(|_| next()).collect()
}

fn log_room(rig: &mut Rig) -> u64 {
    rig.w().streams.iter().filter(|s| s.kind == StreamKind::Logs).map(|s| s.bytes).sum()
}

#[test]
fn the_oldest_go_into_the_ledger_and_come_as_gone() {
    let mut rig = Rig::with(small(4096, 64, 256, Policy::DropOldest));
    for n in 0..40 {
        rig.log(&[&noise(n, 20_000)], &n.to_string());
        rig.flush();
    }
    assert!(log_room(&mut rig) <= 256 << 10);
    let loss = rig.losses(StreamKind::Logs, LossReason::Retention).unwrap();
    let tip = rig.tip(StreamKind::Logs);
    assert_eq!((tip.first, tip.waiting), (Seq(1), 40), "what is gone still has to be told");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let gone = fleet.of(StreamKind::Logs).iter().filter(|c| ***c == Content::Gone(LossReason::Retention)).count();
    assert_eq!(loss.count, Some(gone as u64));
    assert_eq!(gone + fleet.lines().len(), 40);
    assert_eq!(fleet.lines(), (gone as u64..40).map(|n| noise(n, 20_000)).collect::<Vec<_>>(), "the newest stay");
    let told: u64 = fleet
        .events()
        .iter()
        .filter_map(|kind| match kind {
            EventKind::Loss(entry) if entry.reason == LossReason::Retention => entry.count,
            _ => None,
        })
        .sum();
    assert_eq!(told, gone as u64);
    rig.restart();
    assert_eq!(rig.tip(StreamKind::Logs).waiting, 0);
}

#[test]
fn delivered_blocks_go_silently_and_first() {
    let mut rig = Rig::with(small(4096, 64, 256, Policy::DropOldest));
    for n in 0..8 {
        rig.log(&[&noise(n, 20_000)], "");
        rig.flush();
    }
    let tip = rig.tip(StreamKind::Logs);
    rig.ack(&tip, &[(5, 8)]);
    for n in 8..14 {
        rig.log(&[&noise(n, 20_000)], "");
        rig.flush();
    }
    assert_eq!(rig.losses(StreamKind::Logs, LossReason::Retention), None);
    let tip = rig.tip(StreamKind::Logs);
    assert_eq!((tip.first, tip.waiting), (Seq(1), 10), "1 to 4 and 9 to 14 are all there");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert!(fleet.lines().len() >= 10);
}

#[test]
fn half_delivered_blocks_lose_their_other_half() {
    let mut rig = Rig::with(small(4096, 64, 256, Policy::DropOldest));
    rig.scrapes(3, 4);
    rig.scrapes(1, 2);
    let tip = rig.tip(StreamKind::Metrics);
    rig.ack(&tip, &[(1, 2)]);
    // Series of their own, each with a value of its own: blocks that are large.
    while rig.losses(StreamKind::Metrics, LossReason::Retention).is_none() {
        let at = rig.now.wall;
        let observe = |n: usize| {
            let noise = noise(n as u64 ^ at.0 as u64, 8);
            let bits = noise.bytes().fold(1, |sum, b| u64::wrapping_add(u64::wrapping_mul(sum, 251), u64::from(b)));
            (series(n), f64::from_bits(bits))
        };
        let scrape = Scrape { at, values: (0..500).map(observe).collect() };
        let now = rig.now;
        rig.w().append_scrape(&scrape, Pace::Round, now);
        rig.flush();
        rig.pass(15);
    }
    let loss = rig.losses(StreamKind::Metrics, LossReason::Retention).unwrap();
    assert_eq!(loss.count.unwrap() % 500, 6, "the third scrape's 4 and the fourth's 2, then whole ones of 500");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert!(!fleet.content.contains_key(&(StreamKind::Metrics, tip.epoch, Seq(2))));
    let third = &fleet.content[&(StreamKind::Metrics, tip.epoch, Seq(3))];
    assert_eq!(*third, Content::Gone(LossReason::Retention));
}

#[test]
fn age_takes_what_is_delivered_alone() {
    let mut rig = Rig::with(small(4096, 64, 256, Policy::DropOldest));
    rig.log(&["delivered"], "");
    rig.flush();
    rig.log(&["not delivered"], "");
    rig.flush();
    let tip = rig.tip(StreamKind::Logs);
    rig.ack(&tip, &[(1, 1)]);
    rig.pass(90_000);
    rig.log(&["new"], "");
    rig.flush();
    assert_eq!(rig.blocks(StreamKind::Logs), 2);
    assert_eq!(rig.losses(StreamKind::Logs, LossReason::Retention), None);
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.lines(), ["not delivered", "new"]);
}

#[test]
fn series_that_fell_silent_stay_for_the_rows_that_wait_in_memory() {
    let mut rig = Rig::with(Config { max_series: 2, ..small(4096, 64, 256, Policy::DropOldest) });
    rig.scrape_of([0, 1]);
    rig.flush();
    let tip = rig.tip(StreamKind::Metrics);
    rig.ack(&tip, &[(1, 1)]);
    rig.pass(80_000);
    // No room for a third: who is silent for one scrape is retired, also where a row of it was not written yet.
    rig.scrape_of([0, 1]);
    rig.scrape_of([0]);
    rig.scrape_of([0, 5]);
    let now = rig.now;
    rig.w().append_events(vec![Event { at: now.wall, kind: EventKind::Stopped }], now).unwrap();
    assert_eq!(rig.blocks(StreamKind::Metrics), 1, "events alone were written");
    rig.flush();
    assert_eq!(rig.blocks(StreamKind::Metrics), 2);
    rig.pass(10_000);
    rig.scrape_of([0]);
    rig.flush();
    assert_eq!(rig.blocks(StreamKind::Metrics), 2, "the first block is gone for its age");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let Some(Content::Scrape(_, values)) = fleet.content.get(&(StreamKind::Metrics, tip.epoch, Seq(2))) else {
        panic!("{:?}", fleet.content)
    };
    assert_eq!(values.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>(), [series(0), series(1)]);
}

#[test]
fn series_are_forgotten_with_the_last_block_that_needs_them() {
    let mut rig = Rig::with(Config { max_series: 4, ..small(4096, 64, 256, Policy::DropOldest) });
    rig.scrapes(4, 4);
    rig.flush();
    let mut fleet = Fleet::default();
    let stored =
        |rig: &mut Rig| -> i64 { rig.w().db.query_row("SELECT count(*) FROM series", [], |row| row.get(0)).unwrap() };
    // A set of series a day.
    for day in 1..6 {
        for _ in 0..8 {
            rig.pass(10_000);
            let observe = |n: usize| (series(day * 100 + n), 1.0);
            let scrape = Scrape { at: rig.now.wall, values: (0..4).map(observe).collect() };
            let now = rig.now;
            rig.w().append_scrape(&scrape, Pace::Round, now);
            rig.flush();
        }
        fleet.sync(&mut rig);
    }
    assert!(stored(&mut rig) <= 12, "{}", stored(&mut rig));
    rig.restart();
    assert_eq!(rig.tip(StreamKind::Metrics).waiting, 0);
    rig.scrapes(1, 4);
    fleet.sync(&mut rig);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 4 + 5 * 8 + 1, "labels that are needed are still there");
}

#[test]
fn under_block_the_inputs_wait_and_nothing_is_lost() {
    let mut rig = Rig::with(small(4096, 64, 256, Policy::Block));
    let mut written = 0;
    while !rig.w().logs_wait() {
        rig.log(&[&noise(written, 20_000)], &written.to_string());
        rig.flush();
        written += 1;
        assert!(written < 100);
    }
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.lines().len() as u64, written);
    assert!(!rig.w().logs_wait(), "what is delivered makes room");
    rig.log(&[&noise(written, 20_000)], "");
    rig.flush();
    fleet.sync(&mut rig);
    assert_eq!(fleet.lines().len() as u64, written + 1);
    assert_eq!(rig.losses(StreamKind::Logs, LossReason::Retention), None);
}

#[test]
fn at_the_cap_of_the_file_the_oldest_makes_room_and_the_file_does_not_grow() {
    // The streams' own rooms add up to the cap, so the tables' overhead exceeds it.
    let mut rig = Rig::with(small(1024, 320, 640, Policy::DropOldest));
    for n in 0..120u64 {
        rig.log(&[&noise(n, 20_000)], "");
        rig.pass(15);
        rig.scrape(300);
        rig.flush();
    }
    let size = std::fs::metadata(rig.path()).unwrap().len();
    assert!(size <= 1024 << 10, "{size}");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 120);
    assert_eq!(fleet.of(StreamKind::Logs).len(), 120);
    let now = rig.now;
    assert_eq!(rig.w().stats(now).last_error, None);
    let gone = |stream| fleet.of(stream).iter().filter(|c| matches!(c, Content::Gone(_))).count() as u64;
    let booked: u64 =
        rig.w().ledger().unwrap().iter().filter(|e| e.stream == StreamKind::Logs).map(|e| e.count.unwrap()).sum();
    assert_eq!(gone(StreamKind::Logs), booked);
}

#[test]
fn while_the_disk_takes_nothing_memory_is_bounded_and_all_is_booked() {
    let mut rig = Rig::with(Config::default());
    rig.scrapes(4, 10);
    // As good as a full disk, and nothing to evict that would help.
    rig.w()
        .db
        .execute_batch("CREATE TEMP TRIGGER full BEFORE INSERT ON main.block BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let now = rig.now;
    let error = rig.w().append_events(vec![Event { at: now.wall, kind: EventKind::Stopped }], now).unwrap_err();
    assert!(error.to_string().contains("agent.db"), "{error}");
    rig.log(&["waits"], "1");
    let rounds = 30;
    rig.scrapes(rounds, 10_000);
    let long = "x".repeat(260 << 10);
    rig.log(&[&long], "2");
    rig.pass(60);
    assert!(rig.w().logs_wait(), "files keep their lines");
    let stats = rig.w().stats(now);
    assert!(stats.failed_commits > 5 && stats.last_error.is_some());
    rig.w().db.execute_batch("DROP TRIGGER full").unwrap();
    rig.pass(60);
    assert_eq!(rig.w().stats(now).last_error, None);
    assert!(!rig.w().logs_wait());
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.lines(), ["waits", &long[..256 << 10]]);
    assert!(fleet.events().contains(&&EventKind::Stopped));
    let kept = fleet.of(StreamKind::Metrics).len() - 4;
    let lost = rig.losses(StreamKind::Metrics, LossReason::DiskFull).unwrap();
    assert_eq!(lost.count, Some(10_000 * (rounds - kept) as u64));
    assert!(kept > 10 && kept < rounds, "{kept}");
}

#[test]
fn delivered_scrapes_leave_memory_while_the_disk_takes_nothing() {
    let mut rig = Rig::with(Config::default());
    let mut fleet = Fleet::default();
    rig.w()
        .db
        .execute_batch("CREATE TEMP TRIGGER full BEFORE INSERT ON main.block BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    for _ in 0..30 {
        rig.scrapes(1, 10_000);
        fleet.sync(&mut rig);
    }
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 30, "the centre has them all");
    rig.w().db.execute_batch("DROP TRIGGER full").unwrap();
    rig.pass(60);
    rig.scrapes(4, 10_000);
    rig.restart();
    fleet.sync(&mut rig);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 34);
    assert_eq!(rig.losses(StreamKind::Metrics, LossReason::DiskFull), None);
}

#[test]
fn spending_above_the_write_budget_makes_commits_rarer() {
    let blocks = |budget: u64| {
        let mut rig = Rig::with(Config { write_budget: Bytes(budget), ..Config::default() });
        for n in 0..240 {
            rig.pass(15);
            rig.log(&[&noise(n, 3000)], "");
        }
        let now = rig.now;
        (rig.blocks(StreamKind::Logs), rig.w().stats(now).commit_factor)
    };
    let (unlimited, factor) = blocks(0);
    assert_eq!(factor, 1.0);
    let (limited, factor) = blocks(1 << 20);
    assert_eq!(factor, 4.0);
    assert!(limited < unlimited / 2, "{limited} of {unlimited}");
}
