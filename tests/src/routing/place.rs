//! Programs that route alerts: Debian's Alertmanager and the agent.

use crate::alone::Alone;
use crate::lab::{Running, free_port, wait_for};
use crate::web::web;
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What links in notices begin with, at both.
const EXTERNAL_URL: &str = "http://alerts.example";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Debian's prometheus-alertmanager.
    Alertmanager,
    /// The agent, alone.
    Agent,
}

/// A program that runs.
#[derive(Debug)]
pub struct Session {
    url: String,
    log: PathBuf,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Peer(Running),
    Agent(Box<Alone>),
}

impl Place {
    /// Starts it in a folder of its own, with this alertmanager.yml.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(self, folder: &Path, config: &str) -> anyhow::Result<Session> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join("alertmanager.yml");
        std::fs::write(&file, config)?;
        let session = match self {
            Self::Alertmanager => {
                let port = free_port()?;
                let log = folder.join("alertmanager.log");
                let mut command = Command::new("prometheus-alertmanager");
                command.arg(format!("--config.file={}", file.display()));
                command.arg(format!("--storage.path={}", folder.join("data").display()));
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
                command.arg(format!("--web.external-url={EXTERNAL_URL}"));
                // Alone: a cluster waits for others before it notifies.
                command.arg("--cluster.listen-address=");
                command.arg("--web.route-prefix=/");
                let process = Process::Peer(Running::spawn(&mut command, &log)?);
                Session { url: format!("http://127.0.0.1:{port}"), log, process }
            }
            Self::Agent => {
                // A group, because before the second evaluation of all nobody is told of what others may hold back.
                let sections = format!(
                    "rules:\n  evaluation_interval: 1s\n  groups: [{{name: tick, rules: [{{record: tick, expr: vector(1)}}]}}]\nalerting:\n  config_file: {}\n  external_url: {EXTERNAL_URL}\n",
                    file.display()
                );
                let mut agent = Alone::new(folder, &sections)?;
                agent.start()?;
                let (url, log) = (agent.url(), folder.join("agent.log"));
                Session { url, log, process: Process::Agent(Box::new(agent)) }
            }
        };
        wait_for("the API", || session.get("/status")).with_context(|| session.log())?;
        Ok(session)
    }
}

impl Session {
    /// Where its API is, as `amtool` is told.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Process number.
    ///
    /// # Errors
    /// If it does not run.
    pub fn id(&self) -> anyhow::Result<u32> {
        match &self.process {
            Process::Peer(process) => Ok(process.id()),
            Process::Agent(agent) => agent.id().context("the agent runs"),
        }
    }

    /// What a path below `/api/v2` answers.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let text = web().get(format!("{}/api/v2{path}", self.url)).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Posts to a path below `/api/v2`; status and text of the answer.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, String)> {
        let request = web().post(format!("{}/api/v2{path}", self.url)).config().http_status_as_error(false).build();
        let mut answer = request.header("Content-Type", "application/json").send(body.to_string())?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }

    /// Deletes a path below `/api/v2`; the status.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn delete(&self, path: &str) -> anyhow::Result<u16> {
        let request = web().delete(format!("{}/api/v2{path}", self.url)).config().http_status_as_error(false).build();
        Ok(request.call()?.status().as_u16())
    }

    /// What `amtool` prints and how it ends, with these arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn amtool(&self, args: &[&str]) -> anyhow::Result<(bool, String, String)> {
        let mut command = Command::new("amtool");
        command.args(args).arg(format!("--alertmanager.url={}", self.url));
        // It would read the user's own settings otherwise.
        let output = command.env("HOME", "/nonexistent").output().context("start amtool")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }
}
