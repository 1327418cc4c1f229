//! Rotated files that were compressed, before or after they were read.

use super::*;

#[test]
fn the_unread_rest_is_read_from_the_compressed_file() {
    for ending in ["gz", "zst"] {
        let mut rig = Rig::new();
        rig.append("a.log", "1\n2\n");
        rig.poll_after(250);
        rig.append("a.log", "3\n");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", "4\n");
        rig.pack("a.log.1", ending);
        rig.restart();
        rig.settle();
        rig.restart();
        rig.settle();
        assert_eq!(rig.lines(), ["1", "2", "3", "4"], "{ending}");
        assert!(rig.losses.is_empty(), "{ending}: {:?}", rig.losses);
    }
}

#[test]
fn a_file_that_was_read_is_not_read_again_when_it_is_compressed() {
    for restart in [false, true] {
        let mut rig = Rig::new();
        rig.append("a.log", "1\n");
        rig.poll_after(250);
        for n in 2..6 {
            rig.now_ms += 1000;
            rig.rename("a.log", "a.log.1");
            rig.append("a.log", format!("{n}\n"));
            rig.settle();
            rig.pack("a.log.1", "gz");
            rig.poll_after(250);
            rig.rename("a.log.1.gz", &format!("a.log.{}.gz", 10 - n));
            if restart {
                rig.restart();
            }
            rig.settle();
        }
        assert_eq!(rig.lines(), ["1", "2", "3", "4", "5"]);
        assert!(rig.losses.is_empty());
    }
}

#[test]
fn a_file_is_compressed_while_it_is_read() {
    let mut rig = Rig::new();
    let text = |from: u32, to: u32| (from..to).map(|n| format!("line {n}\n")).collect::<String>();
    rig.append("a.log", text(0, 5000));
    rig.now_ms += 250;
    let (input, more) = rig.round();
    assert!(more);
    rig.commit(input);
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", text(5000, 5010));
    rig.now_ms += 250;
    let (input, _) = rig.round();
    rig.commit(input);
    rig.pack("a.log.1", "gz");
    rig.settle();
    assert!(rig.lines().into_iter().eq((0..5010).map(|n| format!("line {n}"))));
    assert!(rig.losses.is_empty());
}

#[test]
fn generations_that_came_and_were_compressed_while_down_are_read_in_order() {
    let mut rig = Rig::new();
    let text = |from: u32, to: u32| (from..to).map(|n| format!("line {n:0200}\n")).collect::<String>();
    rig.append("a.log", text(0, 2000));
    rig.now_ms += 250;
    let (input, _) = rig.round();
    rig.commit(input);
    for generation in 1..4 {
        rig.now_ms += 2000;
        rig.rename("a.log", &format!("a.log.{}", 4 - generation));
        rig.append("a.log", text(generation * 2000, generation * 2000 + 2000));
        rig.pack(&format!("a.log.{}", 4 - generation), "gz");
    }
    // Many rounds, with a kill in each of the first, go through a file that is larger than a batch.
    for _ in 0..12 {
        rig.restart();
        rig.now_ms += 250;
        let (input, _) = rig.round();
        rig.commit(input);
    }
    rig.settle();
    assert!(rig.lines().into_iter().eq((0..8000).map(|n| format!("line {n:0200}"))));
    assert!(rig.losses.is_empty(), "{:?}", rig.losses);
}

#[test]
fn old_compressed_files_are_left_alone_at_the_first_run() {
    let mut rig = Rig::new();
    rig.append("a.log.2", "old\n");
    rig.pack("a.log.2", "gz");
    rig.append("a.log", "1\n");
    rig.settle();
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "2\n");
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2"]);
}

#[test]
fn a_compressed_file_beside_its_original_is_being_made() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.poll_after(250);
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "2\n");
    rig.append("a.log.1.gz", &b"\x1f\x8b\x08"[..]);
    rig.restart();
    rig.settle();
    fs::remove_file(rig.path("a.log.1.gz")).unwrap();
    rig.pack("a.log.1", "gz");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn what_cannot_be_unpacked_is_given_up_and_the_rest_goes_on() {
    let mut rig = Rig::new();
    rig.append("a.log", "1\n");
    rig.settle();
    for (ending, n) in [("xz", 3), ("gz", 2)] {
        rig.now_ms += 5_000;
        rig.append("a.log", "lost\n");
        rig.rename("a.log", &format!("a.log.{n}"));
        rig.append("a.log", "");
        rig.pack(&format!("a.log.{n}"), ending);
    }
    let damaged = fs::read(rig.path("a.log.2.gz")).unwrap();
    fs::write(rig.path("a.log.2.gz"), &damaged[..damaged.len() / 2]).unwrap();
    rig.append("a.log", "2\n");
    rig.restart();
    rig.settle();
    let counted = rig.losses.len();
    assert!(counted > 0 && rig.losses.iter().all(|loss| loss.reason == LossReason::SourceGone), "{:?}", rig.losses);
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2"]);
    assert_eq!(rig.losses.len(), counted, "told once");
}
