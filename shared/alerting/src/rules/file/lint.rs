//! Remarks on files that are sound: what is probably not meant.

use super::{GroupSpec, Kind, RuleFile, RuleSpec};
use skerry_promql::Shape;
use skerry_yaml::Fault;
use std::collections::HashMap;

/// Most remarks on one file.
const REMARKS_MAX: usize = 100;

/// Remarks, by the order of the rules.
pub(super) fn remarks(file: &RuleFile) -> Vec<Fault> {
    let mut remarks = Vec::new();
    let mut seen: HashMap<Identity<'_>, u64> = HashMap::new();
    for (index, group) in file.groups.iter().enumerate() {
        for (number, rule) in group.rules.iter().enumerate() {
            let mut remark = |problem: String| {
                if remarks.len() < REMARKS_MAX {
                    remarks.push(Fault {
                        line: Some(rule.line),
                        key: format!("groups[{index}].rules[{number}]"),
                        problem,
                    });
                }
            };
            let name = &rule.name;
            if let Some(line) = seen.get(&identity(group, rule)) {
                remark(format!("{name:?} with these labels stands in line {line} already; both write the same series"));
            } else {
                seen.insert(identity(group, rule), rule.line);
            }
            if matches!(rule.query.shape(), Shape::Matrix | Shape::String) {
                remark("the expression gives neither a vector nor a number, so that every evaluation fails".into());
            }
            labels(rule, &mut remark);
        }
    }
    remarks
}

/// What duplicates have in common: name and labels.
type Identity<'a> = (&'a str, Vec<(&'a str, &'a str)>);

fn identity<'a>(group: &'a GroupSpec, rule: &'a RuleSpec) -> Identity<'a> {
    let own = rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let inherited = group.labels.iter().filter(|(name, _)| rule.labels.iter().all(|(own, _)| own != name));
    let mut labels: Vec<_> = own.chain(inherited.map(|(name, value)| (name.as_str(), value.as_str()))).collect();
    labels.sort_unstable();
    (&rule.name, labels)
}

fn labels(rule: &RuleSpec, remark: &mut impl FnMut(String)) {
    let is_recording = rule.kind == Kind::Recording;
    for (name, value) in &rule.labels {
        if is_recording && value.contains("{{") {
            remark(format!("label {name:?}: labels of recording rules are no templates and stay as they are written"));
        } else if !is_recording && value.contains("{{") && (value.contains("$value") || value.contains(".Value")) {
            remark(format!("label {name:?} changes with the value, so that each evaluation makes another alert"));
        }
        if !is_recording && name == "alertname" {
            remark("label \"alertname\" is always the alert's name; what is written here counts for nothing".into());
        }
    }
}
