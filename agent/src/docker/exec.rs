//! A command in a container that runs: for probes.

use super::call::{Call, escaped, id_of};
use super::engine::{ACT_MAX, Engine, INSPECT_BYTES_MAX, LOOK_MAX, post};
use super::{EngineError, answer};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Most of a command's output that is kept.
const OUTPUT_BYTES_MAX: usize = 4 << 10;
/// Head of a piece of output: the stream's number, three zeros, and the length.
const HEAD_BYTES: usize = 8;

/// Pause between two looks at a command that was late before it began.
const UNBEGUN_PAUSE: Duration = Duration::from_millis(50);

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i64,
    /// The beginning of its output and errors, at most 4 KiB.
    pub output: String,
}

impl Engine {
    /// Runs a command in a container and waits for its end, at most `limit`.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] where it still runs: it is killed then, see [`Self::end_late`]. [`EngineError::Conflict`] where
    /// the container does not run. A command that is not there has exit code 126 or 127, or is
    /// [`EngineError::Refused`]: versions differ.
    pub async fn exec(&self, id: &str, command: &[String], limit: Duration) -> Result<Executed, EngineError> {
        let body = json!({ "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": command });
        let made = self.json(post(format!("/containers/{}/exec", escaped(id)), Some(&body), ACT_MAX)).await?;
        let exec = id_of(&made, "exec")?;
        let body = json!({ "Detach": false, "Tty": false });
        let mut call = post(format!("/exec/{exec}/start"), Some(&body), limit);
        call.bytes_max = usize::MAX;
        let mut output = Output::default();
        let mut feed = |chunk: &[u8]| {
            output.feed(chunk);
            Ok(())
        };
        let told = self.stream(call, &mut feed).await;
        if let Err(EngineError::Timeout { .. }) = told {
            self.end_late(id, &exec).await;
        }
        told?;
        let code = self.exec_result(&exec).await?.ok_or_else(|| EngineError::Malformed {
            message: format!("the command's output ended in {id} and its code is not told"),
        })?;
        Ok(Executed { code, output: String::from_utf8_lossy(&output.kept).into_owned() })
    }

    /// Kills a command whose time is up. One that has not begun yet has no number: it is looked for until it has one, or
    /// it would begin when nobody looks any more.
    async fn end_late(&self, container: &str, exec: &str) {
        let until = Instant::now() + LOOK_MAX;
        while let Ok(left) = self.json(exec_at(exec)).await {
            if let Some(pid) = left["Pid"].as_i64().filter(|pid| *pid > 0) {
                return kill_late(container, pid);
            }
            if left["ExitCode"].is_i64() || Instant::now() >= until {
                return;
            }
            tokio::time::sleep(UNBEGUN_PAUSE).await;
        }
    }

    /// The exit code of a command by the id of its run; `None` while it runs.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn exec_result(&self, exec: &str) -> Result<Option<i64>, EngineError> {
        let answer = self.json(exec_at(exec)).await?;
        let runs = answer["Running"].as_bool().unwrap_or(false);
        Ok(answer["ExitCode"].as_i64().filter(|_| !runs))
    }
}

fn exec_at<'a>(exec: &str) -> Call<'a> {
    Call::get(format!("/exec/{}/json", escaped(exec)), LOOK_MAX, INSPECT_BYTES_MAX)
}

/// Ends a command that takes too long, with what it started: the API has no way to, and a probe that hangs would leave one
/// more behind each time. The runtime says which process of the machine it is. Where the agent sees other processes under
/// such numbers, as in a container of its own, the control group says so, and the command goes on.
fn kill_late(container: &str, pid: i64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid.filter(|_| answer::is_id(container)) else { return };
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_pid())).unwrap_or_default();
    if groups.contains(container) {
        // It leads a group of its own. Gone by now, or not ours to end.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The pieces of both streams, as they come in.
#[derive(Default)]
struct Output {
    kept: Vec<u8>,
    head: Vec<u8>,
    /// Of the piece that is being read.
    left: usize,
}

impl Output {
    fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.left == 0 {
                let (part, rest) = chunk.split_at(chunk.len().min(HEAD_BYTES - self.head.len()));
                self.head.extend_from_slice(part);
                chunk = rest;
                if let [_, _, _, _, a, b, c, d] = self.head[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.head.clear();
                }
                continue;
            }
            let (part, rest) = chunk.split_at(chunk.len().min(self.left));
            let room = OUTPUT_BYTES_MAX.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&part[..part.len().min(room)]);
            self.left -= part.len();
            chunk = rest;
        }
    }
}
