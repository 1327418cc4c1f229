//! What goes out, and what acknowledgements do.

use super::*;

#[test]
fn scrapes_are_sent_from_memory_and_read_the_same_from_disk() {
    let mut rig = Rig::new();
    let scrapes: Vec<Scrape> = (0..3)
        .map(|n| {
            rig.pass(10);
            rig.scrape(5 + n)
        })
        .collect();
    let tip = rig.tip(StreamKind::Metrics);
    assert_eq!((tip.first, tip.next, tip.waiting, tip.oldest), (Seq(1), Seq(4), 3, Some(scrapes[0].at)));
    assert_eq!(rig.blocks(StreamKind::Metrics), 0, "still in memory");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    rig.flush();
    assert_eq!(rig.blocks(StreamKind::Metrics), 1);
    let mut again = Fleet::default();
    again.sync(&mut rig);
    let expected: Vec<Content> = scrapes.iter().map(content).collect();
    assert_eq!(fleet.of(StreamKind::Metrics), expected.iter().collect::<Vec<_>>());
    assert_eq!(fleet.content, again.content);
}

#[test]
fn a_batch_begins_where_it_is_asked_to_and_fits() {
    let mut rig = Rig::new();
    rig.scrapes(8, 200);
    let tip = rig.tip(StreamKind::Metrics);
    assert_eq!(rig.blocks(StreamKind::Metrics), 2, "four at a time while nobody acknowledges");
    let numbers = |batch: Option<Batch>| batch.map(|batch| (batch.from.0, batch.to.0));
    let high = Some(SeriesId(1000));
    assert_eq!(numbers(rig.load(&tip, 1, high, 1 << 20)), Some((1, 4)));
    assert_eq!(numbers(rig.load(&tip, 3, high, 1 << 20)), Some((3, 4)));
    assert_eq!(numbers(rig.load(&tip, 5, high, 1 << 20)), Some((5, 8)));
    assert_eq!(numbers(rig.load(&tip, 9, high, 1 << 20)), None);
    assert_eq!(numbers(rig.load(&tip, 2, high, 1)), Some((2, 2)), "one number in any case");
    rig.pass(15);
    rig.scrape(200);
    assert_eq!(numbers(rig.load(&tip, 9, high, 1 << 20)), Some((9, 9)), "from memory");
    let whole = rig.load(&tip, 1, high, 1 << 20).unwrap();
    let Body::Block(bytes) = whole.body else { panic!("a block was stored") };
    let room = 1024 + bytes.len() - 1;
    let cut = rig.load(&tip, 1, high, room).unwrap();
    assert_eq!((cut.from.0, cut.to.0), (1, 2), "halved until it fits");
    let unknown = Tip { epoch: Epoch(4711), ..tip };
    assert_eq!(rig.load(&unknown, 1, None, 1 << 20), None);
}

#[test]
fn the_dictionary_comes_once() {
    let mut rig = Rig::new();
    rig.scrapes(4, 3);
    rig.scrapes(1, 5);
    let tip = rig.tip(StreamKind::Metrics);
    let dict = |rig: &mut Rig, at, known: Option<u32>| {
        let batch = rig.load(&tip, at, known.map(SeriesId), 1 << 20).unwrap();
        if batch.dict.is_empty() {
            return vec![];
        }
        let entries = skerry_chunk::dict::decode(&batch.dict, &Limits::default()).unwrap();
        entries.into_iter().map(|(id, labels)| (id.0, labels.value("n").to_owned())).collect::<Vec<_>>()
    };
    let entry = |id: u32| (id, (id - 1).to_string());
    assert_eq!(dict(&mut rig, 1, None), [1, 2, 3].map(entry));
    assert_eq!(dict(&mut rig, 1, Some(2)), [entry(3)]);
    assert_eq!(dict(&mut rig, 1, Some(3)), []);
    assert_eq!(dict(&mut rig, 5, Some(3)), [4, 5].map(entry), "not committed yet");
    assert_eq!(dict(&mut rig, 5, None), [1, 2, 3, 4, 5].map(entry), "some committed, some not");
    rig.flush();
    assert_eq!(dict(&mut rig, 5, Some(3)), [4, 5].map(entry));
}

