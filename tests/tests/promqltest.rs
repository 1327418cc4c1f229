//! Prometheus's own PromQL test scripts, which lie beside the repository: every eval that needs no native histogram has
//! to pass.

use skerry_tests::promqltest::{Outcome, run_file};
use std::path::Path;

/// The scripts that hold without native histograms and without syntax that the parser does not know yet.
const REQUIRED: [&str; 12] = [
    "aggregators",
    "collision",
    "fill-modifier",
    "functions",
    "histograms",
    "info",
    "literals",
    "name_label_dropping",
    "operators",
    "staleness",
    "trig_functions",
    "type_and_unit",
];

#[test]
fn the_required_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest");
    if !folder.is_dir() {
        eprintln!("SKIPPED {} scripts: {} is absent", REQUIRED.len(), folder.display());
        return;
    }
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    for name in REQUIRED {
        let file = folder.join(format!("{name}.test"));
        let report = run_file(&file).unwrap_or_else(|error| panic!("{error}"));
        let (p, _, s) = report.counts();
        (passed, skipped) = (passed + p, skipped + s);
        for (line, expr, outcome) in report.evals {
            if let Outcome::Failed(reason) = outcome {
                failures.push(format!("{name}.test:{line}: {expr}: {reason}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{passed} passed, {} failed, {skipped} skipped:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(passed > 1000, "only {passed} evals were found");
}
