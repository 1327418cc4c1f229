//! Functions of templates that give a text.

use super::convert::{int, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use skerry_template::{Ctx, Value, query_escaped};
use std::borrow::Cow;

/// Calls the function of that name.
///
/// # Errors
/// What it cannot do.
pub(super) fn call(name: &str, args: &[Value], ctx: &mut Ctx<'_>) -> Result<Value, String> {
    let texts: Vec<Cow<'_, str>> = args.iter().map(text).collect();
    let of = |at: usize| texts.get(at).map_or("", |text| &**text);
    let bounded = |length: usize| ctx.bounded(name, length);
    let count = |at: usize| int(&args[at]).ok_or_else(|| format!("{name} takes a number, not {:?}", of(at)));
    let width = |at: usize| {
        let width = usize::try_from(count(at)?.max(0)).unwrap_or(usize::MAX);
        bounded(width).map(|()| width)
    };
    // Without the characters of a set, at the sides that are told.
    let trimmed = |text: &str, set: &str, (start, end): (bool, bool)| {
        let text = if start { text.trim_start_matches(|c: char| set.contains(c)) } else { text };
        (if end { text.trim_end_matches(|c: char| set.contains(c)) } else { text }).to_owned()
    };
    let made = match name {
        "ToLower" | "lower" => of(0).to_lowercase(),
        "ToUpper" | "upper" => of(0).to_uppercase(),
        "title" => title(of(0)),
        "Replace" => replaced(of(0), of(1), of(2), count(3)?, ctx)?,
        "replace" => replaced(of(2), of(0), of(1), -1, ctx)?,
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
            let (regex, input, replacement) = (ctx.regex(of(0))?, of(1), of(2));
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
        "urlencode" => query_escaped(of(0)),
        "urldecode" => decoded(of(0))?,
        "b64enc" => BASE64.encode(of(0)),
        "b64dec" => {
            let bytes = BASE64.decode(of(0)).map_err(|error| error.to_string())?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => return Err(format!("function {name:?} is not known")),
    };
    Ok(made.into())
}

fn replaced(input: &str, old: &str, new: &str, times: i64, ctx: &Ctx<'_>) -> Result<String, String> {
    let found = if old.is_empty() { input.chars().count() + 1 } else { input.matches(old).count() };
    ctx.bounded("replace", found.saturating_mul(new.len()).saturating_add(input.len()))?;
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
