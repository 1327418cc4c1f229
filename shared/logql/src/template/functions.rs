//! Functions of templates, as Loki documents them. Not here: `toDate`, `toDateInZone`, `now` (there is no clock here),
//! `html`, `js`, `slice`.

use super::eval::{Data, OUTPUT_BYTES_MAX};
use super::layout;
use super::value::{Value, float_text};
use crate::units;
use regex::{Regex, RegexBuilder};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Functions that give a text.
fn text(name: &str, args: &[Value], regexes: &Regexes) -> Result<String, String> {
    let texts: Vec<String> = args.iter().map(Value::text).collect();
    let of = |at: usize| texts.get(at).map_or("", String::as_str);
    let bounded = |length: usize| {
        if length > OUTPUT_BYTES_MAX { Err(format!("{name} makes more than {OUTPUT_BYTES_MAX} bytes")) } else { Ok(()) }
    };
    let count = |at: usize| args[at].int().ok_or_else(|| format!("{name} takes a number, not {:?}", of(at)));
    let width = |at: usize| {
        let width = usize::try_from(count(at)?.max(0)).unwrap_or(usize::MAX);
        bounded(width).map(|()| width)
    };
    // Without the characters of a set, at the sides that are told.
    let trimmed = |text: &str, set: &str, (start, end): (bool, bool)| {
        let text = if start { text.trim_start_matches(|c: char| set.contains(c)) } else { text };
        (if end { text.trim_end_matches(|c: char| set.contains(c)) } else { text }).to_owned()
    };
    Ok(match name {
        "ToLower" | "lower" => of(0).to_lowercase(),
        "ToUpper" | "upper" => of(0).to_uppercase(),
        "title" => title(of(0)),
        "Replace" => replaced(of(0), of(1), of(2), count(3)?)?,
        "replace" => replaced(of(2), of(0), of(1), -1)?,
        "Trim" => trimmed(of(0), of(1), (true, true)),
        "trimAll" => trimmed(of(1), of(0), (true, true)),
        "TrimLeft" => trimmed(of(0), of(1), (true, false)),
        "TrimRight" => trimmed(of(0), of(1), (false, true)),
        "TrimPrefix" => of(0).strip_prefix(of(1)).unwrap_or(of(0)).to_owned(),
        "trimPrefix" => of(1).strip_prefix(of(0)).unwrap_or(of(1)).to_owned(),
        "TrimSuffix" => of(0).strip_suffix(of(1)).unwrap_or(of(0)).to_owned(),
        "trimSuffix" => of(1).strip_suffix(of(0)).unwrap_or(of(1)).to_owned(),
        "TrimSpace" | "trim" => of(0).trim().to_owned(),
        "regexReplaceAll" | "regexReplaceAllLiteral" => {
            let (regex, input, replacement) = (regexes.compiled(of(0))?, of(1), of(2));
            bounded((input.len() + 1).saturating_mul(replacement.len().max(1)))?;
            match name {
                "regexReplaceAll" => regex.replace_all(input, replacement).into_owned(),
                _ => regex.replace_all(input, regex::NoExpand(replacement)).into_owned(),
            }
        }
        "substr" => substr(count(0)?, count(1)?, of(2)),
        "trunc" => trunc(count(0)?, of(1)),
        "repeat" => {
            let times = usize::try_from(count(0)?.max(0)).unwrap_or(usize::MAX);
            bounded(times.saturating_mul(of(1).len()))?;
            of(1).repeat(times)
        }
        "indent" | "nindent" => {
            let (width, input) = (width(0)?, of(1));
            bounded((input.matches('\n').count() + 1).saturating_mul(width).saturating_add(input.len()))?;
            let pad = " ".repeat(width);
            let start = if name == "nindent" { "\n" } else { "" };
            format!("{start}{pad}{}", input.replace('\n', &format!("\n{pad}")))
        }
        "alignLeft" | "alignRight" => {
            let (width, input) = (width(0)?, of(1));
            let held = input.chars().count();
            let pad = " ".repeat(width.saturating_sub(held));
            match name {
                "alignLeft" => input.chars().take(width).collect::<String>() + &pad,
                _ => pad + &input.chars().skip(held.saturating_sub(width)).collect::<String>(),
            }
        }
        "urlencode" => encoded(of(0)),
        "urldecode" => decoded(of(0))?,
        "b64enc" => BASE64.encode(of(0)),
        "b64dec" => {
            let bytes = BASE64.decode(of(0)).map_err(|error| error.to_string())?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        "print" | "println" => {
            if name == "print" {
                texts.concat()
            } else {
                texts.join(" ") + "\n"
            }
        }
        "printf" => printf(of(0), &args[1..])?,
        _ => return Err(format!("function {name:?} is not known")),
    })
}

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Expressions that a template used last: they may come of labels, but are mostly the same for each line.
#[derive(Debug, Clone, Default)]
pub(super) struct Regexes(Arc<Mutex<Vec<(String, Regex)>>>);

/// Most expressions that are kept.
const REGEXES_MAX: usize = 8;

impl Regexes {
    fn compiled(&self, text: &str) -> Result<Regex, String> {
        // A list that a panic left behind is a list all the same.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, regex)) = held.iter().find(|(known, _)| known == text) {
            return Ok(regex.clone());
        }
        let regex = RegexBuilder::new(text)
            .size_limit(1 << 18)
            .build()
            .map_err(|_| format!("{:?} is no usable regular expression", text.chars().take(80).collect::<String>()))?;
        if held.len() >= REGEXES_MAX {
            held.remove(0);
        }
        held.push((text.to_owned(), regex.clone()));
        Ok(regex)
    }
}

