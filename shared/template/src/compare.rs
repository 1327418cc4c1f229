//! `eq`, `lt` and their like: values of one kind, as Go compares them.

use crate::value::Value;
use std::cmp::Ordering;

/// Why values cannot be compared.
const INCOMPATIBLE: &str = "incompatible types for comparison";
const INVALID: &str = "invalid type for comparison";

/// Whether the first is equal to one of the others.
pub(crate) fn equal(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    let plain = first.plain();
    for other in others {
        let same = match (&plain, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Nil, _) | (_, Value::Nil) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Time(a), Value::Time(b)) => a.at == b.at,
            (Value::List(_) | Value::Map(_), _) => {
                return Err(format!("non-comparable type {}: {}", first.text(), first.type_name()));
            }
            _ => order(first, other).ok_or(INCOMPATIBLE)? == Some(Ordering::Equal),
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the first is less than the second; `false` where one is no number.
pub(crate) fn less(first: &Value, second: &Value) -> Result<bool, String> {
    match (first, second) {
        (Value::Bool(_) | Value::Nil | Value::List(_) | Value::Map(_) | Value::Object(_), _) => Err(INVALID.into()),
        _ => Ok(order(first, second).ok_or(INCOMPATIBLE)? == Some(Ordering::Less)),
    }
}

/// Whether the first is less than the second or equal to it.
pub(crate) fn at_most(first: &Value, second: &Value) -> Result<bool, String> {
    Ok(less(first, second)? || equal(first, std::slice::from_ref(second))?)
}

/// `None` where they cannot be compared, an inner `None` where one is no number.
fn order(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Value::Text(a) | Value::Html(a), Value::Text(b) | Value::Html(b)) => Some(a.cmp(b)),
        (Value::Int(a) | Value::Duration(a), Value::Int(b) | Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Time(a), Value::Time(b)) => Some(a.at.cmp(&b.at)),
        _ => return None,
    })
}
