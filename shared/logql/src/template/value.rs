//! Values of templates.

use serde_json::Value as Json;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Nanoseconds since 1970.
    Time(i64),
    /// What `fromJson` gives, and nothing at all.
    Json(Json),
}

impl Value {
    pub(super) const NIL: Self = Self::Json(Json::Null);

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Int(whole) => *whole != 0,
            Self::Float(number) => *number != 0.0,
            Self::Bool(value) => *value,
            Self::Time(_) => true,
            Self::Json(json) => match json {
                Json::Null => false,
                Json::Bool(value) => *value,
                Json::Number(number) => number.as_f64() != Some(0.0),
                Json::String(text) => !text.is_empty(),
                Json::Array(items) => !items.is_empty(),
                Json::Object(fields) => !fields.is_empty(),
            },
        }
    }

    /// As it is written into a text.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(whole) => whole.to_string(),
            Self::Float(number) => float_text(*number),
            Self::Bool(value) => value.to_string(),
            Self::Time(nanos) => super::layout::date("2006-01-02 15:04:05 -0700 MST", *nanos),
            Self::Json(json) => json_text(json),
        }
    }

    /// As a whole number, where it is one or can be read as one.
    pub(super) fn int(&self) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as a count of characters may")]
        match self {
            Self::Int(whole) | Self::Time(whole) => Some(*whole),
            Self::Float(number) => Some(*number as i64),
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Text(text) => {
                text.trim().parse().ok().or_else(|| text.trim().parse::<f64>().ok().map(|number| number as i64))
            }
            Self::Json(Json::Number(number)) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
            Self::Json(Json::String(text)) => text.parse().ok(),
            Self::Json(_) => None,
        }
    }

    /// As a number, where it is one or can be read as one.
    pub(super) fn float(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
        match self {
            Self::Int(whole) | Self::Time(whole) => Some(*whole as f64),
            Self::Float(number) => Some(*number),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Json(Json::Number(number)) => number.as_f64(),
            Self::Json(Json::String(text)) => text.parse().ok(),
            Self::Json(_) => None,
        }
    }

    /// What stands below it under these names; nothing where there is none.
    pub(super) fn below(self, fields: &[String]) -> Self {
        if fields.is_empty() {
            return self;
        }
        let Self::Json(mut json) = self else { return Self::NIL };
        for field in fields {
            json = match json {
                Json::Object(mut held) => held.remove(field).unwrap_or_default(),
                _ => Json::Null,
            };
        }
        Self::of_json(json)
    }

    /// Plain where it can be.
    pub(super) fn of_json(json: Json) -> Self {
        match json {
            Json::String(text) => Self::Text(text),
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match number.as_f64() {
                // As Go decodes: every number is a float.
                Some(number) => Self::Float(number),
                None => Self::NIL,
            },
            other => Self::Json(other),
        }
    }
}

/// A number as Go's `%v` writes it: with an exponent from 1e21 on and below 1e-4.
pub(super) fn float_text(number: f64) -> String {
    let size = number.abs();
    if number.is_finite() && size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    skerry_promql::number_text(number)
}

fn json_text(json: &Json) -> String {
    match json {
        Json::Null => "<no value>".into(),
        Json::String(text) => text.clone(),
        Json::Number(number) => number.as_f64().map_or_else(String::new, float_text),
        other => other.to_string(),
    }
}
