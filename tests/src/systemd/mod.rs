//! Two things in place of a machine's systemd: a fake `systemctl`, and a real systemd in a small root of its own.

use crate::lab::{Running, wait_for};
use anyhow::{Context, ensure};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const FAKE: &str = include_str!("fake.sh");
const INSIDE: &str = include_str!("inside.sh");
const OUTSIDE: &str = include_str!("outside.sh");

/// A **fake** `systemctl`: a script that keeps the states of units in files. It knows `show`, `start`, `stop` and
/// `reset-failed`, and the templates that it is given.
#[derive(Debug)]
pub struct FakeSystemctl {
    folder: PathBuf,
}

impl FakeSystemctl {
    /// With these templates, `name@.service`, each with the properties that `show` tells of it, one to a line.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn new(folder: &Path, templates: &[(&str, &str)]) -> anyhow::Result<Self> {
        for part in ["bin", "units", "templates"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        for (name, properties) in templates {
            std::fs::write(folder.join("templates").join(name), properties)?;
        }
        program(&folder.join("bin/systemctl"), &FAKE.replace("FOLDER", &folder.display().to_string()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// A PATH on which it comes first.
    #[must_use]
    pub fn search(&self) -> String {
        format!("{}:/usr/bin:/bin", self.folder.join("bin").display())
    }

    /// Units that are there, by name, with their states.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn units(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut units = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("units"))? {
            let entry = entry?;
            let state = std::fs::read_to_string(entry.path())?;
            units.push((entry.file_name().to_string_lossy().into_owned(), state.trim().to_owned()));
        }
        units.sort();
        Ok(units)
    }

    /// Sets the state of a unit, as when it fails or somebody starts it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set(&self, unit: &str, state: &str) -> std::io::Result<()> {
        std::fs::write(self.folder.join("units").join(unit), state)
    }

    /// Makes every call fail with these words, or hang where they are `hang`; empty: no more.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn fail(&self, words: &str) -> std::io::Result<()> {
        std::fs::write(self.folder.join("fail"), words)
    }

    /// All calls so far, one to a line.
    #[must_use]
    pub fn calls(&self) -> String {
        std::fs::read_to_string(self.folder.join("calls")).unwrap_or_default()
    }
}

/// A real systemd as the first process of namespaces of its own, in a root with nothing of the machine in it but `/usr`,
/// read-only. It ends with this value.
#[derive(Debug)]
pub struct RealSystemd {
    folder: PathBuf,
    cgroup: PathBuf,
    process: Option<Running>,
}

impl RealSystemd {
    /// With these unit files; `None` where it cannot be had: it needs root, systemd, and namespaces.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn start(folder: &Path, units: &[(&str, &str)]) -> anyhow::Result<Option<Self>> {
        let tree = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let tree = tree.into_iter().find(|tree| tree.join("cgroup.controllers").exists());
        let (Some(tree), true) = (tree, rustix::process::getuid().is_root()) else { return Ok(None) };
        if !Path::new("/usr/lib/systemd/systemd").exists() {
            return Ok(None);
        }
        for part in ["bin", "units", "root"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        for (name, text) in units {
            std::fs::write(folder.join("units").join(name), text)?;
        }
        std::fs::write(folder.join("units/skerry-test.target"), "[Unit]\nDefaultDependencies=no\n")?;
        std::fs::write(folder.join("inside.sh"), INSIDE)?;
        std::fs::write(folder.join("outside.sh"), OUTSIDE)?;
        let own = folder.file_name().map(|name| name.to_string_lossy().replace('.', "")).unwrap_or_default();
        let cgroup = tree.join(format!("skerry-test-{}-{own}", std::process::id()));
        let mut command = Command::new("sh");
        command.arg(folder.join("outside.sh")).arg(&cgroup).arg(folder);
        let log = folder.join("systemd.log");
        let mut process = Running::spawn(&mut command, &log)?;
        let id = process.id();
        let started = wait_for("systemd", || {
            ensure!(!process.has_ended(), "it has ended");
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
            let first: u32 = children.trim().parse().context("no child yet")?;
            let enter = format!(
                "#!/bin/sh\nexec /usr/bin/nsenter --target {first} --mount --pid -- /usr/bin/systemctl \"$@\"\n"
            );
            program(&folder.join("bin/systemctl"), &enter)?;
            let output =
                Command::new(folder.join("bin/systemctl")).args(["is-active", "skerry-test.target"]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            Ok(())
        });
        let real = Self { folder: folder.to_owned(), cgroup, process: Some(process) };
        if let Err(error) = started {
            eprintln!("systemd did not start: {error:#} {}", std::fs::read_to_string(&log).unwrap_or_default());
            return Ok(None);
        }
        Ok(Some(real))
    }

    /// A PATH whose `systemctl` is the machine's own, talking to this systemd.
    #[must_use]
    pub fn search(&self) -> String {
        self.folder.join("bin").display().to_string()
    }

    /// What `systemctl` says.
    ///
    /// # Errors
    /// If it fails.
    pub fn systemctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(self.folder.join("bin/systemctl")).arg("--no-pager").args(args).output()?;
        ensure!(output.status.success(), "systemctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for RealSystemd {
    fn drop(&mut self) {
        // With it everything in its namespaces is killed.
        if let Some(process) = self.process.take() {
            process.kill();
        }
        let gone = wait_for("its cgroups", || {
            remove(&self.cgroup);
            ensure!(!self.cgroup.exists(), "{} is still there", self.cgroup.display());
            Ok(())
        });
        if let Err(error) = gone {
            eprintln!("{error:#}");
        }
    }
}

/// Removes a tree of cgroups that nobody is in.
fn remove(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    // It fails while somebody is in it; it is tried again.
    let _ = std::fs::remove_dir(cgroup);
}

fn program(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}
