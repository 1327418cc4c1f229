//! The classic syntax: `{foo="bar", baz=~qux.*}`, forgiving about quotes and braces.

use super::{Matcher, Op};

/// Any number of matchers. One `{` before and one `}` behind them may be left out, also one of both; commas between
/// unescaped double quotes separate nothing; a last comma is ignored.
///
/// # Errors
/// The first matcher that cannot be read, in Alertmanager's words.
pub fn parse_all(input: &str) -> Result<Vec<Matcher>, String> {
    let input = input.strip_prefix('{').unwrap_or(input);
    let input = input.strip_suffix('}').unwrap_or(input);
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut parts = Vec::new();
    for (at, c) in input.char_indices() {
        match c {
            ',' if !quoted => {
                parts.push(&input[start..at]);
                start = at + 1;
            }
            ',' => {}
            '"' if escaped => escaped = false,
            '"' => quoted = !quoted,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    let last = input[start..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts.into_iter().map(parse).collect()
}

/// One matcher: a name, an operator, and a value with or without double quotes. `\"`, `\n` and `\\` are escapes; any
/// other backslash is itself.
///
/// # Errors
/// What cannot be read, in Alertmanager's words.
pub fn parse(input: &str) -> Result<Matcher, String> {
    let (name, op, raw) = split(input).ok_or_else(|| format!("bad matcher format: {input}"))?;
    let unbalanced = || format!("matcher value contains unescaped double quote: {raw}");
    let (text, mut open) = raw.strip_prefix('"').map_or((raw, false), |text| (text, true));
    let (mut value, mut chars) = (String::new(), text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => value.push('\\'),
            },
            '"' if open && chars.peek().is_none() => open = false,
            '"' => return Err(unbalanced()),
            c => value.push(c),
        }
    }
    if open { Err(unbalanced()) } else { Matcher::new(name, op, &value) }
}

/// Name, operator and raw value, without the white space around them.
fn split(input: &str) -> Option<(&str, Op, &str)> {
    let space = [' ', '\t', '\n', '\r', '\x0c'];
    let text = input.trim_matches(space);
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let end = text.find(|c: char| !letter(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start_matches(space);
    let (op, value) = [Op::Regex, Op::Equal, Op::NotEqual, Op::NotRegex]
        .into_iter()
        .find_map(|op| Some((op, rest.strip_prefix(op.text())?)))?;
    name.starts_with(letter).then(|| (name, op, value.trim_start_matches(space)))
}
