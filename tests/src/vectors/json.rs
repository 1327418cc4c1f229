//! JSON files: cases in lists, told apart by their fields.

use super::{Report, alertmanager, hpa, policy, template, vpa};
use serde_json::Value;
use std::path::Path;

/// Judges one case.
type Judge = fn(&Path, &Value) -> Result<(), String>;

/// Lists of cases, each with a field that every case of its kind has.
const KINDS: [(&str, &str, Judge); 10] = [
    ("functions", "function", template::function),
    ("whole_templates", "template", template::whole),
    ("routing", "config", alertmanager::routing),
    ("grouping", "expect_group_labels", alertmanager::grouping),
    ("cases", "expect_inhibited", alertmanager::inhibition),
    ("cases", "expect_notify", alertmanager::dedup),
    ("match", "pattern", alertmanager::matches),
    ("parse_classic", "input", alertmanager::parse_classic),
    ("contains", "intervals_yaml", alertmanager::contains),
    ("invalid", "yaml", alertmanager::invalid),
];

/// Runs the cases of a file.
pub(super) fn run(path: &Path, text: &str, report: &mut Report) {
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => return report.add("file", Err(error.to_string())),
    };
    let before = report.cases.len();
    // A list of cases without anything around it counts too.
    if document.is_array()
        && !policy::run("cases", &document, report)
        && !hpa::run(&Value::Null, "cases", &document, report)
    {
        list(path, "cases", &document, report);
    }
    for (key, value) in document.as_object().into_iter().flatten() {
        let judged = report.cases.len();
        if key == "mutes" {
            alertmanager::mutes(value, report);
        } else if !vpa::run(key, value, report)
            && !policy::run(key, value, report)
            && !hpa::run(&document, key, value, report)
        {
            list(path, key, value, report);
        }
        // Cases that nobody judges must not look as if they had passed.
        if report.cases.len() == judged && holds_cases(value) {
            report.add(key, Err("holds cases of a kind that is not known".into()));
        }
    }
    if report.cases.len() > before {
        return;
    }
    report.add("file", Err("none of the known kinds of cases".into()));
}

/// Whether a value is a list of cases, or has one.
fn holds_cases(value: &Value) -> bool {
    let list = value.get("cases").unwrap_or(value).as_array();
    list.is_some_and(|list| list.iter().any(Value::is_object))
}

/// The judge of a list of cases: by its key and its first case's fields, else by those fields alone.
fn judge(key: &str, cases: &[Value]) -> Option<Judge> {
    let first = cases.first()?;
    let has = |field: &str| first.get(field).is_some();
    let by_key = KINDS.iter().find(|(name, field, _)| *name == key && has(field));
    by_key.or_else(|| KINDS.iter().find(|(_, field, _)| has(field))).map(|(_, _, judge)| *judge)
}

fn list(path: &Path, key: &str, value: &Value, report: &mut Report) {
    let Some(cases) = value.as_array() else { return };
    let Some(judge) = judge(key, cases) else { return };
    for (n, case) in cases.iter().enumerate() {
        let name = ["name", "why", "note", "function", "input", "template"];
        let name = name.iter().find_map(|field| case.get(field)?.as_str()).unwrap_or_default();
        let short: String = name.chars().take(60).collect();
        report.add(format!("{key}[{n}] {short}").trim_end(), judge(path, case));
    }
}

/// Fields that only tell people of a case.
const NOTES: [&str; 9] =
    ["name", "note", "comment", "derived", "description", "source", "why", "upstream", "skipped_upstream"];

/// That an object has no fields beside these and notes. What a runner passes over it has not checked.
pub(super) fn only(what: &str, object: &Value, fields: &[&str]) -> Result<(), String> {
    let is_known = |field: &str| fields.contains(&field) || NOTES.contains(&field);
    let unknown = object.as_object().into_iter().flatten().find(|(field, _)| !is_known(field));
    unknown.map_or(Ok(()), |(field, _)| Err(format!("field {field} of {what} is not known")))
}

/// A field that is a text.
pub(super) fn text<'a>(case: &'a Value, field: &str) -> Result<&'a str, String> {
    case[field].as_str().ok_or_else(|| format!("field {field} has no text"))
}

/// A field that is a list of texts; nothing where it is absent.
pub(super) fn texts<'a>(case: &'a Value, field: &str) -> Result<Vec<&'a str>, String> {
    let items = case[field].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().map(|item| item.as_str().ok_or_else(|| format!("field {field} holds no texts"))).collect()
}

/// The error that a case expects instead of a result.
pub(super) fn expected_error(case: &Value) -> Option<&str> {
    case["expect"].get("error").or_else(|| case.get("error")).and_then(Value::as_str)
}

/// That both are the same.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {found:?}")) }
}
