//! Rotation, while the agent runs and while it is down.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_renamed_file_is_read_to_its_end_and_its_grace() {
    let mut rig = Rig::new();
    let mut old = rig.writer("a.log");
    old.write_all(b"1\n").unwrap();
    rig.poll_after(0);
    old.write_all(b"2\n").unwrap();
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "4\n");
    old.write_all(b"3\n").unwrap();
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
    // The writer still holds the old file within the grace period.
    old.write_all(b"late\nunended").unwrap();
    rig.poll_after(1900);
    assert_eq!(rig.lines()[4..], ["late"]);
    assert_eq!(rig.stats.files_open.value(), 2);
    rig.poll_after(2100);
    assert_eq!(rig.lines()[4..], ["late", "unended"]);
    assert_eq!((rig.stats.files_open.value(), rig.stats.rotations.value()), (1, 1));
    rig.restart();
    rig.settle();
    assert_eq!(rig.records.len(), 6);
    assert!(rig.losses.is_empty());
}

#[test]
fn several_rotations_between_two_looks_are_all_followed() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    rig.rename("a.log.1", "a.log.2");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "4\n");
    rig.rename("a.log.2", "a.log.3");
    rig.rename("a.log.1", "a.log.2");
    rig.rename("a.log", "a.log.1");
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["1", "2"], "the path is missing in the midst of a rotation");
    rig.append("a.log", "5\n");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn two_rotations_while_down_are_followed_in_order() {
    let mut rig = Rig::new();
    rig.append("a.log.1", "older than the input, and not named by it\n");
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.append("a.log", "2\n");
    rig.rename("a.log.1", "a.log.3");
    rig.rename("a.log", "a.log.2");
    rig.append("a.log.1", "3\n");
    rig.append("a.log", "4\n");
    rig.restart();
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.records.len(), 4);
    assert!(rig.losses.is_empty());
}

#[test]
fn dated_names_are_followed_too() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log-20261119");
    rig.append("a.log", "3\n");
    rig.rename("a.log", "a.log-20261120");
    rig.restart();
    rig.poll_after(250);
    rig.append("a.log", "4\n");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
}

#[test]
fn copytruncate_goes_on_in_the_copy() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.append("a.log", "2\n");
    rig.now_ms += 100;
    rig.copytruncate("a.log", "a.log.1");
    // As long as what was read: its time of change alone tells that it is another.
    rig.append("a.log", "3\n");
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["1", "2", "3"]);
    rig.settle();
    rig.append("a.log", "4\n");
    rig.rename("a.log.1", "a.log.2");
    rig.copytruncate("a.log", "a.log.1");
    // Longer than before: the size alone does not tell.
    rig.append("a.log", "55555555\n");
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["1", "2", "3", "4", "55555555"]);
    assert_eq!(rig.stats.truncations.value(), 2);
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.records.len(), 5);
    assert!(rig.losses.is_empty());
}

#[test]
fn copytruncate_twice_while_down_goes_on_in_both_copies() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.append("a.log", "2\n");
    rig.copytruncate("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    rig.rename("a.log.1", "a.log.2");
    rig.copytruncate("a.log", "a.log.1");
    rig.append("a.log", "4\n");
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn truncation_without_a_copy_is_a_loss_only_if_something_was_unread() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.now_ms += 100;
    rig.truncate("a.log");
    rig.append("a.log", "2\n");
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["1", "2"]);
    assert!(rig.losses.is_empty());
    rig.append("a.log", "unended");
    rig.poll_after(250);
    rig.truncate("a.log");
    rig.poll_after(250);
    assert_eq!(rig.losses(), [(LossReason::SourceGone, None)]);
    assert_eq!(rig.stats.lost_files.value(), 1);
}

#[test]
fn a_rotated_file_that_was_compressed_before_it_was_read_is_a_loss() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.append("a.log", "2\n");
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.append("a.log.1.gz", "not text");
    rig.append("a.log", "3\n");
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "3"]);
    assert_eq!(rig.losses(), [(LossReason::SourceGone, None)]);
}

