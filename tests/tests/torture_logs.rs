//! The short form of the log torture; the long one is `cargo run -p skerry-tests --bin torture-logs -- --crashes 200`.

use skerry_tests::lab::Binaries;
use skerry_tests::torture::{self, Plan, Style};
use std::time::Duration;

#[test]
fn every_line_is_stored_once_whatever_is_rotated_and_killed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = Plan { crashes: 12, seed: 4, styles: Style::ALL.to_vec(), life_max: Duration::from_millis(900) };
    let report = torture::run(&Binaries::build()?, folder.path(), &plan)?;
    let told = serde_json::to_string_pretty(&report)?;
    anyhow::ensure!(report.exact, "seed {}: {told}", plan.seed);
    for style in &report.styles {
        anyhow::ensure!(style.written > 100 && style.rotations > 0, "{} wrote too little: {told}", style.style);
    }
    Ok(())
}