#[test]
fn acknowledged_scrapes_wait_for_a_full_block_and_unacknowledged_ones_do_not() {
    let mut rig = Rig::new();
    let mut fleet = Fleet::default();
    for n in 1..=19 {
        rig.scrapes(1, 3);
        fleet.sync(&mut rig);
        assert_eq!(rig.blocks(StreamKind::Metrics), 0, "after {n} scrapes");
    }
    rig.scrapes(1, 3);
    assert_eq!(rig.blocks(StreamKind::Metrics), 1);
    let tip = rig.tip(StreamKind::Metrics);
    assert_eq!((tip.waiting, tip.oldest), (1, Some(rig.now.wall)));
    fleet.sync(&mut rig);
    rig.scrapes(4, 3);
    assert_eq!(rig.blocks(StreamKind::Metrics), 2);
}

#[test]
fn acknowledgements_survive_a_restart() {
    let mut rig = Rig::new();
    rig.scrapes(4, 3);
    let tip = rig.tip(StreamKind::Metrics);
    rig.ack(&tip, &[(1, 2), (4, 4)]);
    rig.ack(&tip, &[(1, 2)]);
    rig.restart();
    let tip = rig.tip(StreamKind::Metrics);
    assert_eq!((tip.have.ranges(), tip.waiting, tip.next), (&[(1, 2), (4, 4)][..], 1, Seq(5)));
    rig.ack(&tip, &[(3, 900)]);
    let tip = rig.tip(StreamKind::Metrics);
    assert_eq!((tip.waiting, tip.have.through()), (0, 4), "numbers not given out are not believed");
    assert_eq!(rig.blocks(StreamKind::Metrics), 1, "acknowledged data stays as history");
}

#[test]
fn logs_wait_for_time_or_bytes_and_come_back_equal() {
    let mut rig = Rig::new();
    rig.log(&["one", "", "zw\u{f6}lf \u{0}"], "3");
    rig.pass(59);
    assert_eq!(rig.tip(StreamKind::Logs).next, Seq(1));
    rig.pass(1);
    assert_eq!(rig.tip(StreamKind::Logs).next, Seq(2));
    let long = "x".repeat(100 << 10);
    rig.log(&[&long, &long], "5");
    assert_eq!(rig.tip(StreamKind::Logs).next, Seq(2));
    rig.log(&[&long], "6");
    assert_eq!(rig.tip(StreamKind::Logs).next, Seq(2), "what comes within a second shares a commit");
    rig.pass(1);
    assert_eq!(rig.tip(StreamKind::Logs).next, Seq(3), "256 KiB are enough");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.lines(), ["one", "", "zw\u{f6}lf \u{0}", &long, &long, &long]);
}

#[test]
fn a_backlog_is_committed_in_large_pieces_and_memory_does_not_grow_with_it() {
    let mut rig = Rig::new();
    let line: String = (0..40_000u32).map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761))).collect();
    let lines: Vec<&str> = line.as_bytes().chunks(200).map(|piece| str::from_utf8(piece).unwrap()).collect();
    let (mut sent, mut commits, mut most) = (0, 0, 0);
    for n in 0..60 {
        let before = rig.tip(StreamKind::Logs).next;
        rig.log(&lines, &n.to_string());
        sent += lines.len();
        let now = rig.now;
        most = most.max(rig.w().stats(now).log_bytes_waiting);
        commits += usize::from(rig.tip(StreamKind::Logs).next != before);
    }
    assert!((2..=20).contains(&commits), "{commits} commits of {} MB", sent * 200 / 1_000_000);
    assert!(most < 10 << 20, "{most} bytes wait");
    rig.flush();
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let expected: Vec<&str> = lines.iter().copied().cycle().take(sent).collect();
    assert!(fleet.lines() == expected, "every line in its order");
}

