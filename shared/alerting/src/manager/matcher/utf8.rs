//! The newer syntax: names and values are any text without reserved characters, or stand in double quotes with Go's
//! escapes. Braces come in pairs or not at all.

use super::{Matcher, Op};
use std::ops::Range;

/// Whether a character must stand in quotes.
pub(super) fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

/// Any number of matchers.
///
/// # Errors
/// What is wrong and in which columns, from 0, in Alertmanager's words.
pub fn parse_all(input: &str) -> Result<Vec<Matcher>, String> {
    let mut parser = Parser { input, at: 0 };
    let mut matchers = Vec::new();
    let Some(first) = parser.peek()? else { return Ok(matchers) };
    let has_brace = first.kind == Kind::Open;
    if has_brace {
        parser.take(&first);
    }
    let mut next = parser.peek()?;
    while next.as_ref().is_some_and(|token| token.kind != Kind::Close) {
        matchers.push(parser.matcher()?);
        next = parser.peek().map_err(|error| format!("{error}: expected a comma or close brace"))?;
        match &next {
            Some(token) if token.kind == Kind::Comma => {
                parser.take(token);
                let behind = "expected a matcher or close brace after comma";
                next = parser.peek().map_err(|error| format!("{error}: {behind}"))?;
                if let Some(token) = next.as_ref().filter(|token| !matches!(token.kind, Kind::Close | Kind::Text)) {
                    return Err(format!("{}: {behind}", parser.unexpected(token)));
                }
            }
            Some(token) if token.kind != Kind::Close => {
                return Err(format!("{}: expected a comma or close brace", parser.unexpected(token)));
            }
            _ => break,
        }
    }
    match (has_brace, next) {
        (true, None) => {
            Err(format!("0:{}: end of input: expected close brace", parser.column(parser.input.trim_end().len())))
        }
        (false, Some(token)) => Err(format!("0:{}: }}: expected opening brace", parser.column(token.place.end))),
        (false, None) => Ok(matchers),
        (true, Some(token)) => {
            parser.take(&token);
            match parser.peek().map_err(|error| format!("{error}: expected end of input"))? {
                None => Ok(matchers),
                Some(rest) => Err(format!("{}: expected end of input", parser.say(&rest.place))),
            }
        }
    }
}

/// One matcher, with or without braces.
///
/// # Errors
/// As [`parse_all`], and where there is none or more than one.
pub fn parse(input: &str) -> Result<Matcher, String> {
    let matchers = parse_all(input)?;
    match <[Matcher; 1]>::try_from(matchers) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => Err("no matchers".to_owned()),
        Err(many) => Err(format!("expected 1 matcher, found {}", many.len())),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Comma,
    Operator(Op),
    /// With or without quotes.
    Text,
}

/// A token and the bytes it stands in.
struct Token {
    kind: Kind,
    place: Range<usize>,
}

struct Parser<'a> {
    input: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn matcher(&mut self) -> Result<Matcher, String> {
        let name = self.expect("expected label name", |kind| kind == Kind::Text)?;
        let name = self.text(&name)?;
        let operators = "expected an operator such as '=', '!=', '=~' or '!~'";
        let operator = self.expect(operators, |kind| matches!(kind, Kind::Operator(_)))?;
        let Kind::Operator(op) = operator.kind else { return Err(operators.to_owned()) };
        let value = self.expect("expected label value", |kind| kind == Kind::Text)?;
        let value = self.text(&value)?;
        Matcher::new(&name, op, &value).map_err(|error| format!("failed to create matcher: {error}"))
    }

    fn expect(&mut self, problem: &str, fits: impl Fn(Kind) -> bool) -> Result<Token, String> {
        let token = self.peek().map_err(|error| format!("{error}: {problem}"))?;
        match token {
            None => Err(format!("end of input: {problem}")),
            Some(token) if !fits(token.kind) => Err(format!("{}: {problem}", self.unexpected(&token))),
            Some(token) => {
                self.take(&token);
                Ok(token)
            }
        }
    }

    fn take(&mut self, token: &Token) {
        self.at = token.place.end;
    }

    /// The next token; `None` at the end.
    fn peek(&self) -> Result<Option<Token>, String> {
        let rest = self.input[self.at..].trim_start();
        let from = self.input.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let token = |kind, bytes: usize| Ok(Some(Token { kind, place: from..from + bytes }));
        match first {
            '{' => token(Kind::Open, 1),
            '}' => token(Kind::Close, 1),
            ',' => token(Kind::Comma, 1),
            '=' if rest.starts_with("=~") => token(Kind::Operator(Op::Regex), 2),
            '=' => token(Kind::Operator(Op::Equal), 1),
            '!' if rest.starts_with("!=") => token(Kind::Operator(Op::NotEqual), 2),
            '!' if rest.starts_with("!~") => token(Kind::Operator(Op::NotRegex), 2),
            '!' => {
                let place = from..from + 1;
                let (start, end) = (self.column(place.start), self.column(place.end));
                if place.end == self.input.len() {
                    return Err(format!("{start}:{end}: unexpected end of input, expected one of '=~'"));
                }
                Err(format!("{start}:{end}: !: expected one of '=~'"))
            }
            '"' => match quoted_bytes(rest) {
                Some(bytes) => token(Kind::Text, bytes),
                None => Err(format!("{}: missing end \"", self.say(&(from..self.input.len())))),
            },
            c if is_reserved(c) => Err(format!("{}: invalid input", self.say(&(from..from + c.len_utf8())))),
            _ => token(Kind::Text, rest.find(is_reserved).unwrap_or(rest.len())),
        }
    }

    /// The text of a token, without its quotes.
    fn text(&self, token: &Token) -> Result<String, String> {
        let raw = &self.input[token.place.clone()];
        if !raw.starts_with('"') {
            return Ok(raw.to_owned());
        }
        // Escaped bytes that are no text come back as this character, which may also stand there of itself.
        let replaced = char::REPLACEMENT_CHARACTER;
        let has_bytes = raw.contains("\\x") || raw.contains(|c: char| c.is_ascii_digit());
        match skerry_promql::unquoted(raw) {
            Ok((text, bytes)) if bytes == raw.len() && !(has_bytes && text.contains(replaced)) => Ok(text),
            _ => Err(format!("{}: invalid input", self.say(&token.place))),
        }
    }

    fn unexpected(&self, token: &Token) -> String {
        let (start, end) = (self.column(token.place.start), self.column(token.place.end));
        format!("{start}:{end}: unexpected {}", &self.input[token.place.clone()])
    }

    fn say(&self, place: &Range<usize>) -> String {
        format!("{}:{}: {}", self.column(place.start), self.column(place.end), &self.input[place.clone()])
    }

    /// The column of a byte: how many characters stand before it.
    fn column(&self, at: usize) -> usize {
        self.input[..at].chars().count()
    }
}

/// Bytes of the text in double quotes at the beginning, with both; `None` where the second is missing.
fn quoted_bytes(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
