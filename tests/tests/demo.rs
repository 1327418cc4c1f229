//! `cargo demo -- …`, as a newcomer runs it: cargo hands the second `--` on.

use anyhow::{Context, ensure};
use std::process::Command;

#[test]
fn the_demo_ends_by_itself_and_tells_what_arrived() -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_skerry-demo"))
        .args(["--", "--for", "15s", "--nodes", "2", "--json"])
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {told}", output.status);
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let number = |field: &str| view[field].as_u64().with_context(|| format!("{field} in {view}"));
    assert_eq!(number("nodes")?, 2, "{view}");
    assert_eq!(number("config_revision_applied")?, 1, "{view}");
    assert!(number("samples")? > 500 && number("log_lines")? > 0 && number("batches_acked")? > 4, "{view}");
    assert!(number("backlog")? <= 4, "{view}");
    Ok(())
}
