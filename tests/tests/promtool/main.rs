//! The same rule files and tests of rules given to Debian's promtool 2.42 and to `skerry rules`: same verdicts, and for
//! the rules of [`cases`] the same series and alerts at every minute. Skipped, and said so, where it is not installed.
//!
//! A test that expects nothing at all makes both tools tell what they have, in the same words, so that the outputs can be
//! compared as they are.

mod cases;

use anyhow::{Context, ensure};
use cases::{CASES, Case, FILES, NOTATIONS, TESTS};
use skerry_tests::lab::Binaries;
use skerry_tests::peers::is_installed;
use skerry_tests::vectors::files;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// What a tool says of a file.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    /// SUCCESS and FAILED of each file in order, with the number of rules.
    verdicts: Vec<String>,
    /// What failed; the texts of errors, which differ between the tools, cut off.
    failures: String,
}

fn ask(mut command: Command) -> anyhow::Result<Said> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    let verdicts = out.lines().chain(err.lines()).map(str::trim);
    let verdicts = verdicts.filter(|line| line.starts_with("SUCCESS") || *line == "FAILED:");
    let mut failures = String::new();
    // promtool 2 names a test before its alerts only.
    for line in err.lines().filter(|line| line.starts_with("    ") && !line.starts_with("    name: ")) {
        let line = line.split_once(", err: ").map_or(line, |(head, _)| head);
        // Of rules that failed promtool writes the time as Go does: 4m0s.
        let line = if line.contains("rule: ") { line.strip_suffix("m0s").unwrap_or(line) } else { line };
        let line = if line.contains("rule: ") { line.strip_suffix('m').unwrap_or(line) } else { line };
        // What is empty is no annotation here.
        let line = if line.contains("Annotations:") { without_empty(line) } else { line.to_owned() };
        // What promtool 3 calls the type of the value.
        let _ = writeln!(failures, "{}", line.trim_end().replace("Value float64 }", "Value interface {} }"));
    }
    Ok(Said { code: output.status.code(), verdicts: verdicts.map(str::to_owned).collect(), failures })
}