fn replaced(input: &str, old: &str, new: &str, times: i64) -> Result<String, String> {
    let found = if old.is_empty() { input.chars().count() + 1 } else { input.matches(old).count() };
    if found.saturating_mul(new.len()).saturating_add(input.len()) > OUTPUT_BYTES_MAX {
        return Err(format!("replace makes more than {OUTPUT_BYTES_MAX} bytes"));
    }
    Ok(match usize::try_from(times) {
        Ok(times) => input.replacen(old, new, times),
        Err(_) => input.replace(old, new),
    })
}

/// Upper case for the first letter of each word.
fn title(input: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(input.len());
    for c in input.chars() {
        if before.is_alphanumeric() || before == '_' || before == '\'' {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        before = c;
    }
    out
}

/// Characters from `start` to before `end`; a negative end is the text's.
fn substr(start: i64, end: i64, input: &str) -> String {
    let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    input.chars().take(end).skip(start).collect()
}

/// The first characters, or the last ones where the count is negative.
fn trunc(count: i64, input: &str) -> String {
    let held = input.chars().count();
    match usize::try_from(count) {
        Ok(count) => input.chars().take(count).collect(),
        Err(_) => {
            let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            input.chars().skip(held.saturating_sub(wanted)).collect()
        }
    }
}

fn encoded(input: &str) -> String {
    let mut out = String::with_capacity(input.len());
    for byte in input.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded(input: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(input.len());
    let mut rest = input.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.ok_or("invalid URL escape")?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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

/// `%s %v %d %f %q %x %t %%` with width, precision, `-` and `0`.
fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut args = args.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let length = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ' ' | '#')));
        let Some(length) = length else { return Ok(out + "%!(NOVERB)") };
        let (flags, behind) = rest.split_at(length);
        let Some(verb) = behind.chars().next() else { return Ok(out) };
        rest = &behind[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let (width, precision) = match flags.split_once('.') {
            Some((width, precision)) => (width, Some(precision.parse::<usize>().unwrap_or(0).min(100))),
            None => (flags, None),
        };
        let is_left = width.starts_with('-');
        let is_zero = width.starts_with('0') && !is_left;
        let width: usize = width.trim_matches(['-', '+', ' ', '#']).parse::<usize>().unwrap_or(0).min(10_000);
        let text = match verb {
            'd' => arg.int().map_or_else(|| format!("%!d(string={})", arg.text()), |whole| whole.to_string()),
            'f' | 'F' => arg
                .float()
                .map_or_else(|| format!("%!f(string={})", arg.text()), |n| format!("{n:.*}", precision.unwrap_or(6))),
            'g' => arg.float().map_or_else(|| arg.text(), float_text),
            'q' => skerry_promql::quoted(&arg.text()),
            'x' | 'X' => match arg {
                Value::Int(whole) => format!("{whole:x}"),
                other => other.text().bytes().map(|b| format!("{b:02x}")).collect(),
            },
            't' | 's' | 'v' => {
                let text = arg.text();
                match precision {
                    Some(precision) if verb == 's' => text.chars().take(precision).collect(),
                    _ => text,
                }
            }
            other => format!("%!{other}({})", arg.text()),
        };
        let pad = width.saturating_sub(text.chars().count());
        match (is_left, is_zero && matches!(verb, 'd' | 'f')) {
            (true, _) => out.extend([text, " ".repeat(pad)]),
            (false, true) => {
                let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
                out.extend([sign, &"0".repeat(pad), digits]);
            }
            (false, false) => out.extend([" ".repeat(pad), text]),
        }
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("printf makes more than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    Ok(out + rest)
}
