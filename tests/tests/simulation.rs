//! A thousand fleets, each from one seed. A failing seed is named and replays alone:
//! `SKERRY_SIM_SEEDS=17..18 cargo test -p skerry-tests --test simulation`.

use skerry_tests::sim;
use std::ops::Range;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SKERRY_SIM_SEEDS") else { return 0..1000 };
    let (from, to) = text.split_once("..").expect("SKERRY_SIM_SEEDS is FROM..TO, such as 17..18");
    from.parse().expect("a number before '..'")..to.parse().expect("a number behind '..'")
}

#[test]
fn every_record_arrives_once_or_stands_in_the_ledger() {
    let seeds = seeds();
    let half = seeds.start + (seeds.end - seeds.start) / 2;
    let run = |range: Range<u64>| {
        range.map(|seed| sim::run(seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"))).fold(
            sim::Summary::default(),
            |sum, one| sim::Summary {
                scrapes: sum.scrapes + one.scrapes,
                lines: sum.lines + one.lines,
                batches: sum.batches + one.batches,
                repeated: sum.repeated + one.repeated,
                node_crashes: sum.node_crashes + one.node_crashes,
                server_crashes: sum.server_crashes + one.server_crashes,
                cuts: sum.cuts + one.cuts,
                lost: sum.lost + one.lost,
            },
        )
    };
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(half..seeds.end));
        (run(seeds.start..half), other.join().expect("the other half holds too"))
    });
    println!("{a:?}\n{b:?}");
    if seeds.end - seeds.start >= 100 {
        for (what, count) in [
            ("scrapes", a.scrapes),
            ("lines", a.lines),
            ("repeated batches", a.repeated),
            ("node crashes", a.node_crashes),
            ("server crashes", a.server_crashes),
            ("cuts", a.cuts),
            ("lost records", a.lost),
        ] {
            assert!(count > 0, "no {what} in half of the runs: the simulation tests nothing");
        }
    }
}

#[test]
fn a_seed_replays() {
    assert_eq!(sim::run(7), sim::run(7));
}
