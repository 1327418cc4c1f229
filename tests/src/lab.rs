//! A fleet of real processes: the binaries as users run them, in a folder of their own, on free loopback ports.
//!
//! Everything is done the way an administrator does it, through the CLI and the public API.

use crate::web::web;
use anyhow::{Context, bail, ensure};
pub use skerry_ports::free_port;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take to come true before a wait gives up.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two looks at a condition that only other processes can change.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a process may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(20);

/// The three programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Builds them with the cargo and the profile that built this program.
    ///
    /// # Errors
    /// If cargo fails; its output is on standard error then.
    pub fn build() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("the path of this program")?;
        // Test programs lie one level below the others.
        let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).context("the build folder")?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "skerry-agent",
            "--package",
            "skerry-fleet",
            "--bins",
        ]);
        match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") => {}
            Some(profile) => drop(cargo.args(["--profile", profile])),
            None => bail!("{} is no build folder", folder.display()),
        }
        // What cargo sets for the programs it runs, build scripts take for a change and build anew.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*text) {
                cargo.env_remove(&name);
            }
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's folder")?;
        let built = cargo.current_dir(workspace).status().context("run cargo")?;
        ensure!(built.success(), "the binaries were not built: cargo ended with {built}");
        Ok(Self { folder: folder.to_owned() })
    }

    /// The path of one.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Waits until `condition` holds.
///
/// # Errors
/// After [`PATIENCE`], naming `what` and what the condition said last.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    #[expect(clippy::disallowed_methods, reason = "other processes are waited for, and they live in real time")]
    let begin = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if begin.elapsed() >= PATIENCE => {
                return Err(error.context(format!("gave up waiting for {what}")));
            }
            Err(_) => {}
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The value of a series in a text of metrics, by what stands before it.
///
/// # Errors
/// If it is not there.
pub fn value_of(metrics: &str, series: &str) -> anyhow::Result<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)).with_context(|| series.to_owned())?;
    Ok(value.trim().parse()?)
}

