//! Functions of templates, as Loki documents them; those that give a text are in [`super::text`]. Not known: `toDate`,
//! `toDateInZone`, `now` (there is no clock here).

use super::convert::{float, int, of_json, text};
use super::text as texts;
use crate::units;
use skerry_template::{Ctx, Function, Time, Value};

const ONE: &[&str] = &["any"];
const TWO: &[&str] = &["any", "any"];
const THREE: &[&str] = &["any", "any", "any"];
const FOUR: &[&str] = &["any", "any", "any", "any"];
const SOME: &[&str] = &["any", "...any"];

/// All that Go does not have itself.
pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "__line__", params: &[], call: |_, ctx| ctx.root().ask("line", &[]) },
    Function { name: "__timestamp__", params: &[], call: |_, ctx| ctx.root().ask("time", &[]) },
    Function { name: "ToLower", params: ONE, call: |args, ctx| texts::call("ToLower", args, ctx) },
    Function { name: "lower", params: ONE, call: |args, ctx| texts::call("lower", args, ctx) },
    Function { name: "ToUpper", params: ONE, call: |args, ctx| texts::call("ToUpper", args, ctx) },
    Function { name: "upper", params: ONE, call: |args, ctx| texts::call("upper", args, ctx) },
    Function { name: "title", params: ONE, call: |args, ctx| texts::call("title", args, ctx) },
    Function { name: "Replace", params: FOUR, call: |args, ctx| texts::call("Replace", args, ctx) },
    Function { name: "replace", params: THREE, call: |args, ctx| texts::call("replace", args, ctx) },
    Function { name: "Trim", params: TWO, call: |args, ctx| texts::call("Trim", args, ctx) },
    Function { name: "trimAll", params: TWO, call: |args, ctx| texts::call("trimAll", args, ctx) },
    Function { name: "TrimLeft", params: TWO, call: |args, ctx| texts::call("TrimLeft", args, ctx) },
    Function { name: "TrimRight", params: TWO, call: |args, ctx| texts::call("TrimRight", args, ctx) },
    Function { name: "TrimPrefix", params: TWO, call: |args, ctx| texts::call("TrimPrefix", args, ctx) },
    Function { name: "trimPrefix", params: TWO, call: |args, ctx| texts::call("trimPrefix", args, ctx) },
    Function { name: "TrimSuffix", params: TWO, call: |args, ctx| texts::call("TrimSuffix", args, ctx) },
    Function { name: "trimSuffix", params: TWO, call: |args, ctx| texts::call("trimSuffix", args, ctx) },
    Function { name: "TrimSpace", params: ONE, call: |args, ctx| texts::call("TrimSpace", args, ctx) },
    Function { name: "trim", params: ONE, call: |args, ctx| texts::call("trim", args, ctx) },
    Function { name: "regexReplaceAll", params: THREE, call: |args, ctx| texts::call("regexReplaceAll", args, ctx) },
    Function {
        name: "regexReplaceAllLiteral",
        params: THREE,
        call: |args, ctx| texts::call("regexReplaceAllLiteral", args, ctx),
    },
    Function { name: "count", params: TWO, call: count },
    Function { name: "default", params: TWO, call: |args, _| Ok(args[usize::from(args[1].is_true())].clone()) },
    Function { name: "substr", params: THREE, call: |args, ctx| texts::call("substr", args, ctx) },
    Function { name: "trunc", params: TWO, call: |args, ctx| texts::call("trunc", args, ctx) },
    Function { name: "repeat", params: TWO, call: |args, ctx| texts::call("repeat", args, ctx) },
    Function { name: "indent", params: TWO, call: |args, ctx| texts::call("indent", args, ctx) },
    Function { name: "nindent", params: TWO, call: |args, ctx| texts::call("nindent", args, ctx) },
    Function { name: "alignLeft", params: TWO, call: |args, ctx| texts::call("alignLeft", args, ctx) },
    Function { name: "alignRight", params: TWO, call: |args, ctx| texts::call("alignRight", args, ctx) },
    Function {
        name: "contains",
        params: TWO,
        call: |args, _| Ok(Value::Bool(text(&args[1]).contains(&*text(&args[0])))),
    },
    Function {
        name: "hasPrefix",
        params: TWO,
        call: |args, _| Ok(Value::Bool(text(&args[1]).starts_with(&*text(&args[0])))),
    },
    Function {
        name: "hasSuffix",
        params: TWO,
        call: |args, _| Ok(Value::Bool(text(&args[1]).ends_with(&*text(&args[0])))),
    },
    Function { name: "urlencode", params: ONE, call: |args, ctx| texts::call("urlencode", args, ctx) },
    Function { name: "urldecode", params: ONE, call: |args, ctx| texts::call("urldecode", args, ctx) },
    Function { name: "b64enc", params: ONE, call: |args, ctx| texts::call("b64enc", args, ctx) },
    Function { name: "b64dec", params: ONE, call: |args, ctx| texts::call("b64dec", args, ctx) },
    Function { name: "fromJson", params: ONE, call: |args, _| Ok(from_json(&args[0])) },
    Function { name: "bytes", params: ONE, call: bytes },
    Function { name: "duration", params: ONE, call: |args, _| duration(args) },
    Function { name: "duration_seconds", params: ONE, call: |args, _| duration(args) },
    Function { name: "date", params: TWO, call: date },
    Function { name: "unixToTime", params: ONE, call: |args, _| unix_to_time(&text(&args[0])) },
    Function { name: "unixEpoch", params: ONE, call: |args, _| epoch(args, 1_000_000_000) },
    Function { name: "unixEpochMillis", params: ONE, call: |args, _| epoch(args, 1_000_000) },
    Function { name: "unixEpochNanos", params: ONE, call: |args, _| epoch(args, 1) },
    Function { name: "int", params: ONE, call: |args, _| Ok(Value::Int(int(&args[0]).unwrap_or(0))) },
    Function { name: "float64", params: ONE, call: |args, _| Ok(Value::Float(float(&args[0]).unwrap_or(0.0))) },
    Function { name: "ceil", params: ONE, call: |args, _| floating("ceil", args) },
    Function { name: "floor", params: ONE, call: |args, _| floating("floor", args) },
    Function { name: "round", params: &["any", "any", "...any"], call: |args, _| floating("round", args) },
    Function { name: "add", params: SOME, call: |args, _| whole("add", args) },
    Function { name: "sub", params: TWO, call: |args, _| whole("sub", args) },
    Function { name: "mul", params: SOME, call: |args, _| whole("mul", args) },
    Function { name: "div", params: TWO, call: |args, _| whole("div", args) },
    Function { name: "mod", params: TWO, call: |args, _| whole("mod", args) },
    Function { name: "max", params: SOME, call: |args, _| whole("max", args) },
    Function { name: "min", params: SOME, call: |args, _| whole("min", args) },
    Function { name: "addf", params: SOME, call: |args, _| floating("addf", args) },
    Function { name: "subf", params: SOME, call: |args, _| floating("subf", args) },
    Function { name: "mulf", params: SOME, call: |args, _| floating("mulf", args) },
    Function { name: "divf", params: SOME, call: |args, _| floating("divf", args) },
    Function { name: "maxf", params: SOME, call: |args, _| floating("maxf", args) },
    Function { name: "minf", params: SOME, call: |args, _| floating("minf", args) },
];

