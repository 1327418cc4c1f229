//! Functions of templates, as Loki documents them; those that give a text are in [`super::text`]. Not known: `toDate`, `toDateInZone`, `now` (there is no clock here),
//! `html`, `js`, `slice`.

use super::eval::Data;
use super::layout;
use super::text::{Regexes, text};
use super::value::Value;
use crate::units;
use std::cmp::Ordering;

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    name: &'static str,
    /// Fewest and most arguments.
    least: usize,
    most: usize,
}

const ANY: usize = usize::MAX;

const fn of(name: &'static str, least: usize, most: usize) -> Function {
    Function { name, least, most }
}

static FUNCTIONS: &[Function] = &[
    of("__line__", 0, 0),
    of("__timestamp__", 0, 0),
    of("ToLower", 1, 1),
    of("lower", 1, 1),
    of("ToUpper", 1, 1),
    of("upper", 1, 1),
    of("title", 1, 1),
    of("Replace", 4, 4),
    of("replace", 3, 3),
    of("Trim", 2, 2),
    of("trimAll", 2, 2),
    of("TrimLeft", 2, 2),
    of("TrimRight", 2, 2),
    of("TrimPrefix", 2, 2),
    of("trimPrefix", 2, 2),
    of("TrimSuffix", 2, 2),
    of("trimSuffix", 2, 2),
    of("TrimSpace", 1, 1),
    of("trim", 1, 1),
    of("regexReplaceAll", 3, 3),
    of("regexReplaceAllLiteral", 3, 3),
    of("count", 2, 2),
    of("default", 2, 2),
    of("substr", 3, 3),
    of("trunc", 2, 2),
    of("repeat", 2, 2),
    of("indent", 2, 2),
    of("nindent", 2, 2),
    of("alignLeft", 2, 2),
    of("alignRight", 2, 2),
    of("contains", 2, 2),
    of("hasPrefix", 2, 2),
    of("hasSuffix", 2, 2),
    of("urlencode", 1, 1),
    of("urldecode", 1, 1),
    of("b64enc", 1, 1),
    of("b64dec", 1, 1),
    of("fromJson", 1, 1),
    of("bytes", 1, 1),
    of("duration", 1, 1),
    of("duration_seconds", 1, 1),
    of("date", 2, 2),
    of("unixToTime", 1, 1),
    of("unixEpoch", 1, 1),
    of("unixEpochMillis", 1, 1),
    of("unixEpochNanos", 1, 1),
    of("int", 1, 1),
    of("float64", 1, 1),
    of("ceil", 1, 1),
    of("floor", 1, 1),
    of("round", 2, 3),
    of("add", 1, ANY),
    of("sub", 2, 2),
    of("mul", 1, ANY),
    of("div", 2, 2),
    of("mod", 2, 2),
    of("max", 1, ANY),
    of("min", 1, ANY),
    of("addf", 1, ANY),
    of("subf", 1, ANY),
    of("mulf", 1, ANY),
    of("divf", 1, ANY),
    of("maxf", 1, ANY),
    of("minf", 1, ANY),
    of("eq", 2, ANY),
    of("ne", 2, 2),
    of("lt", 2, 2),
    of("le", 2, 2),
    of("gt", 2, 2),
    of("ge", 2, 2),
    of("and", 1, ANY),
    of("or", 1, ANY),
    of("not", 1, 1),
    of("len", 1, 1),
    of("index", 1, ANY),
    of("print", 0, ANY),
    of("println", 0, ANY),
    of("printf", 1, ANY),
];

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Calls a function.
pub(super) fn call(function: &Function, args: Vec<Value>, data: &dyn Data, regexes: &Regexes) -> Result<Value, String> {
    let Function { name, least, most } = function;
    if args.len() < *least || args.len() > *most {
        let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
        return Err(format!("{name} takes {wanted} arguments, not {}", args.len()));
    }
    match *name {
        "__line__" => Ok(Value::Text(data.line())),
        "__timestamp__" => Ok(Value::Time(data.at_nanos())),
        "int" => Ok(Value::Int(args[0].int().unwrap_or(0))),
        "float64" => Ok(Value::Float(args[0].float().unwrap_or(0.0))),
        "add" | "sub" | "mul" | "div" | "mod" | "max" | "min" => whole(name, &args).map(Value::Int),
        "ceil" | "floor" | "round" | "addf" | "subf" | "mulf" | "divf" | "maxf" | "minf" => {
            Ok(Value::Float(floating(name, &args)))
        }
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => Ok(Value::Bool(compare(name, &args))),
        "and" | "or" => Ok(either(name == &"or", args)),
        "not" => Ok(Value::Bool(!args[0].is_true())),
        "default" => Ok(if args[1].is_true() { args[1].clone() } else { args[0].clone() }),
        "index" => index(args),
        "len" => Ok(Value::Int(length(&args[0])?)),
        "fromJson" => match args[0].text() {
            text if text.is_empty() => Ok(Value::NIL),
            // As Loki documents it: nothing where it is no JSON.
            text => Ok(serde_json::from_str(&text).map_or(Value::NIL, Value::of_json)),
        },
        "date" => match &args[1] {
            Value::Time(nanos) => Ok(Value::Text(layout::date(&args[0].text(), *nanos))),
            _ => Err("date takes a time, such as __timestamp__".into()),
        },
        "unixToTime" => unix_to_time(&args[0].text()).map(Value::Time),
        "unixEpoch" | "unixEpochMillis" | "unixEpochNanos" => {
            let Value::Time(nanos) = args[0] else { return Err(format!("{name} takes a time, such as __timestamp__")) };
            let unit = match *name {
                "unixEpoch" => 1_000_000_000,
                "unixEpochMillis" => 1_000_000,
                _ => 1,
            };
            Ok(Value::Text(nanos.div_euclid(unit).to_string()))
        }
        "duration" | "duration_seconds" => {
            let text = args[0].text();
            let nanos = units::duration(&text).ok_or_else(|| format!("{text:?} is no duration"))?;
            #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
            Ok(Value::Float(nanos as f64 / 1e9))
        }
        "bytes" => {
            let text = args[0].text();
            units::bytes(&text).map(Value::Float).ok_or_else(|| format!("{text:?} is no size"))
        }
        "contains" => Ok(Value::Bool(args[1].text().contains(&args[0].text()))),
        "hasPrefix" => Ok(Value::Bool(args[1].text().starts_with(&args[0].text()))),
        "hasSuffix" => Ok(Value::Bool(args[1].text().ends_with(&args[0].text()))),
        "count" => {
            let found = regexes.compiled(&args[0].text())?.find_iter(&args[1].text()).count();
            Ok(Value::Int(i64::try_from(found).unwrap_or(i64::MAX)))
        }
        _ => text(name, &args, regexes).map(Value::Text),
    }
}

