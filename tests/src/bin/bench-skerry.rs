//! `cargo bench-skerry NAME`: measures, beside a peer in the same run, and says which limits are met.

use clap::{Parser, Subcommand};
use skerry_tests::bench::{Report, footprint, logs, promql, recording, remote, rules, scaling, scrape, tsdb};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measure Skerry beside its peers.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-skerry", arg_required_else_help = true)]
struct Args {
    /// Measure little: for trying it out, not for quoting.
    #[arg(long, global = true)]
    short: bool,
    /// Print nothing but the JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    name: Name,
}

#[derive(Debug, Subcommand)]
enum Name {
    /// The agent's memory, CPU, disk and flash at 15 s, 500 series and 100 log lines a second, for ten minutes.
    Footprint,
    /// Logs at node and centre: drain of a backlog, steady load, idling, size at rest, search; beside Fluent Bit or rsyslog.
    Logs {
        /// Fluent Bit's program, to drain the same file; else Debian's rsyslog is taken where it is installed.
        #[arg(long)]
        peer_bin: Option<PathBuf>,
        /// The agent's program, such as the static one; else it is built with this program's profile.
        #[arg(long)]
        agent_bin: Option<PathBuf>,
    },
    /// PromQL at the centre over a day of 500 series, beside Prometheus.
    Promql,
    /// Remote write in and out at the centre, beside VictoriaMetrics.
    Remote,
    /// Rules and notices: evaluation at node and centre, memory, time to a notice; beside Prometheus and Alertmanager.
    Rules,
    /// Scaling: a round of 100 policies, and loads met beside the plain formula of Kubernetes's autoscaler.
    Scaling,
    /// Reading an exposition of 1,000 lines.
    Scrape,
    /// The stores of samples at node and centre: size, flash, append, read, intake beside VictoriaMetrics.
    Tsdb,
    /// Make the recording that tsdb reads: scrape a node_exporter once a second.
    Record {
        /// Where it answers.
        #[arg(long, default_value = "http://127.0.0.1:9100/metrics")]
        url: String,
        /// For how many minutes.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
}

fn main() -> ExitCode {
    let args = Args::parse_from(skerry_tests::command_line());
    let say = |text: &str| {
        if !args.json {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    };
    let outcome = match args.name {
        Name::Footprint => footprint::run(Duration::from_secs(if args.short { 60 } else { 600 }), &say),
        Name::Logs { peer_bin, agent_bin } => {
            let extent = if args.short { logs::Extent::short() } else { logs::Extent::full() };
            logs::run(&extent, agent_bin, peer_bin.as_deref(), &say)
        }
        Name::Promql => promql::run(if args.short { 2 } else { 24 }, &say),
        Name::Remote => remote::run(if args.short { 50 } else { 500 }, &say),
        Name::Rules => rules::run(if args.short { rules::Extent::short() } else { rules::Extent::full() }, &say),
        Name::Scaling => scaling::run(args.short, &say),
        Name::Scrape => scrape::run(Duration::from_secs(if args.short { 1 } else { 5 }), &say),
        Name::Tsdb => tsdb::run(if args.short { 2 } else { 24 }, &say),
        Name::Record { url, minutes } => {
            recording::record(&url, Duration::from_secs(minutes * 60), &recording::folder()).map(|()| Report::default())
        }
    };
    match outcome.and_then(|report| print(&report, args.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The table for people, and as last line the object for programs.
fn print(report: &Report, only_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if !only_json {
        out.write_all(report.table().as_bytes())?;
    }
    writeln!(out, "{}", serde_json::to_string(report)?)?;
    Ok(())
}
