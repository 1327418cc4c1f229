//! What a program leaves behind that left its group.

use super::LOOK_MIN;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::io::Read;
use tokio::sync::Semaphore;

/// Passes over all processes that look for what is left.
const SWEEPS_MAX: usize = 20;
/// The variable that children inherit; early among all of them, since they are sorted.
pub(super) const MARK: &str = "AGENT_RUN";
/// Longest environment that is read.
const ENVIRONMENT_BYTES_MAX: u64 = 128 << 10;

/// One looks at a time: many programs may end at once, and each look reads every environment, on a thread with a heap of
/// its own.
static TURN: Semaphore = Semaphore::const_new(1);

/// Kills whatever else carries the mark, until nothing does.
pub(super) async fn sweep(mark: String, group: Option<Pid>) {
    // It is never closed.
    let _turn = TURN.acquire().await;
    let swept = tokio::task::spawn_blocking(move || {
        let wanted = format!("{MARK}={mark}");
        let mut killed = Vec::new();
        let is_clear = (0..SWEEPS_MAX).any(|_| {
            let found = kill_marked(wanted.as_bytes());
            killed.extend_from_slice(&found);
            found.is_empty()
        });
        if std::process::id() == 1 {
            bury(group, &killed);
        }
        is_clear
    });
    if !matches!(swept.await, Ok(true)) {
        tracing::error!("processes of a program live on although they were killed");
    }
}

/// Kills all processes that have this among their variables, and names them.
fn kill_marked(wanted: &[u8]) -> Vec<Pid> {
    let (mut killed, mut variables) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let Ok(file) = std::fs::File::open(entry.path().join("environ")) else { continue };
        variables.clear();
        if file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut variables).is_err() {
            continue;
        }
        if variables.split(|byte| *byte == 0).any(|variable| variable == wanted) {
            killed.push(pid);
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    killed
}

/// The first process of a container inherits the orphans and has to take note of their end, or they stay as zombies.
fn bury(group: Option<Pid>, killed: &[Pid]) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let group = group.map(|pid| WaitId::Pgid(Some(pid)));
    let all = killed.iter().map(|pid| WaitId::Pid(*pid)).chain(group);
    for which in all {
        // Each ends soon: it was killed. An error says that nobody is left.
        for _ in 0..SWEEPS_MAX {
            match rustix::process::waitid(which.clone(), options) {
                Ok(Some(_)) => {}
                Ok(None) => std::thread::sleep(LOOK_MIN),
                Err(_) => break,
            }
        }
    }
}
