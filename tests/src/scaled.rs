//! A fleet, and a node behind a link that can be cut, which scales by policies in files of its own.

use crate::lab::{Binaries, Lab, Node, wait_for};
use crate::proxy::Proxy;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The node and its fleet.
pub struct Scaled {
    /// The fleet.
    pub lab: Lab,
    /// The node.
    pub node: Node,
    proxy: Proxy,
    /// What is there to be measured.
    values: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

/// What is particular about a node.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// Its name.
    pub name: &'a str,
    /// Names and texts of its policies' files.
    pub policies: &'a [(&'a str, &'a str)],
    /// Further lines of its section `scaling`, indented by two.
    pub scaling: &'a str,
    /// Further sections of its file.
    pub sections: &'a str,
    /// A PATH of its own.
    pub search: Option<String>,
}

impl Scaled {
    /// Starts both in an empty folder. A round of scaling is a second; the guard is off.
    ///
    /// # Errors
    /// If a program or a file fails.
    pub fn start(folder: &Path, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
        let mut lab = Lab::init(Binaries::build()?, folder)?;
        proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
        lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
        lab.start_server()?;
        let (values, policies) = (folder.join("values"), folder.join("policies"));
        std::fs::create_dir_all(&values)?;
        std::fs::create_dir_all(&policies)?;
        for (name, text) in setup.policies {
            std::fs::write(policies.join(name), text)?;
        }
        let sections = format!(
            "collect:\n  interval: 1s\n  textfile_directory: '{}'\nstore: {{write_budget: 0B}}\n\
             sync: {{reconnect_min: 100ms, reconnect_max: 1s, ack_timeout: 3s}}\n\
             scaling:\n  sync_period: 1s\n  guard: {{enabled: false}}\n  files: ['{}/*.yaml']\n{}{}",
            values.display(),
            policies.display(),
            setup.scaling,
            setup.sections
        );
        let mut node = lab.agent(setup.name, &sections)?;
        if let Some(search) = &setup.search {
            node.wrapper = vec!["/usr/bin/env".into(), format!("PATH={search}")];
        }
        lab.join(&mut node, "edge")?;
        Ok(Self { lab, node, proxy, values, _runtime: runtime })
    }

    /// Sets what is measured of the site: series with their labels, and values.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set(&self, series: &[(&str, f64)]) -> anyhow::Result<()> {
        let text: String = series.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        std::fs::write(self.values.join("new"), text)?;
        Ok(std::fs::rename(self.values.join("new"), self.values.join("site.prom"))?)
    }

    /// Cuts the link.
    pub fn cut(&self) {
        self.proxy.close();
    }

    /// Mends the link.
    pub fn mend(&self) {
        self.proxy.open(SocketAddr::from(([127, 0, 0, 1], self.lab.mqtt)));
    }

    /// Runs a command of the agent beside it.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn agent(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.node.binary);
        let output = command.args(args).arg("--config").arg(self.node.folder.join("agent.yaml")).output()?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// How a policy fares.
    ///
    /// # Errors
    /// If there is none, or the agent does not answer.
    pub fn policy(&self, name: &str) -> anyhow::Result<Value> {
        let all: Vec<Value> = serde_json::from_str(&self.agent(&["scale", "list", "-o", "json"])?)?;
        all.into_iter().find(|one| one["policy"] == name).with_context(|| format!("no policy {name}"))
    }

    /// Waits until a policy has a condition of this reason, and gives the condition's message.
    ///
    /// # Errors
    /// If it does not come.
    pub fn wait_reason(&self, policy: &str, reason: &str) -> anyhow::Result<String> {
        wait_for(reason, || {
            let one = self.policy(policy)?;
            let mut conditions = one["conditions"].as_array().into_iter().flatten();
            let condition = conditions.find(|one| one["reason"] == reason);
            Ok(condition.with_context(|| one.to_string())?["message"].as_str().unwrap_or_default().to_owned())
        })
        .with_context(|| self.log())
    }

    /// Waits until a policy's target has so many replicas.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_replicas(&self, policy: &str, replicas: u32) -> anyhow::Result<()> {
        wait_for("replicas", || {
            let one = self.policy(policy)?;
            ensure!(one["current"] == replicas && one["error"].is_null(), "{one}");
            Ok(())
        })
        .with_context(|| self.log())
    }

    /// What the centre knows of a policy, oldest first, as `FROM->TO REASON`; only what did something, or all.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn history(&self, policy: &str, is_all: bool) -> anyhow::Result<Vec<String>> {
        let list = self.lab.api(&format!("/scaling/history?policy={policy}"))?;
        let rows = list["decisions"].as_array().context("decisions")?;
        let row =
            |row: &Value| format!("{}->{} {}", row["from"], row["to"], row["reason"].as_str().unwrap_or_default());
        let rows = rows.iter().rev().map(row);
        Ok(rows.filter(|row| is_all || row.ends_with("SuccessfulRescale")).collect())
    }

    /// Waits until the centre's history of a policy has exactly these decisions.
    ///
    /// # Errors
    /// If it has others.
    pub fn wait_history(&self, policy: &str, expected: &[&str]) -> anyhow::Result<()> {
        wait_for("the centre's history", || {
            let told = self.history(policy, false)?;
            ensure!(told == expected, "{:?}", self.history(policy, true)?);
            Ok(())
        })
    }

    /// The end of the agent's log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.node.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