#[test]
fn a_rotated_file_that_was_read_may_be_compressed() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "2\n");
    rig.settle();
    rig.rename("a.log.1", "a.log.2.gz");
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_removed_file_whose_inode_is_used_again_is_a_new_one() {
    let mut rig = Rig::new();
    rig.append("a.log", "first\n");
    rig.poll_after(0);
    rig.restart();
    fs::remove_file(rig.path("a.log")).unwrap();
    // The file system gives the inode to whoever comes next; the length is the same.
    rig.append("a.log", "other\n");
    rig.settle();
    assert_eq!(rig.lines(), ["first", "other"]);
    assert_eq!(rig.losses(), [(LossReason::SourceGone, None)]);
}

#[test]
fn a_file_that_appears_and_rotates_before_it_was_seen_is_read_whole() {
    let mut rig = Rig::new();
    rig.append("other.log", "");
    rig.poll_after(0);
    rig.append("a.log", "1\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "2\n");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2"]);
}

#[test]
fn globs_that_name_rotated_files_read_them_once_at_first_and_never_again() {
    let mut rig = Rig::with(|config| config.files[0].paths[0].push('*'));
    rig.append("a.log.2", "1\n");
    rig.append("a.log.1", "2\n");
    rig.append("a.log", "3\n");
    rig.settle();
    rig.rename("a.log.2", "a.log.3");
    rig.rename("a.log.1", "a.log.2");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "4\n");
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
}

#[test]
fn a_rotated_file_with_a_trail_of_its_own_is_not_read_again_by_its_base() {
    let mut rig = Rig::with(|config| config.files[0].paths[0].push('*'));
    rig.append("a.log.1", "1\n");
    rig.settle();
    rig.append("a.log", "2\n");
    rig.settle();
    rig.rename("a.log.1", "a.log.2");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3"]);
}

#[test]
fn more_rotated_files_than_may_be_open_are_all_read() {
    let mut rig = Rig::with(|config| config.rotate_grace = Span::secs(1));
    rig.append("a.log", "start\n");
    rig.poll_after(0);
    for n in (1..=60).rev() {
        rig.append(&format!("a.log.{n}"), format!("{n}\n"));
    }
    rig.rename("a.log", "a.log.61");
    rig.append("a.log", "end\n");
    for _ in 0..40 {
        rig.poll_after(5_000);
    }
    let expected: Vec<String> = (1..=60).rev().map(|n: u32| n.to_string()).collect();
    assert_eq!(rig.lines()[1..61], expected);
    assert_eq!(rig.lines().last().unwrap(), "end");
    assert!(rig.losses.is_empty());
}

#[test]
fn a_file_renamed_away_and_back_goes_on() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(0);
    rig.rename("a.log", "aside");
    rig.poll_after(250);
    rig.rename("aside", "a.log");
    rig.append("a.log", "2\n");
    rig.settle();
    rig.append("a.log", "3\n");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3"]);
    assert_eq!(rig.stats.files_open.value(), 1);
}

