//! `cargo promqltest PATH…`: runs scripts of Prometheus's PromQL test format; closes with `N passed, N failed, N skipped`.

use clap::Parser;
use skerry_tests::promqltest::{Outcome, run_file, scripts};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run PromQL test scripts.
#[derive(Debug, Parser)]
#[command(name = "cargo promqltest")]
struct Args {
    /// Files, and folders with files that end in `.test`.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Show what was skipped, and why.
    #[arg(long)]
    skipped: bool,
}

fn main() -> ExitCode {
    let args = Args::parse_from(skerry_tests::command_line());
    let mut out = std::io::stdout();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let files = match scripts(&args.paths) {
        Ok(files) => files,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for file in files {
        let shown = file.display();
        match run_file(&file) {
            Err(error) => {
                failed += 1;
                let _ = writeln!(out, "FAILED {error}");
            }
            Ok(report) => {
                let (p, f, s) = report.counts();
                (passed, failed, skipped) = (passed + p, failed + f, skipped + s);
                for (line, expr, outcome) in &report.evals {
                    let _ = match outcome {
                        Outcome::Failed(reason) => writeln!(out, "FAILED {shown}:{line}: {expr}: {reason}"),
                        Outcome::Skipped(reason) if args.skipped => {
                            writeln!(out, "SKIPPED {shown}:{line}: {expr}: {reason}")
                        }
                        _ => Ok(()),
                    };
                }
                let _ = writeln!(out, "{shown}: {p} passed, {f} failed, {s} skipped");
            }
        }
    }
    let _ = writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
