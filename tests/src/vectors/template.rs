//! Templates of rules.

use super::json::{expected_error, text};
use serde_json::Value as Json;
use skerry_alerting::expand::{Expansion, expand, expand_over};
use skerry_model::{Labels, UnixMillis};
use skerry_template::Value;
use std::path::Path;

/// Where the suite that the cases are from is reached.
const EXTERNAL_URL: &str = "http://testhost:9090/path/prefix";

/// A function of one argument.
pub(super) fn function(_: &Path, case: &Json) -> Result<(), String> {
    judge(case, &format!("{{{{ {} . }}}}", text(case, "function")?))
}

/// A whole template.
pub(super) fn whole(_: &Path, case: &Json) -> Result<(), String> {
    judge(case, text(case, "template")?)
}

/// What a template is run over; nothing where a case has no input.
fn input(value: &Json) -> Result<Value, String> {
    match value {
        Json::Null => Ok(Value::Nil),
        Json::Bool(value) => Ok(Value::Bool(*value)),
        Json::String(text) => Ok(Value::Text(text.as_str().into())),
        Json::Number(number) => {
            let float = || Value::Float(number.as_f64().unwrap_or(f64::NAN));
            Ok(number.as_i64().map_or_else(float, Value::Int))
        }
        Json::Array(items) => Ok(Value::List(items.iter().map(input).collect::<Result<Vec<_>, _>>()?.into())),
        Json::Object(_) => Err(format!("input {value} is neither a text, nor a number, nor a list")),
    }
}

fn judge(case: &Json, template: &str) -> Result<(), String> {
    let nothing = |_: &str| Ok(Vec::new());
    let expansion = Expansion {
        name: "test",
        labels: &Labels::default(),
        value: 0.0,
        external_labels: &Labels::default(),
        external_url: EXTERNAL_URL,
        now: UnixMillis(0),
        query: &nothing,
    };
    // Only rules have variables.
    let expanded = match ["$labels", "$value", "$external"].iter().any(|name| template.contains(name)) {
        true => expand(template, &expansion),
        false => expand_over(template, input(&case["input"])?, &expansion),
    };
    match (expanded.map_err(|error| error.to_string()), expected_error(case)) {
        (Ok(found), None) if Some(found.as_str()) == case["expect"].as_str() => Ok(()),
        (Ok(found), None) => Err(format!("{template} gives {found:?}, not {}", case["expect"])),
        (Err(error), Some(wanted)) if error.contains(wanted) => Ok(()),
        (Err(error), Some(wanted)) => Err(format!("{template} fails with {error:?}, not with {wanted:?}")),
        (Ok(found), Some(wanted)) => Err(format!("{template} gives {found:?} and should fail with {wanted:?}")),
        (Err(error), None) => Err(format!("{template} fails: {error}")),
    }
}