#[test]
fn a_long_line_is_cut_and_booked_and_blocks_fit_messages() {
    let mut rig = Rig::new();
    let huge = "y".repeat(3 << 20);
    rig.log(&[&huge], "1");
    let wide = "z".repeat(200 << 10);
    rig.log(&[wide.as_str(); 9], "2");
    rig.flush();
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let lengths: Vec<usize> = fleet.lines().iter().map(String::len).collect();
    assert_eq!(lengths, [&[256 << 10][..], &[200 << 10; 9]].concat());
    let loss = rig.losses(StreamKind::Logs, LossReason::Oversize).unwrap();
    assert_eq!((loss.count, loss.source.as_str()), (Some(1), "/x.log"));
    assert!(fleet.events().iter().any(|kind| matches!(kind, EventKind::Loss(entry) if *entry == loss)));
}

#[test]
fn series_beyond_the_limit_are_booked() {
    let mut rig = Rig::with(Config { max_series: 10, ..Config::default() });
    rig.scrapes(2, 13);
    rig.flush();
    let loss = rig.losses(StreamKind::Metrics, LossReason::SeriesLimit).unwrap();
    assert_eq!(loss.count, Some(6));
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let Content::Scrape(_, values) = fleet.of(StreamKind::Metrics)[0].clone() else { panic!("a scrape was sent") };
    assert_eq!(values.len(), 10);
}

#[test]
fn silent_series_give_way_and_numbers_are_never_used_again() {
    let mut rig = Rig::with(Config { max_series: 4, ..Config::default() });
    rig.scrapes(4, 4);
    rig.flush();
    for _ in 0..4 {
        rig.pass(15);
        let other = |n: usize| (series(100 + n), 1.0);
        let scrape = Scrape { at: rig.now.wall, values: (0..4).map(other).collect() };
        let now = rig.now;
        rig.w().append_scrape(&scrape, Pace::Round, now);
        rig.w().tick(now);
    }
    rig.flush();
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let ids: Vec<u32> = fleet.dict[&rig.tip(StreamKind::Metrics).epoch].keys().map(|id| id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8]);
    rig.restart();
    rig.scrapes(1, 4);
    rig.flush();
    rig.scrapes(1, 4);
    rig.flush();
    fleet.sync(&mut rig);
    assert_eq!(fleet.dict_known(rig.tip(StreamKind::Metrics).epoch), Some(SeriesId(12)));
}

#[test]
fn a_scrape_without_values_and_a_clock_set_back_are_kept_as_they_are() {
    let mut rig = Rig::new();
    let empty = rig.scrape(0);
    rig.now.wall = UnixMillis(rig.now.wall.0 - 86_400_000);
    let earlier = rig.scrape(2);
    let same = rig.scrape(2);
    rig.restart();
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let expected: Vec<Content> = [&empty, &earlier, &same].map(content).into();
    assert_eq!(fleet.of(StreamKind::Metrics), expected.iter().collect::<Vec<_>>());
}

#[test]
fn state_changes_with_its_events_or_not_at_all() {
    let mut rig = Rig::new();
    let now = rig.now;
    let event = Event { at: now.wall, kind: EventKind::Stopped };
    let set = |key: &str, value: Option<&[u8]>| vec![(key.to_owned(), value.map(<[u8]>::to_vec))];
    rig.w().put_state(set("floor", Some(b"7")), vec![event], now).unwrap();
    rig.w().put_state(set("running", Some(b"mine")), vec![], now).unwrap();
    rig.crash();
    rig.open();
    assert_eq!(rig.w().state("floor").unwrap().as_deref(), Some(&b"7"[..]));
    assert_eq!(rig.w().state("running").unwrap().as_deref(), Some(&b"mine"[..]), "the store's own keys are apart");
    rig.w().put_state(set("floor", None), vec![], now).unwrap();
    assert_eq!(rig.w().state("floor").unwrap(), None);
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert!(fleet.events().contains(&&EventKind::Stopped));
}
