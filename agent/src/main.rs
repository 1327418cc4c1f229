//! The agent's command line and lifecycle.

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use skerry_agent::api::{
    Status, alerts_text, follow_logs, logs_text, recommended_text, scaling_data, scaling_explained, scaling_text,
    targets_text, workloads_text,
};
use skerry_agent::clock::Clock;
use skerry_agent::config::{Checked, Local, check_files, read_local, reference};
use skerry_agent::http;
use skerry_agent::wipe::Wiping;
use skerry_agent::wiring::{self, Exit, Lasting, Process};
use skerry_promapi::Params;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is freed is wiped while log inputs redact.
#[global_allocator]
static MEMORY: Wiping = Wiping;

/// Longest pause between a run that failed and the next one.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Blocking threads: one round of collection, one of the log inputs, two readers of the store, rules, metrics of
/// policies, name resolution.
const BLOCKING_THREADS_MAX: usize = 8;

/// Collects, keeps and ships what a node measures and logs, and obeys signed configs alone.
#[derive(Parser)]
#[command(name = "skerry-agent", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent until SIGTERM or SIGINT; SIGHUP reads the file again.
    Run(ConfigArg),
    /// Check config files: agent.yaml, NodeConfigs, manifests of ScalingPolicy, HorizontalPodAutoscaler and Workload. Several
    /// are also checked together, as those of one node.
    CheckConfig {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show how the agent on this machine is.
    Status(AskArgs),
    /// Show what the agent on this machine scrapes, and how that goes.
    Targets(AskArgs),
    /// Show the alerts of this machine: those that fire, are held back, or wait.
    Alerts(AskArgs),
    /// Show what this machine scales.
    #[command(subcommand)]
    Scale(ScaleCommand),
    /// Show the workloads of this machine, and how their containers are.
    Workloads(AskArgs),
    /// Print log lines that the agent on this machine keeps, oldest first; or search them with LogQL.
    Logs(LogsArgs),
    /// Print the reference of all config keys, as Markdown.
    ConfigReference,
}

#[derive(Args)]
struct ConfigArg {
    /// The agent's config file.
    #[arg(long, env = "SKERRY_CONFIG", default_value = "/etc/skerry/agent.yaml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum ScaleCommand {
    /// Every policy: its replicas, metrics and what holds it back.
    List(AskArgs),
    /// What a policy would do now, and why: its metrics, their proposals, and which window, rate or bound decides. Nothing is
    /// changed.
    Explain {
        /// A policy of this machine, or a file of ScalingPolicy or HorizontalPodAutoscaler documents to try out.
        policy: String,
        #[command(flatten)]
        args: AskArgs,
    },
    /// What CPU and memory each container should ask for.
    Recommend(AskArgs),
}

/// How the agent on this machine is asked.
#[derive(Args)]
struct AskArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Address of its local HTTP; taken from the config file where it is not given.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Output format; json is what its API answers.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Args)]
struct LogsArgs {
    /// LogQL, as '{source="app"} |= "failed"', or what follows a selector of every line, as '|= "failed"'.
    query: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// Address of its local HTTP; taken from the config file where it is not given.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Only lines of this last span of time.
    #[arg(long, default_value = "1h")]
    since: skerry_model::Span,
    /// Most lines of that time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    limit: u32,
    /// Go on with the lines that are written from now on.
    #[arg(short, long)]
    follow: bool,
    /// Output format; json is what Loki's API answers.
    #[arg(short, long, value_enum, default_value = "text", conflicts_with = "follow")]
    output: Output,
    /// The lines alone, as they are.
    #[arg(long)]
    raw: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(&args.config),
        Command::CheckConfig { files } => check(&files),
        Command::Status(args) => status(&args.config.config, args.address, args.output),
        Command::Targets(args) => targets(&args.config.config, args.address, args.output),
        Command::Alerts(args) => alerts(&args.config.config, args.address, args.output),
        Command::Scale(command) => scale(&command),
        Command::Workloads(args) => workloads(&args),
        Command::Logs(args) => logs(&args),
        Command::ConfigReference => print(&reference()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("standard output")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(Duration::from_secs(60))
        .build()
        .context("start the runtime")
}

fn run(file: &Path) -> anyhow::Result<()> {
    log_to_stderr();
    let local = read_local(file)?;
    // Bound once: the address lasts as long as the process.
    let listener = TcpListener::bind(local.listen)
        .with_context(|| format!("cannot listen on {}; is another agent running?", local.listen))?;
    listener.set_nonblocking(true).context("the local HTTP")?;
    let process = Process {
        clock: Clock::system(),
        listener,
        stop: CancellationToken::new(),
        reload: Arc::new(Notify::new()),
        alerting: Lasting::default(),
    };
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        tokio::spawn(signals(process.stop.clone(), process.reload.clone()));
        runs(file, local, &process).await
    });
    // A blocking read that hangs, such as of a dead network file system, does not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Run after run, until the agent is stopped.
