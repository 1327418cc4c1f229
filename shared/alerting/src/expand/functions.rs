//! Prometheus's functions of templates.

use super::humanize::{self, number};
use super::link;
use super::vector::{self, SAMPLE, VECTOR};
use skerry_template::{Ctx, Function, Map, Value};
use std::sync::Arc;

type Called = Result<Value, String>;

/// All of them.
pub const FUNCTIONS: &[Function] = &[
    Function { name: "query", params: &["string"], call: |args, ctx| ctx.root().ask("query", args) },
    Function { name: "first", params: &[VECTOR], call: first },
    Function { name: "label", params: &["string", SAMPLE], call: |args, _| Ok(vector::label(&args[1], text(args, 0))) },
    Function { name: "value", params: &[SAMPLE], call: value },
    Function { name: "strvalue", params: &[SAMPLE], call: |args, _| Ok(vector::label(&args[0], "__value__")) },
    Function { name: "sortByLabel", params: &["string", VECTOR], call: sort_by_label },
    Function { name: "args", params: &["...any"], call: arguments },
    Function {
        name: "tmpl",
        params: &["string", "any"],
        call: |args, ctx| ctx.template(text(args, 0), args[1].clone()).map(|text| Value::Html(text.into())),
    },
    Function { name: "safeHtml", params: &["string"], call: |args, _| Ok(Value::Html(text(args, 0).into())) },
    Function { name: "match", params: &["string", "string"], call: matches },
    Function { name: "reReplaceAll", params: &["string", "string", "string"], call: replace_all },
    Function { name: "title", params: &["string"], call: |args, _| Ok(title(text(args, 0)).into()) },
    Function { name: "toUpper", params: &["string"], call: |args, _| Ok(upper(text(args, 0)).into()) },
    Function { name: "toLower", params: &["string"], call: |args, _| Ok(lower(text(args, 0)).into()) },
    Function { name: "stripPort", params: &["string"], call: |args, _| Ok(link::without_port(text(args, 0)).into()) },
    Function {
        name: "stripDomain",
        params: &["string"],
        call: |args, _| Ok(link::without_domain(text(args, 0)).into()),
    },
    Function { name: "graphLink", params: &["string"], call: |args, _| Ok(link::graph(text(args, 0), 0).into()) },
    Function { name: "tableLink", params: &["string"], call: |args, _| Ok(link::graph(text(args, 0), 1).into()) },
    Function {
        name: "urlQueryEscape",
        params: &["string"],
        call: |args, _| Ok(skerry_template::query_escaped(text(args, 0)).into()),
    },
    Function { name: "humanize", params: &["any"], call: |args, _| Ok(humanize::metric(number(&args[0])?).into()) },
    Function { name: "humanize1024", params: &["any"], call: |args, _| Ok(humanize::binary(number(&args[0])?).into()) },
    Function {
        name: "humanizeDuration",
        params: &["any"],
        call: |args, _| Ok(humanize::duration(number(&args[0])?).into()),
    },
    Function {
        name: "humanizePercentage",
        params: &["any"],
        call: |args, _| Ok(humanize::percentage(number(&args[0])?).into()),
    },
    Function { name: "humanizeTimestamp", params: &["any"], call: timestamp },
    Function { name: "toTime", params: &["any"], call: to_time },
    Function { name: "toDuration", params: &["any"], call: to_duration },
    Function { name: "parseDuration", params: &["string"], call: parse_duration },
    Function { name: "parseDurationTime", params: &["string"], call: parse_duration_time },
    Function { name: "now", params: &[], call: |_, ctx| ctx.root().ask("now", &[]) },
    Function { name: "externalURL", params: &[], call: |_, ctx| ctx.root().ask("externalURL", &[]) },
    Function {
        name: "pathPrefix",
        params: &[],
        call: |_, ctx| Ok(link::path(ctx.root().ask("externalURL", &[])?.as_text().unwrap_or_default()).into()),
    },
];

fn text(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_text).unwrap_or_default()
}

fn first(args: &[Value], _: &mut Ctx<'_>) -> Called {
    let first = vector::samples(&args[0]).first().cloned();
    first.ok_or_else(|| "first() called on vector with no elements".into())
}

