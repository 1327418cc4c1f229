//! The admin CLI's entry.

use clap::Parser;
use skerry_fleet::{cli, clock};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let now = clock::system()();
    match cli::run(cli, now) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