/// Waits until a counter has risen by so much, over resets too; while it cannot be read it does not rise.
///
/// # Errors
/// If it does not.
pub fn wait_rise(series: &str, by: f64, read: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<()> {
    let (mut last, mut risen) = (read().unwrap_or(0.0), 0.0);
    wait_for(series, || {
        let now = read()?;
        risen += if now < last { now } else { now - last };
        last = now;
        ensure!(risen >= by, "it rose by {risen} of {by} to {now}");
        Ok(())
    })
}

/// A process that is killed when it is dropped. It has a process group of its own, so that Ctrl-C on the terminal
/// reaches whoever started it and not the process behind their back.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a program whose output goes to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().append(true).create(true).open(log).context("the process's log file")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(Self(command.spawn().with_context(|| format!("start {}", command.get_program().display()))?))
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it at once, as power loss does.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw).context("its number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("signal it")?;
        let mut waited = Duration::ZERO;
        while waited < STOP_MAX {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
        bail!("process {pid:?} did not end within {} s of SIGTERM", STOP_MAX.as_secs())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A fleet: folder, ports, and the server while it runs.
#[derive(Debug)]
pub struct Lab {
    /// The programs.
    pub binaries: Binaries,
    /// Everything of it lies here.
    pub folder: PathBuf,
    /// Port of HTTP.
    pub http: u16,
    /// Port of MQTT.
    pub mqtt: u16,
    /// The API's token.
    pub api_token: String,
    server: Option<Running>,
}

impl Lab {
    /// Makes a fleet with `skerry init` in an empty folder. Its server does not run yet.
    ///
    /// # Errors
    /// If a program or a file fails.
    pub fn init(binaries: Binaries, folder: &Path) -> anyhow::Result<Self> {
        let (http, mqtt) = (free_port()?, free_port()?);
        let mut lab = Self { binaries, folder: folder.to_owned(), http, mqtt, api_token: String::new(), server: None };
        let (server, data) = (folder.join("server"), folder.join("data"));
        let (server, data) = (server.display().to_string(), data.display().to_string());
        lab.cli(&[
            "init",
            "--server-dir",
            &server,
            "--http",
            &format!("127.0.0.1:{http}"),
            "--mqtt",
            &format!("127.0.0.1:{mqtt}"),
            "--host",
            "127.0.0.1",
            "--data-dir",
            &data,
        ])?;
        let admin = std::fs::read_to_string(folder.join("admin/admin.yaml")).context("read admin.yaml")?;
        let token = admin.lines().find_map(|line| line.strip_prefix("api_token: ")).context("the API token")?;
        token.trim_matches('"').clone_into(&mut lab.api_token);
        Ok(lab)
    }

    /// Changes the server's file: `from` becomes `to`.
    ///
    /// # Errors
    /// If the text is not there.
    pub fn edit_config(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let path = self.folder.join("server/fleet.yaml");
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{} has no {from:?}", path.display());
        Ok(std::fs::write(path, text.replace(from, to))?)
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// If it does not, with the end of its log.
    pub fn start_server(&mut self) -> anyhow::Result<()> {
        let config = self.folder.join("server/fleet.yaml");
        let mut command = Command::new(self.binaries.path("skerry-fleet"));
        command.arg("serve").arg("--config").arg(config);
        self.server = Some(Running::spawn(&mut command, &self.server_log())?);
        wait_for("the server", || self.text("/readyz").map(drop)).with_context(|| tail(&self.server_log()))
    }

    /// How a node and the server stand, for the message of a test that waited in vain: the counters of what goes between
    /// them, and what their logs end with.
    #[must_use]
    pub fn told_of(&self, node: &Node) -> String {
        let counters = |text: anyhow::Result<String>, prefix: &str| match text {
            Ok(text) => text.lines().filter(|line| line.starts_with(prefix)).map(|line| format!("{line}\n")).collect(),
            Err(error) => format!("no metrics: {error:#}\n"),
        };
        format!(
            "the node:\n{}{}\nthe server:\n{}{}",
            counters(node.text("/metrics"), "skerry_sync_"),
            tail(&node.log()),
            counters(self.text("/metrics"), "skerry_fleet_ingest_"),
            tail(&self.server_log())
        )
    }

    /// The server's log.
    #[must_use]
    pub fn server_log(&self) -> PathBuf {
        self.folder.join("fleet.log")
    }

    /// Ends the server as power loss does.
    pub fn kill_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Ends the server in order.
    ///
    /// # Errors
    /// If it does not end, or ends with a failure.
    pub fn stop_server(&mut self) -> anyhow::Result<()> {
        let Some(server) = self.server.take() else { return Ok(()) };
        let status = server.stop()?;
        ensure!(status.success(), "the server ended with {status}: {}", tail(&self.server_log()));
        Ok(())
    }

    /// Whether the server has ended by itself.
    pub fn server_has_ended(&mut self) -> bool {
        self.server.as_mut().is_some_and(Running::has_ended)
    }

    /// The server's process number, while it runs.
    #[must_use]
    pub fn server_id(&self) -> Option<u32> {
        self.server.as_ref().map(Running::id)
    }

    /// Runs the CLI.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn cli(&self, args: &[&str]) -> anyhow::Result<String> {
        let Output { status, stdout, stderr } = self.cli_output(args)?;
        let told = String::from_utf8_lossy(&stderr);
        ensure!(status.success(), "skerry {} ended with {status}: {told}", args.join(" "));
        Ok(String::from_utf8(stdout)?)
    }

    /// Runs the CLI, which may fail.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn cli_output(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(self.binaries.path("skerry"));
        command.arg("--dir").arg(self.folder.join("admin")).args(args).stdin(Stdio::null());
        command.output().context("start skerry")
    }

    /// A text from the server.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let request = web().get(format!("http://127.0.0.1:{}{path}", self.http));
        let request = request.header("Authorization", format!("Bearer {}", self.api_token));
        Ok(request.call()?.body_mut().with_config().limit(256 << 20).read_to_string()?)
    }

    /// JSON from the server's API.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn api(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.text(&format!("/api/v1{path}"))?)?)
    }

    /// What the server says about a node.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn node(&self, name: &str) -> anyhow::Result<serde_json::Value> {
        self.api(&format!("/nodes/{name}?newest=0"))
    }

    /// The page where a browser logs in.
    #[must_use]
    pub fn console(&self) -> String {
        format!("http://127.0.0.1:{}/login?token={}", self.http, self.api_token)
    }

    /// Writes and applies a NodeConfig with this `spec`, indented by two.
    ///
    /// # Errors
    /// If the CLI fails.
    pub fn apply(&self, stream: &str, spec: &str) -> anyhow::Result<String> {
        let path = self.folder.join(format!("{}.yaml", stream.replace('/', "-")));
        let head = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata:\n  name: ";
        std::fs::write(&path, format!("{head}{stream}\nspec:\n{spec}"))?;
        self.cli(&["apply", "-f", &path.display().to_string()])
    }

    /// Prepares an agent: its folder, a token, and an agent.yaml that ends with `sections`. It does not run yet.
    ///
    /// # Errors
    /// If the CLI or a file fails.
    pub fn agent(&self, name: &str, sections: &str) -> anyhow::Result<Node> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let token = self.cli(&["enrol", "token"])?;
        std::fs::write(folder.join("token"), token)?;
        let http = free_port()?;
        let shown = folder.display();
        let config = format!(
            "node: {name}\ndata_dir: {shown}/data\nlisten: 127.0.0.1:{http}\nenrol:\n  token_file: {shown}/token\n{sections}"
        );
        std::fs::write(folder.join("agent.yaml"), config)?;
        let binary = self.binaries.path("skerry-agent");
        Ok(Node { name: name.to_owned(), folder, http, binary, wrapper: Vec::new(), process: None })
    }

    /// Starts an agent, waits until it has joined, and assigns it to `group`.
    ///
    /// # Errors
    /// If any of it fails.
    pub fn join(&self, node: &mut Node, group: &str) -> anyhow::Result<()> {
        node.start()?;
        wait_for("the node to join", || {
            let view = self.node(&node.name)?;
            ensure!(view["enrolled_ms"].is_i64(), "node {} has not joined", node.name);
            Ok(())
        })
        .with_context(|| tail(&node.log()))?;
        self.cli(&["assign", &node.name, "--group", group, "--yes"]).map(drop)
    }

    /// Waits until a node runs this revision of a config.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_config(&self, node: &str, stream: &str, version: u64) -> anyhow::Result<()> {
        wait_for("a config to run", || {
            let view = self.node(node)?;
            let configs = view["configs"].as_array().cloned().unwrap_or_default();
            let runs = configs.iter().any(|c| c["stream"] == stream && c["version"].as_u64() == Some(version));
            ensure!(runs, "{node} runs {configs:?}");
            Ok(())
        })
    }
}

/// An agent: its folder and, while it runs, its process.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Everything of it lies here.
    pub folder: PathBuf,
    /// Port of its local HTTP.
    pub http: u16,
    /// The program that runs.
    pub binary: PathBuf,
    /// What stands before the program, such as an emulator.
    pub wrapper: Vec<String>,
    process: Option<Running>,
}

impl Node {
    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    /// Starts it.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&self.binary),
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(&self.binary);
                command
            }
        };
        command.arg("run").arg("--config").arg(self.folder.join("agent.yaml"));
        self.process = Some(Running::spawn(&mut command, &self.log())?);
        Ok(())
    }

    /// Ends it as power loss does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// If it does not end, or ends with a failure.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let status = process.stop()?;
        ensure!(status.success(), "agent {} ended with {status}: {}", self.name, tail(&self.log()));
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(Running::has_ended)
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Running::id)
    }

    /// A text from its local HTTP.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(web().get(format!("http://127.0.0.1:{}{path}", self.http)).call()?.body_mut().read_to_string()?)
    }

    /// Its `/status`.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn status(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.text("/status")?)?)
    }
}

/// The last lines of a log, for error messages.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("its log ends with:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
}