fn value(args: &[Value], _: &mut Ctx<'_>) -> Called {
    match &args[0] {
        Value::Object(sample) => Ok(sample.field("Value").unwrap_or(Value::Nil)),
        _ => Ok(Value::Nil),
    }
}

fn sort_by_label(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    let samples = vector::samples(&args[1]);
    ctx.charge(samples.len() / 16)?;
    let mut keyed: Vec<(Value, Value)> =
        samples.iter().map(|sample| (vector::label(sample, text(args, 0)), sample.clone())).collect();
    keyed.sort_by(|(a, _), (b, _)| a.as_text().cmp(&b.as_text()));
    Ok(vector::of_samples(keyed.into_iter().map(|(_, sample)| sample).collect()))
}

fn arguments(args: &[Value], _: &mut Ctx<'_>) -> Called {
    let entries = args.iter().enumerate().map(|(at, arg)| (Arc::from(format!("arg{at}")), arg.clone()));
    Ok(Map::new(entries.collect(), Value::Nil).into())
}

fn matches(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    Ok(Value::Bool(ctx.regex(text(args, 0))?.is_match(text(args, 1))))
}

fn replace_all(args: &[Value], ctx: &mut Ctx<'_>) -> Called {
    let (replacement, input) = (text(args, 1), text(args, 2));
    let regex = ctx.regex(text(args, 0)).map_err(|error| format!("regexp: Compile(`{}`): {error}", text(args, 0)))?;
    ctx.bounded("reReplaceAll", (input.len() + 1).saturating_mul(replacement.len().max(1)))?;
    Ok(regex.replace_all(input, replacement).into_owned().into())
}

fn timestamp(args: &[Value], _: &mut Ctx<'_>) -> Called {
    let seconds = number(&args[0])?;
    Ok(humanize::time(seconds)?.map_or_else(|| humanize::four(seconds), |time| time.to_string()).into())
}

fn to_time(args: &[Value], _: &mut Ctx<'_>) -> Called {
    humanize::time(number(&args[0])?)?.map(Value::Time).ok_or_else(|| "value is NaN or Inf".into())
}

fn to_duration(args: &[Value], _: &mut Ctx<'_>) -> Called {
    Ok(Value::Duration(humanize::truncated(number(&args[0])? * 1e9)))
}

fn parse_duration(args: &[Value], _: &mut Ctx<'_>) -> Called {
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    nanos_of(text(args, 0)).map(|nanos| Value::Float(nanos as f64 / 1e9))
}

fn parse_duration_time(args: &[Value], _: &mut Ctx<'_>) -> Called {
    nanos_of(text(args, 0)).map(Value::Duration)
}

/// Nanoseconds of `1h30m` and its like: whole numbers with units that fall, or `0`.
fn nanos_of(text: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    match text {
        "" => return Err("empty duration string".into()),
        "0" => return Ok(0),
        _ => {}
    }
    let bad = || format!("not a valid duration string: {}", skerry_template::quoted(text));
    let (mut rest, mut millis, mut next) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let behind = &rest[digits..];
        let length = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let at = UNITS.iter().position(|(unit, _)| *unit == &behind[..length]).filter(|at| digits > 0 && *at >= next);
        let at = at.ok_or_else(bad)?;
        let part = rest[..digits].parse::<i64>().ok().and_then(|count| count.checked_mul(UNITS[at].1));
        millis = part.and_then(|part| millis.checked_add(part)).ok_or("duration out of range")?;
        (rest, next) = (&behind[length..], at + 1);
    }
    millis.checked_mul(1_000_000).ok_or_else(|| "duration out of range".into())
}

/// Letter by letter, as Go does: what has no single upper letter stays.
pub(crate) fn upper(text: &str) -> String {
    text.chars().map(upper_letter).collect()
}

/// Letter by letter, as Go does.
pub(crate) fn lower(text: &str) -> String {
    // Of the one letter that has two lower ones, Go takes the first.
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

fn upper_letter(c: char) -> char {
    let mut mapped = c.to_uppercase();
    if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
}

/// Upper case for letters behind what is no letter, digit or underscore.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let starts = match before {
                '_' => false,
                b if b.is_ascii() => !b.is_ascii_alphanumeric(),
                b => !b.is_alphanumeric() && b.is_whitespace(),
            };
            before = c;
            if starts { upper_letter(c) } else { c }
        })
        .collect()
}
