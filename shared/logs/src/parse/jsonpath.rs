//! Expressions of LogQL's `| json name="expression"`: `servers[0].name`, `headers["User-Agent"]`.

use super::json::Scan;
use super::{ParseError, Value, as_text};

/// Most steps of an expression.
const STEPS_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where in an object a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads an expression: names with dots between them, indices and quoted names in brackets.
    ///
    /// # Errors
    /// What is expected, and at which byte.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut steps = Vec::new();
        let mut scan = Scan { text, at: 0 };
        loop {
            if steps.len() == STEPS_MAX {
                return Err(ParseError::TooDeep);
            }
            match scan.peek() {
                None if !steps.is_empty() => return Ok(Self(steps)),
                Some(b'[') => {
                    scan.at += 1;
                    steps.push(bracket(&mut scan)?);
                    if scan.peek() != Some(b']') {
                        return scan.fail("a closing bracket");
                    }
                    scan.at += 1;
                }
                Some(b'.') if !steps.is_empty() => {
                    scan.at += 1;
                    steps.push(Step::Key(bare(&mut scan)?));
                }
                _ if steps.is_empty() => steps.push(Step::Key(bare(&mut scan)?)),
                _ => return scan.fail("a dot or a bracket"),
            }
        }
    }
}

fn bare(scan: &mut Scan<'_>) -> Result<String, ParseError> {
    let rest = &scan.text[scan.at..];
    let len = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
    if len == 0 || rest.as_bytes()[0].is_ascii_digit() {
        return scan.fail("a name");
    }
    scan.at += len;
    Ok(rest[..len].to_owned())
}

fn bracket(scan: &mut Scan<'_>) -> Result<Step, ParseError> {
    if scan.peek() == Some(b'"') {
        return Ok(Step::Key(scan.string()?.text().into_owned()));
    }
    let rest = &scan.text[scan.at..];
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    match rest[..len].parse() {
        Ok(index) => {
            scan.at += len;
            Ok(Step::Index(index))
        }
        Err(_) => scan.fail("an index or a quoted name"),
    }
}

/// Calls back with the value at `path`: texts without quotes and escapes, objects and lists as they stand. Not called
/// where there is none, or `null`.
///
/// # Errors
/// [`ParseError`] if the line is broken before the value.
pub fn json_at(line: &[u8], path: &JsonPath, tell: &mut dyn FnMut(Value<'_>)) -> Result<(), ParseError> {
    let text = as_text(line);
    let mut scan = Scan { text: &text, at: 0 };
    scan.blanks();
    if scan.peek() != Some(b'{') {
        return scan.fail("an object");
    }
    walk(&mut scan, &path.0, tell)
}

fn walk(scan: &mut Scan<'_>, steps: &[Step], tell: &mut dyn FnMut(Value<'_>)) -> Result<(), ParseError> {
    let Some((step, rest)) = steps.split_first() else {
        if matches!(scan.peek(), Some(b'{' | b'[')) {
            let from = scan.at;
            scan.skip()?;
            tell(Value::plain(&scan.text[from..scan.at]));
        } else if let Some(value) = scan.leaf()? {
            tell(value);
        }
        return Ok(());
    };
    match (step, scan.peek()) {
        (Step::Key(wanted), Some(b'{')) => {
            let mut found = false;
            scan.members(|scan, key| {
                if found || key.text() != *wanted {
                    return scan.skip();
                }
                found = true;
                walk(scan, rest, tell)
            })
        }
        (Step::Index(wanted), Some(b'[')) => list(scan, *wanted, rest, tell),
        _ => scan.skip(),
    }
}

fn list(scan: &mut Scan<'_>, wanted: usize, rest: &[Step], tell: &mut dyn FnMut(Value<'_>)) -> Result<(), ParseError> {
    scan.at += 1;
    scan.blanks();
    if scan.peek() == Some(b']') {
        scan.at += 1;
        return Ok(());
    }
    let mut at = 0;
    loop {
        scan.blanks();
        if at == wanted {
            walk(scan, rest, tell)?
        } else {
            scan.skip()?
        }
        at += 1;
        scan.blanks();
        match scan.peek() {
            Some(b',') => scan.at += 1,
            Some(b']') => {
                scan.at += 1;
                return Ok(());
            }
            _ => return scan.fail("a comma or the list's end"),
        }
    }
}
