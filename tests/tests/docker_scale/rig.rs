//! An engine of the test's own with what stands on it.

use serde_json::Value;
use skerry_agent::actuate::{Actuator, ActuatorError, ComposeActuator, ContainerActuator};
use skerry_agent::clock::{Clock, ManualClock};
use skerry_agent::docker;
use skerry_scaling::target::{Observed, TargetKind, TargetRef};
use skerry_tests::engine::Engine;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Ends at once when it is asked to.
pub(super) const OBEDIENT: &str = "trap 'exit 0' TERM; while true; do sleep 0.1; done";

/// An engine with an image, an actuator, and a container that belongs to somebody else.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) containers: ContainerActuator,
    pub(super) compose: ComposeActuator,
    pub(super) client: Arc<[docker::Engine]>,
    pub(super) bystander: String,
    time: Arc<ManualClock>,
}

impl Rig {
    pub(super) fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(engine) = Engine::start(&folder.join("docker"))? else { return Ok(None) };
        Self::with(engine, folder).map(Some)
    }

    pub(super) fn with(engine: Engine, folder: &Path) -> anyhow::Result<Self> {
        engine.image("lines:1")?;
        // One socket where nothing is, as Podman's on most nodes.
        let sockets = [folder.join("podman.sock"), engine.socket().to_owned()];
        let client: Arc<[docker::Engine]> = sockets.iter().map(|socket| docker::Engine::new(socket)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (clock, time) = Clock::manual(Clock::system().wall());
        let containers = ContainerActuator::new(client.clone(), &clock);
        let compose = ComposeActuator::new(client.clone(), &clock);
        let mut rig = Self { engine, runtime, containers, compose, client, bystander: String::new(), time };
        // A name that a clone would like to have, and no label.
        rig.run("--name web-2", OBEDIENT)?;
        rig.bystander = rig.fate("web-2")?;
        Ok(rig)
    }

    /// `docker run` in the background, with these options and this script.
    pub(super) fn run(&self, options: &str, script: &str) -> anyhow::Result<String> {
        let mut words = vec!["run", "--detach"];
        if !options.contains("--network") {
            words.push("--network=none");
        }
        words.extend(options.split_whitespace());
        words.extend(["lines:1", "/bin/sh", "-c", script]);
        self.engine.docker(&words)
    }

    /// Gives the name `lines:1` to a new image.
    pub(super) fn image(&self) -> anyhow::Result<()> {
        self.engine.image("lines:1")
    }

    pub(super) fn client(&self) -> &docker::Engine {
        &self.client[1]
    }

    pub(super) fn observe(&self, target: &TargetRef) -> Result<Observed, ActuatorError> {
        self.runtime.block_on(self.of(target).observe(target))
    }

    pub(super) fn scale(&self, target: &TargetRef, replicas: u32) -> Result<(), ActuatorError> {
        self.runtime.block_on(self.of(target).scale(target, replicas))
    }

    /// Lets the time go by that others have to stop and remove replicas.
    pub(super) fn leave_alone(&self) {
        self.time.advance(Duration::from_secs(60));
    }

    pub(super) fn of(&self, target: &TargetRef) -> &dyn Actuator {
        if target.kind == TargetKind::ComposeService { &self.compose } else { &self.containers }
    }

    /// Names of the containers that run, or of all, but for the bystander.
    pub(super) fn names(&self, options: &str) -> anyhow::Result<BTreeSet<String>> {
        let names = self.engine.typed(&format!("ps {options} --format {{{{.Names}}}}"))?;
        Ok(names.lines().filter(|name| *name != "web-2").map(str::to_owned).collect())
    }

    pub(super) fn described(&self, name: &str) -> anyhow::Result<Value> {
        let all: Value = serde_json::from_str(&self.engine.docker(&["inspect", name])?)?;
        Ok(all[0].clone())
    }

    /// Which container it is and since when it runs.
    pub(super) fn fate(&self, name: &str) -> anyhow::Result<String> {
        self.engine.docker(&["inspect", "--format", "{{.Id}} {{.State.Status}} {{.State.StartedAt}}", name])
    }

    /// Nobody touched what belongs to somebody else.
    pub(super) fn check_bystander(&self) -> anyhow::Result<()> {
        assert_eq!(self.fate("web-2")?, self.bystander);
        Ok(())
    }
}

pub(super) fn service(name: &str) -> TargetRef {
    TargetRef { kind: TargetKind::Container, name: name.into(), scope: String::new() }
}

pub(super) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