/// A line of annotations without those whose text is empty.
fn without_empty(line: &str) -> String {
    let (head, pairs) = line.split_once('{').unwrap_or((line, ""));
    let pairs = pairs.strip_suffix('}').unwrap_or(pairs).split(", ").filter(|pair| !pair.ends_with("=\"\""));
    format!("{head}{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

fn promtool(arguments: &[&str], file: &Path) -> anyhow::Result<Said> {
    let mut command = Command::new("promtool");
    command.args(arguments).arg(file);
    ask(command)
}

fn skerry(program: &Path, arguments: &[&str], file: &Path) -> anyhow::Result<Said> {
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    ask(command)
}

fn is_missing() -> bool {
    let missing = !is_installed("promtool");
    if missing {
        eprintln!("SKIPPED: promtool is not installed (Debian package prometheus)");
    }
    missing
}

/// A test that expects nothing, at every minute and between.
fn probes(case: &Case) -> String {
    let mut text = String::from("rule_files: [rules.yml]\ntests:\n");
    let step = if case.is_odd { "40s" } else { "1m" };
    let _ = writeln!(text, "  - name: probe\n    interval: {step}\n    external_labels: {{e: ext}}\n    input_series:");
    for (series, values) in case.input {
        let _ = writeln!(text, "      - series: '{series}'\n        values: '{values}'");
    }
    let moments = || (0..=12).map(|minute| format!("{minute}m")).chain(["2m30s".into(), "7m10s".into()]);
    text.push_str("    promql_expr_test:\n");
    for at in moments() {
        let _ = writeln!(text, "      - {{expr: '{{__name__=~\".+\"}}', eval_time: {at}}}");
    }
    text.push_str("    alert_rule_test:\n");
    for at in moments() {
        for name in ["A", "B", "C"] {
            let _ = writeln!(text, "      - {{alertname: {name}, eval_time: {at}}}");
        }
    }
    text
}

#[test]
fn rules_give_the_same_series_and_alerts() -> anyhow::Result<()> {
    if is_missing() {
        return Ok(());
    }
    let (folder, program) = (tempfile::tempdir()?, Binaries::build()?.path("skerry"));
    let (rules, test) = (folder.path().join("rules.yml"), folder.path().join("test.yml"));
    let mut differences = String::new();
    for case in &CASES {
        std::fs::write(&rules, format!("groups:\n  - name: g\n    {}\n", case.group))?;
        std::fs::write(&test, probes(case))?;
        let (theirs, ours) = (promtool(&["test", "rules"], &test)?, skerry(&program, &["rules", "test"], &test)?);
        ensure!(
            theirs.code == Some(1) && !theirs.failures.is_empty(),
            "{}: promtool tells nothing: {theirs:?}",
            case.name
        );
        if theirs != ours {
            let _ = writeln!(differences, "{}:\n{}", case.name, difference(&theirs, &ours));
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    Ok(())
}

#[test]
fn input_is_read_alike() -> anyhow::Result<()> {
    if is_missing() {
        return Ok(());
    }
    let (folder, program) = (tempfile::tempdir()?, Binaries::build()?.path("skerry"));
    let test = folder.path().join("test.yml");
    let mut differences = String::new();
    for notation in NOTATIONS {
        let mut text = format!("tests:\n  - interval: 1m\n    input_series: [{{series: x, values: '{notation}'}}]\n");
        text.push_str("    promql_expr_test:\n");
        for minute in 0..10 {
            let _ = writeln!(text, "      - {{expr: 'x + 0', eval_time: {minute}m30s, exp_samples: [{{value: -7}}]}}");
        }
        std::fs::write(&test, text)?;
        let (theirs, ours) = (promtool(&["test", "rules"], &test)?, skerry(&program, &["rules", "test"], &test)?);
        if theirs != ours {
            let _ = writeln!(differences, "{notation:?}:\n{}", difference(&theirs, &ours));
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    Ok(())
}

#[test]
fn test_files_get_the_same_verdict() -> anyhow::Result<()> {
    if is_missing() {
        return Ok(());
    }
    let (folder, program) = (tempfile::tempdir()?, Binaries::build()?.path("skerry"));
    let test = folder.path().join("test.yml");
    std::fs::write(folder.path().join("rules.yml"), "groups: [{name: g, rules: [{alert: A, expr: 1}]}]")?;
    let mut differences = String::new();
    for text in TESTS {
        std::fs::write(&test, text)?;
        let (theirs, ours) = (promtool(&["test", "rules"], &test)?, skerry(&program, &["rules", "test"], &test)?);
        if (theirs.code, &theirs.verdicts) != (ours.code, &ours.verdicts) {
            let _ = writeln!(differences, "{text}\n{}", difference(&theirs, &ours));
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    Ok(())
}

/// The first lines that differ.
fn difference(theirs: &Said, ours: &Said) -> String {
    let mut text =
        format!("  promtool {:?} {:?}, skerry {:?} {:?}", theirs.code, theirs.verdicts, ours.code, ours.verdicts);
    let (their, our): (Vec<&str>, Vec<&str>) = (theirs.failures.lines().collect(), ours.failures.lines().collect());
    for n in 0..their.len().max(our.len()) {
        let (a, b) = (their.get(n).unwrap_or(&"-"), our.get(n).unwrap_or(&"-"));
        if a != b {
            let before = their[..n].iter().rev().find(|line| line.contains("time:")).unwrap_or(&"");
            let _ = write!(text, "\n  behind {before}\n    promtool {a}\n    skerry   {b}");
            break;
        }
    }
    text
}

#[test]
fn rule_files_get_the_same_verdict() -> anyhow::Result<()> {
    if is_missing() {
        return Ok(());
    }
    let (folder, program) = (tempfile::tempdir()?, Binaries::build()?.path("skerry"));
    let file = folder.path().join("rules.yml");
    let mut differences = String::new();
    for text in FILES {
        std::fs::write(&file, text)?;
        let (theirs, ours) = (promtool(&["check", "rules"], &file)?, skerry(&program, &["rules", "check"], &file)?);
        if (theirs.code, &theirs.verdicts) != (ours.code, &ours.verdicts) {
            let _ = writeln!(differences, "{text}\n{}", difference(&theirs, &ours));
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    Ok(())
}

/// Files beside the repository that promtool 2 reads otherwise: fields that came later, an interval that has another
/// default, names in UTF-8, duplicates among aliases.
const LATER: [&str; 8] = [
    "no-test-group-interval.yml",
    "start-time-test.yml",
    "unittest.yml",
    "rules_run_fuzzy.yml",
    "rules_run_no_fuzzy.yml",
    "utf-8_annotation.good.yaml",
    "utf-8_lname.good.yaml",
    "test_aliases.yaml",
];

#[test]
fn other_suites_and_our_packs_get_the_same_verdict() -> anyhow::Result<()> {
    if is_missing() {
        return Ok(());
    }
    let program = Binaries::build()?.path("skerry");
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![home.join("../shared/alerting/packs")];
    let beside = home.join("../../shared/rules-vectors");
    folders.extend(["promtool", "rulefmt", "prom_rules_fixtures"].map(|name| beside.join(name)));
    let found = files(&folders).with_context(|| format!("all files are skipped: {}", beside.display()))?;
    let (mut compared, mut differences) = (0, String::new());
    for file in found {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if LATER.contains(&&*name) || name.starts_with("legacy_") {
            continue;
        }
        let is_test = std::fs::read_to_string(&file)?.lines().any(|line| line.starts_with("tests:"));
        let (check, rules) = (["check", "rules", "--lint-fatal"], ["rules", "check", "--lint-fatal"]);
        let (theirs, ours) = match is_test {
            true => (promtool(&["test", "rules"], &file)?, skerry(&program, &["rules", "test"], &file)?),
            false => (promtool(&check, &file)?, skerry(&program, &rules, &file)?),
        };
        compared += 1;
        if (theirs.code, &theirs.verdicts) != (ours.code, &ours.verdicts) {
            let _ = writeln!(differences, "{name}\n{}", difference(&theirs, &ours));
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    ensure!(compared > 40, "only {compared} files were compared");
    Ok(())
}
