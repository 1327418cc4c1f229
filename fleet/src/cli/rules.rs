//! `skerry rules`: promtool's `check rules` and `test rules`, with its exit codes and words that scripts look for; and
//! the packs of rules that come along.

use super::args::{RulesCheckArgs, RulesCommand, RulesTestArgs};
use super::output::{note, print};
use super::table::table;
use anyhow::Context;
use skerry_alerting::rules::{FLEET_PACKS, PACKS, Reading, RuleFile, pack};
use skerry_alerting::unittest::{Files, Options, run_file};
use skerry_yaml::Faults;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

/// Something is found that `--lint-fatal` makes fatal.
const LINT_CODE: u8 = 3;

/// Runs one of the commands.
///
/// # Errors
/// Where standard output cannot be written, or there is no pack of that name.
pub(super) fn command(command: &RulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Check(args) => check(args),
        RulesCommand::Test(args) => test(args),
        RulesCommand::Packs => packs().map(|()| ExitCode::SUCCESS),
        RulesCommand::Pack { name } => {
            let text = pack(name).with_context(|| format!("{name:?} is no pack; `skerry rules packs` lists them"))?;
            print(text).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn check(args: &RulesCheckArgs) -> anyhow::Result<ExitCode> {
    let lint = Lint::new(&args.lint)?;
    let reading = Reading { ignore_unknown_fields: args.ignore_unknown_fields, ..Reading::default() };
    let (mut has_failed, mut has_remarks) = (false, false);
    let mut judge = |name: &str, text: Result<String, String>| -> anyhow::Result<()> {
        let text = text.map_err(|error| format!("{name}: {error}"));
        let parsed = text.and_then(|text| RuleFile::read(name, &text, reading).map_err(|faults| faults.to_string()));
        match parsed {
            Err(error) => {
                has_failed = true;
                note(&format!("  FAILED:\n{error}"));
            }
            Ok((file, remarks)) => {
                if lint.all && !remarks.is_empty() {
                    note(&format!("  WARNING:\n{}", Faults { file: name.to_owned(), faults: remarks }));
                }
                match duplicates(&file).filter(|_| lint.duplicates) {
                    Some(text) => {
                        has_remarks = true;
                        note(&format!("  FAILED:\nlint error {text}"));
                    }
                    None => print(&format!("  SUCCESS: {} rules found\n", count(&file)))?,
                }
            }
        }
        print("\n")
    };
    if args.files.is_empty() {
        print("Checking standard input\n")?;
        judge("standard input", bounded(std::io::stdin().lock()))?;
    }
    for name in &args.files {
        print(&format!("Checking {name}\n"))?;
        judge(name, read(name))?;
    }
    Ok(match (has_failed, has_remarks && args.lint_fatal) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => LINT_CODE.into(),
        (false, false) => ExitCode::SUCCESS,
    })
}

fn test(args: &RulesTestArgs) -> anyhow::Result<ExitCode> {
    let reading = Reading { ignore_unknown_fields: args.ignore_unknown_fields, ..Reading::default() };
    let options = Options { diff: args.diff, run: args.run.clone() };
    let mut has_failed = false;
    for name in &args.files {
        print(&format!("Unit Testing:  {name}\n"))?;
        let verdict = run_file(name, Files { read: &read, list: &list }, reading, &options);
        for pattern in &verdict.unmatched {
            note(&format!("  WARNING: no file is named {pattern}"));
        }
        if verdict.errors.is_empty() {
            print("  SUCCESS\n")?;
        } else {
            has_failed = true;
            note("  FAILED:");
            for error in &verdict.errors {
                note(error);
                print("\n")?;
            }
        }
        print("\n")?;
    }
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn packs() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (place, names) in [("nodes", PACKS), ("the centre", FLEET_PACKS)] {
        for name in names {
            let text = pack(name).unwrap_or_default();
            let rules = RuleFile::parse(name, text).map_or(0, |(file, _)| count(&file));
            rows.push([(*name).to_owned(), place.to_owned(), rules.to_string()].to_vec());
        }
    }
    print(&table(&["NAME", "FOR", "RULES"], &rows))
}

/// What is looked for besides faults.
struct Lint {
    all: bool,
    duplicates: bool,
}

impl Lint {
    fn new(words: &str) -> anyhow::Result<Self> {
        let mut lint = Self { all: false, duplicates: false };
        for word in words.split(',') {
            match word {
                "all" => lint = Self { all: true, duplicates: true },
                "duplicate-rules" => lint.duplicates = true,
                "none" => {}
                other => print(&format!("WARNING: unknown lint option {other}\n"))?,
            }
        }
        Ok(lint)
    }
}

fn count(file: &RuleFile) -> usize {
    file.groups.iter().map(|group| group.rules.len()).sum()
}

/// Rules with the same name and labels, as promtool lists them, and where they stand.
fn duplicates(file: &RuleFile) -> Option<String> {
    let mut rules: BTreeMap<(&str, BTreeMap<&str, &str>), Vec<String>> = BTreeMap::new();
    for group in &file.groups {
        for rule in &group.rules {
            // A rule's own labels replace those of its group.
            let labels = group.labels.iter().chain(&rule.labels).map(|(name, value)| (name.as_str(), value.as_str()));
            rules.entry((&rule.name, labels.collect())).or_default().push(rule.line.to_string());
        }
    }
    rules.retain(|_, lines| lines.len() > 1);
    if rules.is_empty() {
        return None;
    }
    let mut text = format!("{} duplicate rule(s) found.\n", rules.len());
    for ((name, labels), lines) in rules {
        let _ = writeln!(text, "Metric: {name}\nLine(s): {}\nLabel(s):", lines.join(", "));
        for (label, value) in labels {
            let _ = writeln!(text, "\t{label}: {value}");
        }
    }
    Some(text + "Such rules write the same series, each over what the other wrote")
}

fn read(name: &str) -> Result<String, String> {
    bounded(File::open(name).map_err(|error| error.to_string())?)
}

/// A text of the length that is read at most.
fn bounded(file: impl Read) -> Result<String, String> {
    let most = skerry_yaml::TEXT_BYTES_MAX;
    let mut text = String::new();
    let taken = file.take(most as u64 + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if taken > most { Err(format!("more than {most} bytes")) } else { Ok(text) }
}

fn list(folder: &str) -> Vec<String> {
    let folder = if folder.is_empty() { "." } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        let (file, _) = RuleFile::parse("rules.yml", text).unwrap_or_else(|faults| panic!("{faults}"));
        duplicates(&file)
    }

    #[test]
    fn duplicates_have_the_same_name_and_labels() {
        let rule = |labels: &str| format!("      - {{record: r, expr: up, labels: {{{labels}}}}}\n");
        let group = |name: &str, rules: &[String]| format!("  - name: {name}\n    rules:\n{}", rules.concat());
        let same = [group("a", &[rule("x: y"), rule("x: z")]), group("b", &[rule("x: y")])].concat();
        let text = told(&format!("groups:\n{same}")).unwrap();
        assert!(
            text.starts_with("1 duplicate rule(s) found.\nMetric: r\nLine(s): 4, 8\nLabel(s):\n\tx: y\n"),
            "{text}"
        );
        // A label of the group tells its rules from others'.
        let apart = same.replace("name: b\n", "name: b\n    labels: {w: v}\n");
        assert_eq!(told(&format!("groups:\n{apart}")), None);
        let both = same.replace("    rules:\n", "    labels: {w: v}\n    rules:\n");
        assert!(told(&format!("groups:\n{both}")).unwrap().contains("\tw: v\n\tx: y\n"));
    }

    #[test]
    fn words_say_what_is_looked_for() {
        for (words, all, duplicates) in
            [("duplicate-rules", false, true), ("all", true, true), ("none", false, false), ("none,all", true, true)]
        {
            let lint = Lint::new(words).unwrap();
            assert_eq!((lint.all, lint.duplicates), (all, duplicates), "{words}");
        }
    }

    #[test]
    fn texts_are_read_to_a_bound() {
        assert_eq!(bounded(&b"groups: []"[..]).unwrap(), "groups: []");
        assert!(bounded(std::io::repeat(b' ')).unwrap_err().contains("bytes"));
        assert!(bounded(&[0xff][..]).is_err());
        assert!(list("/no/such/folder").is_empty() && !list("").is_empty());
    }
}
