//! A real Docker engine of a test's own, or a real Podman: its socket, its data, its images. No other engine on the machine
//! is touched.

use crate::lab::{Running, wait_for};
use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs in the image; busybox is all of them.
const APPLETS: [&str; 12] =
    ["sh", "sleep", "seq", "head", "tr", "cat", "echo", "test", "true", "false", "touch", "httpd"];

/// Which program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Docker,
    Podman,
}

/// An engine that ends with its value.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    folder: PathBuf,
    socket: PathBuf,
    daemon: Option<Running>,
}

impl Engine {
    /// Starts one in a folder that is made. `None`, and said so, where one cannot be had on this machine.
    ///
    /// # Errors
    /// If the folder or the process fails.
    pub fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let is_here = Path::new("/usr/sbin/dockerd").exists() || Path::new("/usr/bin/dockerd").exists();
        if !is_here || !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: needs root and the Debian package docker.io");
            return Ok(None);
        }
        Self::begin(Kind::Docker, folder)
    }

    /// A Podman that serves Docker's API, likewise. `podman` is looked for on the `PATH`, and `docker` is how it is spoken to.
    ///
    /// # Errors
    /// If the folder or the process fails.
    pub fn podman(folder: &Path) -> anyhow::Result<Option<Self>> {
        let is_here = Command::new("podman").arg("--version").output().is_ok_and(|output| output.status.success());
        if !is_here || !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: needs root and the Debian package podman");
            return Ok(None);
        }
        Self::begin(Kind::Podman, folder)
    }

    fn begin(kind: Kind, folder: &Path) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        let mut engine = Self { kind, folder: folder.to_owned(), socket: folder.join("docker.sock"), daemon: None };
        if let Err(error) = engine.up() {
            eprintln!("SKIPPED: {error:#}");
            return Ok(None);
        }
        Ok(Some(engine))
    }

    /// Starts the daemon over the data that is there, and waits for its answer.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn up(&mut self) -> anyhow::Result<()> {
        let mut command = match self.kind {
            Kind::Docker => self.dockerd()?,
            Kind::Podman => self.served(),
        };
        let log = self.folder.join("daemon.log");
        let mut daemon = Running::spawn(&mut command, &log)?;
        let began = wait_for("the engine to answer", || {
            ensure!(!daemon.has_ended(), "the daemon ended");
            self.docker(&["version"]).map(drop)
        });
        began.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn dockerd(&self) -> anyhow::Result<Command> {
        let dockerd = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(dockerd.context("dockerd: install the Debian package docker.io")?);
        command.arg("--host").arg(format!("unix://{}", self.socket.display()));
        command.arg("--data-root").arg(self.folder.join("data")).arg("--exec-root").arg(self.folder.join("exec"));
        command.arg("--pidfile").arg(self.folder.join("pid"));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]);
        // Networks that a test which was killed left behind take the usual ranges, one each, and there are 31.
        command.args(["--default-address-pool", "base=10.64.0.0/10,size=24"]);
        // Its containers outlive it, as they do on machines that are set up with care.
        command.arg("--live-restore");
        Ok(command)
    }

    fn served(&self) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.folder.join("data")).arg("--runroot").arg(self.folder.join("run"));
        command.arg("--tmpdir").arg(self.folder.join("tmp"));
        command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"]);
        command.args(["system", "service", "--time=0"]).arg(format!("unix://{}", self.socket.display()));
        command
    }

    /// Ends the daemon in order. Its containers run on.
    ///
    /// # Errors
    /// If it does not end.
    pub fn down(&mut self) -> anyhow::Result<()> {
        self.daemon.take().map_or(Ok(()), |daemon| daemon.stop().map(drop))
    }

    /// Freezes the daemon: its socket takes connections and nothing is answered. [`Engine::thaw`] ends that.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen daemon go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.daemon.as_ref().context("the daemon does not run")?.id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("its number")?;
        kill_process(pid, signal).context("signal the daemon")
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs `docker` against it and gives what it prints.
    ///
    /// # Errors
    /// If it fails, with what it says.
    pub fn docker(&self, args: &[&str]) -> anyhow::Result<String> {
        let host = format!("unix://{}", self.socket.display());
        let output = Command::new("docker").arg("--host").arg(host).args(args).output()?;
        ensure!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// As [`Engine::docker`], with the arguments as they would be typed: split at spaces.
    ///
    /// # Errors
    /// As there.
    pub fn typed(&self, line: &str) -> anyhow::Result<String> {
        self.docker(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs `docker-compose` against it, in the folder of a project, and gives what it prints.
    ///
    /// # Errors
    /// If it fails, with what it says.
    pub fn compose(&self, project: &Path, line: &str) -> anyhow::Result<String> {
        let host = format!("unix://{}", self.socket.display());
        let mut command = Command::new("docker-compose");
        let output = command.env("DOCKER_HOST", host).current_dir(project).args(line.split_whitespace()).output()?;
        ensure!(output.status.success(), "docker-compose {line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Makes an image of this name with nothing but busybox.
    ///
    /// # Errors
    /// If a program fails.
    pub fn image(&self, name: &str) -> anyhow::Result<()> {
        let (root, tar) = (self.folder.join("image/bin"), self.folder.join("image.tar"));
        if !tar.exists() {
            std::fs::create_dir_all(&root)?;
            std::fs::copy("/bin/busybox", root.join("busybox"))
                .context("busybox: install the Debian package busybox-static")?;
            for applet in APPLETS {
                std::os::unix::fs::symlink("busybox", root.join(applet))?;
            }
            let image = self.folder.join("image");
            let packed = Command::new("tar").arg("-C").arg(image).arg("-cf").arg(&tar).arg(".").status()?;
            ensure!(packed.success(), "tar failed");
        }
        self.docker(&["import", &tar.display().to_string(), name]).map(drop)
    }

    /// Ends all containers and networks; those that `--live-restore` left behind would outlive the test.
    fn clear(&mut self) -> anyhow::Result<()> {
        if self.daemon.is_none() {
            self.up()?;
        }
        // A frozen daemon could not be asked.
        self.thaw()?;
        let all = self.docker(&["ps", "--all", "--quiet"])?;
        let ids: Vec<&str> = all.lines().collect();
        if !ids.is_empty() {
            self.docker(&[&["rm", "--force", "--volumes"], &ids[..]].concat())?;
        }
        // So would the interfaces of its networks.
        self.docker(&["network", "prune", "--force"])?;
        // Asked to end, the engine ends its containerd too; killed, it would leave it behind.
        self.down()?;
        // With `--live-restore` it leaves its mounts for whoever comes after it, and the folder could not be removed.
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(&self.folder)) {
            let gone = Command::new("umount").args(["--lazy", point]).status()?;
            ensure!(gone.success(), "{point} stays mounted");
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("{error:#}");
        }
    }
}
