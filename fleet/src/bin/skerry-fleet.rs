//! The fleet server's command line and lifecycle.

use anyhow::Context;
use clap::{Parser, Subcommand};
use skerry_fleet::{config, wiring};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Takes in what the fleet's nodes send, and hands them what the admins signed.
#[derive(Parser)]
#[command(name = "skerry-fleet", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT.
    Serve {
        /// The server's config file, as `skerry init` writes it.
        #[arg(long, env = "SKERRY_CONFIG", default_value = "/etc/skerry/fleet.yaml")]
        config: PathBuf,
    },
    /// Check a config file.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { config } => serve(&config),
        Command::CheckConfig { file } => check(&file),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &std::path::Path) -> anyhow::Result<()> {
    log_to_stderr();
    let config = config::read(file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(signals(stop.clone()));
        wiring::run(config, stop, |_| {}).await
    })
}

/// SIGTERM and SIGINT stop, the second time at once.
async fn signals(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be handled; the server can only be killed");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if stop.is_cancelled() {
            std::process::exit(130);
        }
        stop.cancel();
    }
}

fn check(file: &std::path::Path) -> anyhow::Result<()> {
    let config = config::read(file)?;
    let told = format!("{}: a good config; data in {}\n", file.display(), config.data_dir.display());
    std::io::stdout().write_all(told.as_bytes()).context("standard output")
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
