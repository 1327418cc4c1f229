//! Go's own functions.

use crate::compare::{at_most, equal, less};
use crate::print::{print, print_line};
use crate::printf::printf;
use crate::run::{Ctx, Function};
use crate::value::Value;

type Result_ = Result<Value, String>;

const TWO: &[&str] = &["any", "any"];
const MANY: &[&str] = &["any", "...any"];

/// `and` and `or` are in the walk itself, which evaluates no more of their arguments than they need.
pub(crate) const FUNCTIONS: &[Function] = &[
    Function { name: "and", params: MANY, call: |_, _| Ok(Value::Nil) },
    Function { name: "or", params: MANY, call: |_, _| Ok(Value::Nil) },
    Function { name: "not", params: &["any"], call: |args, _| Ok(Value::Bool(!args[0].is_true())) },
    Function { name: "eq", params: MANY, call: |args, _| equal(&args[0], &args[1..]).map(Value::Bool) },
    Function { name: "ne", params: TWO, call: |args, _| equal(&args[0], &args[1..]).map(|same| Value::Bool(!same)) },
    // gt and ge are le and lt turned round, also for what is no number: that is greater than everything, as in Go.
    Function { name: "lt", params: TWO, call: |args, _| less(&args[0], &args[1]).map(Value::Bool) },
    Function { name: "le", params: TWO, call: |args, _| at_most(&args[0], &args[1]).map(Value::Bool) },
    Function { name: "gt", params: TWO, call: |args, _| at_most(&args[0], &args[1]).map(|is| Value::Bool(!is)) },
    Function { name: "ge", params: TWO, call: |args, _| less(&args[0], &args[1]).map(|is| Value::Bool(!is)) },
    Function { name: "len", params: &["any"], call: length },
    Function { name: "index", params: MANY, call: index },
    Function { name: "slice", params: MANY, call: slice },
    Function {
        name: "call",
        params: MANY,
        call: |args, _| Err(format!("non-function of type {}", args[0].type_name())),
    },
    Function { name: "print", params: &["...any"], call: |args, _| Ok(print(args).into()) },
    Function { name: "println", params: &["...any"], call: |args, _| Ok(print_line(args).into()) },
    Function {
        name: "printf",
        params: &["string", "...any"],
        call: |args, ctx| printf(args[0].as_text().unwrap_or_default(), &args[1..], ctx.bytes_max()).map(Value::from),
    },
    Function {
        name: "html",
        params: &["...any"],
        call: |args, _| {
            let mut out = String::new();
            escaped(&joined(args), &mut out);
            // Escaped already, where all is.
            Ok(Value::Html(out.into()))
        },
    },
    Function { name: "js", params: &["...any"], call: |args, _| Ok(js(&joined(args)).into()) },
    Function { name: "urlquery", params: &["...any"], call: |args, _| Ok(query_escaped(&joined(args)).into()) },
];

/// Arguments as one text.
fn joined(args: &[Value]) -> String {
    match args {
        [Value::Text(text) | Value::Html(text)] => text.to_string(),
        args => print(args),
    }
}

fn length(args: &[Value], _: &mut Ctx<'_>) -> Result_ {
    let length = match args[0].plain() {
        Value::Text(text) | Value::Html(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("len of nil pointer".into()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(args: &[Value], _: &mut Ctx<'_>) -> Result_ {
    let mut value = args[0].clone();
    for key in &args[1..] {
        value = match (value.plain(), key) {
            (Value::Nil, _) => return Err("index of untyped nil".into()),
            (Value::List(items), Value::Int(at)) => {
                let item = usize::try_from(*at).ok().and_then(|place| items.get(place));
                item.cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::Text(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|place| text.as_bytes().get(place));
                Value::Int((*byte.ok_or_else(|| format!("index out of range: {at}"))?).into())
            }
            (Value::List(_) | Value::Text(_), Value::Nil) => return Err("cannot index slice/array with nil".into()),
            (Value::List(_) | Value::Text(_), key) => {
                return Err(format!("cannot index slice/array with type {}", key.type_name()));
            }
            (Value::Map(map), Value::Text(key)) => map.at(key),
            (Value::Map(_), key) => return Err(format!("value has type {}; should be string", key.type_name())),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice(args: &[Value], ctx: &mut Ctx<'_>) -> Result_ {
    let value = args[0].plain();
    let length = match &value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if args.len() == 4 && matches!(value, Value::Text(_)) {
        return Err("cannot 3-index slice a string".into());
    }
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let mut bounds = [0, length, length];
    for (bound, arg) in bounds.iter_mut().zip(&args[1..]) {
        let Value::Int(at) = arg else {
            return Err(format!("cannot index slice/array with type {}", arg.type_name()));
        };
        let place = usize::try_from(*at).ok().filter(|place| *place <= length);
        *bound = place.ok_or_else(|| format!("index out of range: {at}"))?;
    }
    let [start, end, _] = bounds;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    Ok(match value {
        // Cut within a character, Go gives half of it; here it becomes a replacement character.
        Value::Text(text) => String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned().into(),
        Value::List(items) => {
            ctx.charge((end - start) / 16)?;
            Value::List(items[start..end].into())
        }
        other => other,
    })
}

/// A text escaped for HTML behind `out`.
pub(crate) fn escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// A text escaped for a string of JavaScript.
fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// A text as a value in a URL's query: blanks as `+`.
#[must_use]
pub fn query_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
