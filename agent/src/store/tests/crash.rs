//! What an unclean stop leaves.

use super::*;

#[test]
fn a_clean_stop_goes_on_in_its_epochs() {
    let mut rig = Rig::new();
    rig.scrapes(3, 3);
    rig.log(&["a"], "1");
    let before = rig.w().tips();
    rig.restart();
    assert!(rig.restored.as_ref().unwrap().clean);
    let after = rig.w().tips();
    let epochs = |tips: &[Tip]| tips.iter().map(|tip| (tip.stream, tip.epoch)).collect::<BTreeMap<_, _>>();
    assert_eq!(epochs(&before), epochs(&after));
    assert_eq!((rig.tip(StreamKind::Metrics).next, rig.tip(StreamKind::Logs).next), (Seq(4), Seq(2)));
    assert_eq!(rig.losses(StreamKind::Metrics, LossReason::Crash), None);
    assert_eq!(rig.position().as_deref(), Some("1"));
}

#[test]
fn a_crash_begins_a_new_epoch_of_samples_alone_and_says_so() {
    let mut rig = Rig::new();
    let mut fleet = Fleet::default();
    rig.scrapes(4, 3);
    let committed = rig.now.wall;
    rig.scrapes(2, 3);
    rig.log(&["a", "b"], "2");
    fleet.sync(&mut rig);
    let tips = rig.w().tips();
    rig.crash();
    rig.pass_without_store(100);
    rig.open();
    assert!(!rig.restored.as_ref().unwrap().clean);
    let epoch = |tips: &[Tip], kind| tips.iter().find(|tip| tip.stream == kind && tip.current).unwrap().epoch;
    let now = rig.w().tips();
    assert_ne!(epoch(&tips, StreamKind::Metrics), epoch(&now, StreamKind::Metrics));
    assert_eq!(epoch(&tips, StreamKind::Logs), epoch(&now, StreamKind::Logs));
    assert_eq!(epoch(&tips, StreamKind::Events), epoch(&now, StreamKind::Events));
    let loss = rig.losses(StreamKind::Metrics, LossReason::Crash).unwrap();
    assert_eq!((loss.count, loss.range), (None, TimeRange { from: committed, to: rig.now.wall }));
    assert_eq!(rig.position(), None, "lines in memory are read again from their file");
    let old = now.iter().find(|tip| tip.stream == StreamKind::Metrics && !tip.current).unwrap();
    assert_eq!((old.next, old.waiting), (Seq(5), 4), "the acknowledgement was in memory, the four scrapes were not");
    rig.scrapes(1, 3);
    fleet.sync(&mut rig);
    rig.flush();
    assert_eq!(rig.w().tips().len(), 3, "the old epoch is complete and forgotten");
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 7);
    rig.restart();
    assert_eq!(rig.w().tips().len(), 3);
    assert_eq!(rig.blocks(StreamKind::Metrics), 2, "its history stays");
}

#[test]
fn runs_that_end_before_their_first_block_use_the_same_numbers() {
    let numbered = |rig: &mut Rig| {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
        rig.w().db.query_row("SELECT count(*) FROM series", [], read).unwrap()
    };
    let mut rig = Rig::new();
    rig.scrapes(1, 3);
    rig.flush();
    for _ in 0..5 {
        rig.crash();
        rig.open();
        rig.scrapes(1, 3);
        assert_eq!((numbered(&mut rig), rig.blocks(StreamKind::Metrics)), (3, 1));
    }
    rig.flush();
    assert_eq!((numbered(&mut rig), rig.blocks(StreamKind::Metrics)), (3, 2));
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 2);
}

#[test]
fn a_new_epoch_names_only_what_its_rows_use() {
    let mut rig = Rig::new();
    // Series that live for one run, and two that stay.
    for run in 0..6 {
        rig.scrape_of((run * 100..run * 100 + 50).chain([7_000, 7_001]));
        rig.flush();
        rig.scrape_of([7_000, 7_001]);
        rig.flush();
        rig.crash();
        rig.open();
    }
    let named = |rig: &mut Rig| {
        let tip = rig.tip(StreamKind::Metrics);
        let batch = rig.load(&tip, 1, None, MESSAGE_BYTES_MAX).unwrap();
        skerry_chunk::dict::decode(&batch.dict, &Limits::default()).unwrap().len()
    };
    rig.scrape_of([7_000, 7_001, 8_000]);
    assert_eq!(named(&mut rig), 3, "of the 303 that stored blocks use");
    rig.flush();
    rig.crash();
    rig.open();
    rig.scrape_of([7_000, 7_001, 1]);
    assert_eq!(named(&mut rig), 4);
    rig.flush();
    rig.scrape_of([7_000, 2]);
    assert_eq!(named(&mut rig), 4);
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 6 * 2 + 3);
}

#[test]
fn positions_stand_exactly_behind_the_stored_lines() {
    let mut rig = Rig::new();
    rig.log(&["1", "2"], "2");
    rig.flush();
    rig.log(&["3"], "3");
    rig.crash();
    rig.open();
    assert_eq!(rig.position().as_deref(), Some("2"));
    rig.log(&["3"], "3");
    let now = rig.now;
    let event = Event { at: now.wall, kind: EventKind::Stopped };
    rig.w().append_events(vec![event], now).unwrap();
    rig.crash();
    rig.open();
    assert_eq!(rig.position().as_deref(), Some("2"), "a commit of other things does not take positions along");
    rig.log(&[], "7");
    rig.flush();
    rig.crash();
    rig.open();
    assert_eq!(rig.position().as_deref(), Some("7"), "a position without lines is kept too");
    let forget =
        LogInput { positions: vec![PositionUpdate { key: "file".into(), state: None }], ..LogInput::default() };
    rig.w().append_logs(forget, now);
    rig.restart();
    assert_eq!(rig.position(), None);
}

#[test]
fn a_run_that_stored_nothing_is_a_gap_from_its_start() {
    let mut rig = Rig::new();
    rig.scrapes(4, 1);
    rig.close();
    rig.pass_without_store(86_400);
    rig.open();
    let began = rig.now.wall;
    rig.scrapes(1, 1);
    rig.crash();
    rig.open();
    let loss = rig.losses(StreamKind::Metrics, LossReason::Crash).unwrap();
    assert_eq!(loss.range, TimeRange { from: began, to: rig.now.wall }, "not the night it was switched off");
}

#[test]
fn a_second_process_is_kept_out() {
    let mut rig = Rig::new();
    let error = Writer::open(&rig.path(), Config::default(), rig.now, || 1).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    rig.drop_writer();
    rig.open();
}

impl Rig {
    fn pass_without_store(&mut self, secs: u64) {
        let span = Duration::from_secs(secs);
        self.now = Now { wall: self.now.wall + span, mono: Mono(50) };
    }
}
