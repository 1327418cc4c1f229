//! Values as other types, as Loki's functions take them.

use serde_json::Value as Json;
use skerry_template::{Map, Value};
use std::borrow::Cow;

/// As it would be written.
pub(super) fn text(value: &Value) -> Cow<'_, str> {
    value.as_text().map_or_else(|| Cow::Owned(value.text()), Cow::Borrowed)
}

/// As a whole number, where it is one or can be read as one.
pub(super) fn int(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, as a count of characters may")]
    match value {
        Value::Int(whole) | Value::Duration(whole) => Some(*whole),
        Value::Time(time) => Some(time.nanos()),
        Value::Float(number) => Some(*number as i64),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Text(text) => {
            text.trim().parse().ok().or_else(|| text.trim().parse::<f64>().ok().map(|number| number as i64))
        }
        _ => None,
    }
}

/// As a number, where it is one or can be read as one.
pub(super) fn float(value: &Value) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    match value {
        Value::Int(whole) | Value::Duration(whole) => Some(*whole as f64),
        Value::Time(time) => Some(time.nanos() as f64),
        Value::Float(number) => Some(*number),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// As Go decodes: every number is a float. serde_json bounds how deep it is nested.
pub(super) fn of_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(value),
        Json::String(text) => text.into(),
        Json::Number(number) => number.as_f64().map_or(Value::Nil, Value::Float),
        Json::Array(items) => items.into_iter().map(of_json).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key.into(), of_json(value)));
            Map::new(fields.collect(), Value::Nil).into()
        }
    }
}
