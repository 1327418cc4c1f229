//! One checked rule.

use super::{Action, Config, Draft};
use crate::md5;
use regex::{Captures, Regex, RegexBuilder};

/// Longest expression, and most memory that a compiled one may take, in bytes.
const EXPRESSION_BYTES_MAX: usize = 4096;
const COMPILED_BYTES_MAX: usize = 1 << 20;

const SEPARATOR: &str = ";";
const EXPRESSION: &str = "(.*)";
const REPLACEMENT: &str = "$1";

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct InvalidRule {
    /// The key of the rule that is at fault.
    pub key: &'static str,
    /// What is wrong and what was expected.
    pub problem: String,
}

/// A rule that can be applied.
#[derive(Debug, Clone)]
pub struct Rule {
    source: Vec<String>,
    separator: String,
    regex: Regex,
    modulus: u64,
    target: String,
    replacement: String,
    action: Action,
}

impl Rule {
    /// Checks a rule of a config.
    ///
    /// # Errors
    /// [`InvalidRule`].
    pub fn new(config: &Config) -> Result<Self, InvalidRule> {
        let expression = config.regex.as_deref().unwrap_or(EXPRESSION);
        let regex = compile(expression).map_err(|problem| InvalidRule { key: "regex", problem })?;
        let rule = Self {
            source: config.source_labels.clone(),
            separator: config.separator.clone().unwrap_or_else(|| SEPARATOR.into()),
            regex,
            modulus: config.modulus.unwrap_or(0),
            target: config.target_label.clone().unwrap_or_default(),
            replacement: config.replacement.clone().unwrap_or_else(|| REPLACEMENT.into()),
            action: config.action,
        };
        rule.check(expression)?;
        Ok(rule)
    }

    fn check(&self, expression: &str) -> Result<(), InvalidRule> {
        use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
        let fault = |key: &'static str, problem: String| Err(InvalidRule { key, problem });
        let name = format!("{:?}", self.action).to_lowercase();
        let writes = matches!(self.action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if writes && self.target.is_empty() {
            return fault("target_label", format!("is missing: action {name} needs the label that it is about"));
        }
        if self.action == HashMod && self.modulus == 0 {
            return fault("modulus", "is missing: hashmod needs a modulus above 0".into());
        }
        if self.action == LabelMap && self.replacement.is_empty() {
            return fault("replacement", "is empty: labelmap needs the name to copy to, such as $1".into());
        }
        let (has_expression, has_separator) = (expression != EXPRESSION, self.separator != SEPARATOR);
        let (has_replacement, has_modulus) = (self.replacement != REPLACEMENT, self.modulus != 0);
        let surplus: &[(&'static str, bool)] = match self.action {
            Lowercase | Uppercase => &[("replacement", has_replacement)],
            KeepEqual | DropEqual => &[
                ("regex", has_expression),
                ("separator", has_separator),
                ("replacement", has_replacement),
                ("modulus", has_modulus),
            ],
            LabelDrop | LabelKeep => &[
                ("source_labels", !self.source.is_empty()),
                ("target_label", !self.target.is_empty()),
                ("separator", has_separator),
                ("replacement", has_replacement),
                ("modulus", has_modulus),
            ],
            _ => &[],
        };
        match surplus.iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => fault(key, format!("means nothing to action {name}: remove it")),
            None => Ok(()),
        }
    }

    /// Applies the rule. `false` where it drops what carries the labels.
    pub(super) fn apply(&self, labels: &mut Draft) -> bool {
        match self.action {
            Action::Keep => return self.regex.is_match(&self.source_value(labels)),
            Action::Drop => return !self.regex.is_match(&self.source_value(labels)),
            Action::KeepEqual => return labels.value(&self.target) == self.source_value(labels),
            Action::DropEqual => return labels.value(&self.target) != self.source_value(labels),
            Action::Replace => self.replace(labels),
            Action::Lowercase => labels.set(&self.target, self.source_value(labels).to_lowercase()),
            Action::Uppercase => labels.set(&self.target, self.source_value(labels).to_uppercase()),
            Action::HashMod => {
                let [.., a, b, c, d, e, f, g, h] = md5::digest(self.source_value(labels).as_bytes());
                let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                labels.set(&self.target, (hash % self.modulus.max(1)).to_string());
            }
            Action::LabelMap => {
                let copies: Vec<(String, String)> = labels
                    .iter()
                    .filter_map(|(name, value)| {
                        let found = self.regex.captures(name)?;
                        Some((expanded(&found, &self.replacement), value.to_owned()))
                    })
                    .collect();
                for (name, value) in copies.into_iter().filter(|(name, _)| !name.is_empty()) {
                    labels.set(name, value);
                }
            }
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
        }
        true
    }

    fn source_value(&self, labels: &Draft) -> String {
        let values: Vec<&str> = self.source.iter().map(|name| labels.value(name)).collect();
        values.join(&self.separator)
    }

    fn replace(&self, labels: &mut Draft) {
        let source = self.source_value(labels);
        let Some(found) = self.regex.captures(&source) else { return };
        let target = expanded(&found, &self.target);
        // A target made of what was found may come out empty; there is nothing to set then.
        if !target.is_empty() {
            labels.set(target, expanded(&found, &self.replacement));
        }
    }
}

/// A template with `$1`, `${1}`, `$name` and `${name}` filled in.
fn expanded(found: &Captures<'_>, template: &str) -> String {
    let mut text = String::new();
    found.expand(template, &mut text);
    text
}

fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("{} bytes are too long: at most {EXPRESSION_BYTES_MAX} are taken", expression.len()));
    }
    // Whole by itself first, or "a)(b" would become whole by what is put around it.
    let whole = format!("^(?s:{expression})$");
    let compile = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    compile(expression).and_then(|_| compile(&whole)).map_err(|error| {
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("is no usable regular expression: {cause}")
    })
}
