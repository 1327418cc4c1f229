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