#[test]
fn a_source_that_has_to_wait_is_not_read_and_loses_nothing() {
    use crate::data::LogGate;
    use skerry_model::Labels;
    use skerry_promql::Matcher;
    let mut rig = Rig::new();
    let (list, gate) = tokio::sync::watch::channel(Arc::default());
    rig.tailer.set_gate(LogGate::new(gate));
    let dear = vec![Matcher::equal("filename", &rig.path("dear.log").display().to_string())];
    rig.append("dear.log", "one\n");
    rig.append("free.log", "a\n");
    rig.poll_after(0);
    list.send_replace(Arc::new(vec![(dear.clone(), true), (Vec::new(), true)]));
    rig.append("dear.log", "two\n");
    rig.append("free.log", "b\n");
    rig.settle();
    assert_eq!(rig.lines(), ["one", "a"], "the second budget matches all and is full too");
    list.send_replace(Arc::new(vec![(dear.clone(), true), (Vec::new(), false)]));
    rig.settle();
    assert_eq!(rig.lines(), ["one", "a", "b"]);
    // Rotated while it waits, and begun anew: positions stand where reading stopped.
    rig.rename("dear.log", "dear.log.1");
    rig.append("dear.log", "three\n");
    rig.settle();
    rig.restart();
    let (list, gate) = tokio::sync::watch::channel(Arc::new(vec![(dear, true)]));
    rig.tailer.set_gate(LogGate::new(gate));
    rig.settle();
    rig.append("dear.log", "four\n");
    rig.settle();
    assert_eq!(rig.lines(), ["one", "a", "b"]);
    list.send_replace(Arc::default());
    rig.settle();
    assert_eq!(rig.lines(), ["one", "a", "b", "two", "three", "four"]);
    assert!(rig.losses.is_empty());
    assert!(!LogGate::open().is_closed(&Labels::default()));
}

#[test]
fn a_link_that_leads_nowhere_during_a_rotation_while_down_costs_nothing() {
    // As the kubelet has it: links in one folder, files that rotate in another, and a moment without the file.
    let mut rig = Rig::with(|config| {
        let pattern = config.files[0].paths[0].replace("*.log", "links/*.log");
        config.files[0].paths = vec![pattern];
    });
    fs::create_dir_all(rig.path("links")).unwrap();
    fs::create_dir_all(rig.path("pods/web")).unwrap();
    std::os::unix::fs::symlink("../pods/web/0.log", rig.path("links/web.log")).unwrap();
    rig.append("pods/web/0.log", "1\n2\n");
    rig.poll_after(250);
    rig.append("pods/web/0.log", "3\n");
    rig.rename("pods/web/0.log", "pods/web/0.log.20261121-101010");
    rig.restart();
    rig.poll_after(250);
    rig.append("pods/web/0.log", "4\n");
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_copy_that_is_being_made_is_not_read_beside_its_original() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(250);
    rig.copytruncate("a.log", "a.log.1");
    rig.poll_after(250);
    rig.rename("a.log.1", "a.log.2");
    rig.append("a.log", "2\n3\n");
    for copied in ["", "2\n", "3\n"] {
        rig.append("a.log.1", copied);
        rig.restart();
        rig.poll_after(250);
        rig.poll_after(250);
    }
    rig.truncate("a.log");
    rig.append("a.log", "4\n");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2", "3", "4"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_start_amid_renames_takes_no_file_for_another() {
    const FILES: usize = 6;
    let mut rig = Rig::new();
    for n in (0..FILES).rev() {
        rig.append("app.log", format!("line {n} of one generation\n"));
        rig.poll_after(100);
        rig.rename("app.log", &format!("app.log.{}", n + 1));
    }
    rig.append("app.log", "the last line\n");
    rig.poll_after(100);
    // All names up by one and down again, as fast as it goes.
    let (folder, stop) = (rig.dir.path().to_owned(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let rotator = std::thread::spawn(move || {
        let at = |n: usize| folder.join(if n == 0 { "app.log".to_owned() } else { format!("app.log.{n}") });
        while !stopped.load(Ordering::Relaxed) {
            (0..=FILES).rev().for_each(|n| fs::rename(at(n), at(n + 1)).unwrap());
            (0..=FILES).for_each(|n| fs::rename(at(n + 1), at(n)).unwrap());
        }
    });
    for _ in 0..100 {
        rig.restart();
        rig.poll_after(100);
    }
    stop.store(true, Ordering::Relaxed);
    rotator.join().unwrap();
    rig.restart();
    rig.settle();
    assert_eq!(rig.losses(), []);
    assert_eq!(rig.lines().len(), FILES + 1, "each once: {:?}", rig.lines());
}
