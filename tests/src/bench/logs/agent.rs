//! An agent that belongs to no fleet and tails files.

use crate::bench::process::Account;
use crate::lab::{Running, free_port};
use anyhow::{Context, ensure};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Pause between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest drain.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which of its collectors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collect {
    /// Those that run where nothing is configured, every 15 s.
    Default,
    /// None: what remains is the logs' own.
    Nothing,
}

/// A running agent.
pub(super) struct Agent {
    process: Running,
    port: u16,
    database: PathBuf,
}

/// What a process took from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) cpu: Duration,
    pub(super) rss_peak_bytes: f64,
    pub(super) written_bytes: f64,
}

/// A command on the last processor alone.
pub(super) fn pinned(program: &Path) -> anyhow::Result<Command> {
    let last = std::thread::available_parallelism()?.get() - 1;
    let mut command = Command::new("taskset");
    command.arg("-c").arg(last.to_string()).arg(program);
    Ok(command)
}

impl Agent {
    /// Starts one whose database lies in `folder`, and that tails the files of this glob.
    pub(super) fn start(mut command: Command, folder: &Path, files: &str, collect: Collect) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let port = free_port()?;
        let mut config = format!(
            "node: bench\ndata_dir: {}/data\nlisten: 127.0.0.1:{port}\n\
             logs:\n  files:\n    - name: app\n      paths: ['{files}']\n  containers:\n    enabled: false\n\
             store:\n  max_bytes: 2GiB\n  logs:\n    max_bytes: 1GiB\n    max_age: 0s\n",
            folder.display()
        );
        if collect == Collect::Nothing {
            let all = skerry_agent::collect::COLLECTORS.join(", ");
            writeln!(config, "collect:\n  disable: [{all}]")?;
        }
        let file = folder.join("agent.yaml");
        std::fs::write(&file, config)?;
        command.arg("run").arg("--config").arg(&file);
        let process = Running::spawn(&mut command, &folder.join("agent.log"))?;
        Ok(Self { process, port, database: folder.join("data/agent.db") })
    }

    pub(super) fn account(&self) -> anyhow::Result<Account> {
        Account::read(self.process.id())
    }

    /// Lines that it has read so far; `None` while it does not answer yet.
    fn lines(&self) -> Option<u64> {
        let url = format!("http://127.0.0.1:{}/status", self.port);
        let text = ureq::get(url).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?["logs"]["lines"].as_u64()
    }

    /// Waits until it has read so many lines.
    pub(super) fn wait_for_lines(&mut self, lines: u64) -> anyhow::Result<()> {
        wait("the agent to read all lines", || {
            ensure!(!self.process.has_ended(), "the agent has ended");
            Ok(self.lines().is_some_and(|read| read >= lines))
        })
    }

    /// Ends it in order, and checks that so many lines are stored.
    pub(super) fn stop(self, lines: u64) -> anyhow::Result<(Ended, PathBuf)> {
        let ended = stop(self.process)?;
        let file = rusqlite::Connection::open(&self.database)?;
        // The kind of logs' stream.
        let sum = "SELECT total(records) FROM block WHERE kind = 2";
        let stored: f64 = file.query_row(sum, [], |row| row.get(0))?;
        ensure!(stored == lines as f64, "{stored} lines are stored, {lines} were written");
        Ok((ended, self.database))
    }
}

/// Ends a process in order; its account then.
pub(super) fn stop(process: Running) -> anyhow::Result<Ended> {
    let account = Account::read(process.id())?;
    let pid = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw).context("its number")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("signal it")?;
    // What it does at its end counts: until somebody takes note of its end, the kernel keeps its times.
    let mut cpu = account.cpu;
    wait("a process to end", || {
        let (time, is_over) = Account::cpu_of(process.id())?;
        cpu = time;
        Ok(is_over)
    })?;
    process.stop()?;
    Ok(Ended { cpu, rss_peak_bytes: account.rss_peak_bytes, written_bytes: account.written_bytes })
}

/// Waits for a condition that another process makes true.
pub(super) fn wait(what: &str, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let mut waited = Duration::ZERO;
    while !condition()? {
        ensure!(waited < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
    Ok(())
}
