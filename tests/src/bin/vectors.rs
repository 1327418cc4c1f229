//! `cargo vectors PATH…`: runs cases of the field's own suites; closes with `N passed, N failed, N skipped`.

use clap::Parser;
use skerry_tests::promqltest::Outcome;
use skerry_tests::vectors::{files, run_file};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run cases of rules, routing and templates.
#[derive(Debug, Parser)]
#[command(name = "cargo vectors")]
struct Args {
    /// Files, and folders with files that end in `.json`, `.yml` or `.yaml`.
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
    // What is not there cannot be judged, and that is no success.
    let (there, absent): (Vec<PathBuf>, Vec<PathBuf>) = args.paths.into_iter().partition(|path| path.exists());
    for path in &absent {
        skipped += 1;
        let _ = writeln!(out, "SKIPPED all cases of {}: it is absent", path.display());
    }
    let found = match files(&there) {
        Ok(found) => found,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for file in found {
        let shown = file.display();
        let report = run_file(&file);
        let (p, f, s) = report.counts();
        (passed, failed, skipped) = (passed + p, failed + f, skipped + s);
        for (case, outcome) in &report.cases {
            let _ = match outcome {
                Outcome::Failed(reason) => writeln!(out, "FAILED {shown}: {case}: {}", on_one_line(reason)),
                Outcome::Skipped(reason) if args.skipped => writeln!(out, "SKIPPED {shown}: {case}: {reason}"),
                _ => Ok(()),
            };
        }
        let _ = writeln!(out, "{shown}: {p} passed, {f} failed, {s} skipped");
    }
    let _ = writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 && absent.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
