//! `cargo demo`: a real fleet on this machine. One server, one or more agents, each joined by token, with a signed
//! config, measuring this machine and reading its logs; nothing in it is made up.

use anyhow::{Context, ensure};
use clap::Parser;
use serde::Serialize;
use skerry_model::Span;
use skerry_tests::lab::{Binaries, Lab, Node};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often the view is refreshed.
const EVERY: Duration = Duration::from_secs(1);
/// The group of all nodes.
const GROUP: &str = "demo";

/// Run a whole fleet on this machine, without root, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "cargo demo")]
struct Args {
    /// Number of agents.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: u16,
    /// Stop by itself after this time, such as 30s.
    #[arg(long = "for")]
    span: Option<Span>,
    /// Print one JSON object at the end and nothing else.
    #[arg(long)]
    json: bool,
    /// Keep everything in this folder [default: a temporary one that is removed].
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// The whole fleet at a moment.
#[derive(Debug, Default, Clone, Serialize)]
struct View {
    /// Nodes connected.
    nodes: u64,
    /// Samples at the centre.
    samples: u64,
    /// Log lines at the centre.
    log_lines: u64,
    /// Batches that the centre has committed and acknowledged.
    batches_acked: u64,
    /// Batches that wait on nodes.
    backlog: u64,
    /// Lowest version of the group's config that runs on a node.
    config_revision_applied: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse_from(skerry_tests::command_line())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let temporary = tempfile::Builder::new().prefix("skerry-demo-").tempdir().context("a temporary folder")?;
    let folder = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    say(args, "Building…")?;
    let mut lab = Lab::init(Binaries::build()?, &folder)?;
    lab.start_server()?;
    // The demo's own log is one more thing to read: each line of the view goes there too.
    let log = folder.join("demo.log");
    let mut nodes = Vec::new();
    for n in 1..=args.nodes {
        let mut node = lab.agent(&format!("node-{n}"), "")?;
        lab.join(&mut node, GROUP)?;
        nodes.push(node);
    }
    let logs = format!(
        "  collect:\n    interval: 2s\n  logs:\n    files:\n      - name: system\n        paths: [/var/log/*.log, \
         /var/log/syslog, /var/log/messages]\n      - name: demo\n        paths: ['{}', '{}']\n  store:\n    \
         log_interval: 2s\n",
        lab.server_log().display(),
        log.display()
    );
    lab.apply(&format!("group/{GROUP}"), &logs)?;
    say(args, &format!("Console  {}", lab.console()))?;
    say(
        args,
        &format!("CLI      {} --dir {}/admin get nodes", lab.binaries.path("skerry").display(), folder.display()),
    )?;
    say(args, "Ctrl-C stops it.\n")?;
    let view = runtime.block_on(watch(args, &mut lab, &mut nodes, &log));
    // Agents first: the last of what they hold still finds the server.
    for node in &mut nodes {
        node.stop()?;
    }
    let view = view?.at_the_end(&lab)?;
    lab.stop_server()?;
    if args.json {
        let mut out = std::io::stdout();
        writeln!(out, "{}", serde_json::to_string(&view)?)?;
    } else {
        say(args, &format!("\nStopped. {} samples and {} log lines had arrived.", view.samples, view.log_lines))?;
    }
    Ok(())
}

/// Shows the view every second until Ctrl-C, SIGTERM or the end of `--for`.
async fn watch(args: &Args, lab: &mut Lab, nodes: &mut [Node], log: &std::path::Path) -> anyhow::Result<View> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut log = std::fs::File::options().append(true).create(true).open(log)?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let end = async {
        match args.span {
            Some(span) => tokio::time::sleep(span.0).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut before = View::default();
    let mut shown = 0u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut interrupt => return Ok(before),
            _ = terminate.recv() => return Ok(before),
            () = &mut end => return Ok(before),
        }
        ensure!(!lab.server_has_ended(), "the server ended by itself; its log is {}", lab.server_log().display());
        if let Some(node) = nodes.iter_mut().find_map(|node| node.has_ended().then_some(node)) {
            anyhow::bail!("agent {} ended by itself; its log is {}", node.name, node.log().display());
        }
        let view = View::of(lab)?;
        let line = format!(
            "nodes {}/{}   samples/s {:>5}   log lines/s {:>4}   samples {:>8}   log lines {:>6}   backlog {:>3}   config {}",
            view.nodes,
            nodes.len(),
            view.samples.saturating_sub(before.samples),
            view.log_lines.saturating_sub(before.log_lines),
            view.samples,
            view.log_lines,
            view.backlog,
            view.config_revision_applied,
        );
        writeln!(log, "{line}")?;
        if std::io::stdout().is_terminal() {
            show(args, &format!("\r\x1b[K{line}"))?;
        } else if shown.is_multiple_of(5) {
            say(args, &line)?;
        }
        shown += 1;
        before = view;
    }
}

impl View {
    fn of(lab: &Lab) -> anyhow::Result<Self> {
        let list = lab.api("/nodes")?;
        let nodes = list["nodes"].as_array().context("the list of nodes")?;
        let sum = |field: &str| nodes.iter().filter_map(|node| node[field].as_u64()).sum();
        let version = |node: &serde_json::Value| {
            let configs = node["configs"].as_array()?;
            configs.iter().find(|config| config["stream"] == format!("group/{GROUP}"))?["version"].as_u64()
        };
        Ok(Self {
            nodes: nodes.iter().filter(|node| node["reach"] == "connected").count() as u64,
            samples: sum("samples"),
            log_lines: sum("log_lines"),
            batches_acked: sum("batches"),
            backlog: nodes
                .iter()
                .filter_map(|node| node["backlog"].as_object())
                .flat_map(|backlog| backlog.values().filter_map(serde_json::Value::as_u64))
                .sum(),
            config_revision_applied: nodes.iter().map(|node| version(node).unwrap_or(0)).min().unwrap_or(0),
        })
    }

    /// The counts with what came in while the agents stopped; who was there counts as it was before.
    fn at_the_end(self, lab: &Lab) -> anyhow::Result<Self> {
        let end = Self::of(lab)?;
        Ok(Self { nodes: self.nodes, ..end })
    }
}

fn say(args: &Args, text: &str) -> anyhow::Result<()> {
    show(args, &format!("{text}\n"))
}

fn show(args: &Args, text: &str) -> anyhow::Result<()> {
    if !args.json {
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}
