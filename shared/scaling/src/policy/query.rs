//! Names of metrics: a bare name with a selector, as Kubernetes has them, or a whole PromQL expression.

use super::read::{required, shown};
use serde_json::Value;
use skerry_promql::{Query as Expression, Shape, quoted};
use skerry_yaml::values::{Checks, Mapping};

/// Most conditions of a selector.
const CONDITIONS_MAX: usize = 32;
/// Longest name or expression.
const NAME_BYTES_MAX: usize = 4096;

/// A PromQL expression that gives numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The name as it is written, for people: at most 4 KiB.
    pub name: String,
    /// What is evaluated: the name, with the matchers of its selector where it is a bare one.
    pub promql: String,
}

impl Query {
    /// Reads key `metric` of a metric's body. A bare name gets a further matcher.
    pub(super) fn read(
        body: &mut Mapping<'_>,
        matcher: Option<(String, String)>,
        checks: &mut Checks<'_>,
    ) -> Option<Self> {
        if !required(body, "metric", checks) {
            return None;
        }
        let mut metric = body.child("metric", checks)?;
        let name = match required(&mut metric, "name", checks) {
            true => metric.text("name", checks),
            false => None,
        };
        let selector = metric.child("selector", checks);
        let has_selector = selector.is_some();
        let mut matchers: Vec<String> = matcher.iter().map(|(name, value)| matching(name, "=", value)).collect();
        matchers.extend(selector.into_iter().flat_map(|selector| conditions(selector, checks)));
        let at = metric.at("name");
        let selector_at = metric.at("selector");
        metric.finish(checks);
        let name = name?;
        if name.len() > NAME_BYTES_MAX {
            checks.fault(&at, format!("{} bytes are too long: at most {NAME_BYTES_MAX} are taken", name.len()));
            return None;
        }
        let promql = if is_bare(&name) {
            format!("{{{}}}", [vec![matching("__name__", "=", &name)], matchers].concat().join(","))
        } else {
            if has_selector {
                let problem = "goes with a bare name: put its conditions into the expression";
                checks.fault(&selector_at, problem);
            }
            name.clone()
        };
        match Expression::parse(&promql).map(|query| query.shape()) {
            Ok(Shape::Scalar | Shape::Vector) => Some(Self { name, promql }),
            Ok(_) => {
                checks.fault(&at, "gives no numbers: a scalar or an instant vector is expected");
                None
            }
            Err(error) => {
                checks.fault(&at, error.to_string());
                None
            }
        }
    }
}

impl Query {
    /// The sum of what it gives, or 0 where it gives nothing. A number is always there.
    pub(super) fn or_zero(self) -> Self {
        match Expression::parse(&self.promql).map(|query| query.shape()) {
            Ok(Shape::Vector) => Self { promql: format!("sum({}\n) or vector(0)", self.promql), ..self },
            _ => self,
        }
    }
}

/// Whether a text is a name and no expression. Names as `requests-per-second` are common with Kubernetes: a difference has
/// to be written with blanks.
fn is_bare(name: &str) -> bool {
    let is_of = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '/');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':')) && name.chars().all(is_of)
}

/// A matcher in PromQL; names that are none of Prometheus's classic ones are quoted.
fn matching(name: &str, op: &str, value: &str) -> String {
    let is_classic = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = if is_classic { name.to_owned() } else { quoted(name) };
    format!("{name}{op}{}", quoted(value))
}

/// Conditions of a label selector: `matchLabels` and `matchExpressions`.
fn conditions(mut selector: Mapping<'_>, checks: &mut Checks<'_>) -> Vec<String> {
    let labels = selector.texts("matchLabels", checks);
    let mut found: Vec<String> = labels.iter().map(|(name, value)| matching(name, "=", value)).collect();
    for (key, item) in selector.items("matchExpressions", checks) {
        found.extend(condition(&key, item, checks));
    }
    if found.len() > CONDITIONS_MAX {
        checks.fault(selector.key(), format!("{} are too many: at most {CONDITIONS_MAX} are taken", found.len()));
        found.truncate(CONDITIONS_MAX);
    }
    selector.finish(checks);
    found
}

fn condition(key: &str, item: &Value, checks: &mut Checks<'_>) -> Option<String> {
    let mut item = Mapping::new(Some(item), key, checks);
    let mut text = |name: &str, checks: &mut Checks<'_>| match required(&mut item, name, checks) {
        true => item.text(name, checks),
        false => None,
    };
    let (name, operator) = (text("key", checks), text("operator", checks));
    let values = item.words("values", checks);
    let (values_at, operator_at) = (item.at("values"), item.at("operator"));
    item.finish(checks);
    let (name, operator) = (name?, operator?);
    let takes_values = match operator.as_str() {
        "In" | "NotIn" => true,
        "Exists" | "DoesNotExist" => false,
        _ => {
            let problem = "is unknown: one of In, NotIn, Exists, DoesNotExist is expected";
            checks.fault(&operator_at, format!("{:?} {problem}", shown(&operator)));
            return None;
        }
    };
    if takes_values == values.is_empty() {
        let expected = if takes_values { "at least one value is" } else { "no values are" };
        checks.fault(&values_at, format!("{expected} expected with {operator}"));
    }
    let pattern = || values.iter().map(|value| escaped(value)).collect::<Vec<_>>().join("|");
    Some(match operator.as_str() {
        "In" => matching(&name, "=~", &pattern()),
        "NotIn" => matching(&name, "!~", &pattern()),
        "Exists" => matching(&name, "!=", ""),
        _ => matching(&name, "=", ""),
    })
}

/// A text as a pattern that matches it alone.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