/// Nanoseconds of days, seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their digits.
fn unix_to_time(text: &str) -> Result<i64, String> {
    let number: i64 = text.trim().parse().map_err(|_| format!("unable to parse time {text:?}"))?;
    let unit = match text.trim().len() {
        5 => 86_400_000_000_000,
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return Err(format!("unable to parse time {text:?}: 5, 10, 13, 16 or 19 digits are expected")),
    };
    number.checked_mul(unit).ok_or_else(|| format!("time {text:?} is out of range"))
}

fn whole(name: &str, args: &[Value]) -> Result<i64, String> {
    let all = args.iter().map(|arg| arg.int().unwrap_or(0));
    let all: Vec<i64> = all.collect();
    let (first, rest) = all.split_first().ok_or("no number")?;
    Ok(match (name, rest) {
        ("sub", [other]) => first.wrapping_sub(*other),
        ("div" | "mod", [0]) => return Err("division by zero".into()),
        ("div", [other]) => first.wrapping_div(*other),
        ("mod", [other]) => first.wrapping_rem(*other),
        ("add", _) => rest.iter().fold(*first, |sum, other| sum.wrapping_add(*other)),
        ("mul", _) => rest.iter().fold(*first, |product, other| product.wrapping_mul(*other)),
        ("max", _) => rest.iter().fold(*first, |held, other| held.max(*other)),
        _ => rest.iter().fold(*first, |held, other| held.min(*other)),
    })
}

fn floating(name: &str, args: &[Value]) -> f64 {
    let all: Vec<f64> = args.iter().map(|arg| arg.float().unwrap_or(0.0)).collect();
    let Some((first, rest)) = all.split_first() else { return 0.0 };
    let fold = |with: fn(f64, f64) -> f64| rest.iter().fold(*first, |held, other| with(held, *other));
    match name {
        "ceil" => first.ceil(),
        "floor" => first.floor(),
        "round" => {
            let scale = 10f64.powf(rest.first().copied().unwrap_or(0.0));
            let up_from = rest.get(1).copied().unwrap_or(0.5);
            let scaled = first * scale;
            (if scaled - scaled.floor() >= up_from { scaled.ceil() } else { scaled.floor() }) / scale
        }
        "addf" => fold(|a, b| a + b),
        "subf" => fold(|a, b| a - b),
        "mulf" => fold(|a, b| a * b),
        "divf" => fold(|a, b| a / b),
        "maxf" => fold(f64::max),
        _ => fold(f64::min),
    }
}

/// Numbers by their size where both are numbers, everything else as text.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Text(a), other) | (other, Value::Text(a)) if other.float().is_none() => Some(a.cmp(&other.text())),
        _ => a.float()?.partial_cmp(&b.float()?),
    }
}

fn compare(name: &str, args: &[Value]) -> bool {
    let orders = args[1..].iter().map(|other| order(&args[0], other));
    match name {
        "eq" => orders.into_iter().any(|order| order == Some(Ordering::Equal)),
        "ne" => orders.into_iter().all(|order| order != Some(Ordering::Equal)),
        "lt" => orders.into_iter().all(|order| order == Some(Ordering::Less)),
        "gt" => orders.into_iter().all(|order| order == Some(Ordering::Greater)),
        "le" => orders.into_iter().all(|order| order.is_some_and(Ordering::is_le)),
        _ => orders.into_iter().all(|order| order.is_some_and(Ordering::is_ge)),
    }
}

/// The first argument that decides, or the last.
fn either(wanted: bool, args: Vec<Value>) -> Value {
    let mut last = Value::NIL;
    for arg in args {
        let decides = arg.is_true() == wanted;
        last = arg;
        if decides {
            break;
        }
    }
    last
}

fn index(args: Vec<Value>) -> Result<Value, String> {
    let mut args = args.into_iter();
    let mut value = args.next().unwrap_or(Value::NIL);
    for key in args {
        let Value::Json(json) = value else { return Err("index takes a list or an object of fromJson".into()) };
        value = match json {
            serde_json::Value::Array(mut items) => {
                let at = key.int().and_then(|at| usize::try_from(at).ok()).filter(|at| *at < items.len());
                Value::of_json(items.swap_remove(at.ok_or("index out of range")?))
            }
            serde_json::Value::Object(mut fields) => Value::of_json(fields.remove(&key.text()).unwrap_or_default()),
            _ => return Err("index takes a list or an object of fromJson".into()),
        };
    }
    Ok(value)
}

fn length(value: &Value) -> Result<i64, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Json(serde_json::Value::Array(items)) => items.len(),
        Value::Json(serde_json::Value::Object(fields)) => fields.len(),
        _ => return Err("len takes a text, a list or an object".into()),
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}
