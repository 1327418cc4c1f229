//! The async shell.

use super::*;
use crate::clock::Clock;
use crate::logs::{LogInputs, TailError};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_slow_receiver_holds_the_files_and_nothing_is_dropped() {
    let rig = Rig::new();
    rig.append("a.log", (0..3500).map(|n| format!("{n}\n")).collect::<String>());
    let inputs = LogInputs::new(&rig.config, Vec::new()).unwrap();
    let stats = inputs.stats();
    let (out, mut taken) = mpsc::channel(1);
    let (_list, containers) = watch::channel(Arc::default());
    let stop = CancellationToken::new();
    let run = tokio::spawn(inputs.run(containers, out, Clock::manual(UnixMillis(WALL_MS)).0, stop.clone()));
    let mut lines = Vec::new();
    while lines.len() < 3500 {
        let input: LogInput = taken.recv().await.unwrap();
        assert!(input.records.len() <= 1000);
        lines.extend(input.records.into_iter().map(|record| String::from_utf8(record.line).unwrap()));
    }
    assert!(lines.iter().enumerate().all(|(n, line)| *line == n.to_string()));
    assert_eq!(stats.lines.value(), 3500);
    stop.cancel();
    assert!(run.await.unwrap().is_ok());
}

#[tokio::test]
async fn it_ends_with_an_error_when_the_store_has_ended() {
    let rig = Rig::new();
    rig.append("a.log", "1\n");
    let inputs = LogInputs::new(&rig.config, Vec::new()).unwrap();
    let (out, taken) = mpsc::channel(1);
    drop(taken);
    let (_list, containers) = watch::channel(Arc::default());
    let run = inputs.run(containers, out, Clock::manual(UnixMillis(WALL_MS)).0, CancellationToken::new());
    assert!(matches!(run.await, Err(TailError::StoreEnded)));
}

/// A batch is at most 256 KiB of text and fields and one record more (a line of at most `line_bytes_max`, fields of at most
/// 16 KiB), of at most 1000 records. Of batches there are one in the tailer's hands, two in the channel and one on the way
/// to the store, whose queue holds 1 MiB: at the default of 256 KiB a line that is at most 3.7 MiB between a file and a
/// block.
#[tokio::test]
async fn what_is_on_the_way_to_the_store_is_bounded_in_bytes() {
    for line in ["", "x", &"y".repeat(300), &"z".repeat(300 << 10)] {
        let rig = Rig::new();
        let count = (4 << 20) / (line.len() + 100);
        rig.append("a.log", (0..count).map(|n| format!("{line}{n}\n")).collect::<String>());
        let inputs = LogInputs::new(&rig.config, Vec::new()).unwrap();
        let (out, mut taken) = mpsc::channel(2);
        let (_list, containers) = watch::channel(Arc::default());
        let stop = CancellationToken::new();
        let run = tokio::spawn(inputs.run(containers, out, Clock::manual(UnixMillis(WALL_MS)).0, stop.clone()));
        let (mut lines, mut most) = (0, 0);
        while lines < count {
            let input: LogInput = taken.recv().await.unwrap();
            most = most.max(input.memory_bytes());
            lines += input.records.len();
        }
        let record = usize::try_from(rig.config.line_bytes_max.0).unwrap();
        let bound = (256 << 10) + record + 1001 * size_of::<LogRecord>() + 8192;
        assert!(most <= bound && bound < 700 << 10, "{most} of {bound} bytes, lines of {}", line.len());
        stop.cancel();
        assert!(run.await.unwrap().is_ok());
    }
}
