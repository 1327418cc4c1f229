//! Words of an expression.

use super::ParseError;

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A name or keyword; may hold `:`.
    Word(&'a str),
    Number(f64),
    /// Milliseconds, of `5m` and its like.
    Duration(i64),
    Text(String),
    /// `(`, `==` and their like.
    Mark(&'static str),
    End,
}

/// Marks, longer ones before those they begin with.
const MARKS: [&str; 25] = [
    "==", "!=", "=~", "!~", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", ":", "=", "<", ">", "+", "-", "*", "/", "%",
    "^", "@", "!",
];

/// Reads words one after the other.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the next word is looked for.
    at: usize,
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next word. In braces and brackets `:` is a mark and no part of a name.
    pub(super) fn next(&mut self, colon_is_mark: bool) -> Result<Placed<'a>, ParseError> {
        self.skip();
        let start = self.at;
        let token = self.token(colon_is_mark)?;
        Ok(Placed { token, start, end: self.at })
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            self.at += blank;
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self, colon_is_mark: bool) -> Result<Token<'a>, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let is_number = first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()));
        if is_number {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' || (first == ':' && !colon_is_mark) {
            let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || (c == ':' && !colon_is_mark));
            let length = rest.find(ends).unwrap_or(rest.len());
            self.at += length;
            return Ok(Token::Word(&rest[..length]));
        }
        if matches!(first, '"' | '\'' | '`') {
            return self.quoted(first);
        }
        match MARKS.into_iter().find(|mark| rest.starts_with(mark)) {
            Some(mark) => {
                self.at += mark.len();
                Ok(Token::Mark(mark))
            }
            None => Err(ParseError::new(self.at, format!("unexpected character: {first:?}"))),
        }
    }

    /// A number or a duration: both begin with a digit and run on over letters.
    fn number(&mut self) -> Result<Token<'a>, ParseError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let is_hex = rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
        let mut length = 0;
        while let Some(byte) = bytes.get(length) {
            let is_exponent_sign = matches!(byte, b'+' | b'-')
                && !is_hex
                && length > 0
                && matches!(bytes[length - 1], b'e' | b'E')
                && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || is_exponent_sign) {
                break;
            }
            length += 1;
        }
        let word = &rest[..length];
        let start = self.at;
        self.at += length;
        if let Some(millis) = duration(word) {
            return Ok(Token::Duration(millis));
        }
        let bad = || ParseError::new(start, format!("bad number or duration syntax: {word:?}"));
        number(word).map(Token::Number).ok_or_else(bad)
    }

    fn quoted(&mut self, quote: char) -> Result<Token<'a>, ParseError> {
        let start = self.at;
        let inner = &self.rest()[1..];
        let unterminated = || ParseError::new(start, "unterminated quoted string".into());
        if quote == '`' {
            let length = inner.find('`').ok_or_else(unterminated)?;
            self.at += length + 2;
            return Ok(Token::Text(inner[..length].replace('\r', "")));
        }
        let mut bytes = Vec::new();
        let mut rest = inner;
        loop {
            let mut characters = rest.chars();
            let c = characters.next().filter(|c| *c != '\n').ok_or_else(unterminated)?;
            rest = characters.as_str();
            if c == quote {
                break;
            }
            if c == '\\' {
                let at = self.at + 1 + (inner.len() - rest.len());
                rest = escape(rest, quote, &mut bytes)
                    .ok_or_else(|| ParseError::new(at, "unknown escape sequence in quoted string".into()))?;
            } else {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        self.at += 1 + (inner.len() - rest.len());
        // Labels are UTF-8 here; bytes that are not name nothing.
        Ok(Token::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The text that stands in quotes at the beginning of `text`, and how many bytes it takes with them.
///
/// # Errors
/// The byte where it goes wrong, and what is wrong.
pub(super) fn unquoted(text: &str) -> Result<(String, usize), ParseError> {
    let mut lexer = Lexer::new(text);
    match text.chars().next().filter(|first| matches!(first, '"' | '\'' | '`')) {
        Some(quote) => match lexer.quoted(quote)? {
            Token::Text(inner) => Ok((inner, lexer.at)),
            _ => Err(ParseError::new(0, "expected string".into())),
        },
        None => Err(ParseError::new(0, "expected string".into())),
    }
}

/// Takes the escape behind a backslash, as Go has them; what is left of the text, or `None` where it is none.
fn escape<'a>(rest: &'a str, quote: char, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let first = rest.chars().next()?;
    let simple = match first {
        'a' => Some(0x07),
        'b' => Some(0x08),
        'f' => Some(0x0c),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(0x0b),
        '\\' => Some(b'\\'),
        c if c == quote => u8::try_from(c).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        bytes.push(byte);
        return Some(&rest[1..]);
    }
    let (skip, length, base) = match first {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, 3, 8),
        _ => return None,
    };
    let digits = rest.get(skip..skip + length).filter(|digits| digits.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    let code = u32::from_str_radix(digits, base).ok()?;
    if matches!(first, 'u' | 'U') {
        bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(code).ok()?);
    }
    rest.get(skip + length..)
}

/// A number as Go reads it: whole ones may be hexadecimal or octal, digits may be apart by `_`.
fn number(word: &str) -> Option<f64> {
    let plain: String = word.chars().filter(|c| *c != '_').collect();
    let lower = plain.to_ascii_lowercase();
    #[expect(clippy::cast_precision_loss, reason = "as Prometheus does")]
    if let Some(digits) = lower.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(|whole| whole as f64);
    }
    #[expect(clippy::cast_precision_loss, reason = "as Prometheus does")]
    if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return i64::from_str_radix(&lower, 8).ok().map(|whole| whole as f64);
    }
    let is_decimal = lower.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    if is_decimal { lower.parse().ok() } else { None }
}

