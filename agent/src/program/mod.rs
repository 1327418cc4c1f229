//! Programs that are run for somebody: a buzzer for alerts, a hook that scales, `systemctl`.
//!
//! No shell, no terminal, no inherited variables, a process group of its own, and a bound on time and on what is read.
//! When the program has ended, or its time is up, what it began is killed: the group, while the program's own id still
//! holds the group's, and then, for programs that are not the system's own, whatever left the group, which is known by a
//! variable that children inherit. Only what leaves the group and drops its variables as well could live on, which
//! nothing does by mistake.
//!
//! Invariants:
//! - [`run`] ends within the time limit and [`GRACE`]; called off, it kills the group.
//! - At most [`Program::bytes_max`] bytes of what it says are kept.

mod said;
mod sweep;

#[cfg(test)]
pub(crate) use sweep::lives;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use said::Said;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout_at};

/// How long killing and clearing away may take beyond the program's own time.
pub const GRACE: Duration = Duration::from_secs(5);
/// How often a program is looked at: at first, and at most.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Bytes of words that stand in an error.
const WORDS_BYTES_MAX: usize = 1 << 10;

/// Sets one run's mark apart from another's.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// All its variables, but for one that marks the run.
    pub env: Vec<(String, String)>,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// Where what it says goes.
    pub voices: Voices,
    /// Bytes that are kept of each.
    pub bytes_max: usize,
    /// What is ended with it.
    pub ends: Ends,
}

/// Where a program's words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voices {
    /// Both into one, as on a terminal, as [`Ran::stdout`]. What is beyond the bound is read for a while and dropped.
    Joined,
    /// Each into its own. The program is ended where standard output goes beyond the bound.
    Apart,
}

/// What ends with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Its process group.
    Group,
    /// All that it began, also what left its group.
    Everything,
}

/// How a run went.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// What it said, up to the bound.
    pub stdout: Vec<u8>,
    /// What it said on standard error; empty where both were joined.
    pub stderr: Vec<u8>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed when its time was up.
    Late,
    /// It was killed because it said too much.
    Loud,
    /// It was killed, and the kernel does not let go of it.
    Stuck,
}

impl Ran {
    /// How the run of `path` failed, with the beginning of what it said; `None` where it ended with status 0.
    #[must_use]
    pub fn failure(&self, path: &Path) -> Option<String> {
        let shown = path.display();
        let mut said = words(if self.stderr.is_empty() { &self.stdout } else { &self.stderr });
        if !said.is_empty() {
            said.insert_str(0, ": ");
        }
        Some(match self.end {
            End::Code(0) => return None,
            End::Code(code) => format!("{shown} ended with status {code}{said}"),
            End::Signal(signal) => format!("{shown} was ended by signal {signal}{said}"),
            End::Late => format!("{shown} was killed when its time was up{said}"),
            End::Loud => format!("{shown} was killed because it said too much{said}"),
            End::Stuck => format!("{shown} does not end although it was killed"),
        })
    }
}

/// The beginning of what was said, on one line.
fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(&said[..said.len().min(WORDS_BYTES_MAX)]);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}

/// Runs a program until `limit` at most.
///
/// # Errors
/// Where it cannot be started.
pub async fn run(program: &Program, limit: Instant) -> io::Result<Ran> {
    let mark = format!("{}.{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let (mut process, input, mut out, mut err) = begin(program, &mark, limit).await?;
    let group = process.pid();
    let end = {
        let feed = async {
            let mut input = input;
            // What does not read its input may still do its work.
            let _ = input.write_all(&program.stdin).await;
            drop(input);
            std::future::pending::<()>().await;
        };
        let listen = async {
            tokio::join!(out.listen(), err.listen());
            if program.voices == Voices::Joined || !out.is_over() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = process.end() => None,
            () = tokio::time::sleep_until(limit) => Some(End::Late),
            () = feed => None,
            () = listen => Some(End::Loud),
        }
    };
    process.kill_group();
    let status = process.reap().await;
    out.rest();
    err.rest();
    if program.ends == Ends::Everything {
        sweep::sweep(mark, group).await;
    }
    let end = match (end, status) {
        (Some(killed), _) => killed,
        (None, None) => End::Stuck,
        (None, Some(_)) if program.voices == Voices::Apart && out.is_over() => End::Loud,
        (None, Some(status)) => match status.code() {
            Some(code) => End::Code(code),
            None => End::Signal(status.signal().unwrap_or(0)),
        },
    };
    Ok(Ran { end, stdout: out.kept, stderr: err.kept })
}

/// Starts it. One that somebody has open for writing, because it is being replaced, is tried again for a moment.
async fn begin(program: &Program, mark: &str, limit: Instant) -> io::Result<Spawned> {
    let limit = limit.min(Instant::now() + GRACE / 5);
    loop {
        match spawn(program, mark) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < limit => {
                sleep(LOOK_MAX).await;
            }
            begun => return begun,
        }
    }
}

type Spawned = (Process, pipe::Sender, Said, Said);

fn spawn(program: &Program, mark: &str) -> io::Result<Spawned> {
    let ((stdin, input), (output, stdout)) = (io::pipe()?, io::pipe()?);
    let (errors, stderr) = match program.voices {
        Voices::Joined => (None, stdout.try_clone()?),
        Voices::Apart => io::pipe().map(|(errors, stderr)| (Some(errors), stderr))?,
    };
    let input = pipe::Sender::from_owned_fd(OwnedFd::from(input))?;
    let out = Said::new(Some(OwnedFd::from(output)), program.bytes_max)?;
    let err = Said::new(errors.map(OwnedFd::from), WORDS_BYTES_MAX)?;
    let child = Command::new(&program.path)
        .args(&program.args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .env(sweep::MARK, mark)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .spawn()?;
    Ok((Process { child, is_reaped: false }, input, out, err))
}

/// A program that runs; killed with its group and reaped when it is dropped.
struct Process {
    child: Child,
    is_reaped: bool,
}

impl Process {
    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Returns when it has ended. It is left unreaped, so that its id still means it and its group.
    async fn end(&self) {
        let Some(pid) = self.pid() else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut pause = LOOK_MIN;
        while let Ok(None) = rustix::process::waitid(WaitId::Pid(pid), options) {
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Kills the group; does nothing once the program is reaped, when its id may be another's.
    fn kill_group(&self) {
        if let Some(pid) = self.pid().filter(|_| !self.is_reaped) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    /// How it ended; `None` where the kernel does not let go of it.
    async fn reap(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + GRACE / 2;
        let waited = timeout_at(until, self.end()).await;
        let status = self.child.try_wait().ok().flatten().filter(|_| waited.is_ok());
        self.is_reaped = status.is_some();
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_group();
            let _ = self.child.try_wait();
        }
    }
}
