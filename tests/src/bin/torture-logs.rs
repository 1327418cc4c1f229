//! `cargo run -p skerry-tests --bin torture-logs -- --crashes 200 --seed N`: see [`skerry_tests::torture`]. One JSON
//! object on standard output; fails unless every number is stored once or stands in the ledger.

use anyhow::Context;
use clap::Parser;
use skerry_tests::lab::Binaries;
use skerry_tests::torture::{self, Plan, Style};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Kill the agent while numbered logs are written and rotated in every style.
#[derive(Debug, Parser)]
#[command(name = "torture-logs")]
struct Args {
    /// How often the agent is killed.
    #[arg(long, default_value_t = 200)]
    crashes: u32,
    /// Seed of the choices; by default from the clock, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these styles.
    #[arg(long)]
    style: Vec<String>,
    /// Milliseconds that the agent lives at most.
    #[arg(long, default_value_t = 1500)]
    life_ms: u64,
    /// Keep everything in this folder [default: a temporary one, kept where something is missing].
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse_from(skerry_tests::command_line())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    #[expect(clippy::disallowed_methods, reason = "a seed for people to repeat comes from the clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let seed = args.seed.unwrap_or(now);
    let named = |style: &Style| args.style.is_empty() || args.style.iter().any(|name| name == style.name());
    let plan = Plan {
        crashes: args.crashes,
        seed,
        styles: Style::ALL.into_iter().filter(named).collect(),
        life_max: Duration::from_millis(args.life_ms),
    };
    let _ = writeln!(std::io::stderr(), "seed {seed}, {} crashes", plan.crashes);
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let path = args.dir.clone().unwrap_or_else(|| folder.path().to_owned());
    std::fs::create_dir_all(&path)?;
    let report = torture::run(&Binaries::build()?, &path, &plan)?;
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?);
    if !report.exact && args.dir.is_none() {
        let kept = folder.keep();
        let _ = writeln!(std::io::stderr(), "its folder is kept: {}", kept.display());
    }
    Ok(report.accounted)
}
