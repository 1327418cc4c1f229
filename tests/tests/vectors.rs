//! Cases of the field's own suites, which lie beside the repository: all have to pass; what belongs to scaling is left
//! out. And the tests that our own packs of rules come with.

use skerry_tests::promqltest::Outcome;
use skerry_tests::vectors::{files, run_file};
use std::fmt::Write;
use std::path::Path;

#[test]
fn all_cases_pass() {
    let passed = all_pass("../../shared/rules-vectors");
    assert!(passed > 190, "only {passed} cases were found");
}

#[test]
fn the_packs_pass_their_own_tests() {
    assert!(all_pass("../shared/alerting/packs") >= 12, "rule files and tests");
}

/// Runs the cases below a folder, of which none may fail; how many there are.
fn all_pass(folder: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let found = files(std::slice::from_ref(&folder)).unwrap_or_else(|error| {
        panic!("all cases are skipped: {}: {error}", folder.display());
    });
    let (mut passed, mut skipped, mut failures) = (0, 0, String::new());
    for file in found {
        for (case, outcome) in run_file(&file).cases {
            match outcome {
                Outcome::Passed => passed += 1,
                Outcome::Skipped(_) => skipped += 1,
                Outcome::Failed(reason) => {
                    let _ = writeln!(failures, "{}: {case}: {reason}", file.display());
                }
            }
        }
    }
    let failed = failures.lines().count();
    assert!(failures.is_empty(), "{passed} passed, {failed} failed, {skipped} skipped:\n{failures}");
    passed
}
