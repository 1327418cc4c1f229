//! Functions of templates that give a text.

use super::eval::OUTPUT_BYTES_MAX;
use super::value::{Value, float_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::{Regex, RegexBuilder};
use std::sync::{Arc, Mutex, PoisonError};

/// Expressions that a template used last: they may come of labels, but are mostly the same for each line.
#[derive(Debug, Clone, Default)]
pub(super) struct Regexes(Arc<Mutex<Vec<(String, Regex)>>>);

/// Most expressions that are kept.
const REGEXES_MAX: usize = 8;

impl Regexes {
    /// An expression, compiled.
    pub(super) fn compiled(&self, text: &str) -> Result<Regex, String> {
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

/// Calls the function of that name.
///
/// # Errors
/// What it cannot do.
pub(super) fn text(name: &str, args: &[Value], regexes: &Regexes) -> Result<String, String> {
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
