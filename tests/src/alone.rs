//! An agent that belongs to no fleet, and what is in its database afterwards.

use crate::lab::{Binaries, Running, free_port, value_of, wait_for, wait_rise};
use crate::records;
use crate::web::web;
use anyhow::{Context, ensure};
use skerry_model::{LogRecord, LossEntry};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An agent that belongs to no fleet.
#[derive(Debug)]
pub struct Alone {
    folder: PathBuf,
    http: u16,
    binary: PathBuf,
    /// What stands before the program.
    pub wrapper: Vec<String>,
    process: Option<Running>,
}

impl Alone {
    /// An agent with these sections in its file. It does not run yet.
    ///
    /// # Errors
    /// If a file cannot be written or a program cannot be built.
    pub fn new(folder: &Path, sections: &str) -> anyhow::Result<Self> {
        Self::every("1s", folder, sections)
    }

    /// The same, with an interval of collection.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn every(interval: &str, folder: &Path, sections: &str) -> anyhow::Result<Self> {
        let http = free_port()?;
        let text = format!(
            "node: alone\ndata_dir: {}/data\nlisten: 127.0.0.1:{http}\ncollect:\n  interval: {interval}\n{sections}",
            folder.display()
        );
        std::fs::write(folder.join("agent.yaml"), text)?;
        let binary = Binaries::build()?.path("skerry-agent");
        Ok(Self { folder: folder.to_owned(), http, binary, wrapper: Vec::new(), process: None })
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut words = self.wrapper.iter().map(String::as_str).chain(self.binary.to_str());
        let mut command = Command::new(words.next().context("a program")?);
        command.args(words).arg("run").arg("--config").arg(self.folder.join("agent.yaml"));
        self.process = Some(Running::spawn(&mut command, &self.folder.join("agent.log"))?);
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Running::id)
    }

    /// Port of its local HTTP.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.http
    }

    /// Where its files lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Ends it as power loss does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }

    /// A counter of its own metrics.
    ///
    /// # Errors
    /// If it does not answer, or has no such series.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let text = web().get(format!("http://127.0.0.1:{}/metrics", self.http)).call()?.body_mut().read_to_string()?;
        value_of(&text, series)
    }

    /// As [`wait_rise`], of its own metrics.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_rise(&self, series: &str, by: f64) -> anyhow::Result<()> {
        wait_rise(series, by, || self.metric(series)).with_context(|| self.log())
    }

    /// Waits until an input took so many records since the agent began.
    ///
    /// # Errors
    /// If they do not come.
    pub fn wait_records(&self, source: &str, kind: &str, count: f64) -> anyhow::Result<()> {
        wait_for("records", || {
            let found =
                self.metric(&format!("skerry_log_input_records_total{{kind=\"{kind}\",source=\"{source}\"}}"))?;
            ensure!(found >= count, "{found} of {count} records of {source}");
            Ok(())
        })
        .with_context(|| self.log())
    }

    /// Ends it in order, and reads what is in its database.
    ///
    /// # Errors
    /// If either fails.
    pub fn stop(&mut self) -> anyhow::Result<(Vec<LogRecord>, Vec<LossEntry>)> {
        if let Some(process) = self.process.take() {
            // One that has only begun does not end in order yet.
            wait_for("the agent", || self.metric("process_start_time_seconds "))?;
            let status = process.stop()?;
            ensure!(status.success(), "the agent ended with {status}: {}", self.log());
        }
        records::read(&self.folder.join("data/agent.db"), Vec::new())
    }
}

/// Asserts that these are the numbers from 1 on, each once, in any order.
///
/// # Panics
/// If they are not.
pub fn assert_each_once(mut found: Vec<u64>, count: u64) {
    found.sort_unstable();
    let (missing, twice): (Vec<u64>, Vec<u64>) = (
        (1..=count).filter(|n| found.binary_search(n).is_err()).collect(),
        found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect(),
    );
    assert!(missing.is_empty() && twice.is_empty(), "missing {missing:?}, twice {twice:?}");
    assert_eq!(found.len() as u64, count);
}