/// Units from the longest on, in milliseconds: each at most once and in this order.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Milliseconds of `1h30m`; `None` where it is no duration, or too long for 64 bits.
fn duration(word: &str) -> Option<i64> {
    let (mut rest, mut units, mut total) = (word, UNITS.as_slice(), 0i64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let count: i64 = rest[..digits].parse().ok()?;
        let behind = &rest[digits..];
        let unit_length = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let place = units.iter().position(|(unit, _)| *unit == &behind[..unit_length])?;
        total = total.checked_add(count.checked_mul(units[place].1)?)?;
        units = &units[place + 1..];
        rest = &behind[unit_length..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next(false)?.token {
                Token::End => return Ok(tokens),
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn numbers_and_durations() {
        for (text, expected) in [
            ("0x1F", 31.0),
            ("1_000.5", 1000.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("010", 8.0),
            ("089", 89.0),
            ("2E2", 200.0),
        ] {
            assert_eq!(all(text).unwrap(), [Token::Number(expected)], "{text}");
        }
        for (text, expected) in [("5m", 300_000), ("1h30m", 5_400_000), ("1d1ms", 86_400_001), ("1y2w", 32_745_600_000)]
        {
            assert_eq!(all(text).unwrap(), [Token::Duration(expected)], "{text}");
        }
        for text in ["5mm", "1m1h", "5x", "0x", "1.5m", "1e", "99999999999999999999y", "1..2"] {
            assert!(all(text).is_err(), "{text}");
        }
        assert_eq!(all("1e+2").unwrap(), [Token::Number(100.0)]);
        assert_eq!(all("1-2").unwrap().len(), 3);
    }

    #[test]
    fn texts_and_their_escapes() {
        let text = |text: &str| match all(text).map(|mut all| all.remove(0)) {
            Ok(Token::Text(text)) => text,
            other => format!("{other:?}"),
        };
        assert_eq!(text(r#""a\n\"\x41\u00e9\101\\""#), "a\n\"Aé\u{41}\\");
        assert_eq!(text(r#"'\xc3\xa9\''"#), "é'");
        assert_eq!(text("`\\n`"), "\\n");
        assert_eq!(text(r#""\xff""#), "\u{fffd}");
        for bad in ["\"a", "'a\n'", "`", r#""\q""#, r#""\x4""#, r#""\'""#, r#""\ud800""#, r#""\400""#] {
            assert!(all(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn blanks_comments_and_strangers() {
        assert_eq!(all("a # b\n:c:d").unwrap(), [Token::Word("a"), Token::Word(":c:d")]);
        assert_eq!(all("a é").unwrap_err().to_string(), "1:3: parse error: unexpected character: 'é'");
    }
}