async fn runs(file: &Path, mut local: Local, process: &Process) -> anyhow::Result<()> {
    let mut pause = Duration::from_secs(1);
    let mut first = true;
    loop {
        match wiring::run(&local, process).await {
            Ok(Exit::Stop) => return Ok(()),
            Ok(Exit::Reload) => pause = Duration::from_secs(1),
            // A first start that fails is a matter for whoever started the agent.
            Err(error) if first => return Err(error),
            Ok(Exit::Failed) => {}
            Err(error) => tracing::error!(error = format!("{error:#}"), "the agent could not begin anew"),
        }
        first = false;
        match read_local(file) {
            Ok(read) if read.listen == local.listen && read.data_dir == local.data_dir => local = read,
            Ok(_) => tracing::warn!("listen and data_dir change with a restart of the process alone; the file waits"),
            Err(faults) => tracing::error!(%faults, "the local file is not usable; what was read before counts"),
        }
        if pause > Duration::from_secs(1) {
            tokio::select! {
                () = process.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// SIGTERM and SIGINT stop, the second time at once; SIGHUP reads the local file again.
async fn signals(stop: CancellationToken, reload: Arc<Notify>) {
    let handlers = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = handlers else {
        tracing::error!("signals cannot be handled; the agent can only be killed");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {
                reload.notify_one();
                continue;
            }
        }
        if stop.is_cancelled() {
            std::process::exit(130);
        }
        stop.cancel();
    }
}

/// `SKERRY_LOG` filters (`debug`, `warn,skerry_agent::logs=trace`; default `info`), `SKERRY_LOG_FORMAT=json` gives one JSON object per line.
fn log_to_stderr() {
    let told = std::env::var("SKERRY_LOG").ok().filter(|told| !told.is_empty());
    let filter = told.as_ref().map(|told| told.parse::<Targets>());
    let usual = || Targets::new().with_default(tracing::Level::INFO);
    let builder =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr).with_ansi(false);
    let targets = filter.as_ref().and_then(|parsed| parsed.as_ref().ok()).cloned().unwrap_or_else(usual);
    if std::env::var("SKERRY_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().finish().with(targets).init();
    } else {
        builder.with_target(false).finish().with(targets).init();
    }
    if let (Some(told), Some(Err(error))) = (told, filter) {
        tracing::warn!(told, %error, "SKERRY_LOG is no filter: a level, or TARGET=LEVEL with commas, is expected; info counts");
    }
}

fn check(files: &[PathBuf]) -> anyhow::Result<()> {
    let Checked { said, faults } = check_files(files);
    print(&said.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Where the agent's local HTTP is.
fn address_of(file: &Path, address: Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
    match address {
        Some(address) => Ok(address),
        None => {
            let local = read_local(file);
            let local = local
                .context("where the agent listens is not known: name its file (--config) or its address (--address)")?;
            Ok(local.listen)
        }
    }
}

/// What the running agent answers on a path.
fn ask(file: &Path, address: Option<SocketAddr>, path: &str) -> anyhow::Result<http::Answer> {
    let address = address_of(file, address)?;
    let answer = runtime()?.block_on(http::get(&format!("http://{address}{path}"), 16 << 20));
    answer.with_context(|| unanswered(address))
}

fn unanswered(address: SocketAddr) -> String {
    format!("no answer from an agent at {address}; does it run there (`systemctl status skerry-agent`)?")
}

fn targets(file: &Path, address: Option<SocketAddr>, output: Output) -> anyhow::Result<()> {
    let answer = ask(file, address, "/api/v1/targets")?;
    match output {
        Output::Json => print(&format!("{}\n", String::from_utf8_lossy(&answer.body))),
        Output::Text => print(&targets_text(&answer.body).context("the agent's answer")?),
    }
}

fn alerts(file: &Path, address: Option<SocketAddr>, output: Output) -> anyhow::Result<()> {
    let address = Some(address_of(file, address)?);
    let routed = ask(file, address, "/api/v2/alerts")?;
    match output {
        Output::Json => print(&format!("{}\n", String::from_utf8_lossy(&routed.body))),
        Output::Text => {
            let waiting = ask(file, address, "/api/v1/alerts")?;
            print(&alerts_text(&waiting.body, &routed.body).context("the agent's answer")?)
        }
    }
}

fn scale(command: &ScaleCommand) -> anyhow::Result<()> {
    let get = |args: &AskArgs, path: &str| ask(&args.config.config, args.address, path);
    match command {
        ScaleCommand::List(args) => show(args, &get(args, "/api/v1/scaling")?.body, scaling_text),
        ScaleCommand::Recommend(args) => show(args, &get(args, "/api/v1/scaling/recommend")?.body, recommended_text),
        ScaleCommand::Explain { policy, args } => {
            let path = Path::new(policy);
            let is_named = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
            let body = if is_named || path.is_file() {
                let text = std::fs::read(policy).with_context(|| format!("cannot read {policy}"))?;
                let address = address_of(&args.config.config, args.address)?;
                let query = Params::encode(&[("file", policy.clone())]);
                let url = format!("http://{address}/api/v1/scaling/explain?{query}");
                let answer = runtime()?.block_on(http::post(&url, "application/yaml", text, 16 << 20));
                answer.with_context(|| unanswered(address))?.body
            } else {
                let query = Params::encode(&[("policy", policy.clone())]);
                get(args, &format!("/api/v1/scaling/explain?{query}"))?.body
            };
            show(args, &body, scaling_explained)
        }
    }
}

fn workloads(args: &AskArgs) -> anyhow::Result<()> {
    show(args, &ask(&args.config.config, args.address, "/api/v1/workloads")?.body, workloads_text)
}

/// An answer about scaling in the format that was asked for.
fn show(args: &AskArgs, body: &[u8], text: fn(&[u8]) -> Result<String, String>) -> anyhow::Result<()> {
    let shown = match args.output {
        Output::Json => scaling_data(body).map(|data| format!("{}\n", serde_json::Value::Array(data))),
        Output::Text => text(body),
    };
    print(&shown.map_err(anyhow::Error::msg)?)
}

fn logs(args: &LogsArgs) -> anyhow::Result<()> {
    let query = match args.query.as_deref().unwrap_or_default().trim() {
        query if query.starts_with('{') => query.to_owned(),
        // Every input has a name.
        rest => format!("{{source=~\".+\"}} {rest}"),
    };
    let params = [("query", query), ("since", args.since.to_string()), ("limit", args.limit.to_string())];
    let encoded = Params::encode(&params);
    if args.follow {
        let address = address_of(&args.config.config, args.address)?;
        let show = |text: &str| print(text).map_err(|error| error.to_string());
        return Ok(runtime()?.block_on(follow_logs(address, &encoded, args.raw, show))?);
    }
    let answer = ask(&args.config.config, args.address, &format!("/loki/api/v1/query_range?{encoded}"))?;
    anyhow::ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body).trim_end());
    match args.output {
        Output::Json => print(&format!("{}\n", String::from_utf8_lossy(&answer.body))),
        Output::Text => print(&logs_text(&answer.body, args.raw)?),
    }
}

fn status(file: &Path, address: Option<SocketAddr>, output: Output) -> anyhow::Result<()> {
    let answer = ask(file, address, "/status")?;
    match output {
        Output::Json => print(&format!("{}\n", String::from_utf8_lossy(&answer.body))),
        Output::Text => {
            let status: Status = serde_json::from_slice(&answer.body).context("the agent's answer")?;
            print(&status.text())
        }
    }
}
