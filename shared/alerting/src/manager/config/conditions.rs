//! Matchers in the file, old and new, and the rules of inhibition that are made of them.

use crate::manager::inhibit::{InhibitRule, SourceRule};
use crate::manager::matcher::{self, Matcher, Op};
use crate::notify::Checks;
use serde_json::Value;
use skerry_yaml::values::Mapping;

/// The conditions at the keys `{prefix}match`, `{prefix}match_re` and `{prefix}matchers`, sorted.
pub(super) fn matchers(node: &mut Mapping<'_>, prefix: &str, checks: &mut Checks<'_>) -> Vec<Matcher> {
    let mut found = Vec::new();
    for (key, op) in [("match", Op::Equal), ("match_re", Op::Regex)] {
        let key = format!("{prefix}{key}");
        // A null stands for an empty text, but is no expression.
        let nulls = node.take(&key).and_then(Value::as_object).into_iter().flatten();
        let nulls: Vec<String> = nulls.filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect();
        for (name, value) in node.texts(&key, checks) {
            let at = format!("{}.{name}", node.at(&key));
            if !matcher::is_classic_name(&name) {
                checks.fault(&at, format!("invalid label name {name:?}"));
            } else if op == Op::Regex && nulls.contains(&name) {
                checks.fault(&at, format!("invalid regexp value for {name:?}"));
            } else {
                // Upstream keeps such an expression with its anchors, and shows it so in names of groups.
                let value = if op == Op::Regex { format!("^(?:{value})$") } else { value };
                take(Matcher::new(&name, op, &value), &at, &mut found, checks);
            }
        }
    }
    found.extend(listed(node, &format!("{prefix}matchers"), checks));
    matcher::sort(&mut found);
    found
}

/// A list of texts, each with any number of matchers.
pub(super) fn listed(node: &mut Mapping<'_>, key: &str, checks: &mut Checks<'_>) -> Vec<Matcher> {
    let mut found = Vec::new();
    for (at, value) in node.items(key, checks) {
        match value.as_str() {
            None => checks.fault(&at, "a matcher is expected, as in severity=\"critical\""),
            Some(text) => match matcher::parse_all(text) {
                Ok(matchers) => found.extend(matchers),
                Err(problem) => checks.fault(&at, problem),
            },
        }
    }
    found
}

fn take(matcher: Result<Matcher, String>, at: &str, found: &mut Vec<Matcher>, checks: &mut Checks<'_>) {
    match matcher {
        Ok(matcher) => found.push(matcher),
        Err(problem) => checks.fault(at, problem),
    }
}

/// One of `inhibit_rules`.
pub(super) fn inhibit_rule(value: &Value, key: &str, checks: &mut Checks<'_>) -> InhibitRule {
    let mut node = Mapping::new(Some(value), key, checks);
    let name = node.text("name", checks).unwrap_or_default();
    let source = matchers(&mut node, "source_", checks);
    let target = matchers(&mut node, "target_", checks);
    let equal = names(&mut node, "equal list", checks);
    let listed = node.items("sources", checks);
    let is_mixed = !(source.is_empty() && equal.is_empty());
    if is_mixed && !listed.is_empty() {
        let problem = "sources cannot be combined with source_match, source_match_re, source_matchers, or equal";
        checks.fault(key, problem);
    }
    let mut sources: Vec<SourceRule> = Vec::new();
    for (at, (key, value)) in listed.into_iter().enumerate() {
        let mut node = Mapping::new(Some(value), &key, checks);
        let matchers = self::listed(&mut node, "matchers", checks);
        if matchers.is_empty() {
            checks.fault(&key, format!("source {at}: matchers must not be empty"));
        } else if matchers.iter().all(|matcher| matcher.matches("")) {
            checks.fault(&key, format!("source {at}: at least one matcher must not match the empty string"));
        }
        let equal = names(&mut node, "source equal list", checks);
        node.finish(checks);
        sources.push(SourceRule { matchers, equal });
    }
    node.finish(checks);
    if sources.is_empty() {
        sources.push(SourceRule { matchers: source, equal });
    }
    InhibitRule { name, sources, target }
}

/// The label names at `equal`.
fn names(node: &mut Mapping<'_>, what: &str, checks: &mut Checks<'_>) -> Vec<Box<str>> {
    let mut names = Vec::new();
    for (at, name) in node.words("equal", checks).into_iter().enumerate() {
        if matcher::is_name(&name) {
            names.push(name.into());
        } else {
            checks.fault(&format!("{}[{at}]", node.at("equal")), format!("invalid label name {name:?} in {what}"));
        }
    }
    names
}
