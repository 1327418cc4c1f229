//! From the YAML tree to checked groups.

use super::{GroupSpec, Kind, RULES_MAX, Reading, RuleFile, RuleSpec, check, lint};
use crate::rules::texts;
use skerry_model::{LABEL_BYTES_MAX, LABELS_MAX};
use skerry_promql::Query;
use skerry_yaml::Fault;
use skerry_yaml::tree::{Content, Entry, Node, tree};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Most faults that are said of one file.
const FAULTS_MAX: usize = 100;
/// Longest group name, in bytes.
const NAME_BYTES_MAX: usize = 1024;

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &["name", "interval", "query_offset", "limit", "labels", "rules"];
const RULE_KEYS: &[&str] = &["record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"];

type Entries = [Entry];

/// Reads one text.
pub(super) struct Reader<'a> {
    text: &'a str,
    reading: Reading,
    faults: Vec<Fault>,
    rules: usize,
}

/// Value of a key; an absent one and one without a value are the same.
fn value<'a>(entries: &'a Entries, key: &str) -> Option<&'a Rc<Node>> {
    let found = entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value);
    found.filter(|value| !matches!(value.content, Content::Null))
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    format!("{cut:?}")
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, reading: Reading) -> Self {
        Self { text, reading, faults: Vec::new(), rules: 0 }
    }

    pub(super) fn file(mut self) -> Result<(RuleFile, Vec<Fault>), Vec<Fault>> {
        let tree = tree(self.text).map_err(|fault| vec![fault])?;
        let mut groups = Vec::new();
        if let Some(root) = &tree.root
            && let Some(entries) = self.mapping(root, "", FILE_KEYS)
            && let Some(list) = value(entries, "groups")
        {
            groups = self.groups(list);
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let file = RuleFile { groups };
        let mut remarks = lint::remarks(&file);
        remarks.extend(tree.second.map(|line| Fault {
            line: Some(line),
            key: String::new(),
            problem: "only the first document of a rule file is read; put all groups under its `groups`".into(),
        }));
        Ok((file, remarks))
    }

    fn groups(&mut self, list: &Node) -> Vec<GroupSpec> {
        let mut names = HashSet::new();
        let mut groups = Vec::new();
        for (index, node) in self.list(list, "groups").iter().enumerate() {
            let key = format!("groups[{index}]");
            let Some(group) = self.group(node, &key) else { continue };
            if !names.insert(Arc::clone(&group.name)) {
                let problem =
                    format!("group {} stands twice in this file; give one of them another name", shown(&group.name));
                self.fault(node, &key, problem);
            }
            groups.push(group);
        }
        groups
    }

    fn group(&mut self, node: &Node, key: &str) -> Option<GroupSpec> {
        let entries = self.mapping(node, key, GROUP_KEYS)?;
        let name = value(entries, "name").and_then(|name| self.scalar(name, &format!("{key}.name")));
        let name = name.unwrap_or_default();
        if name.is_empty() {
            self.fault(node, &format!("{key}.name"), "a group needs a name".into());
        } else if name.len() > NAME_BYTES_MAX {
            self.fault(node, &format!("{key}.name"), format!("longer than {NAME_BYTES_MAX} bytes"));
        }
        let interval = self.span(entries, key, "interval").filter(|span| !span.is_zero());
        let query_offset = self.span(entries, key, "query_offset");
        let limit = match value(entries, "limit") {
            Some(node) => self.limit(node, &format!("{key}.limit")),
            None => 0,
        };
        let labels = self.pairs(entries, key, "labels");
        let mut rules = Vec::new();
        if let Some(list) = value(entries, "rules") {
            let rules_key = format!("{key}.rules");
            for (index, node) in self.list(list, &rules_key).iter().enumerate() {
                self.rules += 1;
                if self.rules > RULES_MAX {
                    self.fault(node, &rules_key, format!("more than {RULES_MAX} rules in one file; divide it"));
                    return None;
                }
                rules.extend(self.rule(node, &format!("{rules_key}[{index}]")));
            }
        }
        let line = value(entries, "name").map_or(node.line, |name| name.line);
        Some(GroupSpec { name: name.into(), interval, query_offset, limit, labels, rules, line })
    }

    fn rule(&mut self, node: &Node, key: &str) -> Option<RuleSpec> {
        let entries = self.mapping(node, key, RULE_KEYS)?;
        let (record, alert) = (value(entries, "record"), value(entries, "alert"));
        let named = match (record, alert) {
            (Some(record), None) => Some((record, "record")),
            (None, Some(alert)) => Some((alert, "alert")),
            (Some(_), Some(alert)) => {
                let problem = "a rule has either `record` or `alert`; make two rules of it".to_owned();
                self.fault(alert, &format!("{key}.alert"), problem);
                None
            }
            (None, None) => {
                let problem = "a rule needs `record` (a metric's name) or `alert` (an alert's name)".to_owned();
                self.fault(node, key, problem);
                None
            }
        };
        let name = named.and_then(|(name, kind)| self.scalar(name, &format!("{key}.{kind}"))).unwrap_or_default();
        let is_alert = named.is_some_and(|(_, kind)| kind == "alert");
        if let Some((node, kind)) = named {
            self.rule_name(node, &format!("{key}.{kind}"), &name, is_alert);
        }
        let query = self.expr(node, entries, key);
        let labels = self.pairs(entries, key, "labels");
        let annotations = self.pairs(entries, key, "annotations");
        let hold = self.span(entries, key, "for");
        let keep_firing = self.span(entries, key, "keep_firing_for");
        let kind = if is_alert {
            self.templates(&name, entries, key);
            let (hold, keep_firing) = (hold.unwrap_or_default(), keep_firing.unwrap_or_default());
            Kind::Alerting { hold, keep_firing, annotations }
        } else {
            // Of a rule that is neither, only what is missing is said.
            let is_set = |span: Option<Duration>| span.is_some_and(|span| !span.is_zero());
            let extra = [
                ("for", is_set(hold)),
                ("keep_firing_for", is_set(keep_firing)),
                ("annotations", !annotations.is_empty()),
            ];
            for (field, _) in extra.into_iter().filter(|(_, is_set)| *is_set && record.is_some()) {
                if let Some(node) = value(entries, field) {
                    let problem =
                        format!("a recording rule has no `{field}`; remove it, or name the rule with `alert`");
                    self.fault(node, &format!("{key}.{field}"), problem);
                }
            }
            Kind::Recording
        };
        let (expr, query) = query?;
        let (node, _) = named?;
        Some(RuleSpec { name: name.into(), expr, query, labels, kind, line: node.line })
    }

    fn rule_name(&mut self, node: &Node, key: &str, name: &str, is_alert: bool) {
        let legacy = self.reading.legacy_names;
        let problem = if name.is_empty() || name.len() > NAME_BYTES_MAX {
            format!("a name of 1 to {NAME_BYTES_MAX} bytes is expected")
        } else if is_alert {
            return;
        } else if name.contains(['{', '}']) {
            format!("{} has braces: a metric's name stands here, its labels go under `labels`", shown(name))
        } else if !check::is_metric_name(name, legacy) {
            format!("{} is no name of a metric: letters, digits, `_` and `:` are taken, no digit first", shown(name))
        } else {
            return;
        };
        self.fault(node, key, problem);
    }

    fn expr(&mut self, rule: &Node, entries: &Entries, key: &str) -> Option<(String, Query)> {
        let key = format!("{key}.expr");
        let Some(node) = value(entries, "expr").filter(|node| node.text() != Some("")) else {
            self.fault(rule, &key, "a rule needs an expression".into());
            return None;
        };
        let expr = self.scalar(node, &key)?;
        match check::query(&expr) {
            Ok(query) => Some((expr, query)),
            Err((at, problem)) => {
                self.fault_in(node, at, &key, problem);
                None
            }
        }
    }

    /// Labels or annotations.
    fn pairs(&mut self, entries: &Entries, key: &str, field: &str) -> Vec<(String, String)> {
        let Some(node) = value(entries, field) else { return Vec::new() };
        let key = format!("{key}.{field}");
        let Some(entries) = self.mapping(node, &key, &[]) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name_node, node) in entries {
            let (Some(name), Some(text)) = (name_node.text(), self.scalar(node, &key)) else { continue };
            let is_good = check::is_label_name(name, self.reading.legacy_names);
            if !is_good || (name == "__name__" && field == "labels") {
                let what = if field == "labels" { "label" } else { "annotation" };
                let why = match name {
                    "__name__" => "it is the metric's name, which `record` gives",
                    "" => "it is empty",
                    _ => "letters, digits and `_` are taken, no digit first",
                };
                self.fault(name_node, &key, format!("{} cannot name a {what} here: {why}", shown(name)));
            }
            pairs.push((name.to_owned(), text));
        }
        let bytes: usize = pairs.iter().map(|(name, text)| name.len() + text.len()).sum();
        if pairs.len() > LABELS_MAX || bytes > LABEL_BYTES_MAX {
            let problem =
                format!("{} with {bytes} bytes; at most {LABELS_MAX} and {LABEL_BYTES_MAX} are taken", pairs.len());
            self.fault(node, &key, problem);
        }
        pairs
    }

    /// Checks the templates among labels and annotations of an alert.
    fn templates(&mut self, alert: &str, entries: &Entries, key: &str) {
        for field in ["labels", "annotations"] {
            let Some(node) = value(entries, field) else { continue };
            let Content::Map(pairs) = &node.content else { continue };
            for (name, node) in pairs {
                if let Some(Err(problem)) = node.text().map(|text| texts::check(alert, text)) {
                    let key = format!("{key}.{field}.{}", name.text().unwrap_or_default());
                    self.fault(node, &key, format!("the template cannot be used: {problem}"));
                }
            }
        }
    }

    fn span(&mut self, entries: &Entries, key: &str, field: &str) -> Option<Duration> {
        let node = value(entries, field)?;
        let key = format!("{key}.{field}");
        let text = self.scalar(node, &key)?;
        check::span(&text).map_err(|problem| self.fault(node, &key, problem)).ok()
    }

    /// A whole number; Prometheus takes one below zero as none.
    fn limit(&mut self, node: &Node, key: &str) -> usize {
        match node.text().and_then(|text| text.parse::<i64>().ok()) {
            Some(limit) => usize::try_from(limit).unwrap_or(0),
            None => {
                self.fault(node, key, "a whole number is expected, 0 for no limit".into());
                0
            }
        }
    }

    fn scalar(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            self.fault(node, key, format!("a text is expected, {} stands here", node.kind()));
        }
        text
    }

    fn list<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Rc<Node>] {
        match &node.content {
            Content::List(items) => items,
            _ => {
                self.fault(node, key, format!("a list is expected, {} stands here", node.kind()));
                &[]
            }
        }
    }

    /// Entries of a mapping with these keys alone, or with any where none are named.
    fn mapping<'n>(&mut self, node: &'n Node, key: &str, known: &[&str]) -> Option<&'n Entries> {
        let entries = match &node.content {
            Content::Map(entries) => entries,
            Content::Null if key.is_empty() => return None,
            _ => {
                self.fault(node, key, format!("a mapping is expected, {} stands here", node.kind()));
                return None;
            }
        };
        if !known.is_empty() && !self.reading.ignore_unknown_fields {
            for (name, _) in entries {
                let text = name.text().unwrap_or_default();
                if !known.contains(&text) {
                    let problem = format!("unknown field {}; known here are {}", shown(text), known.join(", "));
                    self.fault(name, key, problem);
                }
            }
        }
        Some(entries)
    }

    fn fault(&mut self, node: &Node, key: &str, problem: String) {
        self.fault_at((node.line, node.column), key, problem);
    }

    /// A fault at a byte of a scalar.
    fn fault_in(&mut self, node: &Node, at: usize, key: &str, problem: String) {
        self.fault_at(node.place_of(self.text, at), key, problem);
    }

    fn fault_at(&mut self, (line, column): (u64, u64), key: &str, problem: String) {
        if self.faults.len() < FAULTS_MAX {
            let problem = format!("column {column}: {problem}");
            self.faults.push(Fault { line: Some(line), key: key.to_owned(), problem });
        }
    }
}
