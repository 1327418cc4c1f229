//! What a program leaves behind that left its group.

use super::{LOOK_MAX, LOOK_MIN};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Passes over all processes that look for what is left.
const SWEEPS_MAX: usize = 20;
/// The variable that children inherit; early among all of them, since they are sorted.
pub(super) const MARK: &str = "AGENT_RUN";
/// Longest environment that is read.
const ENVIRONMENT_BYTES_MAX: u64 = 128 << 10;

/// Among a process's flags: it is a thread of the kernel (PF_KTHREAD).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// One looks at a time: each look reads every environment, on a thread with a heap of its own.
static TURN: Semaphore = Semaphore::const_new(1);
/// Runs that ended and were not looked after yet: where many end at once, one look serves them all.
static ENDED: Mutex<Vec<Ended>> = Mutex::new(Vec::new());

/// A run that ended.
struct Ended {
    mark: String,
    group: Option<Pid>,
}

/// Kills whatever else carries the mark, until nothing does.
pub(super) async fn sweep(mark: String, group: Option<Pid>) {
    ended().push(Ended { mark: mark.clone(), group });
    // It is never closed. The look keeps it, also where nobody waits for the look any more.
    let turn = TURN.acquire().await;
    if !ended().iter().any(|other| other.mark == mark) {
        // The look before was for this run too, and is over.
        return;
    }
    let swept = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        look_after(&std::mem::take(&mut *ended()))
    });
    if !matches!(swept.await, Ok(true)) {
        tracing::error!("processes of a program live on although they were killed");
    }
}

fn ended() -> MutexGuard<'static, Vec<Ended>> {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills what carries one of the marks; whether nothing does any more.
fn look_after(runs: &[Ended]) -> bool {
    let marks: HashSet<&[u8]> = runs.iter().map(|run| run.mark.as_bytes()).collect();
    let (mut killed, mut is_clear, mut pause) = (Vec::new(), false, LOOK_MIN);
    for _ in 0..SWEEPS_MAX {
        let look = kill_marked(&marks);
        is_clear = look.killed.is_empty();
        killed.extend(look.killed);
        if look.sees_a_change {
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_MAX);
        } else if is_clear {
            break;
        }
    }
    if std::process::id() == 1 {
        let groups = runs.iter().filter_map(|run| run.group).map(|group| WaitId::Pgid(Some(group)));
        bury(killed.into_iter().map(WaitId::Pid).chain(groups));
    }
    is_clear
}

/// What one pass over all processes came to.
#[derive(Default)]
struct Look {
    killed: Vec<Pid>,
    /// One was just becoming another program, and had no variables yet.
    sees_a_change: bool,
}

/// Kills all processes that have one of the marks among their variables.
fn kill_marked(marks: &HashSet<&[u8]>) -> Look {
    let (mut look, mut variables) = (Look::default(), Vec::new());
    let is_wanted = |variable: &[u8]| {
        let mark = variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        mark.is_some_and(|mark| marks.contains(mark))
    };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let Ok(file) = std::fs::File::open(entry.path().join("environ")) else { continue };
        variables.clear();
        if file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut variables).is_err() {
            continue;
        }
        if variables.split(|byte| *byte == 0).any(is_wanted) {
            look.killed.push(pid);
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        } else if variables.is_empty() && is_changing(&entry.path()) {
            look.sees_a_change = true;
        }
    }
    look
}

/// Whether a process without variables is in the middle of execve: for a moment it has its new memory, and neither
/// variables nor arguments in it. Those of the kernel and dead ones never have any; a program that was given no variables
/// has arguments.
fn is_changing(process: &Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
    // PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS
    let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let is_alive = fields.next().is_some_and(|state| !matches!(state, "Z" | "X"));
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u32>().ok());
    let is_kernels = flags.is_none_or(|flags| flags & KERNEL_THREAD != 0);
    is_alive && !is_kernels && std::fs::read(process.join("cmdline")).is_ok_and(|words| words.is_empty())
}

/// The first process of a container inherits the orphans and has to take note of their end, or they stay as zombies.
fn bury<'a>(all: impl Iterator<Item = WaitId<'a>>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
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
