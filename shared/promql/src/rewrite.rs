//! Two things that the parser does not do as Prometheus does, mended in the text before it sees it.

use crate::query::INFO_ANY;

/// Escapes of single bytes, `\\xff`, put together: where the bytes are UTF-8 they become their character, where not the
/// replacement character, which names nothing. The parser would take each for a character of its own.
pub(crate) fn bytes(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\") {
        output.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut run = Vec::new();
        while let Some(byte) = escaped(&rest[run.len() * 4..]) {
            run.push(byte);
        }
        if run.iter().any(|byte| *byte >= 0x80) {
            output.push_str(&String::from_utf8_lossy(&run).replace(['"', '\\', '\n'], " "));
            rest = &rest[run.len() * 4..];
        } else {
            // Another escape: it and the character behind it stay as they are.
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
            output.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    output.push_str(rest);
    output
}

/// The byte of an escape `\\xHH` at the beginning of a text.
fn escaped(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.get(..2)?;
    u8::from_str_radix(digits, 16).ok()
}

/// The selectors that are the second argument of `info()`, which may match nothing but the empty string, with a
/// condition that the parser takes for one that does not. `None` where there is none.
pub(crate) fn info(text: &str) -> Option<String> {
    let mut output = String::with_capacity(text.len() + 64);
    let mut calls: Vec<bool> = Vec::new();
    let mut quote = None;
    let (mut word, mut before, mut is_changed) = (String::new(), ' ', false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        output.push(c);
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('`'), _) => {}
            (Some(_), '\\') => output.extend(characters.next()),
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(') => calls.push(word == "info"),
            (None, ')') => drop(calls.pop()),
            (None, '{') if before == ',' && calls.last() == Some(&true) => {
                output.push_str(INFO_ANY);
                output.push_str("!=\"\",");
                is_changed = true;
            }
            _ => {}
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else if !c.is_whitespace() {
            word.clear();
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    is_changed.then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_bytes_are_put_together() {
        assert_eq!(bytes(r#"a{b="\xc3\xa9"}"#), "a{b=\"é\"}");
        assert_eq!(bytes(r#""\xff" "\x41" "\\xff" "\n""#), "\"\u{fffd}\" \"\\x41\" \"\\\\xff\" \"\\n\"");
    }

    #[test]
    fn selectors_of_info_are_found() {
        let changed = info("info(sum(a{b=\"(\"}), {c=~\".*\"})").unwrap();
        assert_eq!(changed, format!("info(sum(a{{b=\"(\"}}), {{{INFO_ANY}!=\"\",c=~\".*\"}})"));
        assert_eq!(info("rate(a[5m])"), None);
    }
}
