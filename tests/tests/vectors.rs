//! Cases of the field's own suites, which lie beside the repository: all have to pass. And the tests that our own packs of
//! rules come with.

use skerry_tests::promqltest::Outcome;
use skerry_tests::vectors::{files, run_file};
use std::fmt::Write;
use std::path::Path;

#[test]
fn all_cases_pass() {
    let passed = all_pass("../../shared/rules-vectors");
    assert!(passed > 300, "only {passed} cases were found");
}

/// Cases that are not beside the repository: the rest of those suites as far as they speak of what is built here, and newer
/// ones.
#[test]
fn further_cases_pass() {
    let passed = all_pass("data/vectors");
    assert!(passed > 200, "only {passed} cases were found");
}

/// What is not understood is no success.
#[test]
fn what_is_not_known_fails() {
    for (text, told) in [
        (r#"{"cases": [{"name": "a", "whatever": 1}]}"#, "holds cases of a kind that is not known"),
        (
            r#"{"more": [{"a": 1}], "quantities": [{"quantity": "1", "expect": {"milli": 1000}}]}"#,
            "holds cases of a kind that is not known",
        ),
        (
            r#"{"quantities": [{"quantity": "1", "expect": {"milli": 1000, "units": 7}}]}"#,
            "field units of what is expected",
        ),
        (
            r#"{"cases": [{"readings": [], "spec": {}, "current": 1, "later": 3}]}"#,
            "field later of the case is not known",
        ),
        (r#"{"source": {"repo": "a"}}"#, "none of the known kinds"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        std::fs::write(&file, text).unwrap();
        let failed: Vec<String> = run_file(&file)
            .cases
            .into_iter()
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Failed(reason) => Some(reason),
                _ => None,
            })
            .collect();
        assert!(failed.len() == 1 && failed[0].contains(told), "{text}: {failed:?}");
    }
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