fn from_json(value: &Value) -> Value {
    // As Loki documents it: nothing where it is no JSON.
    serde_json::from_str(&text(value)).map_or(Value::Nil, of_json)
}

fn date(args: &[Value], _: &mut Ctx<'_>) -> Result<Value, String> {
    match &args[1] {
        Value::Time(time) => Ok(time.format(&text(&args[0])).into()),
        _ => Err("date takes a time, such as __timestamp__".into()),
    }
}

/// A time as a count of units of so many nanoseconds.
fn epoch(args: &[Value], unit: i64) -> Result<Value, String> {
    match &args[0] {
        Value::Time(time) => Ok(time.nanos().div_euclid(unit).to_string().into()),
        _ => Err("a time is wanted, such as __timestamp__".into()),
    }
}

fn duration(args: &[Value]) -> Result<Value, String> {
    let text = text(&args[0]);
    let nanos = units::duration(&text).ok_or_else(|| format!("{text:?} is no duration"))?;
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    Ok(Value::Float(nanos as f64 / 1e9))
}

fn bytes(args: &[Value], _: &mut Ctx<'_>) -> Result<Value, String> {
    let text = text(&args[0]);
    units::bytes(&text).map(Value::Float).ok_or_else(|| format!("{text:?} is no size"))
}

fn count(args: &[Value], ctx: &mut Ctx<'_>) -> Result<Value, String> {
    let found = ctx.regex(&text(&args[0]))?.find_iter(&text(&args[1])).count();
    Ok(Value::Int(i64::try_from(found).unwrap_or(i64::MAX)))
}

/// Nanoseconds of days, seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their digits.
fn unix_to_time(text: &str) -> Result<Value, String> {
    let number: i64 = text.trim().parse().map_err(|_| format!("unable to parse time {text:?}"))?;
    let unit = match text.trim().len() {
        5 => 86_400_000_000_000,
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return Err(format!("unable to parse time {text:?}: 5, 10, 13, 16 or 19 digits are expected")),
    };
    let nanos = number.checked_mul(unit).ok_or_else(|| format!("time {text:?} is out of range"))?;
    Ok(Value::Time(Time::of_nanos(nanos)))
}

fn whole(name: &str, args: &[Value]) -> Result<Value, String> {
    let all = args.iter().map(|arg| int(arg).unwrap_or(0));
    let all: Vec<i64> = all.collect();
    let (first, rest) = all.split_first().ok_or("no number")?;
    Ok(Value::Int(match (name, rest) {
        ("sub", [other]) => first.wrapping_sub(*other),
        ("div" | "mod", [0]) => return Err("division by zero".into()),
        ("div", [other]) => first.wrapping_div(*other),
        ("mod", [other]) => first.wrapping_rem(*other),
        ("add", _) => rest.iter().fold(*first, |sum, other| sum.wrapping_add(*other)),
        ("mul", _) => rest.iter().fold(*first, |product, other| product.wrapping_mul(*other)),
        ("max", _) => rest.iter().fold(*first, |held, other| held.max(*other)),
        _ => rest.iter().fold(*first, |held, other| held.min(*other)),
    }))
}

fn floating(name: &str, args: &[Value]) -> Result<Value, String> {
    let all: Vec<f64> = args.iter().map(|arg| float(arg).unwrap_or(0.0)).collect();
    let (first, rest) = all.split_first().ok_or("no number")?;
    let fold = |with: fn(f64, f64) -> f64| rest.iter().fold(*first, |held, other| with(held, *other));
    Ok(Value::Float(match name {
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
    }))
}
