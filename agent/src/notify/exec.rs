//! Programs that are run for alerts: a buzzer, a text message by a modem.
//!
//! No shell, no terminal, no inherited variables; a process group of its own, the alert group as JSON on standard input.
//! When the program has ended, or its time is up, all that it began is killed: the group first, while the program's own
//! id still holds the group's, then whatever left the group, which is known by a variable that children inherit. Only
//! what leaves the group and drops its variables as well could live on, which nothing does by mistake.
//!
//! What it says is read up to a bound, and its beginning is in the error where it fails.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use skerry_alerting::notify::{ExecDelivery, Outcome};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout_at};

/// How long killing and clearing away may take beyond the program's own time.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Most bytes of what a program says that are read; then it is not listened to any more.
const SAID_BYTES_MAX: usize = 256 << 10;
/// Most of them that are kept.
const KEPT_BYTES_MAX: usize = 1 << 10;
/// How often a program is looked at: at first, and at most.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Passes over all processes that look for what is left.
const SWEEPS_MAX: usize = 20;
/// The variable that children inherit; early among all of them, since they are sorted.
const MARK: &str = "ALERT_EXEC_RUN";
/// Longest environment that is read.
const ENVIRONMENT_BYTES_MAX: u64 = 128 << 10;

/// Sets one run's mark apart from another's.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// Runs the program until its own limit or `until`, whichever is earlier.
pub(super) async fn run(exec: ExecDelivery, until: Instant) -> Outcome {
    let limit = until.min(Instant::now() + exec.timeout);
    let shown = exec.program.display().to_string();
    let mark = format!("{}.{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let (mut program, input, output) = match spawn(&exec, &mark) {
        Ok(spawned) => spawned,
        Err(error) => {
            let text = format!("run {shown}: {error}");
            let is_final = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
            return if is_final { Outcome::failed(text) } else { Outcome::retry(text) };
        }
    };
    let (mut said, group) = (Said::new(output), program.pid());
    let ended = {
        let feed = async {
            let mut input = input;
            // What does not read its input may still do its work.
            let _ = input.write_all(&exec.stdin).await;
            drop(input);
            std::future::pending::<()>().await;
        };
        let listen = async {
            said.listen().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = program.end() => true,
            () = tokio::time::sleep_until(limit) => false,
            () = feed => false,
            () = listen => false,
        }
    };
    program.kill_group();
    let status = program.reap().await;
    said.rest();
    let said = said.words();
    sweep(mark, group).await;
    match status {
        _ if !ended => Outcome::retry(format!("{shown} was killed when its time was up{said}")),
        Some(status) if status.success() => Outcome::Sent,
        Some(status) => match status.code() {
            Some(code) => Outcome::retry(format!("{shown} ended with status {code}{said}")),
            None => Outcome::retry(format!("{shown} was ended by signal {}{said}", status.signal().unwrap_or(0))),
        },
        None => Outcome::retry(format!("{shown} does not end although it was killed")),
    }
}

fn spawn(exec: &ExecDelivery, mark: &str) -> io::Result<(Program, pipe::Sender, pipe::Receiver)> {
    let ((stdin, input), (output, stdout)) = (io::pipe()?, io::pipe()?);
    let stderr = stdout.try_clone()?;
    let input = pipe::Sender::from_owned_fd(OwnedFd::from(input))?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
    let child = Command::new(&exec.program)
        .args(&exec.args)
        .env_clear()
        .envs(exec.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, mark)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .spawn()?;
    Ok((Program { child, is_reaped: false }, input, output))
}

/// A program that runs; killed with its group and reaped when it is dropped.
struct Program {
    child: Child,
    is_reaped: bool,
}

impl Program {
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

impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_group();
            let _ = self.child.try_wait();
        }
    }
}

/// What a program says.
struct Said {
    /// `None` once enough was said: then whoever goes on writing is ended by it.
    output: Option<pipe::Receiver>,
    kept: Vec<u8>,
    bytes: usize,
}

impl Said {
    fn new(output: pipe::Receiver) -> Self {
        Self { output: Some(output), kept: Vec::new(), bytes: 0 }
    }

    /// Listens until the end, or until enough was said.
    async fn listen(&mut self) {
        while let Some(output) = &self.output {
            if output.readable().await.is_err() || !self.take() {
                self.output = None;
            }
        }
    }

    /// What is still in the pipe, whether or not the runtime has heard of it.
    fn rest(&mut self) {
        let pipe = self.output.take().and_then(|output| output.into_nonblocking_fd().ok());
        let Some(mut pipe) = pipe.map(std::fs::File::from) else { return };
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            self.keep(&buffer[..read]);
            if self.bytes >= SAID_BYTES_MAX {
                return;
            }
        }
    }

    /// Reads once; whether more may come that is cared for.
    fn take(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.output.as_ref().map(|output| output.try_read(&mut buffer)) {
            Some(Ok(read @ 1..)) => {
                self.keep(&buffer[..read]);
                self.bytes < SAID_BYTES_MAX
            }
            Some(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
            Some(Ok(0)) | None => false,
        }
    }

    fn keep(&mut self, words: &[u8]) {
        let room = KEPT_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&words[..words.len().min(room)]);
        self.bytes += words.len();
    }

    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!(": {text}") }
    }
}

/// Kills whatever else carries the mark, until nothing does.
async fn sweep(mark: String, group: Option<Pid>) {
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
        tracing::error!("processes of a program for alerts live on although they were killed");
    }
}

/// Kills all processes that have this among their variables, and names them.
fn kill_marked(wanted: &[u8]) -> Vec<Pid> {
    let mut killed = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let Ok(file) = std::fs::File::open(entry.path().join("environ")) else { continue };
        let mut variables = Vec::new();
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
