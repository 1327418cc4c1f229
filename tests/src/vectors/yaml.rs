//! YAML files: rule files, tests of rules, configs of Alertmanager.

use super::{Report, alertmanager};
use skerry_alerting::rules::{Reading, RuleFile};
use skerry_alerting::unittest::{Files, Options, run_file};
use std::path::Path;

/// One way to look at a file, and whether that goes well.
struct Case {
    /// What tests' names have to contain, or `""`.
    run: &'static str,
    ignores_unknown: bool,
    is_good: bool,
}

/// Files that mean something else than their name says, or several things.
const SPECIAL: [(&str, &[Case]); 8] = [
    ("rules_run.yml", &[whole(false), only("correct", true), only("wrong", false)]),
    ("rules_run_fuzzy.yml", &[whole(false), only("correct", true), only("wrong", false)]),
    ("rules_run_no_fuzzy.yml", &[whole(false)]),
    ("rules_run_extrafields.yml", &[whole(false), tolerant(true)]),
    ("rules_extrafields.yml", &[whole(false), tolerant(true)]),
    ("bad-rules-error.yml", &[whole(true)]),
    ("prometheus-rules.lint.yml", &[whole(true)]),
    ("rules_duplicates.yml", &[whole(true)]),
];

const fn whole(is_good: bool) -> Case {
    Case { run: "", ignores_unknown: false, is_good }
}

const fn only(run: &'static str, is_good: bool) -> Case {
    Case { run, ignores_unknown: false, is_good }
}

const fn tolerant(is_good: bool) -> Case {
    Case { run: "", ignores_unknown: true, is_good }
}

/// Runs the cases of a file.
pub(super) fn run(path: &Path, text: &str, report: &mut Report) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let default = [whole(!says_bad(&name))];
    let cases = SPECIAL.iter().find(|(special, _)| *special == name).map_or(&default[..], |(_, cases)| *cases);
    let has = |key: &str| keys(text).any(|found| found == key);
    for case in cases {
        let reading = Reading { ignore_unknown_fields: case.ignores_unknown, legacy_names: name.starts_with("legacy") };
        let judged = if has("tests") || has("rule_files") || has("evaluation_interval") {
            test(path, case, reading)
        } else if has("groups") {
            RuleFile::read(&name, text, reading).map(drop).map_err(|faults| faults.to_string())
        } else if has("route") || has("receivers") {
            alertmanager::config(&name, text)
        } else {
            return report.add("file", Err("none of the known kinds of YAML files".into()));
        };
        let label = match (case.run, case.ignores_unknown) {
            ("", false) => "file".to_owned(),
            ("", true) => "file, unknown fields ignored".to_owned(),
            (run, _) => format!("tests named {run}"),
        };
        report.add(
            label,
            match (judged, case.is_good) {
                (Ok(()), false) => Err("should be refused or fail".into()),
                (Err(_), false) | (Ok(()), true) => Ok(()),
                (Err(error), true) => Err(error),
            },
        );
    }
}

fn test(path: &Path, case: &Case, reading: Reading) -> Result<(), String> {
    let run = regex::Regex::new(case.run).map_err(|error| error.to_string())?;
    let options = Options { diff: true, run: if case.run.is_empty() { Vec::new() } else { vec![run] } };
    let read = |name: &str| std::fs::read_to_string(name).map_err(|error| error.to_string());
    let list = |folder: &str| {
        let folder = if folder.is_empty() { "." } else { folder };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let verdict = run_file(&path.to_string_lossy(), Files { read: &read, list: &list }, reading, &options);
    match verdict.errors.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => Err(format!("{} more errors behind: {first}", rest.len())),
    }
}

/// Whether a file's name says that it is not to be taken.
fn says_bad(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Keys without a value where a pattern is expected.
    let is_nil = name.contains(".nil-");
    is_nil || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "bad" | "invalid" | "failing"))
}

/// Keys at the top of a YAML text, as far as they stand at the beginning of a line.
fn keys(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (key, _) = line.split_once(':')?;
        let key = key.trim_end().trim_matches(['"', '\'']);
        (!key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_bad() {
        for (name, expected) in [
            ("bad-input-series.yml", true),
            ("rules-bad.yml", true),
            ("record_and_for.bad.yaml", true),
            ("invalid_rules.yaml", true),
            ("failing.yml", true),
            ("conf.nil-match_re-route.yml", true),
            ("badge.yml", false),
            ("conf.good.yml", false),
            ("long-period.yml", false),
        ] {
            assert_eq!(says_bad(name), expected, "{name}");
        }
        let found: Vec<&str> = keys("# x: y\ngroups:\n  - name: a\n\"tests\" : []\n- a: b\n").collect();
        assert_eq!(found, ["groups", "tests"]);
    }
}
