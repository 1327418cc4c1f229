//! Functions that Alertmanager's templates have beside those of rules.

use skerry_template::{Ctx, Function, Map, Value};
use std::sync::Arc;

/// Deepest nesting that `toJson` writes.
const DEPTH_MAX: usize = 20;

type Called = Result<Value, String>;

/// Those that differ from rules' functions of the same name, or are not there.
pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "title", params: &["string"], call: |args, _| Ok(title(text(args, 0)).into()) },
    Function { name: "trimSpace", params: &["string"], call: |args, _| Ok(text(args, 0).trim().into()) },
    Function { name: "join", params: &["string", "any"], call: join },
    Function { name: "safeUrl", params: &["string"], call: |args, _| Ok(Value::Html(text(args, 0).into())) },
    Function { name: "urlUnescape", params: &["string"], call: url_unescape },
    Function { name: "stringSlice", params: &["...string"], call: |args, _| Ok(args.to_vec().into()) },
    Function { name: "date", params: &["string", "time.Time"], call: date },
    Function { name: "tz", params: &["string", "time.Time"], call: |args, ctx| ctx.root().ask("zone", args) },
    Function { name: "since", params: &["time.Time"], call: since },
    Function { name: "toJson", params: &["any"], call: to_json },
    Function { name: "list", params: &["...any"], call: |args, _| Ok(args.to_vec().into()) },
    Function { name: "append", params: &["any", "...any"], call: append },
    Function { name: "dict", params: &["...any"], call: dict },
];

fn text(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_text).unwrap_or_default()
}

/// Each word with a capital at its begin and small letters behind it, unlike in rules.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        // An apostrophe stands within words.
        begins = !(c.is_alphanumeric() || matches!(c, '\'' | '’' | '_'));
    }
    out
}

/// The items of a list, or of what is one underneath.
fn items(value: &Value) -> Result<Arc<[Value]>, String> {
    match value.plain() {
        Value::List(items) => Ok(items),
        Value::Nil => Ok(Vec::new().into()),
        _ => Err(format!("wrong type for value; expected []string; got {}", value.type_name())),
    }
}

fn join(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    let (separator, items) = (text(args, 0), items(&args[1])?);
    ctx.charge(items.len())?;
    let bytes: usize = items.iter().map(|item| item.as_text().map_or(0, str::len) + separator.len()).sum();
    ctx.bounded("join", bytes)?;
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
    let texts = texts.ok_or("join takes a list of texts")?;
    Ok(texts.join(separator).into())
}

/// `%XX` and `+` read back, as in a query.
fn url_unescape(args: &[Value], _: &mut Ctx<'_>) -> Called {
    let escaped = text(args, 0);
    let (mut out, mut rest) = (Vec::with_capacity(escaped.len()), escaped.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                let byte = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(byte.ok_or_else(|| format!("invalid URL escape in {escaped:?}"))?);
                rest = &behind[2..];
            }
            byte => out.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned().into())
}

fn date(args: &[Value], _: &mut Ctx<'_>) -> Called {
    match &args[1] {
        Value::Time(time) => Ok(time.format(text(args, 0)).into()),
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    }
}

fn since(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    let now = match ctx.root().ask("now", &[])? {
        Value::Float(seconds) => seconds,
        _ => 0.0,
    };
    match &args[0] {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and is whole milliseconds")]
        Value::Time(time) => {
            let now_ns = ((now * 1e3).round() as i64).saturating_mul(1_000_000);
            Ok(Value::Duration(now_ns.saturating_sub(time.nanos())))
        }
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    }
}

fn append(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    let mut all = items(&args[0])?.to_vec();
    ctx.charge(all.len())?;
    all.extend_from_slice(&args[1..]);
    Ok(all.into())
}

fn dict(args: &[Value], _: &mut Ctx<'_>) -> Called {
    let mut entries = Vec::new();
    for pair in args.chunks(2) {
        let [name, value] = pair else { return Err("dict takes pairs of a name and a value".into()) };
        let name = name.as_text().ok_or("names of dict are texts")?;
        entries.push((Arc::from(name), value.clone()));
    }
    Ok(Map::new(entries, Value::Nil).into())
}

fn to_json(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    let mut out = String::new();
    write_json(&args[0], ctx, &mut out, 0)?;
    Ok(out.into())
}

/// The fields that objects with JSON have, by the names that it gives them.
const FIELDS: [(&str, &[(&str, &str)]); 3] = [
    ("template.Pair", &[("Name", "Name"), ("Value", "Value")]),
    (
        "template.Alert",
        &[
            ("status", "Status"),
            ("labels", "Labels"),
            ("annotations", "Annotations"),
            ("startsAt", "StartsAt"),
            ("endsAt", "EndsAt"),
            ("generatorURL", "GeneratorURL"),
            ("fingerprint", "Fingerprint"),
        ],
    ),
    (
        "template.Data",
        &[
            ("receiver", "Receiver"),
            ("status", "Status"),
            ("alerts", "Alerts"),
            ("groupLabels", "GroupLabels"),
            ("commonLabels", "CommonLabels"),
            ("commonAnnotations", "CommonAnnotations"),
            ("externalURL", "ExternalURL"),
        ],
    ),
];

fn write_json(value: &Value, ctx: &mut Ctx<'_>, out: &mut String, depth: usize) -> Result<(), String> {
    ctx.charge(1)?;
    ctx.bounded("toJson", out.len())?;
    if depth > DEPTH_MAX {
        return Err(format!("toJson goes at most {DEPTH_MAX} deep"));
    }
    let quoted = |text: &str, out: &mut String| crate::notify::json::quote(out, text);
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) | Value::Duration(number) => out.push_str(&number.to_string()),
        Value::Float(number) if number.is_finite() => out.push_str(&number.to_string()),
        Value::Float(_) => return Err("toJson knows no infinities and no NaN".into()),
        Value::Text(text) | Value::Html(text) => quoted(text, out),
        Value::Time(time) => quoted(&time.format("2006-01-02T15:04:05.999999999Z07:00"), out),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json(item, ctx, out, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (name, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(name, out);
                out.push(':');
                write_json(item, ctx, out, depth + 1)?;
            }
            out.push('}');
        }
        Value::Object(object) => match object.plain() {
            Some(plain) => write_json(&plain, ctx, out, depth + 1)?,
            None => {
                let known = FIELDS.iter().find(|(name, _)| *name == object.type_name());
                out.push('{');
                for (at, (name, field)) in known.into_iter().flat_map(|(_, fields)| fields.iter()).enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    quoted(name, out);
                    out.push(':');
                    write_json(&object.field(field).unwrap_or(Value::Nil), ctx, out, depth + 1)?;
                }
                out.push('}');
            }
        },
    }
    Ok(())
}
